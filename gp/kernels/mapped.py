"""A kernel on what a map makes of its inputs: a model takes points of one space and compares them in another."""

from collections.abc import Callable
from typing import Any, cast

import torch
from botorch.sampling.pathwise.features.generators import GenKernelFeatures, gen_kernel_features
from botorch.sampling.pathwise.features.maps import KernelFeatureMap
from botorch.sampling.pathwise.utils import ChainedTransform, TensorTransform
from gpytorch.kernels.kernel import Kernel
from linear_operator.operators import LinearOperator
from torch import Tensor
from typing_extensions import override

Mapping = Callable[[Tensor], Tensor]


class MappedKernel(Kernel):
    """`k(x, x') = base(mapping(x), mapping(x'))`.

    An input transform of the model would do the same to what the model is asked, but BoTorch transforms some points
    that it conditions on twice (joint entropy search does), while a kernel meets every point once. The sample paths of
    `botorch.sampling.pathwise` know this kernel wherever they know the base.

    Example:
        >>> from gpytorch.kernels import MaternKernel
        >>> kernel = MappedKernel(MaternKernel(), torch.square)
        >>> kernel(torch.tensor([[-1.0]]), torch.tensor([[1.0]])).to_dense().item()
        1.0
    """

    def __init__(self, base_kernel: Kernel, mapping: Mapping) -> None:
        """Compose a kernel with a map.

        Args:
            base_kernel: The kernel on the mapped points.
            mapping: From `... x n x d` points to `... x n x f`, differentiable. A plain function is shared by copies of
                the kernel, which every fantasy of a model makes; an object with state would be copied with it.
        """
        super().__init__()
        self.base_kernel = base_kernel
        self.mapping = mapping

    @override
    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: Any) -> Tensor | LinearOperator:
        """Covariances of `... x n x d` with `... x m x d` points.

        Args:
            x1: The first points.
            x2: The second points.
            diag: Whether only the diagonal is asked for; `n` and `m` are then equal.
            params: Handed to the base kernel.

        Returns:
            The base kernel's covariances of the mapped points, `... x n x m`, or `... x n` of the diagonal.
        """
        z1 = self.mapping(x1)
        z2 = z1 if x2 is x1 else self.mapping(x2)
        return self.base_kernel(z1, z2, diag=diag, **params)


class _Mapped(TensorTransform):
    """The map, in the form in which sample paths chain their transforms."""

    def __init__(self, mapping: Mapping) -> None:
        super().__init__()
        self.mapping = mapping

    @override
    def forward(self, values: Tensor, **kwargs: Any) -> Tensor:
        return self.mapping(values)


def _random_features(kernel: MappedKernel, *, num_inputs: int, num_outputs: int) -> KernelFeatureMap:
    """The base kernel's random features, of mapped points."""
    n_mapped = kernel.mapping(torch.zeros(1, num_inputs, dtype=kernel.dtype, device=kernel.device)).shape[-1]
    features = gen_kernel_features(kernel.base_kernel, num_inputs=n_mapped, num_outputs=num_outputs)
    inner = cast(TensorTransform, features.input_transform)
    features.input_transform = ChainedTransform(inner, _Mapped(kernel.mapping))  # the last one is applied first
    return features


GenKernelFeatures.add((MappedKernel,), _random_features)
