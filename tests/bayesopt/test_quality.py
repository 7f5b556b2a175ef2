"""How good the default strategy is, through the public loop, on problems whose answer is known."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bayesopt as bo

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from problems import constrained, noisy, smooth
from problems.crashing import CRASHING_HARTMANN6
from problems.mixed import MIXTURE as MIXED
from study_run import run_study

pytestmark = pytest.mark.slow

HARTMANN6 = replace(smooth.HARTMANN6, trials=40)
NOISY_HARTMANN6 = replace(noisy.HARTMANN6_025, trials=60)
GRAMACY = replace(constrained.GRAMACY, trials=40)


def returned(problem, n_seeds, strategy=None):
    return [run_study(problem, strategy, seed).returned for seed in range(n_seeds)]


def test_hartmann_is_nearly_solved_in_forty_trials():
    assert np.median(returned(HARTMANN6, 10)) <= -3.20


def test_constrained_gramacy_is_solved_in_forty_trials():
    assert np.median(returned(GRAMACY, 6)) <= 0.605


def test_a_mixed_space_is_solved_where_random_search_is_not():
    assert np.median(returned(MIXED, 4)) < 0.05
    assert np.median(returned(MIXED, 4, bo.strategies.RandomSearch())) > 0.3


def test_under_noise_the_returned_trial_is_truly_better_than_the_luckiest():
    runs = [run_study(NOISY_HARTMANN6, None, seed) for seed in range(10)]
    assert np.median([r.returned for r in runs]) < np.median([r.raw_best for r in runs])


def test_where_half_the_space_breaks_the_rest_is_still_searched():
    runs = [run_study(CRASHING_HARTMANN6, None, seed) for seed in range(4)]
    assert np.median([r.returned for r in runs]) < -2.8
    assert np.median([r.n_failed for r in runs]) < 24  # six of the ten trials of the start break on average


def test_six_failures_told_at_the_favourite_point_spread_the_next_asks_out():
    space = HARTMANN6.space
    study = bo.Study(space, minimize="y", seed=0)
    for _ in range(16):
        trial = study.ask()
        study.tell(trial, HARTMANN6.outcomes(trial.params))
    asked = []
    for _ in range(12):
        trial = study.ask()
        asked.append(space.encode(trial.params))
        study.fail(trial, "broke")
    distances = np.linalg.norm(np.array(asked[6:])[:, None] - np.array(asked[6:])[None], axis=-1)
    assert np.median(distances[np.triu_indices(6, 1)]) > 0.1
    assert np.linalg.norm(np.array(asked[6:]) - asked[0], axis=1).min() > 0.05
