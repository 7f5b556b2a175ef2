"""Which parameters exist in a configuration: the parents' values decide, parents first.

Alphabet. X: native values by flat name, `n x M`; P: parameters; level: a value of an Int or Choice as X holds it.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesopt.errors import InvalidParamsError, InvalidSpaceError
from bayesopt.problem.parameters import Choice, Int, Parameter, listed

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class _Condition:
    """One parent whose value decides."""

    parent: str
    """The parent's name."""
    values: frozenset[float]
    """Its levels under which the child exists."""


class Conditions:
    """The `active_if` of every parameter, checked and put in an order in which parents come first."""

    def __init__(self, parameters: Mapping[str, Parameter], positions: Mapping[str, int]) -> None:
        """Check the conditions.

        Args:
            parameters: Name to parameter.
            positions: Column of X of every flat name.

        Raises:
            InvalidSpaceError: If a parent is unknown or no Int or Choice, never takes a value named, or depends on its
                own child.
        """
        self._parameters, self._positions = parameters, positions
        self._place = {name: i for i, name in enumerate(parameters)}
        self._of = {
            name: tuple(self._condition(name, parent, values) for parent, values in parameter.active_if.items())
            for name, parameter in parameters.items()
            if parameter.active_if is not None
        }
        self.order = self._sorted()
        """The parameters' names, parents before children, otherwise as declared."""

    def __bool__(self) -> bool:
        """Whether any parameter depends on another."""
        return bool(self._of)

    def exist(self, X: FloatArray) -> BoolArray:
        """Which parameters exist in each row, `n x P`."""
        exists = np.ones((len(X), len(self._parameters)), dtype=np.bool_)
        for name in self.order:
            for condition in self._of.get(name, ()):
                holds = np.isin(X[:, self._positions[condition.parent]], list(condition.values))
                exists[:, self._place[name]] &= holds & exists[:, self._place[condition.parent]]
        return exists

    def parents(self, name: str) -> set[str]:
        """The parameters, directly or further up, that decide whether one exists."""
        direct = {condition.parent for condition in self._of.get(name, ())}
        return direct.union(*(self.parents(parent) for parent in direct))

    def canonical(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The values that exist, checked, in the order of declaration.

        Args:
            params: Known names to values.

        Returns:
            Name to plain value.

        Raises:
            InvalidParamsError: If a value is missing, invalid, or given for a parameter that does not exist.
        """
        values: dict[str, Any] = {}
        levels: dict[str, float] = {}
        for name in self.order:
            parameter = self._parameters[name]
            unmet = [c for c in self._of.get(name, ()) if levels.get(c.parent) not in c.values]
            if unmet:
                if name in params:
                    raise InvalidParamsError(
                        f"{name!r}: {params[name]!r} is given, but it exists only if {self._text(name)}; leave it out."
                    )
                continue
            if name not in params:
                under = f" (it exists because {self._text(name)})" if name in self._of else ""
                raise InvalidParamsError(f"the parameter {name!r} is missing{under}; give a value of {parameter!r}.")
            values[name] = parameter.validate(name, params[name])
            if isinstance(parameter, Int | Choice):
                levels[name] = _level(parameter, values[name])
        return {name: values[name] for name in self._parameters if name in values}

    def count(self) -> int:
        """How many configurations there are, when every parameter is an Int or a Choice."""
        return self._count(frozenset(self._parameters), {name: frozenset(cs) for name, cs in self._of.items()})

    def enumerate(self, n_flat: int) -> tuple[FloatArray, BoolArray]:
        """Every configuration, once, when every parameter is an Int or a Choice.

        Args:
            n_flat: Columns of X.

        Returns:
            Native values, `size x M`, those that do not exist at their least; and which parameters exist.
        """
        X = np.zeros((1, n_flat))
        for name, parameter in self._parameters.items():
            X[0, self._positions[name]] = _levels(parameter)[0]
        for name in self.order:
            exists = self.exist(X)[:, self._place[name]]
            levels = np.array(_levels(self._parameters[name]), dtype=np.float64)
            repeats = np.where(exists, len(levels), 1)
            rows = np.repeat(np.arange(len(X)), repeats)
            nth = np.arange(len(rows)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
            X = X[rows]
            X[:, self._positions[name]] = levels[nth]
        return X, self.exist(X)

    def _count(self, names: frozenset[str], conditions: Mapping[str, frozenset[_Condition]]) -> int:
        """Count by parts that do not depend on one another, and within a part by a root's values."""
        total = 1
        for part in _parts(names, conditions):
            root = next(name for name in self.order if name in part)
            levels = _levels(self._parameters[root])
            if len(part) == 1:
                total *= len(levels)
                continue
            told = {v for child in part for c in conditions.get(child, ()) if c.parent == root for v in c.values}
            # levels that no condition names all act alike
            cases: dict[frozenset[_Condition], int] = {}
            relevant = [c for child in part for c in conditions.get(child, ()) if c.parent == root]
            for level in told:
                met = frozenset(c for c in relevant if level in c.values)
                cases[met] = cases.get(met, 0) + 1
            if len(levels) > len(told):
                cases[frozenset()] = cases.get(frozenset(), 0) + len(levels) - len(told)
            total *= sum(weight * self._count_under(root, met, part, conditions) for met, weight in cases.items())
        return total

    def _count_under(
        self,
        root: str,
        met: frozenset[_Condition],
        part: frozenset[str],
        conditions: Mapping[str, frozenset[_Condition]],
    ) -> int:
        """Configurations of a part's other parameters once its root has a value that meets these conditions."""
        gone: set[str] = set()
        for name in self.order:
            if name in part and any(
                c.parent in gone or (c.parent == root and c not in met) for c in conditions.get(name, ())
            ):
                gone.add(name)
        left = part - gone - {root}
        open_ = {name: frozenset(c for c in conditions.get(name, ()) if c.parent != root) for name in left}
        return self._count(left, open_)

    def _condition(self, name: str, parent: str, values: tuple[Any, ...]) -> _Condition:
        parameter = self._parameters.get(parent)
        if parameter is None:
            raise InvalidSpaceError(
                f"Space: {name!r}: active_if names {parent!r}, which is no parameter; "
                f"there are {listed(self._parameters)}."
            )
        if not isinstance(parameter, Int | Choice):
            raise InvalidSpaceError(
                f"Space: {name!r}: active_if names {parent!r}, a {type(parameter).__name__}; only an Int or a Choice "
                "can decide whether another parameter exists."
            )
        try:
            levels = frozenset(_level(parameter, parameter.validate(parent, value)) for value in values)
        except InvalidParamsError as error:
            raise InvalidSpaceError(f"Space: {name!r}: active_if asks for what {parent!r} never is: {error}") from None
        return _Condition(parent, levels)

    def _sorted(self) -> tuple[str, ...]:
        order: dict[str, None] = {}
        waiting = list(self._parameters)
        while waiting:
            ready = [n for n in waiting if all(c.parent in order for c in self._of.get(n, ()))]
            if not ready:
                raise InvalidSpaceError(
                    f"Space: the parameters {listed(waiting)} exist only if one another do; remove one active_if."
                )
            order |= dict.fromkeys(ready)
            waiting = [name for name in waiting if name not in order]
        return tuple(order)

    def _text(self, name: str) -> str:
        conditions = self._parameters[name].active_if or {}
        return " and ".join(
            f"{parent!r} is {values[0]!r}" if len(values) == 1 else f"{parent!r} is one of {listed(values)}"
            for parent, values in conditions.items()
        )


def _level(parameter: Int | Choice, value: Any) -> float:
    return float(parameter.positions[value] if isinstance(parameter, Choice) else value)


def _levels(parameter: Parameter) -> range:
    return range(parameter.low, parameter.high + 1) if isinstance(parameter, Int) else range(parameter.levels or 0)


def _parts(names: frozenset[str], conditions: Mapping[str, frozenset[_Condition]]) -> list[frozenset[str]]:
    """The names in groups that no condition links."""
    group = {name: {name} for name in names}
    for name, c in itertools.chain.from_iterable(((n, c) for c in conditions.get(n, ())) for n in names):
        merged = group[name] | group[c.parent]
        for member in merged:
            group[member] = merged
    return [frozenset(part) for part in {id(part): part for part in group.values()}.values()]
