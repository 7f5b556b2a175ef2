"""Whole functions drawn from a Gaussian process posterior, which can be evaluated and differentiated anywhere.

Alphabet. S: functions. f: functions drawn from the prior. X: `n x d` training inputs. w: `n x S` weights.
"""

from dataclasses import dataclass

import torch
from gpytorch.kernels.kernel import Kernel
from torch import Tensor

from gp.errors import InvalidDataError
from gp.kernels.covariance import covariance
from gp.models.base import OutcomeScale, check_test_inputs
from gp.random_functions import RandomFunctions


@dataclass(frozen=True)
class PosteriorFunctions:
    """`f(.) + k(., X) w` in units of the outcomes, by Matheron's rule.

    Reference: Wilson et al. 2020, "Efficiently Sampling Functions from Gaussian Process Posteriors".
    """

    _functions: RandomFunctions
    _kernel: Kernel
    _train_X: Tensor
    _weights: Tensor
    _scale: OutcomeScale

    def __call__(self, X: Tensor) -> Tensor:
        """All functions at the same points.

        Args:
            X: `... x q x d`.

        Returns:
            `S x ... x q`.
        """
        check_test_inputs(X, self._train_X.shape[-1])
        values = self._functions(X) + covariance(self._kernel, X.reshape(-1, X.shape[-1]), self._train_X).matmul(
            self._weights
        ).reshape(*X.shape[:-1], -1)
        return self._scale.restore(values.movedim(-1, 0))

    def each(self, X: Tensor) -> Tensor:
        """Each function at points of its own.

        Args:
            X: `S x q x d`.

        Returns:
            `S x q`.

        Raises:
            InvalidDataError: If X is not of that shape.
        """
        S = self._weights.shape[1]
        if X.dim() != 3 or X.shape[0] != S or X.shape[2] != self._train_X.shape[1]:
            raise InvalidDataError(
                f"X: expected `S x q x d` with S={S}, d={self._train_X.shape[1]}, got {tuple(X.shape)}."
            )
        cross = covariance(self._kernel, X.reshape(-1, X.shape[-1]), self._train_X).reshape(*X.shape[:2], -1)
        return self._scale.restore(self._functions.each(X) + torch.einsum("sqn,ns->sq", cross, self._weights))
