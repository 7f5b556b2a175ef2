"""GCRO-DR: a Krylov solver that can carry a subspace from one system to the next, and an order that makes it pay.

Alphabet. A: sparse, `n x n`. b: right-hand side, `n`. P: parameters of the systems, `s x p`. U: the subspace carried.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator, gcrotmk

import bayesopt as bo

FloatArray = NDArray[np.float64]

SPACE = bo.Space({"m": bo.Int(5, 40), "k": bo.Int(2, 20), "recycle": bo.Choice((False, True))})
"""What is tuned: inner iterations, vectors kept, and whether they go over to the next system."""
DEFAULT: dict[str, Any] = {"m": 20, "k": 20, "recycle": False}
"""SciPy's own defaults."""


class RecyclingSolver:
    """Solves systems one after another and keeps the subspace between them.

    Reference: Parks et al. 2006, "Recycling Krylov Subspaces for Sequences of Linear Systems"; Hicken and Zingg 2010,
    "A Simplified and Flexible Variant of GCROT for Solving Nonsymmetric Linear Systems".

    Example:
        >>> solver = RecyclingSolver()
        >>> A = csr_array(np.diag([2.0, 4.0]))
        >>> solver.solve(A, np.array([2.0, 8.0]), m=20, k=10, recycle=True)[0].round(6)
        array([1., 2.])
    """

    def __init__(self) -> None:
        """A solver that carries nothing yet."""
        self._carried: list[tuple[FloatArray | None, FloatArray]] = []

    def solve(
        self, A: csr_array, b: FloatArray, *, m: int, k: int, recycle: bool, rtol: float = 1e-8, maxiter: int = 200
    ) -> tuple[FloatArray, int, bool]:
        """One system, with the inverse of the diagonal as preconditioner.

        Args:
            A: Sparse, `n x n`, no zero on its diagonal.
            b: Right-hand side, `n`.
            m: Inner iterations between two updates of the subspace.
            k: Vectors that are kept.
            recycle: Whether to begin from the vectors of the last system. They are kept either way.
            rtol: Residual norm at which it ends, relative to that of b.
            maxiter: Outer iterations, at most.

        Returns:
            The solution, the products with A, and whether it converged.
        """
        products = 0

        def multiply(x: FloatArray) -> FloatArray:
            nonlocal products
            products += 1
            product: FloatArray = A @ x
            return product

        diagonal = A.diagonal()
        if not recycle:
            self._carried = []
        x, info = gcrotmk(
            LinearOperator(A.shape, multiply, dtype=float),
            b,
            rtol=rtol,
            maxiter=maxiter,
            M=LinearOperator(A.shape, lambda r: r / diagonal, dtype=float),
            m=m,
            k=k,
            CU=self._carried,
            discard_C=True,
        )
        return x, products, info == 0


def nearest_neighbour_order(P: FloatArray | Sequence[Sequence[float]]) -> list[int]:
    """An order in which each system is, of those left, the one nearest to the last; it begins with the first.

    Args:
        P: Parameters of the systems, `s x p`, in units that make their distances comparable.

    Returns:
        The systems' numbers.

    Reference:
        Wang et al. 2024, "Accelerating Data Generation for Neural Operators via Krylov Subspace Recycling"
        (arXiv 2401.09516).

    Example:
        >>> nearest_neighbour_order([[0.0], [5.0], [1.0]])
        [0, 2, 1]
    """
    points = np.asarray(P, dtype=np.float64)
    left = np.arange(1, len(points))
    order = [0]
    while len(left):
        nearest = int(np.square(points[left] - points[order[-1]]).sum(1).argmin())
        order.append(int(left[nearest]))
        left = np.delete(left, nearest)
    return order
