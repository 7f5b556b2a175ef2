"""Study.run: ask, evaluate, tell until nothing is left, and a clean way out."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import pytest

import bayesopt as bo
from bayesopt.errors import InvalidBudgetError, InvalidOutcomeError
from bayesopt.running import TrialParams
from tests.bayesopt.workers.processes import ROOT
from tests.bayesopt.workers.tasks import Uniform


def make_study(trials=6, **options):
    options = {"minimize": "loss", "seed": 0, "strategy": Uniform(), "noise": 0.0} | options
    budget = options.pop("budget", bo.Budget(trials=trials))
    return bo.Study(bo.Space({"x": bo.Float(0.0, 1.0)}), budget=budget, **options)


def square(params):
    return (params["x"] - 0.3) ** 2


def test_run_spends_the_budget_and_returns_the_best():
    study = make_study()
    best = study.run(square, progress=False)
    assert [trial.state for trial in study.trials] == ["complete"] * 6
    assert best.values["loss"] == min(trial.values["loss"] for trial in study.trials)
    assert study.why_stopped == "budget: all 6 trials are used"
    assert study.run(square, progress=False) == best


def test_an_evaluation_gets_a_plain_dict_that_knows_its_trial():
    seen = []

    def evaluate(params):
        seen.append((json.dumps(params), dict(**params), params.id, pickle.loads(pickle.dumps(params)) == params))
        params.report(1, 0.5)
        return 0.5 if not params.should_stop() else 0.0

    study = make_study(trials=1)
    study.run(evaluate, progress=False)
    trial = study.trials[0]
    assert seen == [(json.dumps(trial.params), trial.params, 0, True)]
    assert study._store.reports() == {0: {1.0: 0.5}}
    params = TrialParams(trial)
    assert params.params is params


def test_an_exception_fails_its_trial_and_the_loop_goes_on(caplog):
    def breaks(params):
        if params.id % 2:
            raise OSError("no space left on the GPU")
        return square(params)

    study = make_study()
    study.run(breaks, progress=False)
    assert [trial.state for trial in study.trials] == ["complete", "failed"] * 3
    assert study.trials[1].reason == "OSError: no space left on the GPU"
    assert study.trials[1].cost is not None
    assert "trial 1 failed: OSError: no space left on the GPU" in caplog.text


@pytest.mark.parametrize("workers", [1, 2])
def test_an_evaluation_says_in_its_own_words_why_it_failed_and_what_it_cost(caplog, workers):
    def breaks(params):
        raise bo.TrialFailed("the loss diverged", cost=12.0)

    study = make_study(trials=2)
    study.run(breaks, workers=workers, progress=False)
    assert [(trial.state, trial.reason, trial.cost) for trial in study.trials] == [
        ("failed", "the loss diverged", 12.0)
    ] * 2
    assert "trial 1 failed: the loss diverged" in caplog.text
    assert "Traceback" not in caplog.text  # it is no accident, so where it was raised tells nothing


def test_what_a_failure_says_of_its_cost_is_checked_as_any_cost_is():
    def breaks(params):
        raise bo.TrialFailed("the loss diverged", cost=-1.0)

    with pytest.raises(InvalidBudgetError, match="cost: expected a finite number of at least 0"):
        make_study().run(breaks, progress=False)


def test_a_failure_is_charged_seconds_only_until_an_evaluation_has_named_a_cost():
    def evaluate(params):
        if params.id == 1:
            return {"loss": 1.0, "cost": 1e6}  # tokens, say
        raise bo.TrialFailed("broke", cost=5e5 if params.id == 3 else None)

    study = make_study(trials=4)
    study.run(evaluate, progress=False)
    in_seconds, named, unknown, said = (trial.cost for trial in study.trials)
    assert 0 < in_seconds < 60
    assert (named, unknown, said) == (1e6, 1e6, 5e5)


def test_failures_that_do_not_say_what_they_cost_still_use_up_a_budget_of_cost():
    def evaluate(params):
        if params.id == 0:
            return {"loss": 1.0, "cost": 10.0}
        raise bo.TrialFailed("broke")

    study = make_study(budget=bo.Budget(cost=45.0))
    study.run(evaluate, progress=False)
    assert [trial.cost for trial in study.trials] == [10.0] * 4


def test_run_with_nothing_but_failures_ends_without_a_best():
    study = make_study(trials=20)
    assert study.run(lambda params: 1 / 0, progress=False) is None
    assert {trial.reason for trial in study.trials} == {"ZeroDivisionError: division by zero"}


def test_seconds_are_the_cost_unless_the_outcomes_name_one():
    study = make_study(trials=2)
    study.run(lambda params: time.sleep(0.01) or 1.0, progress=False)
    assert all(trial.cost >= 0.01 for trial in study.trials)
    study = make_study(trials=2)
    study.run(lambda params: {"loss": 1.0, "cost": 7}, progress=False)
    assert [(trial.cost, trial.values) for trial in study.trials] == [(7.0, {"loss": 1.0})] * 2


def test_a_cost_that_is_a_declared_outcome_stays_one():
    study = make_study(trials=1, subject_to=[bo.AtMost("cost", 10.0)])
    study.run(lambda params: {"loss": 1.0, "cost": 7}, progress=False)
    assert study.trials[0].values == {"loss": 1.0, "cost": 7.0}
    assert study.trials[0].cost != 7.0


@pytest.mark.parametrize("workers", [1, 3])
def test_what_an_evaluation_returns_wrongly_stops_the_loop_and_leaves_no_ghost(workers):
    study = make_study()
    with pytest.raises(InvalidOutcomeError, match="None"):
        study.run(lambda params: None, workers=workers, progress=False)
    assert {(trial.state, trial.lost) for trial in study.trials} == {("failed", True)}
    assert study.budget.spent_trials == 0
    study.run(square, progress=False)
    assert study.budget.spent_trials == 6


def test_what_one_evaluation_returns_wrongly_costs_the_others_nothing():
    together = threading.Barrier(3)

    def evaluate(params):
        together.wait(timeout=30)
        if params.id == 1:
            return {"los": 1.0}
        time.sleep(0.1)  # ends after the wrong one
        return square(params)

    study = make_study(trials=9)
    with pytest.raises(InvalidOutcomeError, match="'loss' missing; got 'los'"):
        study.run(evaluate, workers=3, progress=False)
    assert [(trial.state, trial.lost) for trial in study.trials] == [
        ("complete", False), ("failed", True), ("complete", False),
    ]  # fmt: skip


def test_threads_evaluate_side_by_side_and_each_trial_once():
    together, seen = threading.Barrier(4), []

    def evaluate(params):
        together.wait(timeout=30)  # passes only if four evaluations are under way at once
        seen.append(params.id)
        return square(params)

    study = make_study(trials=12)
    study.run(evaluate, workers=4, progress=False)
    assert sorted(seen) == list(range(12))
    assert len({trial.params["x"] for trial in study.trials}) == 12


def test_threads_share_a_file(tmp_path):
    study = make_study(trials=30, storage=tmp_path / "study.db")

    def evaluate(params):
        for step in range(3):
            params.report(step, square(params))
            params.should_stop()
        return square(params)

    study.run(evaluate, workers=4, progress=False)
    with bo.Study.open(tmp_path / "study.db") as again:
        assert [trial.state for trial in again.trials] == ["complete"] * 30
        assert {len(curve) for curve in again._store.reports().values()} == {3}
    study.close()


def test_a_cost_budget_stops_before_it_is_overdrawn():
    study = make_study(budget=bo.Budget(cost=10.0))
    study.run(lambda params: {"loss": 1.0, "cost": 3.0}, progress=False)
    assert study.budget.spent_cost == 9.0
    assert study.why_stopped == "budget: 9 of 10 is spent, and a further trial may cost 3"


def test_an_exhausted_space_ends_the_loop_with_a_reason():
    for workers in (1, 2):
        study = bo.Study(
            bo.Space({"k": bo.Int(0, 4)}), minimize="loss", strategy=bo.strategies.RandomSearch(), seed=0, noise=0.0
        )
        study.run(lambda params: float(params["k"]), workers=workers, progress=False)
        assert sorted(trial.params["k"] for trial in study.trials) == list(range(5))
        assert study.done
        assert study.why_stopped == "space: all 5 configurations are tried"
        assert study.ask() is None


def test_the_bar_counts_trials_and_shows_the_best(capsys):
    make_study(trials=3).run(lambda params: 0.25, progress=True)
    shown = capsys.readouterr().err
    assert "3/3" in shown and "best loss=0.25" in shown


def test_the_bar_shows_the_cost_spent_with_its_limit_where_there_is_one(capsys):
    def evaluate(params):
        return {"loss": 0.25, "cost": 2}

    make_study(trials=3).run(evaluate, progress=True)
    assert "cost=6]" in capsys.readouterr().err
    make_study(budget=bo.Budget(trials=3, cost=9.0)).run(evaluate, progress=True)
    assert "cost=6/9]" in capsys.readouterr().err


def test_the_bar_of_a_cost_budget_counts_cost(capsys):
    make_study(budget=bo.Budget(cost=4.0)).run(lambda params: {"loss": 0.25, "cost": 2}, progress=True)
    shown = capsys.readouterr().err
    assert "4.0/4.0" in shown and "trials=2" in shown


def test_run_frees_the_places_of_a_process_that_died(tmp_path):
    code = f"""
