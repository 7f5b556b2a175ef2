"""Least squares without normal equations, which would lose half of the digits.

Alphabet. As in `gp.pde.equations`; b: right-hand sides, one tensor a block; G: `J' J`.
"""

from typing import Final

import torch
from torch import Tensor

from gp.pde.equations import Equations

_CUT: Final = 1e-15
"""Singular values of J that count, relative to the largest: about the rounding of double precision."""
_SHIFT: Final = 1e-14
"""Shift of the preconditioner's diagonal, relative to its mean: the least that lets a Cholesky factorisation pass."""
_ITERATIONS: Final = 40
_ENOUGH: Final = 1e-15
"""Conjugate gradients stop when the gradient has fallen by this factor: rounding allows no more."""


def solve_dense(J: Tensor, b: Tensor) -> Tensor:
    """The shortest z of least `|J z - b|`, directions of singular values below rounding left out.

    Args:
        J: `e x r`.
        b: `e`.

    Returns:
        `r`.
    """
    if J.device.type == "cpu":
        return torch.linalg.lstsq(J, b[:, None], rcond=_CUT, driver="gelsd").solution[:, 0]
    # CUDA knows only a driver for matrices of full rank
    U, S, Vh = torch.linalg.svd(J, full_matrices=False)
    inverse = torch.where(S > _CUT * S[0], 1.0 / S, torch.zeros_like(S))
    return Vh.mT @ (inverse * (U.mT @ b))


class Preconditioner:
    """A Cholesky factor of the normal matrix, which steers the iteration below and never decides the digits."""

    def __init__(self, G: Tensor) -> None:
        """Factor the normal matrix.

        Args:
            G: `J' J`, symmetric; changed in place.
        """
        mean = G.diagonal().mean()
        shift = _SHIFT
        G.diagonal().add_(shift * mean)
        factor, info = torch.linalg.cholesky_ex(G)
        while bool(info):  # rounding may exceed the shift
            G.diagonal().add_(9.0 * shift * mean)
            shift *= 10.0
            factor, info = torch.linalg.cholesky_ex(G)
        self._L = factor

    def half(self, z: Tensor) -> Tensor:
        """`L^-1 z`."""
        return torch.linalg.solve_triangular(self._L, z[:, None], upper=False)[:, 0]

    def half_adjoint(self, z: Tensor) -> Tensor:
        """`L^-T z`."""
        return torch.linalg.solve_triangular(self._L.mT, z[:, None], upper=True)[:, 0]


def solve_conjugate(equations: Equations, slope: Tensor, b: list[Tensor], preconditioner: Preconditioner) -> Tensor:
    """Z of least `|J z - b|` by preconditioned conjugate gradients on the least squares problem itself.

    Args:
        equations: They know J.
        slope: Of the reaction, on the grid.
        b: Right-hand sides.
        preconditioner: Of `J' J`, at this slope or a similar one.

    Returns:
        Coefficients.

    Reference: Björck, "Numerical Methods for Least Squares Problems", section 7.4.
    """
    left = b
    gradient = equations.adjoint(left, slope)
    shape = gradient.shape
    Z = torch.zeros_like(gradient)
    s = preconditioner.half(gradient.flatten())
    direction, power = s, s @ s
    enough = _ENOUGH**2 * power
    for _ in range(_ITERATIONS):
        if not bool(power > enough):
            break
        step = preconditioner.half_adjoint(direction).reshape(shape)
        image = equations.forward(step, slope)
        length = power / sum(part.square().sum() for part in image)
        Z = Z + length * step
        left = [part - length * moved for part, moved in zip(left, image, strict=True)]
        s = preconditioner.half(equations.adjoint(left, slope).flatten())
        before, power = power, s @ s
        direction = s + (power / before) * direction
    return Z
