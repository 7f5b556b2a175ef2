"""Searches that learn nothing: the floor of every comparison."""

import math

import numpy as np
from problems.problem import Params, Problem

from optimizers.optimizer import n_starts, sobol_points


class _Search:
    """Returns the configuration with the least objective told that satisfied every constraint."""

    def __init__(self, problem: Problem, points: list[Params]) -> None:
        self._problem = problem
        self._points = iter(points)
        self._best: tuple[float, Params | None] = (math.inf, None)

    def ask(self) -> Params:
        """The next configuration of the list."""
        return next(self._points)

    def tell(self, params: Params, outcomes: dict[str, float]) -> None:
        """Keep the best."""
        value = self._problem.true_value(outcomes)
        if value < self._best[0]:
            self._best = (value, params)

    def recommend(self) -> Params | None:
        """The best kept."""
        return self._best[1]


class SobolSearch(_Search):
    """The Sobol sequence whose first points are everyone's start."""

    def __init__(self, problem: Problem, seed: int) -> None:
        """Begin after the start."""
        super().__init__(problem, list(sobol_points(problem, seed, problem.trials)[n_starts(problem) :]))


class RandomSearch(_Search):
    """Uniform points after the common start."""

    def __init__(self, problem: Problem, seed: int) -> None:
        """Draw every configuration."""
        points = problem.space.sample(problem.trials, np.random.default_rng([seed, 3]))
        super().__init__(problem, [problem.space.decode(u) for u in points])
