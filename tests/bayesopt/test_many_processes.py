"""Four processes work on one study."""

import subprocess
import sys

import pytest

import bayesopt as bo
from tests.bayesopt.workers.processes import ROOT, Nursery
from tests.bayesopt.workers.tasks import open_study

N_PROCESSES = 4


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request, tmp_path):
    return str(tmp_path / "study.db") if request.param == "sqlite" else request.getfixturevalue("postgresql_url")


def test_four_processes_share_200_trials_without_losing_or_repeating_one(storage, tmp_path):
    journal = tmp_path / "journal"  # lines of one write each, appended: four processes may share it
    with Nursery() as nursery:
        order = {"storage": storage, "journal": str(journal), "trials": 200}
        children = [nursery.start("share", **order) for _ in range(N_PROCESSES)]
        assert [nursery.wait(child) for child in children] == [0] * N_PROCESSES
    lines = [line.split(maxsplit=2) for line in journal.read_text().splitlines()]
    asked = [int(line[1]) for line in lines if line[0] == "asked"]
    told = [int(line[1]) for line in lines if line[0] == "told"]
    assert sorted(asked) == sorted(told) == list(range(200))
    study = open_study(storage, trials=200)
    assert [trial.id for trial in study.trials] == list(range(200))
    assert all(trial.state == "complete" for trial in study.trials)
    assert len({trial.params["x"] for trial in study.trials}) == 200
    assert study.budget.spent_cost == 200.0
    assert {int(trial.owner.split(":")[1]) for trial in study.trials} == set(children)
    assert study.why_stopped == "budget: all 200 trials are used"
    study.close()


@pytest.mark.slow
def test_three_processes_share_the_default_strategy(storage):
    """Pending trials of the others are in the history of every model."""
    code = f"""
import bayesopt as bo
study = bo.Study(bo.Space({{"x": bo.Float(0, 1), "k": bo.Int(0, 3)}}), minimize="loss", seed=0, storage={storage!r},
                 budget=bo.Budget(trials=24))
study.run(lambda trial: (trial.params["x"] - 0.3) ** 2 + trial.params["k"], progress=False)
"""
    children = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(3)]
    assert [child.wait(timeout=300) for child in children] == [0] * 3
    with bo.Study.open(storage) as study:
        assert [trial.id for trial in study.trials] == list(range(24))
        assert all(trial.state == "complete" for trial in study.trials)
        assert len({(trial.params["x"], trial.params["k"]) for trial in study.trials}) == 24
        assert study.best_observed.values["loss"] < 0.01
