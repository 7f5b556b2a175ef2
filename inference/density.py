"""What every method of this package consumes: an unnormalised log density on unconstrained coordinates.

Alphabet. z: unconstrained coordinates, `c x dim`. c: points evaluated at once, such as chains.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Final

import torch
from torch import Tensor
from typing_extensions import override

from inference.errors import InvalidInputError
from inference.seeding import seeded

_CPU: Final = torch.device("cpu")


class LogDensity(ABC):
    """A log density on `R^dim`, up to a constant; many points at once.

    A subclass gives `dim` and `log_prob`. It overrides `value_and_grad` where it knows the gradient better than
    autograd does, and `constrain` where z stands for named parameters. A value that is not finite means that a point is
    impossible; methods then keep away from there.
    """

    dim: int
    """Number of coordinates."""
    dtype: torch.dtype = torch.float64
    """Of the points that it takes."""
    device: torch.device = _CPU
    """Where those are."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Log densities, `c`, of points `c x dim`, the Jacobian of `constrain` included."""

    def value_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Log densities and their gradients, without a graph.

        Args:
            z: Points, `c x dim`.

        Returns:
            Values, `c`, and gradients, `c x dim`.
        """
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            value = self.log_prob(z)
            (gradient,) = torch.autograd.grad(value.sum(), z)
        return value.detach(), gradient

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        """The parameters that points stand for.

        Args:
            z: Points, `c x dim`.

        Returns:
            Name to values, `c x ...`.
        """
        return {"z": z}


class _Callable(LogDensity):
    def __init__(
        self,
        log_prob: Callable[[Tensor], Tensor],
        dim: int,
        constrain: Callable[[Tensor], dict[str, Tensor]] | None,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.dim, self.dtype, self.device = dim, dtype, device
        self._log_prob, self._constrain = log_prob, constrain

    @override
    def log_prob(self, z: Tensor) -> Tensor:
        value = self._log_prob(z)
        if value.shape != z.shape[:1]:
            raise InvalidInputError(
                f"log_prob: expected one value a point, {tuple(z.shape[:1])}, for points {tuple(z.shape)}, got "
                f"{tuple(value.shape)}. A function of one point becomes one of many by torch.vmap(function)."
            )
        return value

    @override
    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        return super().constrain(z) if self._constrain is None else self._constrain(z)


def from_callable(
    log_prob: Callable[[Tensor], Tensor],
    dim: int,
    *,
    constrain: Callable[[Tensor], dict[str, Tensor]] | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = _CPU,
) -> LogDensity:
    """A function as a density; gradients come from autograd.

    Args:
        log_prob: From points `c x dim` to log densities `c`, up to a constant.
        dim: Number of coordinates.
        constrain: From points to named parameters, `c x ...` each; `log_prob` must then include its Jacobian. None
            gives the points the name "z".
        dtype: Of the points.
        device: Of the points.

    Returns:
        The density.

    Raises:
        InvalidInputError: If `dim` is not positive.

    Example:
        >>> normal = from_callable(lambda z: -0.5 * z.square().sum(1), dim=2)
        >>> normal.value_and_grad(torch.tensor([[3.0, 4.0]]))
        (tensor([-12.5000]), tensor([[-3., -4.]]))
    """
    if dim < 1:
        raise InvalidInputError(f"dim: expected the number of coordinates, at least 1, got {dim}.")
    return _Callable(log_prob, dim, constrain, dtype, torch.device(device))


def from_pyro(model: Callable[..., Any], *args: Any, seed: int = 0, **kwargs: Any) -> LogDensity:
    """The joint log density of a Pyro model and its data, over unconstrained latent sites.

    Each latent site is mapped from `R^k` to its support by `torch.distributions.biject_to`, also where the support
    depends on other sites. The order of the coordinates is that of the sites. Points are evaluated together by
    `torch.vmap` where the model allows it, else one by one. Pyro's parameter store and torch's generator are left as
    they are.

    Args:
        model: Takes the arguments; its structure must not depend on the values of its sites.
        args: What the model is called with.
        seed: Of the run that finds the sites, and of subsampling.
        kwargs: What the model is called with by keyword.

    Returns:
        The density; `constrain` names the latent and the deterministic sites.

    Raises:
        InvalidInputError: If the model has no latent site, or a discrete one.

    Example:
        >>> import pyro, pyro.distributions as dist
        >>> density = from_pyro(lambda: pyro.sample("scale", dist.Exponential(torch.tensor(1.0).double())))
        >>> density.log_prob(torch.zeros(1, 1).double())  # of log scale: -scale + log scale
        tensor([-1.], dtype=torch.float64)
    """
    return _PyroDensity(model, args, kwargs, seed)


class _PyroDensity(LogDensity):
    def __init__(self, model: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], seed: int) -> None:
        import pyro  # late: not needed by those who bring a function
        from pyro import poutine

        self._call = lambda: model(*args, **kwargs)
        self._seed = seed
        with pyro.get_param_store().scope(), seeded(seed):
            trace = poutine.trace(self._call).get_trace()
        self._parts: dict[str, tuple[slice, torch.Size]] = {}
        end = 0
        for name, site in _latent(trace.nodes.items()):
            if site["fn"].has_enumerate_support:
                raise InvalidInputError(
                    f"model: site {name!r} is discrete, {site['fn']}, and has no gradient. Sum it out by hand, or use "
                    "Pyro's own NUTS, which enumerates."
                )
            free = torch.distributions.biject_to(site["fn"].support).inv(site["value"])
            self._parts[name] = slice(end, end + free.numel()), free.shape
            end += free.numel()
            self.dtype, self.device = free.dtype, free.device
        if end == 0:
            raise InvalidInputError("model: it has no latent site, so there is nothing to infer.")
        self.dim = end
        self._is_vectorised = self._agrees_vectorised()

    @override
    def log_prob(self, z: Tensor) -> Tensor:
        return self._over_points(lambda point: self._run(point)[0], z)

    @override
    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        values: dict[str, Tensor] = self._over_points(lambda point: self._run(point)[1], z)
        return values

    def _over_points(self, function: Callable[[Tensor], Any], z: Tensor) -> Any:
        if self._is_vectorised:
            return torch.vmap(function)(z)
        results = [function(point) for point in z]
        if isinstance(results[0], dict):
            return {name: torch.stack([result[name] for result in results]) for name in results[0]}
        return torch.stack(results)

    def _run(self, point: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Log density and named values at one point, `dim`."""
        import pyro
        from pyro import poutine
        from pyro.poutine.messenger import Messenger

        parts, corrections = self._parts, []
        values: dict[str, Tensor] = {}

        class Unconstrained(Messenger):
            def _pyro_sample(self, msg: Any) -> None:
                if msg["name"] in parts:
                    where, shape = parts[msg["name"]]
                    free = point[where].reshape(shape)
                    transform = torch.distributions.biject_to(msg["fn"].support)
                    value = transform(free)
                    corrections.append(transform.log_abs_det_jacobian(free, value).sum())
                    msg["value"], msg["done"] = value, True

        # Values were validated when the model was first run; checking them again would need numbers out of vmap.
        with pyro.get_param_store().scope(), pyro.validation_enabled(False), seeded(self._seed):
            trace = poutine.trace(Unconstrained()(self._call)).get_trace()
            total: Tensor = trace.log_prob_sum() + sum(corrections)
        for name, site in trace.nodes.items():
            told = site.get("infer") or {}  # the trace's own ends have none
            if (name in parts or told.get("_deterministic")) and isinstance(site["value"], Tensor):
                values[name] = site["value"]
        return total, values

    def _agrees_vectorised(self) -> bool:
        """Whether vmap runs the model, and to the same effect."""
        z = torch.linspace(-0.5, 0.5, 2 * self.dim, dtype=self.dtype, device=self.device).reshape(2, self.dim)
        self._is_vectorised = False
        one_by_one, named = self.log_prob(z), self.constrain(z)
        self._is_vectorised = True
        try:
            return torch.allclose(self.log_prob(z), one_by_one) and all(
                torch.allclose(value, named[name]) for name, value in self.constrain(z).items()
            )
        except (RuntimeError, ValueError):  # control flow on values, or an operation that vmap lacks
            return False


def _latent(nodes: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    from pyro.poutine.util import site_is_subsample  # of a plate, and no parameter

    return [
        (name, site)
        for name, site in nodes
        if site["type"] == "sample" and not site["is_observed"] and not site_is_subsample(site)
    ]
