"""A solver that tunes itself: parameters for every system of a sequence, from what the last ones cost.

Alphabet. theta: a configuration of the solver, a dict. context: what is known of a system before it is solved, `k`
numbers. Costs are positive, in the user's own unit; the model sees their logarithm.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray

import bayesopt as bo
from bayesopt.errors import InvalidInputError
from bayesopt.problem.arguments import as_number, non_negative, whole_number
from bayesopt.tuners.arms import Arms
from bayesopt.tuners.picking import PickingStrategy, Status, ThompsonSampling

__all__ = ["Solve", "SolverTuner"]

FloatArray = NDArray[np.float64]
Context = float | Sequence[float] | FloatArray

_STATUSES: Final = get_args(Status)
_REMEMBERED: Final = 64
"""Recommendations that are kept for when the overhead is spent."""
_FORMAT: Final = 1
"""Version of `state_dict`."""


@dataclass
class Solve:
    """One solve inside `SolverTuner.solving`."""

    params: dict[str, Any]
    """What to solve with."""
    cost: Any = None
    """What it cost, to be set within the block; seconds are measured where it is left out and `cost="seconds"`."""
    status: Status = "ok"
    """To be set within the block where the solve did not converge; an exception is told as an error."""


class SolverTuner:
    """Chooses a solver's parameters, system by system, from nothing but what each solve cost.

    A Gaussian process on log cost over (context, parameters), kept in cells so that an ask takes a millisecond however
    long the run, and Thompson sampling on it; other bandits by `strategy`. The published setting, and the bandits that
    it is compared with: Khodak et al. 2023, "Learning to Relax: Setting Solver Parameters Across a Sequence of Linear
    System Instances" (arXiv 2310.02246).

    Example:
        >>> tuner = SolverTuner(bo.Space({"omega": bo.Float(1.0, 1.95)}), context_dim=1, seed=0)
        >>> for shift in (0.1, 0.2, 0.3) * 20:
        ...     theta = tuner.ask(shift)
        ...     tuner.tell(theta, shift, cost=10.0 + 40.0 * abs(theta["omega"] - 1.6))
        >>> abs(tuner.best(0.2)["omega"] - 1.6) < 0.08
        True
    """

    def __init__(
        self,
        space: bo.Space,
        context_dim: int,
        cost: str | Callable[[Any], float] = "iterations",
        default: Mapping[str, Any] | None = None,
        overhead: float = 0.01,
        seed: int = 0,
        *,
        strategy: PickingStrategy | None = None,
    ) -> None:
        """A tuner that knows nothing yet.

        Args:
            space: The solver's parameters.
            context_dim: How many numbers describe a system; 0 where nothing is known of it.
            cost: `"iterations"` or any other count, `"seconds"`, or a function that reads the cost from what is told.
            default: The safe configuration: tried first, and used when the overhead is spent before anything is
                learned. None for the middle of the space, which is then not tried first.
            overhead: Share of the seconds spent in solves that the tuner may take itself. Seconds of solves are known
                with `cost="seconds"`, with `solving`, or where `tell` is given them; without, nothing limits it.
                When it is spent, the answer is what was last best at the nearest context; with 0, always `default`.
            seed: Of every random choice.
            strategy: What picks; None for `ThompsonSampling()`.

        Raises:
            InvalidInputError: If an argument is not of its kind.
            InvalidParamsError: If `default` does not belong to the space.
        """
        if not isinstance(space, bo.Space):
            raise InvalidInputError(f"space: expected a bo.Space of the solver's parameters, got {space!r}.")
        if not callable(cost) and cost not in ("iterations", "seconds"):
            raise InvalidInputError(
                f'cost: expected "iterations", "seconds" or a function from what is told to a number, got {cost!r}.'
            )
        self.space = space
        self.context_dim = whole_number("context_dim", context_dim, at_least=0)
        self.cost = cost
        self.overhead = non_negative("overhead", overhead)
        self._rng = np.random.default_rng(whole_number("seed", seed, at_least=0))
        self._arms = Arms(space, self._rng)
        self._is_default_given = default is not None
        self.default = space.decode(self._arms.U[len(self._arms) // 2]) if default is None else space.validate(default)
        """The configuration used when the overhead is spent and no better one is remembered."""
        self.strategy = ThompsonSampling() if strategy is None else strategy
        self.strategy.start(self._arms, self.context_dim, is_counted=cost == "iterations")
        self._asked = self._told = 0
        self._waiting: list[tuple[dict[str, Any], list[float], float | None, Status]] = []
        self._known: deque[tuple[FloatArray, int]] = deque(maxlen=_REMEMBERED)
        self.own_seconds = 0.0
        """What asking and telling took so far."""
        self.solve_seconds = 0.0
        """What solves took so far, as far as that is known."""

    def ask(self, context: Context = ()) -> dict[str, Any]:
        """Parameters for the next system.

        Args:
            context: What is known of the system: `context_dim` numbers, or one number where that is 1.

        Returns:
            A configuration of the space.

        Raises:
            InvalidInputError: If the context is of another length or not finite.
        """
        started = time.perf_counter()
        c = self._checked(context)
        self._asked += 1
        if self._asked == 1 and self._is_default_given:
            params = dict(self.default)
        elif self._is_overhead_spent():
            params = self._remembered(c)
        else:
            self._fold()
            params = self._arms.params(self.strategy.pick(c, self._rng))
            if self.solve_seconds > 0:
                self._known.append((c, self.strategy.recommend(c)))
        self.own_seconds += time.perf_counter() - started
        return params

    def tell(
        self,
        theta: Mapping[str, Any],
        context: Context,
        cost: Any,
        status: Status = "ok",
        *,
        seconds: float | None = None,
    ) -> None:
        """What a solve cost, whether or not its parameters were asked for.

        Args:
            theta: What it was solved with.
            context: As in `ask`.
            cost: A positive number, or what the tuner's `cost` function takes; not read for a solve that failed.
            status: `"ok"`; `"maxiter"` where the solver gave up, so that the cost is a lower bound; `"breakdown"` or
                `"error"` where it failed.
            seconds: What the solve took, for the overhead; with `cost="seconds"` that is the cost.

        Raises:
            InvalidInputError: If the context, the cost or the status is not accepted.
            InvalidParamsError: If theta does not belong to the space.
        """
        started = time.perf_counter()
        c = self._checked(context)
        params = self.space.validate(theta)
        if status not in _STATUSES:
            raise InvalidInputError(f"status: expected one of {', '.join(map(repr, _STATUSES))}, got {status!r}.")
        number = None if status in ("breakdown", "error") else self._number(cost)
        if seconds is not None:
            self.solve_seconds += non_negative("seconds", seconds)
        elif self.cost == "seconds" and number is not None:
            self.solve_seconds += number
        self._waiting.append((params, c.tolist(), number, status))
        if self.solve_seconds == 0 and self.overhead > 0:
            self._fold()
        self.own_seconds += time.perf_counter() - started

    def best(self, context: Context = ()) -> dict[str, Any]:
        """The parameters that are believed best for a system, without exploring.

        Args:
            context: As in `ask`.

        Returns:
            A configuration; of several whose iteration counts tie, the middle one. The default before the first tell.

        Raises:
            InvalidInputError: If the context is of another length or not finite.
        """
        c = self._checked(context)
        is_told = bool(self._waiting) or self._told > 0
        if not is_told:
            return dict(self.default)
        self._fold()
        return self._arms.params(self.strategy.recommend(c))

    @contextmanager
    def solving(self, context: Context = ()) -> Iterator[Solve]:
        """Ask, solve, tell: the block solves one system with `solve.params` and sets `solve.cost`.

        Args:
            context: As in `ask`.

        Yields:
            The solve. An exception in the block is told as an error and goes on its way.

        Raises:
            InvalidInputError: If the context or the cost is not accepted.

        Example:
            >>> tuner = SolverTuner(bo.Space({"omega": bo.Float(1.0, 1.95)}), context_dim=1)
            >>> with tuner.solving(0.5) as solve:
            ...     solve.cost = 12  # iterations of a solve with solve.params
        """
        solve = Solve(self.ask(context))
        started = time.perf_counter()
        try:
            yield solve
        except Exception:
            self.tell(solve.params, context, None, "error", seconds=time.perf_counter() - started)
            raise
        seconds = time.perf_counter() - started
        cost = seconds if solve.cost is None and self.cost == "seconds" else solve.cost
        self.tell(solve.params, context, cost, solve.status, seconds=seconds)

    def state_dict(self) -> dict[str, Any]:
        """Everything that was learned, in JSON values, its size independent of the length of the run."""
        self._fold()
        return {
            "format": _FORMAT,
            "space": self.space.to_json(),
            "context_dim": self.context_dim,
            "strategy": type(self.strategy).__name__,
            "rng": self._rng.bit_generator.state,
            "arms": self._arms.U.tolist(),
            "asked": self._asked,
            "told": self._told,
            "seconds": [self.own_seconds, self.solve_seconds],
            "known": [[context.tolist(), arm] for context, arm in self._known],
            "learned": self.strategy.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another tuner of the same space, contexts and strategy stood.

        Args:
            state: What its `state_dict` returned, perhaps through JSON.

        Raises:
            InvalidInputError: If it is the state of a different tuner.
        """
        own = self.state_dict()
        for key in ("format", "space", "context_dim", "strategy"):
            if key not in state or state[key] != own[key]:
                raise InvalidInputError(
                    f"state: its {key} is {state.get(key)!r}, but this tuner's is {own[key]!r}; load it into a tuner "
                    "that was declared like the one that it came from."
                )
        self._rng.bit_generator.state = state["rng"]
        self._arms.restore(np.array(state["arms"], dtype=np.float64))
        self._asked, self._told = int(state["asked"]), int(state["told"])
        self.own_seconds, self.solve_seconds = map(float, state["seconds"])
        self._known = deque(((np.array(context), arm) for context, arm in state["known"]), maxlen=_REMEMBERED)
        self.strategy.load_state_dict(state["learned"])

    # -- details ---------------------------------------------------------------------------------------------------

    def _fold(self) -> None:
        """Teach the strategy what was told and not yet learned; while the overhead is spent it waits."""
        for left, (params, context, cost, status) in zip(range(len(self._waiting))[::-1], self._waiting, strict=True):
            self.strategy.learn(self._arms.number(params), np.array(context), cost, status, is_more=left > 0)
        self._told += len(self._waiting)
        self._waiting.clear()

    def _remembered(self, context: FloatArray) -> dict[str, Any]:
        """What was best when there was time to ask, at the context nearest to this one; else the default."""
        if not self._known:
            return dict(self.default)
        contexts = np.array([each for each, _ in self._known])
        spread = np.ptp(contexts, axis=0)
        spread[spread == 0] = 1.0
        nearest = int(np.square((contexts - context) / spread).sum(1).argmin())
        return self._arms.params(self._known[nearest][1])

    def _is_overhead_spent(self) -> bool:
        if self.overhead == 0:
            return True
        return 0.0 < self.solve_seconds * self.overhead < self.own_seconds

    def _checked(self, context: Context) -> FloatArray:
        try:
            c = np.atleast_1d(np.array(context, dtype=np.float64))
        except (TypeError, ValueError):
            c = np.full(self.context_dim, np.nan)
        if c.shape != (self.context_dim,) or not np.isfinite(c).all():
            raise InvalidInputError(
                f"context: expected {self.context_dim} finite numbers, as context_dim says, got {context!r}."
            )
        return c

    def _number(self, cost: Any) -> float:
        number = as_number("cost", self.cost(cost) if callable(self.cost) else cost, InvalidInputError)
        if not 0 < number < math.inf:
            raise InvalidInputError(
                f"cost: expected a positive finite number, got {number!r}; tell a solve that failed with "
                'status="breakdown" or "error", and one that needed no iteration as 1.'
            )
        return number
