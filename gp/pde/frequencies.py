"""Which frequencies the solution has: those that the source and the boundary values show.

Alphabet. mu: frequencies in cycles a unit of x. P: power at the frequencies of a zero-padded Fourier transform.
"""

import math
from typing import Final

import torch
from torch import Tensor

_PADDING: Final = 8
"""Zero-padding: a peak is then found to a sixteenth of the resolution of the grid."""
_LEAST_POWER: Final = {1: 1e-6, 2: 1e-5}
"""Peaks kept, relative to the highest, by the dimensions of the problem: side lobes of the window lie below 1e-5.8."""
_MOST: Final = {1: 11, 2: 8}
"""Frequencies kept beside 0, by the dimensions of the problem: on a plane their functions multiply."""
_FALSE_PEAKS: Final = 0.01
"""Peaks of pure noise expected among those kept, where the noise is known."""


def _power(lines: Tensor) -> tuple[Tensor, float]:
    """Mean power of lines, `l x n`, of a field, and the power that noise of variance 1 would have."""
    n = lines.shape[-1]
    window = torch.signal.windows.blackman(n, dtype=lines.dtype, device=lines.device)
    spectrum = torch.fft.rfft(window * (lines - lines.mean(-1, keepdim=True)), n=_PADDING * n)
    return spectrum.abs().square().mean(0), float(window.square().sum())


def peaks(lines: list[tuple[Tensor, float]], step: float, dims: int) -> Tensor:
    """Frequencies of the peaks of some fields' power along an axis, and 0 before them.

    Args:
        lines: Fields along the axis, each `l x n` and equispaced, with the standard deviation of their noise.
        step: Distance of neighbours, in units of x.
        dims: Dimensions of the problem.

    Returns:
        Frequencies in cycles a unit of x, 0 first, then by falling power.
    """
    found: list[tuple[float, float]] = []
    for values, sd in lines:
        P, of_noise = _power(values)
        inner = P[1:-1]
        is_peak = (inner > P[:-2]) & (inner >= P[2:])
        n_bins = values.shape[-1] / 2
        noise_level = sd**2 * of_noise * math.log(n_bins / _FALSE_PEAKS)
        index = torch.nonzero(is_peak & (inner > max(_LEAST_POWER[dims] * float(P.max()), noise_level))).flatten() + 1
        if not len(index):
            continue
        # the window's main lobe is nearly a parabola in the logarithm
        below, at, above = (P[index + k].clamp_min(1e-300).log() for k in (-1, 0, 1))
        offset = 0.5 * (below - above) / (below - 2.0 * at + above)
        mu = (index + offset) / (_PADDING * values.shape[-1] * step)
        found += zip((P[index] / P[index].max()).tolist(), mu.tolist(), strict=True)
    found.sort(reverse=True)
    kept: list[float] = [0.0]
    resolution = 1.0 / (lines[0][0].shape[-1] * step)
    for _, tone in found:
        # the source and the boundary show the same tone; and what is closer than half a resolution is 0 already
        if len(kept) <= _MOST[dims] and all(abs(tone - other) > 0.5 * resolution for other in kept):
            kept.append(tone)
    first = lines[0][0]
    return torch.tensor(kept, dtype=first.dtype, device=first.device)
