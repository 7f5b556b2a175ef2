"""Scalar functions that acquisition values are built of, accurate in logs over the whole range of doubles.

Alphabet. phi, Phi: density and distribution function of the standard normal. u: improvement in standard deviations,
`(mean - best) / sd`. h(u) = phi(u) + u Phi(u), so that expected improvement is `sd h(u)`. w(u) = Phi(u) / h(u), the
slope of log h.

Each function is differentiable by autograd through an analytic derivative; the loop, which builds no graph, takes the
derivative from `log_h_slope`, `log_ndtr_slope` and `log_emax_gain_and_gradient`. Smoothed maxima and means
(`log_fatplus`, `log_softplus`, `fatmax`, `logmeanexp`) are those of `botorch.utils.safe_math`.
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


def log_emax_gain_and_gradient(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log of what knowing Z adds to the best of the lines `a_i + b_i Z`, and its gradient; no graph is built.

    With the upper envelope's slopes `b_1 < ... < b_J` and its breakpoints `z_1 < ... < z_(J-1)`, the gain is
    `sum_j (b_(j+1) - b_j) h(-|z_j|)`: every term is positive, so nothing cancels.

    Args:
        a: Intercepts, `n`, float64.
        b: Slopes, `n`, float64.

    Returns:
        The log gain, a scalar, -infinity when one line is best everywhere; its derivatives with respect to `a` and
        `b`, `n` each, zero for lines that are nowhere best.

    Reference: Frazier, Powell and Dayanik 2009, "The Knowledge-Gradient Policy for Correlated Normal Beliefs".
    """
    kept, breakpoints = _upper_envelope(a.tolist(), b.tolist())
    grad_a, grad_b = torch.zeros_like(a), torch.zeros_like(b)
    if len(kept) == 1:
        return a.new_tensor(-math.inf), grad_a, grad_b
    index = torch.tensor(kept, device=a.device)
    z = torch.tensor(breakpoints, dtype=a.dtype, device=a.device)
    rise = b[index].diff()
    terms = rise.log() + _log_h(-z.abs())
    log_gain = torch.logsumexp(terms, 0)
    if not torch.isfinite(log_gain):
        return log_gain, grad_a, grad_b
    # Derivatives of (b_(j+1) - b_j) h(-|z_j|), each divided by the gain in logs.
    along_a = z.sign() * torch.exp(torch.special.log_ndtr(-z.abs()) - log_gain)
    along_b = torch.exp(-0.5 * z.square() - _LOG_SQRT_2PI - log_gain)
    grad_a.index_add_(0, index[1:], along_a).index_add_(0, index[:-1], -along_a)
    grad_b.index_add_(0, index[1:], along_b).index_add_(0, index[:-1], -along_b)
    return log_gain, grad_a, grad_b


def _upper_envelope(a: list[float], b: list[float]) -> tuple[list[int], list[float]]:
    """Which lines are best somewhere, by increasing slope, and where each hands over to the next."""
    kept: list[int] = []
    breakpoints: list[float] = []
    for i in sorted(range(len(a)), key=lambda i: (b[i], a[i])):
        if kept and b[kept[-1]] == b[i]:  # sorted so that the later of two parallel lines is the higher
            kept.pop()
            if breakpoints:
                breakpoints.pop()
        while kept:
            crossing = (a[kept[-1]] - a[i]) / (b[i] - b[kept[-1]])
            if breakpoints and crossing <= breakpoints[-1]:
                kept.pop()
                breakpoints.pop()
                continue
            breakpoints.append(crossing)
            break
        kept.append(i)
    return kept, breakpoints


class _LogEmaxGain(torch.autograd.Function):
    @staticmethod
    @override
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        value, grad_a, grad_b = log_emax_gain_and_gradient(a, b)
        ctx.save_for_backward(grad_a, grad_b)
        return value

    @staticmethod
    @override
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor]:
        grad_a, grad_b = ctx.saved_tensors
        return grad_outputs[0] * grad_a, grad_outputs[0] * grad_b


def log_emax_gain(a: Tensor, b: Tensor) -> Tensor:
    """`log(E[max_i (a_i + b_i Z)] - max_i a_i)` for a standard normal Z.

    Args:
        a: Intercepts, `... x n`, float64.
        b: Slopes, `... x n`, float64.

    Returns:
        Log gains, `...`.

    Example:
        >>> a, b = torch.tensor([0.0, -3.0]).double(), torch.tensor([0.0, 1.0]).double()
        >>> torch.isclose(log_emax_gain(a, b), log_h(a[1]))
        tensor(True)
    """
    if a.dim() == 1:
        result: Tensor = _LogEmaxGain.apply(a, b)
        return result
    n = a.shape[-1]
    rows = [log_emax_gain(ai, bi) for ai, bi in zip(a.reshape(-1, n), b.reshape(-1, n), strict=True)]
    return torch.stack(rows).reshape(a.shape[:-1])
