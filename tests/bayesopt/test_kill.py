"""A process that runs a study is killed at a random instant; nothing that a call returned may be gone."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from tests.bayesopt.workers.processes import ROOT, Nursery, kill
from tests.bayesopt.workers.tasks import loss, open_study

ROUNDS = 40


@pytest.fixture(scope="module")
def nursery():
    with Nursery() as nursery:
        yield nursery


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request, tmp_path):
    return str(tmp_path / "study.db") if request.param == "sqlite" else request.getfixturevalue("postgresql_url")


def _read(journal):
    lines = journal.read_bytes().decode().splitlines() if journal.exists() else []
    return [line.split() for line in lines]


def test_a_kill_at_any_instant_loses_nothing_and_uses_no_id_twice(nursery, storage, tmp_path):
    rng = random.Random(0)
    journal = tmp_path / "journal"
    interrupted = Counter()
    for number in range(ROUNDS):
        before = len(_read(journal))
        child = nursery.start("loop", storage=storage, journal=str(journal), seed=number)
        deadline = time.monotonic() + 60
        # Three rounds in four go past the opening before the killer looks at the clock.
        while number % 4 and len(_read(journal)) == before and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.15))
        kill(child)
        assert nursery.wait(child) == -signal.SIGKILL
        seen = _read(journal)
        if len(seen) > before:
            interrupted[seen[-1][0]] += 1
        with open_study(storage) as study:
            _check(study.trials, seen)
            _tell_every_other_pending_trial(study, journal)
    seen = _read(journal)
    # The kills fell at different places, and there was something to lose.
    assert len(interrupted) >= 3, interrupted
    assert sum(line[0] == "told" for line in seen) >= ROUNDS
    _the_others_time_out(storage)


def _check(trials, seen):
    assert [trial.id for trial in trials] == list(range(len(trials)))
    assert not [id for id, n in Counter(line[1] for line in seen if line[0] == "asked").items() if n > 1]
    created = [line[1] for line in seen if line[0] in ("enqueued", "external")]
    assert len(created) == len(set(created))
    for word, *rest in seen:
        if word == "open":
            continue
        trial = trials[int(rest[0])]
        if word in ("told", "external"):
            assert trial.state == "complete"
            assert trial.values["loss"].hex() == loss(trial.params).hex() == rest[1]
        elif word == "failed":
            assert (trial.state, trial.reason, trial.cost) == ("failed", "on purpose", 1.0)
        else:
            assert trial.params["x"].hex() == rest[1]


def _tell_every_other_pending_trial(study, journal):
    for trial in [trial for trial in study.trials if trial.state == "pending"][::2]:
        study.tell(trial, {"loss": loss(trial.params), "memory": None})
        with journal.open("ab") as file:
            file.write(f"told {trial.id} {loss(trial.params).hex()}\n".encode())


def _the_others_time_out(storage):
    with open_study(storage, pending_timeout=0.05) as study:
        ghosts = [trial.id for trial in study.trials if trial.state == "pending"]
        time.sleep(0.1)
        study.ask()
        for ghost in ghosts:
            trial = study.trials[ghost]
            assert (trial.state, trial.lost) == ("failed", True)
            assert "no sign of life" in trial.reason
        assert len(study.history.failed) == sum(t.state == "failed" and not t.lost for t in study.trials)
        if ghosts:
            assert study.tell(ghosts[0], {"loss": 0.5, "memory": None}).state == "complete"


def test_a_killed_creator_leaves_a_file_that_can_be_opened(nursery, tmp_path):
    """The instant of the kill sweeps over the creation of the file, its tables and its study."""
    for number in range(20):
        storage, journal = tmp_path / f"{number}.db", tmp_path / f"journal{number}"
        child = nursery.start("loop", storage=str(storage), journal=str(journal), seed=number)
        time.sleep(0.002 * number)
        kill(child)
        nursery.wait(child)
        with open_study(str(storage)) as study:
            _check(study.trials, _read(journal))
            assert study.ask() is not None


def test_the_child_is_the_library_without_torch():
    code = "import sys, tests.bayesopt.workers.tasks; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
