"""Pyro's No-U-Turn sampler on any log density, Pyro models included, one chain after another.

Alphabet. z: unconstrained coordinates.
"""

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from inference.density import LogDensity
from inference.diagnostics.chains import ess, rhat
from inference.errors import InvalidInputError
from inference.result import Samples
from inference.seeding import as_generator, seeded


def nuts(
    density: LogDensity,
    starts: Tensor,
    *,
    n_warmup: int = 256,
    n_draws: int = 128,
    max_tree_depth: int = 6,
    seed: int | torch.Generator = 0,
) -> Samples:
    """Draw with the No-U-Turn sampler: slower than `ensemble_hmc`, with paths as long as the density asks for.

    The metric is dense. Pyro's parameter store and torch's generator are left as they are.

    Args:
        density: What is sampled, such as `from_pyro(model, data)`.
        starts: Where chains begin, `chain x dim`.
        n_warmup: Steps that adapt and are not kept.
        n_draws: Steps that are kept, of each chain.
        max_tree_depth: A path has at most two to the power of it steps.
        seed: Of everything that is random.

    Returns:
        The draws; `diagnostics` has `rhat`, `ess_bulk` and `ess_tail` of each coordinate from 4 draws on.

    Raises:
        InvalidInputError: If the starts do not fit or their density is not finite.

    Reference: Hoffman and Gelman 2014, "The No-U-Turn Sampler: Adaptively Setting Path Lengths in Hamiltonian Monte
    Carlo".

    Example:
        >>> from inference.density import from_callable
        >>> normal = from_callable(lambda z: -0.5 * z.square().sum(1), dim=1)
        >>> nuts(normal, torch.zeros(1, 1), n_warmup=20, n_draws=30).z.shape
        torch.Size([30, 1, 1])
    """
    import pyro  # late: not needed by the other methods
    from pyro.infer import MCMC, NUTS

    if starts.dim() != 2 or starts.shape[1] != density.dim or len(starts) == 0:
        raise InvalidInputError(f"starts: expected `chain x dim` with dim={density.dim}, got {tuple(starts.shape)}.")
    if not bool(torch.isfinite(density.value_and_grad(starts)[0]).all()):
        raise InvalidInputError("starts: the density is 0 or not a number at one of them; start elsewhere.")
    generator = as_generator(seed)

    def potential(named: dict[str, Tensor]) -> Tensor:
        value: Tensor = _Potential.apply(named["z"], density)
        return value

    chains = []
    for start in starts:
        chain_seed = int(torch.randint(2**31, (1,), generator=generator, device=generator.device))
        with pyro.get_param_store().scope(), seeded(chain_seed):
            kernel = NUTS(potential_fn=potential, full_mass=True, max_tree_depth=max_tree_depth)
            sampler = MCMC(
                kernel,
                num_samples=n_draws,
                warmup_steps=n_warmup,
                initial_params={"z": start.clone()},
                disable_progbar=True,
            )
            sampler.run()
            chains.append(sampler.get_samples()["z"])
    z = torch.stack(chains, 1)
    with torch.no_grad():
        log_density = density.log_prob(z.reshape(-1, density.dim)).reshape(z.shape[:2])
    diagnostics: dict[str, Any] = {}
    if n_draws >= 4:
        diagnostics = {"rhat": rhat(z), "ess_bulk": ess(z), "ess_tail": ess(z, "tail")}
    return Samples(z, log_density, density, diagnostics)


class _Potential(torch.autograd.Function):
    """Minus the log density, with the gradient that the density itself gives."""

    @staticmethod
    @override
    def forward(ctx: Any, z: Tensor, density: LogDensity) -> Tensor:
        value, gradient = density.value_and_grad(z[None])
        ctx.save_for_backward(gradient[0])
        return -value[0]

    @staticmethod
    @override
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return -grad_outputs[0] * gradient, None
