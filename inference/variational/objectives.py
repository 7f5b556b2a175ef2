"""What a guide is fitted to: functions of the particles' weights, of which the gradient is taken as they are written.

Alphabet. K: particles. B: members of the independent plate. w: importance weights, `K x B`. k: particles of a group.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from inference.errors import InvalidInputError
from inference.variational.weights import Weights


@dataclass(frozen=True)
class Objective:
    """A function to be made as large as possible, with what an estimator of its gradient has to know.

    A plain function from `Weights` to `B` values is an objective too: one of particles that may interact.

    Example:
        >>> tempered = Objective(lambda weights: (0.5 * weights.log_p - weights.log_q).mean(0), additive=True)
        >>> tempered(Weights(torch.tensor([[-2.0]]), torch.tensor([[-3.0]])))
        tensor([2.])
    """

    function: Callable[[Weights], Tensor]
    """From `K x B` weights to `B` values."""
    additive: bool = False
    """Whether it is the mean over particles of a function of each: enumeration and measure-valued derivatives need it
    of more than one particle, and baselines are then cheaper."""
    draws: Literal["free", "reparameterised", "data"] = "free"
    """How its gradient treats the guide's draws: whichever way their sites ask for; through them alone; or as numbers,
    all of it being in the function already."""
    group: int = 1
    """The number of particles must be a multiple of it."""
    name: str = "objective"
    """For messages."""

    def __call__(self, weights: Weights) -> Tensor:
        """The value of each member.

        Args:
            weights: `K x B`.

        Returns:
            `B`.
        """
        return self.function(weights)


def as_objective(objective: Objective | Callable[[Weights], Tensor]) -> Objective:
    """An objective as it is, and a plain function as one.

    Args:
        objective: Either.

    Returns:
        An objective.
    """
    return objective if isinstance(objective, Objective) else Objective(objective)


def _grouped(values: Tensor, k: int) -> Tensor:
    """`K x B` as `K/k x k x B`."""
    return values.unflatten(0, (-1, k))


def _log_mean_exp(log_w: Tensor, k: int) -> Tensor:
    """Log of the mean weight of each group of k particles, then the mean of the groups, `B`."""
    return (_grouped(log_w, k).logsumexp(1) - math.log(k)).mean(0)


def _worth(value: Tensor, gradient: Tensor) -> Tensor:
    """The first in value, the second in gradient."""
    return value.detach() + gradient - gradient.detach()


def _check_group(k: int) -> None:
    if k < 1:
        raise InvalidInputError(f"k: expected the particles of a group, at least 1, got {k}.")


ELBO = Objective(lambda weights: weights.log_w.mean(0), additive=True, name="ELBO")
"""The evidence lower bound, `E_q log w`."""

STL = Objective(lambda weights: (weights.log_p - weights.log_q_held).mean(0), additive=True, name="STL")
"""The evidence lower bound without the score of the guide in its gradient, whose mean is 0: near the posterior, where
the weights are constant, the gradient has no noise at all. Reference: Roeder, Wu and Duvenaud 2017, "Sticking the
Landing"."""


def IWELBO(k: int) -> Objective:  # as the field writes it, beside ELBO
    """The importance-weighted bound: log of the mean weight of k particles, at least the evidence lower bound.

    Args:
        k: Particles of a group; an estimate with more of them is the mean over groups.

    Returns:
        The objective; with k = 1 it is `ELBO`.

    Raises:
        InvalidInputError: If k is below 1.

    Reference: Burda, Grosse and Salakhutdinov 2016, "Importance Weighted Autoencoders".

    Example:
        >>> log_p = torch.tensor([[0.0], [math.log(3.0)]])
        >>> IWELBO(2)(Weights(log_p, torch.zeros(2, 1))).exp()
        tensor([2.])
    """
    _check_group(k)
    return Objective(lambda weights: _log_mean_exp(weights.log_w, k), additive=k == 1, group=k, name=f"IWELBO({k})")


