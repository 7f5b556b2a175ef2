"""Studies carried over: ours into a storage of Optuna, whose dashboard then shows them, and Optuna's to go on here."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from bayesopt.errors import InvalidInputError, InvalidParamsError, InvalidSpaceError, StudyMismatchError
from bayesopt.integrations.optuna.spaces import Adopted, Declared, Translation
from bayesopt.problem.outcomes import AtMost
from bayesopt.problem.space import Space
from bayesopt.record.trial import Trial
from bayesopt.study import Study

_ID: Final = "priorwise id"
"""User attribute of an exported trial that holds its id here."""


def to_optuna(study: Study, storage: str | optuna.storages.BaseStorage, *, name: str | None = None) -> optuna.Study:
    """Write a study into a storage of Optuna; called again, add the trials that have ended since.

    Trials that are pending or queued are left out. A constraint becomes its margin, met when not positive; other
    outcomes, the cost and the reason of a failure become attributes, a share of a mixture a parameter of its own, and a
    constraint that was not measured is missing.

    Args:
        study: What to write.
        storage: A URL such as `"sqlite:///optuna.db"`, or one of Optuna's storages.
        name: The study's name there; None for the name that it has here.

    Returns:
        The study of Optuna.

    Raises:
        StudyMismatchError: If there is a study of that name with other objectives.
    """
    direction = study.outcomes.objective.direction
    target = optuna.create_study(
        storage=storage, study_name=name or study.name, direction=direction, load_if_exists=True
    )
    if [each.name.lower() for each in target.directions] != [direction]:
        raise StudyMismatchError(
            f"{target.study_name!r} exists in the storage and is to {target.directions}, not to {direction} one "
            "objective; write the study under another name."
        )
    translation = Declared(study.space)
    known = {trial.user_attrs.get(_ID) for trial in target.get_trials(deepcopy=False)}
    for trial in study.trials:
        if trial.state in ("complete", "failed") and trial.id not in known:
            target.add_trial(_exported(trial, study, translation))
    return target


def from_optuna(source: optuna.Study, space: Space | None = None, **options: Any) -> Study:
    """A study that knows what a study of Optuna was told; both go their own ways from then on.

    Completed and pruned trials with a value are told, and trials that failed or were pruned without one are failures.
    Those that run or wait are left out. None is charged to the budget. Constraints are named as in Optuna, met when
    not positive.

    Args:
        source: The study of Optuna, with one objective.
        space: What can be tried, under Optuna's names, conditional parameters with their `active_if` and a share of a
            mixture as `"mixture.web"`; None for the parameters of the trials, if each had the same ones.
        options: As in `Study`: `budget`, `priors`, `storage`, `seed`, ...; `minimize` or `maximize` names the
            objective, which is otherwise called "value".

    Returns:
        The study.

    Raises:
        InvalidInputError: If there are several objectives, or the direction is another.
        InvalidSpaceError: If there is no space, and the trials do not agree on one.
        InvalidParamsError: If a trial does not belong to the space.
    """
    if len(source.directions) > 1:
        raise InvalidInputError(f"{source.study_name!r} has {len(source.directions)} objectives; one is accepted.")
    direction = source.direction.name.lower()
    opposite = {"minimize": "maximize", "maximize": "minimize"}[direction]
    if opposite in options:
        raise InvalidInputError(f"{opposite}: {source.study_name!r} is to {direction}; name the objective by that.")
    ended = [trial for trial in source.get_trials(deepcopy=False) if trial.state.is_finished()]
    translation: Translation = Declared(space) if space is not None else Adopted(_common_distributions(ended))
    constraints = dict.fromkeys(name for trial in ended for name in trial.constraints)
    options = {direction: "value"} | options
    study = Study(translation.space, subject_to=[AtMost(name, 0.0) for name in constraints], **options)
    for trial in ended:
        _import(trial, study, translation)
    return study


def _exported(trial: Trial, study: Study, translation: Translation) -> FrozenTrial:
    params = translation.to_optuna(trial.params)
    objective = study.outcomes.objective.name
    is_complete = trial.state == "complete"
    facts = {_ID: trial.id, "cost": trial.cost, "reason": trial.reason}
    facts |= {name: value for name, value in trial.values.items() if name != objective}
    exported = FrozenTrial(
        number=-1,  # the storage numbers it
        trial_id=-1,
        state=TrialState.COMPLETE if is_complete else TrialState.FAIL,
        value=trial.values[objective] if is_complete else None,
        datetime_start=_moment(trial.asked_at or trial.created_at),
        datetime_complete=_moment(trial.told_at or trial.created_at),
        params=params,
        distributions={name: translation.distributions[name] for name in params},
        user_attrs={name: value for name, value in facts.items() if value is not None},
        system_attrs={},
        intermediate_values={},
    )
    for constraint, margin in zip(study.outcomes.constraints, study.outcomes.margins(trial.values), strict=True):
        if not math.isnan(margin):
            exported.set_constraint(f"{constraint.name} {constraint.symbol} {constraint.bound:g}", margin)
    return exported


def _moment(seconds: float | None) -> datetime:
    return datetime.now() if seconds is None else datetime.fromtimestamp(seconds)


def _common_distributions(trials: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
    """What every trial that ended with a value was drawn from."""
    valued = [trial for trial in trials if trial.values] or list(trials)
    if not valued:
        raise InvalidSpaceError("from_optuna: no trial has ended, so nothing says what can be tried; give space=.")
    first = valued[0].distributions
    for trial in valued:
        for name in first.keys() | trial.distributions.keys():
            if first.get(name) != trial.distributions.get(name):
                raise InvalidSpaceError(
                    f"from_optuna: {name!r} is {first.get(name)} in trial {valued[0].number} and "
                    f"{trial.distributions.get(name)} in trial {trial.number}; give space=, where a parameter that "
                    "exists only under another says so by active_if, and a range holds every value tried."
                )
    return dict(first)


def _import(trial: FrozenTrial, study: Study, translation: Translation) -> None:
    try:
        params = translation.to_ours(trial.params)
    except InvalidParamsError as error:
        if trial.values:
            raise InvalidParamsError(f"from_optuna: trial {trial.number}: {error}") from error
        return  # it broke before it had all its parameters
    values: dict[str, float | None] = dict.fromkeys(study.outcomes.names)
    values |= {name: value for name, value in trial.constraints.items() if name in values}
    failed = trial.state == TrialState.FAIL or not trial.values
    values[study.outcomes.objective.name] = math.nan if failed else trial.values[0]
    study.tell_external(params, values)
