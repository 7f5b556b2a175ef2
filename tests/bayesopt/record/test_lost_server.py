"""PostgreSQL goes away in the middle: calls are tried again and happen once, or say what they could not save."""

import shutil
import tempfile
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

import bayesopt as bo
from bayesopt.errors import StorageError, TrialStateError
from tests.bayesopt.record.proxy import Proxy
from tests.bayesopt.record.server import Server, programs
from tests.bayesopt.workers.tasks import Uniform

SPACE = bo.Space({"x": bo.Float(0.0, 1.0)})


@pytest.fixture
def proxy(postgresql_url):
    url = sa.make_url(postgresql_url)
    proxy = Proxy(url.host, url.port or 5432)
    proxy.url = url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
    yield proxy
    proxy.cut()


@pytest.fixture
def study(proxy):
    with _study(proxy.url) as study:
        yield study


def _study(url, patience=10.0):
    study = bo.Study(SPACE, minimize="loss", storage=url, seed=0, strategy=Uniform())
    study._store._database._patience = patience
    return study


DEEDS = {
    "ask": lambda study: study.ask(),
    "ask for three": lambda study: study.ask(3)[0],
    "tell": lambda study: study.tell(0, 0.5, cost=2.0),
    "fail": lambda study: study.fail(0, "broke"),
    "abandon": lambda study: study.abandon(0),
    "enqueue": lambda study: study.enqueue({"x": 0.25}),
    "tell_external": lambda study: study.tell_external({"x": 0.25}, 0.5),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_a_call_whose_confirmation_was_lost_happens_once(study, proxy, deed):
    study.ask()
    proxy.swallow_answer_to(b"COMMIT")
    trial = DEEDS[deed](study)
    assert proxy.n_swallowed == 1
    with bo.Study.open(proxy.url) as other:
        assert [t.id for t in other.trials] == list(range(4 if deed == "ask for three" else 1 + (trial.id > 0)))
        assert other.trials[trial.id] == trial
        assert other.budget == study.budget


@pytest.mark.parametrize("deed", DEEDS)
def test_a_call_whose_write_was_interrupted_happens_once(study, proxy, deed):
    study.ask()
    proxy.swallow_answer_to(b"UPDATE priorwise_studies")
    trial = DEEDS[deed](study)
    assert proxy.n_swallowed == 1
    with bo.Study.open(proxy.url) as other:
        assert [t.id for t in other.trials] == list(range(4 if deed == "ask for three" else 1 + (trial.id > 0)))


@pytest.mark.parametrize("deed", DEEDS)
def test_a_call_on_a_connection_that_broke_meanwhile_succeeds(study, proxy, deed):
    study.ask()
    proxy.break_connections()
    trial = DEEDS[deed](study)
    assert study.trials[trial.id] == trial


def test_a_call_waits_for_a_server_that_comes_back(study, proxy):
    trial = study.ask()
    proxy.cut()
    timer = threading.Timer(0.5, proxy.restore)
    timer.start()
    told = study.tell(trial, 0.5)
    timer.join()
    assert told.state == "complete"
    assert study.ask().id == 1


def test_a_server_that_stays_away_is_an_error_and_the_call_can_be_repeated(study, proxy):
    study._store._database._patience = 0.3
    trial = study.ask()
    proxy.cut()
    with pytest.raises(StorageError, match=r"for 0\.3 s .*told before is kept\. What came of trial 0 is not"):
        study.tell(trial, 0.5)
    with pytest.raises(StorageError, match="could not be reached"):
        study.ask()
    proxy.restore()
    assert study.trials == [trial]
    assert study.tell(trial, 0.5).values == {"loss": 0.5}
    assert study.ask().id == 1


def test_run_hands_out_the_result_that_it_cannot_save(study, proxy):
    study._store._database._patience = 0.3
    calls = []

    def evaluate(trial):
        calls.append(trial)
        if len(calls) == 3:
            proxy.cut()
        return {"loss": 0.125, "cost": 7.0}

    with pytest.raises(StorageError, match="could not be reached") as caught:
        study.run(evaluate, progress=False)
    proxy.restore()
    command = "study.tell(2, {'loss': 0.125}, cost=7.0)"
    assert command in str(caught.value)
    assert [trial.state for trial in study.trials] == ["complete", "complete", "pending"]
    eval(command)
    assert study.trials[2].values == {"loss": 0.125}
    assert study.trials[2].cost == 7.0


def test_run_with_threads_hands_out_every_result_that_it_cannot_save(study, proxy):
    study._store._database._patience = 0.3
    both = threading.Barrier(2)

    def evaluate(trial):
        both.wait()  # two results at once, and the line is cut before either is told
        proxy.cut()
        return {"loss": float(trial.id), "cost": 7.0}

    with pytest.raises(StorageError, match="could not be reached") as caught:
        study.run(evaluate, workers=2, progress=False)
    proxy.restore()
    for trial in study.trials:
        assert f"study.tell({trial.id}, {{'loss': {trial.id}.0}}, cost=7.0)" in str(caught.value)


def test_a_heartbeat_outlives_a_server_that_was_away(proxy):
    with bo.Study(SPACE, minimize="loss", storage=proxy.url, strategy=Uniform(), pending_timeout=1.0) as study:
        trial = study.ask()
        proxy.cut()
        time.sleep(0.5)
        proxy.restore()
        time.sleep(1.5)
        study.ask()
        assert study.trials[trial.id].state == "pending"


@pytest.mark.slow
@pytest.mark.skipif(programs() is None, reason="needs initdb and pg_ctl to stop a server of its own")
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_study_survives_restarts_of_a_real_server(mode):
    folder = Path(tempfile.mkdtemp(prefix="bayesopt-server-", dir="/tmp"))  # the server's user must reach it
    server = Server(folder)
    server.start()
    try:
        _survives_restarts(server, mode)
    finally:
        server.stop("immediate")
        shutil.rmtree(folder)


def _survives_restarts(server, mode):
    told, stop = [], threading.Event()

    def restarts():
        for _ in range(3):
            time.sleep(0.7)
            server.stop(mode)
            time.sleep(0.3)
            server.start()
        stop.set()

    with _study(server.url, patience=30.0) as study:
        thread = threading.Thread(target=restarts)
        thread.start()
        try:
            while not stop.is_set():
                trial = study.ask()
                study.tell(trial, trial.params["x"])
                told.append(trial.id)
                with pytest.raises(TrialStateError, match="has ended already"):
                    study.tell(trial, 1.0)
        finally:
            thread.join()
        assert told == list(range(len(told)))
        assert [trial.id for trial in study.trials if trial.state == "complete"] == told
