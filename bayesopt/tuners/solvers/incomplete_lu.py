"""Krylov solvers with an incomplete LU: `scipy.sparse.linalg.cg` and `gmres` with `spilu`.

Alphabet. A: sparse, `n x n`. b: right-hand side, `n`. Work: multiplications, so that a factorisation that is dear and
one that is cheap and weak are compared fairly and repeatably.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array
from scipy.sparse.linalg import LinearOperator, cg, gmres, spilu

import bayesopt as bo

FloatArray = NDArray[np.float64]

SPACE = bo.Space({
    "drop_tol": bo.Float(1e-6, 1e-1, log=True),
    "fill_factor": bo.Float(1.0, 50.0, log=True),
    "permc_spec": bo.Choice(("COLAMD", "MMD_AT_PLUS_A", "NATURAL")),
    "restart": bo.Int(10, 100, log=True),
})
"""What is tuned for `ilu_gmres`."""
CG_SPACE = bo.Space({
    "drop_tol": bo.Float(1e-6, 1e-1, log=True),
    "fill_factor": bo.Float(1.0, 50.0, log=True),
    "permc_spec": bo.Choice(("COLAMD", "MMD_AT_PLUS_A", "NATURAL")),
})
"""What is tuned for `ilu_cg`."""
DEFAULT: dict[str, Any] = {"drop_tol": 1e-4, "fill_factor": 10.0, "permc_spec": "COLAMD", "restart": 20}
"""SciPy's own defaults."""
SETUP_WORK = 10.0
"""Multiplications that an entry of L and U costs to make: measured as 5 to 20 on matrices of 1,000 to 10,000 rows."""


def ilu_gmres(
    A: csc_array,
    b: FloatArray,
    *,
    drop_tol: float,
    fill_factor: float,
    permc_spec: str,
    restart: int,
    rtol: float = 1e-8,
    maxiter: int = 300,
) -> tuple[FloatArray, float, str]:
    """Restarted GMRES with an incomplete LU.

    Args:
        A: Sparse, `n x n`.
        b: Right-hand side, `n`.
        drop_tol: Size below which SuperLU drops an entry, relative to its column.
        fill_factor: Entries of L and U that may be kept, in those of A.
        permc_spec: Order of the columns.
        restart: Iterations between restarts.
        rtol: Residual norm at which it ends, relative to that of b.
        maxiter: Iterations, at most.

    Returns:
        The solution; the work, `SETUP_WORK nnz(L + U) + k (nnz(A) + nnz(L + U) + n restart / 2)` for k iterations;
        and a status for `SolverTuner.tell`: `"breakdown"` for a singular factor, `"maxiter"` where k is all spent.

    Reference:
        Saad 2003, "Iterative Methods for Sparse Linear Systems", chapters 6 and 10.

    Example:
        >>> A = csc_array(np.diag([2.0, 4.0]))
        >>> x, work, status = ilu_gmres(A, np.array([2.0, 8.0]), **DEFAULT)
        >>> x.round(6), status
        (array([1., 2.]), 'ok')
    """
    factor = _factor(A, drop_tol, fill_factor, permc_spec)
    if factor is None:
        return np.full(len(b), np.nan), 0.0, "breakdown"
    M, entries = factor
    counted = _Counter()
    x, info = gmres(
        A, b, rtol=rtol, restart=restart, maxiter=-(-maxiter // restart), M=M, callback=counted, callback_type="pr_norm"
    )
    work = SETUP_WORK * entries + counted.calls * (A.nnz + entries + 0.5 * len(b) * restart)
    return x, work, _status(x, info)


def ilu_cg(
    A: csc_array,
    b: FloatArray,
    *,
    drop_tol: float,
    fill_factor: float,
    permc_spec: str,
    rtol: float = 1e-8,
    maxiter: int = 300,
) -> tuple[FloatArray, float, str]:
    """Conjugate gradients with an incomplete LU, which is nearly symmetric where A is.

    Args:
        A: Symmetric positive definite, sparse, `n x n`.
        b: As in `ilu_gmres`.
        drop_tol: As there.
        fill_factor: As there.
        permc_spec: As there.
        rtol: As there.
        maxiter: As there.

    Returns:
        As there, without the term of the restarts in the work.

    Example:
        >>> ilu_cg(csc_array(np.eye(2)), np.ones(2), drop_tol=1e-4, fill_factor=10.0, permc_spec="COLAMD")[2]
        'ok'
    """
    factor = _factor(A, drop_tol, fill_factor, permc_spec)
    if factor is None:
        return np.full(len(b), np.nan), 0.0, "breakdown"
    M, entries = factor
    counted = _Counter()
    x, info = cg(A, b, rtol=rtol, maxiter=maxiter, M=M, callback=counted)
    return x, SETUP_WORK * entries + counted.calls * (A.nnz + entries), _status(x, info)


class _Counter:
    calls = 0

    def __call__(self, _: Any) -> None:
        self.calls += 1


def _factor(A: csc_array, drop_tol: float, fill_factor: float, permc_spec: str) -> tuple[LinearOperator, int] | None:
    """The preconditioner and the entries of its factors; None where a pivot is exactly 0."""
    try:
        factor = spilu(A, drop_tol=drop_tol, fill_factor=fill_factor, permc_spec=permc_spec)
    except RuntimeError:
        return None
    return LinearOperator(A.shape, factor.solve, dtype=float), factor.nnz


def _status(x: FloatArray, info: int) -> str:
    if not np.isfinite(x).all() or info < 0:
        return "breakdown"
    return "ok" if info == 0 else "maxiter"
