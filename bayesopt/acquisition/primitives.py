"""Scalar functions that acquisition values are built of, accurate in logs over the whole range of doubles.

Alphabet. phi, Phi: density and distribution function of the standard normal. u: improvement in standard deviations,
`(mean - best) / sd`. h(u) = phi(u) + u Phi(u), so that expected improvement is `sd h(u)`. w(u) = Phi(u) / h(u), the
slope of log h.

Each function is differentiable by autograd through an analytic derivative. The loop, which builds no graph, has its own
of them in `loop_terms`, on arrays and with their slopes. Smoothed maxima and means (`log_fatplus`, `log_softplus`,
`fatmax`, `logmeanexp`) are those of `botorch.utils.safe_math`.
"""

import math
from typing import Any, Final

import torch
from torch import Tensor
from typing_extensions import override

_LOG_SQRT_2PI: Final = 0.5 * math.log(2.0 * math.pi)
_SQRT_HALF_PI: Final = math.sqrt(0.5 * math.pi)
_SQRT_HALF: Final = math.sqrt(0.5)
_LOG_2: Final = math.log(2.0)

SERIES_FROM: Final = 30.0
"""Where `h / phi` changes to its asymptotic series: nine terms leave 1e-16, the closed form has lost 1e-13."""
SERIES: Final = (1.0, -3.0, 15.0, -105.0, 945.0, -10395.0, 135135.0, -2027025.0, 34459425.0)
"""`u² h(u) / phi(u) = sum_k (-1)^k (2k + 1)!! u^(-2k)` for u -> -infinity."""
_NEWTON_STEPS: Final = 8
"""Five reach 1e-13 from the starting values of `inv_log_h`; three more cost nothing and cover float rounding."""


def _tail(u: Tensor) -> tuple[Tensor, Tensor]:
    """Of `u <= -1`: `u² h / phi` and `|u| Phi / phi`, both in (0, 1]."""
    size = (-u).clamp_min(1.0)
    phi_ratio = size * _SQRT_HALF_PI * torch.special.erfcx(size * _SQRT_HALF)
    near = size < SERIES_FROM
    closed = size.clamp_max(SERIES_FROM).square() * (1.0 - phi_ratio)
    x = 1.0 / size.clamp_min(SERIES_FROM).square()
    series = torch.zeros_like(x)
    for coefficient in reversed(SERIES):
        series = series * x + coefficient
    return torch.where(near, closed, series), phi_ratio


def _log_h(u: Tensor) -> Tensor:
    far = u <= -1.0
    middle = u.clamp_min(-1.0)
    log_phi = -0.5 * u.square() - _LOG_SQRT_2PI
    phi = torch.exp(-0.5 * middle.square() - _LOG_SQRT_2PI)
    h_ratio, _ = _tail(u)
    return torch.where(
        far,
        log_phi + h_ratio.log() - 2.0 * (-u).clamp_min(1.0).log(),
        (phi + middle * torch.special.ndtr(middle)).log(),
    )


def log_h_slope(u: Tensor) -> Tensor:
    """Derivative of `log_h`: Phi(u) / h(u), between 0 and `max(1, |u| + 2 / |u|)`.

    Args:
        u: Any shape.

    Returns:
        Same shape as `u`.
    """
    middle = u.clamp_min(-1.0)
    cdf = torch.special.ndtr(middle)
    phi = torch.exp(-0.5 * middle.square() - _LOG_SQRT_2PI)
    h_ratio, phi_ratio = _tail(u)
    return torch.where(u <= -1.0, -u * phi_ratio / h_ratio, cdf / (phi + middle * cdf))


def log_ndtr_slope(u: Tensor) -> Tensor:
    """Derivative of `log_ndtr`: phi(u) / Phi(u), the inverse Mills ratio.

    Args:
        u: Any shape.

    Returns:
        Same shape as `u`.
    """
    return 1.0 / (_SQRT_HALF_PI * torch.special.erfcx(-u * _SQRT_HALF))


class _LogH(torch.autograd.Function):
    @staticmethod
    @override
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return _log_h(u)

    @staticmethod
    @override
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        (u,) = ctx.saved_tensors
        return grad_outputs[0] * log_h_slope(u)


class _LogNdtr(torch.autograd.Function):
    @staticmethod
    @override
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return torch.special.log_ndtr(u)

    @staticmethod
    @override
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        (u,) = ctx.saved_tensors
        return grad_outputs[0] * log_ndtr_slope(u)


class _InvLogH(torch.autograd.Function):
    @staticmethod
    @override
    def forward(ctx: Any, t: Tensor) -> Tensor:
        tail = -torch.sqrt(2.0 * (-t - _LOG_SQRT_2PI).clamp_min(0.0))
        u = torch.where(t > -_LOG_SQRT_2PI, t.exp(), tail)
        for _ in range(_NEWTON_STEPS):
            step = (t - _log_h(u)) / log_h_slope(u)
            u = u + torch.nan_to_num(step, nan=0.0).clamp(-3.0, 3.0)
        ctx.save_for_backward(u)
        return u

    @staticmethod
    @override
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        (u,) = ctx.saved_tensors
        return grad_outputs[0] / log_h_slope(u)


class _Log1mExp(torch.autograd.Function):
    @staticmethod
    @override
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x > -_LOG_2, (-torch.expm1(x)).log(), torch.log1p(-x.exp()))

    @staticmethod
    @override
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return -grad_outputs[0] / torch.expm1(-x)


def log_h(u: Tensor) -> Tensor:
    """Logarithm of the scaled improvement `h = phi + u Phi`: log expected improvement is `log sd` more.

    Args:
        u: Any shape, float64.

    Returns:
        Same shape as `u`; finite for `|u| < 1e154`.

    Reference: Ament et al. 2023, "Unexpected Improvements to Expected Improvement", for the branches near zero.

    Example:
        >>> log_h(torch.tensor([0.0, -40.0], dtype=torch.float64))
        tensor([  -0.9189, -808.2986], dtype=torch.float64)
    """
    result: Tensor = _LogH.apply(u)
    return result


def inv_log_h(t: Tensor) -> Tensor:
    """The `u` with `log_h(u) = t`, by Newton's method on a concave increasing function.

    Args:
        t: Any shape, float64; above about 709 the result overflows to infinity.

    Returns:
        Same shape as `t`.

    Example:
        >>> inv_log_h(torch.tensor([-0.918938533204672741], dtype=torch.float64)).abs() < 1e-14
        tensor([True])
    """
    result: Tensor = _InvLogH.apply(t)
    return result


def log_ndtr(u: Tensor) -> Tensor:
    """Log of the standard normal distribution function, with a derivative that does not underflow.

    Args:
        u: Any shape, float64.

    Returns:
        Same shape as `u`.
    """
    result: Tensor = _LogNdtr.apply(u)
    return result


def log1mexp(x: Tensor) -> Tensor:
    """`log(1 - exp(x))` for negative x: the log probability that an event of log probability x does not happen.

    Args:
        x: Any shape, float64, at most 0; 0 gives -infinity.

    Returns:
        Same shape as `x`.

    Reference: Mächler 2012, "Accurately Computing log(1 - exp(-|a|))", for the switch at log 2.
    """
    result: Tensor = _Log1mExp.apply(x)
    return result
