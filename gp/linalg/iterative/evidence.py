"""The gradient of a Gaussian process's evidence from solutions of its linear systems alone.

Alphabet. K: `n x n` kernel matrix. A: `K` plus noise variances on the diagonal. a: `A^-1 y`. z: `n x s` solutions of
`A z = xi` for draws xi of covariance A, so that `E z z' = A^-1`. theta: trainable parameters of the kernel.
"""

from typing import Final

import torch
from gpytorch.kernels.kernel import Kernel
from torch import Tensor

from gp.kernels.covariance import covariance
from gp.linalg.iterative.system import FULL_PRECISION_BYTES

_CHUNK: Final = 2**20
"""Entries of K that are differentiated at once; their temporaries stay in the processor's cache."""
_ROWS: Final = 512
"""Of them in a column."""


def evidence_surrogate(kernel: Kernel, X: Tensor, noise: Tensor, a: Tensor, z: Tensor) -> Tensor:
    """A scalar whose gradient estimates that of the log evidence, `a' dA a / 2 - tr(A^-1 dA) / 2`.

    The trace is `mean z' dA z`, unbiased for solutions of draws with covariance A. K is never held as a whole.

    Args:
        kernel: Covariance of the points.
        X: Points, `n x d`.
        noise: Noise variances, `n`, with a graph to their parameters if these are learned.
        a: `n x 1`.
        z: `n x s`.

    Returns:
        Its value means nothing; only first derivatives can be taken.

    Reference: Lin et al. 2024, "Improving Linear System Solvers for Hyperparameter Optimisation in Iterative Gaussian
    Processes".

    Example:
        >>> noise = torch.ones(1, dtype=torch.float64, requires_grad=True)  # y = 2, A = 2, so a = 1; z² = 1/2
        >>> X, a = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
        >>> from gpytorch.kernels import RBFKernel
        >>> value = evidence_surrogate(RBFKernel().double(), X, noise, a, 0.5**0.5 * a)
        >>> round(torch.autograd.grad(value, noise)[0].item(), 6)  # (y² / A² - 1 / A) / 2
        0.25
    """
    theta = [parameter for parameter in kernel.parameters() if parameter.requires_grad]
    gradient = [torch.zeros_like(parameter) for parameter in theta]
    n = len(X)
    right = torch.cat([a, z / z.shape[1] ** 0.5], 1)
    left = torch.cat([0.5 * a, -0.5 * z / z.shape[1] ** 0.5], 1)
    dtype = X.dtype if n**2 * X.element_size() <= FULL_PRECISION_BYTES else torch.float32
    left_low, right_low = left.to(dtype), right.to(dtype)
    for top in range(0, n if theta else 0, _ROWS):
        rows = slice(top, top + _ROWS)
        # K is symmetric: what is right of the diagonal block counts twice
        for start, stop, times in [(top, min(top + _ROWS, n), 1.0), *_columns(top + _ROWS, n)]:
            with torch.enable_grad():
                K = covariance(kernel, X[rows], X[start:stop], dtype)
            weights = times * (left_low[rows] @ right_low[start:stop].mT)
            parts = torch.autograd.grad(K, theta, weights, allow_unused=True)
            gradient = [total if part is None else total + part for total, part in zip(gradient, parts, strict=True)]
    total = (noise * (left * right).sum(1).detach()).sum()
    for parameter, part in zip(theta, gradient, strict=True):
        total = total + (parameter * part).sum()
    return total


def _columns(first: int, n: int) -> list[tuple[int, int, float]]:
    width = _CHUNK // _ROWS
    return [(start, min(start + width, n), 2.0) for start in range(first, n, width)]
