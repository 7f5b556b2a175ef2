"""A regularised kernel matrix that is known by its rows, and what a solver leaves of its equations.

Alphabet. K: `n x n` kernel matrix. D: diagonal of noise variances. A: `K + D`. B: rows in a block. s: right-hand sides.
A pass: the work of touching all n² entries of K once.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from gpytorch.kernels.kernel import Kernel
from torch import Tensor

from gp.errors import InvalidDataError
from gp.kernels.covariance import covariance

BLOCK_SIZE: Final = 512
"""Rows of a block: large enough for BLAS, small enough that the factors of all blocks take little memory."""
FULL_PRECISION_BYTES: Final = 2**28
"""K is kept in its points' own precision up to this size (5,792 points in float64), above it in float32."""
_MOST_BYTES: Final = 2**31
"""K is kept at all up to this size (23,170 points in float32); above it rows are computed when they are needed."""
_CHUNK: Final = 2**20
"""Entries computed at once: their temporaries stay in the processor's cache and off the memory allocator."""


class KernelSystem:
    """Rows of K in blocks, and products with A, for points in any order.

    Blocks are runs of consecutive rows, all of the same size, the last one overlapping its predecessor where n is no
    multiple. Points that come sorted should be shuffled first (`order`): solvers suppose that blocks are alike.

    Example:
        >>> from gpytorch.kernels import RBFKernel
        >>> X = torch.tensor([[0.0], [9.0]], dtype=torch.float64)
        >>> system = KernelSystem(RBFKernel().double(), X, torch.ones(2, dtype=torch.float64))
        >>> system.product(torch.ones(2, 1, dtype=torch.float64)).T
        tensor([[2., 2.]], dtype=torch.float64)
    """

    def __init__(
        self,
        kernel: Kernel,
        X: Tensor,
        noise: Tensor,
        *,
        order: Tensor | None = None,
        block_size: int = BLOCK_SIZE,
        most_bytes: int = _MOST_BYTES,
    ) -> None:
        """Evaluate K where it can be kept.

        Args:
            kernel: Covariance of the points; the system keeps a copy as it is now.
            X: Points, `n x d`.
            noise: Diagonal of D, `n`, positive.
            order: Permutation of `0 .. n - 1`, the order of the rows inside; None as they come. What goes in and out
                of the solvers is in the order of X.
            block_size: Rows of a block, B; the whole of a smaller system.
            most_bytes: K is kept in memory up to this size.

        Raises:
            InvalidDataError: If a shape does not fit, or a variance is not positive.
        """
        if X.dim() != 2 or noise.shape != X.shape[:1] or len(X) == 0:
            raise InvalidDataError(
                f"X, noise: expected `n x d` and `n` with n >= 1, got {tuple(X.shape)}, {tuple(noise.shape)}."
            )
        if not bool((noise > 0).all()):
            raise InvalidDataError(
                f"noise: expected positive variances, the least is {float(noise.min()):g}; 1e-5 of the variance of the "
                "values stands for none."
            )
        self.kernel = copy.deepcopy(kernel).requires_grad_(False)
        self.order = torch.arange(len(X), device=X.device) if order is None else order
        self.inverse_order = torch.argsort(self.order)
        self.X, self.noise = X.detach()[self.order], noise.detach()[self.order]
        self.n = len(X)
        self._wanted_block_size = block_size
        self.block_size = min(block_size, self.n)
        full = self.n**2 * X.element_size() <= FULL_PRECISION_BYTES
        self.row_dtype = X.dtype if full else torch.float32
        item = torch.finfo(self.row_dtype).bits // 8
        self._most_bytes = most_bytes
        self._K = self._evaluated(None) if self.n**2 * item <= most_bytes else None

    @property
    def starts(self) -> list[int]:
        """First row of each block."""
        last = self.n - self.block_size
        return [min(start, last) for start in range(0, self.n, self.block_size)]

    @property
    def is_kept(self) -> bool:
        """Whether K is in memory."""
        return self._K is not None

    def extended(self, X: Tensor, noise: Tensor) -> "KernelSystem":
        """The system with further points after its own, of which K is not computed anew.

        Args:
            X: `k x d`.
            noise: `k`.

        Returns:
            A new system; its order continues this one's.
        """
        after = object.__new__(KernelSystem)
        after.__dict__.update(self.__dict__)
        further = torch.arange(self.n, self.n + len(X), device=X.device)
        after.order = torch.cat([self.order, further])
        after.inverse_order = torch.cat([self.inverse_order, further])
        after.X, after.noise = torch.cat([self.X, X.detach()]), torch.cat([self.noise, noise.detach()])
        after.n = self.n + len(X)
        after.block_size = min(self._wanted_block_size, after.n)
        kept = after.n**2 * torch.finfo(self.row_dtype).bits // 8 <= self._most_bytes
        after._K = after._evaluated(self._K) if kept else None
        return after

    def rows(self, start: int, n_rows: int) -> Tensor:
        """Consecutive rows of K.

        Args:
            start: The first.
            n_rows: How many.

        Returns:
            `n_rows x n` of `row_dtype`; not to be written to.
        """
        if self._K is not None:
            return self._K[start : start + n_rows]
        return torch.cat(list(self._columns(self.X[start : start + n_rows], 0)), 1)

    def block(self, start: Tensor) -> Tensor:
        """The rows of a block that is chosen on the device.

        Args:
            start: Its first row, a scalar of integers.

        Returns:
            `B x n`: a view on a CPU, where reading the number costs nothing, and elsewhere a copy, which spares the
            device a synchronisation.
        """
        if start.device.type == "cpu":
            return self.rows(int(start), self.block_size)
        rows = start + torch.arange(self.block_size, device=start.device)
        if self._K is not None:
            return self._K.index_select(0, rows)
        return torch.cat(list(self._columns(self.X.index_select(0, rows), 0)), 1)

    def row(self, index: Tensor) -> Tensor:
        """One row of K in the precision of the points, `n`.

        Args:
            index: Which, a scalar of integers.

        Returns:
            The covariances of its point with all.
        """
        with torch.no_grad():
            return covariance(self.kernel, self.X.index_select(0, index.reshape(1)), self.X)[0]

    def diagonal_block(self, start: int, n_rows: int) -> Tensor:
        """Covariances of consecutive points with one another.

        Args:
            start: The first.
            n_rows: How many.

        Returns:
            `n_rows x n_rows` of `row_dtype`; not to be written to.
        """
        run = slice(start, start + n_rows)
        if self._K is not None:
            return self._K[run, run]
        with torch.no_grad():
            return covariance(self.kernel, self.X[run], self.X[run], self.row_dtype)

    def diagonal(self) -> Tensor:
        """Variances of the points, `n`."""
        with torch.no_grad():
            return self.kernel(self.X, diag=True)

    def product(self, V: Tensor) -> Tensor:
        """A times vectors; one pass.

        Args:
            V: `n x s`, in the order of the rows inside.

        Returns:
            `n x s`.
        """
        low = V.to(self.row_dtype)
        if self._K is not None:
            return (self._K @ low).to(V.dtype) + self.noise[:, None] * V
        blocks = [self.rows(start, min(self.block_size, self.n - start)) @ low for start in self.firsts()]
        return torch.cat(blocks).to(V.dtype) + self.noise[:, None] * V

    def firsts(self) -> range:
        """First rows of consecutive, disjoint blocks; the last may be shorter than B."""
        return range(0, self.n, self.block_size)

    def _columns(self, points: Tensor, first: int) -> Iterator[Tensor]:
        """Covariances of some points with all from the first on, some columns at a time."""
        width = max(_CHUNK // len(points), 1)
        with torch.no_grad():
            for left in range(first, self.n, width):
                yield covariance(self.kernel, points, self.X[left : left + width], self.row_dtype)

    def _evaluated(self, known: Tensor | None) -> Tensor:
        """The whole of K; `known` is its upper left corner."""
        K = torch.empty(self.n, self.n, dtype=self.row_dtype, device=self.X.device)
        done = 0 if known is None else len(known)
        if known is not None:
            K[:done, :done] = known
        for top in range(done, self.n, self.block_size):
            points = self.X[top : top + self.block_size]
            left = 0 if known is not None else top
            for values in self._columns(points, left):
                K[top : top + len(points), left : left + values.shape[1]] = values
                K[left : left + values.shape[1], top : top + len(points)] = values.mT
                left += values.shape[1]
        return K


@dataclass(frozen=True)
class Solution:
    """What a solver found, in the order in which the points were given."""

    x: Tensor
    """`n x s`."""
    residual: Tensor
    """`b - A x` as the solver knows it, `n x s`; off by the rounding of `row_dtype`."""
    history: tuple[float, ...]
    """Largest norm of a column's residual over that of its right-hand side at each check."""
    passes: float
    """Passes used, those of preparations included."""
    converged: bool
    """Whether the last of the history is within the tolerance."""


@dataclass
class Equations:
    """Right-hand sides of unit norm in the order of the rows inside: where every solver starts from."""

    system: KernelSystem
    x: Tensor
    """`n x s`."""
    residual: Tensor
    """`n x s`."""
    passes: float
    _norms: Tensor
    _history: list[float]

    @classmethod
    def of(cls, system: KernelSystem, right: Tensor, start: Tensor | None) -> "Equations":
        """Check the right-hand sides and evaluate the residual of the start.

        Args:
            system: Its A.
            right: `n x s`.
            start: `n x s`, None for zeros; another costs one pass.

        Returns:
            The equations at the start.

        Raises:
            InvalidDataError: If a shape does not fit or a value is not finite.
        """
        if right.dim() != 2 or len(right) != system.n:
            raise InvalidDataError(f"right: expected `n x s` with n={system.n}, got {tuple(right.shape)}.")
        if start is not None and start.shape != right.shape:
            raise InvalidDataError(f"start: expected {tuple(right.shape)}, as right, got {tuple(start.shape)}.")
        if not bool(torch.isfinite(right).all()):
            raise InvalidDataError("right: expected finite values, got some that are nan or infinite.")
        norms = right.norm(dim=0)
        norms = torch.where(norms > 0, norms, torch.ones_like(norms))
        scaled = (right / norms)[system.order]
        if start is None:
            return cls(system, torch.zeros_like(scaled), scaled.clone(), 0.0, norms, [])
        x = (start / norms)[system.order]
        return cls(system, x, scaled - system.product(x), 1.0, norms, [])

    def solved(self, tolerance: float) -> bool:
        """Note the largest relative residual: the one look at the device in a pass.

        Args:
            tolerance: What it is held against.

        Returns:
            Whether it is within.
        """
        return self.noted(self.residual.norm(dim=0), tolerance)

    def noted(self, norms: Tensor, tolerance: float) -> bool:
        """As `solved`, for norms of residuals that are known otherwise.

        Args:
            norms: `s`.
            tolerance: What the largest is held against.

        Returns:
            Whether it is within.
        """
        self._history.append(float(norms.max()))
        return self._history[-1] <= tolerance

    def solution(self, tolerance: float) -> Solution:
        """In the order and the units of what was given.

        Args:
            tolerance: What the last of the history is held against.

        Returns:
            What there is.
        """
        back = self.system.inverse_order
        return Solution(
            self.x[back] * self._norms,
            self.residual[back] * self._norms,
            tuple(self._history),
            self.passes,
            self._history[-1] <= tolerance,
        )