def Renyi(alpha: float, k: int) -> Objective:
    """Rényi's bound: the generalised mean of k weights, `log mean w^(1 - alpha) / (1 - alpha)`.

    Args:
        alpha: Of the divergence, not 1; 0 is `IWELBO`, towards 1 it becomes `ELBO`, above it covers less.
        k: Particles of a group.

    Returns:
        The objective.

    Raises:
        InvalidInputError: If alpha is 1 or k below 1.

    Reference: Li and Turner 2016, "Rényi Divergence Variational Inference".
    """
    _check_group(k)
    if alpha == 1.0 or not math.isfinite(alpha):
        raise InvalidInputError(f"alpha: expected a finite number other than 1, got {alpha}. At 1 it is ELBO.")
    return Objective(
        lambda weights: _log_mean_exp((1.0 - alpha) * weights.log_w, k) / (1.0 - alpha),
        group=k,
        name=f"Renyi({alpha}, {k})",
    )


def CUBO(k: int, n: float = 2.0) -> Objective:
    """Minus the chi upper bound, `-log mean w^n / n`: it covers all of the posterior, at the price of noise.

    Of finitely many particles it is biased towards the evidence; the value is a bound only as k grows.

    Args:
        k: Particles of a group.
        n: Order of the moment, above 1.

    Returns:
        The objective, to be made large as every other; minus its value is the bound.

    Raises:
        InvalidInputError: If n is not above 1 or k below 1.

    Reference: Dieng, Tran, Ranganath, Paisley and Blei 2017, "Variational Inference via chi Upper Bound Minimization".
    """
    _check_group(k)
    if not (n > 1.0 and math.isfinite(n)):
        raise InvalidInputError(f"n: expected a finite order above 1, got {n}.")
    return Objective(lambda weights: -_log_mean_exp(n * weights.log_w, k) / n, group=k, name=f"CUBO({k}, {n})")


def RWS(k: int) -> Objective:
    """Reweighted wake-sleep, both wake phases: the model climbs `IWELBO(k)`, the guide the weighted log q.

    The guide learns by the forward divergence, from draws taken as numbers, so that no site needs a strategy.

    Args:
        k: Particles of a group.

    Returns:
        The objective; its value is that of `IWELBO(k)`.

    Raises:
        InvalidInputError: If k is below 1.

    Reference: Bornschein and Bengio 2015, "Reweighted Wake-Sleep"; Le, Kosiorek, Siddharth, Teh and Wood 2019,
    "Revisiting Reweighted Wake-Sleep for Models with Stochastic Control Flow".
    """
    _check_group(k)

    def function(weights: Weights) -> Tensor:
        bound = _log_mean_exp(weights.log_p - weights.log_q.detach(), k)
        share = _grouped(weights.log_w.detach(), k).softmax(1)
        wake = (share * _grouped(weights.log_q, k)).sum(1).mean(0)
        return bound + _worth(torch.zeros_like(wake), wake)

    return Objective(function, draws="data", group=k, name=f"RWS({k})")


def DReG(k: int) -> Objective:
    """`IWELBO(k)` with the doubly reparameterised gradient, whose signal does not drown as k grows.

    The guide's gradient runs through the draws alone, weighted by the squared shares of the particles.

    Args:
        k: Particles of a group.

    Returns:
        The objective; every site of the guide must be reparameterised.

    Raises:
        InvalidInputError: If k is below 1.

    Reference: Tucker, Lawson, Gu and Maddison 2019, "Doubly Reparameterized Gradient Estimators for Monte Carlo
    Objectives".
    """
    _check_group(k)

    def function(weights: Weights) -> Tensor:
        log_w = weights.log_p - weights.log_q_held
        share = _grouped(log_w.detach(), k).softmax(1)
        weights.scale_paths(share.flatten(0, 1))
        return _worth(_log_mean_exp(log_w, k), (share * _grouped(log_w, k)).sum(1).mean(0))

    return Objective(function, draws="reparameterised", group=k, name=f"DReG({k})")
