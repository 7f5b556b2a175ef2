"""Where the user believes the optimum to be before the first trial.

Alphabet. u: a configuration in the unit cube. A density here is taken with respect to the uniform one on the cube,
so that 0 is the log density of knowing nothing.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from bayesopt.errors import InvalidParamsError, InvalidPriorError
from bayesopt.problem.arguments import as_number
from bayesopt.problem.beliefs import Belief, Functions, Prior
from bayesopt.problem.parameters import Choice, Float, Int, Simplex
from bayesopt.problem.space import Space

FloatArray = NDArray[np.float64]

_SHARE_FLOOR = 1e-9
"""Shares below this are read as this in a log density: a share of exactly 0 must not rule a mixture out."""
_REDRAWS: Final = 8
"""Times that a draw beyond the range of its parameter is made again before it is put on the edge."""
_CLOUD: Final = 1024
"""Configurations at which a density that the user wrote is looked at when it is declared."""
_CLOSER: Final = (0.1, 0.03, 0.01)
"""Standard deviations of the moves by which its mode is then sought, in sides of the cube."""
_STEP: Final = 1e-4
"""Step of the differences that stand for its slope, in sides of the cube."""


@dataclass(frozen=True)
class OptimumPrior(Prior):
    """Where the user believes the optimum to be, parameter by parameter; the others stay open.

    A belief is given in the parameter's own units:

    - `Float` and `Int`: `(centre, spread)`. The spread is a standard deviation; on a logarithmic parameter it is a
      factor, so that `(3e-4, 3.0)` means "3e-4, give or take a factor of 3".
    - `Choice`: a dict with a positive weight for every option, in any unit.
    - `Simplex`: `(shares, concentration)`, a Dirichlet whose mode is at the shares; 0 knows nothing, and the larger
      the concentration the surer.

    Or it is a function from a configuration, a dict, to the log density, up to a constant, of the optimum being there;
    the density is taken with respect to the space's own scale, which is logarithmic where the parameter is.

    Example:
        >>> OptimumPrior({"lr": (3e-4, 3.0)}).beliefs["lr"]
        (0.0003, 3.0)
    """

    beliefs: Mapping[str, Any] | Callable[[dict[str, Any]], float]
    """Parameter name to belief, or the log density of a configuration."""

    def __post_init__(self) -> None:
        """Refuse an empty belief.

        Raises:
            InvalidPriorError: If the beliefs are neither a function nor a mapping, or empty.
        """
        if not callable(self.beliefs) and (not isinstance(self.beliefs, Mapping) or not self.beliefs):
            raise InvalidPriorError(
                "OptimumPrior: expected a non-empty dict from parameter name to belief, or a function from a "
                f"configuration to a log density, got {self.beliefs!r}."
            )

    @override
    def on(self, space: Space) -> "PriorOnCube":
        """The belief as a log density on the unit cube of a space.

        Args:
            space: The space whose parameters the belief speaks of.

        Returns:
            The same belief, ready to be evaluated.

        Raises:
            InvalidPriorError: If a name is unknown, a belief does not fit its parameter, or a function returns no
                number.
        """
        if not isinstance(self.beliefs, Mapping):
            return PriorOnCube(space, (_Density(space, self.beliefs),))
        unknown = [name for name in self.beliefs if name not in space.names]
        if unknown:
            raise InvalidPriorError(
                f"OptimumPrior: unknown parameter {unknown[0]!r}; the space has {list(space.names)}."
            )
        terms = tuple(_term(name, self.beliefs[name], space) for name in space.names if name in self.beliefs)
        return PriorOnCube(space, terms)


class _Normal:
    """A normal belief on one column of the cube."""

    def __init__(self, column: int, centre: float, sd: float) -> None:
        self.columns, self.centre, self.sd = slice(column, column + 1), centre, sd

    def value(self, u: FloatArray) -> FloatArray:
        return self.value_and_gradient(u)[0]

    def value_and_gradient(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        z = (u - self.centre) / self.sd
        return -0.5 * (z * z)[:, 0], -z / self.sd

    def mode(self) -> FloatArray:
        return np.array([self.centre])

    def sample(self, n: int, rng: np.random.Generator) -> FloatArray:
        u = self.centre + self.sd * rng.standard_normal(n)
        for _ in range(_REDRAWS):
            outside = (u < 0.0) | (u > 1.0)
            u[outside] = self.centre + self.sd * rng.standard_normal(int(outside.sum()))
        return np.clip(u, 0.0, 1.0)[:, None]


class _Masses:
    """A weight for each option of a Choice: constant within an option's bin, so its gradient is zero."""

    def __init__(self, column: int, weights: Sequence[float]) -> None:
        self.columns = slice(column, column + 1)
        self.log_mass = np.log(np.asarray(weights) / np.sum(weights) * len(weights))

    def value(self, u: FloatArray) -> FloatArray:
        return self.value_and_gradient(u)[0]

    def value_and_gradient(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        k = len(self.log_mass)
        option = np.clip((u[:, 0] * k).astype(np.intp), 0, k - 1)
        return self.log_mass[option], np.zeros_like(u)

    def mode(self) -> FloatArray:
        return np.array([(float(np.argmax(self.log_mass)) + 0.5) / len(self.log_mass)])

    def sample(self, n: int, rng: np.random.Generator) -> FloatArray:
        k = len(self.log_mass)
        option = rng.choice(k, size=n, p=np.exp(self.log_mass) / k)
        return (option[:, None] + 0.5) / k


class _Dirichlet:
    """A Dirichlet belief on shares, relative to the uniform density on the simplex."""

    def __init__(self, columns: slice, simplex: Simplex, mode: FloatArray, concentration: float) -> None:
        self.columns, self._simplex, self._mode = columns, simplex, mode
        self._powers = concentration * simplex.shares(mode[None])[0]

    def value(self, u: FloatArray) -> FloatArray:
        return self.value_and_gradient(u)[0]

    def value_and_gradient(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        shares = np.maximum(self._simplex.shares(u), _SHARE_FLOOR)
        slopes = (self._powers / shares)[:, :, None] * self._simplex.shares_jacobian(u)
        return np.log(shares) @ self._powers, slopes.sum(axis=1)

    def mode(self) -> FloatArray:
        return self._mode

    def sample(self, n: int, rng: np.random.Generator) -> FloatArray:
        return self._simplex.scale.unit(rng.dirichlet(self._powers + 1.0, size=n))


class _Density:
    """A log density that the user wrote, of whole configurations."""

    def __init__(self, space: Space, function: Callable[[dict[str, Any]], float]) -> None:
        self.columns = slice(0, space.dim)
        self._space, self._function = space, function
        self._smooth = [index for index, column in enumerate(space.columns) if column.levels is None]
        rng = np.random.default_rng(0)
        self._cloud = space.sample(_CLOUD, rng)
        self._values = self._at(self._cloud)
        if not np.isfinite(self._values.max()):
            raise InvalidPriorError(
                f"OptimumPrior: the log density is {self._values.max()!r} at each of {_CLOUD} configurations of the "
                "space; it must be finite somewhere."
            )
        best = self._cloud[np.argmax(self._values)]
        for scale in _CLOSER:
            near = space.snap(np.clip(best + scale * rng.standard_normal((_CLOUD // 8, space.dim)), 0.0, 1.0))
            near = np.vstack([best, near[space.is_allowed(near)]])
            best = near[np.argmax(self._at(near))]
        self._mode = best

    def _at(self, u: FloatArray) -> FloatArray:
        found = np.empty(len(u))
        for row, params in enumerate(map(self._space.decode, u)):
            found[row] = as_number("OptimumPrior: the log density", self._function(params), InvalidPriorError)
        return np.where(np.isnan(found) | (found == math.inf), -math.inf, found)

    def value_and_gradient(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        gradient = np.zeros_like(u)
        for column in self._smooth:
            low, high = u.copy(), u.copy()
            low[:, column] = np.maximum(u[:, column] - _STEP, 0.0)
            high[:, column] = np.minimum(u[:, column] + _STEP, 1.0)
            with np.errstate(invalid="ignore"):
                slope = (self._at(high) - self._at(low)) / (high - low)[:, column]
            gradient[:, column] = np.nan_to_num(slope, posinf=0.0, neginf=0.0)
        return self._at(u), gradient

    def value(self, u: FloatArray) -> FloatArray:
        return self._at(u)

    def mode(self) -> FloatArray:
        return self._mode

    def sample(self, n: int, rng: np.random.Generator) -> FloatArray:
        weights = np.exp(self._values - self._values.max())
        return self._cloud[rng.choice(_CLOUD, size=n, p=weights / weights.sum())]


_Term = _Normal | _Masses | _Dirichlet | _Density


@dataclass(frozen=True)
class PriorOnCube(Belief):
    """A belief about the optimum as a log density on the unit cube."""

    space: Space
    """The space that the belief speaks of."""
    terms: tuple[_Term, ...]
    """One independent factor a parameter."""

    def log_density(self, u: FloatArray) -> FloatArray:
        """Log density, up to a constant, at `n x d` points of the cube; shape `n`."""
        return sum((term.value(u[:, term.columns]) for term in self.terms), np.zeros(len(u)))

    def value_and_gradient(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Log density, shape `n`, and its gradient, shape `n x d`, at `n x d` points of the cube."""
        value, gradient = np.zeros(len(u)), np.zeros_like(u)
        for term in self.terms:
            term_value, term_gradient = term.value_and_gradient(u[:, term.columns])
            value += term_value
            gradient[:, term.columns] += term_gradient
        return value, gradient

    @override
    def log_weight(self, functions: Functions) -> FloatArray:
        """Log density at the optimum of each function, `S`."""
        places, which = np.unique(functions.optima, axis=0, return_inverse=True)
        return self.log_density(places)[which]

    @override
    def sample(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Allowed points drawn from the belief, uniform in the open parameters, at most `n x d`."""
        points = self.space.sample(n, rng)
        for term in self.terms:
            points[:, term.columns] = term.sample(n, rng)
        points = self.space.snap(points)
        return points[self.space.is_allowed(points)]

    @override
    def mode(self) -> FloatArray:
        """The most believed point, shape `d`; open parameters sit at the middle of their range."""
        point = np.full(self.space.dim, 0.5)
        for term in self.terms:
            point[term.columns] = term.mode()
        snapped: FloatArray = self.space.snap(point[None])[0]
        return snapped


def _term(name: str, belief: Any, space: Space) -> _Term:
    parameter = space[name]
    columns = [i for i, column in enumerate(space.columns) if column.parameter == name]
    if isinstance(parameter, Choice):
        return _masses(name, belief, parameter, columns[0])
    try:
        centre, spread = belief
    except (TypeError, ValueError):
        raise InvalidPriorError(
            f"OptimumPrior: {name!r}: expected (centre, spread) for a {type(parameter).__name__}, got {belief!r}."
        ) from None
    spread = as_number(f"OptimumPrior: the spread of {name!r}", spread, InvalidPriorError)
    if not math.isfinite(spread):
        raise InvalidPriorError(f"OptimumPrior: {name!r}: the spread must be a finite number, got {spread!r}.")
    try:
        value = parameter.validate(name, centre)
        point = np.asarray(parameter.encode(value), dtype=np.float64).reshape(-1)
    except InvalidParamsError as error:
        raise InvalidPriorError(f"OptimumPrior: the centre does not lie in the space: {error}") from None
    if isinstance(parameter, Simplex):
        if spread < 0:
            raise InvalidPriorError(f"OptimumPrior: {name!r}: the concentration must be >= 0, got {spread!r}.")
        return _Dirichlet(slice(columns[0], columns[-1] + 1), parameter, point, spread)
    return _Normal(columns[0], float(point[0]), _unit_sd(name, parameter, spread))


def _masses(name: str, belief: Any, parameter: Choice, column: int) -> _Masses:
    if not isinstance(belief, Mapping) or not belief:
        raise InvalidPriorError(f"OptimumPrior: {name!r}: expected a dict from option to weight, got {belief!r}.")
    unknown = [option for option in belief if option not in parameter.options]
    if unknown:
        raise InvalidPriorError(
            f"OptimumPrior: {name!r} has no option {unknown[0]!r}; the options are {list(parameter.options)}."
        )
    weights = {
        option: as_number(f"OptimumPrior: the weight of {option!r} of {name!r}", weight, InvalidPriorError)
        for option, weight in belief.items()
    }
    for option, weight in weights.items():
        if not 0 < weight < math.inf:
            raise InvalidPriorError(
                f"OptimumPrior: {name!r}: the weight of {option!r} must be positive and finite, got {weight!r}."
            )
    if missing := [option for option in parameter.options if option not in weights]:
        raise InvalidPriorError(f"OptimumPrior: {name!r}: give {missing[0]!r} a weight too; every option needs one.")
    return _Masses(column, [weights[option] for option in parameter.options])


def _unit_sd(name: str, parameter: Float | Int, spread: float) -> float:
    # A whole number owns the unit interval around it, so its column spans half a unit more at either end.
    reach = 0.5 if isinstance(parameter, Int) else 0.0
    low, high = parameter.low - reach, parameter.high + reach
    if parameter.log:
        if spread <= 1:
            raise InvalidPriorError(
                f"OptimumPrior: {name!r} is logarithmic, so its spread is a factor above 1 "
                f"(3.0 means 'give or take a factor of 3'), got {spread!r}."
            )
        return math.log(spread) / math.log(high / low)
    if spread <= 0:
        raise InvalidPriorError(f"OptimumPrior: {name!r}: the spread must be positive, got {spread!r}.")
    return spread / (high - low)
