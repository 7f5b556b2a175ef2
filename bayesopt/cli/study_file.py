"""A study and the command that evaluates its trials, as a YAML file declares them."""

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from bayesopt.cli.child_process import Command
from bayesopt.cli.command import CommandTemplate, read_template
from bayesopt.cli.yaml_source import Entry, read_entries, suggestion
from bayesopt.errors import ConfigFileError, InvalidBudgetError
from bayesopt.problem.arguments import non_negative
from bayesopt.problem.beliefs import Prior
from bayesopt.problem.budget import Budget
from bayesopt.problem.optimal_value import OptimalValuePrior
from bayesopt.problem.outcomes import AtLeast, AtMost, Constraint, Objective, Outcomes
from bayesopt.problem.parameters import Choice, Float, Int, Simplex
from bayesopt.problem.preferences import PreferencePrior
from bayesopt.problem.priors import OptimumPrior
from bayesopt.problem.space import LinearConstraint, Space
from bayesopt.record.trial import Trial
from bayesopt.study import Study

_KEYS: Final = (
    "space",
    "linear_constraints",
    "minimize",
    "maximize",
    "subject_to",
    "priors",
    "optimal_value",
    "preferences",
    "enqueue",
    "budget",
    "storage",
    "name",
    "seed",
    "noise",
    "workers",
    "command",
    "environment",
    "folder",
    "logs",
    "time_limit",
    "cost",
    "stop_early",
)
"""What may stand at the top of a file."""

_VALUE_KEYS: Final = ("mean", "sd", "at_most", "at_least", "softness")
"""What may stand under `optimal_value`."""

_SECONDS: Final = "seconds"
"""Value of `cost` that charges a trial its wall time."""


@dataclass(frozen=True, kw_only=True)
class StudyFile:
    """What a YAML file declares: a study, and how its trials are evaluated."""

    path: Path
    """The file."""
    space: Space
    """What can be tried."""
    objective: Objective
    """What is optimised."""
    subject_to: tuple[Constraint, ...]
    """What must hold."""
    priors: tuple[Prior, ...]
    """Beliefs about the optimum: its place, its value, and what is better than what."""
    enqueue: tuple[dict[str, Any], ...]
    """Configurations that a new study tries first."""
    budget: Budget
    """What may be spent."""
    storage: str
    """SQLite file or database URL."""
    name: str | None
    """The study's name within the storage."""
    seed: int | None
    """Seed of every random choice."""
    noise: float | None
    """Standard deviation of the outcomes' noise."""
    workers: int
    """How many trials run at the same time."""
    template: CommandTemplate
    """What evaluates a trial."""
    folder: Path
    """Working directory of the command."""
    logs: Path
    """Folder of the log files."""
    time_limit: float | None
    """Seconds that a trial may take."""
    cost: str
    """Outcome that is a trial's cost, or 'seconds' for its wall time."""
    stop_early: bool
    """Whether a trial ends when its learning curve is worse than most."""

    def open_study(self) -> Study:
        """The study: a new one, with its first configurations queued, or the one that the storage holds."""
        direction: dict[str, Any] = {self.objective.direction: self.objective.name}
        study = Study(
            self.space,
            **direction,
            subject_to=self.subject_to,
            priors=self.priors,
            budget=self.budget,
            storage=self.storage,
            name=self.name,
            seed=self.seed,
            noise=self.noise,
        )
        trials = study.trials
        if all(trial.state == "queued" for trial in trials):
            # A run that was killed in here has queued some of them.
            queued = [trial.params for trial in trials]
            for params in self.enqueue:
                if params not in queued:
                    study.enqueue(params)
        return study

    def command(self, trial: Trial) -> Command:
        """What to run for one trial."""
        arguments, environment = self.template.fill(trial, self.space)
        own = {"PRIORWISE_TRIAL": str(trial.id), "PRIORWISE_PARAMS": json.dumps(trial.params)}
        return Command(
            arguments=arguments,
            folder=self.folder,
            environment=own | environment,
            log=self.logs / f"trial-{trial.id:04d}.log",
            time_limit=self.time_limit,
        )

    def check_command(self) -> None:
        """Refuse a command that cannot start, before every trial fails of it.

        Raises:
            ConfigFileError: If the working directory or the program does not exist.
        """
        if not self.folder.is_dir():
            raise ConfigFileError(f"{self.path}: folder: there is no folder {self.folder}.")
        program = self.template.arguments[0]
        if "{" in program or "}" in program:
            return  # only a trial knows its name
        place = str(self.folder / program) if "/" in program else program
        if shutil.which(place, path=self.template.environment.get("PATH")) is None:
            where = f"in {self.folder}" if "/" in program else "on the PATH"
            raise ConfigFileError(f"{self.path}: command: there is no program {program!r} {where} that can be run.")

    def charge(self, outcomes: Mapping[str, Any]) -> float | None:
        """What a trial cost.

        Args:
            outcomes: What its command printed.

        Returns:
            The cost, in the unit of the budget; None where it is the trial's seconds.

        Raises:
            InvalidBudgetError: If the outcome that is the cost is missing or no number of at least 0.
        """
        if self.cost == _SECONDS:
            return None
        if self.cost not in outcomes:
            raise InvalidBudgetError(f"its JSON has no {self.cost!r}, the cost; it has {', '.join(outcomes)}.")
        return non_negative(self.cost, outcomes[self.cost], InvalidBudgetError)


