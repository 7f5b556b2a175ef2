"""Checks that arguments share: each returns the plain value, or says what came and what is accepted."""

import math
import numbers
from collections.abc import Mapping
from typing import Any

from bayesopt.errors import InvalidInputError, InvalidOutcomeError


def as_number(name: str, value: Any, error: type[InvalidInputError] = InvalidOutcomeError) -> float:
    """One number as a float; it may be infinite or nan, but it must be a number.

    Args:
        name: What the number is, for the message.
        value: An int, a float, a NumPy scalar, or a zero-dimensional array or tensor.
        error: What to raise.

    Returns:
        The value as a Python float.

    Raises:
        InvalidInputError: As `error`, if the value is a bool, a string, complex, a sequence or anything else.
    """
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise error(
            f"{name}: expected one real number (int, float, NumPy scalar or zero-dimensional tensor), "
            f"got {value!r} of type {type(value).__name__}."
        )
    try:
        return float(value)
    except OverflowError:
        raise error(f"{name}: {str(value)[:20]}... does not fit a 64-bit float.") from None


def non_negative(name: str, value: Any, error: type[InvalidInputError] = InvalidInputError) -> float:
    """A finite number of at least 0.

    Args:
        name: What the number is, for the message.
        value: As in `as_number`.
        error: What to raise.

    Returns:
        The value as a Python float.

    Raises:
        InvalidInputError: As `error`, if the value is no number, negative or not finite.
    """
    number = as_number(name, value, error)
    if not 0 <= number < math.inf:
        raise error(f"{name}: expected a finite number of at least 0, got {value!r}.")
    return number


def probability(name: str, value: Any, error: type[InvalidInputError] = InvalidInputError) -> float:
    """A number strictly between 0 and 1.

    Args:
        name: What the probability is of, for the message.
        value: As in `as_number`.
        error: What to raise.

    Returns:
        The value as a Python float.

    Raises:
        InvalidInputError: As `error`, if the value is no number between 0 and 1, both excluded.
    """
    number = as_number(name, value, error)
    if not 0 < number < 1:
        raise error(f"{name}: expected a probability between 0 and 1, both excluded, got {value!r}.")
    return number


def whole_number(name: str, value: Any, *, at_least: int, error: type[InvalidInputError] = InvalidInputError) -> int:
    """A whole number that is not too small.

    Args:
        name: What the number is, for the message.
        value: An int or a NumPy integer.
        at_least: The smallest value accepted.
        error: What to raise.

    Returns:
        The value as a Python int.

    Raises:
        InvalidInputError: As `error`, if the value is no whole number or too small.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < at_least:
        raise error(f"{name}: expected a whole number of at least {at_least}, got {value!r}.")
    return int(value)


def entries(name: str, value: Any) -> tuple[Any, ...]:
    """A list's entries.

    Args:
        name: What the list is, for the message.
        value: A list, a tuple or another iterable that is neither a string nor a mapping.

    Returns:
        The entries.

    Raises:
        InvalidInputError: If the value is no list.
    """
    if isinstance(value, str | Mapping) or not hasattr(value, "__iter__"):
        raise InvalidInputError(f"{name}: expected a list, got {value!r}.")
    return tuple(value)
