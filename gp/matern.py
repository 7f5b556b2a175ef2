"""The Matérn-5/2 kernel for autograd: with a gradient also where points coincide.

Alphabet. r2: squared distances over the lengthscale.
"""

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override


def matern52_and_slope(r2: Tensor) -> tuple[Tensor, Tensor]:
    """The kernel of variance 1 and its derivative with respect to r², of the same shape each."""
    s = (5.0 * r2).sqrt()
    decay = torch.exp(-s)
    slope = (1.0 + s) * decay
    return slope + s.square() * decay / 3.0, slope.mul_(-5.0 / 6.0)


def matern52(r2: Tensor) -> Tensor:
    """The kernel of variance 1 as a function of the squared distance over the lengthscale, any shape."""
    value: Tensor = _Matern.apply(r2)
    return value


class _Matern(torch.autograd.Function):
    """The kernel as a function of r², differentiable also where r² is 0."""

    @staticmethod
    @override
    def forward(ctx: Any, r2: Tensor) -> Tensor:
        value, slope = matern52_and_slope(r2)
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    @override
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        return grad_outputs[0] * slope


def squared_distances(A: Tensor, B: Tensor) -> Tensor:
    """Squared Euclidean distances between the rows of `... x m x d` and `... x n x d`; never negative."""
    products = A @ B.mT
    return (A.square().sum(-1)[..., :, None] + B.square().sum(-1)[..., None, :] - 2.0 * products).clamp_min(0.0)
