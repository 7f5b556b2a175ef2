"""Functions drawn from a Gaussian process prior with random features, which can be evaluated anywhere.

Alphabet. F: features. S: functions. W: `F x S` standard normal weights. phi: features of points, `... x F`.
"""

from typing import Final

import torch
from botorch.sampling.pathwise.features.generators import gen_kernel_features
from botorch.sampling.pathwise.features.maps import KernelFeatureMap
from gpytorch.kernels.kernel import Kernel
from torch import Tensor

from gp.errors import InvalidDataError
from inference.seeding import seeded

SHARED_BY: Final = 8
"""Functions that share features. What features miss of the kernel's high frequencies, all of these functions miss: with
one set for 64 functions, variances between data were off by up to 40 % (Matérn-3/2, 2,048 features)."""
_CHUNK: Final = 2**21
"""Entries of phi held at once where no graph is kept: 16 MB in float64."""


class RandomFunctions:
    """`f(x) = phi(x) W`: its covariance given phi is an unbiased estimate of the kernel; eight functions share phi.

    Frequencies are drawn once and the kernel's present lengthscale and variance applied at every call: where its
    parameters move, the functions move along.

    Reference: Rahimi and Recht 2007, "Random Features for Large-Scale Kernel Machines".

    Example:
        >>> from gpytorch.kernels import RBFKernel
        >>> X = torch.zeros(5, 3, 1, dtype=torch.float64)
        >>> RandomFunctions(RBFKernel().double(), X, n_functions=2, seed=0)(X).shape
        torch.Size([5, 3, 2])
    """

    def __init__(self, kernel: Kernel, like: Tensor, *, n_functions: int, seed: int, n_features: int = 2048) -> None:
        """Draw frequencies and weights.

        Args:
            kernel: One that BoTorch, or whoever has registered it there, knows random features of.
            like: Points, `... x d`, of the dimension, precision and device of those to come.
            n_functions: S.
            seed: What the draws depend on, and all that they depend on.
            n_features: F, even; a covariance is off by about `1 / sqrt(F)` of the variance.

        Raises:
            InvalidDataError: If nobody knows features of the kernel.
        """
        self._features: list[KernelFeatureMap] = []
        self._weights: list[Tensor] = []
        with seeded(seed), torch.no_grad():
            for first in range(0, n_functions, SHARED_BY):
                try:
                    features = gen_kernel_features(kernel, num_inputs=like.shape[-1], num_outputs=n_features)
                except NotImplementedError as unknown:
                    raise InvalidDataError(
                        f"kernel: no random features are known of {type(kernel).__name__}. Use a Matérn or squared "
                        "exponential kernel, scaled or not, or register features with BoTorch's `GenKernelFeatures`."
                    ) from unknown
                # always for as many functions, so that the first ones do not depend on how many there are
                weights = torch.randn(features.num_outputs, SHARED_BY, dtype=torch.float64, device="cpu")
                self._features.append(features)
                self._weights.append(weights[:, : n_functions - first].to(like))

    def __call__(self, X: Tensor) -> Tensor:
        """Values of all functions.

        Args:
            X: Points, `... x d`.

        Returns:
            `... x S`, differentiable in the points.
        """
        pairs = list(zip(self._features, self._weights, strict=True))
        if X.requires_grad:
            return torch.cat([features(X) @ weights for features, weights in pairs], -1)
        with torch.no_grad():
            rows = X.reshape(-1, X.shape[-1]).split(max(_CHUNK // len(self._weights[0]), 1))
            parts = [torch.cat([features(part) @ weights for part in rows]) for features, weights in pairs]
        values = torch.cat(parts, -1)
        return values.reshape(*X.shape[:-1], values.shape[-1])

    def each(self, X: Tensor) -> Tensor:
        """Value of each function at points of its own.

        Args:
            X: `S x N x d`.

        Returns:
            `S x N`, differentiable in the points.
        """
        groups = zip(X.split(SHARED_BY), self._features, self._weights, strict=True)
        return torch.cat([torch.einsum("snf,fs->sn", features(at), weights) for at, features, weights in groups])
