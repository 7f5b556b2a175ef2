"""Fit a guide to a model: Adam along noisy gradients, or L-BFGS on one fixed set of random numbers.

Alphabet. K: particles. B: members of the independent plate.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import scipy.optimize
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.diagnostics.importance import psis
from inference.errors import InferenceError, InvalidInputError
from inference.seeding import as_generator, seeded
from inference.variational.marginal import Marginal, Program
from inference.variational.objectives import ELBO, Objective, as_objective
from inference.variational.posterior import VariationalPosterior
from inference.variational.weights import Weights

if TYPE_CHECKING:  # it loads Pyro
    from inference.variational.estimator import Estimator

_LEAST_PARTICLES: Final = {"adam": 8, "lbfgs": 64}
"""Of an estimate by default: a fixed set of random numbers must stand for all of them."""
_WINDOW: Final = 100
"""Steps whose mean is compared with that of the steps before."""
_LEAST_GAIN: Final = 1e-3
"""Nats by which a window must be better than the last, also where there is no noise."""
_CUTS: Final = 2
"""How often a plateau makes the steps ten times shorter before it ends the search."""
_MAX_NORM: Final = 10.0
"""Of a gradient: one outlier must not undo many steps."""
_MAX_SKIPPED: Final = 20
"""Steps in a row without a finite gradient that end a search."""
_MAX_FIXED_DIM: Final = 200
"""Latent numbers that a fixed set of draws can stand for."""


def fit(
    model: Program,
    guide: Program | Marginal,
    objective: Objective | Callable[[Weights], Tensor] = ELBO,
    *,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    n_particles: int | None = None,
    independent: str | None = None,
    method: Literal["adam", "lbfgs"] = "adam",
    n_steps: int = 10_000,
    rate: float = 0.02,
    target_khat: float | None = None,
    n_check: int = 1000,
    seed: int | torch.Generator = 0,
) -> VariationalPosterior:
    """Move the parameters of a Pyro model and guide to where an objective is largest.

    A site of the guide says how the gradient gets past its randomness by `infer={"grad": ...}`: 'reparam', 'score'
    (no baseline), 'loo' (the mean of the other particles), 'ema' (a running mean), 'enum' (a sum over its values) or
    'mvd' (a measure-valued derivative; Normal, Poisson, Bernoulli). Without one it is reparameterised where it can be,
    else summed over where it has at most 16 values and stands alone, else 'loo'. Particles are one more dimension left
    of the programs' plates, as in Pyro's vectorised objectives. Pyro's parameter store and torch's generator are left
    as they are; parameters of modules are moved in place.

    Adam stops at a plateau: no window of 100 steps better than the last by more than its standard error or a
    thousandth of a nat, twice, after steps a tenth and a hundredth as long. K-hat tells a guide that cannot be right.

    Args:
        model: A Pyro program that takes the arguments.
        guide: A Pyro program that takes the same and draws the latent sites of the model by their names, one of Pyro's
            automatic guides, or what `marginal` made of a guide.
        objective: Of `inference.variational`, or a function from `Weights` to `B` values.
        args: What both are called with.
        kwargs: What both are called with by keyword.
        n_particles: K; None for the least multiple of the objective's group from 8 on, with 'lbfgs' from 64 on.
        independent: A plate that all sites are in, such as the data of an autoencoder; the objective is then taken of
            each member and summed, which matters for all objectives but `ELBO`.
        method: 'adam', or 'lbfgs' on one fixed set of random numbers, which needs no rate: for up to 200 latent
            numbers, all reparameterised or summed over.
        n_steps: At most.
        rate: Length of Adam's first steps, in units of the unconstrained parameters.
        target_khat: Stop as soon as k-hat is below; None to go on to the plateau.
        n_check: Draws of which k-hat and the bound at the end are computed.
        seed: Of everything that is random.

    Returns:
        The fitted guide.

    Raises:
        InvalidInputError: If an option or a strategy is unknown or cannot be used; the message names the site.
        InferenceError: If the objective has no finite gradient.

    Reference: Becker et al. 2024, "Probabilistic Programming with Programmable Variational Inference"; Mnih and Rezende
    2016, "Variational Inference for Monte Carlo Objectives"; Giordano, Ingram and Broderick 2024, "Black Box
    Variational Inference with a Deterministic Objective".

    Example:
        >>> import pyro, pyro.distributions as dist
        >>> def model():
        ...     x = pyro.sample("x", dist.Normal(0.0, 1.0))
        ...     pyro.sample("y", dist.Normal(x, 1.0), obs=torch.tensor(2.0))
        >>> def guide():
        ...     scale = pyro.param("scale", torch.tensor(1.0), constraint=dist.constraints.positive)
        ...     pyro.sample("x", dist.Normal(pyro.param("loc", torch.tensor(0.0)), scale))
        >>> posterior = fit(model, guide, method="lbfgs", n_particles=256)
        >>> bool((posterior.parameters["loc"] - 1.0).abs() < 0.1)
        True
    """
    from inference.variational.estimator import Estimator  # late: loads Pyro

    objective = as_objective(objective)
    _check_options(method, n_steps, rate, n_check)
    if n_particles is None:
        n_particles = objective.group * math.ceil(_LEAST_PARTICLES[method] / objective.group)
    generator = as_generator(seed)
    begun = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    estimator = Estimator(model, guide, objective, n_particles=n_particles, independent=independent)
    call = (tuple(args), dict(kwargs or {}))
    with seeded(begun):
        with estimator.open(validate=True):
            estimator.prepare(*call)
        leaves = [leaf for leaf in estimator.parameters.leaves.values() if leaf.requires_grad]
        if not leaves:
            raise InvalidInputError("fit: neither model nor guide has a parameter, so that there is nothing to move.")
        with estimator.open():
            if method == "lbfgs":
                trace, found = _search_on_fixed_draws(estimator, call, leaves, begun, n_steps)
            else:
                trace, found = _follow(estimator, call, leaves, n_steps, rate, target_khat, n_check)
            found |= _checked(estimator, call, n_check)
    return VariationalPosterior(estimator, call[0], call[1], trace, found)


Call = tuple[tuple[Any, ...], dict[str, Any]]


def _check_options(method: str, n_steps: int, rate: float, n_check: int) -> None:
    if method not in _LEAST_PARTICLES:
        raise InvalidInputError(f"method: expected 'adam' or 'lbfgs', got {method!r}.")
    if n_steps < 1:
        raise InvalidInputError(f"n_steps: expected at least 1, got {n_steps}.")
    if not (rate > 0.0 and math.isfinite(rate)):
        raise InvalidInputError(f"rate: expected a positive number, got {rate}.")
    if n_check < 2:
        raise InvalidInputError(f"n_check: expected at least 2 draws, got {n_check}.")


def _gradients(surrogate: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    """Of minus the surrogate."""
    found = torch.autograd.grad(-surrogate, leaves, allow_unused=True)
    return [torch.zeros_like(leaf) if one is None else one for one, leaf in zip(found, leaves, strict=True)]


def _follow(
    estimator: "Estimator",
    call: Call,
    leaves: list[Tensor],
    n_steps: int,
    rate: float,
    target_khat: float | None,
    n_check: int,
) -> tuple[Tensor, dict[str, Any]]:
    optimizer = torch.optim.Adam(leaves, lr=rate)
    values: list[Tensor] = []
    n_skipped = n_in_a_row = n_flat = n_cuts = 0
    stopped = "n_steps"
    for step in range(1, n_steps + 1):
        surrogate, value = estimator.surrogate(*call)
        gradients = _gradients(surrogate, leaves)
        norm = torch.nn.utils.get_total_norm(gradients)
        values.append(value)
        if not math.isfinite(float(norm + value)):
            n_skipped, n_in_a_row = n_skipped + 1, n_in_a_row + 1
            if n_in_a_row > _MAX_SKIPPED:
                raise InferenceError(
                    f"fit: {n_in_a_row} steps in a row had no finite value and gradient, the last an objective of "
                    f"{float(value):g}. Likely causes: (a) a guide whose draws the model gives no density, check their "
                    "supports; (b) too long steps: lower rate; (c) data that are not finite."
                )
            continue
        n_in_a_row = 0
        shrink = min(1.0, _MAX_NORM / max(float(norm), 1e-300))
        for leaf, gradient in zip(leaves, gradients, strict=True):
            leaf.grad = gradient if shrink == 1.0 else gradient * shrink
        optimizer.step()
        if step % _WINDOW == 0 and step >= 2 * _WINDOW:
            if target_khat is not None and _khat(estimator, call, n_check) < target_khat:
                stopped = "khat"
                break
            n_flat = n_flat + 1 if _is_flat(torch.stack(values[-2 * _WINDOW :])) else 0
            if n_flat == 2:
                n_flat, n_cuts = 0, n_cuts + 1
                if n_cuts > _CUTS:
                    stopped = "plateau"
                    break
                for group in optimizer.param_groups:
                    group["lr"] /= 10.0
    for leaf in leaves:
        leaf.grad = None
    found = {"n_steps": len(values), "n_skipped": n_skipped, "stopped": stopped, "converged": stopped != "n_steps"}
    return torch.stack(values), found


def _is_flat(values: Tensor) -> bool:
    before, after = values[torch.isfinite(values)].chunk(2)
    se = (before.var() / len(before) + after.var() / len(after)).sqrt()
    return not bool(after.mean() - before.mean() > se.clamp_min(_LEAST_GAIN))


def _search_on_fixed_draws(
    estimator: "Estimator", call: Call, leaves: list[Tensor], seed: int, n_steps: int
) -> tuple[Tensor, dict[str, Any]]:
    for name, strategy in estimator.sampler.strategies.items():
        if strategy not in ("reparam", "enum"):
            raise InvalidInputError(
                f"site {name!r}: method='lbfgs' fixes the draws, which {strategy!r} cannot move; use method='adam'."
            )
    dim = sum(site.value.numel() for site in estimator.model_sites.values())
    if dim > _MAX_FIXED_DIM:
        raise InvalidInputError(
            f"method='lbfgs' is for at most {_MAX_FIXED_DIM} latent numbers, as the draws would be fitted to else; the "
            f"model has {dim}. Use method='adam'."
        )
    start = np.concatenate([leaf.detach().double().cpu().numpy().ravel() for leaf in leaves])
    values: list[Tensor] = []
    worst = 0.0

    def objective(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        nonlocal worst
        _write(leaves, theta)
        with seeded(seed):  # the same numbers at each point
            surrogate, value = estimator.surrogate(*call)
            gradients = _gradients(surrogate, leaves)
        gradient = np.concatenate([one.double().cpu().numpy().ravel() for one in gradients])
        if not (math.isfinite(float(value)) and bool(np.isfinite(gradient).all())):
            return worst + 10.0 * (1.0 + abs(worst)), np.zeros_like(theta)  # a wall: the line search turns back
        values.append(value)
        worst = max(worst, -float(value)) if len(values) > 1 else -float(value)
        return -float(value), gradient

    found = scipy.optimize.minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": n_steps})
    if not values:
        raise InferenceError("fit: the objective has no finite gradient where the parameters start.")
    _write(leaves, found.x)
    outcome = {
        "n_steps": int(found.nit),
        "n_skipped": 0,
        "stopped": str(found.message),
        "converged": bool(found.success),
    }
    return torch.stack(values), outcome


def _write(leaves: Sequence[Tensor], theta: NDArray[np.float64]) -> None:
    at = 0
    with torch.no_grad():
        for leaf in leaves:
            leaf.copy_(torch.as_tensor(theta[at : at + leaf.numel()]).to(leaf).reshape(leaf.shape))
            at += leaf.numel()


def _checked(estimator: "Estimator", call: Call, n_check: int) -> dict[str, Any]:
    n = max(2, math.ceil(n_check / estimator.n_particles))
    with torch.no_grad():
        values = torch.stack([estimator.surrogate(*call)[1] for _ in range(n)])
    return {
        "bound": float(values.mean()),
        "bound_se": float(values.std() / math.sqrt(n)),
        "khat": _khat(estimator, call, n_check),
    }


def _khat(estimator: "Estimator", call: Call, n: int) -> float:
    log_w = torch.nan_to_num(estimator.log_weights(n, *call), nan=-math.inf, posinf=-math.inf)
    return max(psis(member).khat for member in log_w.T)
