"""A Kronecker product for each layer, a dense block for any other module; nothing between the groups.

Alphabet. A: second moment of a layer's inputs, `i x i`. G: of its back-propagated curvature, `o x o`. a, g: their
eigenvalues. UA, UG: their eigenvectors. t, o, i as in `jacobians`, the rest as in `structure`.

`H = G ⊗ A` with `A = mean_n a a^T` and `G = sum_n b b^T` is KFAC. A layer that is applied at several positions, as in
convolutions and attention, has `A = mean_n sum_t a_t a_t^T` and `G = sum_n mean_t b_t b_t^T`: the positions count as
independent of one another (KFC, called 'expand' for attention). Test points use their exact Jacobian all the same. The
prior enters as `g_i a_j + tau`, which is exact for one precision a layer.

References: Martens and Grosse 2015, "Optimizing Neural Networks with Kronecker-factored Approximate Curvature"; Grosse
and Martens 2016, "A Kronecker-factored Approximate Fisher Matrix for Convolution Layers"; Eschenhagen et al. 2023,
"Kronecker-Factored Approximate Curvature for Modern Neural Network Architectures".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import torch
from torch import Tensor
from typing_extensions import override

from inference.laplace.network.groups import Group
from inference.laplace.network.jacobians import Dense, Outer, Piece
from inference.laplace.network.structures.structure import Passes, Projection, Structure, eigh

LARGEST_BLOCK: Final = 2_000
"""Parameters of a module that is no layer, beyond which its block keeps only the diagonal: 2,000 take 2 s and 32 MB."""


class Kron(Structure):
    """Tensors of group k: `k.UG`, `k.UA` and `k.e` (`o x i`) of a layer; `k.U` and `k.e` (`p`) of a block."""

    @override
    @classmethod
    def fit(cls, groups: Sequence[Group], ratios: Sequence[float], passes: Passes) -> Self:
        sums: list[_Sums] = [_LayerSums() if group.kind != "block" else _BlockSums() for group in groups]
        for pieces in passes():
            for total, piece in zip(sums, pieces, strict=True):
                total.add(piece)
        tensors: dict[str, Tensor] = {}
        for k, (total, ratio) in enumerate(zip(sums, ratios, strict=True)):
            tensors |= {f"{k}.{name}": tensor for name, tensor in total.factors(ratio).items()}
        tensors["spectrum"] = torch.cat([tensors[f"{k}.e"].flatten() for k in range(len(groups))])
        return cls(groups, ratios, tensors)

    @override
    def project(self, pieces: Sequence[Piece]) -> Projection:
        parts: list[Projection] = []
        for k, (piece, ratio) in enumerate(zip(pieces, self.ratios, strict=True)):
            e = self.tensors[f"{k}.e"]
            if isinstance(piece, Dense):
                J = piece.dense()
                U = self.tensors.get(f"{k}.U")
                parts.append(Squares(J if U is None else J @ U, e.flatten(), ratio))
                continue
            a, B = piece.a @ self.tensors[f"{k}.UA"], piece.B @ self.tensors[f"{k}.UG"]
            if a.shape[1] == 1:
                parts.append(OuterSquares(a[:, 0].square(), B[:, :, 0], e, ratio))
            else:
                parts.append(Squares(Outer(a, B).dense(), e.flatten(), ratio))
        return Summed(parts)

    @override
    def rotate(self, v: Tensor) -> Tensor:
        return self._turned(v, back=False)

    @override
    def unrotate(self, c: Tensor) -> Tensor:
        return self._turned(c, back=True)

    def _turned(self, v: Tensor, *, back: bool) -> Tensor:
        turned = []
        for k, part in enumerate(v.split([group.size for group in self.groups], -1)):
            if f"{k}.UG" in self.tensors:
                UG, UA = (self.tensors[f"{k}.{name}"] for name in ("UG", "UA"))
                UG, UA = (UG.T, UA.T) if back else (UG, UA)
                turned.append((UG.T @ part.reshape(-1, *self.groups[k].shape) @ UA).flatten(1))
            else:
                U = self.tensors.get(f"{k}.U")
                turned.append(part if U is None else part @ (U.T if back else U))
        return torch.cat(turned, -1)


@dataclass(frozen=True)
class Summed:
    """Variances of independent groups."""

    parts: Sequence[Projection]

    def covariance(self, scale: float, tau: float) -> Tensor:
        """V."""
        return torch.stack([part.covariance(scale, tau) for part in self.parts]).sum(0)

    def variance(self, scale: float, tau: float) -> Tensor:
        """Its diagonals."""
        return torch.stack([part.variance(scale, tau) for part in self.parts]).sum(0)


@dataclass(frozen=True)
class OuterSquares:
    """A layer at one position a point: `V_ck = sum_oi B_co B_ko a_i^2 / (r (s e_oi + tau))`, never `n x C x P`."""

    a2: Tensor
    """Squared inputs, `n x i`."""
    B: Tensor
    """`n x C x o`."""
    e: Tensor
    """`o x i`."""
    ratio: float

    def covariance(self, scale: float, tau: float) -> Tensor:
        """V."""
        return (self.B * self._weights(scale, tau)[:, None]) @ self.B.mT

    def variance(self, scale: float, tau: float) -> Tensor:
        """Its diagonals."""
        return (self.B.square() @ self._weights(scale, tau)[:, :, None])[:, :, 0]

    def _weights(self, scale: float, tau: float) -> Tensor:
        """`n x o`."""
        return self.a2 @ (self.ratio * (scale * self.e + tau)).reciprocal().T


@dataclass(frozen=True)
class Squares:
    """A group whose rotated Jacobian is written down."""

    Q: Tensor
    """`n x C x p`."""
    e: Tensor
    ratio: float

    def covariance(self, scale: float, tau: float) -> Tensor:
        """V."""
        return (self.Q / (self.ratio * (scale * self.e + tau))) @ self.Q.mT

    def variance(self, scale: float, tau: float) -> Tensor:
        """Its diagonals."""
        return self.Q.square() @ (self.ratio * (scale * self.e + tau)).reciprocal()


class _LayerSums:
    def __init__(self) -> None:
        self.A: Tensor | float = 0.0
        self.G: Tensor | float = 0.0
        self.n = 0

    def add(self, piece: Piece) -> None:
        assert isinstance(piece, Outer)  # a group that is no block
        n, positions, _ = piece.a.shape
        a, B = piece.a.flatten(0, 1), piece.B.flatten(0, 2)
        self.A = self.A + a.T @ a
        self.G = self.G + B.T @ B / positions
        self.n += n

    def factors(self, ratio: float) -> dict[str, Tensor]:
        assert isinstance(self.A, Tensor) and isinstance(self.G, Tensor)  # an empty data set was refused
        a, UA = eigh(self.A / self.n)
        g, UG = eigh(self.G)
        return {"UG": UG, "UA": UA, "e": torch.outer(g, a) / ratio}


class _BlockSums:
    def __init__(self) -> None:
        self.H: Tensor | float = 0.0

    def add(self, piece: Piece) -> None:
        J = piece.dense().flatten(0, 1)
        self.H = self.H + (J.T @ J if J.shape[1] <= LARGEST_BLOCK else J.square().sum(0))

    def factors(self, ratio: float) -> dict[str, Tensor]:
        assert isinstance(self.H, Tensor)  # an empty data set was refused
        if self.H.dim() == 1:
            return {"e": self.H / ratio}
        e, U = eigh(self.H)
        return {"e": e / ratio, "U": U}


_Sums = _LayerSums | _BlockSums
