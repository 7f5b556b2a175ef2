"""Kronecker products of covariance matrices plus noise: eigen-factorisation, and log evidence with its exact gradient.

A covariance matrix of all cells of a grid is never formed. Its eigenvectors are products of those of the axes', so one
`eigh` an axis solves, and the gradient with respect to each axis' matrix has a closed form in which no difference of
eigenvalues appears: autograd through `eigh` is wrong where eigenvalues coincide, as they do for duplicated inputs.

Alphabet. m: axes. n_i: size of axis i. N: cells of the grid, the product of the sizes. K_i: covariance of axis i,
`n_i x n_i`, with eigenvectors Q_i and eigenvalues l_i. A: `(x) K_i + noise I`, `N x N`. D: its eigenvalues, on the
grid. M: cells without an observation. W: their rows of `(x) Q_i`, `M x N`. B: block of the inverse of A at the missing
cells, `M x M`. All is computed in double precision, whatever the data's.

Reference: Saatci 2011, "Scalable Inference for Structured Gaussian Process Models", chapter 5; the missing cells are
left out of A by the block inverse, as in any text on Schur complements.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from typing_extensions import override

from gp.errors import NotPositiveDefiniteError
from gp.linalg.cholesky import safe_cholesky

_LOG_2PI: Final = math.log(2.0 * math.pi)
_SMALL_FACTOR: Final = 64
"""An axis of fewer cells is factored on the CPU: there a GPU takes longer to start than to compute."""


def mode_products(matrices: Sequence[Tensor | None], X: Tensor) -> Tensor:
    """`(M_1 (x) ... (x) M_m) vec X`, axis by axis.

    Args:
        matrices: One an axis, `p_i x n_i`, or None to leave the axis alone; the first may be a batch `b x p_1 x n_1`.
        X: `... x n_1 x ... x n_m`; its leading dimensions broadcast with b.

    Returns:
        `... x p_1 x ... x p_m`.

    Example:
        >>> X = torch.arange(6.0).reshape(2, 3)
        >>> mode_products([torch.ones(1, 2), None], X)
        tensor([[3., 5., 7.]])
    """
    m = len(matrices)
    # what shrinks an axis most comes first, so that the others have less to do
    given = [(matrix, axis) for axis, matrix in enumerate(matrices) if matrix is not None]
    for matrix, axis in sorted(given, key=lambda each: each[0].shape[:-1].numel() / each[0].shape[-1]):
        lead, sizes = X.shape[: X.dim() - m], X.shape[X.dim() - m :]
        if axis == m - 1 and m > 1:
            X = X @ matrix.mT
            continue
        before, after = sizes[:axis], sizes[axis + 1 :]
        if axis == 0:
            product = matrix @ X.reshape(*lead, sizes[0], math.prod(after))
            X = product.reshape(*product.shape[:-1], *after)
        else:
            product = matrix @ X.reshape(*lead, *before, sizes[axis], math.prod(after))
            X = product.reshape(*lead, *before, matrix.shape[-2], *after)
    return X


@dataclass(frozen=True)
class KroneckerEigen:
    """Eigenvectors and eigenvalues of each axis' covariance."""

    vectors: tuple[Tensor, ...]
    """Q_i, `n_i x n_i`, float64."""
    values: tuple[Tensor, ...]
    """l_i, `n_i`, float64, none negative."""

    @classmethod
    def of(cls, covariances: Sequence[Tensor]) -> "KroneckerEigen":
        """Factor each axis.

        Args:
            covariances: K_i, `n_i x n_i`, symmetric.

        Returns:
            Their factors, on their device.

        Raises:
            NotPositiveDefiniteError: If an entry is not finite.
        """
        for axis, K in enumerate(covariances):
            if not torch.isfinite(K).all():
                raise NotPositiveDefiniteError(
                    f"the covariance of axis {axis} ({len(K)} x {len(K)}) holds values that are not finite. Likely "
                    "causes: nan or infinity in its points, or a lengthscale that has overflowed."
                )
        pairs = [_eigh(K.detach().double()) for K in covariances]
        return cls(tuple(Q for _, Q in pairs), tuple(values.clamp_min(0.0) for values, _ in pairs))

    @property
    def sizes(self) -> torch.Size:
        """The n_i."""
        return torch.Size([len(values) for values in self.values])

    def eigenvalues(self, leaving_out: int | None = None) -> Tensor:
        """Products of the axes' eigenvalues on the grid.

        Args:
            leaving_out: An axis whose eigenvalues count as 1 and whose size as 1.

        Returns:
            `n_1 x ... x n_m`.
        """
        m = len(self.values)
        product = torch.ones([1] * m, dtype=torch.float64, device=self.values[0].device)
        for axis, values in enumerate(self.values):
            if axis != leaving_out:
                product = product * values.reshape([-1 if other == axis else 1 for other in range(m)])
        return product

    def into(self, X: Tensor) -> Tensor:
        """Coordinates of `... x n_1 x ... x n_m` among the eigenvectors."""
        return mode_products([Q.mT for Q in self.vectors], X)

    def out_of(self, X: Tensor) -> Tensor:
        """What has the coordinates `... x n_1 x ... x n_m` among the eigenvectors."""
        return mode_products(self.vectors, X)

    def rows(self, cells: Tensor) -> Tensor:
        """Rows of `(x) Q_i`.

        Args:
            cells: Index along each axis, `M x m`.

        Returns:
            `M x n_1 x ... x n_m`.
        """
        product = self.vectors[0][cells[:, 0]]
        for axis in range(1, len(self.vectors)):
            row = self.vectors[axis][cells[:, axis]]
            product = product[..., None] * row.reshape(len(cells), *[1] * axis, -1)
        return product

    def pair(self, U: Tensor, V: Tensor, axis: int) -> Tensor:
        """Derivative of `sum_s u_s' ((x) K_i) v_s` with respect to one K_i, in the coordinates of its eigenvectors.

        Args:
            U: Coordinates, `s x n_1 x ... x n_m`.
            V: The same.
            axis: Which K_i.

        Returns:
            `n_i x n_i`.
        """
        others = self.eigenvalues(leaving_out=axis)
        if U is V:  # one pass through memory less, which is what this costs where there are many fields
            half = U * others.sqrt()
            if axis == len(self.values) - 1:  # its cells lie side by side already
                flat = half.reshape(-1, half.shape[-1])
                return flat.mT @ flat
            half = half.movedim(axis + 1, 0).reshape(len(self.values[axis]), -1)
            return half @ half.mT
        left = (U * others).movedim(axis + 1, 0).reshape(len(self.values[axis]), -1)
        right = V.movedim(axis + 1, 0).reshape(len(self.values[axis]), -1)
        return left @ right.mT

    def back(self, axis: int, H: Tensor) -> Tensor:
        """A matrix in the coordinates of an axis' eigenvectors, `n_i x n_i`, in those of the axis' cells."""
        Q = self.vectors[axis]
        return Q @ H @ Q.mT


