"""One curvature a parameter: the cheapest structure, which forgets every correlation of the parameters."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor
from typing_extensions import override

from inference.laplace.network.groups import Group
from inference.laplace.network.jacobians import Outer, Piece
from inference.laplace.network.structures.kron import OuterSquares, Squares, Summed
from inference.laplace.network.structures.structure import Passes, Projection, Structure


class Diagonal(Structure):
    """`U` is the identity and `spectrum` the diagonal itself, over R."""

    @override
    @classmethod
    def fit(cls, groups: Sequence[Group], ratios: Sequence[float], passes: Passes) -> Self:
        sums: list[Tensor] = []
        for pieces in passes():
            batch = [_squares(piece) / ratio for piece, ratio in zip(pieces, ratios, strict=True)]
            sums = [total + part for total, part in zip(sums, batch, strict=True)] if sums else batch
        return cls(groups, ratios, {"spectrum": torch.cat(sums)})

    @override
    def project(self, pieces: Sequence[Piece]) -> Projection:
        parts: list[Projection] = []
        of_groups = self.spectrum.split([group.size for group in self.groups])
        for group, piece, e, ratio in zip(self.groups, pieces, of_groups, self.ratios, strict=True):
            if isinstance(piece, Outer) and piece.a.shape[1] == 1:
                parts.append(OuterSquares(piece.a[:, 0].square(), piece.B[:, :, 0], e.reshape(group.shape), ratio))
            else:
                parts.append(Squares(piece.dense(), e, ratio))
        return Summed(parts)

    @override
    def rotate(self, v: Tensor) -> Tensor:
        return v

    @override
    def unrotate(self, c: Tensor) -> Tensor:
        return c


def _squares(piece: Piece) -> Tensor:
    """Squares of a Jacobian, summed over points and outputs, `p`."""
    if isinstance(piece, Outer) and piece.a.shape[1] == 1:
        return (piece.B[:, :, 0].square().sum(1).T @ piece.a[:, 0].square()).flatten()
    return piece.dense().square().sum((0, 1))
