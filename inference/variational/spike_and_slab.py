"""Networks whose weights may be exactly zero, and the choice of an architecture by their evidence bound.

Alphabet. X: `n x d` inputs. y: outcomes, `n`. R: restarts. S: draws of all weights. l: probability that a weight is not
zero; m, s: mean and standard deviation of its value then. l_0: the same under the prior, whose slab is N(0, 1).
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from inference.errors import InvalidInputError
from inference.seeding import as_generator, normals

_TEMPERATURE: Final = 0.5
"""Of the relaxed gates: low enough to be nearly gates, high enough for their gradient."""
_WARM_UP: Final = 0.3
"""Share of the steps in which the divergence counts for less, so that no weight is given up before it is of use."""
_N_DRAWS: Final = 4
"""Of the weights, a step."""
_N_HARD: Final = 500
"""Draws with true gates, for the bound that is reported."""
_RATE: Final = 0.05
"""Length of Adam's first steps; they shrink to a twentieth."""


@dataclass(frozen=True)
class SpikeSlabNet:
    """A ReLU network under the approximate posterior of its weights: each is zero, or normal."""

    widths: tuple[int, ...]
    """Of the hidden layers."""
    elbo: float
    """Lower bound on the log evidence, with true gates."""
    means: tuple[Tensor, ...]
    """m of each layer, `inputs + 1 x outputs`, the last row of the biases."""
    sds: tuple[Tensor, ...]
    """s, likewise."""
    inclusions: tuple[Tensor, ...]
    """l, likewise."""

    @property
    def n_active(self) -> float:
        """Expected number of weights that are not zero."""
        return float(sum(layer.sum() for layer in self.inclusions))

    def draw(self, X: Tensor, n_draws: int, generator: torch.Generator) -> Tensor:
        """Functions of the posterior at some inputs.

        Args:
            X: `n x d`.
            n_draws: How many.
            generator: Draws them.

        Returns:
            `n_draws x n`.
        """
        with torch.no_grad():
            weights = []
            for m, s, inclusion in zip(self.means, self.sds, self.inclusions, strict=True):
                gate = _uniforms((n_draws, *m.shape), generator, m) < inclusion
                weights.append(gate * (m + s * normals((n_draws, *m.shape), generator, m)))
            return _outputs(X, weights)


@dataclass(frozen=True)
class Selection:
    """Architectures compared."""

    best: SpikeSlabNet
    """The one of the largest bound plus log prior."""
    nets: Mapping[tuple[int, ...], SpikeSlabNet]
    """All of them by their widths."""


def fit_spike_and_slab(
    X: Tensor,
    y: Tensor,
    widths: Sequence[int],
    *,
    noise_sd: float,
    prior_inclusion: float = 0.5,
    n_steps: int = 2000,
    n_restarts: int = 4,
    seed: int | torch.Generator = 0,
) -> SpikeSlabNet:
    """Fit a network for regression whose posterior and prior both hold exact zeros.

    Gates are relaxed while they are learned (binary concrete); restarts run side by side, and the one of the largest
    bound with true gates is kept: the noise of the search is the main error of the bound.

    Args:
        X: Inputs, `n x d`, scaled to about 1.
        y: Outcomes, `n`, likewise.
        widths: Of the hidden layers.
        noise_sd: Known standard deviation of y about the function.
        prior_inclusion: l_0.
        n_steps: Of Adam.
        n_restarts: R.
        seed: Of everything that is random.

    Returns:
        The network.

    Raises:
        InvalidInputError: If the data or an option cannot be used.

    Reference: Chérief-Abdellatif 2020, "Convergence Rates of Variational Inference in Sparse Deep Learning".
    """
    _check(X, y, widths, noise_sd, prior_inclusion, n_steps, n_restarts)
    generator = as_generator(seed)
    sizes = [X.shape[1], *widths, 1]
    shapes = [(a + 1, b) for a, b in itertools.pairwise(sizes)]
    m = [(normals((n_restarts, *shape), generator, X) * math.sqrt(2.0 / shape[0])).requires_grad_() for shape in shapes]
    log_s, logit = ([torch.full_like(one, start, requires_grad=True) for one in m] for start in (-4.0, 3.0))
    parameters = [*m, *log_s, *logit]
    optimizer = torch.optim.Adam(parameters, lr=_RATE)
    for step in range(n_steps):
        weights = []
        for mean, log_sd, l in zip(m, log_s, logit, strict=True):
            shape = (n_restarts, _N_DRAWS, *mean.shape[1:])
            u = _uniforms(shape, generator, X).clamp(1e-6, 1.0 - 1e-6)
            gate = ((l[:, None] + u.log() - torch.log1p(-u)) / _TEMPERATURE).sigmoid()
            weights.append(gate * (mean[:, None] + log_sd.exp()[:, None] * normals(shape, generator, X)))
        fit = _log_likelihood(_outputs(X, weights), y, noise_sd).mean(1)
        share = min(1.0, (step + 1) / (_WARM_UP * n_steps))
        bound = fit - share * _divergence(m, log_s, logit, prior_inclusion)
        for parameter, gradient in zip(parameters, torch.autograd.grad(-bound.sum(), parameters), strict=True):
            parameter.grad = gradient
        for group in optimizer.param_groups:
            group["lr"] = _RATE * 0.05 ** (step / n_steps)
        optimizer.step()
    with torch.no_grad():
        divergence = _divergence(m, log_s, logit, prior_inclusion)
        nets = []
        for r in range(n_restarts):
            parts = [
                tuple(change(one[r]) for one in layers)
                for layers, change in ((m, Tensor.clone), (log_s, Tensor.exp), (logit, Tensor.sigmoid))
            ]
            net = SpikeSlabNet(tuple(widths), -math.inf, *parts)
            fit = _log_likelihood(net.draw(X, _N_HARD, generator), y, noise_sd).mean()
            nets.append(SpikeSlabNet(tuple(widths), float(fit - divergence[r]), *parts))
    return max(nets, key=lambda net: net.elbo)


