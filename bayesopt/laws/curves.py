"""A learning curve beside the schedule that made it, and the sums over the schedule that laws of curves are made of.

Alphabet. T: steps of a run, counted from 0. s: steps at which a loss is known. lr: learning rate by step, `T`.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesopt.errors import InvalidInputError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Curve(NamedTuple):
    """Losses of one run."""

    schedule: FloatArray
    """Learning rate at every step from 0 on, warm-up included, `T`."""
    steps: IntArray
    """Steps at which the loss is known, `n`, increasing."""
    losses: FloatArray
    """The losses there, `n`."""

    @classmethod
    def of(cls, schedule: ArrayLike, steps: ArrayLike, losses: ArrayLike) -> "Curve":
        """A curve, checked.

        Args:
            schedule: Learning rate at every step, `T`.
            steps: Whole numbers below T, increasing, `n`.
            losses: Positive losses, `n`.

        Returns:
            It.

        Raises:
            InvalidInputError: If a shape or a number cannot be used.
        """
        lr = checked_schedule(schedule)
        at = checked_steps(steps, len(lr))
        y = np.asarray(losses, dtype=np.float64)
        if y.shape != at.shape or not (np.isfinite(y) & (y > 0)).all():
            raise InvalidInputError(
                f"losses: expected {len(at)} positive finite numbers, one a step, got shape {y.shape}; leave out those "
                "of a run that diverged."
            )
        return cls(lr, at, y)

    @classmethod
    def from_rows(cls, rows: Iterable[Sequence[Any]]) -> "Curve":
        """A curve from rows of step, learning rate and loss, as a log holds them.

        Between the rows the learning rate is taken for straight, and before the first for a warm-up from 0.

        Args:
            rows: `(step, lr, loss)`, in the order of the steps.

        Returns:
            The curve, with a schedule that ends at its last step.

        Raises:
            InvalidInputError: If they are no such rows.
        """
        table = np.array([tuple(row) for row in rows], dtype=np.float64)
        if table.ndim != 2 or table.shape[1] != 3 or len(table) == 0:
            raise InvalidInputError(f"curve: expected rows of (step, lr, loss), got an array of shape {table.shape}.")
        steps = checked_steps(table[:, 0], np.inf)
        known = (steps, table[:, 1]) if steps[0] == 0 else (np.append(0, steps), np.append(0.0, table[:, 1]))
        return cls.of(np.interp(np.arange(steps[-1] + 1), *known), steps, table[:, 2])

    def until(self, step: float) -> "Curve":
        """What was known of it when a step was over; the schedule stays whole."""
        seen = self.steps <= step
        return Curve(self.schedule, self.steps[seen], self.losses[seen])


def checked_schedule(schedule: ArrayLike) -> FloatArray:
    """A schedule as a plain array.

    Args:
        schedule: Learning rate at every step.

    Returns:
        It, `T`.

    Raises:
        InvalidInputError: If it is no list of finite numbers of at least 0, or all are 0.
    """
    lr = np.array(schedule, dtype=np.float64)
    if lr.ndim != 1 or len(lr) < 2 or not (np.isfinite(lr) & (lr >= 0)).all() or not lr.any():
        raise InvalidInputError(
            f"schedule: expected the learning rate at every step from 0 on, finite and not negative, got shape "
            f"{lr.shape}."
        )
    return lr


def checked_steps(steps: ArrayLike, end: float) -> IntArray:
    """Steps as whole numbers.

    Args:
        steps: The steps.
        end: All must be below this.

    Returns:
        They, `n`.

    Raises:
        InvalidInputError: If they are not whole, not increasing, or out of range.
    """
    given = np.asarray(steps, dtype=np.float64)
    is_good = given.ndim == 1 and len(given) > 0 and bool((np.diff(given) > 0).all())
    if not is_good or given[0] < 0 or given[-1] >= end or (given != np.round(given)).any():
        raise InvalidInputError(
            f"steps: expected increasing whole numbers from 0 to below {end:g}, the length of the schedule, got "
            f"{np.array2string(given, threshold=6)}."
        )
    return given.astype(np.int64)


def warmup_end(lr: FloatArray) -> int:
    """The last step of the rise at the beginning: annealing is counted from there.

    Args:
        lr: Learning rate by step, `T`.

    Returns:
        The first step after which it does not rise; 0 without a warm-up.
    """
    falls = np.flatnonzero(np.diff(lr) <= 0)
    return int(falls[0]) if len(falls) else len(lr) - 1


def drops(lr: FloatArray) -> FloatArray:
    """How much the learning rate fell at each step since the one before, `T`; 0 during the warm-up."""
    fallen = -np.diff(lr, prepend=lr[0])
    fallen[: warmup_end(lr) + 1] = 0.0
    return fallen
