"""A study whose trials another engine keeps: made anew for each question, so that it can never disagree with them."""

import secrets
from collections.abc import Sequence
from typing import Any

from bayesopt.problem.outcomes import Outcomes
from bayesopt.problem.space import Space
from bayesopt.record.storage import MemoryStore, Transaction
from bayesopt.record.trial import Trial
from bayesopt.study import Study


def study_of(
    trials: Sequence[Trial], space: Space, outcomes: Outcomes, *, seed: int, noise: float | None, **options: Any
) -> Study:
    """A study in memory that begins with these trials, whatever state they are in.

    Args:
        trials: In the order of their ids, which are 0, 1, 2, ...
        space: What can be tried; the trials that are told, pending or failed must belong to it.
        outcomes: What a trial is judged by.
        seed: As in `Study`: with the same trials and the same seed, a study asks the same.
        noise: As in `Study`.
        options: `priors`, `strategy`, `device`, `budget`, ...; as in `Study`.

    Returns:
        The study.
    """
    spec = {
        "space": space.to_json(),
        "outcomes": outcomes.to_json(),
        "seed": seed,
        "uid": secrets.token_hex(8),
        "noise": noise,
    }
    store = MemoryStore("study", spec)

    def insert(transaction: Transaction) -> None:
        for trial in trials:
            transaction.insert(trial)

    store.transact(insert)
    objective = outcomes.objective
    direction: dict[str, Any] = {objective.direction: objective.name}
    return Study(space, **direction, subject_to=outcomes.constraints, storage=store, noise=noise, **options)
