"""What a belief is: a weight on the functions that the objective may be.

Alphabet. S: functions drawn from a model. u: a configuration in the unit cube, where the columns are `d`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from bayesopt.problem.space import Space

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Functions:
    """What a belief is asked about: functions that the objective may be, and where each of them is best."""

    optima: FloatArray
    """The best configuration of each function, `S x d` points of the cube."""
    best: FloatArray
    """Its value there, `S`, in the objective's units."""
    at_points: FloatArray
    """Values at the points that the belief names, `k x S`, in the objective's units."""
    sign: float
    """1 where a larger objective is better, else -1."""


class Belief(ABC):
    """A belief about the objective, bound to a space: how likely it makes each function."""

    @abstractmethod
    def log_weight(self, functions: Functions) -> FloatArray:
        """How well each function agrees with it: the log of a density or probability, up to a constant, `S`."""

    @property
    def points(self) -> FloatArray | None:
        """Points whose values it speaks of, `k x d`; None where it names none."""
        return None

    def mode(self) -> FloatArray | None:
        """The most believed place of the optimum, `d`; None where it names no place."""
        return None

    def sample(self, n: int, rng: np.random.Generator) -> FloatArray | None:
        """Allowed places of the optimum drawn from the belief, at most `n x d`; None where it names no place.

        Args:
            n: How many are drawn; those that are not allowed are left out.
            rng: Draws them.

        Returns:
            Snapped points, or None.
        """
        return None


@dataclass(frozen=True)
class Standing:
    """What the data have left of a belief."""

    prior: "Prior"
    """The belief."""
    probability: float
    """Probability that it is right, given the data and how much it was doubted before them."""
    log_bayes_factor: float
    """Log of the evidence for it against saying nothing, in nats; positive where the data speak for it."""


@dataclass(frozen=True)
class Standings(Sequence[Standing]):
    """What the data have left of each belief, in the order in which they were declared, and of all together."""

    each: tuple[Standing, ...]
    """One a belief."""
    probability: float
    """Probability that all of them are right."""
    log_bayes_factor: float
    """Log of the evidence for all of them together, in nats."""
    n_told: int
    """Trials that this rests on."""

    @overload
    def __getitem__(self, index: int) -> Standing: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Standing, ...]: ...

    @override
    def __getitem__(self, index: int | slice) -> Standing | tuple[Standing, ...]:
        """The standing of one belief, or of several."""
        return self.each[index]

    @override
    def __len__(self) -> int:
        """How many beliefs there are."""
        return len(self.each)


class Prior(ABC):
    """What the user believes, in the units of the space and of the objective."""

    @abstractmethod
    def on(self, space: Space) -> Belief:
        """The belief on the unit cube of a space.

        Args:
            space: What it speaks of.

        Returns:
            The same belief, ready to weigh functions.

        Raises:
            InvalidPriorError: If it does not fit the space.
        """
