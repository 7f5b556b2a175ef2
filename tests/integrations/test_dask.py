"""Study.run on a local cluster of Dask, with workers that are killed."""

import logging
import os
import signal
import time

import dask
import pytest
from distributed import Client, LocalCluster

import bayesopt as bo


@pytest.fixture(scope="module")
def client():
    # No dashboard, which needs a package of its own. A task is tried once more after it has killed a worker, so with
    # three of them one is always alive, however long a busy machine takes to start another.
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(
            n_workers=3, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=logging.CRITICAL
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def make_study(trials, **options):
    space = bo.Space({"x": bo.Float(0.0, 1.0), "y": bo.Float(0.0, 1.0)})
    return bo.Study(space, minimize="loss", budget=bo.Budget(trials=trials), seed=0, noise=0.0, **options)


def bowl(params):
    return {"loss": (params["x"] - 0.3) ** 2 + (params["y"] - 0.6) ** 2, "process": os.getpid()}


def test_a_worker_killed_in_the_middle_costs_no_trial(client, tmp_path):
    def kills_its_worker_once(params):
        time.sleep(0.05)  # so that every worker has something to do
        if params.id == 4:
            try:
                (tmp_path / "killed").touch(exist_ok=False)
            except FileExistsError:
                pass  # the second time, on another worker
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return bowl(params)

    study = make_study(12)
    best = study.run(kills_its_worker_once, progress=False, executor=client.get_executor(pure=False))
    assert (tmp_path / "killed").exists()
    assert [trial.state for trial in study.trials] == ["complete"] * 12
    assert os.getpid() not in {trial.values["process"] for trial in study.trials}
    assert best.values["loss"] < 0.01


def test_a_trial_that_kills_every_worker_it_runs_on_is_a_failure(client):
    def kills_at_the_third(params):
        if params.id == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return bowl(params)

    study = make_study(6, strategy=bo.strategies.RandomSearch())
    study.run(kills_at_the_third, workers=2, progress=False, executor=client.get_executor(pure=False))
    states = [trial.state for trial in study.trials]
    assert states == ["complete"] * 2 + ["failed"] + ["complete"] * 3
    assert "KilledWorker" in study.trials[2].reason
