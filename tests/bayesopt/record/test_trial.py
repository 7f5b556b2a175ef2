import copy
import pickle
from dataclasses import replace

import pytest

from bayesopt.record.trial import Trial, copied

TRIAL = Trial(3, {"lr": 0.1, "mix": {"web": 0.5, "code": 0.5}}, values={"loss": 1.0}, memory={"fits": [1.0]})


def test_a_trial_cannot_be_changed():
    with pytest.raises(AttributeError, match="cannot assign"):
        TRIAL.state = "complete"


def test_snapshots_are_equal_when_everything_in_them_is():
    assert Trial(1, {"x": 0.0}) == Trial(1, {"x": 0.0})
    assert Trial(1, {"x": 0.0}) != Trial(1, {"x": 0.0}, state="complete")
    assert Trial(1, {"x": 0.0}, memory={"k": 1}) == Trial(1, {"x": 0.0}, memory={"k": 1})
    assert Trial(1, {"x": 0.0}, memory={"k": 1}) != Trial(1, {"x": 0.0}, memory={"k": 2})
    assert Trial(1, {"x": 0.0}) != {"x": 0.0}
    assert len({Trial(1, {"x": 0.0}), Trial(1, {"x": 0.0})}) == 1


def test_what_a_trial_remembers_is_not_printed():
    assert "fits" not in repr(TRIAL)


def test_a_copied_value_shares_no_dict_and_no_list():
    value = {"a": [1.0, [2.0, {"b": [3.0]}]], "c": {"d": None}, "e": "text", "f": True}
    twin = copied(value)
    assert twin == value
    twin["a"][1][1]["b"].append(4.0)
    twin["c"]["d"] = 5
    assert value == {"a": [1.0, [2.0, {"b": [3.0]}]], "c": {"d": None}, "e": "text", "f": True}


class Monitor:
    """Stands for an open study, which cannot be pickled."""

    def __init__(self):
        self.reports = []

    def _report(self, trial_id, step, value):
        self.reports.append((trial_id, step, value))

    def _should_stop(self, trial_id):
        return trial_id == 3

    def __reduce__(self):
        raise TypeError("a study stays in its process")


def test_a_curve_goes_to_the_study():
    trial = Trial(3, {"x": 0.0}, _study=Monitor())
    trial.report(1, 0.5)
    assert trial._study.reports == [(3, 1, 0.5)]
    assert trial.should_stop()


@pytest.mark.parametrize("made", [lambda t: pickle.loads(pickle.dumps(t)), copy.deepcopy, copy.copy])
def test_a_copy_for_another_process_leaves_the_study_behind(made):
    trial = replace(TRIAL, _study=Monitor())
    twin = made(trial)
    assert twin == trial == TRIAL
    with pytest.raises(RuntimeError, match="trial 3 does not belong to an open study"):
        twin.report(1, 0.5)
    assert trial._study is not None
