"""Allowed configurations at random.

Rejection from the uniform distribution while it pays; where the allowed part is small, its configurations one by one
if they are few, and otherwise a hit-and-run walk (Smith, "Efficient Monte Carlo Procedures for Generating Points
Uniformly Distributed Over Bounded Regions") whose steps shrink towards a point known to be allowed as in slice sampling
(Neal, "Slice Sampling"), so that it needs nothing but the question "is this allowed?".

Alphabet. U: unit values, `n x d`; Z: what the walk moves, `n x D`: unit values, and for a Simplex its shares, on which
the uniform distribution of mixtures is flat.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from bayesopt.errors import InvalidSpaceError
from bayesopt.problem.constraints import TOLERANCE, LinearConstraint
from bayesopt.problem.feasibility import LinearProgram, Variable
from bayesopt.problem.parameters import Choice, Float, Int, Parameter, Simplex

if TYPE_CHECKING:
    from bayesopt.problem.space import Space

FloatArray = NDArray[np.float64]

_PROBES: Final = 1000
"""Uniform draws from which the allowed share is estimated, once a space."""

_LEAST_ACCEPTANCE: Final = 0.02
"""Below this share of allowed draws, a walk is cheaper than rejection."""

_MOST_PROBES: Final = 64_000
"""Uniform draws after which a space whose predicate allowed none of them is given up."""

_MOST_LISTED: Final = 100_000
"""Finite spaces up to this size are listed rather than walked."""

_POPULATION: Final = 64
"""Points that a walk may start from; their spread sets the length of its steps."""

_ROUNDS: Final = 4
"""Times the population is walked to spread it out, its spread measured anew each time."""

_SHORTEST: Final = 1e-13
"""Steps that can only be shorter than this, in parts of a range, are given up: roundings undo them."""

_STARTS: Final = 16
"""Directions in which a linear program looks for a start; a walk spreads out from there."""

_TIGHTNESS: Final = (0.1, 0.5, 0.0)
"""Shares of the largest slack that a start keeps: off the boundary, where roundings decide, if that can be had."""


class Sampler:
    """Draws allowed configurations of one space; what it learns of the space, it learns once and without the rng."""

    def __init__(self, space: "Space", linear_part: "Space | None") -> None:
        """Get ready.

        Args:
            space: What to draw from.
            linear_part: The same space without its predicate, if it has linear constraints besides; else None.
        """
        self._space, self._linear_part = space, linear_part
        self._acceptance = 1.0
        self._listed: tuple[FloatArray, FloatArray] | None = None
        self._walk: _Walk | None = None
        if space.is_constrained:
            self._explore()

    def sample(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Snapped allowed configurations, `n x d`; see `Space.sample`."""
        if not self._space.is_constrained:
            return self._space.snap(self._propose(n, rng))
        if self._listed is not None:
            rows, weights = self._listed
            return rows[rng.choice(len(rows), size=n, p=weights)]
        if self._walk is not None:
            return self._walk.sample(n, rng)
        kept: list[FloatArray] = [np.empty((0, self._space.dim))]
        missing = n
        while missing > 0:  # ends: about one draw in fifty, or more, is allowed
            U = self._allowed(int(missing / self._acceptance * 1.1) + 16, rng)[:missing]
            kept.append(U)
            missing -= len(U)
        return np.concatenate(kept)

    def _propose(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Draws among which the predicate, or whatever else there is, selects."""
        if self._linear_part is not None:
            return self._linear_part.sample(n, rng)
        return uniform(self._space, n, rng)

    def _allowed(self, n: int, rng: np.random.Generator) -> FloatArray:
        U = self._space.snap(self._propose(n, rng))
        return U[self._space.is_allowed(U)]

    def _explore(self) -> None:
        rng = np.random.default_rng(0)
        found = self._allowed(_PROBES, rng)
        self._acceptance = len(found) / _PROBES
        if self._acceptance >= _LEAST_ACCEPTANCE:
            return
        size = self._space.size
        if size is not None and size <= _MOST_LISTED:
            rows = self._space.enumerate(_MOST_LISTED)
            if not len(rows):
                raise InvalidSpaceError(f"none of the {size} configurations is allowed; loosen what rules them out.")
            weights = _volumes(self._space, rows)
            self._listed = rows, weights / weights.sum()
            return
        predicate = self._linear_part is not None or not self._space.constraints
        if not predicate:
            found = np.vstack([found, _starts(self._space, rng)])
        tried = _PROBES
        while predicate and not len(found) and tried < _MOST_PROBES:
            found = self._allowed(_PROBES, rng)
            tried += _PROBES
        if not len(found):
            raise InvalidSpaceError(
                f"no allowed configuration was found in {tried} random ones"
                f"{'' if predicate else ' and by linear programming'}; loosen what rules them out, "
                "or narrow the ranges to where something is allowed."
            )
        self._walk = _Walk(self._space, found, rng, everywhere=predicate)


def uniform(space: "Space", n: int, rng: np.random.Generator) -> FloatArray:
    """Uniform points of the cube, `n x d`, except that a Simplex's columns make its mixtures uniform."""
    U = rng.random((n, space.dim))
    for parameter, columns in _columns(space).values():
        if isinstance(parameter, Simplex) and parameter.scale.is_capped:
            U[:, columns] = parameter.scale.unit(parameter.scale.sample(n, rng))
    return U


class _Walk:
    """Hit-and-run on the allowed part of the cube, many independent walkers at a time."""

    def __init__(self, space: "Space", found: FloatArray, rng: np.random.Generator, *, everywhere: bool) -> None:
        """Spread a population over the allowed part.

        Args:
            space: What is walked.
            found: Allowed points, `m x d`, at least one.
            rng: Moves the population.
            everywhere: Whether every parameter may matter, as under a predicate; else only those in linear constraints.
        """
        self._space = space
        columns = _columns(space)
        moved = set(space) if everywhere else _named(space)
        self._parts = []
        at = 0
        for name in sorted(moved, key=space.names.index):
            parameter, places = columns[name]
            width = len(parameter.names) if isinstance(parameter, Simplex) else 1
            self._parts.append((parameter, places, slice(at, at + width)))
            at += width
        self._low, self._high = np.zeros(at), np.ones(at)
        moves = []
        for parameter, _, part in self._parts:
            if isinstance(parameter, Simplex):
                self._low[part], self._high[part] = parameter.scale.floors, parameter.scale.caps
                for i in range(part.start, part.stop):
                    for j in range(i):
                        moves.append((i, j))
            else:
                moves.append((part.start, part.start))
        self._moves = np.zeros((len(moves), at))
        for row, (i, j) in enumerate(moves):
            self._moves[row, j] = -1.0  # what one share loses, another gains
            self._moves[row, i] = 1.0
        self._rows, self._row_low, self._row_high = self._flat_constraints(at)
        self._n_steps = 10 + 2 * at
        self._population = self._from_cube(found[rng.integers(len(found), size=_POPULATION)])
        for _ in range(_ROUNDS):
            self._population = self._moved(self._population, 2 * self._n_steps, rng)

    def sample(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Allowed configurations, `n x d`, snapped."""
        Z = self._moved(self._population[rng.integers(_POPULATION, size=n)], self._n_steps, rng)
        U = uniform(self._space, n, rng)
        self._into_cube(Z, U)
        return self._space.snap(U)

    def _moved(self, Z: FloatArray, n_steps: int, rng: np.random.Generator) -> FloatArray:
        population = self._population
        for step in range(n_steps):
            if step % 2:
                # from one member to another: long where the allowed part is long, however it lies
                one, other = rng.integers(_POPULATION, size=(2, len(Z)))
                direction = population[one] - population[other]
            else:
                direction = self._moves[rng.integers(len(self._moves), size=len(Z))]
            Z = self._stepped(Z, direction, rng)
        return Z

    def _stepped(self, Z: FloatArray, direction: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Move each walker to a uniform allowed point of its line."""
        with np.errstate(divide="ignore", invalid="ignore"):
            to_low, to_high = (self._low - Z) / direction, (self._high - Z) / direction
            sums, rates = Z @ self._rows.T, direction @ self._rows.T
            to_low = np.hstack([to_low, (self._row_low - sums) / rates])
            to_high = np.hstack([to_high, (self._row_high - sums) / rates])
        still = np.hstack([direction, rates]) == 0
        back = np.where(still, -np.inf, np.minimum(to_low, to_high)).max(axis=1)
        ahead = np.where(still, np.inf, np.maximum(to_low, to_high)).min(axis=1)
        length = np.abs(direction).max(axis=1)
        back, ahead = np.where(length > 0, back, 0.0), np.where(length > 0, ahead, 0.0)
        Z = Z.copy()
        walking = np.arange(len(Z))
        while len(walking := walking[(ahead - back)[walking] * length[walking] > _SHORTEST]):
            t = back[walking] + rng.random(len(walking)) * (ahead[walking] - back[walking])
            candidates = Z[walking] + t[:, None] * direction[walking]
            arrived = self._is_allowed(candidates)
            Z[walking[arrived]] = candidates[arrived]
            behind = t < 0
            back[walking[behind]], ahead[walking[~behind]] = t[behind], t[~behind]
            walking = walking[~arrived]
        return Z

    def _flat_constraints(self, n_coordinates: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The linear constraints that are linear in Z too, `r x D`, and their bounds, never too tight.

        They shorten the line on which a step looks for an allowed point; the question whether it is allowed decides.

        Returns:
            Weights of the coordinates, least and greatest sums.
        """
        places: dict[str, tuple[int, float, float, float]] = {}  # coordinate, slope, offset, play from rounding
        for parameter, columns, part in self._parts:
            name = self._space.columns[columns.start].parameter
            if parameter.active_if is None and isinstance(parameter, Simplex):
                places |= {
                    f"{name}.{share}": (part.start + i, 1.0, 0.0, 0.0) for i, share in enumerate(parameter.names)
                }
            elif parameter.active_if is None and isinstance(parameter, Float) and not parameter.log:
                places[name] = part.start, parameter.high - parameter.low, parameter.low, 0.0
            elif parameter.active_if is None and isinstance(parameter, Int) and not parameter.log:
                places[name] = part.start, float(parameter.levels), parameter.low - 0.5, 0.5
        rows, lows, highs = [], [], []
        for constraint in self._space.constraints:
            if not all(name in places for name in constraint.coefficients):
                continue
            row, offset, play, size = np.zeros(n_coordinates), 0.0, 0.0, 0.0
            for name, weight in constraint.coefficients.items():
                at, slope, start, rounding = places[name]
                row[at] += weight * slope
                offset += weight * start
                play += abs(weight) * rounding
                size += abs(weight) * (abs(start) + slope)
            play += 2 * TOLERANCE * size
            rows.append(row)
            lows.append(-np.inf if constraint.lower is None else constraint.lower - offset - play)
            highs.append(np.inf if constraint.upper is None else constraint.upper - offset + play)
        return np.array(rows).reshape(len(rows), n_coordinates), np.array(lows), np.array(highs)

    def _is_allowed(self, Z: FloatArray) -> NDArray[np.bool_]:
        U = np.full((len(Z), self._space.dim), 0.5)
        self._into_cube(Z, U)
        return self._space.is_allowed(U)

    def _into_cube(self, Z: FloatArray, U: FloatArray) -> None:
        for parameter, places, part in self._parts:
            U[:, places] = parameter.scale.unit(Z[:, part]) if isinstance(parameter, Simplex) else Z[:, part]

    def _from_cube(self, U: FloatArray) -> FloatArray:
        return np.hstack([
            p.scale.native(U[:, places]) if isinstance(p, Simplex) else U[:, places] for p, places, _ in self._parts
        ])


def relaxation(parameters: Mapping[str, Parameter], constraints: tuple[LinearConstraint, ...]) -> LinearProgram:
    """The linear program over all configurations at once: what may be absent may also be 0.

    Args:
        parameters: Name to parameter.
        constraints: What must hold.

    Returns:
        A program that can hold whenever some configuration satisfies the constraints.
    """
    variables: dict[str, Variable] = {}
    wholes = []
    for name in _names(parameters, constraints):
        parameter = parameters[name]
        may_miss = parameter.active_if is not None
        own = _variables(name, parameter)
        variables |= {
            flat: Variable(min(v.low, 0.0), max(v.high, 0.0), v.is_whole) if may_miss else v for flat, v in own.items()
        }
        if isinstance(parameter, Simplex):
            wholes.append((tuple(own), may_miss))
    return LinearProgram(constraints, variables, wholes=wholes)


def _starts(space: "Space", rng: np.random.Generator) -> FloatArray:
    """Allowed points, `m x d`, towards random directions, each under random values of what decides about existence."""
    deciding = {parent for parameter in space.values() for parent in parameter.active_if or ()}
    named = _names(space, space.constraints)
    programs: dict[tuple[Any, ...], tuple[LinearProgram, float | None]] = {}
    found = []
    for params in map(space.decode, uniform(space, _STARTS, rng)):
        free = [name for name in named if name in params and name not in deciding]
        constants = {name: params[name] for name in named if name in params and name in deciding}
        variables: dict[str, Variable] = {}
        for name in free:
            variables |= _variables(name, space[name])
        key = (*free, *constants.items())
        if key not in programs:
            wholes = [
                (tuple(_variables(name, space[name])), False) for name in free if isinstance(space[name], Simplex)
            ]
            program = LinearProgram(space.constraints, variables, wholes=wholes, constants=constants)
            programs[key] = program, program.most_slack()
        program, most = programs[key]
        if most is None:
            continue
        direction = rng.standard_normal(len(variables))
        for share in _TIGHTNESS:
            point = program.point(direction, share * most)
            if point is None:
                continue
            u = space.encode(params | {name: _value(name, space[name], point) for name in free})
            if space.is_allowed(u[None])[0]:
                found.append(u)
                break
    return np.array(found).reshape(len(found), space.dim)


def _value(name: str, parameter: Parameter, point: Mapping[str, float]) -> Any:
    """A parameter's value at a point of a linear program, roundings of the solver repaired."""
    if isinstance(parameter, Simplex):
        shares = np.array([[point[f"{name}.{share}"] for share in parameter.names]])
        return dict(zip(parameter.names, parameter.scale.rounded(shares)[0].tolist(), strict=True))
    value = min(max(point[name], parameter.low), parameter.high) if not isinstance(parameter, Choice) else None
    return round(value) if isinstance(parameter, Int) and value is not None else value


def _variables(name: str, parameter: Parameter) -> dict[str, Variable]:
    if isinstance(parameter, Simplex):
        floors, caps = parameter.scale.floors.tolist(), parameter.scale.caps.tolist()
        return {
            f"{name}.{share}": Variable(floor, cap)
            for share, floor, cap in zip(parameter.names, floors, caps, strict=True)
        }
    if isinstance(parameter, Float | Int):
        return {name: Variable(float(parameter.low), float(parameter.high), isinstance(parameter, Int))}
    return {}


def _names(parameters: Mapping[str, Parameter], constraints: tuple[LinearConstraint, ...]) -> list[str]:
    """The parameters that linear constraints speak of."""
    flat = {name for constraint in constraints for name in constraint.coefficients}
    return [name for name, parameter in parameters.items() if flat & _variables(name, parameter).keys()]


def _named(space: "Space") -> set[str]:
    """The parameters that linear constraints speak of, and those that decide whether these exist."""
    moved: set[str] = set()
    waiting = _names(space, space.constraints)
    while waiting:
        name = waiting.pop()
        if name not in moved:
            moved.add(name)
            waiting.extend(space[name].active_if or ())
    return moved


def _columns(space: "Space") -> dict[str, tuple[Parameter, slice]]:
    """Each parameter with its columns of the cube."""
    columns: dict[str, tuple[Parameter, slice]] = {}
    at = 0
    for name, parameter in space.items():
        columns[name] = parameter, slice(at, at + parameter.width)
        at += parameter.width
    return columns


def _volumes(space: "Space", rows: FloatArray) -> FloatArray:
    """The volume of the cube that stands for each configuration of a finite space, shape `n`."""
    volumes = np.ones(len(rows))
    exists = space.exists(rows)
    for i, (parameter, columns) in enumerate(_columns(space).values()):
        if isinstance(parameter, Int | Choice):
            widths = parameter.scale.bin_width(parameter.scale.native(rows[:, columns]))[:, 0]
            volumes *= np.where(exists[:, i], widths, 1.0)
    return volumes
