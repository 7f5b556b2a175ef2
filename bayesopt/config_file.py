"""A study and the command that evaluates its trials, read from a YAML file.

Scalars follow YAML 1.2: `1e-5` is a number, `on` and `no` are text, and only `true` and `false` are booleans. Every
error names the file, the line and the key.
"""

import difflib
import json
import math
import re
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

import yaml

from bayesopt.child_process import Command
from bayesopt.errors import BayesoptError, ConfigFileError, InvalidBudgetError
from bayesopt.problem.arguments import non_negative
from bayesopt.problem.budget import Budget
from bayesopt.problem.outcomes import AtLeast, AtMost, Constraint, Objective, Outcomes
from bayesopt.problem.parameters import Choice, Float, Int, Simplex
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

_SECONDS: Final = "seconds"
"""Value of `cost` that charges a trial its wall time."""

_SHELL_WORDS: Final = frozenset({"|", "||", "&&", "&", ";", "<", ">", ">>", "2>", "2>&1", "&>"})
"""What only a shell understands; without one, they would be handed to the program as arguments."""

_PLACEHOLDER: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
"""An escaped brace, a placeholder, or a brace that is neither."""

_TAG: Final = "tag:yaml.org,2002:"


@dataclass(frozen=True, kw_only=True)
class CommandTemplate:
    """A command with placeholders for what differs between trials.

    `{lr}` is the value of a parameter, `{mixture.web}` one share of a `Simplex`, `{mixture}` all its shares as JSON,
    `{params}` every active parameter as JSON and `{trial}` the trial's id; `{{` and `}}` are braces. Text stands as
    it is, everything else as JSON writes it (`true`, `null`, `0.0003`). An argument with an inactive parameter is left
    out, and with it the option that stands before it on its own, as in `--momentum {momentum}`.
    """

    arguments: tuple[str, ...]
    """The program and its arguments."""
    environment: Mapping[str, str]
    """Environment variables."""

    def fill(self, trial: Trial, space: Space) -> tuple[list[str], dict[str, str]]:
        """The arguments and the environment of one trial."""
        values = _placeholders(space) | {"params": trial.params, "trial": trial.id} | _with_shares(trial.params)
        arguments: list[str] = []
        previous = ""
        for argument in self.arguments:
            filled = _fill(argument, values)
            if filled is not None:
                arguments.append(filled)
            elif arguments and arguments[-1] == previous and re.fullmatch(r"-[^={}]+", previous):
                arguments.pop()
            previous = argument
        environment = {name: _fill(text, values) for name, text in self.environment.items()}
        return arguments, {name: text for name, text in environment.items() if text is not None}


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
    priors: tuple[OptimumPrior, ...]
    """Beliefs about the optimum's place."""
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
        """The study: a new one, or the one that the storage holds."""
        direction: dict[str, Any] = {self.objective.direction: self.objective.name}
        return Study(
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

    def charge(self, outcomes: Mapping[str, Any], seconds: float) -> float:
        """What a trial cost.

        Args:
            outcomes: What its command printed.
            seconds: How long it took.

        Returns:
            The cost, in the unit of the budget.

        Raises:
            InvalidBudgetError: If the outcome that is the cost is missing or no number of at least 0.
        """
        if self.cost == _SECONDS:
            return seconds
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
    top = _parse(path).fields(_KEYS, required=("space", "budget", "command"))
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
        priors=_priors(top["priors"], space) if "priors" in top else (),
        budget=_budget(top["budget"]),
        storage=storage,
        name=name,
        seed=top["seed"].whole(at_least=0) if "seed" in top else None,
        noise=top["noise"].number(at_least=0) if "noise" in top else None,
        workers=top["workers"].whole(at_least=1) if "workers" in top else 1,
        template=_template(top["command"], top.get("environment"), space),
        folder=folder,
        logs=here / Path(top["logs"].text()).expanduser() if "logs" in top else _default_logs(storage, name, here),
        time_limit=top["time_limit"].number(above=0) if "time_limit" in top else None,
        cost=_cost(top.get("cost"), objective, subject_to),
        stop_early=top["stop_early"].flag() if "stop_early" in top else False,
    )


# -- the file as entries -------------------------------------------------------------------------------------------


