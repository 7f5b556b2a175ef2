"""The annealing law: the loss at every step of a run from its learning-rate schedule.

Alphabet. S1: sum of the learning rates up to a step. S2: annealing area, the sum of how far the learning rate has
fallen, with a memory of `1 / (1 - decay)` steps. theta: log L0, log A, log alpha, and C in units of the spread of S2.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares
from scipy.signal import lfilter
from typing_extensions import override

from bayesopt.errors import InvalidInputError
from bayesopt.laws.curves import Curve, checked_schedule, checked_steps, drops

FloatArray = NDArray[np.float64]

HUBER: Final = 1e-3
"""Log residual beyond which a point counts by its size alone: about the noise of a smoothed loss."""
DECAY: Final = 0.999
"""Memory that foretells curves of 25M to 400M parameters best."""
_DECAYS: Final = (0.99, 0.995, 0.999, 0.9995)
"""Memories that a fit chooses from where it may."""
_FLOORS: Final = (0.6, 0.8, 0.95)
"""Where L0 starts, as shares of the least loss,"""
_EXPONENTS: Final = (0.3, 0.5, 0.8)
"""and alpha."""
_ALPHAS: Final = (0.01, 5.0)
"""Where alpha is searched."""
_LEAST_SD: Final = 0.01
"""Least standard deviation of a forecast, nats: what the law missed at the end of runs that it had not seen."""
_TAIL: Final = 10
"""One part in so many of a prefix tells where its end is,"""
_LEAST_TAIL: Final = 3
"""and at least so many losses."""


class AnnealingLaw:
    """`loss(s) = L0 + A S1(s)^-alpha - C S2(s)`.

    `S2(s) = sum_(i<=s) m_i` with `m_i = decay m_(i-1) + lr_(i-1) - lr_i` from the end of the warm-up on. Fitted to two
    or three curves it foretells others of the same model, data and peak learning rate; it has not seen another peak.

    Reference: Tissue et al. 2024, "Scaling Law with Learning Rate Annealing", arXiv 2408.11029.

    Example:
        >>> lr = np.full(2000, 3e-4)
        >>> law = AnnealingLaw(L0=2.5, A=0.65, alpha=0.42, C=0.57)
        >>> law.predict(lr, [999, 1999]).round(3).tolist()
        [3.578, 3.306]
    """

    def __init__(
        self,
        *,
        L0: float | None = None,
        A: float | None = None,
        alpha: float | None = None,
        C: float | None = None,
        decay: float | None = DECAY,
    ) -> None:
        """A law with known constants, or one to be fitted.

        Args:
            L0: Loss of an endless run, nats.
            A: Nats at `S1 = 1`.
            alpha: Exponent of S1.
            C: Nats a unit of S2.
            decay: Memory of the annealing, in [0, 1); None lets the fit choose among 0.99 to 0.9995, for which it
                needs curves that fell in different ways.

        Raises:
            InvalidInputError: If some of the four are given and others not, or a constant is out of range.
        """
        given = [value for value in (L0, A, alpha, C) if value is not None]
        if len(given) not in (0, 4):
            raise InvalidInputError("AnnealingLaw: give all of L0, A, alpha and C, or none and call fit(curves).")
        if decay is not None and not 0 <= decay < 1:
            raise InvalidInputError(f"AnnealingLaw(decay=...): expected a number in [0, 1), got {decay!r}.")
        self._given_decay = decay
        self.decay = DECAY if decay is None else decay
        """Memory of the annealing."""
        self.constants: tuple[float, float, float, float] | None = None
        """L0, A, alpha and C; None before the fit."""
        if L0 is not None and A is not None and alpha is not None and C is not None:
            if not (L0 >= 0 and A > 0 and alpha > 0):
                raise InvalidInputError(f"AnnealingLaw: expected L0 >= 0, A > 0, alpha > 0, got {L0}, {A}, {alpha}.")
            self.constants = (L0, A, alpha, C)
        self.residual_sd = 0.0
        """Root mean square of what the fit left over, nats."""
        self.curves: tuple[Curve, ...] = ()
        """What it was fitted to."""

    def fit(self, curves: Iterable[Curve | Sequence[ArrayLike]]) -> "AnnealingLaw":
        """Choose the constants by the Huber loss of log residuals.

        Args:
            curves: Each a schedule by step, steps, and losses there; of one model, one data set and one peak.

        Returns:
            This law.

        Raises:
            InvalidInputError: If there are fewer than five points, or a curve cannot be used.
        """
        self.curves = tuple(Curve.of(*curve) for curve in curves)
        n = sum(len(curve.steps) for curve in self.curves)
        if n < 5:
            raise InvalidInputError(f"curves: expected at least 5 losses for the law's 4 constants, got {n}.")
        decays = _DECAYS if self._given_decay is None else (self._given_decay,)
        y = np.concatenate([curve.losses for curve in self.curves])
        best = np.inf
        for decay in decays:
            sums = [_sums(curve.schedule, curve.steps, decay) for curve in self.curves]
            S1, S2 = (np.concatenate(parts) for parts in zip(*sums, strict=True))
            cost, constants = _fitted(S1, S2, y)
            if cost < best:
                best, self.decay, self.constants = cost, decay, constants
        missed = y - np.concatenate([self.predict(curve.schedule, curve.steps) for curve in self.curves])
        self.residual_sd = float(np.sqrt(np.mean(missed**2)))
        return self

    def predict(self, schedule: ArrayLike, steps: ArrayLike | None = None) -> FloatArray:
        """Losses of a run.

        Args:
            schedule: Learning rate at every step, `T`.
            steps: Where; None for everywhere.

        Returns:
            Losses, `n` or `T`, nats.

        Raises:
            InvalidInputError: If the law was not fitted, or the schedule or a step cannot be used.
        """
        if self.constants is None:
            raise InvalidInputError("AnnealingLaw: it has no constants yet; call fit(curves) first.")
        lr = checked_schedule(schedule)
        at = np.arange(len(lr)) if steps is None else checked_steps(steps, len(lr))
        L0, A, alpha, C = self.constants
        S1, S2 = _sums(lr, at, self.decay)
        with np.errstate(divide="ignore"):  # a schedule that begins at 0 has no finite loss there
            predicted: FloatArray = L0 + A * S1**-alpha - C * S2
        return predicted

    def final(self, prefix: Curve | Sequence[ArrayLike], schedule: ArrayLike) -> tuple[float, float]:
        """The loss at the end of a run from its first part.

        The law is fitted anew to the curves that it knows and the prefix, and says how the loss goes on from where the
        last tenth of the prefix is. Where the prefix has seen no fall of the
        learning rate yet, one of those curves must have, or the fall to come counts for nothing.

        Args:
            prefix: The run so far: its schedule, steps and losses. The schedule must be that of the whole run, or
                begin it.
            schedule: The whole run's.

        Returns:
            Mean and standard deviation, nats; the latter at least 0.01.

        Raises:
            InvalidInputError: If the prefix is longer than the schedule, or a part cannot be used.
        """
        lr = checked_schedule(schedule)
        known = Curve.of(lr, *tuple(prefix)[1:])
        law = AnnealingLaw(decay=self._given_decay).fit([*self.curves, known])
        late = max(_LEAST_TAIL, len(known.steps) // _TAIL)
        missed = known.losses[-late:] - law.predict(lr, known.steps[-late:])
        return float(law.predict(lr, [len(lr) - 1])[0] + missed.mean()), max(_LEAST_SD, law.residual_sd)

    @override
    def __repr__(self) -> str:
        """Its constants."""
        if self.constants is None:
            return "AnnealingLaw()"
        named = zip(("L0", "A", "alpha", "C"), self.constants, strict=True)
        return f"AnnealingLaw({', '.join(f'{name}={value:.4g}' for name, value in named)}, decay={self.decay:g})"


def _sums(lr: FloatArray, at: NDArray[np.int64], decay: float) -> tuple[FloatArray, FloatArray]:
    """S1 and S2 at some steps, `n` each."""
    momentum = lfilter([1.0], [1.0, -decay], drops(lr))
    return np.cumsum(lr)[at], np.cumsum(momentum)[at]


def _fitted(S1: FloatArray, S2: FloatArray, y: FloatArray) -> tuple[float, tuple[float, float, float, float]]:
    """Huber cost and the constants L0, A, alpha and C that have it."""
    if not (S1 > 0).all():
        raise InvalidInputError("curves: a loss is told before the learning rate was first above 0; leave it out.")
    unit = float(S2.std()) or 1.0
    log_S1, log_y, area = np.log(S1), np.log(y), S2 / unit
    sees_annealing = bool(S2.any())

    def predicted(theta: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        fading = np.exp(theta[1] - np.exp(theta[2]) * log_S1)
        loss = np.exp(theta[0]) + fading - theta[3] * area
        return np.maximum(loss, 1e-6), fading, loss

    def left_over(theta: FloatArray) -> FloatArray:
        residuals: FloatArray = np.log(predicted(theta)[0]) - log_y
        return residuals

    def jacobian(theta: FloatArray) -> FloatArray:
        loss, fading, raw = predicted(theta)
        columns = [np.full_like(loss, np.exp(theta[0])), fading, -fading * np.exp(theta[2]) * log_S1]
        columns.append(-area if sees_annealing else np.zeros_like(area))
        return np.column_stack(columns) * ((raw > 1e-6) / loss)[:, None]

    best_cost, best = np.inf, np.zeros(4)
    low, high = np.log(_ALPHAS)
    least = np.array([log_y.min() - 7.0, -25.0, low, -np.inf])
    most = np.array([log_y.max(), 25.0, high, np.inf])
    for share in _FLOORS:
        for alpha in _EXPONENTS:
            A = max(float(np.mean(y - share * y.min()) / np.mean(S1**-alpha)), 1e-6)
            start = np.array([np.log(share * y.min()), np.log(A), np.log(alpha), 0.0])
            found = least_squares(
                left_over,
                np.clip(start, least + 1e-6, most - 1e-6),
                jacobian,
                bounds=(least, most),
                loss="huber",
                f_scale=HUBER,
                x_scale="jac",
                max_nfev=60,
            )
            if found.cost < best_cost:
                best_cost, best = float(found.cost), found.x
    L0, A, alpha = np.exp(best[:3]).tolist()
    return best_cost, (L0, A, alpha, float(best[3]) / unit)
