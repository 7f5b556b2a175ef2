"""Trials as arrays: what a strategy sees.

Alphabet. n: told trials, d: columns of the unit cube, K: constraints, p: pending, f: failed.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bayesopt.problem.outcomes import Outcomes
from bayesopt.problem.priors import PriorOnCube
from bayesopt.problem.space import Space
from bayesopt.record.trial import Trial

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
    """Cost of each told trial, shape `n`; nan where it was not told."""
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
    priors: tuple[PriorOnCube, ...] = ()
    """Beliefs about the optimum's place."""
    device: str = "auto"
    """Where models run: 'auto', 'cpu', 'cuda' or another torch device."""

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


def build_history(
    trials: Sequence[Trial],
    *,
    space: Space,
    outcomes: Outcomes,
    encode: Callable[[Trial], FloatArray],
    seed: int,
    noise: float | None,
    priors: tuple[PriorOnCube, ...],
    device: str,
) -> History:
    """The history of a study's trials.

    Args:
        trials: Every trial of the study in the order of their ids, in any state.
        space: What can be tried.
        outcomes: What is optimised and what must hold.
        encode: A trial's place in the unit cube, shape `d`; a study keeps these so that each is computed once.
        seed: The study's seed.
        noise: As in `History`.
        priors: As in `History`.
        device: As in `History`.

    Returns:
        The arrays; queued trials are in none of them.
    """
    told = [trial for trial in trials if trial.state == "complete"]
    names = [constraint.name for constraint in outcomes.constraints]
    margins = [outcomes.margins(trial.values) for trial in told]
    return History(
        space=space,
        outcomes=outcomes,
        ids=np.array([trial.id for trial in told], dtype=np.int64),
        X=_rows(map(encode, told), space.dim),
        objective=_signed_objective(told, outcomes),
        objective_sd=np.array([trial.sd.get(outcomes.objective.name, np.nan) for trial in told], dtype=np.float64),
        constraints=np.array(margins, dtype=np.float64).reshape(len(told), len(names)),
        constraints_sd=np.array(
            [[trial.sd.get(name, np.nan) for name in names] for trial in told], dtype=np.float64
        ).reshape(len(told), len(names)),
        costs=np.array([np.nan if trial.cost is None else trial.cost for trial in told], dtype=np.float64),
        pending=_rows((encode(trial) for trial in trials if trial.state == "pending"), space.dim),
        failed=_rows((encode(trial) for trial in trials if trial.state == "failed" and not trial.lost), space.dim),
        n_asked=sum(trial.source != "external" and trial.state != "queued" for trial in trials),
        seed=seed,
        noise=noise,
        priors=priors,
        device=device,
    )


def _rows(points: Iterable[FloatArray], dim: int) -> FloatArray:
    return np.array(list(points), dtype=np.float64).reshape(-1, dim)


def _signed_objective(told: Sequence[Trial], outcomes: Outcomes) -> FloatArray:
    name = outcomes.objective.name
    signed: FloatArray = outcomes.objective.sign * np.array([trial.values[name] for trial in told], dtype=np.float64)
    return signed
