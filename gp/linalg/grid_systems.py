"""Linear systems with the covariance of a grid's observed cells: which method solves them, and the evidence with it.

Alphabet as in `gp.linalg.kronecker`; o: the observed cells, n of them. S: the inverse of B, which is the covariance of
the missing cells' values given the observed ones. A field on the grid that is zero at the missing cells stands for a
vector of the observed ones.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Final

import torch
from torch import Tensor
from typing_extensions import override

from gp.linalg.cholesky import cholesky_and_jitter
from gp.linalg.conjugate_gradients import conjugate_gradients
from gp.linalg.kronecker import (
    KroneckerEigen,
    dense_evidence,
    grid_evidence,
    missing_block,
    mode_products,
    observed_covariance,
)

FEW_MISSING: Final = 2000
"""Up to so many missing cells the block B is factored."""
FEW_NUMBERS: Final = 30_000_000
"""As long as `M N`, the numbers that the exact gradient needs for that, is no larger: 240 MB."""
FEW_OBSERVED: Final = 4096
"""Up to so many observed cells their own covariance is factored, where B cannot be."""
_CHUNK: Final = 4_000_000
"""Numbers held at once while variances are computed: 32 MB."""
N_PROBES: Final = 8
"""Random vectors that estimate a trace; the exact part of the trace makes up most of it."""


class GridSystem(ABC):
    """`A_oo x = r` for fields on a grid, A being the covariance of the cells plus their noise."""

    exact: bool = True
    """Whether `evidence` is its value; else only its gradient is one, and unbiased."""
    jitter: float = 0.0
    """Diagonal shift that a factorisation needed, relative to the mean diagonal."""

    def __init__(self, covariances: Sequence[Tensor], noise: Tensor, observed: Tensor) -> None:
        """Factor what is needed for solving.

        Args:
            covariances: K_i, `n_i x n_i`; no gradient flows into a solution.
            noise: Noise variances, a scalar or `n_1 x ... x n_m`.
            observed: Mask, `n_1 x ... x n_m`.
        """
        self.covariances = [K.detach().double() for K in covariances]
        self.noise, self.observed = noise.detach().double(), observed

    @cached_property
    def factors(self) -> KroneckerEigen:
        """Eigenvectors and eigenvalues of the axes."""
        return KroneckerEigen.of(self.covariances)

    @abstractmethod
    def solve(self, R: Tensor) -> Tensor:
        """Solutions for fields.

        Args:
            R: `s x n_1 x ... x n_m`, float64; what it holds at missing cells is ignored.

        Returns:
            The same shape, zero at missing cells.
        """

    def explained(self, crosses: Sequence[Tensor]) -> Tensor:
        """What the observations explain of the variance at test cells, `c' A_oo^-1 c` for each.

        Args:
            crosses: Covariances of test points with each axis, `p_i x n_i`, float64; the test cells are their grid.

        Returns:
            `p_1 x ... x p_m`, differentiable with respect to the covariances.
        """
        others = [len(C) for C in crosses[1:]]
        chunk = max(1, _CHUNK // (math.prod(others) * self.observed.numel()))
        parts = []
        for first in crosses[0].split(chunk):
            fields = cross_fields([first, *crosses[1:]])
            explained = (fields * self.solve(fields.detach())).flatten(1).sum(1)
            # c' A^-1 c has the derivative 2 A^-1 c, of which the product with a constant solution shows half
            parts.append((2.0 * explained - explained.detach()).reshape(len(first), *others))
        return torch.cat(parts)

    def jointly_explained(self, crosses: Sequence[Tensor], kept: Tensor) -> Tensor:
        """What the observations explain of covariances among test cells, `c' A_oo^-1 c*` for each pair.

        Args:
            crosses: As in `explained`.
            kept: Of the cells of all axes but the first, the last axis the fastest, those that are wanted, `t`.

        Returns:
            `p_1 t x p_1 t`, differentiable with respect to the covariances.
        """
        fields = cross_fields(crosses).reshape(len(crosses[0]), -1, self.observed.numel())[:, kept].flatten(0, 1)
        solved = self.solve(fields.detach().reshape(-1, *self.observed.shape)).reshape(fields.shape)
        product = fields @ solved.mT
        # as in `explained`: the solutions are constants, and show half of the derivative from either side
        return product + product.mT - product.detach()

    @staticmethod
    @abstractmethod
    def evidence(covariances: Sequence[Tensor], noise: Tensor, Y: Tensor, observed: Tensor, seed: int) -> Tensor:
        """Log evidence, or a scalar with an unbiased estimate of its gradient where `exact` is False.

        Args:
            covariances: K_i, with a graph.
            noise: With a graph.
            Y: Values, `n_1 x ... x n_m`, zero at missing cells.
            observed: Mask of the same shape.
            seed: Of the probes, where there are any.

        Returns:
            A scalar.
        """


class FullGrid(GridSystem):
    """No cell is missing, one noise variance: two transforms."""

    @override
    def __init__(self, covariances: Sequence[Tensor], noise: Tensor, observed: Tensor) -> None:
        super().__init__(covariances, noise, observed)
        self.inverse = (self.factors.eigenvalues() + self.noise).reciprocal()

    @override
    def solve(self, R: Tensor) -> Tensor:
        return self.factors.out_of(self.factors.into(R) * self.inverse)

    @override
    def explained(self, crosses: Sequence[Tensor]) -> Tensor:
        squares = [(C @ Q).square() for C, Q in zip(crosses, self.factors.vectors, strict=True)]
        return mode_products(squares, self.inverse)

    @staticmethod
    @override
    def evidence(covariances: Sequence[Tensor], noise: Tensor, Y: Tensor, observed: Tensor, seed: int) -> Tensor:
        return grid_evidence(covariances, noise, Y, (~observed).nonzero())


class _Holes(FullGrid):
    """Some cells are missing: what the full grid's solution has at them is taken out by a system with B."""

    @override
    def __init__(self, covariances: Sequence[Tensor], noise: Tensor, observed: Tensor) -> None:
        super().__init__(covariances, noise, observed)
        self.missing = (~observed).nonzero()
        self.places = (~observed).reshape(-1).nonzero()[:, 0]

    def held(self, R: Tensor) -> Tensor:
        """A field's values at the missing cells, `s x M`."""
        return R.reshape(len(R), -1)[:, self.places]

    def spread(self, values: Tensor) -> Tensor:
        """The field with values `s x M` at the missing cells and zero elsewhere."""
        field = values.new_zeros(len(values), self.observed.numel())
        field[:, self.places] = values
        return field.reshape(len(values), *self.observed.shape)

    @abstractmethod
    def solve_missing(self, values: Tensor) -> Tensor:
        """`B^-1 values` for `s x M`."""

    @override
    def solve(self, R: Tensor) -> Tensor:
        shown = torch.where(self.observed, R, 0.0)
        c = self.solve_missing(self.held(super().solve(shown)))
        return torch.where(self.observed, super().solve(shown - self.spread(c)), 0.0)


