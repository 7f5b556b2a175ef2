"""How far a simulator is from data, by few simulations: maximum mean discrepancy with optimal weights.

Alphabet. u: `m x s` random numbers that a simulator turns into outcomes. X: its outcomes, `m x d`. Y: data, `n x d`. w:
weights of simulations, `m`. c: kernel on u, with lengthscale l. k: kernel on outcomes.
"""

import math
from collections.abc import Callable
from typing import Final, Literal

import torch
from torch import Tensor

from inference.density import from_callable
from inference.errors import InvalidInputError
from inference.optimize import MapResult, find_map

_JITTER: Final = 1e-7
"""First diagonal shift of c, whose own diagonal is 1; tenfold until it can be factored."""
_JITTER_STEPS: Final = 6
_LENGTHSCALES: Final = tuple(0.4 * (2.2 / 0.4) ** (i / 12) for i in range(13))
"""Where the evidence looks for l, for normal numbers."""
_MAX_SIMULATIONS: Final = 5000
"""Of which c is still factored in seconds."""

Base = Literal["normal", "uniform"]


def optimal_weights(u: Tensor, *, lengthscale: float, base: Base = "normal") -> Tensor:
    """Weights that make averages over simulations as good as smoothness in u allows.

    They are those of Bayesian quadrature with a Gaussian kernel, `c(u, u)^-1 int c(u, v) dU(v)`: they depend on u
    alone, so that one set serves all parameters of a simulator. Some may be negative. With more than about five numbers
    a simulation, or where outcomes jump, there is little to gain; scrambled Sobol points for u do most of it alone.

    Args:
        u: Random numbers, `m x s`.
        lengthscale: l, in units of u; for normal numbers see `evidence_lengthscale`.
        base: What u are drawn from: independent standard 'normal' or 'uniform' numbers.

    Returns:
        w, `m`, in double precision; their sum is near 1.

    Raises:
        InvalidInputError: If a shape or an option cannot be used, or c cannot be factored.

    Reference: Bharti, Naslidnyk, Key, Kaski and Briol 2023, "Optimally-weighted Estimators of the Maximum Mean
    Discrepancy for Likelihood-Free Inference".

    Example:
        >>> u = torch.distributions.Normal(0.0, 1.0).icdf((torch.arange(32).double() + 0.5) / 32)[:, None]
        >>> w = optimal_weights(u, lengthscale=2.0)
        >>> bool((w @ u.cos() - math.exp(-0.5)).abs() < 1e-3)
        True
    """
    _check_numbers(u, base)
    if not (lengthscale > 0.0 and math.isfinite(lengthscale)):
        raise InvalidInputError(f"lengthscale: expected a positive number, got {lengthscale}.")
    u = u.double()
    factor = _factor(_gaussian(u, u, lengthscale))
    return torch.cholesky_solve(_embedding(u, lengthscale, base)[:, None], factor)[:, 0]


def evidence_lengthscale(u: Tensor, X: Tensor, *, data_lengthscale: float) -> float:
    """The lengthscale under which the outcomes' kernel is the likeliest function of u.

    A wrong one costs more than the weights gain. Each `k(x(u), x_j)` is taken for a draw of one Gaussian process with a
    scale of its own.

    Args:
        u: Standard normal numbers, `m x s`.
        X: What a simulator made of them, `m x d`.
        data_lengthscale: Of k, in units of the outcomes.

    Returns:
        l, of a grid from 0.4 to 2.2.

    Raises:
        InvalidInputError: If the shapes do not fit.
    """
    _check_numbers(u, "normal")
    _check_outcomes("X", X, data_lengthscale)
    if len(X) != len(u):
        raise InvalidInputError(f"X: expected one row a row of u, {len(u)}, got {len(X)}.")
    u, m = u.double(), len(u)
    functions = _gaussian(X.double(), X.double(), data_lengthscale)
    functions = functions - functions.mean(0)

    def log_evidence(lengthscale: float) -> float:
        factor = _factor(_gaussian(u, u, lengthscale))
        scale = torch.linalg.solve_triangular(factor, functions, upper=False).square().sum(0) / m
        return float(-0.5 * m * scale.clamp_min(1e-300).log().sum() - m * factor.diagonal().log().sum())

    return max(_LENGTHSCALES, key=log_evidence)


