"""Relaxation: SOR, and conjugate gradients with the symmetric SOR preconditioner; one parameter, omega.

Alphabet. A = D + L + L': symmetric positive definite, `n x n`, D diagonal, L strictly lower. b: right-hand side, `n`.
omega: relaxation, in (0, 2). M: the matrix of one SOR sweep, `D / omega + L`. P: the preconditioner.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, diags_array, tril
from scipy.sparse.linalg import LinearOperator, SuperLU, cg, splu

import bayesopt as bo
from bayesopt.errors import InvalidInputError

FloatArray = NDArray[np.float64]

SPACE = bo.Space({"omega": bo.Float(1.0, 1.95)})
"""What is tuned."""
DEFAULT = {"omega": 1.0}
"""Gauss-Seidel."""


def ssor_cg(
    A: csc_array,
    b: FloatArray,
    omega: float,
    *,
    x0: FloatArray | None = None,
    rtol: float = 1e-8,
    maxiter: int = 10_000,
) -> tuple[FloatArray, int, bool]:
    """Conjugate gradients with `P = (D + omega L) D^-1 (D + omega L)' / (omega (2 - omega))`.

    Args:
        A: Symmetric positive definite, sparse, `n x n`.
        b: Right-hand side, `n`.
        omega: Relaxation, in (0, 2).
        x0: Where to start, `n`; None for 0.
        rtol: Residual norm at which it ends, relative to that of b.
        maxiter: Iterations, at most.

    Returns:
        The solution, the iterations, and whether it converged.

    Raises:
        InvalidInputError: If omega is not between 0 and 2.

    Reference:
        Young 1971, "Iterative Solution of Large Linear Systems"; Axelsson 1996, "Iterative Solution Methods".

    Example:
        >>> x, iterations, _ = ssor_cg(csc_array(np.diag([2.0, 4.0])), np.array([2.0, 8.0]), omega=1.0)
        >>> x.round(6), iterations
        (array([1., 2.]), 1)
    """
    factor, D = _sweep(A, omega)
    scale = (2.0 - omega) / omega

    def precondition(r: FloatArray) -> FloatArray:
        solved: FloatArray = scale * factor.solve(D * factor.solve(r), trans="T")
        return solved

    iterations = 0

    def count(_: FloatArray) -> None:
        nonlocal iterations
        iterations += 1

    x, info = cg(
        A, b, x0, rtol=rtol, maxiter=maxiter, M=LinearOperator(A.shape, precondition, dtype=float), callback=count
    )
    return x, iterations, info == 0


def sor(
    A: csc_array,
    b: FloatArray,
    omega: float,
    *,
    x0: FloatArray | None = None,
    rtol: float = 1e-8,
    maxiter: int = 10_000,
) -> tuple[FloatArray, int, bool]:
    """Successive over-relaxation, `x <- x + M^-1 (b - A x)`.

    Args:
        A: As in `ssor_cg`.
        b: As there.
        omega: As there.
        x0: As there.
        rtol: As there.
        maxiter: Sweeps, at most.

    Returns:
        The solution, the sweeps, and whether it converged.

    Raises:
        InvalidInputError: If omega is not between 0 and 2.

    Reference:
        Young 1971, "Iterative Solution of Large Linear Systems".

    Example:
        >>> sor(csc_array(np.diag([2.0, 4.0])), np.array([2.0, 8.0]), omega=1.0)
        (array([1., 2.]), 1, True)
    """
    factor, _ = _sweep(A, omega)
    x = np.zeros(len(b)) if x0 is None else x0.copy()
    residual = b - A @ x
    enough = rtol * float(np.linalg.norm(b))
    for sweeps in range(maxiter + 1):
        if np.linalg.norm(residual) <= enough:
            return x, sweeps, True
        x += factor.solve(residual)
        residual = b - A @ x
    return x, maxiter, False


def best_omega(jacobi_radius: float) -> float:
    """Young's best omega of SOR for a consistently ordered A: `1 + (beta / (1 + sqrt(1 - beta²)))²`.

    Args:
        jacobi_radius: beta, the spectral radius of `I - D^-1 A`, in [0, 1).

    Returns:
        The omega of least spectral radius.

    Example:
        >>> best_omega(0.8)
        1.25
    """
    return float(1.0 + (jacobi_radius / (1.0 + np.sqrt(1.0 - jacobi_radius**2))) ** 2)


def _sweep(A: csc_array, omega: float) -> tuple[SuperLU, FloatArray]:
    """Factor of M in its own order, where it is its own factor, and the diagonal of `omega M`, scaled back."""
    if not 0 < omega < 2:
        raise InvalidInputError(f"omega: expected a number between 0 and 2, both excluded, got {omega!r}.")
    D = A.diagonal()
    M = csc_array(diags_array(D / omega) + tril(A, -1))
    return splu(M, permc_spec="NATURAL", diag_pivot_thresh=0.0, options={"SymmetricMode": True}), D / omega
