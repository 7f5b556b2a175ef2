"""Smoothed-aggregation algebraic multigrid by PyAMG (the extra `pyamg`).

Alphabet. A: sparse, symmetric positive definite, `n x n`. b: right-hand side, `n`. Work: multiplications.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import LinearOperator, cg

import bayesopt as bo

FloatArray = NDArray[np.float64]

SPACE = bo.Space({
    "theta": bo.Float(0.0, 0.5),
    "smoother": bo.Choice(("jacobi", "gauss_seidel")),
    "sweeps": bo.Int(1, 4),
    "cycle": bo.Choice(("V", "W", "F")),
    "max_coarse": bo.Int(5, 200, log=True),
})
"""What is tuned: strength of connection, smoother, its sweeps on either side, cycle, size of the coarsest level."""
DEFAULT: dict[str, Any] = {"theta": 0.0, "smoother": "gauss_seidel", "sweeps": 1, "cycle": "V", "max_coarse": 10}
"""PyAMG's own defaults."""
SETUP_WORK = 10.0
"""Multiplications that an entry of the hierarchy costs to make, as a Galerkin product of three matrices."""


def multigrid_cg(
    A: csr_matrix,
    b: FloatArray,
    *,
    theta: float,
    smoother: str,
    sweeps: int,
    cycle: str,
    max_coarse: int,
    rtol: float = 1e-8,
    maxiter: int = 200,
) -> tuple[FloatArray, float, str]:
    """Conjugate gradients with a multigrid cycle as preconditioner.

    Args:
        A: Symmetric positive definite, sparse, `n x n`.
        b: Right-hand side, `n`.
        theta: Strength below which a connection does not aggregate.
        smoother: `"jacobi"` or `"gauss_seidel"`.
        sweeps: Of the smoother, before and after each coarse correction.
        cycle: `"V"`, `"W"` or `"F"`.
        max_coarse: Unknowns up to which a level is solved directly.
        rtol: Residual norm at which it ends, relative to that of b.
        maxiter: Iterations, at most.

    Returns:
        The solution; the work, `SETUP_WORK c nnz(A) + k (1 + w) nnz(A)` for k iterations, operator complexity c and w
        the sweeps times PyAMG's cycle complexity; and a status for `SolverTuner.tell`.

    Raises:
        ImportError: If PyAMG is not installed.

    Reference:
        Vaněk, Mandel and Brezina 1996, "Algebraic multigrid by smoothed aggregation for second and fourth order
        elliptic problems"; Bell, Olson and Schroder 2022, "PyAMG: Algebraic Multigrid Solvers in Python".
    """
    try:
        from pyamg import smoothed_aggregation_solver
    except ImportError as error:
        raise ImportError("multigrid_cg needs PyAMG: pip install 'priorwise[pyamg]'.") from error
    smooth = (
        ("jacobi", {"omega": 4.0 / 3.0, "iterations": sweeps, "withrho": True})
        if smoother == "jacobi"
        else ("gauss_seidel", {"sweep": "symmetric", "iterations": sweeps})
    )
    hierarchy = smoothed_aggregation_solver(
        A, strength=("symmetric", {"theta": theta}), presmoother=smooth, postsmoother=smooth, max_coarse=max_coarse
    )
    passes = sweeps * (1 if smoother == "jacobi" else 2)  # a symmetric sweep goes through the matrix twice
    preconditioner = hierarchy.aspreconditioner(cycle=cycle)
    iterations = 0

    def count(_: FloatArray) -> None:
        nonlocal iterations
        iterations += 1

    x, info = cg(
        A, b, rtol=rtol, maxiter=maxiter, M=LinearOperator(A.shape, preconditioner.matvec, dtype=float), callback=count
    )
    per_cycle = passes * hierarchy.cycle_complexity(cycle=cycle)
    work = A.nnz * (SETUP_WORK * hierarchy.operator_complexity() + iterations * (1.0 + per_cycle))
    status = "breakdown" if not np.isfinite(x).all() else "ok" if info == 0 else "maxiter"
    return x, float(work), status