def read_study_file(path: Path) -> StudyFile:
    """Read a YAML file.

    Args:
        path: The file. Relative paths in it start from its folder.

    Returns:
        What it declares, checked as far as it can be without running anything.

    Raises:
        ConfigFileError: If it cannot be read, or declares something that cannot be.
    """
    top = read_entries(path).fields(_KEYS, required=("space", "budget", "command"))
    space = _space(top["space"], top.get("linear_constraints"))
    objective, subject_to = _outcomes(path, top)
    here = path.resolve().parent
    storage = _storage(top.get("storage"), path)
    name = top["name"].text() if "name" in top else None
    folder = here / Path(top["folder"].text()).expanduser() if "folder" in top else here
    return StudyFile(
        path=path,
        space=space,
        objective=objective,
        subject_to=subject_to,
        priors=(
            *(_places(top["priors"], space) if "priors" in top else ()),
            *(_optimal_value(top["optimal_value"]) if "optimal_value" in top else ()),
            *(_preferences(top["preferences"], space) if "preferences" in top else ()),
        ),
        enqueue=tuple(_params(item, space) for item in top["enqueue"].items()) if "enqueue" in top else (),
        budget=_budget(top["budget"]),
        storage=storage,
        name=name,
        seed=top["seed"].whole(at_least=0) if "seed" in top else None,
        noise=top["noise"].number(at_least=0) if "noise" in top else None,
        workers=top["workers"].whole(at_least=1) if "workers" in top else 1,
        template=read_template(top["command"], top.get("environment"), space),
        folder=folder,
        logs=here / Path(top["logs"].text()).expanduser() if "logs" in top else _default_logs(storage, name, here),
        time_limit=top["time_limit"].number(above=0) if "time_limit" in top else None,
        cost=_cost(top.get("cost"), objective, subject_to),
        stop_early=top["stop_early"].flag() if "stop_early" in top else False,
    )


_Reader = Callable[[Entry], Any]


def _shares(entry: Entry) -> Any:
    return {name: share.number() for name, share in entry.fields().items()} if entry.is_mapping else entry.number()


def _names(entry: Entry) -> list[str]:
    return [item.text() for item in entry.items()]


def _options(entry: Entry) -> list[Any]:
    return [item.scalar() for item in entry.items()]


_PARAMETERS: Final[dict[str, tuple[Callable[..., Any], dict[str, _Reader], tuple[str, ...]]]] = {
    "float": (Float, {"low": Entry.number, "high": Entry.number, "log": Entry.flag}, ("low", "high")),
    "int": (Int, {"low": Entry.whole, "high": Entry.whole, "log": Entry.flag}, ("low", "high")),
    "choice": (Choice, {"options": _options, "ordered": Entry.flag}, ("options",)),
    "simplex": (Simplex, {"names": _names, "floors": _shares, "caps": _shares}, ("names",)),
}
"""Per type: what it makes, how each of its keys is read, and which must be there."""


def _parameter(entry: Entry) -> Any:
    fields = entry.fields(required=("type",))
    kind = fields["type"].text()
    if kind not in _PARAMETERS:
        fields["type"].fail(f"there is no type {kind!r}; {suggestion(kind, list(_PARAMETERS))}")
    make, readers, required = _PARAMETERS[kind]
    readers = {**readers, "active_if": Entry.value}
    fields = entry.fields(known=("type", *readers), required=required)
    arguments = {key: readers[key](field) for key, field in fields.items() if key != "type"}
    return entry.checked(lambda: make(**arguments))


def _space(entry: Entry, linear: Entry | None) -> Space:
    parameters = {name: _parameter(field) for name, field in entry.fields().items()}
    constraints = [_linear_constraint(item) for item in linear.items()] if linear else []
    # What only both together can be refused for is said where the constraints stand.
    entry.checked(lambda: Space(parameters))
    space: Space = (linear or entry).checked(lambda: Space(parameters, constraints=constraints))
    return space


def _linear_constraint(entry: Entry) -> LinearConstraint:
    fields = entry.fields(known=("coefficients", "lower", "upper"), required=("coefficients",))
    bounds = {key: field.number() for key, field in fields.items() if key != "coefficients"}
    coefficients = {name: field.number() for name, field in fields["coefficients"].fields().items()}
    constraint: LinearConstraint = entry.checked(lambda: LinearConstraint(coefficients, **bounds))
    return constraint


