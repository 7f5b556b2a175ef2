"""Whole functions on and beside a grid: prior draws by factors of the axes, made posterior ones by Matheron's rule.

A factor of the covariance of all cells, or of all test points with them, is never formed: each axis has its own.

Alphabet. m: axes. n_i: size of axis i, N: cells. p_i: points of axis i at which functions are wanted; the first axis
may have a batch of them, `b x p_1`. R_i: factor of K_i, `n_i x n_i`. e_i: columns that the points of axis i need beyond
R_i, 0 where they are the axis' own. s: functions.

Reference: Wilson et al. 2020, "Efficiently Sampling Functions from Gaussian Process Posteriors"; Maddox et al. 2021,
"Bayesian Optimization with High-Dimensional Outputs", for the Kronecker form.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from botorch.sampling.pathwise.features.generators import gen_kernel_features
from gpytorch.kernels.kernel import Kernel
from torch import Tensor

from gp.errors import InvalidDataError
from gp.linalg.cholesky import safe_cholesky
from gp.linalg.grid_systems import GridSystem
from gp.linalg.kronecker import mode_products
from inference.seeding import seeded

_NEGLIGIBLE: Final = 1e-12
"""Eigenvalues below this share of an axis' largest are taken for rounding: nothing is divided by their root."""
_RESIDUAL_JITTER: Final = 1e-8
"""Added to the residual covariance of test points, relative to their variance: it is zero at the axis' own points."""


@dataclass(frozen=True)
class AxisFactor:
    """A factor of the joint covariance of an axis and of points beside it."""

    own: Tensor
    """R_i, `n_i x n_i`, whose square is K_i."""
    rows: Tensor
    """Rows for the points, `p_i x (n_i + e_i)`."""


def axis_factor(
    vectors: Tensor, values: Tensor, cross: Tensor | None = None, within: Tensor | None = None
) -> AxisFactor:
    """Factor an axis with its test points.

    Args:
        vectors: Eigenvectors of K_i.
        values: Its eigenvalues, none negative.
        cross: Covariances of the test points with the axis, `... x p_i x n_i`; None if they are the axis itself.
        within: Covariances among the test points, `... x p_i x p_i`; None likewise.

    Returns:
        The factor, `e_i` being `p_i`, or 0 without test points.
    """
    own = vectors * values.sqrt()
    if cross is None or within is None:
        return AxisFactor(own, own)
    kept = values > _NEGLIGIBLE * values.max()
    inverse_root = torch.where(kept, values, 1.0).rsqrt() * kept
    shared = cross @ (vectors * inverse_root)
    variance = within.diagonal(dim1=-2, dim2=-1)
    residual = within - shared @ shared.mT + torch.diag_embed(_RESIDUAL_JITTER * variance)
    rest = safe_cholesky(residual, "the covariance of the test points given the grid")
    return AxisFactor(own, torch.cat([shared, rest], -1))


def n_normals(factors: Sequence[AxisFactor]) -> int:
    """Standard normal numbers that one function takes: for the cells' factor, their noise, and the test points."""
    n_cells = math.prod(len(factor.own) for factor in factors)
    return math.prod(factor.rows.shape[-1] for factor in factors) + n_cells


