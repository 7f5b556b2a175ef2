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


def lomb_scargle(x: Tensor, y: Tensor, frequencies: Tensor) -> Tensor:
    """Sum of squares that the best sinusoid of each frequency explains, whatever the spacing of the data.

    Args:
        x: Coordinates, `n`.
        y: Values of mean about 0, `n`.
        frequencies: Positive, `m`, in cycles a unit of x.

    Returns:
        `m`, in units of y squared.

    Reference: Lomb 1976, "Least-Squares Frequency Analysis of Unequally Spaced Data".

    Example:
        >>> x = torch.tensor([0.0, 0.1, 0.25, 0.4, 0.7, 0.95]).double()
        >>> y = torch.cos(2 * torch.pi * 3.0 * x + 1.0)
        >>> bool(torch.isclose(lomb_scargle(x, y, x.new_tensor([3.0]))[0], y.square().sum()))
        True
    """
    explained = []
    for mu in frequencies.split(max(1, _BLOCK // len(x))):
        phase = 2.0 * math.pi * mu[:, None] * x
        c, s = torch.cos(phase), torch.sin(phase)
        cc, cs, ss = c.square().sum(1), (c * s).sum(1), s.square().sum(1)
        cy, sy = c @ y, s @ y
        determinant = (cc * ss - cs.square()).clamp_min(1e-9 * (cc + ss).square())
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
        InvalidDataError: If there are too few data, they have the wrong shape or are not finite, or an axis has no range.

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
    columns = [torch.ones_like(Y)]
    y = Y - Y.mean()
    total = left = float(y.square().mean())
    found: list[tuple[int, float, float]] = []
    # a tone is three numbers, and no fit of fewer data than numbers means anything
    limit = min(most if n_components is None else n_components, (n - 2) // 3)
    while len(found) < limit and left > _TINY * total:
        axis, mu = _strongest(X, y, steps, ranges)
        phase = 2.0 * math.pi * mu * X[:, axis]
        trial = [*columns, torch.cos(phase), torch.sin(phase)]
        basis = torch.stack(trial, 1)
        coefficients = torch.linalg.lstsq(basis, Y[:, None]).solution[:, 0]
        residual = Y - basis @ coefficients
        after = float(residual.square().mean())
        if n_components is None and found and n * math.log(max(after, 1e-300) / left) > -3.0 * math.log(n):
            break
        columns, y, left = trial, residual, after
        found.append((axis, mu, 0.5 * float(coefficients[-2:].square().sum())))
    return _start(found, ranges, X, total, left)


def _strongest(X: Tensor, y: Tensor, steps: Tensor, ranges: Tensor) -> tuple[int, float]:
    """Axis and frequency of the sinusoid that explains most."""
    best = (-math.inf, 0, 0.0)
    for axis in range(X.shape[1]):
        frequencies = steps / ranges[axis]
        power = lomb_scargle(X[:, axis], y, frequencies)
        at = int(power.argmax())
        # and closer than the grid: a tenth of it, between its neighbours
        fine = frequencies[at] + torch.linspace(-1, 1, 21, dtype=X.dtype, device=X.device) * frequencies[0]
        fine = fine[fine > 0]
        power = lomb_scargle(X[:, axis], y, fine)
        summit = int(power.argmax())
        best = max(best, (float(power[summit]), axis, float(fine[summit])))
    return best[1], best[2]


def _start(
    found: list[tuple[int, float, float]], ranges: Tensor, X: Tensor, total: float, left: float
) -> SpectralStart:
    d = X.shape[1]
    of_axis = [[(mu, power) for axis, mu, power in found if axis == j] for j in range(d)]
    # where several axes multiply, each also needs a component that leaves the oscillation of the others as it is
    n_components = max(1, *(len(tones) + (d > 1) for tones in of_axis))
    signal = max(total - left, 1e-6 * total, 1e-12)
    frequencies, weights = X.new_zeros(d, n_components), X.new_zeros(d, n_components)
    for j, tones in enumerate(of_axis):
        power = sum(power for _, power in tones)
        for q, (mu, of_tone) in enumerate(tones):
            frequencies[j, q] = mu
            weights[j, q] = of_tone
        spare = n_components - len(tones)
        if spare:
            weights[j, len(tones) :] = (1.0 if d > 1 and power == 0 else max(0.1 * signal, power)) / spare
        weights[j] /= weights[j].sum()
    # a root for each axis, so that the products of the weights sum to the variance of the signal
    weights = weights.clamp_min(1e-6) * signal ** (1.0 / d)
    bandwidths = (_BANDWIDTH / ranges)[:, None].expand(d, n_components).clone()
    return SpectralStart(frequencies, bandwidths, weights, max(left, 1e-6 * total, 1e-12))
