"""The command that evaluates a trial, with placeholders for what differs between trials."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bayesopt.cli.yaml_source import Entry, suggestion
from bayesopt.problem.parameters import Simplex
from bayesopt.problem.space import Space
from bayesopt.record.trial import Trial

_SHELL_WORDS: Final = frozenset({"|", "||", "&&", "&", ";", "<", ">", ">>", "2>", "2>&1", "&>"})
"""What only a shell understands; without one, they would be handed to the program as arguments."""

_PLACEHOLDER: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
"""An escaped brace, a placeholder, or a brace that is neither."""

_INACTIVE: Final = object()
"""Stands for the value of a parameter that a trial does not have."""


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


def read_template(entry: Entry, environment: Entry | None, space: Space) -> CommandTemplate:
    """The template that a file declares; one that cannot be filled, or leaves a parameter out, is an error."""
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


def _argument(entry: Entry) -> str:
    return _json_text(entry.scalar())


def _mentioned(entry: Entry, text: str, known: Sequence[str]) -> set[str]:
    names = set()
    for match in _PLACEHOLDER.finditer(text):
        name = match[1]
        if name is None and match[0] not in ("{{", "}}"):
            entry.fail(f"a single {match[0]!r} in {text!r}; write {match[0] * 2} for a brace.")
        if name is not None and name not in known:
            entry.fail(f"unknown placeholder {{{name}}}; {suggestion(name, known)} Literal braces are {{{{ and }}}}.")
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
