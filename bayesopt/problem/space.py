"""The search space: named parameters, what must hold between them, and their way to the unit cube.

Alphabet. n: configurations; d: columns of the unit cube; U: unit values, `n x d`, in [0, 1]; X: native values by flat
name, `n x M`, an option by its position; M: flat names, one a parameter and one a share; P: parameters.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import override

from bayesopt.errors import InvalidParamsError, InvalidSpaceError
from bayesopt.problem.arguments import whole_number
from bayesopt.problem.conditions import Conditions
from bayesopt.problem.constraints import LinearConstraint, LinearSystem
from bayesopt.problem.parameters import (
    Choice,
    Float,
    Int,
    Kind,
    Parameter,
    Simplex,
    check_name,
    listed,
    parameter_from_json,
)
from bayesopt.problem.sampling import Sampler, relaxation
from bayesopt.problem.scales import IntegerScale, LinearScale, LogIntegerScale, LogScale, Scale

__all__ = ["Column", "LinearConstraint", "Space"]

FloatArray = NDArray[np.float64]
Predicate = Callable[[dict[str, Any]], Any]

MOST_COLUMNS: Final = 10_000
"""More columns than this is a mistake, not a search."""

ABSENT: Final = 0.5
"""What the column of a parameter that does not exist holds: the middle, so that it is no nearer to either end."""


_EXAMPLES: Final = 256
"""Random configurations among which one that satisfies the constraints is looked for before a linear program is."""


@dataclass(frozen=True)
class Column:
    """One column of the unit cube."""

    parameter: str
    """Name of the parameter that it belongs to."""
    kind: Kind
    """What it stands for."""
    levels: int | None
    """How many distinct values it takes; None for uncountably many."""


@dataclass(frozen=True)
class _Block:
    """Columns that one scale serves together."""

    unit: NDArray[np.intp]
    """Their places in U."""
    native: NDArray[np.intp]
    """Their places in X."""
    scale: Scale
    """The map between the two."""


class Space(Mapping[str, Parameter]):
    """Named parameters, and what must hold between them.

    Example:
        >>> space = Space({"lr": Float(1e-5, 1e-1, log=True), "optimizer": Choice(["adamw", "sgd"])})
        >>> space.decode(space.encode({"lr": 0.001, "optimizer": "sgd"}))
        {'lr': 0.001, 'optimizer': 'sgd'}
    """

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        *,
        constraints: Sequence[LinearConstraint] = (),
        allowed: Predicate | None = None,
    ) -> None:
        """Declare a space.

        Args:
            parameters: Name to parameter.
            constraints: Linear inequalities that every configuration must satisfy.
            allowed: Called with a configuration; returns whether it may be tried.

        Raises:
            InvalidSpaceError: If a part is no part of a space, or nothing satisfies the constraints.
        """
        if not isinstance(parameters, Mapping):
            raise InvalidSpaceError(f"Space: expected a dict from name to parameter, got {parameters!r}.")
        if not parameters:
            raise InvalidSpaceError("Space: there is no parameter to tune; give at least one.")
        for name, parameter in parameters.items():
            check_name("Space", name)
            if not isinstance(parameter, Parameter):
                raise InvalidSpaceError(
                    f"Space: {name!r}: expected Float(low, high), Int(low, high), Choice([...]) or Simplex([...]), "
                    f"got {parameter!r}."
                )
        self._parameters = {str(name): parameter for name, parameter in parameters.items()}
        self._positions = self._flat_positions()
        self.columns: tuple[Column, ...] = tuple(
            Column(name, parameter.kind, parameter.levels)
            for name, parameter in self._parameters.items()
            for _ in range(parameter.width)
        )
        """What each column of the unit cube stands for."""
        if self.dim > MOST_COLUMNS:
            raise InvalidSpaceError(
                f"Space: {self.dim} columns are more than the {MOST_COLUMNS} accepted; fix what matters least."
            )
        self._blocks = self._compile()
        self._owner = np.repeat(np.arange(len(self)), [p.width for p in self._parameters.values()])
        self._native_owner = np.repeat(np.arange(len(self)), [len(self._flat(name)) for name in self])
        self._conditions = Conditions(self._parameters, self._positions)
        self.constraints = self._checked_constraints(constraints)
        """The linear inequalities between parameters."""
        self._linear = LinearSystem(self.constraints, self._positions)
        self._refuse_contradictions()
        if allowed is not None and not callable(allowed):
            raise InvalidSpaceError(
                f"Space(allowed=...): expected a function from a configuration to True or False, got {allowed!r}."
            )
        self.allowed = allowed
        """What rules configurations out; None rules out none."""
        self._allowed_name = None if allowed is None else getattr(allowed, "__qualname__", type(allowed).__qualname__)

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names in the order of their declaration."""
        return tuple(self._parameters)

    @property
    def dim(self) -> int:
        """Columns of the unit cube."""
        return len(self.columns)

    @property
    def is_finite(self) -> bool:
        """Whether every parameter is a whole number or a choice."""
        return all(column.levels is not None for column in self.columns)

    @cached_property
    def size(self) -> int | None:
        """How many configurations there are before constraints; None if uncountably many."""
        return self._conditions.count() if self.is_finite else None

    def validate(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """One configuration in plain Python values, in the order of the space.

        Args:
            params: Parameter name to value, without those parameters that do not exist under it.

        Returns:
            The configuration.

        Raises:
            InvalidParamsError: If a name is unknown or missing, a value is out of range or of the wrong type, or the
                configuration breaks a constraint.
            InvalidSpaceError: If the predicate fails, or was not given when a stored space was opened.
        """
        values = self._canonical(params)
        X = self._row(values)
        if self.constraints:
            X = np.where(self._exists(X)[:, self._native_owner], X, 0.0)
            for constraint, holds, total in zip(
                self.constraints, self._linear.satisfied(X)[0], self._linear.sums(X)[0], strict=True
            ):
                if not holds:
                    raise InvalidParamsError(f"{values!r} breaks the constraint {constraint}: the sum is {total:g}.")
        if self._allowed_name is not None and not self._admits(values):
            raise InvalidParamsError(f"{values!r} is ruled out by the space's predicate, allowed={self._allowed_name}.")
        return values

    def encode(self, params: Mapping[str, Any]) -> FloatArray:
        """A configuration's place in the unit cube.

        Whole numbers and options sit in the middle of their share of the interval, parameters that do not exist
        at 0.5.

        Args:
            params: As in `validate`; constraints are not checked.

        Returns:
            Shape `d`.

        Raises:
            InvalidParamsError: If a name is unknown or missing, or a value is out of range or of the wrong type.
        """
        X = self._row(self._canonical(params))
        return self._units(X, self._exists(X))[0]

    def decode(self, u: ArrayLike) -> dict[str, Any]:
        """The configuration at a place of the unit cube.

        Real values are rounded to 14 significant digits, 12 on a logarithmic parameter or of a share, so that
        `decode(encode(params))` gives back exactly what `decode` once returned, and numbers that a person types.
        (Digits of a linear parameter are counted from the larger of the number and its lower bound: between -1 and 1,
        64 bits do not hold where a number closer to 0 than 1e-14 lies.)

        Args:
            u: Shape `d`; what lies outside [0, 1] is moved to its edge.

        Returns:
            The configuration in plain Python values.

        Raises:
            InvalidParamsError: If the shape is another.
        """
        return self.decode_all(np.reshape(u, (1, -1)))[0]

    def decode_all(self, U: ArrayLike) -> list[dict[str, Any]]:
        """The configurations at several places, as in `decode`, in a tenth of the time of one after another.

        Args:
            U: Shape `n x d`.

        Returns:
            One a row.

        Raises:
            InvalidParamsError: If the shape is another.
        """
        X = self._natives(self._checked(U))
        return [self._configuration(x, exists) for x, exists in zip(X, self._exists(X), strict=True)]

    def snap(self, U: ArrayLike) -> FloatArray:
        """The nearest places that stand for a configuration: `encode(decode(u))` for every row.

        Args:
            U: `n x d`.

        Returns:
            `n x d`.

        Raises:
            InvalidParamsError: If the shape is another.
        """
        X = self._natives(self._checked(U))
        return self._units(X, self._exists(X))

    def native(self, U: ArrayLike) -> dict[str, NDArray[Any]]:
        """Values in the parameters' own units, column by column.

        Args:
            U: `n x d`.

        Returns:
            Flat name to `n` values: float64 for numbers and for shares (`"mixture.web"`), objects for options; where
            a parameter does not exist, nan or None.

        Raises:
            InvalidParamsError: If the shape is another.
        """
        X = self._natives(self._checked(U))
        exists = self._exists(X)
        columns: dict[str, NDArray[Any]] = {}
        for i, (name, parameter) in enumerate(self._parameters.items()):
            if isinstance(parameter, Choice):
                options = np.empty(len(parameter.options) + 1, dtype=object)
                options[:-1] = parameter.options
                position = X[:, self._positions[name]].astype(np.intp)
                columns[name] = options[np.where(exists[:, i], position, len(parameter.options))]
            else:
                for flat in self._flat(name):
                    columns[flat] = np.where(exists[:, i], X[:, self._positions[flat]], np.nan)
        return columns

    def is_allowed(self, U: ArrayLike) -> NDArray[np.bool_]:
        """Which configurations satisfy every linear constraint and the predicate.

        Args:
            U: `n x d`.

        Returns:
            Shape `n`.

        Raises:
            InvalidParamsError: If the shape is another.
            InvalidSpaceError: If the predicate fails, or was not given when a stored space was opened.
        """
        points = self._checked(U)
        allowed: NDArray[np.bool_] = np.ones(len(points), dtype=np.bool_)
        if not self.is_constrained:
            return allowed
        X = self._natives(points)
        exists = self._exists(X)
        if self.constraints:
            allowed &= self._linear.satisfied(np.where(exists[:, self._native_owner], X, 0.0)).all(axis=1)
        if self._allowed_name is not None:
            for i in np.flatnonzero(allowed):
                allowed[i] = self._admits(self._configuration(X[i], exists[i]))
        return allowed

    def exists(self, U: ArrayLike) -> NDArray[np.bool_]:
        """Which parameters exist in which configuration, by their conditions.

        Args:
            U: `n x d`.

        Returns:
            `n x P`, in the order of `names`.

        Raises:
            InvalidParamsError: If the shape is another.
        """
        return self._exists(self._natives(self._checked(U)))

    @property
    def is_constrained(self) -> bool:
        """Whether there are configurations that must not be tried."""
        return bool(self.constraints) or self._allowed_name is not None

    def sample(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Allowed configurations at random: uniform on the allowed part of the cube, shares uniform among mixtures.

        Args:
            n: How many.
            rng: Where the randomness comes from.

        Returns:
            `n x d`, snapped; repetitions are possible.

        Raises:
            InvalidInputError: If `n` is no whole number.
            InvalidSpaceError: If no allowed configuration is found.
        """
        return self._sampler.sample(whole_number("n", n, at_least=0), rng)

    def enumerate(self, limit: int) -> FloatArray:
        """Every allowed configuration of a finite space, once.

        Args:
            limit: The most configurations, before constraints, that may be listed.

        Returns:
            `m x d`, snapped.

        Raises:
            InvalidSpaceError: If the space is not finite, or larger than the limit.
        """
        if self.size is None or self.size > limit:
            size = "uncountably many" if self.size is None else str(self.size)
            raise InvalidSpaceError(f"the space has {size} configurations; up to {limit} can be listed.")
        X, exists = self._conditions.enumerate(len(self._positions))
        U = self._units(X, exists)
        return U[self.is_allowed(U)]

    def to_json(self) -> dict[str, Any]:
        """The declaration in JSON values; of a predicate, its name."""
        return {
            "parameters": [{"name": name} | parameter.to_json() for name, parameter in self._parameters.items()],
            "constraints": [constraint.to_json() for constraint in self.constraints],
            "allowed": self._allowed_name,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Space":
        """The space that `to_json` described.

        A predicate is code, and is not stored: what needs it (`validate`, `is_allowed`, `sample`, `enumerate`) says
        so; everything else works.

        Args:
            document: What `to_json` returned.

        Returns:
            The space, equal to the one described.

        Raises:
            InvalidSpaceError: If the document describes no space.
        """
        try:
            parameters = {
                entry["name"]: parameter_from_json({key: value for key, value in entry.items() if key != "name"})
                for entry in document["parameters"]
            }
            constraints = [LinearConstraint(**entry) for entry in document.get("constraints", ())]
            allowed = document.get("allowed")
        except InvalidSpaceError:
            raise
        except (KeyError, AttributeError, TypeError) as error:
            raise InvalidSpaceError(f"this is no stored space ({error!r}): {document!r}.") from None
        space = cls(parameters, constraints=constraints)
        space._allowed_name = allowed
        return space

    def differences(self, other: "Space") -> list[str]:
        """What was declared differently, in words; empty for equal spaces.

        Args:
            other: The space as it is declared now; `self` is as it was.

        Returns:
            One clause a difference.
        """
        clauses = [f"the parameter {name!r} is no longer there" for name in self if name not in other]
        clauses += [f"the parameter {name!r} is new" for name in other if name not in self]
        for name in self:
            if name in other and self[name] != other[name]:
                clauses.append(f"the parameter {name!r} was {self[name]!r}, now it is {other[name]!r}")
        if not clauses and self.names != other.names:
            clauses.append(f"the parameters' order was {listed(self.names)}, now it is {listed(other.names)}")
        if self.constraints != other.constraints:
            was, now = (" and ".join(map(str, space.constraints)) or "none" for space in (self, other))
            clauses.append(f"the linear constraints were {was}, now they are {now}")
        if self._allowed_name != other._allowed_name:
            clauses.append(f"the predicate was allowed={self._allowed_name}, now it is allowed={other._allowed_name}")
        return clauses

    @override
    def __eq__(self, other: object) -> bool:
        """Whether both were declared alike: parameters in the same order, constraints, and the predicate's name."""
        return isinstance(other, Space) and not self.differences(other)

    __hash__ = None  # type: ignore[assignment]  # a mapping that compares by value, as dict is

    @override
    def __getitem__(self, name: str) -> Parameter:
        """One parameter by name."""
        return self._parameters[name]

    @override
    def __iter__(self) -> Iterator[str]:
        """The names in order."""
        return iter(self._parameters)

    @override
    def __len__(self) -> int:
        """How many parameters there are."""
        return len(self._parameters)

    @override
    def __repr__(self) -> str:
        """One line: every parameter, then what must hold."""
        parts = [
            f"{name if name.isprintable() else repr(name)}: {parameter!r}"
            for name, parameter in self._parameters.items()
        ]
        rules = [str(constraint) for constraint in self.constraints]
        if self._allowed_name is not None:
            rules.append(f"allowed={self._allowed_name}")
        return f"Space({', '.join(parts)}{' | ' if rules else ''}{', '.join(rules)})"

    def _flat(self, name: str) -> list[str]:
        """A parameter's flat names."""
        parameter = self._parameters[name]
        return [f"{name}.{share}" for share in parameter.names] if isinstance(parameter, Simplex) else [name]

    def _flat_positions(self) -> dict[str, int]:
        positions: dict[str, int] = {}
        for name in self._parameters:
            for flat in self._flat(name):
                if flat in positions or (flat != name and flat in self._parameters):
                    raise InvalidSpaceError(
                        f"Space: {flat!r} is both a parameter and a share of a Simplex; rename one of the two."
                    )
                positions[flat] = len(positions)
        return positions

    def _compile(self) -> list[_Block]:
        """Put the columns of equal kind together: a cube of any width is mapped in a handful of array operations."""
        together: dict[type[Any], list[tuple[int, int, float, float]]] = {}
        blocks: list[_Block] = []
        column = 0
        for name, parameter in self._parameters.items():
            position = self._positions[self._flat(name)[0]]
            if isinstance(parameter, Simplex):
                unit = np.arange(column, column + parameter.width)
                native = np.arange(position, position + len(parameter.names))
                blocks.append(_Block(unit, native, parameter.scale))
            else:
                scale = parameter.scale
                entry = (column, position, float(scale.low[0]), float(scale.high[0]))
                together.setdefault(type(scale), []).append(entry)
            column += parameter.width
        for kind in (LinearScale, LogScale, IntegerScale, LogIntegerScale):
            if kind in together:
                units, natives, lows, highs = zip(*together[kind], strict=True)
                blocks.append(_Block(np.array(units), np.array(natives), kind(lows, highs)))
        return blocks

    def _checked_constraints(self, constraints: Sequence[LinearConstraint]) -> tuple[LinearConstraint, ...]:
        if isinstance(constraints, LinearConstraint):
            raise InvalidSpaceError(
                "Space(constraints=...): expected a list; write constraints=[LinearConstraint(...)]."
            )
        if isinstance(constraints, str | Mapping) or not hasattr(constraints, "__iter__"):
            raise InvalidSpaceError(
                f"Space(constraints=...): expected a list of LinearConstraint, got {constraints!r}."
            )
        for constraint in constraints:
            if not isinstance(constraint, LinearConstraint):
                raise InvalidSpaceError(f"Space(constraints=...): expected a LinearConstraint, got {constraint!r}.")
            for name in constraint.coefficients:
                if name not in self._positions or isinstance(self._parameters.get(name), Choice):
                    usable = [flat for flat in self._positions if not isinstance(self.get(flat), Choice)]
                    raise InvalidSpaceError(
                        f"LinearConstraint({constraint}): {name!r} is no number in this space; "
                        f"these are {listed(usable)}."
                    )
        return tuple(constraints)

    def _refuse_contradictions(self) -> None:
        """Prove that the linear constraints can hold, by an example if one comes cheaply.

        Raises:
            InvalidSpaceError: If nothing satisfies them.
        """
        if not self.constraints:
            return
        X = self._natives(np.random.default_rng(0).random((_EXAMPLES, self.dim)))
        X = np.where(self._exists(X)[:, self._native_owner], X, 0.0)
        if self._linear.satisfied(X).all(axis=1).any():
            return
        for constraint in self.constraints:
            if relaxation(self._parameters, (constraint,)).most_slack() is None:
                raise InvalidSpaceError(
                    f"Space: the constraint {constraint} holds nowhere within the parameters' ranges; "
                    "check its bound and its signs, or widen a range."
                )
        if relaxation(self._parameters, self.constraints).most_slack() is None:
            raise InvalidSpaceError(
                f"Space: the constraints {' and '.join(map(str, self.constraints))} cannot all hold at once; "
                "loosen one of them."
            )

    @cached_property
    def _sampler(self) -> Sampler:
        both = bool(self.constraints) and self._allowed_name is not None
        return Sampler(self, Space(self._parameters, constraints=self.constraints) if both else None)

    def _checked(self, U: ArrayLike) -> FloatArray:
        points = np.asarray(U, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != self.dim:
            raise InvalidParamsError(
                f"expected points of the unit cube, `n x {self.dim}`, got the shape {points.shape}."
            )
        return points

    def _canonical(self, params: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(params, Mapping):
            raise InvalidParamsError(f"expected a dict from parameter name to value, got {params!r}.")
        for name in params:
            if name not in self._parameters:
                raise InvalidParamsError(f"unknown parameter {name!r}; the space has {listed(self)}.")
        return self._conditions.canonical(params)

    def _row(self, values: Mapping[str, Any]) -> FloatArray:
        """A valid configuration as native values, `1 x M`; those that do not exist hold any value of their range."""
        X = self._middle.copy()
        for name, value in values.items():
            parameter = self._parameters[name]
            if isinstance(parameter, Simplex):
                for share, amount in value.items():
                    X[0, self._positions[f"{name}.{share}"]] = amount
            else:
                X[0, self._positions[name]] = parameter.positions[value] if isinstance(parameter, Choice) else value
        return X

    @cached_property
    def _middle(self) -> FloatArray:
        return self._natives(np.full((1, self.dim), ABSENT))

    def _natives(self, U: FloatArray) -> FloatArray:
        U = np.clip(U, 0.0, 1.0)
        X = np.empty((len(U), len(self._positions)))
        for block in self._blocks:
            X[:, block.native] = block.scale.native(U[:, block.unit])
        return X

    def _units(self, X: FloatArray, exists: NDArray[np.bool_]) -> FloatArray:
        U = np.empty((len(X), self.dim))
        for block in self._blocks:
            U[:, block.unit] = block.scale.unit(X[:, block.native])
        if self._conditions:
            U[~exists[:, self._owner]] = ABSENT
        return U

    def _exists(self, X: FloatArray) -> NDArray[np.bool_]:
        """Which parameters exist in each row, `n x P`."""
        return self._conditions.exist(X)

    def _configuration(self, x: FloatArray, exists: NDArray[np.bool_]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        numbers, present = x.tolist(), exists.tolist()
        for i, (name, parameter) in enumerate(self._parameters.items()):
            if not present[i]:
                continue
            at = self._positions[self._flat(name)[0]]
            if isinstance(parameter, Float):
                values[name] = numbers[at]
            elif isinstance(parameter, Int):
                values[name] = int(numbers[at])
            elif isinstance(parameter, Choice):
                values[name] = parameter.options[int(numbers[at])]
            else:
                values[name] = dict(zip(parameter.names, numbers[at : at + len(parameter.names)], strict=True))
        return values

    def _admits(self, values: dict[str, Any]) -> bool:
        if self.allowed is None:
            raise InvalidSpaceError(
                f"the stored space has the predicate allowed={self._allowed_name}, which is code and was not stored; "
                "declare the space again with it and open the study with that."
            )
        try:
            answer = self.allowed({name: dict(v) if isinstance(v, dict) else v for name, v in values.items()})
        except Exception as error:
            raise InvalidSpaceError(
                f"the predicate allowed={self._allowed_name} failed at {values!r}: {error!r}"
            ) from error
        if not isinstance(answer, bool | np.bool_):
            raise InvalidSpaceError(
                f"the predicate allowed={self._allowed_name} must return True or False, got {answer!r} at {values!r}."
            )
        return bool(answer)
