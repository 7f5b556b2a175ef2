"""Why a trial was proposed: what was known then, as JSON that is kept with the trial, and as one plain sentence.

The parts, each optional and by name: `text`, a sentence of a strategy's own, which is then all that is said. `start`:
`point` ("middle", "mode", "law", "sobol" or "fallback"), `number` and `of`. `repeats`: the id of a trial. Of a point
that models chose: `expects`, with the objective's `name` and its `median`, `low` and `high` in its units, 95 % of the
noise-free objective's posterior lying between the two; `best`, the `trial` that was the best so far by the model and
the `median` there, None while no told trial was probably feasible; `improves`, the probability of being better than it;
`holds`, the probability of each constraint; `survives`; `around`, the trial that the search was kept near; `beliefs`,
the probability that each of the user's is right.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

_FIRST_POINTS: Final = {
    "middle": "the middle of the space",
    "mode": "where your beliefs put the optimum",
    "law": "the best by your law",
    "sobol": "a point that fills the space evenly",
}
"""Where trials of the start lie."""
_BY_SOURCE: Final = {
    "enqueued": "Queued by you.",
    "external": "Evaluated elsewhere and told.",
}
"""What is said of trials that no strategy proposed."""


def sentence(source: str, grounds: Mapping[str, Any] | None) -> str:
    """Why a trial was proposed.

    Args:
        source: The trial's.
        grounds: What was kept with it; None where nothing was, as in files of older versions.

    Returns:
        One sentence.

    Example:
        >>> sentence("asked", {"start": {"point": "middle", "number": 1, "of": 8}})
        'Start, trial 1 of 8: the middle of the space, before any model.'
        >>> sentence("asked", None)
        'No reason is on record.'
    """
    if source in _BY_SOURCE:
        return _BY_SOURCE[source]
    if not grounds:
        return "No reason is on record."
    if "text" in grounds:
        return str(grounds["text"])
    if "repeats" in grounds:
        return f"Repeats trial {grounds['repeats']}, the best so far, to confirm it."
    if "start" in grounds:
        return _start(grounds["start"])
    return _by_model(grounds) if "expects" in grounds else "No reason is on record."


def _start(start: Mapping[str, Any]) -> str:
    if start["point"] == "fallback":
        return "The model broke down, so a point was taken that fills the space evenly."
    place = f"trial {start['number']}" + (f" of {start['of']}" if start["number"] <= start["of"] else "")
    return f"Start, {place}: {_FIRST_POINTS[start['point']]}, before any model."


def _by_model(grounds: Mapping[str, Any]) -> str:
    expects, best = grounds["expects"], grounds.get("best")
    near = f" around trial {grounds['around']}" if "around" in grounds else ""
    between = f"(95 % between {_number(expects['low'])} and {_number(expects['high'])})"
    forecast = f"{expects['name']} {_number(expects['median'])} {between}"
    if best is None:
        aim = f"Looking for a feasible point{near}, since no told trial probably is one: {forecast} is expected"
    else:
        against = f"the {_number(best['median'])} of trial {best['trial']}, the best so far"
        chance = f"with a chance of {_percent(grounds['improves'])} to beat it"
        # Half a chance or more means that the expected value itself is as good.
        if grounds["improves"] >= 0.5:
            aim = f"Exploiting{near}: {forecast} is expected, at least as good as {against}, {chance}"
        else:
            aim = f"Exploring{near}: {forecast} is expected, worse than {against}, but {chance}"
    return "; ".join([aim, *_conditions(grounds)]) + "."


def _conditions(grounds: Mapping[str, Any]) -> list[str]:
    said = [f"{bound} holds with {_percent(p)}" for bound, p in grounds.get("holds", {}).items()]
    if "survives" in grounds:
        said.append(f"it survives with {_percent(grounds['survives'])}")
    if beliefs := grounds.get("beliefs"):
        subject = "your belief is" if len(beliefs) == 1 else "your beliefs are"
        said.append(f"{subject} taken to be right with {', '.join(map(_percent, beliefs))}")
    return said


def _number(value: float) -> str:
    return "unbounded" if math.isinf(value) else f"{value:.4g}"


def _percent(probability: float) -> str:
    """Never 0 or 100: a model is not that sure."""
    percent = 100.0 * probability
    if percent < 1.0:
        return "under 1 %"
    return "over 99 %" if percent > 99.0 else f"{percent:.0f} %"
