"""A tuned learning rate at another batch size: a weak power, or the surge curve where there are data for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares
from typing_extensions import override

from bayesopt.errors import InvalidInputError
from bayesopt.laws.base import Law, Octaves, feature

FloatArray = NDArray[np.float64]

_EXPONENT: Final = 0.15
"""Over 610 pairs of batch sizes 2 to 8 apart on twelve language models, the power of the ratio that misses the best
learning rate by the fewest octaves: 0.49 on average, against 0.59 unchanged and 0.64 with the square root."""
_SD: Final = 0.7
"""Octaves that it is trusted to."""


class BatchTransfer(Law):
    """`lr' = lr (B' / B)^0.15`: a learning rate that worked at one batch size, carried to another.

    For AdamW with a fixed final learning rate; the square root is worse than no change there, and a linear rule, made
    for SGD, does harm.

    Example:
        >>> round(BatchTransfer(lr=1e-3, batch_size=64)(256), 6)
        0.001231
    """

    def __init__(self, lr: float, batch_size: float, *, exponent: float = _EXPONENT, sd: float = _SD) -> None:
        """Remember what worked.

        Args:
            lr: A tuned learning rate,
            batch_size: and the batch size that it was tuned at.
            exponent: Power of the ratio of batch sizes.
            sd: How far from the optimum it is believed to be, octaves.

        Raises:
            InvalidInputError: If a number other than the exponent is not positive.
        """
        for name, value in (("lr", lr), ("batch_size", batch_size), ("sd", sd)):
            if not value > 0:
                raise InvalidInputError(f"BatchTransfer({name}=...): expected a positive number, got {value!r}.")
        self.lr, self.batch_size, self.exponent, self.sd = lr, batch_size, exponent, sd

    def __call__(self, batch_size: float) -> float:
        """The learning rate at another batch size."""
        return self.lr * (batch_size / self.batch_size) ** self.exponent

    @override
    def predict(self, features: Mapping[str, Any]) -> Octaves:
        """log2 of "lr" at the "batch_size" among the features, and its standard deviation in octaves."""
        lr = self(feature(features, "batch_size", "the batch size to carry the learning rate to"))
        return {"lr": float(np.log2(lr))}, {"lr": self.sd}


@dataclass(frozen=True)
class Surge:
    """`lr(B) = 2 lr_max / (sqrt(B_noise / B) + sqrt(B / B_noise))`: rises like the square root, peaks, and falls.

    Reference: Li et al. 2024, "Surge Phenomenon in Optimal Learning Rate and Batch Size Scaling", arXiv 2405.14578.

    Example:
        >>> Surge(lr_max=0.003, noise_scale=512.0)(512.0)
        0.003
    """

    lr_max: float
    """The largest best learning rate,"""
    noise_scale: float
    """and the batch size that has it."""
    rms: float = 0.0
    """Root mean square of what the fit left over, octaves of the learning rate."""

    def __call__(self, batch_size: float) -> float:
        """The best learning rate at a batch size in the units of `noise_scale`."""
        ratio = batch_size / self.noise_scale
        return float(2.0 * self.lr_max / (ratio**-0.5 + ratio**0.5))


def surge_fit(batch_sizes: ArrayLike, learning_rates: ArrayLike) -> Surge:
    """The surge curve through best learning rates at several batch sizes.

    Args:
        batch_sizes: `n >= 3` batch sizes.
        learning_rates: The best learning rate at each, `n`.

    Returns:
        The curve of least squares in octaves. Where the learning rates only rise, its peak lies beyond the data.

    Raises:
        InvalidInputError: If there are fewer than three pairs, or a number is not positive.

    Example:
        >>> B = np.array([64.0, 256.0, 1024.0])
        >>> round(surge_fit(B, [Surge(0.003, 300.0)(b) for b in B]).noise_scale, 3)
        300.0
    """
    B, lr = (np.asarray(array, dtype=np.float64) for array in (batch_sizes, learning_rates))
    if B.ndim != 1 or B.shape != lr.shape or len(B) < 3:
        raise InvalidInputError(
            f"surge_fit: expected two lists of the same length of at least 3, got shapes {B.shape} and {lr.shape}."
        )
    if not ((B > 0) & np.isfinite(B) & (lr > 0) & np.isfinite(lr)).all():
        raise InvalidInputError("surge_fit: expected positive finite batch sizes and learning rates.")
    log_B, log_lr = np.log2(B), np.log2(lr)

    def left_over(theta: FloatArray) -> FloatArray:
        half = 0.5 * (log_B - theta[1])
        misses: FloatArray = theta[0] + 1.0 - np.logaddexp2(-half, half) - log_lr
        return misses

    starts = [np.array([log_lr.max(), peak]) for peak in np.linspace(log_B.min(), log_B.max() + 1.0, 4)]
    far = 6.0  # octaves beyond the data from which on the curve there is a plain square root
    bounds = ([-np.inf, log_B.min() - far], [np.inf, log_B.max() + far])
    best = min((least_squares(left_over, start, bounds=bounds) for start in starts), key=lambda one: float(one.cost))
    rms = float(np.sqrt(np.mean(best.fun**2)))
    return Surge(float(2.0 ** best.x[0]), float(2.0 ** best.x[1]), rms)