def missing_block(factors: KroneckerEigen, inverse: Tensor, missing: Tensor) -> tuple[Tensor, Tensor]:
    """The block B, and the rows that make it.

    Args:
        factors: Of the axes.
        inverse: 1 over D, on the grid.
        missing: Indices of the missing cells along each axis, `M x m`.

    Returns:
        `W / D`, `M x N`, and B, `M x M`.
    """
    W = factors.rows(missing)
    over_D = W * inverse
    if len(missing) <= sum(factors.sizes):
        B = over_D.reshape(len(missing), -1) @ W.reshape(len(missing), -1).mT
    else:  # out of the eigenvectors axis by axis, which takes N sum n_i for each row instead of N M
        places = torch.zeros_like(missing[:, 0])
        for axis, size in enumerate(factors.sizes):
            places = places * size + missing[:, axis]
        B = factors.out_of(over_D).reshape(len(missing), -1)[:, places]
    return over_D.reshape(len(missing), -1), B


def half_solution(L: Tensor, rows: Tensor) -> Tensor:
    """`L^-1 rows`, laid out row by row: solved from the right, no matrix is transposed in memory.

    Args:
        L: Lower triangular, `M x M`.
        rows: `M x N`.

    Returns:
        `M x N`, contiguous.
    """
    return torch.linalg.solve_triangular(L.mT, rows.mT, upper=True, left=False).mT


def _eigh(K: Tensor) -> tuple[Tensor, Tensor]:
    if K.is_cuda and len(K) < _SMALL_FACTOR:
        values, vectors = torch.linalg.eigh(K.cpu())
        return values.to(K.device), vectors.to(K.device)
    values, vectors = torch.linalg.eigh(K)
    return values, vectors


