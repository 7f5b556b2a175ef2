"""Sobol indices of a function of independent uniform variables, by randomised quasi-Monte Carlo.

Alphabet. d: variables. p: groups of them, each of which counts as one. n: points of a sequence, r: sequences. A, B:
independent `n x d` points; AB_j: A with the columns of group j from B. V: variance of the function.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

N_POINTS: Final = 512
"""Points of a sequence, a power of two."""
N_SEQUENCES: Final = 8
"""Sequences, each scrambled on its own: their spread is the error of the mean over them."""


@dataclass(frozen=True)
class SobolIndices:
    """Shares of a variance, and how far the integration leaves them open."""

    first: FloatArray
    """Share that a group explains alone, `p`."""
    first_error: FloatArray
    """Its standard error, `p`."""
    total: FloatArray
    """Share that would be gone if the group were fixed: what it explains alone and in interactions, `p`."""
    total_error: FloatArray
    """Its standard error, `p`."""
    variance: float
    """V."""


def sobol_indices(
    function: Callable[[FloatArray], FloatArray],
    groups: Sequence[Sequence[int]],
    dim: int,
    seed: int,
    *,
    n_points: int = N_POINTS,
    n_sequences: int = N_SEQUENCES,
) -> SobolIndices:
    """First-order and total indices of groups of variables.

    Of centred values, `first_j = mean(f(B) (f(AB_j) - f(A))) / V` (Saltelli et al.) and
    `total_j = mean((f(A) - f(AB_j))²) / (2 V)` (Jansen), for each of the sequences, then averaged.

    Args:
        function: From `m x d` points of the unit cube to `m` values.
        groups: Columns of each group; a column outside all of them counts for nobody.
        dim: d.
        seed: Scrambles the sequences.
        n_points: n, a power of two.
        n_sequences: r, at least 2.

    Returns:
        The indices. All are 0 where the function is constant. An estimate can leave [0, 1] by about its error.

    References: Saltelli et al. 2010, "Variance based sensitivity analysis of model output"; Jansen 1999, "Analysis of
    variance designs for model output"; Owen 1998 (scrambling).

    Example:
        >>> found = sobol_indices(lambda U: 2 * U[:, 0] + U[:, 1], [[0], [1]], 2, seed=0)
        >>> found.first.round(2), found.total.round(2)
        (array([0.8, 0.2]), array([0.8, 0.2]))
    """
    from scipy.stats import qmc  # late: scipy.stats takes longer to import than the whole of this package

    p = len(groups)
    first, total, variances = np.zeros((n_sequences, p)), np.zeros((n_sequences, p)), np.zeros(n_sequences)
    for k, child in enumerate(np.random.SeedSequence(seed).spawn(n_sequences)):
        points = qmc.Sobol(2 * dim, scramble=True, rng=np.random.default_rng(child)).random(n_points)
        A, B = points[:, :dim], points[:, dim:]
        f_A, f_B = function(A), function(B)
        both = np.concatenate([f_A, f_B])
        center, variances[k] = both.mean(), both.var()
        # What rounding leaves of a constant is no variance.
        if variances[k] <= (1e-12 * np.abs(both).max(initial=0.0)) ** 2:
            continue
        for j, columns in enumerate(groups):
            mixed = A.copy()
            mixed[:, columns] = B[:, columns]
            f_AB = function(mixed)
            first[k, j] = np.mean((f_B - center) * (f_AB - f_A)) / variances[k]
            total[k, j] = 0.5 * np.mean(np.square(f_A - f_AB)) / variances[k]
    root = np.sqrt(n_sequences)
    return SobolIndices(
        first.mean(0),
        first.std(0, ddof=1) / root,
        total.mean(0),
        total.std(0, ddof=1) / root,
        float(variances.mean()),
    )
