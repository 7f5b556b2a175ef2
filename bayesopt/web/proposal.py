"""Why a trial was proposed, in one sentence, where an older version or a strategy of one's own kept no grounds."""

from typing import Final

import numpy as np

from bayesopt.problem.space import Space
from bayesopt.web.snapshot import Snapshot
from bayesopt.web.texts import shortened, value_text

_NEAR: Final = 0.1
"""Share of every parameter's range within which a trial refines another one."""
_FAR: Final = 0.3
"""Share of some parameter's range beyond which it explores."""


def why(snapshot: Snapshot, row: int, space: Space) -> str:
    """One sentence that says why the trial at this position was proposed.

    Args:
        snapshot: The study, with the trials that were told before.
        row: Which trial.
        space: Measures how far apart configurations are.

    Returns:
        Who or what proposed it, and where it lies beside what was known then.
    """
    trial = snapshot.trials[row]
    if trial.source == "enqueued":
        return "You queued this configuration yourself."
    if trial.source == "external":
        return "It was evaluated elsewhere and told to the study."
    if not (trial.memory or {}).get("fits"):
        return "No model had a say: it spreads over the space, as the first trials of a search do."
    known = [
        other
        for other in snapshot.ended
        if snapshot.trials[other].state == "complete"
        and (snapshot.trials[other].told_at or 0.0) <= (trial.asked_at or 0.0)
    ]
    if not known:
        return "A model chose it."
    at = space.encode(trial.params)
    steps = np.abs(np.array([space.encode(snapshot.trials[other].params) for other in known]) - at)
    nearest = int(steps.max(axis=1).argmin())
    distance = float(steps[nearest].max())
    beside = f"trial {snapshot.trials[known[nearest]].id}"
    if distance <= _NEAR:
        place = f"it refines {beside}, which is within {_percent(distance)} of every parameter's range"
    elif distance >= _FAR:
        place = f"it looks where little is known: even the nearest, {beside}, is {_percent(distance)} of a range away"
    else:
        place = f"it goes on from {beside}, the nearest, {_percent(distance)} of a range away"
    return f"A model of the {len(known)} trials told by then chose it; {place}{_step(snapshot, row, space, known)}."


def _step(snapshot: Snapshot, row: int, space: Space, known: list[int]) -> str:
    """The largest step from the best trial that was known."""
    best = next((other for other in snapshot.ranked if other in set(known)), None)
    if best is None:
        return ", and nothing feasible was known yet"
    trial, other = snapshot.trials[row], snapshot.trials[best]
    at, start = space.encode(trial.params), space.encode(other.params)
    name = space.columns[int(np.abs(at - start).argmax())].parameter
    if name not in trial.params or name not in other.params or trial.params[name] == other.params[name]:
        return f"; the best then was trial {other.id}"
    return (
        f"; its largest step from the best then, trial {other.id}, is in {shortened(name)}: "
        f"{value_text(other.params[name])} → {value_text(trial.params[name])}"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "1 %"