class _Entry:
    """A value of the file together with where it stands."""

    def __init__(self, path: Path, node: yaml.Node, key: str, line: int) -> None:
        self._path, self._node, self.key, self._line = path, node, key, line

    def fail(self, message: str) -> NoReturn:
        """Raise a `ConfigFileError` that says where this stands."""
        raise ConfigFileError(f"{self._path}:{self._line}: {self.key + ': ' if self.key else ''}{message}")

    def checked(self, make: Callable[[], Any]) -> Any:
        """What `make` returns; what it refuses is said with where this stands."""
        try:
            return make()
        except BayesoptError as error:
            self.fail(str(error))

    def fields(self, known: Sequence[str] | None = None, required: Sequence[str] = ()) -> dict[str, "_Entry"]:
        """The entries of a mapping whose keys are names.

        Args:
            known: The keys that may stand here; None accepts any.
            required: The keys that must stand here.

        Returns:
            The entries by name, in the order of the file.
        """
        entries: dict[str, _Entry] = {}
        for key, entry in self.pairs():
            if not isinstance(key, str) or not key:
                entry.fail(f"a name is needed here, got {key!r}; put it in quotes if it is one.")
            if known is not None and key not in known:
                entry.fail(f"unknown key; {_suggestion(key, known)}")
            entries[key] = entry
        for key in required:
            if key not in entries:
                self.fail(f"{key!r} is missing.")
        return entries

    def pairs(self) -> list[tuple[Any, "_Entry"]]:
        """The keys and entries of a mapping; no key twice."""
        if not isinstance(self._node, yaml.MappingNode):
            self.fail(f"expected a mapping such as {{key: value}}, got {self.shown}.")
        first_lines: dict[tuple[type, Any], int] = {}
        pairs = []
        for key_node, node in self._node.value:
            line = key_node.start_mark.line + 1
            key = _Entry(self._path, key_node, self.key, line).scalar()
            entry = _Entry(self._path, node, f"{self.key}.{key}" if self.key else str(key), line)
            if (type(key), key) in first_lines:
                entry.fail(f"stands twice, first in line {first_lines[type(key), key]}; only one of them could count.")
            first_lines[type(key), key] = line
            pairs.append((key, entry))
        return pairs

    def items(self) -> list["_Entry"]:
        """The entries of a list."""
        if not isinstance(self._node, yaml.SequenceNode):
            self.fail(f"expected a list such as [a, b], got {self.shown}.")
        return [
            _Entry(self._path, node, f"{self.key}[{index}]", node.start_mark.line + 1)
            for index, node in enumerate(self._node.value)
        ]

    def value(self) -> Any:
        """The plain value: scalars, lists and dicts of them."""
        if isinstance(self._node, yaml.MappingNode):
            return {key: entry.value() for key, entry in self.pairs()}
        if isinstance(self._node, yaml.SequenceNode):
            return [entry.value() for entry in self.items()]
        return self.scalar()

    def scalar(self) -> str | int | float | bool | None:
        """A single value."""
        if not isinstance(self._node, yaml.ScalarNode):
            self.fail(f"expected a single value, got {self.shown}.")
        kind, text = self._node.tag.removeprefix(_TAG), self._node.value
        try:
            return _SCALARS[kind](text)
        except KeyError:
            self.fail(f"the tag {self._node.tag} is not supported.")
        except ValueError:
            self.fail(f"{text!r} is no {kind}.")

    def number(self, *, at_least: float = -math.inf, above: float = -math.inf) -> float:
        """A finite number; also one in quotes."""
        value = self.scalar()
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                self.fail(f"expected a number, got {value!r}.")
        if isinstance(value, bool) or value is None or not math.isfinite(value):
            self.fail(f"expected a finite number, got {self.shown}.")
        if value < at_least or value <= above:
            self.fail(f"expected a number {f'of at least {at_least:g}' if value < at_least else f'above {above:g}'}.")
        return value

    def whole(self, *, at_least: float = -math.inf) -> int:
        """A whole number; `1e3` is one too."""
        value = self.number(at_least=at_least)
        if value != int(value):
            self.fail(f"expected a whole number, got {self.shown}.")
        return int(value)

    def flag(self) -> bool:
        """True or false, also in the words of YAML 1.1."""
        value = self.scalar()
        words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
        flag = words.get(str(value).lower())
        if flag is None:
            self.fail(f"expected true or false, got {self.shown}.")
        return flag

    def text(self) -> str:
        """A non-empty text."""
        value = self.scalar()
        if not isinstance(value, str) or not value.strip():
            self.fail(f"expected a text, got {self.shown}.")
        return value

    @property
    def shown(self) -> str:
        """The value for a message."""
        if isinstance(self._node, yaml.ScalarNode):
            return repr(self._node.value) if self._node.value else "nothing"
        return "a list" if isinstance(self._node, yaml.SequenceNode) else "a mapping"

    @property
    def is_list(self) -> bool:
        """Whether it is a list."""
        return isinstance(self._node, yaml.SequenceNode)

    @property
    def is_mapping(self) -> bool:
        """Whether it is a mapping."""
        return isinstance(self._node, yaml.MappingNode)


