"""What can be varied: real and whole numbers, options, and shares of a whole.

A parameter knows its range, checks values and maps them to columns of the unit cube and back; `Space` puts parameters
together. Alphabet. u: unit values of one configuration, shape `w`; w: columns of the parameter.
"""

import math
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from bayesopt.errors import InvalidParamsError, InvalidSpaceError
from bayesopt.problem.arguments import as_number
from bayesopt.problem.scales import IntegerScale, LinearScale, LogIntegerScale, LogScale
from bayesopt.problem.sticks import STEPS, StickBreaking

FloatArray = NDArray[np.float64]
Kind = Literal["continuous", "integer", "ordinal", "categorical", "simplex"]
Option = str | int | float | bool | None

NARROWEST: Final = 1e-9
"""A real range must be this wide relative to its larger bound: below, 64-bit floats tell too few numbers apart."""

LEAST_WIDTH: Final = 1e-300
"""Narrower real ranges would need the subnormal numbers, which carry few digits."""

MOST_INTEGERS: Final = 2**50
"""A whole-number range may hold this many, so that each one's share of [0, 1] is told apart in 64 bits."""

LARGEST_INTEGER: Final = 2**53
"""Largest magnitude up to which every whole number is a 64-bit float."""

LARGEST_LOG_INTEGER: Final = 2**40
"""Largest bound of a logarithmic whole number: neighbours up there are still told apart after a logarithm."""

SHARE_TOLERANCE: Final = 1e-9
"""How far a sum of shares may be from 1, and a share beyond its floor or cap: rounding, not intent."""

_BOUND_SLACK: Final = 1e-12
"""A number this far outside a real range, relative to its width, is read as the bound: exp(log(x)) is not quite x."""