def _outcomes(path: Path, top: Mapping[str, Entry]) -> tuple[Objective, tuple[Constraint, ...]]:
    if ("minimize" in top) == ("maximize" in top):
        given = "both" if "minimize" in top else "neither"
        raise ConfigFileError(f"{path}: give either `minimize: outcome` or `maximize: outcome`; got {given}.")
    direction = "minimize" if "minimize" in top else "maximize"
    objective: Objective = top[direction].checked(lambda: Objective(top[direction].text(), direction))  # type: ignore[arg-type]
    if "subject_to" not in top:
        return objective, ()
    kinds: dict[str, type[Constraint]] = {"at_most": AtMost, "at_least": AtLeast}
    subject_to = []
    for name, entry in top["subject_to"].fields().items():
        bounds = entry.fields(known=tuple(kinds))
        if not bounds:
            entry.fail("give {at_most: number} or {at_least: number}.")
        subject_to += [kinds[kind](name, bound.number()) for kind, bound in bounds.items()]
    top["subject_to"].checked(lambda: Outcomes(objective, tuple(subject_to)))
    return objective, tuple(subject_to)


def _places(entry: Entry, space: Space) -> tuple[OptimumPrior, ...]:
    beliefs: dict[str, Any] = {}
    for name, field in entry.fields().items():
        if name not in space:
            field.fail(f"there is no such parameter; {suggestion(name, list(space))}")
        belief = beliefs[name] = _belief(field, space[name])
        field.checked(partial(OptimumPrior({name: belief}).on, space))
    return (OptimumPrior(beliefs),) if beliefs else ()


def _belief(entry: Entry, parameter: Any) -> Any:
    if isinstance(parameter, Choice):
        weights = entry.fields(known=("weights",), required=("weights",))["weights"]
        return {option: weight.number() for option, weight in weights.pairs()}
    second = "concentration" if isinstance(parameter, Simplex) else "spread"
    fields = entry.fields(known=("center", second), required=("center", second))
    return _native(fields["center"], parameter), fields[second].number()


def _optimal_value(entry: Entry) -> tuple[OptimalValuePrior, ...]:
    numbers = {key: field.number() for key, field in entry.fields(known=_VALUE_KEYS).items()}
    return (entry.checked(lambda: OptimalValuePrior(**numbers)),)


def _preferences(entry: Entry, space: Space) -> tuple[PreferencePrior, ...]:
    fields = entry.fields(known=("pairs", "softness"), required=("pairs",))
    softness = fields["softness"].number(at_least=0) if "softness" in fields else 0.0
    pairs = []
    for item in fields["pairs"].items():
        pair = item.fields(known=("better", "worse"), required=("better", "worse"))
        pairs.append((_params(pair["better"], space), _params(pair["worse"], space)))
    return (fields["pairs"].checked(lambda: PreferencePrior(pairs, softness)),)


def _native(entry: Entry, parameter: Any) -> Any:
    """A parameter's value, read as what the parameter is."""
    kinds = {Choice: Entry.scalar, Simplex: _shares, Int: Entry.whole, Float: Entry.number}
    return kinds[type(parameter)](entry)


def _params(entry: Entry, space: Space) -> dict[str, Any]:
    fields = entry.fields(known=space.names)
    given = {name: _native(field, space[name]) for name, field in fields.items()}
    params: dict[str, Any] = entry.checked(lambda: space.validate(given))
    return params


def _budget(entry: Entry) -> Budget:
    fields = entry.fields(known=("trials", "cost"))
    if not fields:
        entry.fail("give {trials: number}, {cost: number} or both.")
    trials = fields["trials"].whole(at_least=1) if "trials" in fields else None
    return Budget(trials=trials, cost=fields["cost"].number(above=0) if "cost" in fields else None)


def _storage(entry: Entry | None, path: Path) -> str:
    if entry is None:
        return str(path.resolve().with_suffix(".db"))
    text = entry.text()
    return text if "://" in text else str(path.resolve().parent / Path(text).expanduser())


def _default_logs(storage: str, name: str | None, here: Path) -> Path:
    parts = [] if "://" in storage else [Path(storage).stem]
    # Trials of two studies in one storage have the same numbers.
    parts += [re.sub(r"[^\w.-]+", "_", name)] if name else []
    parent = here if "://" in storage else Path(storage).parent
    return parent / "-".join([*parts, "logs"])


def _cost(entry: Entry | None, objective: Objective, subject_to: Sequence[Constraint]) -> str:
    cost = _SECONDS if entry is None else entry.text()
    if entry and cost != _SECONDS and "cost" in Outcomes(objective, tuple(subject_to)).names:
        entry.fail("an outcome is called 'cost', so what a trial costs can only be its seconds; rename the outcome.")
    return cost
