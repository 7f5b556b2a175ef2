"""Trials as arrays: what a strategy sees.

Alphabet. n: told trials, d: columns of the unit cube, K: constraints, p: pending, f: failed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesopt.problem.beliefs import Belief
from bayesopt.problem.budget import Spending
from bayesopt.problem.costs import Prices
from bayesopt.problem.mean import MeanOnCube
from bayesopt.problem.outcomes import Outcomes
from bayesopt.problem.space import Space
from bayesopt.record.trial import Trial, copied

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class History:
    """Everything a suggestion may depend on; strategies are functions of it and of a generator."""

    space: Space
    """What can be tried."""
    outcomes: Outcomes
    """What is optimised and what must hold."""
    ids: NDArray[np.int64]
    """Trial ids, shape `n`, increasing."""
    X: FloatArray
    """Told configurations in the unit cube, `n x d`."""
    objective: FloatArray
    """Objective, shape `n`, turned so that larger is better; always finite."""
    objective_sd: FloatArray
    """Known noise of each objective value, shape `n`; nan where it was not told."""
    constraints: FloatArray
    """Margins, `n x K`: feasible when `<= 0`, nan where not measured."""
    constraints_sd: FloatArray
    """Known noise of each margin, `n x K`; nan where it was not told."""
    costs: FloatArray
    """Cost of each told trial, shape `n`; nan where it was not told as one number."""
    pending: FloatArray
    """Configurations being evaluated, `p x d`."""
    failed: FloatArray
    """Configurations that broke, `f x d`; those that were lost with their worker are not among them."""
    n_asked: int
    """How many trials were handed out so far, whatever became of them."""
    seed: int
    """The study's seed, for designs that span several asks; a single ask draws from its own generator."""
    noise: float | None = None
    """Standard deviation of the objective's noise; 0.0 says that every outcome is deterministic, None to learn it."""
    priors: tuple[Belief, ...] = ()
    """What the user believes of the objective,"""
    law: MeanOnCube | None = None
    """and the law that it is believed to follow roughly."""
    device: str = "auto"
    """Where models run: 'auto', 'cpu', 'cuda' or another torch device."""
    spending: Spending | None = None
    """The budget and what is spent of it,"""
    prices: Prices | None = None
    """and what configurations cost; None while no cost was told or is known. The space leaves out what cannot be paid
    any more."""
    memory: Mapping[str, Any] = field(default_factory=dict)
    """What the strategy remembered last: the memory of the newest trial that has one, in whatever state; else empty."""

    @property
    def tried(self) -> FloatArray:
        """Every configuration told, pending or failed, `(n + p + f) x d`: none of them is worth proposing again."""
        return np.concatenate([self.X, self.pending, self.failed])

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """Which told trials were measured to satisfy every constraint, shape `n`."""
        return np.all(self.constraints <= 0, axis=1)

    @property
    def best_observed(self) -> int | None:
        """Row of the best feasible objective as measured, the earliest among equals; None without one."""
        rows = np.flatnonzero(self.feasible)
        return int(rows[np.argmax(self.objective[rows])]) if len(rows) else None


class TrialRows:
    """What arrays say of each trial, computed once: no configuration ever changes, and no completed trial does."""

    def __init__(self, space: Space, outcomes: Outcomes) -> None:
        """Rows of no trial yet.

        Args:
            space: What can be tried.
            outcomes: What is optimised and what must hold.
        """
        self.space, self.outcomes = space, outcomes
        self._points = _RowCache(space.dim, lambda trial: space.encode(trial.params))
        self._told = _RowCache(3 + 2 * len(outcomes.constraints), self._told_of)

    def points(self, trials: Sequence[Trial]) -> FloatArray:
        """Places in the unit cube, `len(trials) x d`."""
        return self._points(trials)

    def told(self, trials: Sequence[Trial]) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
        """Of completed trials: objective, its sd, margins, their sd, costs; the shapes are those of `History`."""
        k = len(self.outcomes.constraints)
        objective, objective_sd, cost, *both = self._told(trials).T.copy()
        margins = np.reshape(both, (2, k, len(trials)))
        return objective, objective_sd, margins[0].T.copy(), margins[1].T.copy(), cost

    def _told_of(self, trial: Trial) -> list[float]:
        objective = self.outcomes.objective
        value = trial.values[objective.name]
        assert value is not None
        return [
            objective.sign * value,
            trial.sd.get(objective.name, np.nan),
            np.nan if trial.cost is None else trial.cost,
            *self.outcomes.margins(trial.values),
            *(trial.sd.get(constraint.name, np.nan) for constraint in self.outcomes.constraints),
        ]


class _RowCache:
    """A function from a trial to a row of numbers, which is called once a trial."""

    def __init__(self, width: int, row_of: Callable[[Trial], Any]) -> None:
        self._row_of = row_of
        self._rows = np.empty((0, width))
        self._is_known = np.zeros(0, dtype=np.bool_)

    def __call__(self, trials: Sequence[Trial]) -> FloatArray:
        ids = np.array([trial.id for trial in trials], dtype=np.int64)
        if (missing := ids.max(initial=-1) + 1 - len(self._rows)) > 0:
            more = max(missing, len(self._rows))  # at least doubled, so that growing costs little a trial
            self._rows = np.pad(self._rows, ((0, more), (0, 0)))
            self._is_known = np.pad(self._is_known, (0, more))
        for index in np.flatnonzero(~self._is_known[ids]).tolist():
            self._rows[ids[index]] = self._row_of(trials[index])
            self._is_known[ids[index]] = True
        return self._rows[ids]


def build_history(
    trials: Sequence[Trial],
    *,
    rows: TrialRows,
    seed: int,
    noise: float | None,
    priors: tuple[Belief, ...],
    law: MeanOnCube | None = None,
    device: str,
    spending: Spending | None = None,
    prices: Prices | None = None,
) -> History:
    """The history of a study's trials.

    Args:
        trials: Every trial of the study in the order of their ids, in any state.
        rows: The study's, kept from one call to the next.
        seed: The study's seed.
        noise: As in `History`.
        priors: As in `History`.
        law: As in `History`.
        device: As in `History`.
        spending: As in `History`.
        prices: As in `History`.

    Returns:
        The arrays; queued trials are in none of them.
    """
    complete = [trial for trial in trials if trial.state == "complete"]
    objective, objective_sd, constraints, constraints_sd, costs = rows.told(complete)
    return History(
        space=rows.space,
        outcomes=rows.outcomes,
        ids=np.array([trial.id for trial in complete], dtype=np.int64),
        X=rows.points(complete),
        objective=objective,
        objective_sd=objective_sd,
        constraints=constraints,
        constraints_sd=constraints_sd,
        costs=costs,
        pending=rows.points([trial for trial in trials if trial.state == "pending"]),
        failed=rows.points([trial for trial in trials if trial.state == "failed" and not trial.lost]),
        n_asked=len([trial for trial in trials if trial.source != "external" and trial.state != "queued"]),
        seed=seed,
        noise=noise,
        priors=priors,
        law=law,
        device=device,
        spending=spending,
        prices=prices,
        memory=_last_memory(trials),
    )


def _last_memory(trials: Sequence[Trial]) -> dict[str, Any]:
    memories = (trial.memory for trial in reversed(trials) if trial.memory is not None)
    return copied(next(memories, {}))
