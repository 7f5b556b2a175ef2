"""Hamiltonian Monte Carlo of many chains at once, which share step size, path length and metric.

One batched evaluation moves every chain, and the chains' common draws tell the metric in a few dozen steps what one
chain would need hundreds for.

Alphabet. z: unconstrained coordinates. x: the same whitened, `z = c + S x`. C: chains. c: centre. S: factor of the
metric, `dim x dim`.

References: Neal 2011, "MCMC Using Hamiltonian Dynamics"; Hoffman and Gelman 2014, "The No-U-Turn Sampler: Adaptively
Setting Path Lengths in Hamiltonian Monte Carlo", for dual averaging.
"""

import math
import warnings
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from inference.density import LogDensity
from inference.diagnostics.chains import ess, rhat
from inference.errors import InferenceWarning, InvalidInputError
from inference.laplace.density import GaussianPosterior, laplace
from inference.result import Samples
from inference.seeding import as_generator, normals

IMPOSSIBLE: Final = -1e30
"""Log density of a point that is impossible or could not be computed: always rejected, and never nan."""
_SPREAD: Final = 0.7
"""Of the first points, in Laplace draws: narrower than it says, since tails of the true density may be shorter."""
_MAX_STEP: Final = 2.0
"""Leapfrog is unstable beyond it where the metric fits."""
_JITTER: Final = (0.8, 1.2)
"""Of the step size from one path to the next, so that no period of the path repeats itself."""
_TARGET_ACCEPTANCE: Final = 0.8
_LEAST_FOR_RHAT: Final = 4
"""Draws a chain."""


@dataclass(frozen=True)
class EnsembleState:
    """Where the chains are and what they have learned of the density; `ensemble_hmc(start=...)` goes on from it."""

    z: Tensor
    """Points, `C x dim`."""
    center: Tensor
    """c, `dim`."""
    scale: Tensor
    """S, `dim x dim`."""
    step: float
    """Step size in whitened coordinates."""


def ensemble_hmc(
    density: LogDensity,
    *,
    start: GaussianPosterior | EnsembleState | None = None,
    n_chains: int = 16,
    n_warmup: int = 60,
    n_draws: int = 32,
    max_leapfrog: int = 12,
    max_rhat: float = 1.2,
    seed: int | torch.Generator = 0,
) -> Samples:
    """Draw from a density with an ensemble of Hamiltonian chains.

    At a quarter, a half and three quarters of the warm-up the metric is made anew from all chains' draws since the last
    time, shrunk towards the present one. A point with a density that is not finite is rejected by its own chain alone.

    Args:
        density: What is sampled; costs `n_warmup + n_draws` times `max_leapfrog / 2` batched gradients.
        start: A Laplace approximation to draw first points and metric from; or the `state` of an earlier result, of
            this density or of one like it, for `n_chains` of the same number. None to make the approximation.
        n_chains: C.
        n_warmup: Steps that adapt and are not kept.
        n_draws: Steps that are kept, of each chain.
        max_leapfrog: Most leapfrog steps of a path; their number is uniform from 1.
        max_rhat: R-hat beyond which a warning is given; `math.inf` where only predictions matter, which agree earlier.
        seed: Of everything that is random.

    Returns:
        The draws; `diagnostics` has `rhat`, `ess_bulk` and `ess_tail` of each coordinate, `acceptance` and `step`.

    Raises:
        InvalidInputError: If a count is too small, or the start does not fit.

    Example:
        >>> from inference.density import from_callable
        >>> normal = from_callable(lambda z: -0.5 * z.square().sum(1), dim=2)
        >>> bool(ensemble_hmc(normal).z.std() > 0.8)
        True
    """
    if n_chains < 2 or n_warmup < 0 or n_draws < 1 or max_leapfrog < 1:
        raise InvalidInputError(
            "n_chains, n_warmup, n_draws, max_leapfrog: expected at least 2, 0, 1 and 1, got "
            f"{n_chains}, {n_warmup}, {n_draws}, {max_leapfrog}."
        )
    generator = as_generator(seed)
    if start is None:
        start = laplace(density, n_check=0)
    if isinstance(start, GaussianPosterior):
        scale = start.U / start.w.sqrt()
        first = start.mean + _SPREAD * (start.sample(n_chains, generator, antithetic=False) - start.mean)
        start = EnsembleState(first, start.mean, scale, 0.5 * density.dim**-0.25)
    if start.z.shape != (n_chains, density.dim):
        raise InvalidInputError(
            f"start: expected {n_chains} chains of dimension {density.dim}, got points {tuple(start.z.shape)}."
        )
    chains = _Chains(density, start, generator, max_leapfrog)
    chains.warm_up(n_warmup)
    kept, values, acceptance = [], [], []
    for _ in range(n_draws):
        acceptance.append(chains.move())
        kept.append(chains.z)
        values.append(chains.value)
    z = torch.stack(kept)
    diagnostics: dict[str, Any] = {"acceptance": sum(acceptance) / n_draws, "step": chains.step}
    if n_draws >= _LEAST_FOR_RHAT:
        diagnostics |= {"rhat": rhat(z), "ess_bulk": ess(z), "ess_tail": ess(z, "tail")}
        worst = float(diagnostics["rhat"].max())
        if worst > max_rhat:
            warnings.warn(
                f"The chains do not agree: R-hat is {worst:.2f} where {max_rhat:g} is allowed. Give more n_warmup and "
                "n_draws; or max_rhat=math.inf where only predictions matter, which agree earlier than parameters do.",
                InferenceWarning,
                stacklevel=2,
            )
    return Samples(z, torch.stack(values), density, diagnostics, chains.state)


