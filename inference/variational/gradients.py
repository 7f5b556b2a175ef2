"""How the gradient gets past a site's randomness: a strategy for each, and what each needs.

Alphabet. x: value of a site. theta: one scalar parameter of its distribution. F: what is averaged over x.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from pyro.distributions import Bernoulli, Independent, Normal, Poisson
from torch import Tensor

from inference.errors import InvalidInputError
from inference.variational.objectives import Objective
from inference.variational.programs import Site

STRATEGIES: Final = ("reparam", "score", "loo", "ema", "enum", "mvd")
"""Through the draw; through log q, with baseline 0, the mean of the other particles or a running mean; by summing over
all values; by the difference of two coupled draws."""
MAX_DEFAULT_VALUES: Final = 16
"""Values that a site may have to be summed over without being asked to."""
MAX_MEASURE_VALUED: Final = 64
"""Scalar parameters of measure-valued sites at most: each costs two more runs of the programs."""


@dataclass(frozen=True)
class Branch:
    """A scalar parameter's derivative as a difference: `d E F / d theta = E [coefficient (F(plus) - F(minus))]`."""

    theta: Tensor
    """With its graph, of the shape of x."""
    coefficient: Tensor
    """Of that shape."""
    plus: Tensor
    """Of that shape."""
    minus: Tensor
    """Of that shape."""


def strategy_of(
    name: str, site: Site, objective: Objective, *, n_particles: int, is_alone: bool, is_auxiliary: bool
) -> str:
    """What a site of the guide asked for, or what suits it.

    Args:
        name: Of the site.
        site: As a run without particles saw it.
        objective: What is maximised.
        n_particles: Particles of an estimate.
        is_alone: Whether no plate or batch but the independent one has several elements of it.
        is_auxiliary: Whether it belongs to a guide that `marginal` averages over.

    Returns:
        One of `STRATEGIES`, or 'none' where the objective takes draws as numbers.

    Raises:
        InvalidInputError: If what it asked for is unknown or cannot be had; the message names the site.
    """
    asked = site.infer.get("grad")
    if asked is not None and asked not in STRATEGIES:
        raise InvalidInputError(
            f"site {name!r}: infer['grad'] is {asked!r}, expected one of {', '.join(STRATEGIES)}, or nothing."
        )
    if objective.draws == "data":
        if asked is not None:
            raise InvalidInputError(
                f"site {name!r}: {objective.name} takes draws as numbers and uses no strategy; leave infer['grad'] out."
            )
        return "none"
    obstacles = _obstacles(site, objective, n_particles, is_alone, is_auxiliary)
    if asked is None:
        few = "enum" not in obstacles and _n_values(site.fn) <= MAX_DEFAULT_VALUES
        asked = "reparam" if "reparam" not in obstacles else "enum" if few else "loo" if n_particles > 1 else "score"
    if asked in obstacles:
        raise InvalidInputError(f"site {name!r}: infer['grad'] is {asked!r}, but {obstacles[asked]}.")
    if objective.draws == "reparameterised" and asked != "reparam":
        raise InvalidInputError(
            f"site {name!r}: {objective.name} needs reparameterised draws, but this site is of {asked!r} "
            f"({type(base_of(site.fn)).__name__}). Use IWELBO."
        )
    return str(asked)


def _obstacles(
    site: Site, objective: Objective, n_particles: int, is_alone: bool, is_auxiliary: bool
) -> dict[str, str]:
    """What stands in the way of each strategy."""
    found: dict[str, str] = {}
    fn, kind = site.fn, type(base_of(site.fn)).__name__
    if not fn.has_rsample:
        found["reparam"] = f"{kind} has no reparameterised draws; use 'score' or 'loo'"
    if n_particles < 2:
        found["loo"] = "a leave-one-out baseline needs at least 2 particles; give n_particles"
    together = not objective.additive and n_particles > 1
    for strategy in ("enum", "mvd"):
        if is_auxiliary:
            found[strategy] = "sites of a marginal guide can be of 'reparam', 'score', 'loo' and 'ema' alone"
        elif together:
            found[strategy] = (
                f"{objective.name} lets particles interact; use n_particles=1, ELBO, or an Objective that says additive"
            )
    if not fn.has_enumerate_support:
        found["enum"] = f"{kind} has no list of its values"
    elif not is_alone:
        found["enum"] = "a plate has several elements of it, whose values would multiply; name that plate independent="
    if kind not in _BRANCHES:
        found["mvd"] = f"of {kind} no such derivative is known here, but of {', '.join(_BRANCHES)}"
    return found


def _n_values(fn: Any) -> int:
    return len(fn.enumerate_support(expand=False)) if fn.has_enumerate_support else 0


def base_of(fn: Any) -> Any:
    """A distribution without the layers that only say which dimensions are its own.

    Args:
        fn: A distribution.

    Returns:
        That of the elements.
    """
    while isinstance(fn, Independent):
        fn = fn.base_dist
    return fn


def branches_of(site: Site) -> list[Branch]:
    """The derivatives of a measure-valued site, one for each kind of parameter that has a gradient.

    Draws from torch's generator.

    Args:
        site: With a value.

    Returns:
        Them, each for all elements of the value.
    """
    fn, x = base_of(site.fn), site.value.detach()
    found = _BRANCHES[type(fn).__name__](fn, x)
    return [branch for branch in found if branch.theta.requires_grad]


def _normal(fn: Normal, x: Tensor) -> list[Branch]:
    loc, scale = fn.loc.expand(x.shape), fn.scale.expand(x.shape)
    mean, sd = loc.detach(), scale.detach()
    # Rayleigh numbers, those of Weibull with shape 2 and scale sqrt 2
    w = sd * (-2.0 * torch.log1p(-torch.rand_like(x))).sqrt()
    # Maxwell numbers, mirrored: of the density x^2 times a normal one; times a uniform they are normal again
    m = sd * torch.randn(3, *x.shape, dtype=x.dtype, device=x.device).square().sum(0).sqrt()
    m = torch.where(torch.rand_like(x) < 0.5, m, -m)
    return [
        Branch(loc, 1.0 / (sd * math.sqrt(2.0 * math.pi)), mean + w, mean - w),
        Branch(scale, 1.0 / sd, mean + m, mean + m * torch.rand_like(x)),
    ]


def _poisson(fn: Poisson, x: Tensor) -> list[Branch]:
    return [Branch(fn.rate.expand(x.shape), torch.ones_like(x), x + 1.0, x)]


def _bernoulli(fn: Bernoulli, x: Tensor) -> list[Branch]:
    return [Branch(fn.probs.expand(x.shape), torch.ones_like(x), torch.ones_like(x), torch.zeros_like(x))]


_BRANCHES: Final[dict[str, Callable[[Any, Tensor], list[Branch]]]] = {
    "Normal": _normal,
    "Poisson": _poisson,
    "Bernoulli": _bernoulli,
}
