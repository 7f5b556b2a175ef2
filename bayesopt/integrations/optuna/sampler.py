"""Our strategies as a sampler of Optuna.

The sampler keeps nothing between two calls: it reads the study, says what comes next, and writes what another process
needs to know into the trial (its configuration, before the objective has asked for all of it, and what the strategy
remembers). So it may be pickled, copied and run in any number of processes on one storage.
"""

import json
import math
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from zlib import crc32

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.search_space import intersection_search_space
from optuna.study import Study as OptunaStudy
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from typing_extensions import override

from bayesopt.errors import InvalidInputError, InvalidOutcomeError, InvalidParamsError, InvalidPriorError
from bayesopt.integrations.optuna.spaces import Declared, Inferred, Translation
from bayesopt.integrations.replay import study_of
from bayesopt.problem.arguments import non_negative, whole_number
from bayesopt.problem.beliefs import Prior
from bayesopt.problem.mean import MeanPrior
from bayesopt.problem.outcomes import AtMost, Objective, Outcomes
from bayesopt.problem.parameters import Float
from bayesopt.problem.space import Space
from bayesopt.record.trial import State, Trial
from bayesopt.strategies.base import Strategy

OBJECTIVE: Final = "value"
"""Name of the objective within the study that is asked."""
_PREFIX: Final = "constraint "
"""Before the names of Optuna's constraints, so that one of them may be called as the objective is."""
_PROPOSED: Final = "priorwise"
"""Key of the trial's system attribute that holds what was proposed, and what the strategy remembers."""
_CONSTRAINTS: Final = "constraints"
"""Key under which Optuna's own samplers keep what a `constraints_func` returns; `FrozenTrial.constraints` reads it."""
_LOST: Final[dict[str, Any]] = {"params": {}, "state": "failed", "lost": True}
"""What stands for a trial that says nothing of a space: it only keeps its number."""
_ROUNDS: Final = 4
"""How often a process chooses at most while others choose at the same time."""
_DAY: Final = 86400.0


