"""Suggestion k is a function of the seed and of what was told and asked before: killed and resumed, bit for bit."""

import json
import signal
import subprocess
import sys

import pytest

import bayesopt as bo
from tests.bayesopt.workers import proposals
from tests.bayesopt.workers.processes import ROOT


def _run(tmp_path, name, scenario, first, last, end="end", storage=None):
    journal = tmp_path / f"{name}.journal"
    arguments = [storage or str(tmp_path / f"{name}.db"), str(journal), scenario, str(first), str(last), end]
    command = [sys.executable, "-m", "tests.bayesopt.workers.proposals", *arguments]
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    assert status == (-signal.SIGKILL if end == "kill" else 0)
    return _read(journal)


def _read(journal):
    return [json.loads(line) for line in journal.read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "cuts"),
    [("plain", [2, 6, 9]), ("everything", [1, 5, 9, 12])],
)
def test_a_study_killed_between_tell_and_ask_proposes_what_an_uninterrupted_one_does(tmp_path, scenario, cuts):
    last = cuts[-1] + 2
    straight = _run(tmp_path, "straight", scenario, 0, last)
    first = 0
    for cut in cuts:
        _run(tmp_path, "killed", scenario, first, cut, end="kill")
        first = cut + 1
    resumed = _run(tmp_path, "killed", scenario, first, last)
    assert resumed == straight
    assert len({json.dumps(params) for _, _, params in straight}) == len(straight)


def test_a_study_resumed_in_another_process_proposes_the_same_points(tmp_path):
    """The short version: a space-filling start, then models, each fitted from the one before; killed between two."""
    proposals.main(str(tmp_path / "straight.db"), str(tmp_path / "straight.journal"), "plain", 0, 7, "end")
    straight = _read(tmp_path / "straight.journal")
    _run(tmp_path, "killed", "plain", 0, 5, end="kill")
    assert _run(tmp_path, "killed", "plain", 6, 7) == straight
    trials = bo.Study.open(tmp_path / "killed.db").trials
    assert trials[-1].memory["fits"]


def test_what_a_strategy_remembered_is_bit_for_bit_the_same_in_another_process(tmp_path):
    proposals.main(str(tmp_path / "straight.db"), str(tmp_path / "straight.journal"), "remembering", 0, 5, "end")
    straight = _read(tmp_path / "straight.journal")
    _run(tmp_path, "killed", "remembering", 0, 2, end="kill")
    assert _run(tmp_path, "killed", "remembering", 3, 5) == straight
    memories = [
        [trial.memory for trial in bo.Study.open(tmp_path / f"{name}.db").trials] for name in ("straight", "killed")
    ]
    assert memories[0] == memories[1]
    assert len(straight) == len(memories[0]) == 9


@pytest.mark.slow
def test_databases_agree_on_every_bit(tmp_path, postgresql_url):
    on_postgresql = _run(tmp_path, "postgresql", "everything", 0, 8, storage=postgresql_url)
    assert on_postgresql == _run(tmp_path, "sqlite", "everything", 0, 8)