class FewHoles(_Holes):
    """B is factored."""

    @override
    def __init__(self, covariances: Sequence[Tensor], noise: Tensor, observed: Tensor) -> None:
        super().__init__(covariances, noise, observed)
        over_D, B = missing_block(self.factors, self.inverse, self.missing)
        self.L, self.jitter = cholesky_and_jitter(B, "the covariance of the missing cells, inverted,")
        V = torch.linalg.solve_triangular(self.L, over_D, upper=False)
        self.V = V.reshape(len(self.missing), *self.observed.shape)

    @override
    def solve_missing(self, values: Tensor) -> Tensor:
        return torch.cholesky_solve(values.mT, self.L).mT

    @override
    def explained(self, crosses: Sequence[Tensor]) -> Tensor:
        projected = [C @ Q for C, Q in zip(crosses, self.factors.vectors, strict=True)]
        chunk = max(1, _CHUNK // (len(self.V) * math.prod(len(C) for C in crosses[1:])))
        # what the zeros at the missing cells would explain, had they been observed
        parts = [mode_products([first, *projected[1:]], self.V).square().sum(0) for first in projected[0].split(chunk)]
        return super().explained(crosses) - torch.cat(parts)


class ManyHoles(_Holes):
    """Systems with B by conjugate gradients.

    S has no eigenvalue below the noise and few far above it, because a missing cell is mostly known from its
    neighbours: B is far better conditioned than A_oo, and a product with it costs two transforms.
    """

    exact = False

    @override
    def solve_missing(self, values: Tensor) -> Tensor:
        return conjugate_gradients(lambda v: self.held(FullGrid.solve(self, self.spread(v))), values)

    @override
    def explained(self, crosses: Sequence[Tensor]) -> Tensor:
        return GridSystem.explained(self, crosses)  # by solutions: the full grid's squares know nothing of the holes

    @staticmethod
    @override
    def evidence(covariances: Sequence[Tensor], noise: Tensor, Y: Tensor, observed: Tensor, seed: int) -> Tensor:
        # tr(A_oo^-1 dA) = tr(A^-1 dA) - tr(B^-1 (A^-1 dA A^-1)_mm): the first exactly, the second by probes
        with torch.no_grad():
            system = ManyHoles(covariances, noise, observed)
            factors, inverse = system.factors, system.inverse
            probes = _signs((N_PROBES, len(system.missing)), seed, like=inverse)
            right = torch.cat([system.held(FullGrid.solve(system, Y.double()[None])), probes])
            solved = system.solve_missing(right)
            fields = factors.into(torch.cat([system.spread(solved), system.spread(probes)])) * inverse
            U, V = fields[1 : 1 + N_PROBES] / N_PROBES, fields[1 + N_PROBES :]
            weights = factors.into(Y.double()) * inverse - fields[0]
            gradients = []
            for axis in range(len(covariances)):
                spread = factors.eigenvalues(leaving_out=axis) * inverse
                others = [other for other in range(len(covariances)) if other != axis]
                probed = factors.pair(U, V, axis)
                H = factors.pair(weights[None], weights[None], axis) + 0.5 * (probed + probed.mT)
                H.diagonal().sub_(spread.sum(others) if others else spread)
                gradients.append(0.5 * factors.back(axis, H))
            trace = inverse.sum() - (U * V).sum()
            noise_gradient = 0.5 * (weights.square().sum() - trace)
        return _with_gradients(covariances, gradients) + noise * noise_gradient


class FewCells(GridSystem):
    """The covariance of the observed cells is factored: any noise, any holes."""

    @override
    def __init__(self, covariances: Sequence[Tensor], noise: Tensor, observed: Tensor) -> None:
        super().__init__(covariances, noise, observed)
        self.cells = observed.nonzero()
        variances = self.noise if self.noise.dim() == 0 else self.noise[observed]
        A = observed_covariance(self.covariances, variances, self.cells)
        self.L, self.jitter = cholesky_and_jitter(A, "the covariance of the observed cells")

    @override
    def solve(self, R: Tensor) -> Tensor:
        solution = torch.zeros_like(R)
        solution[:, self.observed] = torch.cholesky_solve(R[:, self.observed].mT, self.L).mT
        return solution

    @override
    def explained(self, crosses: Sequence[Tensor]) -> Tensor:
        others = [len(C) for C in crosses[1:]]
        chunk = max(1, _CHUNK // (math.prod(others) * len(self.L)))
        seen = [C[:, places] for C, places in zip(crosses, self.cells.unbind(-1), strict=True)]
        parts = []
        for first in seen[0].split(chunk):
            rows = first
            for C in seen[1:]:
                rows = rows[..., None, :] * C
            half = torch.linalg.solve_triangular(self.L, rows.reshape(-1, len(self.L)).mT, upper=False)
            parts.append(half.square().sum(0).reshape(len(first), *others))
        return torch.cat(parts)

    @staticmethod
    @override
    def evidence(covariances: Sequence[Tensor], noise: Tensor, Y: Tensor, observed: Tensor, seed: int) -> Tensor:
        variances = noise if noise.dim() == 0 else noise[observed]
        return dense_evidence(covariances, variances, Y[observed], observed.nonzero())


class UnevenNoise(GridSystem):
    """Each cell has its own noise: conjugate gradients, led by the full grid with the noise's geometric mean."""

    exact = False

    @override
    def __init__(self, covariances: Sequence[Tensor], noise: Tensor, observed: Tensor) -> None:
        super().__init__(covariances, noise, observed)
        self.leader = FullGrid(covariances, self.noise[observed].log().mean().exp(), observed)

    @override
    def solve(self, R: Tensor) -> Tensor:
        shape = R.shape
        shown = torch.where(self.observed, R, 0.0).reshape(len(R), -1)

        def product(x: Tensor) -> Tensor:
            field = x.reshape(shape)
            # the variance of a missing cell is not asked for, and may be nan
            moved = mode_products(self.covariances, field) + torch.where(self.observed, self.noise, 0.0) * field
            return torch.where(self.observed, moved, 0.0).reshape(len(x), -1)

        def precondition(x: Tensor) -> Tensor:
            return torch.where(self.observed, self.leader.solve(x.reshape(shape)), 0.0).reshape(len(x), -1)

        return conjugate_gradients(product, shown, precondition=precondition).reshape(shape)

    @staticmethod
    @override
    def evidence(covariances: Sequence[Tensor], noise: Tensor, Y: Tensor, observed: Tensor, seed: int) -> Tensor:
        with torch.no_grad():
            system = UnevenNoise(covariances, noise, observed)
            probes = torch.where(observed, _signs((N_PROBES, *observed.shape), seed, like=system.noise), 0.0)
            solved = system.solve(torch.cat([Y.double()[None], probes]))
            factors = system.leader.factors
            weights, solved, probes = factors.into(solved[:1]), factors.into(solved[1:]), factors.into(probes)
            gradients = []
            for axis in range(len(covariances)):
                probed = factors.pair(solved / N_PROBES, probes, axis)
                H = factors.pair(weights, weights, axis) - 0.5 * (probed + probed.mT)
                gradients.append(0.5 * factors.back(axis, H))
        return _with_gradients(covariances, gradients)


def kind_of_system(noise: Tensor, observed: Tensor) -> type[GridSystem]:
    """The cheapest method that is exact, or the iterative one where none is affordable.

    Args:
        noise: Noise variances, a scalar or one a cell.
        observed: Mask of the grid.

    Returns:
        A subclass of `GridSystem`.
    """
    n_missing, n_observed = int((~observed).sum()), int(observed.sum())
    if noise.dim():
        return FewCells if n_observed <= FEW_OBSERVED else UnevenNoise
    if n_missing == 0:
        return FullGrid
    if n_missing <= FEW_MISSING and n_missing * observed.numel() <= FEW_NUMBERS:
        return FewHoles
    return FewCells if n_observed <= FEW_OBSERVED else ManyHoles


def cross_fields(crosses: Sequence[Tensor]) -> Tensor:
    """Covariances of every test cell with every cell of the grid.

    Args:
        crosses: `p_i x n_i` for each axis.

    Returns:
        `P x n_1 x ... x n_m`, P being the product of the p_i.
    """
    product = crosses[0]
    for axis, C in enumerate(crosses[1:], start=1):
        product = product[:, None, ..., None] * C.reshape(1, len(C), *[1] * axis, C.shape[-1])
        product = product.flatten(0, 1)
    return product


def _signs(shape: tuple[int, ...], seed: int, like: Tensor) -> Tensor:
    """Plus and minus one at random: of all probes those whose estimate of a trace varies least."""
    generator = torch.Generator(like.device).manual_seed(seed)
    return 2.0 * torch.randint(2, shape, generator=generator, device=like.device).to(like) - 1.0


def _with_gradients(covariances: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """A scalar whose derivative with respect to each covariance is given."""
    terms = [(K * G.to(K)).sum() for K, G in zip(covariances, gradients, strict=True)]
    return torch.stack(terms).sum()
