"""Leave-one-out predictions of a Gaussian model, without refitting it n times.

Alphabet. K: covariance of the observations, noise included, `... x n x n`. r: observations less their mean, `... x n`.
"""

import torch
from torch import Tensor

from inference.errors import InvalidInputError


def loo_gaussian(K: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """What the other observations predict of each one: `r_i - [K^-1 r]_i / [K^-1]_ii` and `1 / [K^-1]_ii`.

    Args:
        K: Covariance of the observations, noise included, `... x n x n`.
        residual: Observations less their prior mean, `... x n`.

    Returns:
        Means of the residuals and variances of the observations, `... x n` each.

    Raises:
        InvalidInputError: If shapes do not fit, or K is not positive definite.

    Reference: Sundararajan and Keerthi 2001, "Predictive Approaches for Choosing Hyperparameters in Gaussian
    Processes".

    Example:
        >>> loo_gaussian(torch.tensor([[1.0, 0.5], [0.5, 1.0]]), torch.tensor([2.0, 0.0]))
        (tensor([0., 1.]), tensor([0.7500, 0.7500]))
    """
    if K.dim() < 2 or K.shape[-1] != K.shape[-2] or residual.shape[-1:] != K.shape[-1:]:
        raise InvalidInputError(
            f"expected K `... x n x n` and residual `... x n`, got {tuple(K.shape)} and {tuple(residual.shape)}."
        )
    L, info = torch.linalg.cholesky_ex(K)
    if bool((info != 0).any()):
        raise InvalidInputError("K: not positive definite; add the noise variance to its diagonal.")
    inverse = torch.cholesky_inverse(L)
    precision = inverse.diagonal(dim1=-2, dim2=-1)
    alpha = (inverse @ residual[..., None])[..., 0]
    return residual - alpha / precision, 1.0 / precision
