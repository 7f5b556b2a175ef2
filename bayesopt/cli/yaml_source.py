"""A YAML file as entries that know where they stand.

Scalars follow YAML 1.2: `1e-5` is a number, `on` and `no` are text, and only `true` and `false` are booleans. Every
error names the file, the line and the key.
"""

import difflib
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import yaml

from bayesopt.errors import BayesoptError, ConfigFileError

_TAG: Final = "tag:yaml.org,2002:"


class Entry:
    """A value of the file together with where it stands."""

    def __init__(self, path: Path, node: yaml.Node, key: str, line: int) -> None:
        """An entry.

        Args:
            path: The file.
            node: What stands there.
            key: Its dotted name, for messages; empty at the top.
            line: Where it stands, counted from 1.
        """
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

    def fields(self, known: Sequence[str] | None = None, required: Sequence[str] = ()) -> dict[str, "Entry"]:
        """The entries of a mapping whose keys are names.

        Args:
            known: The keys that may stand here; None accepts any.
            required: The keys that must stand here.

        Returns:
            The entries by name, in the order of the file.
        """
        entries: dict[str, Entry] = {}
        for key, entry in self.pairs():
            if not isinstance(key, str) or not key:
                entry.fail(f"a name is needed here, got {key!r}; put it in quotes if it is one.")
            if known is not None and key not in known:
                entry.fail(f"unknown key; {suggestion(key, known)}")
            entries[key] = entry
        for key in required:
            if key not in entries:
                self.fail(f"{key!r} is missing.")
        return entries

    def pairs(self) -> list[tuple[Any, "Entry"]]:
        """The keys and entries of a mapping; no key twice."""
        if not isinstance(self._node, yaml.MappingNode):
            self.fail(f"expected a mapping such as {{key: value}}, got {self.shown}.")
        first_lines: dict[tuple[type, Any], int] = {}
        pairs = []
        for key_node, node in self._node.value:
            line = key_node.start_mark.line + 1
            key = Entry(self._path, key_node, self.key, line).scalar()
            entry = Entry(self._path, node, f"{self.key}.{key}" if self.key else str(key), line)
            if (type(key), key) in first_lines:
                entry.fail(f"stands twice, first in line {first_lines[type(key), key]}; only one of them could count.")
            first_lines[type(key), key] = line
            pairs.append((key, entry))
        return pairs

    def items(self) -> list["Entry"]:
        """The entries of a list."""
        if not isinstance(self._node, yaml.SequenceNode):
            self.fail(f"expected a list such as [a, b], got {self.shown}.")
        return [
            Entry(self._path, node, f"{self.key}[{index}]", node.start_mark.line + 1)
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


def read_entries(path: Path) -> Entry:
    """The entry at the top of a file: a mapping, or an error that says what is wrong with the file."""
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
    top = Entry(path, node, "", node.start_mark.line + 1)
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


def suggestion(word: str, known: Sequence[str]) -> str:
    """What might have been meant, or what is known."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}."