class _Chains:
    """The moving parts."""

    def __init__(
        self, density: LogDensity, start: EnsembleState, generator: torch.Generator, max_leapfrog: int
    ) -> None:
        self._density, self._generator, self._max_leapfrog = density, generator, max_leapfrog
        self._center, self._scale, self.step = start.center, start.scale, start.step
        self.z = start.z
        self._x = self._whitened(self.z)
        self.value, self._gradient = self._evaluate(self.z)

    @property
    def state(self) -> EnsembleState:
        return EnsembleState(self.z, self._center, self._scale, self.step)

    def warm_up(self, n: int) -> None:
        """Adapt step and metric in n moves."""
        turns = {math.ceil(share * n) for share in (0.25, 0.5, 0.75)}
        averaging = _DualAveraging(self.step)
        window: list[Tensor] = []
        for done in range(1, n + 1):
            self.step = averaging.step
            averaging.update(self.move())
            window.append(self._x)
            if done in turns and done < n:
                self._adapt(torch.cat(window))
                window = []
                averaging = _DualAveraging(averaging.average)
        if n > 0:
            self.step = averaging.average

    def move(self) -> float:
        """One path of every chain, taken or not; returns the mean acceptance probability."""
        coins = torch.rand(2, generator=self._generator, device=self._generator.device).tolist()
        n_leapfrog = 1 + int(coins[0] * self._max_leapfrog)
        step = self.step * (_JITTER[0] + (_JITTER[1] - _JITTER[0]) * coins[1])
        momentum = normals(self._x.shape, self._generator, self._x)
        kinetic = 0.5 * momentum.square().sum(1)
        x, value, gradient = self._x, self.value, self._gradient
        z = self.z
        for _ in range(n_leapfrog):
            momentum = momentum + 0.5 * step * gradient
            x = x + step * momentum
            z = self._center + x @ self._scale.T
            value, gradient = self._evaluate(z)
            momentum = momentum + 0.5 * step * gradient
        gain = (value - self.value) + (kinetic - 0.5 * momentum.square().sum(1))
        # Where a path flew off, infinity less infinity is nan: a rejection.
        probability = torch.nan_to_num(gain, nan=IMPOSSIBLE).clamp_max(0.0).exp()
        uniform = torch.rand(len(x), generator=self._generator, dtype=x.dtype, device=self._generator.device).to(
            x.device
        )
        taken = (uniform < probability) & (value > IMPOSSIBLE)
        row = taken[:, None]
        self.z, self._x = torch.where(row, z, self.z), torch.where(row, x, self._x)
        self.value, self._gradient = torch.where(taken, value, self.value), torch.where(row, gradient, self._gradient)
        return float(probability.mean())

    def _evaluate(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Log densities, and gradients along x; of impossible points a finite value and no slope."""
        value, gradient = self._density.value_and_grad(z)
        good = torch.isfinite(value) & torch.isfinite(gradient).all(1)
        value = torch.where(good, value, torch.full_like(value, IMPOSSIBLE))
        gradient = torch.where(good[:, None], gradient, torch.zeros_like(gradient))
        return value, gradient @ self._scale

    def _adapt(self, draws: Tensor) -> None:
        """A metric from whitened draws, shrunk towards the present one, which is the identity for them."""
        n, dim = draws.shape
        # Draws of a path follow one another; four are taken to tell as much as one independent one.
        trust = (n / 4.0) / (n / 4.0 + 2.0 * dim)
        center = draws.mean(0)
        eye = torch.eye(dim, dtype=draws.dtype, device=draws.device)
        covariance = trust * (draws - center).T @ (draws - center) / n + (1.0 - trust) * eye
        along_z = torch.linalg.solve(self._scale.T, self._gradient.T).T
        self._center = self._center + self._scale @ center
        self._scale = self._scale @ torch.linalg.cholesky(covariance)
        self._x, self._gradient = self._whitened(self.z), along_z @ self._scale

    def _whitened(self, z: Tensor) -> Tensor:
        return torch.linalg.solve(self._scale, (z - self._center).T).T


class _DualAveraging:
    """Nesterov's dual averaging of the log step towards a mean acceptance, with the constants of Hoffman and Gelman."""

    def __init__(self, step: float) -> None:
        self.step = step
        self._toward = math.log(10.0 * step)
        self._log_average, self._error, self._t = math.log(step), 0.0, 0

    @property
    def average(self) -> float:
        """The step to keep."""
        return math.exp(self._log_average)

    def update(self, acceptance: float) -> None:
        self._t += 1
        rate = 1.0 / (self._t + 10.0)
        self._error = (1.0 - rate) * self._error + rate * (_TARGET_ACCEPTANCE - acceptance)
        log_step = min(self._toward - math.sqrt(self._t) / 0.05 * self._error, math.log(_MAX_STEP))
        share = self._t**-0.75
        self._log_average = share * log_step + (1.0 - share) * self._log_average
        self.step = math.exp(log_step)