def squared_mmd(X: Tensor, Y: Tensor, *, lengthscale: float, weights: Tensor | None = None) -> Tensor:
    """Squared distance of simulations from data in the space of a Gaussian kernel, differentiable in both.

    Args:
        X: Simulations, `m x d`.
        Y: Data, `n x d`.
        lengthscale: Of the kernel, in units of the outcomes.
        weights: `m`; None for equal ones.

    Returns:
        A scalar, at least 0: negative weights can make the estimate negative, which is then 0.

    Raises:
        InvalidInputError: If the shapes do not fit.

    Example:
        >>> squared_mmd(torch.zeros(3, 1), torch.zeros(2, 1), lengthscale=1.0)
        tensor(0.)
    """
    _check_outcomes("X", X, lengthscale)
    _check_outcomes("Y", Y, lengthscale)
    if X.shape[1] != Y.shape[1]:
        raise InvalidInputError(f"Y: expected {X.shape[1]} columns as X has, got {Y.shape[1]}.")
    w = torch.full_like(X[:, 0], 1.0 / len(X)) if weights is None else weights.to(X)
    if w.shape != X.shape[:1]:
        raise InvalidInputError(f"weights: expected `m` with m={len(X)}, got {tuple(w.shape)}.")
    within = w @ _gaussian(X, X, lengthscale) @ w + _gaussian(Y, Y, lengthscale).mean()
    return (within - 2.0 * (w @ _gaussian(X, Y, lengthscale)).mean()).clamp_min(0.0)


def fit_mmd(
    simulate: Callable[[Tensor, Tensor], Tensor],
    Y: Tensor,
    u: Tensor,
    starts: Tensor,
    *,
    lengthscale: float,
    weights: Tensor | None = None,
    bounds: Tensor | None = None,
) -> MapResult:
    """Parameters of a differentiable simulator whose outcomes are nearest to data, by L-BFGS on common random numbers.

    Args:
        simulate: From parameters, `p`, and u, `m x s`, to outcomes, `m x d`.
        Y: Data, `n x d`.
        u: Random numbers, the same for all parameters.
        starts: Where searches begin, `starts x p`.
        lengthscale: Of the kernel on outcomes.
        weights: Of the simulations, such as `optimal_weights(u, ...)`; None for equal ones.
        bounds: Lower and upper bounds, `2 x p`; None for none.

    Returns:
        The best point; `value` is minus the squared distance there.

    Raises:
        InvalidInputError: If the shapes do not fit.
    """

    def log_prob(theta: Tensor) -> Tensor:
        distances = [squared_mmd(simulate(one, u), Y, lengthscale=lengthscale, weights=weights) for one in theta]
        return -torch.stack(distances) * _PRECISION

    if starts.dim() != 2:
        raise InvalidInputError(f"starts: expected `starts x p`, got {tuple(starts.shape)}.")
    density = from_callable(log_prob, starts.shape[1], dtype=starts.dtype, device=starts.device)
    found = find_map(density, starts, bounds=bounds)
    return MapResult(found.z, found.value / _PRECISION, found.grad_norm / _PRECISION, found.converged)


_PRECISION: Final = 1e4
"""Squared distances near the optimum are about 1e-4, which L-BFGS' own tolerances would take for 0."""


def _gaussian(A: Tensor, B: Tensor, lengthscale: float) -> Tensor:
    squared: Tensor = (A[:, None] - B[None]).square().sum(-1)
    return torch.exp(-0.5 * squared / lengthscale**2)


def _embedding(u: Tensor, lengthscale: float, base: Base) -> Tensor:
    """Mean of c(u, v) over v, `m`."""
    l2 = lengthscale**2
    if base == "normal":
        each = (l2 / (l2 + 1.0)) ** 0.5 * torch.exp(-0.5 * u.square() / (l2 + 1.0))
    else:
        scale = lengthscale * math.sqrt(2.0)
        each = lengthscale * math.sqrt(0.5 * math.pi) * (torch.erf((1.0 - u) / scale) + torch.erf(u / scale))
    return each.prod(1)


def _factor(C: Tensor) -> Tensor:
    eye = torch.eye(len(C), dtype=C.dtype, device=C.device)
    for step in range(_JITTER_STEPS):
        L, info = torch.linalg.cholesky_ex(C + _JITTER * 10.0**step * eye)
        if not bool(info):
            return L
    raise InvalidInputError(
        f"u: the kernel of the {len(C)} rows is not positive definite. Likely causes: values that are not finite, or "
        "many rows that are the same."
    )


def _check_numbers(u: Tensor, base: str) -> None:
    if base not in ("normal", "uniform"):
        raise InvalidInputError(f"base: expected 'normal' or 'uniform', got {base!r}.")
    if u.dim() != 2 or 0 in u.shape or len(u) > _MAX_SIMULATIONS:
        raise InvalidInputError(f"u: expected `m x s` with m up to {_MAX_SIMULATIONS}, got {tuple(u.shape)}.")
    if base == "uniform" and not bool(((u >= 0) & (u <= 1)).all()):
        raise InvalidInputError("u: expected numbers between 0 and 1 of base 'uniform'.")


def _check_outcomes(name: str, X: Tensor, lengthscale: float) -> None:
    if X.dim() != 2 or 0 in X.shape:
        raise InvalidInputError(f"{name}: expected a matrix, one row an outcome, got {tuple(X.shape)}.")
    if not (lengthscale > 0.0 and math.isfinite(lengthscale)):
        raise InvalidInputError(f"lengthscale: expected a positive number, got {lengthscale}.")
