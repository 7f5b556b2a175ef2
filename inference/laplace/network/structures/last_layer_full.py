"""The whole curvature of the layer that gives the outputs, without ever writing down its Jacobian.

Alphabet. phi: what that layer gets, with a 1, `n x h`. Sigma: covariance of its parameters, `C x h x C x h`. The
rest as in `structure`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from typing_extensions import override

from inference.laplace.network.groups import Group
from inference.laplace.network.jacobians import Outer, Piece
from inference.laplace.network.structures.full import Full
from inference.laplace.network.structures.structure import Passes, Projection, eigh


class LastLayerFull(Full):
    """As `Full`, of one `nn.Linear` whose outputs are those of the network."""

    _blocks: tuple[float, float, Tensor] | None = None
    """The s and tau of the last prediction, and what it needs of Sigma: a study predicts often at the same ones."""

    @override
    @classmethod
    def fit(cls, groups: Sequence[Group], ratios: Sequence[float], passes: Passes) -> Self:
        (group,), (ratio,) = groups, ratios
        n_outputs, h = group.shape
        total: Tensor | None = None
        for pieces in passes():
            phi, B = _features(pieces)
            total = phi.new_zeros(n_outputs, h, n_outputs, h) if total is None else total
            curvature = torch.einsum("nrc,nrk->nck", B, B) / ratio
            for c in range(n_outputs):  # all pairs at once would hold C^2 copies of the features
                total[c] += ((curvature[:, c].T[:, None] * phi.T) @ phi).transpose(0, 1)
        assert total is not None  # an empty data set was refused
        spectrum, U = eigh(total.reshape(group.size, group.size))
        return cls(groups, ratios, {"spectrum": spectrum, "U": U})

    @override
    def project(self, pieces: Sequence[Piece]) -> Projection:
        return _Features(_features(pieces)[0], self)

    def sigma_blocks(self, scale: float, tau: float) -> Tensor:
        """The blocks of Sigma within an output.

        Args:
            scale: s.
            tau: Of the prior.

        Returns:
            `C x h x h`.
        """
        if self._blocks is None or self._blocks[:2] != (scale, tau):
            U = self.tensors["U"].reshape(*self.groups[0].shape, -1)
            self._blocks = scale, tau, (U / (self.ratios[0] * (scale * self.spectrum + tau))) @ U.mT
        return self._blocks[2]

    def sigma(self, scale: float, tau: float) -> Tensor:
        """Sigma.

        Args:
            scale: s.
            tau: Of the prior.

        Returns:
            `C x h x C x h`.
        """
        U, shape = self.tensors["U"], self.groups[0].shape
        return ((U / (self.ratios[0] * (scale * self.spectrum + tau))) @ U.T).reshape(*shape, *shape)


@dataclass(frozen=True)
class _Features:
    phi: Tensor
    structure: LastLayerFull

    def covariance(self, scale: float, tau: float) -> Tensor:
        """`V_ck = phi^T Sigma_ck phi`."""
        Sigma = self.structure.sigma(scale, tau)
        return torch.stack(
            [
                torch.einsum("nki,ni->nk", (self.phi @ of_one.flatten(1)).unflatten(1, of_one.shape[1:]), self.phi)
                for of_one in Sigma
            ],
            1,
        )

    def variance(self, scale: float, tau: float) -> Tensor:
        """Its diagonals."""
        return ((self.phi @ self.structure.sigma_blocks(scale, tau)) * self.phi).sum(-1).T


def _features(pieces: Sequence[Piece]) -> tuple[Tensor, Tensor]:
    """phi, `n x h`, and the cotangents of the outputs, `n x r x C`."""
    (piece,) = pieces
    assert isinstance(piece, Outer)  # `linearise` saw to it
    return piece.a[:, 0], piece.B[:, :, 0]
