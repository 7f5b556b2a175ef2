"""How good the default strategy is, through the public loop, on problems whose answer is known."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bayesopt as bo

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from problems import constrained, multimodal, noisy, smooth
from problems.crashing import CRASHING_HARTMANN6
from problems.mixed import MIXTURE as MIXED
from problems.problem import box
from study_run import run_study

pytestmark = pytest.mark.slow

HARTMANN6 = replace(smooth.HARTMANN6, trials=40)
NOISY_HARTMANN6 = replace(noisy.HARTMANN6_025, trials=60)


SEEDS = range(300, 306)
"""Of the runs behind a bound; nothing was developed on them."""

UNCONSTRAINED = {
    "Branin": (replace(smooth.BRANIN, trials=30), 0.02),
    "Hartmann-6": (replace(smooth.HARTMANN6, trials=60), 0.12),
    "Levy-5": (replace(multimodal.LEVY4, space=box(5, -10.0, 10.0), trials=60), 0.4),
    "Rosenbrock-6": (replace(smooth.ROSENBROCK4, space=box(6, -2.048, 2.048), trials=60), 7.0),
    "Ackley-5 off the centre": (replace(multimodal.ACKLEY5, trials=60), 3.4),
    "Hartmann-6 with noise": (replace(noisy.HARTMANN6_025, trials=80), 0.35),
}
"""Problems, and what the median regret may be."""

CONSTRAINED = {
    "Gramacy": (replace(constrained.GRAMACY, trials=40), 0.6010, 0.6035),
    "Hartmann-6 in a ball": (replace(constrained.HARTMANN6_BALL, trials=60), -3.30, np.inf),
    "speed reducer": (replace(constrained.GEARS, trials=50), 2998.0, np.inf),
    "tension-compression spring": (replace(constrained.SPRING, trials=60), 0.0145, np.inf),
}
"""Problems, what the median value may be, and what every value: each run must find something feasible."""


@pytest.mark.parametrize(("problem", "most"), UNCONSTRAINED.values(), ids=UNCONSTRAINED)
def test_known_minima_are_approached(problem, most):
    regret = [run_study(problem, None, seed).returned - problem.minimum for seed in SEEDS]
    assert np.median(regret) <= most


@pytest.mark.parametrize(("problem", "median", "each"), CONSTRAINED.values(), ids=CONSTRAINED)
def test_known_minima_under_constraints_are_approached(problem, median, each):
    values = [run_study(problem, None, seed).returned for seed in SEEDS]
    assert np.isfinite(values).all()
    assert np.median(values) <= median
    assert max(values) <= each


def returned(problem, n_seeds, strategy=None):
    return [run_study(problem, strategy, seed).returned for seed in range(n_seeds)]


def test_hartmann_is_nearly_solved_in_forty_trials():
    assert np.median(returned(HARTMANN6, 10)) <= -3.20


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
