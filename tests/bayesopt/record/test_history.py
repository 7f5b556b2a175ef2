"""The arrays that strategies see, against what the trials themselves say."""

import math

import numpy as np
import pytest

import bayesopt as bo
from bayesopt.problem.outcomes import Objective, Outcomes
from bayesopt.record.history import TrialRows, build_history
from bayesopt.record.trial import Trial

SPACE = bo.Space({"x": bo.Float(-1.0, 1.0), "k": bo.Int(0, 4), "mix": bo.Simplex(["web", "code"])})
OUTCOMES = Outcomes(Objective("loss", "minimize"), (bo.AtMost("memory", 4.0), bo.AtLeast("accuracy", 0.5)))


def params(i):
    return {"x": math.sin(i), "k": i % 5, "mix": {"web": 1 / (1 + i % 7), "code": 1 - 1 / (1 + i % 7)}}


def complete(i, **facts):
    values = {"loss": i / 3, "memory": 4.0 + i, "accuracy": None if i % 2 else 0.25}
    return Trial(i, params(i), "complete", **({"values": values} | facts))


def history(trials, rows=None, outcomes=OUTCOMES):
    rows = TrialRows(SPACE, outcomes) if rows is None else rows
    return build_history(trials, rows=rows, seed=0, noise=None, priors=(), device="auto")


TRIALS = [
    complete(0, sd={"loss": 0.1, "accuracy": 0.2}, cost=2.0),
    Trial(1, params(1), "failed"),
    complete(2, source="external"),
    Trial(3, params(3), "pending"),
    Trial(4, params(4), "failed", lost=True),
    complete(5),
    Trial(6, params(6), "queued", source="enqueued"),
    Trial(7, params(7), "pending", source="enqueued"),
]


def encoded(*ids):
    return np.array([SPACE.encode(params(i)) for i in ids])


def test_each_array_holds_the_trials_of_its_kind():
    seen = history(TRIALS)
    nan = math.nan
    assert seen.ids.tolist() == [0, 2, 5]
    np.testing.assert_array_equal(seen.X, encoded(0, 2, 5))
    np.testing.assert_array_equal(seen.objective, [0.0, -2 / 3, -5 / 3])
    np.testing.assert_array_equal(seen.objective_sd, [0.1, nan, nan])
    np.testing.assert_array_equal(seen.constraints, [[0.0, 0.25], [2.0, 0.25], [5.0, nan]])
    np.testing.assert_array_equal(seen.constraints_sd, [[nan, 0.2], [nan, nan], [nan, nan]])
    np.testing.assert_array_equal(seen.costs, [2.0, nan, nan])
    np.testing.assert_array_equal(seen.pending, encoded(3, 7))
    np.testing.assert_array_equal(seen.failed, encoded(1))
    assert seen.n_asked == 6


@pytest.mark.parametrize("outcomes", [OUTCOMES, Outcomes(Objective("loss"))], ids=["constrained", "free"])
def test_without_a_trial_every_array_is_empty_and_has_its_shape(outcomes):
    seen, k = history([], outcomes=outcomes), len(outcomes.constraints)
    assert (seen.X.shape, seen.pending.shape, seen.failed.shape) == ((0, SPACE.dim),) * 3
    assert (seen.objective.shape, seen.objective_sd.shape, seen.costs.shape, seen.ids.shape) == ((0,),) * 4
    assert seen.constraints.shape == seen.constraints_sd.shape == (0, k)


def test_without_constraints_every_trial_has_no_margins():
    assert history(TRIALS, outcomes=Outcomes(Objective("loss"))).constraints.shape == (3, 0)


def test_rows_that_were_kept_say_the_same_as_new_ones():
    rows, trials = TrialRows(SPACE, OUTCOMES), []
    for i in range(40):
        trials.append(Trial(i, params(i), ["pending", "queued", "failed"][i % 3]))
        if i >= 5:
            trials[i - 5] = complete(i - 5)
        kept, new = history(trials, rows), history(trials)
        for name in ("ids", "X", "objective", "objective_sd", "constraints", "constraints_sd", "costs", "pending"):
            np.testing.assert_array_equal(getattr(kept, name), getattr(new, name))
            assert getattr(kept, name).flags.c_contiguous


def test_each_configuration_is_encoded_once(monkeypatch):
    rows, calls = TrialRows(SPACE, OUTCOMES), []
    encode = bo.Space.encode
    monkeypatch.setattr(bo.Space, "encode", lambda space, given: calls.append(given) or encode(space, given))
    for n in (3, 5, 8, 8):
        history(TRIALS[:n], rows)
    assert len(calls) == 6  # neither the lost trial nor the queued one


def test_what_is_done_to_the_arrays_changes_no_later_history():
    rows = TrialRows(SPACE, OUTCOMES)
    first = history(TRIALS, rows)
    for array in (first.X, first.objective, first.constraints, first.costs, first.pending):
        array[:] = 7.0
    np.testing.assert_array_equal(history(TRIALS, rows).X, encoded(0, 2, 5))
    np.testing.assert_array_equal(history(TRIALS, rows).objective, [0.0, -2 / 3, -5 / 3])


@pytest.mark.parametrize("state", ["pending", "complete", "failed"])
def test_the_memory_is_that_of_the_newest_trial_with_one_whatever_came_of_it(state):
    values = {"loss": 0.5, "memory": 1.0, "accuracy": 1.0}
    trials = [
        Trial(0, params(0), "complete", values, memory={"k": 0}),
        Trial(1, params(1), state, values, memory={"k": 1}, lost=state == "failed"),
        Trial(2, params(2), "complete", values),
        Trial(3, params(3), "queued", source="enqueued"),
    ]
    assert history(trials).memory == {"k": 1}
    assert history(trials[:1]).memory == {"k": 0}
    assert history(trials[2:]).memory == {}


def test_what_is_done_to_the_memory_changes_nothing_on_record():
    trial = Trial(0, params(0), memory={"fits": [1.0, [2.0]]})
    history([trial]).memory["fits"][1].append(3.0)
    assert trial.memory == {"fits": [1.0, [2.0]]}
