"""Study.run(executor=...): evaluations in any executor of concurrent.futures, which may lose workers or break."""

import os
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import pytest

import bayesopt as bo
from bayesopt.errors import InvalidInputError
from tests.bayesopt.workers.evaluations import dies_at_the_third, square


def make_study(trials=6, **options):
    options = {"minimize": "loss", "seed": 0, "strategy": bo.strategies.RandomSearch(), "noise": 0.0} | options
    return bo.Study(bo.Space({"x": bo.Float(0.0, 1.0)}), budget=bo.Budget(trials=trials), **options)


class Loses(Executor):
    """Runs calls at once, but for those of some trials reports what an executor reports whose worker died."""

    def __init__(self, lost):
        self.lost, self._max_workers, self.n_calls = lost, 2, 0

    def submit(self, fn, /, *args, **kwargs):
        future, trial = Future(), args[1]
        self.n_calls += 1
        if trial.id in self.lost:
            future.set_exception(RuntimeError("the worker died"))
        else:
            future.set_result(fn(*args, **kwargs))
        return future


def new_pool(workers):
    # spawn: a fork of a process that has threads, as one that runs pytest may have, can hang
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


@pytest.fixture(scope="module")
def processes():
    with new_pool(2) as pool:
        yield pool


def test_evaluations_run_in_the_processes_of_a_pool_which_stays_open(processes):
    study = make_study(trials=8)
    best = study.run(square, progress=False, executor=processes)
    assert [trial.state for trial in study.trials] == ["complete"] * 8
    assert best.values["loss"] == min(trial.values["loss"] for trial in study.trials)
    assert os.getpid() not in {trial.values["process"] for trial in study.trials}
    assert processes.submit(abs, -1).result() == 1


def test_a_pool_that_breaks_ends_the_run_and_its_trials_can_be_asked_anew():
    study = make_study()
    with new_pool(1) as pool, pytest.raises(BrokenProcessPool):
        study.run(dies_at_the_third, workers=2, progress=False, executor=pool)
    # nobody can say which of the trials that were running broke it, so no configuration is blamed
    assert {trial.lost for trial in study.trials if trial.state == "failed"} == {True}
    assert not any(trial.state == "pending" for trial in study.trials)
    study.run(square, progress=False)
    assert study.budget.spent_trials == 6
    assert [trial.state for trial in study.trials if not trial.lost] == ["complete"] * 6


def test_a_trial_whose_worker_died_is_a_failure_and_the_others_go_on(caplog):
    study = make_study()
    study.run(square, progress=False, executor=Loses({3}))
    assert [trial.state for trial in study.trials] == ["complete"] * 3 + ["failed"] + ["complete"] * 2
    assert study.trials[3].reason == "RuntimeError: the worker died"
    assert study.trials[3].cost >= 0
    assert "trial 3 failed with its worker" in caplog.text


def test_an_executor_that_never_gave_anything_back_ends_the_run_and_costs_no_trial():
    study, executor = make_study(trials=50), Loses(range(50))
    with pytest.raises(RuntimeError, match="the worker died"):
        study.run(square, progress=False, executor=executor)
    assert executor.n_calls == 2
    assert study.budget.spent_trials == 0
    assert {trial.lost for trial in study.trials} == {True}


def test_what_cannot_be_sent_to_a_process_ends_the_run_and_costs_no_trial(processes):
    study = make_study()
    with pytest.raises(Exception, match=r"(?i)pickle"):
        study.run(lambda params: 1.0, progress=False, executor=processes)
    assert study.budget.spent_trials == 0


def test_as_many_trials_run_at_a_time_as_the_executor_has_workers_or_as_one_says():
    class Counts(Loses):
        def __init__(self, workers):
            super().__init__(())
            self._max_workers, self.asked = workers, []

        def submit(self, fn, /, *args, **kwargs):
            self.asked.append(sum(trial.state == "pending" for trial in study.trials))
            return super().submit(fn, *args, **kwargs)

    for said, pending in ((None, 3), (2, 2)):
        study, executor = make_study(), Counts(3)
        study.run(square, workers=said, progress=False, executor=executor)
        assert max(executor.asked) == pending


def test_an_executor_that_does_not_tell_its_size_is_asked_for_it():
    executor = Loses(())
    del executor._max_workers
    with pytest.raises(InvalidInputError, match=r"Loses does not tell how many .* workers=8"):
        make_study().run(square, progress=False, executor=executor)


def test_what_is_no_executor_is_refused():
    with pytest.raises(InvalidInputError, match="executor must have submit"):
        make_study().run(square, progress=False, executor=4)


def test_threads_of_ones_own_report_curves_as_ours_do():
    def evaluate(params):
        params.report(1, params["x"])
        return params["x"]

    study = make_study()
    with ThreadPoolExecutor(2) as pool:
        study.run(evaluate, progress=False, executor=pool)
    assert study._store.reports() == {trial.id: {1.0: trial.params["x"]} for trial in study.trials}