class PriorwiseSampler(BaseSampler):
    """A sampler for `optuna.create_study`: one objective, constraints, any number of processes.

    Trials that are running count as pending. A pruned trial counts with the last value it reported; one that was pruned
    without any, and one that failed, teach the sampler to keep away. Constraints are those of `Trial.set_constraint`
    or of `constraints_func`, met when not positive, one missing from a trial being unknown there.

    Without `space` the first trial is the middle of each range; later ones are chosen by the model for the parameters
    that every completed trial had with one and the same range, and at random for the others, such as conditional ones.
    With `space`, a trial is chosen as a whole from the first on: conditional parameters by their `active_if`, within
    linear constraints, by priors. The objective then suggests the parameters under the names and ranges of the space,
    a share of a mixture as `trial.suggest_float("mixture.web", 0.0, 1.0)`.

    Example:
        >>> import optuna
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> study = optuna.create_study(sampler=PriorwiseSampler(seed=0))
        >>> study.optimize(lambda trial: trial.suggest_float("x", -1.0, 3.0) ** 2, n_trials=10)
        >>> study.best_value < 0.01
        True
    """

    def __init__(
        self,
        space: Space | None = None,
        *,
        priors: Sequence[Prior | MeanPrior] = (),
        strategy: Strategy | None = None,
        noise: float | None = None,
        seed: int | None = None,
        constraints_func: Callable[[FrozenTrial], Sequence[float]] | None = None,
        pending_timeout: float | None = _DAY,
        device: str = "auto",
    ) -> None:
        """Choose how trials are proposed.

        Args:
            space: What can be tried, declared beforehand; None learns it from the trials.
            priors: As in `bo.Study`; they need `space`.
            strategy: As in `bo.Study`.
            noise: As in `bo.Study`.
            seed: Seed of every random choice; None draws one. The same seed may be given to every process.
            constraints_func: Called with a trial that ended with a value; returns its constraints, met when <= 0.
            pending_timeout: Seconds after which a running trial counts as lost: Optuna keeps those of a killed process
                as running for ever, unless its storage has a heartbeat. None waits for ever.
            device: As in `bo.Study`.

        Raises:
            InvalidInputError: If an argument is not of an accepted kind.
            InvalidPriorError: If priors are given without a space, or do not fit it.
        """
        if priors and space is None:
            raise InvalidPriorError("priors: they speak of declared parameters; give the sampler the space, too.")
        if constraints_func is not None and not callable(constraints_func):
            raise InvalidInputError(f"constraints_func: expected a function of a trial, got {constraints_func!r}.")
        self.seed = secrets.randbits(32) if seed is None else whole_number("seed", seed, at_least=0)
        self._declared = None if space is None else Declared(space)
        self._constraints_func = constraints_func
        timeout = None if pending_timeout is None else non_negative("pending_timeout", pending_timeout)
        self._timeout = None if timeout is None else timedelta(seconds=timeout)
        self._options: dict[str, Any] = {
            "priors": tuple(priors),
            "strategy": strategy,
            "noise": noise,
            "device": device,
        }
        # What a study would refuse is refused here, not in the middle of a search.
        study_of([], space or Space({"x": Float(0.0, 1.0)}), _outcomes("minimize", ()), seed=self.seed, **self._options)
        self._lock = threading.Lock()

    @override
    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: everything but the lock of this process's threads."""
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Take over what `__getstate__` gave."""
        self.__dict__.update(state)
        self._lock = threading.Lock()

    @override
    def infer_relative_search_space(self, study: OptunaStudy, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters that the model chooses; see `BaseSampler`."""
        _refuse_several_objectives(study)
        if self._declared is not None:
            return dict(self._declared.distributions)
        found = intersection_search_space(study.get_trials(deepcopy=False))
        return {name: distribution for name, distribution in found.items() if not distribution.single()}

    @override
    def sample_relative(
        self, study: OptunaStudy, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A configuration chosen by the model, or of its space-filling start; see `BaseSampler`."""
        _refuse_several_objectives(study)
        if not search_space:
            return {}
        translation = Inferred(search_space) if self._declared is None else self._declared
        with self._lock:  # threads of one process choose one after another, each knowing what the one before chose
            chosen = self._choose(study, trial, translation)
        flat = translation.to_optuna(chosen)
        return {name: flat[name] for name in search_space if name in flat}

    @override
    def sample_independent(
        self, study: OptunaStudy, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A value on its own: the middle of the range in the first trial, random from then on; see `BaseSampler`."""
        _refuse_several_objectives(study)
        translation = Inferred({param_name: param_distribution})
        key = (trial.number, crc32(param_name.encode()))
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))
        u = np.full(1, 0.5) if trial.number == 0 else translation.space.sample(1, rng)[0]
        return translation.to_optuna(translation.space.decode(u))[param_name]

    @override
    def after_trial(
        self, study: OptunaStudy, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Keep what `constraints_func` says of a trial; see `BaseSampler`.

        Raises:
            InvalidOutcomeError: If it says something else than numbers.
        """
        if self._constraints_func is None or state not in (TrialState.COMPLETE, TrialState.PRUNED):
            return
        told = self._constraints_func(trial)
        try:
            constraints = [float(value) for value in told]
        except (TypeError, ValueError):
            constraints = [math.nan]
        if any(map(math.isnan, constraints)):
            raise InvalidOutcomeError(
                f"constraints_func: expected a list of numbers for trial {trial.number}, got {told!r}; leave out what "
                "could not be measured by Trial.set_constraint, one constraint a call."
            )
        study._storage.set_trial_system_attr(trial._trial_id, _CONSTRAINTS, constraints)

    def _choose(self, study: OptunaStudy, trial: FrozenTrial, translation: Translation) -> dict[str, Any]:
        """A configuration of ours for a trial, known to the other processes by the time that it is returned."""
        others = _others(study, trial)
        for _ in range(_ROUNDS):
            chosen = self._ask(study, trial, others, translation)
            study._storage.set_trial_system_attr(
                trial._trial_id, _PROPOSED, json.dumps({"params": chosen.params, "memory": chosen.memory})
            )
            # Nobody is locked out of a storage of Optuna's: what another process chose meanwhile is news, and counts.
            known, others = _proposals(others), _others(study, trial)
            if _proposals(others).items() <= known.items():
                break
        return chosen.params

    def _ask(
        self, study: OptunaStudy, trial: FrozenTrial, others: Sequence[FrozenTrial], translation: Translation
    ) -> Trial:
        names = dict.fromkeys(name for other in others for name in other.constraints)
        direction = "maximize" if study.direction == StudyDirection.MAXIMIZE else "minimize"
        outcomes = _outcomes(direction, tuple(names))
        records = self._records(others, trial, outcomes, translation)
        replayed = study_of(records, translation.space, outcomes, seed=self.seed, **self._options)
        asked = replayed.ask()
        if asked is None:  # a finite space is exhausted, and how often its points are tried again is Optuna's to say
            rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(trial.number,)))
            u = translation.space.sample(1, rng)[0]
            return Trial(trial.number, translation.space.decode(u))
        return asked

    def _records(
        self, others: Sequence[FrozenTrial], trial: FrozenTrial, outcomes: Outcomes, translation: Translation
    ) -> list[Trial]:
        """Optuna's trials as ours, under their own numbers; those that say nothing of this space are lost ones."""
        by_number = {other.number: other for other in others}
        remembering = max(
            (number for number, other in by_number.items() if _PROPOSED in other.system_attrs), default=-1
        )
        records = []
        for number in range(max([trial.number - 1, *by_number]) + 1):
            fields: dict[str, Any] | None = None
            memory = None
            if (other := by_number.get(number)) is not None:
                is_read = other.state == TrialState.RUNNING or number == remembering
                proposed = json.loads(other.system_attrs.get(_PROPOSED, "{}")) if is_read else {}
                fields = self._fields(other, proposed.get("params"), outcomes, translation)
                memory = proposed.get("memory")
            records.append(Trial(number, **(fields or _LOST), memory=memory))
        return records

    def _fields(
        self, other: FrozenTrial, proposed: dict[str, Any] | None, outcomes: Outcomes, translation: Translation
    ) -> dict[str, Any] | None:
        """What a trial says of a space, as fields of a `Trial`; None for nothing."""
        if other.state == TrialState.WAITING or (other.state == TrialState.RUNNING and self._is_lost(other)):
            return None
        try:
            params = translation.to_ours(other.params)
        except InvalidParamsError:
            # Of a running trial the objective may not have asked for everything yet.
            if other.state != TrialState.RUNNING or proposed is None or proposed.keys() - translation.space.keys():
                return None
            try:
                params = translation.space.validate(proposed)
            except InvalidParamsError:
                return None
        if other.state == TrialState.RUNNING:
            return {"params": params, "state": "pending"}
        value = other.values[0] if other.values else math.nan  # none: failed, or pruned before it reported anything
        told = {OBJECTIVE: value} | {name: other.constraints.get(name[len(_PREFIX) :]) for name in outcomes.names[1:]}
        finite = all(each is None or math.isfinite(each) for each in told.values())
        state: State = "complete" if finite and other.state != TrialState.FAIL else "failed"
        return {"params": params, "state": state, "values": told if state == "complete" else {}}

    def _is_lost(self, other: FrozenTrial) -> bool:
        started = other.datetime_start
        return self._timeout is not None and started is not None and datetime.now() - started > self._timeout


def _outcomes(direction: Any, constraints: Sequence[str]) -> Outcomes:
    return Outcomes(Objective(OBJECTIVE, direction), tuple(AtMost(_PREFIX + name, 0.0) for name in constraints))


def _others(study: OptunaStudy, trial: FrozenTrial) -> list[FrozenTrial]:
    return [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]


def _proposals(others: Sequence[FrozenTrial]) -> dict[int, str]:
    """What was proposed for the trials that are running, by their numbers."""
    running = (other for other in others if other.state == TrialState.RUNNING)
    return {other.number: other.system_attrs[_PROPOSED] for other in running if _PROPOSED in other.system_attrs}


def _refuse_several_objectives(study: OptunaStudy) -> None:
    if len(study.directions) > 1:
        raise InvalidInputError(
            f"PriorwiseSampler optimises one objective, and the study {study.study_name!r} has "
            f"{len(study.directions)}; keep the others within bounds by Trial.set_constraint."
        )
