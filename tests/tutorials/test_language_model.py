"""The main job's training program: its text, its contract with a study, and that it learns.

PyTorch is not imported here: the program runs in single precision, as a user starts it.
"""

import importlib
import json
import math
import subprocess
import sys
import zlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "tutorials" / "language_model"
OUTCOMES = {"val_loss", "prose_loss", "source_loss", "tables_loss", "memory_mb", "seconds"}


@pytest.fixture
def corpus(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("corpus")


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("train")


def run_program(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, FOLDER / "train.py", *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def test_every_domain_has_text_to_train_on_and_to_hold_out(corpus):
    domains = corpus.load()
    assert tuple(domains) == corpus.DOMAINS
    for domain in domains.values():
        # Enough that a default run (128 steps of 32 windows of 32 bytes) sees little of it twice.
        assert 200_000 <= len(domain.train) <= corpus.TRAIN_BYTES
        assert 12_000 <= len(domain.held_out) <= corpus.HELD_OUT_BYTES
        assert domain.train.max() < 128


def test_no_long_line_is_both_trained_on_and_held_out(corpus):
    def long_lines(part: str) -> set[bytes]:
        texts = (bytes(getattr(domain, part)) for domain in corpus.load().values())
        return {line for text in texts for line in text.splitlines() if len(line) >= corpus.LONG_LINE}

    held_out = long_lines("held_out")
    assert len(held_out) > 300
    assert not held_out & long_lines("train")


def test_the_text_is_the_same_in_another_process(corpus):
    code = "import corpus, zlib; print([zlib.crc32(part) for domain in corpus.load().values() for part in domain])"
    there = subprocess.run(
        [sys.executable, "-c", code], cwd=FOLDER, capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(there.stdout) == [zlib.crc32(part) for domain in corpus.load().values() for part in domain]


def test_a_short_training_beats_what_byte_counts_alone_predict(training, corpus):
    def unigram_loss(domain) -> float:
        counts = np.bincount(domain.train, minlength=128) + 1.0
        return float(-np.log(counts / counts.sum())[domain.held_out].mean())

    by_counts = sum(share * unigram_loss(corpus.load()[name]) for name, share in training.TARGET.items())
    outcomes = training.train(training.DEFAULTS | {"lr": 0.01}, steps=40)
    assert outcomes["val_loss"] < by_counts - 0.3


def test_the_same_seed_gives_the_same_outcomes_and_another_does_not(training):
    config = training.DEFAULTS | {"batch_size": 8}
    first, again, other = (training.train(config, seed=seed, steps=3) for seed in (0, 0, 1))
    assert {**first, "seconds": 0.0} == {**again, "seconds": 0.0}
    assert first["val_loss"] != other["val_loss"]


def test_no_global_random_state_is_read_or_changed(training):
    torch = importlib.import_module("torch")
    before = torch.get_rng_state(), torch.get_num_threads()
    training.train(training.DEFAULTS | {"batch_size": 8}, steps=1)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == torch.get_num_threads()


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
def test_every_optimizer_lowers_the_loss(training, optimizer):
    config = training.DEFAULTS | {"optimizer": optimizer, "lr": 0.02, "batch_size": 8}
    assert training.train(config, steps=20)["val_loss"] < math.log(128) - 1.0  # log(128): every byte equally likely


def test_memory_is_the_weights_the_optimizer_and_a_part_that_grows_with_the_batch(training):
    def megabytes(batch_size: int, optimizer: str) -> float:
        config = training.DEFAULTS | {"batch_size": batch_size, "optimizer": optimizer}
        return training.train(config, steps=1)["memory_mb"]

    weights = 4 * sum(weight.numel() for weight in training.ByteModel().parameters()) / 2**20
    # SGD keeps one number a weight, AdamW two (and a step count for each of its 21 tensors of weights).
    assert megabytes(8, "adamw") - megabytes(8, "sgd") == pytest.approx(weights, abs=1e-4)
    per_sequence = (megabytes(24, "sgd") - megabytes(8, "sgd")) / 16
    assert megabytes(8, "sgd") == pytest.approx(3 * weights + 8 * per_sequence, abs=0.01)


def test_reports_progress_after_each_quarter_but_the_last(training):
    reports: list[tuple[int, float]] = []
    training.train(training.DEFAULTS | {"batch_size": 8}, steps=8, report=lambda *report: reports.append(report))
    assert [step for step, _ in reports] == [2, 4, 6]
    assert all(math.isfinite(loss) for _, loss in reports)


def test_the_last_line_is_one_json_object_with_every_outcome():
    mixture = json.dumps({"prose": 0.5, "source": 0.3, "tables": 0.2})
    done = run_program("--steps", "4", "--batch_size", "8", "--lr", "3e-3", "--mixture", mixture)
    assert done.returncode == 0, done.stderr
    *progress, outcomes = map(json.loads, done.stdout.splitlines())
    assert [line["step"] for line in progress] == [1, 2, 3]
    assert outcomes.keys() == OUTCOMES
    assert all(math.isfinite(value) for value in outcomes.values())


def test_a_diverged_training_says_nan_and_keeps_its_cost(training):
    config = training.DEFAULTS | {"optimizer": "sgd", "lr": 1e6, "batch_size": 8}
    outcomes = training.train(config, steps=20)
    assert math.isnan(outcomes["val_loss"])
    assert outcomes["seconds"] > 0.0
    assert outcomes["memory_mb"] > 0.0


def test_an_unknown_optimizer_is_refused(training):
    with pytest.raises(ValueError, match="expected 'adamw', 'muon' or 'sgd', got 'adam'"):
        training.train(training.DEFAULTS | {"optimizer": "adam"}, steps=1)


def test_a_mixture_of_unknown_domains_is_refused(training):
    with pytest.raises(ValueError, match="mixture: expected shares of prose, source, tables; got web"):
        training.train(training.DEFAULTS | {"mixture": {"web": 1.0}}, steps=1)


def test_the_yaml_file_declares_the_same_study_as_the_program(monkeypatch):
    from bayesopt.cli.study_file import read_study_file

    monkeypatch.syspath_prepend(FOLDER)
    tune = importlib.import_module("tune")
    declared = read_study_file(FOLDER / "study.yaml")
    assert declared.space == tune.SPACE
    assert declared.objective.name == "val_loss"
    assert declared.subject_to == (tune.MEMORY,)


@pytest.mark.slow
def test_the_program_tunes_and_goes_on_where_it_stopped(tmp_path):
    command = [sys.executable, FOLDER / "tune.py", "--out", tmp_path]
    first = subprocess.run([*command, "--seconds", "4"], capture_output=True, text=True, timeout=300, check=False)
    assert first.returncode == 0, first.stderr
    assert (tmp_path / "study.png").stat().st_size > 10_000
    again = subprocess.run([*command, "--seconds", "6"], capture_output=True, text=True, timeout=300, check=False)
    assert again.returncode == 0, again.stderr
    rows = [[line for line in run.stdout.splitlines() if line.startswith("  0 ")] for run in (first, again)]
    assert rows[0] == rows[1]  # the first trial was kept, not run again
    for name in ("default", "random search", "tuned"):
        assert any(line.startswith(name) for line in again.stdout.splitlines())
