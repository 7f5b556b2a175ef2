"""`gp.array_kernels.Anova` for GPyTorch: sums of functions of few variables, with random features for sample paths."""

from collections.abc import Sequence
from typing import Any, Final

import torch
from botorch.sampling.pathwise.features.generators import GenKernelFeatures
from botorch.sampling.pathwise.features.maps import KernelFeatureMap
from botorch.sampling.pathwise.utils import SineCosineTransform, TensorTransform
from gpytorch.constraints.constraints import Positive
from gpytorch.kernels.kernel import Kernel
from gpytorch.kernels.matern_kernel import MaternKernel
from torch import Tensor
from typing_extensions import override

_NU: Final = 2.5


class AnovaKernel(Kernel):
    """`prod_i (1 - share + share k_i)` with a Matérn-5/2 `k_i` a group of features.

    Example:
        >>> kernel = AnovaKernel(torch.ones(2), groups=[0, 1], share=0.5)
        >>> kernel(torch.zeros(1, 2), torch.full((1, 2), 1e6)).to_dense().item()
        0.25
    """

    lengthscales: Tensor
    """One a feature, `d`."""

    def __init__(self, lengthscales: Tensor, groups: Sequence[int], share: float) -> None:
        """Make one factor a group.

        Args:
            lengthscales: One a feature, `d`.
            groups: For each feature the index of its group, `0 .. g - 1`.
            share: Weight of a group's kernel in its factor, in (0, 1).
        """
        super().__init__()
        self.register_buffer("lengthscales", lengthscales.clone())
        self.groups, self.share = tuple(groups), share
        self._columns = [
            [feature for feature, its in enumerate(self.groups) if its == group] for group in range(max(groups) + 1)
        ]
        self.factors = torch.nn.ModuleList()
        for columns in self._columns:
            matern = MaternKernel(nu=_NU, ard_num_dims=len(columns), lengthscale_constraint=Positive()).to(lengthscales)
            matern.lengthscale = lengthscales[columns]
            self.factors.append(matern)

    @override
    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: Any) -> Tensor:
        """Covariances of `... x n x d` with `... x m x d` points.

        Args:
            x1: The first points.
            x2: The second points.
            diag: Whether only the diagonal is asked for; `n` and `m` are then equal.
            params: Handed to each factor.

        Returns:
            `... x n x m`, or `... x n` of the diagonal.
        """
        product = torch.ones((), dtype=x1.dtype, device=x1.device)
        for matern, columns in zip(self.factors, self._columns, strict=True):
            each = matern.forward(x1[..., columns], x2[..., columns], diag=diag, **params)
            product = product * (1.0 - self.share + self.share * each)
        return product


class _Scaled(TensorTransform):
    """Features over their lengthscales."""

    def __init__(self, lengthscales: Tensor) -> None:
        super().__init__()
        self.lengthscales = lengthscales

    @override
    def forward(self, values: Tensor, **kwargs: Any) -> Tensor:
        return values / self.lengthscales


def _random_features(kernel: AnovaKernel, *, num_inputs: int, num_outputs: int) -> KernelFeatureMap:
    """Pairs of sine and cosine along random frequencies."""
    # Multiplied out, the kernel is a mixture over sets of groups, and so is its spectral density: a frequency is 0
    # along the groups that are not in the set, and along each of the others drawn from its own Matérn density.
    lengthscales = kernel.lengthscales
    n, groups = num_outputs // 2, torch.tensor(kernel.groups, device=lengthscales.device)
    nu = torch.tensor(_NU).to(lengthscales)
    length = torch.distributions.Gamma(nu, nu).sample(torch.Size([n, len(kernel.factors)])).rsqrt()
    interacts = torch.rand_like(length) < kernel.share
    weight = (length * interacts)[:, groups] * torch.randn(n, num_inputs).to(lengthscales)
    return KernelFeatureMap(
        kernel=kernel,
        weight=weight,
        input_transform=_Scaled(lengthscales),
        output_transform=SineCosineTransform(torch.tensor((1.0 / n) ** 0.5).to(lengthscales)),
    )


GenKernelFeatures.add((AnovaKernel,), _random_features)