class _GridEvidence(torch.autograd.Function):
    """Log evidence of a grid with one noise variance and few missing cells; the gradient is made with the value."""

    @staticmethod
    @override
    def forward(ctx: Any, Y: Tensor, missing: Tensor, noise: Tensor, *covariances: Tensor) -> Tensor:
        factors = KroneckerEigen.of(covariances)
        inverse = (factors.eigenvalues() + noise.detach().double()).reciprocal_()
        coordinates = factors.into(Y.double())
        weights = coordinates * inverse
        quadratic, log_det = (coordinates * weights).sum(), -inverse.log().sum()
        trace = inverse.sum()
        n_missing = len(missing)
        V = torch.empty(0)
        if n_missing:
            over_D, B = missing_block(factors, inverse, missing)
            L = safe_cholesky(B, "the covariance of the missing cells, inverted,")
            # the zeros that stand for missing values are no data: what they added
            held = over_D @ coordinates.reshape(-1)
            c = torch.cholesky_solve(held[:, None], L)[:, 0]
            quadratic = quadratic - held @ c
            log_det = log_det + 2.0 * L.diagonal().log().sum()
            weights = weights - (c @ over_D).reshape(weights.shape)
            V = half_solution(L, over_D).reshape(n_missing, *weights.shape)
            trace = trace - V.square().sum()
        fields, gradients = weights[None], []
        for axis in range(len(covariances)):
            others = [other for other in range(len(covariances)) if other != axis]
            spread = factors.eigenvalues(leaving_out=axis) * inverse
            H = factors.pair(fields, fields, axis)
            H.diagonal().sub_(spread.sum(others) if others else spread)
            if n_missing:
                H += factors.pair(V, V, axis)
            gradients.append((0.5 * factors.back(axis, H)).to(covariances[axis].dtype))
        ctx.noise_gradient = (0.5 * (weights.square().sum() - trace)).to(noise.dtype)
        ctx.save_for_backward(*gradients)
        n_observed = Y.numel() - n_missing
        return (-0.5 * (quadratic + log_det + n_observed * _LOG_2PI)).to(Y.dtype)

    @staticmethod
    @once_differentiable
    @override
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (towards,) = grad_outputs
        return (None, None, towards * ctx.noise_gradient, *(towards * G for G in ctx.saved_tensors))


def grid_evidence(covariances: Sequence[Tensor], noise: Tensor, Y: Tensor, missing: Tensor) -> Tensor:
    """Log density of the observed cells of a grid under `N(0, (x) K_i + noise I)`, exact.

    Cost `O(sum n_i³ + N sum n_i)`, and with missing cells `O(M² N + M³)` and `M N` numbers of memory besides.

    Args:
        covariances: K_i, `n_i x n_i`.
        noise: The noise variance, a positive scalar.
        Y: Values, `n_1 x ... x n_m`, zero at the missing cells.
        missing: Their indices along each axis, `M x m`; `0 x m` if there are none.

    Returns:
        A scalar, differentiable once with respect to the covariances and the noise.

    Raises:
        NotPositiveDefiniteError: If a covariance is not finite, or the missing cells' block cannot be factored.

    Example:
        >>> one = torch.eye(2, dtype=torch.float64)
        >>> Y, none = torch.zeros(2, 2, dtype=torch.float64), torch.empty(0, 2, dtype=torch.int64)
        >>> grid_evidence([one, one], torch.tensor(1.0), Y, none)  # four values of variance 2
        tensor(-5.0620, dtype=torch.float64)
    """
    value: Tensor = _GridEvidence.apply(Y, missing, noise, *covariances)
    return value


def dense_evidence(covariances: Sequence[Tensor], noise: Tensor, Y: Tensor, cells: Tensor) -> Tensor:
    """The same by a Cholesky factor of the observed cells' covariance: for any noise and any missing cells, `O(n³)`.

    Args:
        covariances: K_i, `n_i x n_i`.
        noise: Noise variances of the observed cells, a scalar or `n`.
        Y: Their values, `n`.
        cells: Their indices along each axis, `n x m`.

    Returns:
        A scalar, differentiable with respect to the covariances, the noise and the values.

    Raises:
        NotPositiveDefiniteError: If the matrix cannot be factored with any jitter.
    """
    L = safe_cholesky(observed_covariance(covariances, noise, cells), "the covariance of the observed cells")
    half = torch.linalg.solve_triangular(L, Y.double()[:, None], upper=False)
    log_det = 2.0 * L.diagonal().log().sum()
    return (-0.5 * (half.square().sum() + log_det + len(cells) * _LOG_2PI)).to(Y.dtype)


def observed_covariance(covariances: Sequence[Tensor], noise: Tensor, cells: Tensor) -> Tensor:
    """Covariance of some cells' values with their noise.

    Args:
        covariances: K_i, `n_i x n_i`.
        noise: A scalar or `n`.
        cells: Indices along each axis, `n x m`.

    Returns:
        `n x n`, float64.
    """
    product = torch.ones((), dtype=torch.float64, device=cells.device)
    for axis, K in enumerate(covariances):
        product = product * K.double()[cells[:, axis]][:, cells[:, axis]]
    return product + torch.diag_embed(noise.double().expand(len(cells)))
