"""The leading eigenvectors of the whole curvature, by subspace iteration over the data.

Directions that the data say little about keep the prior's variance, so that the variance of an output is an upper bound
of the one with all eigenvectors.

Reference: Halko, Martinsson and Tropp 2011, "Finding Structure with Randomness", section 4.5.
"""

from collections.abc import Sequence
from typing import ClassVar, Final, Self

import torch
from torch import Tensor
from typing_extensions import override

from inference.laplace.network.groups import Group
from inference.laplace.network.jacobians import Piece
from inference.laplace.network.structures.structure import Passes, Projection, Reduced, Structure, eigh

DEFAULT_RANK: Final = 50
"""Eigenvectors; a classifier has at least a few of weight for each class."""
_N_PASSES: Final = 4
"""Each pass multiplies the error by (e_{k + spare} / e_k)."""
_N_SPARE: Final = 10
"""Columns that are carried along beyond those asked for."""


class LowRank(Structure):
    """`U` as one matrix, `P x k`."""

    is_complete: ClassVar[bool] = False

    @override
    @classmethod
    def fit(cls, groups: Sequence[Group], ratios: Sequence[float], passes: Passes, rank: int = DEFAULT_RANK) -> Self:
        size = sum(group.size for group in groups)
        width = min(size, rank + _N_SPARE)
        basis: Tensor | None = None
        projected = torch.zeros(())
        for _ in range(_N_PASSES):
            total: Tensor | None = None
            for pieces in passes():
                J = torch.cat([p.dense() / r**0.5 for p, r in zip(pieces, ratios, strict=True)], -1).flatten(0, 1)
                if basis is None:
                    start = torch.randn(size, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
                    basis = torch.linalg.qr(start.to(J)).Q
                product = J.T @ (J @ basis)
                total = product if total is None else total.add_(product)
            assert basis is not None and total is not None  # an empty data set was refused
            projected, previous = basis.T @ total, basis
            basis = torch.linalg.qr(total).Q
        e, W = eigh(projected)
        return cls(groups, ratios, {"spectrum": e.flip(0)[:rank], "U": (previous @ W.flip(1))[:, :rank]})

    @override
    def project(self, pieces: Sequence[Piece]) -> Projection:
        J = self.whitened(pieces)
        return Reduced(J @ J.mT, J @ self.tensors["U"], self.spectrum)

    @override
    def rotate(self, v: Tensor) -> Tensor:
        return v @ self.tensors["U"]

    @override
    def unrotate(self, c: Tensor) -> Tensor:
        return c @ self.tensors["U"].T
