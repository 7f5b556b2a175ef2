"""Cholesky factors of matrices that are positive definite in exact arithmetic but perhaps not in floats.

Alphabet. A: symmetric, `... x n x n`. jitter: diagonal shift relative to the mean diagonal entry.
"""

from typing import Final

import torch
from torch import Tensor

from gp.errors import NotPositiveDefiniteError

JITTER: Final = {torch.float32: 1e-4, torch.float64: 1e-8}
"""First diagonal shift tried, relative to the mean diagonal: about the square root of machine precision."""
JITTER_STEPS: Final = 5
"""How many shifts are tried, each ten times the last: up to 1e-4 in double precision."""


def safe_cholesky(A: Tensor, name: str = "A") -> Tensor:
    """Lower Cholesky factor of `A`, shifted on the diagonal only where that is needed.

    No shift is made to a matrix that can be factored as it is. In a batch, only the members that fail are shifted.
    Autograd runs through the factor.

    Args:
        A: Symmetric matrices, `... x n x n`, float32 or float64; only the lower triangle is read.
        name: What the matrix is, for the message.

    Returns:
        `L` with `L @ L.mT = A + shift I`, `... x n x n`.

    Raises:
        NotPositiveDefiniteError: If an entry is not finite, or the largest shift is not enough.

    Example:
        >>> safe_cholesky(torch.tensor([[4.0, 2.0], [2.0, 5.0]]))
        tensor([[2., 0.],
                [1., 2.]])
    """
    return cholesky_and_jitter(A, name)[0]


def cholesky_and_jitter(A: Tensor, name: str = "A") -> tuple[Tensor, float]:
    """The factor of `safe_cholesky` with the shift that it needed.

    Args:
        A: As there.
        name: As there.

    Returns:
        The factor, and the shift relative to the mean diagonal; 0.0 where none was made.

    Raises:
        NotPositiveDefiniteError: As there.
    """
    L, info = torch.linalg.cholesky_ex(A)
    failed = info != 0
    if not failed.any():
        return L, 0.0
    if not torch.isfinite(A).all():
        raise NotPositiveDefiniteError(
            f"{name} {_size(A)} holds values that are not finite. Likely causes: nan or infinity in the inputs, or a "
            "lengthscale or noise variance that has overflowed."
        )
    mean_diagonal = A.diagonal(dim1=-2, dim2=-1).mean(-1).abs()
    eye = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    jitter = JITTER[A.dtype]
    for _ in range(JITTER_STEPS):
        shift = torch.where(failed, jitter * mean_diagonal, torch.zeros_like(mean_diagonal))
        shifted, info = torch.linalg.cholesky_ex(A + shift[..., None, None] * eye)
        if not (info != 0).any():
            return shifted, jitter
        jitter *= 10.0
    raise NotPositiveDefiniteError(
        f"{name} {_size(A)} is not positive definite at jitter {jitter / 10.0:g}. Likely causes: (a) duplicate rows "
        "with almost no noise: merge them or raise the noise; (b) a lengthscale far above the data's range: check its "
        "prior; (c) float32 data: pass float64."
    )


def _size(A: Tensor) -> str:
    return "(" + " x ".join(str(size) for size in A.shape) + ")"
