"""The whole curvature by way of the training points: exact for any number of parameters, for few data.

Alphabet. F: Jacobian of the training points times a root of the likelihood's curvature, over `R^1/2`, `N x r x P`, kept
in its pieces. K: `F F^T`, `N r x N r`. W: its eigenvectors; its eigenvalues are those of `R^-1/2 H R^-1/2` that are
not 0, and `U = F^T W / sqrt(e)`. The rest as in `structure`.

The inner product of the Jacobians of a layer at two points is the product of two smaller ones, of inputs and of
back-propagated derivatives, so that a perceptron's kernel never holds anything with P columns.
"""

from collections.abc import Sequence
from typing import ClassVar, Final, Self

import torch
from torch import Tensor
from typing_extensions import override

from inference.errors import InvalidInputError
from inference.laplace.network.groups import Group
from inference.laplace.network.jacobians import Dense, Outer, Piece
from inference.laplace.network.structures.structure import Passes, Projection, Reduced, Structure, eigh

_MOST_ROWS: Final = 6_000
"""Eigenvectors of as many rows take 0.3 GB and two minutes."""
_NULL: Final = 1e-12
"""Eigenvalues below this share of the largest are rounding errors in doubles: softmax has one of 0 a point."""


class FunctionSpace(Structure):
    """Tensors: `W`, and of group k either `k.a` (`N x i`) and `k.B` (`N x r x o`), or `k.J` (`N x r x p`)."""

    is_complete: ClassVar[bool] = False

    @override
    @classmethod
    def fit(cls, groups: Sequence[Group], ratios: Sequence[float], passes: Passes) -> Self:
        batches: list[list[Piece]] = []
        n_rows = 0
        for batch in passes():
            pieces = [_compact(piece) for piece in batch]
            first = pieces[0]
            n_rows += (first.J if isinstance(first, Dense) else first.B).shape[:2].numel()
            if n_rows > _MOST_ROWS:
                raise InvalidInputError(
                    f"structure: 'function_space' needs a matrix with a row for each output of each point; it takes at "
                    f"most {_MOST_ROWS} and these are more. Use 'kron', or a subset of the data."
                )
            batches.append(pieces)
        tensors: dict[str, Tensor] = {}
        for k, of_group in enumerate(zip(*batches, strict=True)):
            tensors |= {f"{k}.{name}": tensor for name, tensor in _stored(of_group).items()}
        train = _pieces(tensors, len(groups))
        e, W = eigh(_kernel(train, train, ratios).flatten(2).flatten(0, 1))
        kept = e > _NULL * e.max()
        return cls(groups, ratios, tensors | {"spectrum": e[kept], "W": W[:, kept]})

    @override
    def project(self, pieces: Sequence[Piece]) -> Projection:
        train = _pieces(self.tensors, len(self.groups))
        test = [_compact(piece) for piece in pieces]
        T = _kernel(test, train, self.ratios).flatten(2)
        Q = T @ self.tensors["W"] / self.spectrum.sqrt()
        prior = torch.zeros((), dtype=Q.dtype, device=Q.device)
        for piece, ratio in zip(test, self.ratios, strict=True):
            if isinstance(piece, Dense):
                prior = prior + piece.J @ piece.J.mT / ratio
            else:
                a, B = piece.a[:, 0], piece.B[:, :, 0]
                prior = prior + a.square().sum(1)[:, None, None] * (B @ B.mT) / ratio
        return Reduced(prior, Q, self.spectrum)

    @override
    def rotate(self, v: Tensor) -> Tensor:
        F = self._dense()
        return v @ F.T @ self.tensors["W"] / self.spectrum.sqrt()

    @override
    def unrotate(self, c: Tensor) -> Tensor:
        return c / self.spectrum.sqrt() @ self.tensors["W"].T @ self._dense()

    def _dense(self) -> Tensor:
        """F, `N r x P`; parameters, unlike functions, cannot be drawn without it."""
        return self.whitened(_pieces(self.tensors, len(self.groups))).flatten(0, 1)


def _compact(piece: Piece) -> Piece:
    """A layer that is applied at several positions is no outer product any more."""
    return Dense(piece.dense()) if isinstance(piece, Outer) and piece.a.shape[1] != 1 else piece


def _stored(batches: Sequence[Piece]) -> dict[str, Tensor]:
    layers = [piece for piece in batches if isinstance(piece, Outer)]
    if layers:
        return {"a": torch.cat([p.a[:, 0] for p in layers]), "B": torch.cat([p.B[:, :, 0] for p in layers])}
    return {"J": torch.cat([piece.dense() for piece in batches])}


def _pieces(tensors: dict[str, Tensor], n_groups: int) -> list[Piece]:
    """The training points again."""
    pieces: list[Piece] = []
    for k in range(n_groups):
        if f"{k}.J" in tensors:
            pieces.append(Dense(tensors[f"{k}.J"]))
        else:
            pieces.append(Outer(tensors[f"{k}.a"][:, None], tensors[f"{k}.B"][:, :, None]))
    return pieces


def _kernel(rows: Sequence[Piece], columns: Sequence[Piece], ratios: Sequence[float]) -> Tensor:
    """Inner products of Jacobians, over R: `n x r x N x r`."""
    total: Tensor | None = None
    for one, other, ratio in zip(rows, columns, ratios, strict=True):
        if isinstance(one, Outer) and isinstance(other, Outer):
            inputs = one.a[:, 0] @ other.a[:, 0].T
            B, D = one.B[:, :, 0], other.B[:, :, 0]
            part = (B.flatten(0, 1) @ D.flatten(0, 1).T).reshape(*B.shape[:2], *D.shape[:2])
            part = part * inputs[:, None, :, None]
        else:
            J, M = one.dense(), other.dense()
            part = (J.flatten(0, 1) @ M.flatten(0, 1).T).reshape(*J.shape[:2], *M.shape[:2])
        total = part / ratio if total is None else total.add_(part / ratio)
    assert total is not None  # a selection has at least one group
    return total
