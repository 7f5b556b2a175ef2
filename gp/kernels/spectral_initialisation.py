"""Where to start a spectral mixture: at the tones that the data show, found one after the other.

Alphabet. X: inputs, `n x d`. Y: values, `n`. T: range of an axis. mu: frequencies in cycles a unit of x. Q: components
along an axis. y: what the tones found so far leave of Y.
"""

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from gp.errors import InvalidDataError

_OVERSAMPLING: Final = 6
"""Frequencies tried per `1 / T`: a tone between two of them keeps 99 % of its power."""
_BANDWIDTH: Final = 0.25
"""Bandwidth to start from, in `1 / T`: the tone keeps its phase over the data and loses it within a few ranges."""
_BLOCK: Final = 2**22
"""Numbers held at once while the power is computed, 32 MB."""
_SWEEPS: Final = 3
"""Rounds in which all tones are moved in turn, after each that is added."""
_ZOOMS: Final = 5
"""Eleven frequencies around the best so far, each time three times closer."""
_LEAST_SHARE: Final = 1e-6
"""Of a component, of the signal and of the noise: a weight must be positive, and then an optimiser can move it."""
_TINY: Final = 1e-12
"""Power, relative to that of Y, below which there is nothing left to explain."""


@dataclass(frozen=True)
class SpectralStart:
    """Hyperparameters of a `SpectralMixtureKernel`, from the data."""

    frequencies: Tensor
    """`d x Q`, in cycles a unit of x."""
    bandwidths: Tensor
    """`d x Q`, in cycles a unit of x."""
    weights: Tensor
    """`d x Q`; their products over the axes, summed, are the variance of Y less the noise."""
    noise: float
    """Variance of what the tones leave, in units of Y squared."""
    mean: float
    """The level that the tones oscillate about, in units of Y: not the mean of Y where the last period is cut off."""


