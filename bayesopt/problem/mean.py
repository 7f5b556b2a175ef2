"""A law that the user believes the objective to follow roughly.

Alphabet. U: `m x d` points of the unit cube, where the columns are `d`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bayesopt.errors import InvalidPriorError
from bayesopt.problem.arguments import as_number
from bayesopt.problem.space import Space

FloatArray = NDArray[np.float64]

_CLOUD: Final = 512
"""Configurations at which a law is tried when it is declared, and among which its best is sought first."""
_CLOSER: Final = (0.1, 0.03, 0.01)
"""Standard deviations of the moves by which its best is then sought, in sides of the cube."""
_STEP: Final = 1e-4
"""Step of the differences that stand for its slope, in sides of the cube."""
_REMEMBERED: Final = 2**14
"""Most values that are kept."""


@dataclass(frozen=True)
class MeanPrior:
    """How the objective depends on the parameters, roughly: `a + b law(params)` and what the data say on top.

    The law gives the objective up to a constant, which the data choose, and to a factor b, which is believed to be 1
    with a standard deviation of one half, and positive. It counts while the trials are likelier with it than without.

    Example:
        >>> MeanPrior(lambda params: 3.0 * params["depth"] ** -0.5).law({"depth": 4.0})
        1.5
    """

    law: Callable[[dict[str, Any]], float]
    """From a configuration to a finite number in the objective's units, always the same for the same one; also where
    the space forbids a configuration. It is called some thousand times an ask."""

    def __post_init__(self) -> None:
        """Refuse what cannot be called.

        Raises:
            InvalidPriorError: If the law is no function.
        """
        if not callable(self.law):
            raise InvalidPriorError(
                f"MeanPrior: expected a function from a configuration to a number, got {self.law!r}; write "
                "bo.MeanPrior(lambda params: ...)."
            )

    def on(self, space: Space) -> "MeanOnCube":
        """The law on the unit cube of a space.

        Args:
            space: Whose configurations it takes.

        Returns:
            It, tried at some hundred configurations.

        Raises:
            InvalidPriorError: If it gives anything but a finite number at one of them.
        """
        return MeanOnCube(space, self.law)


class MeanOnCube:
    """The law as a function on the unit cube; it remembers what it was asked."""

    def __init__(self, space: Space, law: Callable[[dict[str, Any]], float]) -> None:
        """Try the law.

        Args:
            space: Whose configurations it takes.
            law: The law.

        Raises:
            InvalidPriorError: If it gives anything but a finite number.
        """
        self._space, self._law = space, law
        self._smooth = [index for index, column in enumerate(space.columns) if column.levels is None]
        self._known: dict[bytes, float] = {}
        self._cloud = space.sample(_CLOUD, np.random.default_rng(0))
        self.values(self._cloud)

    def values(self, U: FloatArray) -> FloatArray:
        """The law, `m`, in the objective's units, at `m x d` points.

        Args:
            U: The points; one that is no configuration stands for the nearest.

        Returns:
            Finite values.

        Raises:
            InvalidPriorError: If the law gives anything else.
        """
        if len(self._known) > _REMEMBERED:
            self._known = {}
        known, keys = self._known, [u.tobytes() for u in U]
        new = [row for row, key in enumerate(keys) if key not in known]
        if new:
            for row, params in zip(new, self._space.decode_all(U[new]), strict=True):
                known[keys[row]] = self._value(params)
        return np.array([known[key] for key in keys])

    def _value(self, params: Mapping[str, Any]) -> float:
        try:
            value = self._law(dict(params))  # it may change what it is given
        except Exception as error:
            raise InvalidPriorError(f"MeanPrior: the law failed at {params!r}: {error!r}") from error
        if type(value) is not float:
            value = as_number(f"MeanPrior: the law at {params!r}", value, InvalidPriorError)
        if not math.isfinite(value):
            raise InvalidPriorError(
                f"MeanPrior: the law is {value!r} at {params!r}; it must be finite all over the ranges of the "
                "parameters, forbidden configurations included. Bound it there."
            )
        return value

    def gradient(self, U: FloatArray) -> FloatArray:
        """Its slopes along the columns, `m x d`, by differences; 0 along those of whole numbers and options."""
        gradient = np.zeros_like(U)
        moves = _STEP * np.eye(self._space.dim)[self._smooth]
        low, high = (np.clip(U + side[:, None], 0.0, 1.0) for side in (-moves, moves))  # smooth columns x m x d
        values = self.values(np.concatenate([low, high]).reshape(-1, self._space.dim)).reshape(2, len(moves), len(U))
        for column, below, above, change in zip(self._smooth, low, high, values[1] - values[0], strict=True):
            gradient[:, column] = change / (above - below)[:, column]
        return gradient

    def best(self, sign: float) -> FloatArray:
        """An allowed point where it is about best, `d`.

        Args:
            sign: 1 where a larger objective is better, else -1.

        Returns:
            The best of some hundred, snapped.
        """
        rng, space = np.random.default_rng(0), self._space
        found: FloatArray = self._cloud[np.argmax(sign * self.values(self._cloud))]
        for scale in _CLOSER:
            near = space.snap(np.clip(found + scale * rng.standard_normal((_CLOUD // 8, space.dim)), 0.0, 1.0))
            near = np.vstack([found, near[space.is_allowed(near)]])
            found = near[np.argmax(sign * self.values(near))]
        return found
