"""The Multi-Power Law: like the annealing law, with a power of its own for what each drop of the learning rate gains.

Alphabet. S1: sum of the learning rates up to a step. S_k: the same from step k on. k: steps at which the learning rate
changes; the warm-up counts, as drops below 0.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares
from typing_extensions import override

from bayesopt.errors import InvalidInputError
from bayesopt.laws.annealing import HUBER, AnnealingLaw
from bayesopt.laws.curves import Curve, checked_schedule, checked_steps

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

PUBLISHED: Final[Mapping[str, tuple[float, ...]]] = {
    "25M": (3.0404541, 0.52468604, 0.50786857, 363.78752, 2.0656081, 0.58279013, 0.64142257),
    "100M": (2.6514477, 0.60115152, 0.45295811, 437.94643, 2.1324561, 0.59785199, 0.65523644),
    "400M": (2.3747447, 0.65421216, 0.42878731, 523.42464, 2.0246273, 0.59350493, 0.63472457),
}
"""L0, A, alpha, B, C, beta and gamma by the size of the model, as the authors fitted them for a peak of 3e-4."""
_MOST_DROPS: Final = 96
"""Runs of drops that a fit tells apart: 24,000 drops of a cosine in 96 groups move no loss by more than 1e-4."""
_SHAPE: Final = (2.07, 0.59, 0.64)
"""C, beta and gamma where a fit begins: the mean of the published ones, which vary by 4 % from size to size."""
_REACH: Final = (1.5, 3.0, 1.5, 3.0, 3.0, 1.5, 1.2)
"""Factors by which a constant may leave its start. Few curves leave much of the law open: without bounds the fit found
constants that met three curves and missed the others by 0.04 nats."""
_PIECE: Final = 2**20
"""Most numbers of drops by steps that are held at once."""
_LEAST_SD: Final = 0.01
"""Least standard deviation of a forecast, nats."""


class MultiPowerLaw:
    """`loss(t) = L0 + A S1^-alpha - B sum_(k<=t) (lr_(k-1) - lr_k) (1 - (1 + C lr_k^-gamma S_k(t))^-beta)`.

    Reference: Luo et al. 2025, "A Multi-Power Law for Loss Curve Prediction Across Learning Rate Schedules", arXiv
    2503.12811.

    Example:
        >>> law = MultiPowerLaw.published("400M")
        >>> law.predict(np.full(24_000, 3e-4), [23_999]).round(3).tolist()
        [2.811]
    """

    def __init__(self, constants: Sequence[float] | None = None) -> None:
        """A law with known constants, or one to be fitted.

        Args:
            constants: L0, A, alpha, B, C, beta and gamma; None to fit them.

        Raises:
            InvalidInputError: If they are not seven finite numbers, A, alpha, C, beta and gamma positive.
        """
        self.constants: tuple[float, ...] | None = None
        """L0, A, alpha, B, C, beta and gamma; None before the fit."""
        if constants is not None:
            values = np.asarray(constants, dtype=np.float64)
            if values.shape != (7,) or not np.isfinite(values).all() or (values[[1, 2, 4, 5, 6]] <= 0).any():
                raise InvalidInputError(
                    "MultiPowerLaw: expected seven numbers L0, A, alpha, B, C, beta, gamma, of which A, alpha, C, "
                    f"beta and gamma are positive, got {constants!r}."
                )
            self.constants = tuple(values.tolist())
        self.residual_sd = 0.0
        """Root mean square of what the fit left over, nats."""
        self.curves: tuple[Curve, ...] = ()
        """What it was fitted to."""

    @classmethod
    def published(cls, size: str) -> Self:
        """The law with the constants that its authors fitted.

        Args:
            size: '25M', '100M' or '400M'.

        Returns:
            It.

        Raises:
            InvalidInputError: If there is no such size.
        """
        if size not in PUBLISHED:
            raise InvalidInputError(f"size: expected one of {', '.join(map(repr, PUBLISHED))}, got {size!r}.")
        return cls(PUBLISHED[size])

    def fit(self, curves: Iterable[Curve | Sequence[ArrayLike]]) -> "MultiPowerLaw":
        """Choose the constants by the Huber loss of log residuals, from an annealing law's on.

        Args:
            curves: Each a schedule by step, steps, and losses there; of one model, one data set and one peak.

        Returns:
            This law.

        Raises:
            InvalidInputError: If there are fewer than eight points, or a curve cannot be used.
        """
        self.curves = tuple(Curve.of(*curve) for curve in curves)
        n = sum(len(curve.steps) for curve in self.curves)
        if n < 8:
            raise InvalidInputError(f"curves: expected at least 8 losses for the law's 7 constants, got {n}.")
        L0, A, alpha, C = _constants(AnnealingLaw().fit(self.curves))
        log_y = np.log(np.concatenate([curve.losses for curve in self.curves]))
        grouped = [(np.cumsum(curve.schedule), _grouped(curve.schedule), curve.steps) for curve in self.curves]

        def left_over(theta: FloatArray) -> FloatArray:
            constants = np.exp(theta)
            losses = [_losses(constants, S1, *drop, steps) for S1, drop, steps in grouped]
            residuals: FloatArray = np.log(np.maximum(np.concatenate(losses), 1e-6)) - log_y
            return residuals

        # A whole drop gains B here and 1 / (1 - decay) times C there. The annealing law leaves the rise to the peak
        # out, which costs B times the peak here.
        peak = max(float(curve.schedule.max()) for curve in self.curves)
        B = max(1e3 * C, 0.01 * L0 / peak)
        start = np.log([max(L0 - B * peak, 0.5 * L0), A, alpha, B, *_SHAPE])
        reach = np.log(_REACH)
        found = least_squares(
            left_over,
            start,
            loss="huber",
            f_scale=HUBER,
            x_scale=0.1,
            max_nfev=200,
            bounds=(start - reach, start + reach),
        )
        self.constants = tuple(np.exp(found.x).tolist())
        missed = [curve.losses - self.predict(curve.schedule, curve.steps) for curve in self.curves]
        self.residual_sd = float(np.sqrt(np.mean(np.concatenate(missed) ** 2)))
        return self

    def predict(self, schedule: ArrayLike, steps: ArrayLike | None = None) -> FloatArray:
        """Losses of a run.

        Args:
            schedule: Learning rate at every step, `T`.
            steps: Where; None for everywhere, which takes `T` times as many operations as there are drops.

        Returns:
            Losses, `n` or `T`, nats.

        Raises:
            InvalidInputError: If the law has no constants, or the schedule or a step cannot be used.
        """
        if self.constants is None:
            raise InvalidInputError(
                "MultiPowerLaw: it has no constants yet; call fit(curves) first, or take "
                "MultiPowerLaw.published('400M')."
            )
        lr = checked_schedule(schedule)
        at = np.arange(len(lr), dtype=np.int64) if steps is None else checked_steps(steps, len(lr))
        k, fallen = _changes(lr)
        return _losses(np.array(self.constants), np.cumsum(lr), k, fallen, lr[k], at)

    def final(self, prefix: Curve | Sequence[ArrayLike], schedule: ArrayLike) -> tuple[float, float]:
        """The loss at the end of a run from its first part: the law moved to the level of the prefix.

        Args:
            prefix: The run so far: its schedule, steps and losses.
            schedule: The whole run's.

        Returns:
            Mean and standard deviation, nats; the latter at least 0.01.

        Raises:
            InvalidInputError: If the prefix is longer than the schedule, or a part cannot be used.
        """
        lr = checked_schedule(schedule)
        known = Curve.of(lr, *tuple(prefix)[1:])
        predicted = self.predict(lr, np.append(known.steps, len(lr) - 1) if known.steps[-1] < len(lr) - 1 else None)
        missed = known.losses - (predicted[:-1] if len(predicted) == len(known.steps) + 1 else predicted[known.steps])
        late = known.steps >= 0.5 * (known.steps[0] + known.steps[-1])
        mean = float(predicted[-1] + missed[late].mean())
        return mean, max(_LEAST_SD, self.residual_sd, float(missed[late].std()))

    @override
    def __repr__(self) -> str:
        """Its constants."""
        return f"MultiPowerLaw({'' if self.constants is None else [float(f'{c:.4g}') for c in self.constants]})"


def _constants(law: AnnealingLaw) -> tuple[float, float, float, float]:
    assert law.constants is not None  # fitted
    return law.constants


def _losses(
    constants: FloatArray, S1: FloatArray, k: IntArray, fallen: FloatArray, lr: FloatArray, at: IntArray
) -> FloatArray:
    """Losses at some steps, `n`, after drops at steps k, of sizes `fallen`, to the learning rates `lr`."""
    L0, A, alpha, B, C, beta, gamma = constants
    with np.errstate(divide="ignore"):  # a schedule that begins at 0 has no finite loss there
        losses: FloatArray = L0 + A * S1[at] ** -alpha
    # to a learning rate of 0 a drop gains nothing more later, as nothing is learned there
    speed = C * np.where(lr > 0, np.maximum(lr, np.finfo(np.float64).tiny), np.inf) ** -gamma
    before = S1[k] - lr
    for first in range(0, len(at), max(1, _PIECE // max(1, len(k)))):
        some = slice(first, first + max(1, _PIECE // max(1, len(k))))
        since = np.maximum(S1[at[some], None] - before, 0.0)
        gained = -np.expm1(-beta * np.log1p(speed * since))
        gained[at[some, None] < k] = 0.0
        losses[some] -= B * (gained @ fallen)
    return losses


def _grouped(lr: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """Drops of a schedule with those of neighbouring steps taken together: steps, sizes and learning rates."""
    k, fallen = _changes(lr)
    if len(k) <= _MOST_DROPS:
        return k, fallen, lr[k]
    groups = np.array_split(np.arange(len(k)), _MOST_DROPS)
    middle = k[[group[len(group) // 2] for group in groups]]
    return middle, np.array([fallen[group].sum() for group in groups]), lr[middle]


def _changes(lr: FloatArray) -> tuple[IntArray, FloatArray]:
    """Steps at which the learning rate changes, from 0 before the first, and by how much it fell there."""
    fallen = -np.diff(lr, prepend=0.0)
    k = np.flatnonzero(fallen)
    return k, fallen[k]