def split_normals(factors: Sequence[AxisFactor], normals: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The parts of the normal numbers of a function.

    Args:
        factors: Of each axis.
        normals: `... x n_normals`.

    Returns:
        Those of the cells, `... x n_1 x ...`; of their noise, the same shape; and of everything that the test points
        need, `... x (n_1 + e_1) x ...`, which holds the first as its leading block.
    """
    sizes = [len(factor.own) for factor in factors]
    n_cells, lead = math.prod(sizes), normals.shape[:-1]
    cells, noise, rest = normals.split([n_cells, n_cells, normals.shape[-1] - 2 * n_cells], -1)
    cells = cells.reshape(*lead, *sizes)
    whole_sizes = [factor.rows.shape[-1] for factor in factors]
    in_cells = torch.zeros(whole_sizes, dtype=torch.bool, device=normals.device)
    in_cells[tuple(slice(size) for size in sizes)] = True
    whole = normals.new_empty(*lead, *whole_sizes)
    whole[..., in_cells] = cells.flatten(len(lead))
    whole[..., ~in_cells] = rest
    return cells, noise.reshape(cells.shape), whole


def update_weights(system: GridSystem, Y: Tensor, before: Tensor, normals: Tensor) -> Tensor:
    """Matheron's weights of functions: what their covariance with the cells is multiplied by to move them to the data.

    Args:
        system: Of the observed cells.
        Y: Values, `n_1 x ... x n_m`.
        before: The functions at the cells before the data, `... x n_1 x ... x n_m`.
        normals: Of their noise, the same shape.

    Returns:
        The same shape, zero at the missing cells.
    """
    noise = torch.where(system.observed, system.noise, 0.0)
    misfit = torch.where(system.observed, Y - before - noise.sqrt() * normals, 0.0)
    return system.solve(misfit.reshape(-1, *Y.shape)).reshape(misfit.shape)


@dataclass(frozen=True)
class GridPaths:
    """Functions drawn from a grid's posterior, to be evaluated anywhere along the first axis, again and again."""

    n_paths: int
    """How many, s."""
    _features: Callable[[Tensor], Tensor]
    _cross: Callable[[Tensor], Tensor]
    _others: Sequence[Tensor]
    _other_covariances: Sequence[Tensor]
    _normals: Tensor
    _weights: Tensor
    _restore: Callable[[Tensor], Tensor]

    def __call__(self, X: Tensor) -> Tensor:
        """The functions at points of the first axis, and at all cells of the others.

        Args:
            X: `... x q x d`; differentiable.

        Returns:
            `s x ... x q x m`, m being the cells of the other axes, in units of Y.
        """
        flat = X.reshape(-1, X.shape[-1])
        before = mode_products([self._features(flat).double(), *self._others], self._normals)
        moved = mode_products([self._cross(flat).double(), *self._other_covariances], self._weights)
        values = (before + moved).reshape(self.n_paths, *X.shape[:-1], -1)
        return self._restore(values.to(X))


def draw_grid_paths(
    kernel: Kernel,
    axis: Tensor,
    system: GridSystem,
    Y: Tensor,
    restore: Callable[[Tensor], Tensor],
    *,
    n_paths: int,
    n_features: int,
    generator: torch.Generator,
) -> GridPaths:
    """Draw functions whose prior part is a sum of random features along the first axis.

    Their mean is the posterior mean whatever the features; their covariance before the data is the kernel's up to
    about `1 / sqrt(n_features)`, exact along the other axes.

    Args:
        kernel: Of the first axis; one for which BoTorch knows random features.
        axis: Its points, `n_1 x d`.
        system: Of the observed cells.
        Y: Values, `n_1 x ... x n_m`, float64.
        restore: From values of Y to the units of the result.
        n_paths: How many, s.
        n_features: Random features of the first axis.
        generator: Draws them.

    Returns:
        The functions.

    Raises:
        InvalidDataError: If no features are known for the kernel.
    """
    seed = int(torch.randint(2**62, (1,), generator=generator, device=generator.device))
    try:
        with seeded(seed), torch.no_grad():
            feature_map = gen_kernel_features(kernel, num_inputs=axis.shape[-1], num_outputs=n_features)
    except NotImplementedError as error:
        raise InvalidDataError(
            f"kernels: no random features are known for {type(kernel).__name__}, the kernel of the first axis. Give a "
            "Matérn or RBF kernel, scaled or not, or draw from `model.posterior(X)`, which needs none."
        ) from error
    eigen = system.factors
    others = [Q * values.sqrt() for Q, values in zip(eigen.vectors[1:], eigen.values[1:], strict=True)]
    sizes = eigen.sizes

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=Y.dtype, device=Y.device)

    with torch.no_grad():
        normals = draw(n_paths, n_features, *sizes[1:])
        before = mode_products([feature_map(axis).double(), *others], normals)
        weights = update_weights(system, Y, before, draw(n_paths, *sizes))
    return GridPaths(
        n_paths=n_paths,
        _features=feature_map,
        _cross=lambda X: kernel(X, axis).to_dense(),
        _others=others,
        _other_covariances=system.covariances[1:],
        _normals=normals,
        _weights=weights,
        _restore=restore,
    )