@dataclass(frozen=True, repr=False)
class Float:
    """A real number between two bounds, both included.

    Example:
        >>> Float(1e-5, 1e-1, log=True)
        Float(1e-05, 0.1, log=True)
    """

    low: float
    """Least value."""
    high: float
    """Greatest value."""
    log: bool = field(default=False, kw_only=True)
    """Whether the logarithm is what is spread evenly: for numbers whose factors matter, such as a learning rate."""
    active_if: Mapping[str, Any] | None = field(default=None, kw_only=True)
    """Parent's name to the value, or list of values, under which this parameter exists; None for always."""

    def __post_init__(self) -> None:
        """Refuse ranges that a 64-bit float cannot serve.

        Raises:
            InvalidSpaceError: If a bound is no finite number, the range is empty, or it is too narrow or too wide.
        """
        low, high = (_finite(f"Float {end}", value) for end, value in (("low", self.low), ("high", self.high)))
        object.__setattr__(self, "low", low + 0.0)  # + 0.0: never -0.0
        object.__setattr__(self, "high", high + 0.0)
        _set_log(self, "Float")
        object.__setattr__(self, "active_if", _conditions(self.active_if))
        _check_order("Float", low, high, self.log)
        if self.log and (low < np.finfo(np.float64).tiny or math.isinf(high / low) or math.log(high / low) > 709):
            raise InvalidSpaceError(
                f"Float({low!r}, {high!r}, log=True): the range spans more than a 64-bit float can; "
                "a factor of up to 1e307 between normal numbers is accepted. Raise low or lower high."
            )
        if math.isinf(high - low):
            raise InvalidSpaceError(
                f"Float({low!r}, {high!r}): high - low overflows a 64-bit float; halve the bounds, or change the unit."
            )
        if high - low < max(NARROWEST * max(abs(low), abs(high)), LEAST_WIDTH):
            raise InvalidSpaceError(
                f"Float({low!r}, {high!r}): the range is too narrow for 64-bit floats to tell its numbers apart "
                f"(relative width {NARROWEST:g}, and {LEAST_WIDTH:g}, are the least accepted). "
                "Tune the difference to low instead, in a smaller unit."
            )

    @property
    def kind(self) -> Kind:
        """What its column is."""
        return "continuous"

    @property
    def levels(self) -> int | None:
        """None: uncountably many values."""
        return None

    @property
    def width(self) -> int:
        """Columns of the unit cube."""
        return 1

    @cached_property
    def scale(self) -> LinearScale | LogScale:
        """The map between its column and its values."""
        return (LogScale if self.log else LinearScale)([self.low], [self.high])

    def validate(self, name: str, value: Any) -> float:
        """One value as a Python float.

        Args:
            name: The parameter's name, for messages.
            value: A number; NumPy scalars and zero-dimensional tensors are read as one.

        Returns:
            The value; one that is outside by a rounding becomes the bound.

        Raises:
            InvalidParamsError: If it is no finite number, or outside the bounds.
        """
        number = as_number(f"{name!r}", value, InvalidParamsError)
        if not math.isfinite(number):
            raise InvalidParamsError(f"{name!r}: expected a finite number, got {number!r}.")
        slack = _BOUND_SLACK * (self.high - self.low)
        if not self.low - slack <= number <= self.high + slack:
            raise InvalidParamsError(_outside(name, number, self.low, self.high))
        return min(max(number, self.low), self.high) + 0.0

    def encode(self, value: Any) -> FloatArray:
        """Its column, shape `1`, at a valid value."""
        return self.scale.unit(np.array([[float(value)]]))[0]

    def decode(self, u: FloatArray) -> float:
        """The value at a place of its column, shape `1`."""
        return float(self.scale.native(_row(u))[0, 0])

    @override
    def __repr__(self) -> str:
        """As it was declared, defaults left out."""
        return _call("Float", repr(self.low), repr(self.high), log=self.log, active_if=_shown(self.active_if))

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values that `parameter_from_json` reads."""
        return {"type": "float", "low": self.low, "high": self.high} | _optional(log=self.log, active_if=self.active_if)


@dataclass(frozen=True, repr=False)
class Int:
    """A whole number between two bounds, both included.

    Example:
        >>> Int(16, 512, log=True)
        Int(16, 512, log=True)
    """

    low: int
    """Least value."""
    high: int
    """Greatest value."""
    log: bool = field(default=False, kw_only=True)
    """Whether the logarithm is what is spread evenly: for counts whose factors matter, such as a batch size."""
    active_if: Mapping[str, Any] | None = field(default=None, kw_only=True)
    """Parent's name to the value, or list of values, under which this parameter exists; None for always."""

    def __post_init__(self) -> None:
        """Refuse ranges whose whole numbers a 64-bit float cannot tell apart.

        Raises:
            InvalidSpaceError: If a bound is no whole number, the range is empty, or it is too wide.
        """
        low, high = (_whole(f"Int {end}", value) for end, value in (("low", self.low), ("high", self.high)))
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)
        _set_log(self, "Int")
        object.__setattr__(self, "active_if", _conditions(self.active_if))
        _check_order("Int", low, high, self.log)
        if self.log and high > LARGEST_LOG_INTEGER:
            raise InvalidSpaceError(
                f"Int({low}, {high}, log=True): with log=True the largest bound is 2**40 = {LARGEST_LOG_INTEGER}; "
                "use Float(..., log=True) and round it where it is used."
            )
        if max(-low, high) > LARGEST_INTEGER or high - low >= MOST_INTEGERS:
            raise InvalidSpaceError(
                f"Int({low}, {high}): bounds up to 2**53 in size and up to 2**50 whole numbers between them are "
                "accepted, those that 64-bit floats tell apart; use Float and round it where it is used."
            )

    @property
    def kind(self) -> Kind:
        """What its column is."""
        return "integer"

    @property
    def levels(self) -> int:
        """How many values it has."""
        return self.high - self.low + 1

    @property
    def width(self) -> int:
        """Columns of the unit cube."""
        return 1

    @cached_property
    def scale(self) -> IntegerScale | LogIntegerScale:
        """The map between its column and its values."""
        return (LogIntegerScale if self.log else IntegerScale)([self.low], [self.high])

    def validate(self, name: str, value: Any) -> int:
        """One value as a Python int.

        Args:
            name: The parameter's name, for messages.
            value: A whole number; 8.0, NumPy scalars and zero-dimensional tensors are read as one.

        Returns:
            The value.

        Raises:
            InvalidParamsError: If it is no whole number, or outside the bounds.
        """
        value = plain(value)
        if not isinstance(value, numbers.Integral) or isinstance(value, bool):
            number = as_number(f"{name!r}", value, InvalidParamsError)
            if not number.is_integer():
                raise InvalidParamsError(f"{name!r}: expected a whole number, got {value!r}.")
        number = int(value)
        if not self.low <= number <= self.high:
            raise InvalidParamsError(_outside(name, number, self.low, self.high))
        return number

    def encode(self, value: Any) -> FloatArray:
        """Its column, shape `1`, at a valid value: the middle of the value's share of [0, 1]."""
        return self.scale.unit(np.array([[float(value)]]))[0]

    def decode(self, u: FloatArray) -> int:
        """The value at a place of its column, shape `1`."""
        return int(self.scale.native(_row(u))[0, 0])

    @override
    def __repr__(self) -> str:
        """As it was declared, defaults left out."""
        return _call("Int", repr(self.low), repr(self.high), log=self.log, active_if=_shown(self.active_if))

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values that `parameter_from_json` reads."""
        return {"type": "int", "low": self.low, "high": self.high} | _optional(log=self.log, active_if=self.active_if)


@dataclass(frozen=True, repr=False)
class Choice:
    """One of several options.

    Example:
        >>> Choice(["adamw", "sgd"])
        Choice(['adamw', 'sgd'])
    """

    options: tuple[Option, ...]
    """Distinct strings, numbers, booleans or None; given as a list."""
    ordered: bool = field(default=False, kw_only=True)
    """Whether neighbours in the list are alike, as in small, medium, large."""
    active_if: Mapping[str, Any] | None = field(default=None, kw_only=True)
    """Parent's name to the value, or list of values, under which this parameter exists; None for always."""

    def __post_init__(self) -> None:
        """Refuse options that cannot be stored or told apart.

        Raises:
            InvalidSpaceError: If the options are no list, empty, repeated, ambiguous or no JSON scalars.
        """
        if isinstance(self.options, str | bytes | Mapping) or not hasattr(self.options, "__iter__"):
            raise InvalidSpaceError(
                f"Choice: expected a list of options, got {self.options!r}; write Choice(['a', 'b'])."
            )
        options = tuple(_option(option) for option in self.options)
        if not options:
            raise InvalidSpaceError("Choice([]): there is nothing to choose from; give at least one option.")
        seen: dict[Option, Option] = {}
        for option in options:
            if option in seen:
                other = seen[option]
                if type(other) is type(option):
                    raise InvalidSpaceError(f"Choice: the option {option!r} is given twice; give each once.")
                raise InvalidSpaceError(
                    f"Choice: the options {other!r} and {option!r} are equal in Python, so nothing tells them apart; "
                    "write one of them as a string."
                )
            seen[option] = option
        object.__setattr__(self, "options", options)
        object.__setattr__(self, "ordered", _flag("Choice", "ordered", self.ordered))
        object.__setattr__(self, "active_if", _conditions(self.active_if))

    @property
    def kind(self) -> Kind:
        """What its column is."""
        return "ordinal" if self.ordered else "categorical"

    @property
    def levels(self) -> int:
        """How many options it has."""
        return len(self.options)

    @property
    def width(self) -> int:
        """Columns of the unit cube."""
        return 1

    @cached_property
    def scale(self) -> IntegerScale:
        """The map between its column and the position of an option."""
        return IntegerScale([0], [len(self.options) - 1])

    @cached_property
    def positions(self) -> dict[Option, int]:
        """Position of each option in the list."""
        return {option: i for i, option in enumerate(self.options)}

    def validate(self, name: str, value: Any) -> Option:
        """One value as the option that it equals.

        Args:
            name: The parameter's name, for messages.
            value: One of the options; NumPy scalars and zero-dimensional tensors are read as plain values.

        Returns:
            The option.

        Raises:
            InvalidParamsError: If it is none of the options.
        """
        value = plain(value)
        if isinstance(value, str | numbers.Real | None):
            position = self.positions.get(value)  # type: ignore[arg-type]  # any hashable may be looked up
            # True == 1 in Python, but True was not offered where 1 was
            if position is not None and isinstance(self.options[position], bool) == isinstance(value, bool):
                return self.options[position]
        raise InvalidParamsError(f"{name!r}: {value!r} is not among the options {listed(self.options)}.")

    def encode(self, value: Any) -> FloatArray:
        """Its column, shape `1`, at a valid value: the middle of the option's share of [0, 1]."""
        return self.scale.unit(np.array([[float(self.positions[value])]]))[0]

    def decode(self, u: FloatArray) -> Option:
        """The option at a place of its column, shape `1`."""
        return self.options[int(self.scale.native(_row(u))[0, 0])]

    @override
    def __repr__(self) -> str:
        """As it was declared, defaults left out."""
        return _call("Choice", listed(self.options), ordered=self.ordered, active_if=_shown(self.active_if))

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values that `parameter_from_json` reads."""
        return {"type": "choice", "options": list(self.options)} | _optional(
            ordered=self.ordered, active_if=self.active_if
        )


@dataclass(frozen=True, repr=False)
class Simplex:
    """Named shares that sum to 1; a value is a dict from name to share.

    Shares are counted in steps of 1e-12.

    Example:
        >>> Simplex(["web", "code", "math"], caps={"math": 0.2})
        Simplex(['web', 'code', 'math'], caps={'math': 0.2})
    """

    names: tuple[str, ...]
    """Distinct names, at least two; given as a list."""
    floors: Mapping[str, float] | None = field(default=None, kw_only=True)
    """Least share of each, by name, or one number for all; 0 where not given."""
    caps: Mapping[str, float] | None = field(default=None, kw_only=True)
    """Greatest share of each, by name, or one number for all; 1 where not given."""
    active_if: Mapping[str, Any] | None = field(default=None, kw_only=True)
    """Parent's name to the value, or list of values, under which this parameter exists; None for always."""

    def __post_init__(self) -> None:
        """Refuse shares that leave no choice.

        Raises:
            InvalidSpaceError: If names repeat or are fewer than two, or floors and caps leave no room.
        """
        if isinstance(self.names, str | bytes | Mapping) or not hasattr(self.names, "__iter__"):
            raise InvalidSpaceError(
                f"Simplex: expected a list of names, got {self.names!r}; write Simplex(['a', 'b'])."
            )
        names = tuple(check_name("Simplex", name) for name in self.names)
        if len(names) < 2:
            raise InvalidSpaceError(
                f"Simplex({list(names)!r}): shares of a whole need at least two names; a single share is always 1."
            )
        if len(set(names)) < len(names):
            twice = next(name for i, name in enumerate(names) if name in names[:i])
            raise InvalidSpaceError(f"Simplex: the name {twice!r} is given twice; give each once.")
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "floors", _share_limits("floors", self.floors, names))
        object.__setattr__(self, "caps", _share_limits("caps", self.caps, names))
        object.__setattr__(self, "active_if", _conditions(self.active_if))
        floors, caps = self._limits()
        for name, floor, cap in zip(names, floors, caps, strict=True):
            if floor > cap:
                raise InvalidSpaceError(f"Simplex: the floor of {name!r}, {floor:g}, lies above its cap, {cap:g}.")
        if floors.sum() > 1 - _LEAST_ROOM:
            raise InvalidSpaceError(
                f"Simplex: the floors sum to {floors.sum():g}, which leaves nothing to divide; "
                "lower them to less than 1 in sum."
            )
        if caps.sum() < 1 + _LEAST_ROOM:
            raise InvalidSpaceError(
                f"Simplex: the caps sum to {caps.sum():g}, but shares sum to 1; raise the caps to more than 1 in sum."
            )

    @property
    def kind(self) -> Kind:
        """What its columns are."""
        return "simplex"

    @property
    def levels(self) -> int | None:
        """None: uncountably many values."""
        return None

    @property
    def width(self) -> int:
        """Columns of the unit cube: one less than there are shares."""
        return len(self.names) - 1

    @cached_property
    def scale(self) -> StickBreaking:
        """The map between its columns and its shares."""
        return StickBreaking(*self._limits())

    def validate(self, name: str, value: Any) -> dict[str, float]:
        """One value as a dict of Python floats in the order of the names.

        Args:
            name: The parameter's name, for messages.
            value: A mapping from every name to its share.

        Returns:
            The shares.

        Raises:
            InvalidParamsError: If a name is unknown or missing, or the shares break a floor, a cap or the sum of 1.
        """
        if not isinstance(value, Mapping):
            raise InvalidParamsError(
                f"{name!r}: expected a dict from share name to share, with the names {listed(self.names)}, "
                f"got {value!r}."
            )
        for key in value:
            if key not in self.names:
                raise InvalidParamsError(f"{name!r}: unknown share {key!r}; the names are {listed(self.names)}.")
        for key in self.names:
            if key not in value:
                raise InvalidParamsError(
                    f"{name!r}: the share of {key!r} is missing; give all of {listed(self.names)}."
                )
        shares = {key: as_number(f"'{name}.{key}'", value[key], InvalidParamsError) for key in self.names}
        for key, floor, cap in zip(self.names, *(limit.tolist() for limit in self._limits()), strict=True):
            if not floor - SHARE_TOLERANCE <= shares[key] <= cap + SHARE_TOLERANCE:
                raise InvalidParamsError(_outside(f"{name}.{key}", shares[key], floor, cap))
            shares[key] = min(max(shares[key], floor), cap) + 0.0
        total = math.fsum(shares.values())
        if abs(total - 1) > SHARE_TOLERANCE:
            raise InvalidParamsError(
                f"{name!r}: the shares must sum to 1, got {total!r} from {shares!r}; divide each by their sum."
            )
        return shares

    def encode(self, value: Any) -> FloatArray:
        """Its columns, shape `k - 1`, at a valid value."""
        return self.scale.unit(np.array([[float(value[name]) for name in self.names]]))[0]

    def decode(self, u: FloatArray) -> dict[str, float]:
        """The shares at a place of its columns, shape `k - 1`."""
        return dict(zip(self.names, self.scale.native(_row(u))[0].tolist(), strict=True))

    def shares(self, u: FloatArray) -> FloatArray:
        """Shares, `n x k`, as a smooth function of `n x (k - 1)` unit columns; not rounded."""
        return self.scale.shares(u)

    def shares_jacobian(self, u: FloatArray) -> FloatArray:
        """Slopes of `shares`, `n x k x (k - 1)`; finite in the corners, where the true ones are not."""
        return self.scale.jacobian(u)

    @override
    def __repr__(self) -> str:
        """As it was declared, defaults left out."""
        return _call(
            "Simplex",
            listed(self.names),
            floors=self.floors,
            caps=self.caps,
            active_if=_shown(self.active_if),
        )

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values that `parameter_from_json` reads."""
        return {"type": "simplex", "names": list(self.names)} | _optional(
            floors=self.floors, caps=self.caps, active_if=self.active_if
        )

    def _limits(self) -> tuple[FloatArray, FloatArray]:
        floors, caps = self.floors or {}, self.caps or {}
        return (
            np.array([floors.get(name, 0.0) for name in self.names]),
            np.array([caps.get(name, 1.0) for name in self.names]),
        )


Parameter = Float | Int | Choice | Simplex

_LEAST_ROOM: Final = 1e-6
"""Floors and caps must leave this much to divide: a million steps, so that rounding never meets both."""

_TYPES: Final[dict[str, type[Parameter]]] = {"float": Float, "int": Int, "choice": Choice, "simplex": Simplex}


def parameter_from_json(document: Mapping[str, Any]) -> Parameter:
    """The parameter that `to_json` described.

    Args:
        document: What `to_json` returned.

    Returns:
        The parameter, equal to the one described.

    Raises:
        InvalidSpaceError: If the document describes no parameter.
    """
    kind = _TYPES.get(document.get("type", ""))
    if kind is None:
        raise InvalidSpaceError(
            f"a parameter's type must be one of {listed(list(_TYPES))}, got {document.get('type')!r} in {document!r}."
        )
    options = {key: value for key, value in document.items() if key != "type"}
    unknown = options.keys() - {entry.name for entry in fields(kind)}
    if unknown:
        raise InvalidSpaceError(f"{kind.__name__}: unknown fields {listed(sorted(unknown))} in {dict(document)!r}.")
    try:
        return kind(**options)
    except InvalidSpaceError:
        raise
    except TypeError as error:
        raise InvalidSpaceError(f"{kind.__name__}: {error}, in {dict(document)!r}.") from None


def check_name(role: str, name: Any) -> str:
    """A name as a plain string.

    Args:
        role: Whose name it is, for the message.
        name: What was given.

    Returns:
        The name.

    Raises:
        InvalidSpaceError: If it is no string, blank, or holds what a database cannot.
    """
    if not isinstance(name, str) or not name.strip():
        raise InvalidSpaceError(f"{role}: expected a name, a non-empty string, got {name!r}.")
    return _storable(role, str(name))


def _storable(role: str, text: str) -> str:
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidSpaceError(
            f"{role}: {text!r} holds a character that no database stores (NUL or half a surrogate pair); leave it out."
        )
    return text


def plain(value: Any) -> Any:
    """NumPy scalars and zero-dimensional arrays or tensors as the Python value that they hold."""
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value


def _finite(role: str, value: Any) -> float:
    number = as_number(role, value, InvalidSpaceError)
    if not math.isfinite(number):
        raise InvalidSpaceError(f"{role}: expected a finite number, got {number!r}; say how far the search may go.")
    return number


def _whole(role: str, value: Any) -> int:
    value = plain(value)
    is_whole = isinstance(value, numbers.Integral) or (isinstance(value, numbers.Real) and float(value).is_integer())
    if isinstance(value, bool) or not is_whole:
        raise InvalidSpaceError(f"{role}: expected a whole number, got {value!r} of type {type(value).__name__}.")
    return int(value)


def _flag(role: str, name: str, value: Any) -> bool:
    value = plain(value)
    if not isinstance(value, bool):
        raise InvalidSpaceError(f"{role}({name}=...): expected True or False, got {value!r}.")
    return value


def _set_log(parameter: Float | Int, role: str) -> None:
    object.__setattr__(parameter, "log", _flag(role, "log", parameter.log))


def _check_order(role: str, low: float, high: float, log: bool) -> None:
    if low > high:
        raise InvalidSpaceError(
            f"{role}({low!r}, {high!r}): low must be below high; swap them: {role}({high!r}, {low!r})."
        )
    if low == high:
        raise InvalidSpaceError(
            f"{role}({low!r}, {high!r}): low equals high, so there is nothing to tune; "
            f"leave it out of the space as a constant, or write Choice([{low!r}])."
        )
    if log and low <= 0:
        least = "1" if role == "Int" else "a positive number"
        raise InvalidSpaceError(
            f"{role}({low!r}, {high!r}, log=True): a logarithmic range needs low > 0; "
            f"raise low to {least}, or leave log=True out."
        )


def _option(option: Any) -> Option:
    option = plain(option)
    if option is None or isinstance(option, bool | int):
        return option
    if isinstance(option, float) and math.isfinite(option):
        return option
    if isinstance(option, str):
        return _storable("Choice", str(option))
    raise InvalidSpaceError(
        f"Choice: an option must be a string, a finite number, True, False or None, got {option!r} of type "
        f"{type(option).__name__}; name it by a string and look the object up where it is used."
    )


def _share_limits(role: str, limits: Any, names: tuple[str, ...]) -> dict[str, float] | None:
    if limits is None:
        return None
    given = dict(limits) if isinstance(limits, Mapping) else dict.fromkeys(names, limits)
    for name in given:
        if name not in names:
            raise InvalidSpaceError(f"Simplex({role}=...): unknown share {name!r}; the names are {listed(names)}.")
    checked = {}
    for name in names:
        if name in given:
            limit = as_number(f"Simplex({role}=...): {name!r}", given[name], InvalidSpaceError)
            if not 0 <= limit <= 1:
                raise InvalidSpaceError(f"Simplex({role}=...): {name!r}: expected a share from 0 to 1, got {limit!r}.")
            checked[name] = round(limit * STEPS) / STEPS
    return checked or None


def _conditions(active_if: Any) -> dict[str, tuple[Option, ...]] | None:
    if active_if is None:
        return None
    if not isinstance(active_if, Mapping) or not active_if:
        raise InvalidSpaceError(
            f"active_if: expected a dict from a parameter's name to its value or a list of values, got {active_if!r}."
        )
    conditions = {}
    for parent, values in active_if.items():
        name = check_name("active_if", parent)
        several = isinstance(values, list | tuple | set | frozenset | range)
        # a set has no order of its own, and stored declarations must compare equal
        entries = sorted(values, key=repr) if isinstance(values, set | frozenset) else values
        conditions[name] = tuple(plain(value) for value in entries) if several else (plain(values),)
        if not conditions[name]:
            raise InvalidSpaceError(f"active_if: {name!r}: no value is given, so the parameter would never exist.")
    return conditions


def _row(u: FloatArray) -> FloatArray:
    return np.clip(np.asarray(u, dtype=np.float64).reshape(1, -1), 0.0, 1.0)


def _outside(name: str, value: float, low: float, high: float) -> str:
    side, bound = ("below the least", low) if value < low else ("above the greatest", high)
    return f"{name!r}: {value!r} lies {side} value {bound!r}; accepted are {low!r} to {high!r}."


def listed(values: Iterable[Any]) -> str:
    """The values as a list, its middle left out when there are many."""
    shown = [repr(value) for value in values]
    if len(shown) > 12:
        shown = [*shown[:8], f"... {len(shown) - 9} more ...", shown[-1]]
    return f"[{', '.join(shown)}]"


def _call(kind: str, *positional: str, **options: Any) -> str:
    keywords = [f"{name}={value!r}" for name, value in _optional(**options).items()]
    return f"{kind}({', '.join([*positional, *keywords])})"


def _shown(active_if: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Conditions as a person writes them: a single value stands for itself."""
    if active_if is None:
        return None
    return {name: values[0] if len(values) == 1 else list(values) for name, values in active_if.items()}


def _optional(**options: Any) -> dict[str, Any]:
    return {
        name: {key: list(entry) if isinstance(entry, tuple) else entry for key, entry in value.items()}
        if isinstance(value, Mapping)
        else value
        for name, value in options.items()
        if value is not None and value is not False
    }