import os, bayesopt as bo
from tests.bayesopt.test_running import make_study
make_study(storage={str(tmp_path / "study.db")!r}).ask(4)
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == -signal.SIGKILL
    study = make_study(storage=tmp_path / "study.db")
    assert study.budget.pending == 4
    study.run(square, progress=False)
    assert [trial.state for trial in study.trials] == ["failed"] * 4 + ["complete"] * 6
    assert all(trial.lost and "died" in trial.reason for trial in study.trials[:4])
    study.close()


def test_run_leaves_the_trials_of_living_processes_alone(tmp_path):
    study = make_study(trials=4, storage=tmp_path / "study.db")
    mine = study.ask()
    with make_study(trials=4, storage=tmp_path / "study.db") as other:
        other.run(square, progress=False)
    assert study.trials[mine.id].state == "pending"
    assert study.tell(mine, 0.5).state == "complete"
    study.close()


# -- Ctrl-C ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_ctrl_c_finishes_what_runs_and_can_be_resumed(workers):
    study = make_study()

    def evaluate(params):
        if params.id == 2:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
        return square(params)

    study.run(evaluate, workers=workers, progress=False)
    # With two workers the loop may be asking when it comes: what it asked then is given up.
    assert 3 <= study.budget.spent_trials <= 4
    assert {trial.state for trial in study.trials if not trial.lost} == {"complete"}
    assert study.why_stopped.startswith("interrupted")
    study.run(evaluate, workers=workers, progress=False)
    assert study.budget.spent_trials == 6
    assert study.why_stopped == "budget: all 6 trials are used"


