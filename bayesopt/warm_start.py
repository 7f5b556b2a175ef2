"""How much of a model's fit is due, given what was remembered of the last one.

Hyperparameters move little from one trial to the next. A *search* from several starts is due when the data have grown
by a tenth; between searches the last optimum is *polished*, and of a long history only now and then. What is
remembered is kept with the trial that was asked, so that another process does the same.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np

from gp.classification import Classifier
from gp.models.exact import ExactGP

_SEARCH_GROWTH: Final = 0.1
"""A search is due when the rows have grown by this share since the last one: at 0.25 the regret over 16 problems was a
fifth larger than with a search at every ask, which takes twice the time,"""
_SEARCH_LEAST: Final = 3
"""and by at least this many."""
_POLISH_EVERY: Final = 25
"""A polish is due after `1 + n // 25` further rows."""
_POLISH_EVALUATIONS: Final = 12
"""Evaluations of a polish, at most,"""
_POLISH_TOLERANCE: Final = 3e-3
"""which ends when a step gains fewer nats: at 1e-2 it takes half the evaluations and ends 0.05 nats lower in the
median. Without any polish regret was a quarter larger over 16 problems: a trial that is a surprise moves the optimum by
nats."""
_FIRST_SEARCH_EVALUATIONS: Final = 20
"""Evaluations of a search that knows nothing, each of all its starts, at most; 30 gained 0.01 nats,"""
_SEARCH_EVALUATIONS: Final = 12
"""and of one where the last optimum is among the starts, which is nearly always where it ends."""
_COARSE: Final = 100
"""Rows on which a search is made; its optimum is then polished on all of them."""
_LARGEST: Final = 100.0
"""No fit ends at a hyperparameter of this size, a logarithm, and the exponential of much more overflows."""


@dataclass(frozen=True)
class Remembered:
    """Where one model's hyperparameters stood, and since when."""

    theta: tuple[float, ...]
    """Hyperparameters, as `ExactGP.hyperparameters`."""
    searched_at: int
    """Rows at the last search."""
    polished_at: int
    """Rows when the hyperparameters last moved."""
    warped: bool = False
    """Whether the evidence asked for a curved scale of the outcome at the last search,"""
    additive: bool = False
    """and for a kernel of few interactions."""
    law_gain: float | None = None
    """Nats that a law in the prior mean gained there; None where there was none to judge."""

    @property
    def follows_law(self) -> bool:
        """Whether the evidence asked for the law."""
        return self.law_gain is not None and self.law_gain > 0.0

    @classmethod
    def from_json(cls, memory: Any) -> "Remembered | None":
        """What `to_json` wrote; None for anything else, such as the memory of another strategy."""
        if not isinstance(memory, Mapping):
            return None
        try:
            theta = tuple(float(value) for value in memory["theta"])
            at = int(memory["searched_at"]), int(memory["polished_at"])
            gain = None if memory.get("law_gain") is None else float(memory["law_gain"])
            found = cls(theta, *at, bool(memory["warped"]), bool(memory["additive"]), gain)
        except (KeyError, TypeError, ValueError, OverflowError):
            return None
        return found if all(abs(value) <= _LARGEST for value in theta) else None

    def to_json(self) -> dict[str, Any]:
        """A dict for the trial's record; floats come back exactly."""
        return asdict(self) | {"theta": list(self.theta)}

    def fits(self, model: ExactGP | Classifier) -> bool:
        """Whether these are hyperparameters of such a model."""
        return len(self.theta) == len(model.hyperparameters)

    def needs_search(self, n: int) -> bool:
        """Whether `n` rows call for a search from several starts."""
        grown = n - self.searched_at
        return grown < 0 or grown >= max(_SEARCH_LEAST, _SEARCH_GROWTH * self.searched_at)

    def needs_polish(self, n: int) -> bool:
        """Whether `n` rows call for moving the hyperparameters at all."""
        return n - self.polished_at >= 1 + n // _POLISH_EVERY or n < self.polished_at


def fit(model: ExactGP | Classifier, before: Remembered | None, *, may_search: bool = True) -> Remembered:
    """Fit a model as far as that is due.

    Args:
        model: Moved to its new hyperparameters.
        before: What was remembered; None for nothing.
        may_search: Whether a search that is due may be made now; one without anything remembered always is.

    Returns:
        What to remember.

    Raises:
        NotPositiveDefiniteError: If no hyperparameters allow a factorisation.
    """
    regression = model.regression
    n = len(regression.y)
    if before is not None and not before.fits(model):
        before = None
    if before is None or (may_search and before.needs_search(n)):
        starts, evaluations = regression.search_starts(), _FIRST_SEARCH_EVALUATIONS
        if before is not None:
            starts, evaluations = np.vstack([starts, before.theta]), _SEARCH_EVALUATIONS
        if n > _COARSE:
            some = regression.subset(np.linspace(0, n - 1, _COARSE).astype(np.intp))
            starts = some.fit(starts, evaluations)[None]
            model.fit(starts=starts, max_evaluations=_POLISH_EVALUATIONS)
        else:
            model.fit(starts=starts, max_evaluations=evaluations)
        after = Remembered((), n, n)
    elif before.needs_polish(n):
        model.fit(starts=np.array([before.theta]), max_evaluations=_POLISH_EVALUATIONS, tolerance=_POLISH_TOLERANCE)
        after = replace(before, polished_at=n)
    else:
        model.hyperparameters = np.array(before.theta)
        after = before
    return replace(after, theta=tuple(model.hyperparameters.tolist()))