def lomb_scargle(x: Tensor, y: Tensor, frequencies: Tensor, beside: Tensor | None = None) -> Tensor:
    """Sum of squares that the best sinusoid of each frequency explains, whatever the spacing of the data.

    Args:
        x: Coordinates, `n`.
        y: Values, `n`.
        frequencies: Positive, `m`, in cycles a unit of x.
        beside: Orthonormal columns, `n x k`, fitted together with each sinusoid: a constant, other tones. What these
            explain on their own does not count. None for none.

    Returns:
        `m`, in units of y squared.

    Reference: Lomb 1976, "Least-Squares Frequency Analysis of Unequally Spaced Data"; Zechmeister and Kürster 2009,
    "The Generalised Lomb-Scargle Periodogram", for what is fitted beside.

    Example:
        >>> x = torch.tensor([0.0, 0.1, 0.25, 0.4, 0.7, 0.95]).double()
        >>> y = torch.cos(2 * torch.pi * 3.0 * x + 1.0)
        >>> bool(torch.isclose(lomb_scargle(x, y, x.new_tensor([3.0]))[0], y.square().sum()))
        True
    """
    left = y if beside is None else y - beside @ (beside.mT @ y)
    explained = []
    for mu in frequencies.split(max(1, _BLOCK // len(x))):
        phase = 2.0 * math.pi * mu[:, None] * x
        c, s = torch.cos(phase), torch.sin(phase)
        if beside is not None:
            c, s = (wave - (wave @ beside) @ beside.mT for wave in (c, s))
        cc, cs, ss = c.square().sum(1), (c * s).sum(1), s.square().sum(1)
        cy, sy = c @ left, s @ left
        determinant = (cc * ss - cs.square()).clamp_min(1e-9 * len(x) ** 2)
        explained.append((ss * cy.square() - 2.0 * cs * cy * sy + cc * sy.square()) / determinant)
    return torch.cat(explained)


def init_spectral(X: Tensor, Y: Tensor, *, n_components: int | None = None, most: int = 10) -> SpectralStart:
    """Frequencies and weights by matching pursuit: find the strongest tone, fit all so far, look at what is left.

    Along several axes the tones are those of sums of functions of one variable each; a product of oscillations shows in
    none of its axes alone.

    Args:
        X: Inputs, `n x d`, at least 4 of them.
        Y: Values, `n`.
        n_components: Tones to find, Q (an axis with fewer is filled up with ones about frequency 0); None to stop where
            the next would not lower the criterion of Schwarz (BIC).
        most: Tones at most where the criterion decides.

    Returns:
        Where to start.

    Raises:
        InvalidDataError: If there are too few data, of another shape or not finite, or an axis has no range.

    Example:
        >>> X = torch.linspace(0, 2, 80).double()[:, None]
        >>> start = init_spectral(X, torch.sin(2 * torch.pi * 5.3 * X[:, 0]), n_components=1)
        >>> round(start.frequencies.item(), 1)
        5.3
    """
    if X.dim() != 2 or Y.shape != X.shape[:1] or len(X) < 4:
        raise InvalidDataError(
            f"X, Y: expected `n x d` and `n` with n >= 4, got {tuple(X.shape)} and {tuple(Y.shape)}."
        )
    if not (bool(torch.isfinite(X).all()) and bool(torch.isfinite(Y).all())):
        raise InvalidDataError("X, Y: expected finite values, got some that are nan or infinite.")
    if n_components is not None and n_components < 1:
        raise InvalidDataError(f"n_components: expected at least 1, got {n_components}.")
    n, d = X.shape
    ranges = X.max(0).values - X.min(0).values
    if not bool((ranges > 0).all()):
        raise InvalidDataError(f"X: expected more than one value along each axis, got ranges {ranges.tolist()}.")
    steps = torch.arange(1, _OVERSAMPLING * n // 2 + 1, dtype=X.dtype, device=X.device) / _OVERSAMPLING
    total = left = float((Y - Y.mean()).square().mean())
    found: list[_Tone] = []
    # a tone is three numbers, and no fit of fewer data than numbers means anything
    limit = min(most if n_components is None else n_components, (n - 2) // 3)
    while len(found) < limit and left > _TINY * total:
        beside = _orthonormal(X, found)
        powers = [lomb_scargle(X[:, j], Y, steps / ranges[j], beside) for j in range(d)]
        axis = max(range(d), key=lambda j: float(powers[j].max()))
        tone = _Tone(axis, float(steps[int(powers[axis].argmax())] / ranges[axis]))
        trial = _refined(X, Y, [*found, tone], ranges)
        projected = _orthonormal(X, trial)
        after = float((Y - projected @ (projected.mT @ Y)).square().mean())
        if n_components is None and found and n * math.log(max(after, 1e-300) / left) > -3.0 * math.log(n):
            break
        found, left = trial, after
    return _start(found, ranges, X, Y, total, left)


@dataclass(frozen=True)
class _Tone:
    axis: int
    mu: float


def _columns(X: Tensor, tones: list[_Tone]) -> Tensor:
    """A constant, and a cosine and a sine a tone."""
    phases = [2.0 * math.pi * tone.mu * X[:, tone.axis] for tone in tones]
    return torch.stack([torch.ones_like(X[:, 0]), *(wave for p in phases for wave in (p.cos(), p.sin()))], 1)


def _orthonormal(X: Tensor, tones: list[_Tone]) -> Tensor:
    basis: Tensor = torch.linalg.qr(_columns(X, tones))[0]
    return basis


def _refined(X: Tensor, Y: Tensor, tones: list[_Tone], ranges: Tensor) -> list[_Tone]:
    """Tones moved in turn to where each explains most beside the others: the first one leaned on them all."""
    tones = list(tones)
    around = torch.linspace(-1.0, 1.0, 11, dtype=X.dtype, device=X.device)
    for sweep in range(_SWEEPS):
        for i, tone in enumerate(tones):
            beside = _orthonormal(X, tones[:i] + tones[i + 1 :])
            # half a resolution to either side, then ever closer
            width, mu = 0.5 / float(ranges[tone.axis]) * 0.5**sweep, tone.mu
            for _ in range(_ZOOMS):
                near = (mu + width * around).clamp_min(0.1 / float(ranges[tone.axis]))
                mu = float(near[int(lomb_scargle(X[:, tone.axis], Y, near, beside).argmax())])
                width *= 0.3
            tones[i] = _Tone(tone.axis, mu)
    return tones


def _start(found: list[_Tone], ranges: Tensor, X: Tensor, Y: Tensor, total: float, left: float) -> SpectralStart:
    """Hyperparameters of a kernel with these tones; an axis with fewer than another is filled up about frequency 0."""
    d = X.shape[1]
    fitted = torch.linalg.lstsq(_columns(X, found), Y[:, None]).solution[:, 0]
    powers = 0.5 * fitted[1:].reshape(-1, 2).square().sum(1)
    of_axis = [[(tone.mu, float(w)) for tone, w in zip(found, powers, strict=True) if tone.axis == j] for j in range(d)]
    # where several axes multiply, each also needs a component that leaves the oscillation of the others as it is
    n_components = max(1, *(len(tones) + (d > 1) for tones in of_axis))
    signal = max(total - left, _LEAST_SHARE * total, _TINY)
    frequencies, weights = X.new_zeros(d, n_components), X.new_zeros(d, n_components)
    for j, tones in enumerate(of_axis):
        for q, (mu, power) in enumerate(tones):
            frequencies[j, q], weights[j, q] = mu, power
        weights[j, len(tones) :] = max(0.1 * signal, sum(power for _, power in tones)) / (
            n_components - len(tones) or 1
        )
    # a root for each axis, so that the products of the weights sum to the variance of the signal
    shares = weights / weights.sum(1, keepdim=True)
    bandwidths = (_BANDWIDTH / ranges)[:, None].expand(d, n_components).clone()
    return SpectralStart(
        frequencies,
        bandwidths,
        shares.clamp_min(_LEAST_SHARE) * signal ** (1.0 / d),
        max(left, _LEAST_SHARE * total, _TINY),
        float(fitted[0]),
    )
