"""Train a network for regression while its prior and noise are learned from the evidence.

Alphabet. J: Jacobian of the N training outputs, `N x P`. delta: prior precision, one a module. s2: noise variance.
gamma: how far the data determine a parameter, between 0 and 1.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor, nn
from tqdm import tqdm

from inference.errors import InferenceWarning, InvalidInputError
from inference.laplace.network.groups import Group, select
from inference.laplace.network.jacobians import linearise
from inference.laplace.network.likelihoods import Regression
from inference.laplace.network.net_laplace import NetLaplace

_PRECISIONS: Final = (1e-3, 1e4)
"""Bounds of delta: beyond them a module is free, or switched off."""
_LEAST_SIGNAL: Final = 1e-4
"""Share of the variance of Y below which the outputs count as a constant."""
_LEAST_NOISE_VARIANCE: Final = 1e-4
"""Of standardised observations; less would let a network that interpolates claim to know everything."""


def train_by_evidence(
    net: nn.Module,
    X: Tensor,
    Y: Tensor,
    *,
    epochs: int = 600,
    burn_in: int = 100,
    every: int = 50,
    lr: float = 1e-2,
    prior_precision: float = 30.0,
    noise_variance: float = 0.1,
    progress: bool = False,
) -> NetLaplace:
    """Train a network in place and return its posterior, with nothing left to tune.

    Full-batch Adam on the squared error and the weights' prior, stopped every few epochs for MacKay's fixed-point
    updates of each module's precision and of the noise. No
    validation data are needed.

    Args:
        net: From `N x ...` to `N x C`, not trained.
        X: Points, `N x ...`.
        Y: Observations, `N x C`, standardised: mean about 0 and standard deviation about 1.
        epochs: Of Adam.
        burn_in: Epochs before the first update.
        every: Epochs from one update to the next.
        lr: Of Adam.
        prior_precision: Where each delta starts; small starts such as 1 overfit first and do not come back.
        noise_variance: Where s2 starts; as large a start as the variance of Y can drive every weight to 0 for good.
        progress: Whether to show a bar over the epochs.

    Returns:
        The posterior in function space, exact for the linearised network.

    Raises:
        InvalidInputError: If shapes do not fit or a number is out of range.

    Reference: MacKay 1992, "A Practical Bayesian Framework for Backpropagation Networks"; Immer et al. 2021, "Scalable
    Marginal Likelihood Estimation for Model Selection in Deep Learning".
    """
    if Y.dim() != 2 or len(Y) != len(X) or len(X) == 0:
        raise InvalidInputError(f"Y: expected `N x C` for {len(X)} > 0 points, got {tuple(Y.shape)}.")
    if min(epochs, every) < 1 or burn_in < 0 or not prior_precision > 0 or not noise_variance > 0:
        raise InvalidInputError(
            f"epochs, every, burn_in, prior_precision, noise_variance: expected positive numbers, got {epochs}, "
            f"{every}, {burn_in}, {prior_precision}, {noise_variance}."
        )
    groups = select(net, "all")
    parameters = dict(net.named_parameters())
    delta, s2 = [prior_precision] * len(groups), noise_variance
    optimizer = torch.optim.Adam([parameters[name] for group in groups for name in group.parameters], lr=lr)

    def norms() -> list[Tensor]:
        """Squared lengths of the groups' parameters."""
        return [torch.stack([parameters[name].square().sum() for name in g.parameters]).sum() for g in groups]

    for epoch in tqdm(range(epochs), desc="epochs", disable=not progress):
        optimizer.zero_grad()
        error = (net(X).reshape(Y.shape) - Y).square().sum()
        prior = torch.stack([d * norm for d, norm in zip(delta, norms(), strict=True)]).sum()
        ((error / s2 + prior) / (2.0 * len(X))).backward()
        optimizer.step()
        if epoch + 1 >= burn_in and (epoch + 1) % every == 0:
            delta, s2 = _updated(net, groups, X, Y, delta, s2, norms)
    by_name = {group.name: d for group, d in zip(groups, delta, strict=True)}
    posterior = NetLaplace(net, Regression(noise_sd=s2**0.5), "function_space", prior_precision=by_name)
    posterior.fit(X, Y)
    fitted = posterior.predict(X).f_mean
    if float(fitted.var(0).mean()) < _LEAST_SIGNAL * float(Y.var(0).mean()):
        warnings.warn(
            "train_by_evidence: the prior has switched the network off, so that it predicts a constant and is sure of "
            f"it. Start from a smaller noise_variance (was {noise_variance}) or prior_precision (was "
            f"{prior_precision}), unless the observations are noise alone.",
            InferenceWarning,
            stacklevel=2,
        )
    return posterior


def _updated(
    net: nn.Module,
    groups: Sequence[Group],
    X: Tensor,
    Y: Tensor,
    delta: Sequence[float],
    s2: float,
    norms: Callable[[], list[Tensor]],
) -> tuple[list[float], float]:
    """One fixed-point update of delta and s2."""
    f, pieces = linearise(net, groups, X)
    J = torch.cat([piece.dense().flatten(0, 1) / d**0.5 for piece, d in zip(pieces, delta, strict=True)], 1)
    # of outputs, not parameters: there are fewer of them
    K = J @ J.T
    K.diagonal().add_(s2)
    V = torch.linalg.solve_triangular(torch.linalg.cholesky(K), J, upper=False)
    gammas = [float(part.sum()) for part in V.square().sum(0).split([group.size for group in groups])]
    low, high = _PRECISIONS
    updated = [
        min(max(gamma / max(float(norm.detach()), 1e-12), low), high)
        for gamma, norm in zip(gammas, norms(), strict=True)
    ]
    error = float((f.reshape(Y.shape) - Y).square().sum())
    return updated, max(error / max(Y.numel() - sum(gammas), 1.0), _LEAST_NOISE_VARIANCE)