def _parse(path: Path) -> _Entry:
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise ConfigFileError(f"{path}: cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigFileError(f"{path}: is no UTF-8 text ({error.reason} at byte {error.start}).") from error
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigFileError(_syntax_error(path, error)) from error
    if node is None:
        raise ConfigFileError(f"{path}: is empty; it needs at least space, minimize or maximize, budget and command.")
    _refuse_cycles(path, node, ())
    top = _Entry(path, node, "", node.start_mark.line + 1)
    if not isinstance(node, yaml.MappingNode):
        top.fail(f"expected keys such as `space:` at the top, got {top.shown}.")
    return top


def _syntax_error(path: Path, error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError) or (mark := error.problem_mark or error.context_mark) is None:
        return f"{path}: is no YAML: {str(error).splitlines()[0]}."
    problem = error.problem or error.context or "is no YAML"
    if "'\\t'" in problem:
        problem = "a tab; YAML indents with spaces"
    return f"{path}:{mark.line + 1}: {problem}."


def _refuse_cycles(path: Path, node: yaml.Node, above: tuple[int, ...]) -> None:
    if id(node) in above:
        raise ConfigFileError(f"{path}:{node.start_mark.line + 1}: an alias that contains itself.")
    if isinstance(node, yaml.CollectionNode):
        for child in node.value:
            for part in child if isinstance(child, tuple) else (child,):
                _refuse_cycles(path, part, (*above, id(node)))


class _Loader(yaml.SafeLoader):
    """Reads scalars as YAML 1.2 does: PyYAML itself makes text of `1e-5`, a boolean of `on`, 45000 of `12:30:00`."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012   # PyYAML's name, and its declaration


for _kind, _pattern, _starts in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9][0-9_]*", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
):
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(f"^(?:{_pattern})$"), list(_starts))

_SCALARS: Final[dict[str, Callable[[str], Any]]] = {
    "str": str,
    "null": lambda text: None,
    "bool": lambda text: text.lower() == "true",
    "int": int,
    "float": lambda text: float(re.sub(r"\.(inf|nan)$", r"\1", text.lower())),
}
"""From a resolved scalar's text to its value."""


def _suggestion(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}."


# -- entries as declarations ---------------------------------------------------------------------------------------

_Reader = Callable[[_Entry], Any]


def _shares(entry: _Entry) -> Any:
    return {name: share.number() for name, share in entry.fields().items()} if entry.is_mapping else entry.number()


def _names(entry: _Entry) -> list[str]:
    return [item.text() for item in entry.items()]


def _options(entry: _Entry) -> list[Any]:
    return [item.scalar() for item in entry.items()]


_PARAMETERS: Final[dict[str, tuple[Callable[..., Any], dict[str, _Reader], tuple[str, ...]]]] = {
    "float": (Float, {"low": _Entry.number, "high": _Entry.number, "log": _Entry.flag}, ("low", "high")),
    "int": (Int, {"low": _Entry.whole, "high": _Entry.whole, "log": _Entry.flag}, ("low", "high")),
    "choice": (Choice, {"options": _options, "ordered": _Entry.flag}, ("options",)),
    "simplex": (Simplex, {"names": _names, "floors": _shares, "caps": _shares}, ("names",)),
}
"""Per type: what it makes, how each of its keys is read, and which must be there."""


def _parameter(entry: _Entry) -> Any:
    fields = entry.fields(required=("type",))
    kind = fields["type"].text()
    if kind not in _PARAMETERS:
        fields["type"].fail(f"there is no type {kind!r}; {_suggestion(kind, list(_PARAMETERS))}")
    make, readers, required = _PARAMETERS[kind]
    readers = {**readers, "active_if": _Entry.value}
    fields = entry.fields(known=("type", *readers), required=required)
    arguments = {key: readers[key](field) for key, field in fields.items() if key != "type"}
    return entry.checked(lambda: make(**arguments))


def _space(entry: _Entry, linear: _Entry | None) -> Space:
    parameters = {name: _parameter(field) for name, field in entry.fields().items()}
    constraints = [_linear_constraint(item) for item in linear.items()] if linear else []
    # What only both together can be refused for is said where the constraints stand.
    entry.checked(lambda: Space(parameters))
    space: Space = (linear or entry).checked(lambda: Space(parameters, constraints=constraints))
    return space


def _linear_constraint(entry: _Entry) -> LinearConstraint:
    fields = entry.fields(known=("coefficients", "lower", "upper"), required=("coefficients",))
    bounds = {key: field.number() for key, field in fields.items() if key != "coefficients"}
    coefficients = {name: field.number() for name, field in fields["coefficients"].fields().items()}
    constraint: LinearConstraint = entry.checked(lambda: LinearConstraint(coefficients, **bounds))
    return constraint


def _outcomes(path: Path, top: Mapping[str, _Entry]) -> tuple[Objective, tuple[Constraint, ...]]:
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


def _priors(entry: _Entry, space: Space) -> tuple[OptimumPrior, ...]:
    beliefs: dict[str, Any] = {}
    for name, field in entry.fields().items():
        if name not in space:
            field.fail(f"there is no such parameter; {_suggestion(name, list(space))}")
        belief = beliefs[name] = _belief(field, space[name])
        field.checked(partial(OptimumPrior({name: belief}).on, space))
    return (OptimumPrior(beliefs),) if beliefs else ()


def _belief(entry: _Entry, parameter: Any) -> Any:
    if isinstance(parameter, Choice):
        weights = entry.fields(known=("weights",), required=("weights",))["weights"]
        return {option: weight.number() for option, weight in weights.pairs()}
    second = "concentration" if isinstance(parameter, Simplex) else "spread"
    fields = entry.fields(known=("center", second), required=("center", second))
    read = _shares if isinstance(parameter, Simplex) else _Entry.whole if isinstance(parameter, Int) else _Entry.number
    return read(fields["center"]), fields[second].number()


def _budget(entry: _Entry) -> Budget:
    fields = entry.fields(known=("trials", "cost"))
    if not fields:
        entry.fail("give {trials: number}, {cost: number} or both.")
    trials = fields["trials"].whole(at_least=1) if "trials" in fields else None
    return Budget(trials=trials, cost=fields["cost"].number(above=0) if "cost" in fields else None)


def _storage(entry: _Entry | None, path: Path) -> str:
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


def _cost(entry: _Entry | None, objective: Objective, subject_to: Sequence[Constraint]) -> str:
    cost = _SECONDS if entry is None else entry.text()
    if entry and cost != _SECONDS and "cost" in Outcomes(objective, tuple(subject_to)).names:
        entry.fail("an outcome is called 'cost', so what a trial costs can only be its seconds; rename the outcome.")
    return cost


def _template(entry: _Entry, environment: _Entry | None, space: Space) -> CommandTemplate:
    if entry.is_list:
        arguments = [_argument(item) for item in entry.items()]
    else:
        try:
            arguments = shlex.split(entry.text())
        except ValueError as error:
            entry.fail(f"{error}.")
        if shell := [word for word in arguments if word in _SHELL_WORDS]:
            entry.fail(
                f"{shell[0]!r} needs a shell, and none is used; put the line in a script, or write it as a list."
            )
    if not arguments:
        entry.fail("it is empty.")
    variables = {name: _argument(field) for name, field in environment.fields().items()} if environment else {}
    known = [*_placeholders(space), "params", "trial"]
    mentioned: set[str] = set()
    for source, texts in ((entry, arguments), (environment, list(variables.values()))):
        for text in texts:
            mentioned |= _mentioned(source or entry, text, known)
    silent = [name for name in space if name not in {full.split(".")[0] for full in mentioned} | mentioned]
    if silent and "params" not in mentioned:
        entry.fail(
            f"never mentions {silent[0]!r}, so it could not be tuned; write {{{silent[0]}}} where its value belongs, "
            "or {params} for all parameters as JSON."
        )
    return CommandTemplate(arguments=tuple(arguments), environment=variables)


def _argument(entry: _Entry) -> str:
    return _json_text(entry.scalar())


def _mentioned(entry: _Entry, text: str, known: Sequence[str]) -> set[str]:
    names = set()
    for match in _PLACEHOLDER.finditer(text):
        name = match[1]
        if name is None and match[0] not in ("{{", "}}"):
            entry.fail(f"a single {match[0]!r} in {text!r}; write {match[0] * 2} for a brace.")
        if name is not None and name not in known:
            entry.fail(f"unknown placeholder {{{name}}}; {_suggestion(name, known)} Literal braces are {{{{ and }}}}.")
        names |= {name} - {None}
    return names


def _fill(text: str, values: Mapping[str, Any]) -> str | None:
    """The text with every placeholder replaced; None if one of them is of an inactive parameter."""
    if any(match[1] is not None and values[match[1]] is _INACTIVE for match in _PLACEHOLDER.finditer(text)):
        return None
    return _PLACEHOLDER.sub(
        lambda match: match[0][0] if match[1] is None else _json_text(values[match[1]]),
        text,
    )


def _json_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


_INACTIVE: Final = object()


def _placeholders(space: Space) -> dict[str, Any]:
    """Every parameter and every share, each as if it were inactive."""
    names = []
    for name, parameter in space.items():
        names += [name] + ([f"{name}.{share}" for share in parameter.names] if isinstance(parameter, Simplex) else [])
    return dict.fromkeys(names, _INACTIVE)


def _with_shares(params: Mapping[str, Any]) -> dict[str, Any]:
    shares = {
        f"{name}.{share}": amount
        for name, value in params.items()
        if isinstance(value, dict)
        for share, amount in value.items()
    }
    return {**params, **shares}
