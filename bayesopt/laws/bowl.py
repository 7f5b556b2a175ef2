"""A quadratic bowl around the settings that a law names: how much a loss suffers for being so many octaves away.

Alphabet. k: parameters. c: centre, `k`, log2 of the parameter. H: curvature, `k x k`, nats per octave squared.
d: octaves from the centre.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesopt.errors import InvalidInputError
from bayesopt.problem.arguments import as_number

FloatArray = NDArray[np.float64]

DIVERGED: Final = 0.3
"""Nats above the best from which on a loss tells only that the run went wrong: surfaces of language models are
quadratic within 0.1 nats of their best, and reach 9 nats where runs diverged."""
CURVATURE: Final[Mapping[tuple[str, str], float]] = {
    ("lr", "lr"): 0.0169,
    ("batch_size", "batch_size"): 0.0142,
    ("lr", "batch_size"): -0.0055,
}
"""Nats per octave squared around the best learning rate and batch size, the mean over twelve dense language models of
215M to 1.07B parameters (fitted here to the runs of arXiv 2503.04715); from one to the next it varies by a quarter."""
_CURVATURE_OF_OTHERS: Final = 0.01
"""The same of a parameter that nobody measured: one octave off costs 0.005 nats, half of what the learning rate's
does."""
_WITHIN: Final = 0.06
"""Nats above the best within which a surface is taken for a quadratic one."""


def curvature_of(names: Iterable[str], known: Mapping[tuple[str, str], float] = CURVATURE) -> FloatArray:
    """H of some parameters, `k x k`.

    Args:
        names: The parameters, by the law's names.
        known: Nats per octave squared by pair of names, either order; a missing pair does not interact.

    Returns:
        The matrix.

    Example:
        >>> curvature_of(["lr", "batch_size"]).tolist()
        [[0.0169, -0.0055], [-0.0055, 0.0142]]
    """
    listed = list(names)
    H = np.diag([known.get((name, name), _CURVATURE_OF_OTHERS) for name in listed])
    for i, one in enumerate(listed):
        for j, other in enumerate(listed[:i]):
            H[i, j] = H[j, i] = known.get((one, other), known.get((other, one), 0.0))
    return H


@dataclass(frozen=True)
class Bowl:
    """`min(0.5 d' H d, clip)`, in nats, with `d = log2(params) - centre`.

    Example:
        >>> bowl = Bowl(("lr",), np.array([-10.0]), np.array([[0.02]]))
        >>> bowl({"lr": 2.0**-9})
        0.01
    """

    names: tuple[str, ...]
    """The parameters that it looks at; all must be positive numbers."""
    centre: FloatArray
    """Where it is deepest, log2, `k`."""
    curvature: FloatArray
    """H."""
    clip: float = DIVERGED
    """Nats at which it becomes flat."""

    def __call__(self, params: Mapping[str, Any]) -> float:
        """The value at one configuration, in nats above the bottom.

        Args:
            params: A configuration, with each of `names`.

        Returns:
            It.

        Raises:
            InvalidInputError: If one of the parameters is missing or no positive number.
        """
        return float(self.values(np.array([[log2_of(name, params) for name in self.names]]) - self.centre)[0])

    def values(self, octaves: FloatArray) -> FloatArray:
        """Values, `m`, at distances from the centre, `m x k` octaves."""
        quadratic: FloatArray = 0.5 * np.einsum("mi,ij,mj->m", octaves, self.curvature, octaves)
        return np.minimum(quadratic, self.clip)


def log2_of(name: str, values: Mapping[str, Any]) -> float:
    """log2 of one positive number among several.

    Args:
        name: Which.
        values: Name to number.

    Returns:
        Its log2.

    Raises:
        InvalidInputError: If it is missing, or no positive finite number.
    """
    if name not in values:
        raise InvalidInputError(f"{name!r} is missing: expected it among {sorted(values)}.")
    number = as_number(name, values[name], InvalidInputError)
    if not 0.0 < number < np.inf:
        raise InvalidInputError(f"{name}: expected a positive finite number, got {number!r}.")
    return float(np.log2(number))


def pooled_hessian(tables: Iterable[tuple[ArrayLike, ArrayLike]], within: float = _WITHIN) -> FloatArray:
    """H of a kind of problem: the mean of what quadratics fit to several of its surfaces near their best.

    Args:
        tables: Of each surface log2 of the parameters, `n x k`, and losses, `n`, in nats.
        within: Nats above a surface's best that count.

    Returns:
        The mean of their curvatures, `k x k`, made positive definite.

    Raises:
        InvalidInputError: If no surface has more points than a quadratic has coefficients.

    Example:
        >>> X = np.random.default_rng(0).uniform(-1, 1, (40, 2))
        >>> pooled_hessian([(X, 0.01 * X[:, 0] ** 2 + 0.02 * X[:, 1] ** 2)]).round(6).tolist()
        [[0.02, 0.0], [0.0, 0.04]]
    """
    found = []
    for points, losses in tables:
        X, y = np.asarray(points, dtype=np.float64), np.asarray(losses, dtype=np.float64)
        near = y <= y.min() + within
        k = X.shape[1]
        rows, columns = np.triu_indices(k)
        if near.sum() <= 1 + k + len(rows):
            continue
        d = X[near] - X[near].mean(0)
        basis = np.column_stack([np.ones(len(d)), d, d[:, rows] * d[:, columns]])
        coefficients = np.linalg.lstsq(basis, y[near], rcond=None)[0][1 + k :]
        H = np.zeros((k, k))
        H[rows, columns] = coefficients
        found.append(H + H.T)
    if not found:
        raise InvalidInputError(
            f"tables: none has more points within {within:g} nats of its best than a quadratic has coefficients; "
            "give more points or raise within=."
        )
    values, vectors = np.linalg.eigh(np.mean(found, axis=0))
    least = 0.05 * values.max()  # a direction without curvature would have no centre
    H = (vectors * np.maximum(values, least)) @ vectors.T
    return np.asarray(np.round(H, 14))
