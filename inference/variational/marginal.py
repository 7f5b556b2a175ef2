"""A guide with auxiliary draws that the model knows nothing of, and an unbiased estimate of what they leave.

Alphabet. u: auxiliary draws. r: proposal of them given the kept ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from inference.errors import InvalidInputError

Program = Callable[..., Any]
"""A Pyro program."""


@dataclass(frozen=True)
class Marginal:
    """A guide's kept sites, with the density that they have once the others are averaged out."""

    guide: Program
    """With all its sites."""
    keep: tuple[str, ...]
    """Sites of the model."""
    proposal: Program | None
    """r; None for the guide's own distribution of u."""
    n: int
    """Values of u that the density is estimated from."""


def marginal(guide: Program, keep: Sequence[str], *, proposal: Program | None = None, n: int = 1) -> Marginal:
    """A guide for `fit` whose other sites are averaged out by importance sampling.

    The density of the kept sites is estimated from the u that made them and n - 1 fresh ones of the proposal,
    `log mean_j g(keep, u_j) / r(u_j)`. The mean of its reciprocal is exact, so that `ELBO` and `IWELBO` stay lower
    bounds: hierarchical variational inference with n = 1, importance-weighted with more, doubly so with `IWELBO`.

    Args:
        guide: A Pyro program with auxiliary sites.
        keep: Those of its sites that the model has.
        proposal: A Pyro program `proposal(kept, *args)`, `kept` being a dict of values, that draws the auxiliary sites
            by their names; it may have parameters, which are fitted too. None: the auxiliary sites are drawn again as
            the guide draws them.
        n: Values of u an estimate.

    Returns:
        What `fit` takes for a guide.

    Raises:
        InvalidInputError: If nothing is kept or n is below 1.

    Reference: Ranganath, Tran and Blei 2016, "Hierarchical Variational Models"; Sobolev and Vetrov 2019, "Importance
    Weighted Hierarchical Variational Inference"; Becker et al. 2024, "Probabilistic Programming with Programmable
    Variational Inference".

    Example:
        >>> marginal(lambda: None, ["x"], n=5).n
        5
    """
    if not keep or isinstance(keep, str):
        raise InvalidInputError(f"keep: expected a list with at least one name of a site, got {keep!r}.")
    if n < 1:
        raise InvalidInputError(f"n: expected the number of auxiliary values, at least 1, got {n}.")
    return Marginal(guide, tuple(keep), proposal, n)
