"""Learning-rate schedules as arrays over the steps that are also what `torch.optim.lr_scheduler.LambdaLR` calls.

Alphabet. T: steps. s: share of what lies between the warm-up and the end that is over, in [0, 1].

Each rises in a straight line over `warmup` steps, from a first step above 0 to the peak, and then takes its own way.
"""

from typing import Any, Literal, Self, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import override

from bayesopt.errors import InvalidInputError
from bayesopt.problem.arguments import as_number, whole_number

FloatArray = NDArray[np.float64]


class Schedule(np.ndarray[Any, np.dtype[np.float64]]):
    """Learning rate at every step; called with a step it gives the factor on its peak.

    Example:
        >>> schedule = Schedule.of([0.1, 0.2, 0.05])
        >>> [schedule(step) for step in range(5)]
        [0.5, 1.0, 0.25, 0.25, 0.25]
    """

    peak: float
    """What the factors are of: the learning rate that the optimizer is given."""

    @classmethod
    def of(cls, rates: ArrayLike, peak: float | None = None) -> Self:
        """A schedule from learning rates by step, whose peak is the largest unless it is given."""
        schedule = np.array(rates, dtype=np.float64).view(cls)
        schedule.peak = float(np.max(rates)) if peak is None else peak
        return schedule

    @override
    def __array_finalize__(self, obj: Any) -> None:
        """A copy or a part keeps the peak."""
        self.peak = getattr(obj, "peak", 1.0)

    def __call__(self, step: SupportsIndex) -> float:
        """The factor on the peak at a step; after the end, that of the last step.

        Args:
            step: Counted from 0.

        Returns:
            It: `LambdaLR(optimizer, schedule)` with the peak as the optimizer's `lr` follows the schedule.
        """
        rates = np.asarray(self)
        return float(rates[min(int(step), len(rates) - 1)] / self.peak)

    @override
    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        """What is computed from a schedule is no schedule: a plain array."""
        plain = np.asarray(array)
        return plain[()] if return_scalar else plain


def cosine(total: int, peak: float, *, warmup: int = 0, final: float = 0.1) -> Schedule:
    """Half a wave from the peak to a share of it.

    Args:
        total: Steps of the run.
        peak: Largest learning rate.
        warmup: Steps of the rise.
        final: Share of the peak at the end.

    Returns:
        The schedule.

    Example:
        >>> cosine(3, 1.0, final=0.0).round(2).tolist()
        [1.0, 0.5, 0.0]
    """
    s = _after_warmup(total, peak, warmup, final)
    return _with_warmup(final + (1.0 - final) * 0.5 * (1.0 + np.cos(np.pi * s)), peak, warmup)


def linear(total: int, peak: float, *, warmup: int = 0, final: float = 0.0) -> Schedule:
    """A straight line from the peak to a share of it; arguments as in `cosine`."""
    s = _after_warmup(total, peak, warmup, final)
    return _with_warmup(1.0 - (1.0 - final) * s, peak, warmup)


def wsd(
    total: int, peak: float, *, warmup: int = 0, decay: float = 0.2, final: float = 0.0, power: float = 1.0
) -> Schedule:
    """Warm-up, stable, decay: the peak until the last part of the run, then `1 - x^power` of the way down.

    Args:
        total: Steps of the run.
        peak: Largest learning rate.
        warmup: Steps of the rise.
        decay: Share of the steps after the warm-up that the decay takes.
        final: Share of the peak at the end.
        power: 1 for a straight decay, 0.5 for '1 - sqrt'.

    Returns:
        The schedule.

    Raises:
        InvalidInputError: If the decay is no share above 0, or the power not positive.

    Example:
        >>> wsd(6, 1.0, decay=0.4).round(2).tolist()
        [1.0, 1.0, 1.0, 1.0, 0.5, 0.0]
    """
    if not 0 < decay <= 1 or not power > 0:
        raise InvalidInputError(f"wsd: expected decay in (0, 1] and power > 0, got {decay!r} and {power!r}.")
    x = np.clip(1.0 - (1.0 - _after_warmup(total, peak, warmup, final)) / decay, 0.0, 1.0)
    return _with_warmup(1.0 - (1.0 - final) * x**power, peak, warmup)


def rex(total: int, peak: float, *, warmup: int = 0, variant: Literal["paper", "flat"] = "paper") -> Schedule:
    """Slow at first, then ever faster down to 0.

    'paper' is `(1 - s) / (1/2 + (1 - s) / 2)`; 'flat' is `z / (0.1 + 0.9 z)` with `z = 1 - s`, which some code calls
    by the same name.

    Reference: Chen, Wolfe and Kyrillidis 2022, "REX: Revisiting Budgeted Training with an Improved Schedule", arXiv
    2107.04197.

    Args:
        total: Steps of the run.
        peak: Largest learning rate.
        warmup: Steps of the rise.
        variant: Which of the two.

    Returns:
        The schedule.

    Raises:
        InvalidInputError: If there is no such variant.

    Example:
        >>> rex(3, 1.0).round(4).tolist()
        [1.0, 0.6667, 0.0]
    """
    if variant not in ("paper", "flat"):
        raise InvalidInputError(f"rex(variant=...): expected 'paper' or 'flat', got {variant!r}.")
    z = 1.0 - _after_warmup(total, peak, warmup, 0.0)
    offset = 0.5 if variant == "paper" else 0.1
    return _with_warmup(z / (offset + (1.0 - offset) * z), peak, warmup)


