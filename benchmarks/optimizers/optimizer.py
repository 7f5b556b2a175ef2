"""What the benchmark asks of an optimizer, and what most of them need of a space."""

import math
from typing import Any, Protocol

import numpy as np
from problems.problem import Params, Problem
from scipy.stats import qmc

import bayesopt as bo

_LEAST_SHARE = 1e-3
"""Least weight of a share, of at most 1, for tools without shares of a whole: what the weights sum to divides them."""


class Optimizer(Protocol):
    """Proposes configurations for one run."""

    def __init__(self, problem: Problem, seed: int) -> None:
        """Begin a run.

        Args:
            problem: What to minimise; only its space, its constraints and its number of trials may be looked at, and
                whether it is noisy where the tool asks its user that.
            seed: Of every random choice.
        """

    def ask(self) -> Params:
        """The configuration to evaluate next."""

    def tell(self, params: Params, outcomes: dict[str, float]) -> None:
        """Learn the outcomes of the configuration asked last, or of one of the starts."""

    def recommend(self) -> Params | None:
        """The configuration that the tool itself names the best; None where it names none."""


def n_starts(problem: Problem) -> int:
    """How many configurations every optimizer is told before it proposes one."""
    return min(2 * problem.space.dim, problem.space.dim + 4)


def sobol_points(problem: Problem, seed: int, n: int) -> list[dict[str, Any]]:
    """The first configurations of the scrambled Sobol sequence of a seed."""
    sequence = qmc.Sobol(problem.space.dim, rng=np.random.default_rng([seed, 2]))
    points = sequence.random(2 ** math.ceil(math.log2(max(n, 2))))
    return [problem.space.decode(u) for u in points[:n]]


class PlainSpace:
    """A space for tools that know real numbers, whole numbers and options only.

    The shares of a whole become weights, and dividing them by their sum is left to the objective: the usual way round.
    """

    def __init__(self, problem: Problem) -> None:
        """Read the space of a problem."""
        self._simplices = {
            name: parameter for name, parameter in problem.space.items() if isinstance(parameter, bo.Simplex)
        }
        self.parameters: dict[str, bo.Float | bo.Int | bo.Choice] = {}
        """Name to parameter."""
        for name, parameter in problem.space.items():
            if isinstance(parameter, bo.Simplex):
                self.parameters |= {f"{name}_{part}": bo.Float(_LEAST_SHARE, 1.0) for part in parameter.names}
            else:
                self.parameters[name] = parameter
        self._names = problem.space.names

    def values(self, params: Params) -> dict[str, Any]:
        """The values of the plain parameters for a configuration."""
        values: dict[str, Any] = {}
        for name in self._names:
            if name in self._simplices:
                shares = params[name]
                largest = max(shares.values())
                values |= {f"{name}_{part}": max(share / largest, _LEAST_SHARE) for part, share in shares.items()}
            else:
                values[name] = params[name]
        return values

    def params(self, values: Params) -> dict[str, Any]:
        """The configuration for values of the plain parameters."""
        params: dict[str, Any] = {}
        for name in self._names:
            if name in self._simplices:
                weights = {part: float(values[f"{name}_{part}"]) for part in self._simplices[name].names}
                total = sum(weights.values())
                params[name] = {part: weight / total for part, weight in weights.items()}
            else:
                params[name] = _plain(self.parameters[name], values[name])
        return params


def _plain(parameter: bo.Float | bo.Int | bo.Choice, value: Any) -> Any:
    """A value as a plain Python one within the bounds, which some tools leave by a rounding."""
    if isinstance(parameter, bo.Choice):
        return next(option for option in parameter.options if option == value)
    number = int(value) if isinstance(parameter, bo.Int) else float(value)
    return min(max(number, parameter.low), parameter.high)
