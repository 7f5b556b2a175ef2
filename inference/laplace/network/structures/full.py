"""The whole curvature, dense: exact, for up to a few thousand parameters."""

from collections.abc import Sequence
from typing import Final, Self

import torch
from torch import Tensor
from typing_extensions import override

from inference.errors import InvalidInputError
from inference.laplace.network.groups import Group
from inference.laplace.network.jacobians import Piece
from inference.laplace.network.structures.structure import Passes, Projection, Rotated, Structure, eigh

_MOST_PARAMETERS: Final = 10_000
"""The eigenvectors of as many take 0.8 GB and ten minutes."""


class Full(Structure):
    """`U` as one matrix, `P x P`."""

    @override
    @classmethod
    def fit(cls, groups: Sequence[Group], ratios: Sequence[float], passes: Passes) -> Self:
        size = sum(group.size for group in groups)
        if size > _MOST_PARAMETERS:
            raise InvalidInputError(
                f"structure: 'full' of {size} parameters, at most {_MOST_PARAMETERS} are accepted; use 'kron', "
                "'function_space' for little data, or fewer parameters by params=."
            )
        total: Tensor | None = None
        for pieces in passes():
            J = torch.cat([p.dense() / r**0.5 for p, r in zip(pieces, ratios, strict=True)], -1).flatten(0, 1)
            total = J.T @ J if total is None else total.addmm_(J.T, J)
        assert total is not None  # an empty data set was refused
        spectrum, U = eigh(total)
        return cls(groups, ratios, {"spectrum": spectrum, "U": U})

    @override
    def project(self, pieces: Sequence[Piece]) -> Projection:
        return Rotated(self.whitened(pieces) @ self.tensors["U"], self.spectrum)

    @override
    def rotate(self, v: Tensor) -> Tensor:
        return v @ self.tensors["U"]

    @override
    def unrotate(self, c: Tensor) -> Tensor:
        return c @ self.tensors["U"].T