def select_architecture(
    X: Tensor,
    y: Tensor,
    candidates: Sequence[Sequence[int]],
    *,
    noise_sd: float,
    log_prior: Mapping[tuple[int, ...], float] | None = None,
    prior_inclusion: float = 0.5,
    n_steps: int = 2000,
    n_restarts: int = 4,
    seed: int | torch.Generator = 0,
) -> Selection:
    """Fit one network an architecture and choose by the evidence bound, which does not reward what data do not need.

    Args:
        X: Inputs, `n x d`.
        y: Outcomes, `n`.
        candidates: Widths of the hidden layers of each.
        noise_sd: As in `fit_spike_and_slab`.
        log_prior: Of architectures; None for equal.
        prior_inclusion: As in `fit_spike_and_slab`.
        n_steps: As in `fit_spike_and_slab`.
        n_restarts: As in `fit_spike_and_slab`.
        seed: Of everything that is random.

    Returns:
        All networks and the best.

    Raises:
        InvalidInputError: If there is no candidate, or the data or an option cannot be used.

    Example:
        >>> X = torch.linspace(-1, 1, 30).double()[:, None]
        >>> selection = select_architecture(X, X[:, 0].abs(), [(1,), (2,)], noise_sd=0.1, n_steps=20)
        >>> sorted(selection.nets)
        [(1,), (2,)]
    """
    if not candidates:
        raise InvalidInputError("candidates: expected at least one list of widths.")
    generator = as_generator(seed)
    nets = {
        tuple(widths): fit_spike_and_slab(
            X,
            y,
            widths,
            noise_sd=noise_sd,
            prior_inclusion=prior_inclusion,
            n_steps=n_steps,
            n_restarts=n_restarts,
            seed=generator,
        )
        for widths in candidates
    }
    prior = {} if log_prior is None else log_prior
    return Selection(max(nets.values(), key=lambda net: net.elbo + prior.get(net.widths, 0.0)), nets)


def _uniforms(shape: Sequence[int], generator: torch.Generator, like: Tensor) -> Tensor:
    return torch.rand(*shape, generator=generator, dtype=like.dtype, device=generator.device).to(like.device)


def _outputs(X: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Of networks, `... x n`, whose layers are `... x inputs + 1 x outputs`."""
    h = X
    for layer, W in enumerate(weights):
        h = (h.relu() if layer else h) @ W[..., :-1, :] + W[..., -1:, :]
    return h.squeeze(-1)


def _log_likelihood(f: Tensor, y: Tensor, noise_sd: float) -> Tensor:
    constant = len(y) * (math.log(noise_sd) + 0.5 * math.log(2.0 * math.pi))
    return -0.5 * ((y - f) / noise_sd).square().sum(-1) - constant


def _divergence(m: Sequence[Tensor], log_s: Sequence[Tensor], logit: Sequence[Tensor], l_0: float) -> Tensor:
    """Of the posterior from the prior, `R`."""
    total = torch.zeros(len(m[0]), dtype=m[0].dtype, device=m[0].device)
    for mean, log_sd, x in zip(m, log_s, logit, strict=True):
        l, log_l, log_rest = x.sigmoid(), torch.nn.functional.logsigmoid(x), torch.nn.functional.logsigmoid(-x)
        slab = 0.5 * ((2.0 * log_sd).exp() + mean.square() - 1.0) - log_sd
        gate = l * (log_l - math.log(l_0)) + (1.0 - l) * (log_rest - math.log1p(-l_0))
        total = total + (l * slab + gate).sum((1, 2))
    return total


def _check(
    X: Tensor, y: Tensor, widths: Sequence[int], noise_sd: float, prior_inclusion: float, n_steps: int, n_restarts: int
) -> None:
    if X.dim() != 2 or y.shape != X.shape[:1] or y.dtype != X.dtype or not X.is_floating_point():
        raise InvalidInputError(
            f"X, y: expected `n x d` and `n` of one floating dtype, got {tuple(X.shape)} of {X.dtype} and "
            f"{tuple(y.shape)} of {y.dtype}."
        )
    if not bool(torch.isfinite(X).all() and torch.isfinite(y).all()):
        raise InvalidInputError("X, y: expected finite values, got some that are not.")
    if not widths or min(widths) < 1:
        raise InvalidInputError(f"widths: expected one positive width a hidden layer, got {tuple(widths)}.")
    if not (noise_sd > 0.0 and math.isfinite(noise_sd)):
        raise InvalidInputError(f"noise_sd: expected a positive number, got {noise_sd}.")
    if not 0.0 < prior_inclusion < 1.0:
        raise InvalidInputError(f"prior_inclusion: expected a probability between 0 and 1, got {prior_inclusion}.")
    if n_steps < 1 or n_restarts < 1:
        raise InvalidInputError(f"n_steps, n_restarts: expected at least 1 of each, got {n_steps} and {n_restarts}.")
