"""The schedule that a fitted law of curves likes best.

Alphabet. T: steps. u: logits, one a knot, of the share of the learning rate that is kept up to the next knot.
"""

from typing import Final, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize

from bayesopt.errors import InvalidInputError
from bayesopt.laws.schedules import Schedule, wsd
from bayesopt.problem.arguments import whole_number

FloatArray = NDArray[np.float64]

_STARTS: Final = ((0.1, 0.5), (0.2, 1.0), (0.3, 0.5), (0.4, 1.0))
"""Length and power of the decays from which the search begins, and below the best of which it ends."""
_LEAST: Final = 1e-4
"""Share of the peak below which a learning rate counts as this: laws divide by powers of it."""
_MOST_LOGIT: Final = 9.0
"""A knot keeps all but 1e-4 of the learning rate at most."""


class CurveLaw(Protocol):
    """A law that foretells losses from a schedule."""

    def predict(self, schedule: ArrayLike, steps: ArrayLike | None = None) -> FloatArray:
        """Losses at some steps."""
        ...


def design_schedule(
    law: CurveLaw, total: int, peak: float, *, warmup: int = 0, n_knots: int = 24, max_iterations: int = 60
) -> Schedule:
    """The schedule that never rises after the warm-up and has the least predicted loss at its end.

    The peak is not chosen: laws fitted at one peak do not know what another does, so leave that to a study. Laws agree
    on families of schedules more than on the shape of the decay: take the result for a start.

    Args:
        law: `AnnealingLaw` or `MultiPowerLaw`, fitted or published.
        total: Steps of the run.
        peak: Largest learning rate.
        warmup: Steps of the rise.
        n_knots: Places between which the learning rate is a straight line, denser towards the end.
        max_iterations: Of the search.

    Returns:
        The schedule.

    Raises:
        InvalidInputError: If there are fewer knots than two, or more than steps.
    """
    knots = whole_number("n_knots", n_knots, at_least=2)
    families = [wsd(total, peak, warmup=warmup, decay=decay, power=power, final=_LEAST) for decay, power in _STARTS]
    losses = [_final(law, schedule) for schedule in families]
    best = families[int(np.argmin(losses))]
    length = total - warmup
    if knots > length:
        raise InvalidInputError(f"n_knots: expected at most the {length} steps after the warm-up, got {n_knots!r}.")
    # half of the knots lie in the last quarter, where every good schedule bends
    places = np.unique(np.round((length - 1) * (1.0 - np.linspace(1.0, 0.0, knots) ** 2)).astype(np.int64))

    def schedule_of(u: FloatArray) -> Schedule:
        kept = np.append(1.0, np.cumprod(1.0 / (1.0 + np.exp(-u))))
        decay = np.interp(np.arange(length), places, np.maximum(kept, _LEAST))
        return Schedule.of(np.concatenate([np.asarray(best)[:warmup], peak * decay]), peak)

    at_knots = np.maximum(np.asarray(best)[warmup:][places] / peak, _LEAST)
    ratio = np.clip(at_knots[1:] / at_knots[:-1], 1e-3, 1.0 / (1.0 + np.exp(-_MOST_LOGIT)))
    found = minimize(
        lambda u: _final(law, schedule_of(u)),
        np.log(ratio / (1.0 - ratio)),
        method="L-BFGS-B",
        bounds=[(-_MOST_LOGIT, _MOST_LOGIT)] * (len(places) - 1),
        options={"maxiter": whole_number("max_iterations", max_iterations, at_least=1)},
    )
    return schedule_of(found.x) if found.fun < min(losses) else best


def _final(law: CurveLaw, schedule: Schedule) -> float:
    return float(law.predict(schedule, [len(schedule) - 1])[0])
