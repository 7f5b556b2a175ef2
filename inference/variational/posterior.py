"""A fitted guide, as every method's result: something to draw from, with a log density and diagnostics.

Alphabet. z: unconstrained coordinates, `dim` of them, in the order of the model's latent sites, as in
`inference.from_pyro`. B: members of the independent plate.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from inference.errors import InvalidInputError
from inference.seeding import seeded

if TYPE_CHECKING:  # it loads Pyro, which who only imports this package does not need
    from inference.variational.estimator import Estimator


@dataclass(frozen=True)
class VariationalPosterior:
    """The distribution that a guide has after `fit`."""

    estimator: "Estimator"
    """Programs and parameters."""
    args: Sequence[Any]
    """What the programs are called with."""
    kwargs: Mapping[str, Any]
    """What they are called with by keyword."""
    trace: Tensor
    """An estimate of the objective at each step."""
    diagnostics: dict[str, Any] = field(default_factory=dict)
    """`bound`, the objective at the end, with its standard error `bound_se`; `khat` of importance sampling, the largest
    of the independent plate's members (below 0.7 the guide covers the posterior); `n_steps`; `stopped` by 'plateau',
    'khat', 'n_steps' or the search's own rule, and whether it `converged`; `n_skipped` steps without a finite
    gradient."""

    @property
    def parameters(self) -> dict[str, Tensor]:
        """Constrained parameters of model and guide by name, copies."""
        known = self.estimator.parameters
        values = {name: known.value(name) for name in known.leaves}
        return {name: value.detach().clone() for name, value in values.items() if value is not None}

    def draw(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Independent draws of the model's latent sites.

        Args:
            n: How many.
            generator: Of the draws.

        Returns:
            Name to values, `n x ...`, each of the shape that its site has.
        """
        with self._run(generator):
            values = self.estimator.draw(n, self.args, self.kwargs)
        sites = self.estimator.model_sites
        return {name: value.reshape(n, *sites[name].value.shape) for name, value in values.items()}

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Independent draws in unconstrained coordinates.

        Args:
            n: How many.
            generator: Of the draws.

        Returns:
            `n x dim`.

        Raises:
            InvalidInputError: If a latent site is discrete.
        """
        self._check_continuous()
        with self._run(generator), torch.no_grad():
            values = self.estimator.draw(n, self.args, self.kwargs)
            sites = self.estimator.sites_of_model(lambda name, _: values[name], self.args, self.kwargs)
            parts = [torch.distributions.biject_to(sites[name].fn.support).inv(values[name]) for name in values]
        return torch.cat([part.reshape(n, -1) for part in parts], 1)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log densities of the guide, normalised; of a marginal guide estimates, from 256 auxiliary values.

        Args:
            z: Points, `c x dim`.

        Returns:
            `c`.

        Raises:
            InvalidInputError: If a latent site is discrete, or the guide has a site that the model has not.
        """
        self._check_continuous()
        free, corrections = self._free(z), []

        def constrained(name: str, fn: Any) -> Tensor:
            transform = torch.distributions.biject_to(fn.support)
            value: Tensor = transform(free[name])
            correction: Tensor = transform.log_abs_det_jacobian(free[name], value)
            corrections.append(correction.reshape(len(z), -1).sum(1))
            return value

        with self._run(torch.Generator().manual_seed(0)), torch.no_grad():
            sites = self.estimator.sites_of_model(constrained, self.args, self.kwargs)
            given = self._sites_of_guide(z, free, {name: sites[name].value for name in free})
            density = self.estimator.log_density(given, len(z), self.args, self.kwargs)
        return density.expand(len(z), -1).sum(1) + torch.stack(corrections).sum(0)

    def to(self, device: torch.device | str) -> "VariationalPosterior":
        """The same guide elsewhere, with its parameters and the tensors among the arguments.

        Args:
            device: Where to.

        Returns:
            A new object.

        Raises:
            InvalidInputError: If model or guide are modules, whose parameters are theirs to move.
        """
        estimator = copy.copy(self.estimator)
        estimator.parameters = self.estimator.parameters.to(torch.device(device))

        def moved(value: Any) -> Any:
            return value.to(device) if isinstance(value, Tensor) else value

        return VariationalPosterior(
            estimator,
            tuple(moved(value) for value in self.args),
            {name: moved(value) for name, value in self.kwargs.items()},
            self.trace.to(device),
            self.diagnostics,
        )

    # -- coordinates ----------------------------------------------------------------------------------------------

    @contextmanager
    def _run(self, generator: torch.Generator) -> Iterator[None]:
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        with seeded(seed), self.estimator.open():
            yield

    def _check_continuous(self) -> None:
        for name, site in self.estimator.model_sites.items():
            if site.fn.support.is_discrete:
                raise InvalidInputError(
                    f"site {name!r} is discrete and has no unconstrained coordinates; use `draw(n, generator)`."
                )

    def _free(self, z: Tensor) -> dict[str, Tensor]:
        """Coordinates of each site, in the shape that a run with particles gives it."""
        nesting, found, end = self.estimator.layout.nesting, {}, 0
        for name, site in self.estimator.model_sites.items():
            shape = torch.distributions.biject_to(site.fn.support).inv(site.value).shape
            padding = (1,) * (nesting - len(site.fn.batch_shape))
            begin, end = end, end + int(shape.numel())
            found[name] = z[:, begin:end].reshape(len(z), *padding, *shape)
        if z.shape != (len(z), end):
            raise InvalidInputError(f"z: expected `c x dim` with dim={end}, got {tuple(z.shape)}.")
        return found

    def _sites_of_guide(self, z: Tensor, free: Mapping[str, Tensor], values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Values for the sites of the guide; Pyro's automatic guides draw unconstrained ones, and the others follow."""
        whole = z.reshape(len(z), *(1,) * self.estimator.layout.nesting, -1)
        automatic = {f"{name}_unconstrained": value for name, value in free.items()}
        guide_name = getattr(self.estimator.sampler.guide, "_pyro_name", None)
        return values | automatic | {f"_{guide_name}_latent": whole}
