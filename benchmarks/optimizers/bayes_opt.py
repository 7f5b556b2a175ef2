"""bayesian-optimization with its defaults; logarithms are taken for it, since it knows none."""

import math
import warnings
from typing import Any

import numpy as np
from bayes_opt import BayesianOptimization
from bayes_opt.exception import NoValidPointRegisteredError
from problems.problem import Params, Problem
from scipy.optimize import NonlinearConstraint

import bayesopt as bo
from optimizers.optimizer import PlainSpace


class BayesOpt:
    """An optimizer to which points are registered."""

    def __init__(self, problem: Problem, seed: int) -> None:
        """Begin a run."""
        self._plain = PlainSpace(problem)
        self._constraints = [constraint.name for constraint in problem.subject_to]
        m = len(self._constraints)
        constraint = NonlinearConstraint(_never_called, np.full(m, -np.inf), np.zeros(m)) if m else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # whole numbers and options are marked experimental
            self._optimizer = BayesianOptimization(
                f=None,
                pbounds={name: _bounds(p) for name, p in self._plain.parameters.items()},
                constraint=constraint,
                random_state=seed,
                verbose=0,
                allow_duplicate_points=True,
            )

    def ask(self) -> Params:
        """What it suggests; a random point while nothing registered is allowed."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return self._params(self._optimizer.suggest())
            except NoValidPointRegisteredError:  # it then tells its user to sample
                return self._params(self._optimizer.random_sample()[0])

    def tell(self, params: Params, outcomes: dict[str, float]) -> None:
        """Register the point."""
        values = {name: _inward(self._plain.parameters[name], v) for name, v in self._plain.values(params).items()}
        margins = np.array([outcomes[name] for name in self._constraints])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self._constraints:
                self._optimizer.register(values, -outcomes["y"], constraint_value=margins)
            else:
                self._optimizer.register(values, -outcomes["y"])

    def recommend(self) -> Params | None:
        """Its best registered point that is allowed."""
        best = self._optimizer.max
        return None if best is None else self._params(best["params"])

    def _params(self, values: dict[str, Any]) -> dict[str, Any]:
        return self._plain.params({name: _outward(self._plain.parameters[name], v) for name, v in values.items()})


def _never_called(**values: Any) -> float:
    raise NotImplementedError("points are registered")


def _is_log(parameter: bo.Float | bo.Int | bo.Choice) -> bool:
    return not isinstance(parameter, bo.Choice) and parameter.log


def _bounds(parameter: bo.Float | bo.Int | bo.Choice) -> tuple[Any, ...]:
    if isinstance(parameter, bo.Choice):
        return tuple(parameter.options)
    if parameter.log:
        return math.log10(parameter.low), math.log10(parameter.high)
    return (parameter.low, parameter.high, int) if isinstance(parameter, bo.Int) else (parameter.low, parameter.high)


def _inward(parameter: bo.Float | bo.Int | bo.Choice, value: Any) -> Any:
    return math.log10(value) if _is_log(parameter) else value


def _outward(parameter: bo.Float | bo.Int | bo.Choice, value: Any) -> Any:
    if not _is_log(parameter):
        return value
    return round(10**value) if isinstance(parameter, bo.Int) else 10**value
