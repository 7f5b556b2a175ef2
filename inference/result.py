"""What every method returns: something to draw from, with a log density and diagnostics.

Alphabet. z: unconstrained coordinates, `dim` of them.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from inference.density import LogDensity
from inference.errors import InvalidInputError


class Posterior(Protocol):
    """An approximate posterior, whichever method found it."""

    @property
    def diagnostics(self) -> dict[str, Any]:
        """How far it can be trusted: numbers by name."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draws, `n x dim`."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Log densities, `c`, of points `c x dim`; up to a constant where the method knows no better."""

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""


@dataclass(frozen=True)
class Samples:
    """Draws of Markov chains."""

    z: Tensor
    """`draw x chain x dim`, without warm-up."""
    log_density: Tensor
    """Unnormalised log density of each, `draw x chain`."""
    density: LogDensity
    """What was sampled."""
    diagnostics: dict[str, Any] = field(default_factory=dict)
    """`rhat`, `ess_bulk` and `ess_tail`, `dim` each, and what the sampler adds."""
    state: Any = None
    """What the sampler can go on from; None where it cannot."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Some of the draws: each at most once where there are enough of them.

        Args:
            n: How many.
            generator: Chooses them.

        Returns:
            `n x dim`.
        """
        pool = self.z.reshape(-1, self.z.shape[-1])
        if n <= len(pool):
            rows = torch.randperm(len(pool), generator=generator, device=generator.device)[:n]
        else:
            rows = torch.randint(len(pool), (n,), generator=generator, device=generator.device)
        return pool[rows.to(pool.device)]

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of the target, up to its constant.

        Args:
            z: Points, `c x dim`.

        Returns:
            `c`, on the device of z.
        """
        return self.density.log_prob(z.to(self.density.device)).to(z.device)

    def to(self, device: torch.device | str) -> "Samples":
        """The same draws elsewhere; the target stays where its data are, and `state` with it.

        Args:
            device: Where to.

        Returns:
            A new object.
        """
        return dataclasses.replace(self, z=self.z.to(device), log_density=self.log_density.to(device))

    def to_dict(self) -> dict[str, Tensor]:
        """The draws as named parameters, `chain x draw x ...` each, the order that ArviZ uses."""
        n_draws, n_chains, dim = self.z.shape
        points = self.z.transpose(0, 1).reshape(-1, dim)
        named = self.density.constrain(points.to(self.density.device))
        return {name: value.reshape(n_chains, n_draws, *value.shape[1:]) for name, value in named.items()}

    def to_arviz(self) -> Any:
        """The draws as ArviZ' `InferenceData`, for its plots and tables.

        Returns:
            The data.

        Raises:
            InvalidInputError: If ArviZ is not installed.
        """
        try:
            import arviz  # late: takes seconds to import and is no dependency
        except ImportError as error:
            raise InvalidInputError("to_arviz: needs the package arviz; `pip install 'arviz<1'`.") from error
        named = {name: value.detach().cpu().numpy() for name, value in self.to_dict().items()}
        return arviz.from_dict(
            posterior=named, sample_stats={"lp": self.log_density.transpose(0, 1).detach().cpu().numpy()}
        )