def cyclical(total: int, peak: float, *, low: float, half_cycle: int) -> Schedule:
    """Triangles between a low and a high learning rate.

    Reference: Smith 2017, "Cyclical Learning Rates for Training Neural Networks", arXiv 1506.01186.

    Args:
        total: Steps of the run.
        peak: The high one.
        low: The low one.
        half_cycle: Steps from one to the other.

    Returns:
        The schedule, which begins low.

    Raises:
        InvalidInputError: If low is not between 0 and the peak.

    Example:
        >>> cyclical(5, 1.0, low=0.5, half_cycle=2).tolist()
        [0.5, 0.75, 1.0, 0.75, 0.5]
    """
    _after_warmup(total, peak, 0, 0.0)
    half = whole_number("half_cycle", half_cycle, at_least=1)
    if not 0 <= low < peak:
        raise InvalidInputError(f"cyclical(low=...): expected a number from 0 to below the peak {peak!r}, got {low!r}.")
    phase = np.arange(total) / half
    return Schedule.of(low + (peak - low) * (1.0 - np.abs(phase % 2.0 - 1.0)), peak)


def power(
    total: int,
    peak: float,
    *,
    tokens_per_step: float,
    amplitude: float,
    exponent: float = -0.51,
    warmup: int = 0,
    decay: float = 0.1,
) -> Schedule:
    """`min(peak, amplitude n^exponent)` after n tokens, then a straight decay to 0.

    Reference: as `laws.PowerScheduler`, whose amplitude is `a` times the sequences in a batch.

    Args:
        total: Steps of the run.
        peak: Largest learning rate.
        tokens_per_step: Tokens of a batch.
        amplitude: Learning rate at one token.
        exponent: Negative.
        warmup: Steps of the rise.
        decay: Share of the steps after the warm-up that the decay takes.

    Returns:
        The schedule.

    Raises:
        InvalidInputError: If a number has the wrong sign.
    """
    if not (tokens_per_step > 0 and amplitude > 0 and exponent < 0 and 0 <= decay <= 1):
        raise InvalidInputError(
            "power: expected tokens_per_step > 0, amplitude > 0, exponent < 0 and decay in [0, 1], got "
            f"{tokens_per_step!r}, {amplitude!r}, {exponent!r} and {decay!r}."
        )
    s = _after_warmup(total, peak, warmup, 0.0)
    tokens = tokens_per_step * np.arange(warmup + 1, total + 1)
    share = np.minimum(1.0, amplitude * tokens**exponent / peak)
    if decay > 0:
        share = share * np.clip((1.0 - s) / decay, 0.0, 1.0)
    return _with_warmup(share, peak, warmup)


def two_stage(total: int, peak: float, *, switch: float, second: float, warmup: int = 0) -> Schedule:
    """The peak, then another constant: the cheapest run that shows what a drop of the learning rate gains.

    Args:
        total: Steps of the run.
        peak: Largest learning rate.
        switch: Share of the steps after the warm-up that keep the peak.
        second: Share of the peak that the others have.
        warmup: Steps of the rise.

    Returns:
        The schedule.

    Raises:
        InvalidInputError: If the switch is no share.

    Example:
        >>> two_stage(4, 1.0, switch=0.5, second=0.3).tolist()
        [1.0, 1.0, 0.3, 0.3]
    """
    if not 0 <= switch <= 1:
        raise InvalidInputError(f"two_stage(switch=...): expected a share in [0, 1], got {switch!r}.")
    s = _after_warmup(total, peak, warmup, second)
    return _with_warmup(np.where(np.arange(len(s)) < switch * len(s), 1.0, second), peak, warmup)


def _after_warmup(total: int, peak: float, warmup: int, final: float) -> FloatArray:
    """Share s at every step after the warm-up, from 0 at the first to 1 at the last."""
    n = whole_number("total", total, at_least=2)
    rise = whole_number("warmup", warmup, at_least=0)
    if rise > n - 2:
        raise InvalidInputError(f"warmup: expected at most {n - 2} of {n} steps, got {warmup!r}.")
    if not 0 < as_number("peak", peak, InvalidInputError) < np.inf:
        raise InvalidInputError(f"peak: expected a positive finite learning rate, got {peak!r}.")
    if not 0 <= as_number("final", final, InvalidInputError) <= 1:
        raise InvalidInputError(f"final: expected a share of the peak in [0, 1], got {final!r}.")
    return np.linspace(0.0, 1.0, n - rise)


def _with_warmup(share: FloatArray, peak: float, warmup: int) -> Schedule:
    rise = np.arange(1, warmup + 1) / (warmup + 1)
    return Schedule.of(peak * np.concatenate([share[0] * rise, share]), peak)