def test_the_second_ctrl_c_abandons_what_runs():
    study = make_study()

    def evaluate(params):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(30)

    study.run(evaluate, progress=False)
    (trial,) = study.trials
    assert (trial.state, trial.lost, trial.reason) == ("failed", True, "interrupted")


class InterruptedSearch(Uniform):
    """Takes its time once two trials are told, long enough for somebody to press Ctrl-C."""

    def __init__(self, presses=1):
        self._presses = presses

    def suggest(self, history, n, rng):
        if len(history.ids) >= 2:
            for _ in range(self._presses):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)
        return super().suggest(history, n, rng)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_trial_asked_while_ctrl_c_came_is_abandoned_and_not_evaluated(workers):
    evaluated = []

    def evaluate(params):
        evaluated.append(params.id)
        return square(params)

    study = make_study(strategy=InterruptedSearch())
    study.run(evaluate, workers=workers, progress=False)
    given_up = [trial for trial in study.trials if trial.id not in evaluated]
    assert given_up
    assert {(trial.state, trial.lost, trial.reason) for trial in given_up} == {
        ("failed", True, "interrupted before it was evaluated")
    }
    assert study.why_stopped.startswith("interrupted")
    assert study.budget.spent_trials == len(evaluated)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_ctrl_c_while_the_model_thinks_ends_the_run_as_well(workers):
    study = make_study(strategy=InterruptedSearch(presses=2))
    study.run(square, workers=workers, progress=False)
    assert study.why_stopped.startswith("interrupted")
    assert not any(trial.state == "pending" for trial in study.trials)


def test_ctrl_c_is_given_back_after_the_run():
    before = signal.getsignal(signal.SIGINT)
    make_study().run(square, progress=False)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_last_trial_that_costs_more_than_was_left_does_not_overrun_the_bar(capsys):
    dear = make_study(budget=bo.Budget(cost=10.0))
    dear.run(lambda params: {"loss": 1.0, "cost": 12.0})  # pytest turns tqdm's warning into an error
    assert dear.budget.spent_cost == 12.0
    assert "100%" in capsys.readouterr().err
