"""CONFIG: optimism in the objective and in every constraint, with bounds on what is lost and violated on the way."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from bayesopt.acquisition.maximize import N_INCUMBENTS, is_untried, maximize
from bayesopt.errors import InvalidInputError
from bayesopt.problem.arguments import as_number, non_negative, probability
from bayesopt.record.history import History
from bayesopt.strategies.base import Suggestion
from bayesopt.strategies.chosen import Chosen
from bayesopt.strategies.expected_improvement import ExpectedImprovement
from bayesopt.strategies.model_based import ModelBased

if TYPE_CHECKING:
    from bayesopt.acquisition.optimistic_constrained import OptimisticProblem, ViolationBudget
    from bayesopt.surrogate import Surrogate

FloatArray = NDArray[np.float64]

KNOWN: Final = 1e-3
"""A proposal within this of a tried configuration, in every column of the unit cube, would teach nothing new."""


class OptimisticConstrained(ModelBased):
    """Asks where the objective may be best among the places where every constraint may still hold.

    `min LCB_0 subject to LCB_i <= 0` with `LCB = mean - beta sd`. A trial so ordered either is good and feasible, or
    teaches that it is not: regret and violation of a trial are at most `2 beta sd` there wherever the bounds hold. Take
    it when violations are paid for, or for its guarantees; on a small budget the default finds better trials. Where
    nothing may be feasible, the place of least optimistic violation is asked, and `Study.verdict` says whether that is
    proof enough.

    Beliefs about the optimum shape the start alone. Points asked together take what is expected of one another for
    told.

    Reference: Xu et al. 2023, "Constrained Efficient Global Optimization of Expensive Black-box Functions" (CONFIG); Xu
    et al. 2022, "VABO: Violation-Aware Bayesian Optimization", for the budget.

    Example:
        >>> strategy = OptimisticConstrained(violation_budget={"temperature": 20.0})
    """

    def __init__(
        self,
        beta: float | Literal["theory"] = 2.0,
        *,
        norm_bound: float | Mapping[str, float] | None = None,
        noise_bound: float | None = None,
        delta: float = 0.1,
        on_stagnation: Literal["improvement", "next"] = "improvement",
        violation_budget: float | Mapping[str, float] | None = None,
        violation_risk: float = 0.05,
        n_initial: int | None = None,
    ) -> None:
        """Choose how optimistic to be.

        Args:
            beta: Width of every bound in posterior standard deviations; 'theory' for the width that holds everywhere
                with probability `1 - delta`, which grows with what was learned.
            norm_bound: With 'theory', how large each outcome's function is in the norm of its kernel, in spreads
                (standard deviations of what was told) of the outcome; one number for all, or one an outcome by name.
            noise_bound: With 'theory', standard deviation that bounds the noise, in the same spreads; None for the
                noise that each model has.
            delta: With 'theory', probability that some bound may fail somewhere.
            on_stagnation: What to ask when the solution is a known configuration: the largest constrained expected
                'improvement', or the 'next' best point of the same problem.
            violation_budget: The most violation, summed over all trials, in the outcomes' own units: of all constraints
                together, or by name of a constraint. The trials of the start know no model and may overdraw it: enqueue
                configurations that are known to be safe, with `n_initial=0`.
            violation_risk: Probability with which a trial may exceed what is left of that.
            n_initial: Trials of the start; None for `min(2 d, d + 4, 20)`.

        Raises:
            InvalidInputError: If an argument is no number of its range, or 'theory' lacks a norm.
        """
        super().__init__(n_initial)
        self.beta = beta if beta == "theory" else _positive("beta", beta)
        if (self.beta == "theory") != (norm_bound is not None):
            raise InvalidInputError(
                f"norm_bound: expected a number, or one an outcome, with beta='theory', and None with a constant beta; "
                f"got norm_bound={norm_bound!r} with beta={beta!r}."
            )
        self.norm_bound = _by_name("norm_bound", norm_bound)
        self.noise_bound = None if noise_bound is None else non_negative("noise_bound", noise_bound)
        self.delta = probability("delta", delta)
        if on_stagnation not in ("improvement", "next"):
            raise InvalidInputError(f"on_stagnation: expected 'improvement' or 'next', got {on_stagnation!r}.")
        self.on_stagnation = on_stagnation
        self.violation_budget = _by_name("violation_budget", violation_budget)
        self.violation_risk = probability("violation_risk", violation_risk)
        self._improvement = ExpectedImprovement()

    @override
    def suggest(self, history: History, n: int, rng: np.random.Generator) -> list[Suggestion]:
        """Configurations to try next, as in `ModelBased.suggest`; raises if a limit names no outcome of the study."""
        constrained = [constraint.name for constraint in history.outcomes.constraints]
        _check_names("violation_budget", self.violation_budget, constrained, needs_all=False)
        _check_names("norm_bound", self.norm_bound, [history.outcomes.objective.name, *constrained], needs_all=True)
        return super().suggest(history, n, rng)

    @override
    def _choose(
        self, surrogate: "Surrogate", history: History, n: int, chosen: Chosen, rng: np.random.Generator
    ) -> dict[str, Any]:
        from bayesopt.acquisition.optimistic_constrained import TOLERANCE, LeastViolation, solve

        incumbents = surrogate.history.X[surrogate.promising_rows(N_INCUMBENTS)]
        budget = self._budget(history)
        while len(chosen) < n:
            tried = np.vstack([history.tried, *chosen])
            problem = self._problem(surrogate, np.vstack([history.pending, *chosen]), budget)
            solution = solve(problem, surrogate, incumbents, rng)
            if is_untried(solution.point, tried, within=KNOWN):
                chosen.append(solution.point)
                continue
            before = len(chosen)
            is_empty = solution.violation > TOLERANCE
            # An optimum of improvement knows no budget, and none of a problem that nothing solves.
            if is_empty or budget is not None or self.on_stagnation == "next":
                following = LeastViolation(problem) if is_empty else problem
                u = maximize(following, history.space, incumbents, tried, rng)
                chosen += [] if u is None else [u]
            else:
                self._improvement._choose(surrogate, history, before + 1, chosen, rng)
            if len(chosen) == before:
                break
        return {}

    def optimistic_value(self, surrogate: "Surrogate", rng: np.random.Generator) -> float | None:
        """The best that the objective may be, in its units, wherever every constraint may hold.

        Args:
            surrogate: The fitted models; the objective's must exist.
            rng: Draws where it is looked for.

        Returns:
            `LCB_0` at the solution of the auxiliary problem, an upper bound when the objective is maximised; None where
            nothing solves it. No better feasible value exists where the bounds hold.
        """
        from bayesopt.acquisition.optimistic_constrained import TOLERANCE, solve

        problem = self._problem(surrogate, np.zeros((0, surrogate.history.space.dim)), None)
        incumbents = surrogate.history.X[surrogate.promising_rows(N_INCUMBENTS)]
        solution = solve(problem, surrogate, incumbents, rng)
        if solution.violation > TOLERANCE:
            return None
        sign = surrogate.history.outcomes.objective.sign
        return sign * float(surrogate.scale.to_units(np.array([-solution.lowest]))[0])

    def _problem(
        self, surrogate: "Surrogate", pending: FloatArray, budget: "ViolationBudget | None"
    ) -> "OptimisticProblem":
        from bayesopt.acquisition.optimistic_constrained import OptimisticProblem

        return OptimisticProblem(surrogate, pending, self._widths(surrogate), budget)

    def _widths(self, surrogate: "Surrogate") -> FloatArray:
        """Of the objective and of each constraint, `1 + K`."""
        from bayesopt.acquisition.optimistic_constrained import information_gain, theoretical_width

        models = [surrogate.objective, *surrogate.constraints]
        if self.beta != "theory":
            return np.full(len(models), float(self.beta))
        outcomes = surrogate.history.outcomes
        names = [outcomes.objective.name, *(constraint.name for constraint in outcomes.constraints)]
        widths = np.zeros(len(models))
        for k, (name, model) in enumerate(zip(names, models, strict=True)):
            if model is not None:
                noise = math.sqrt(model.noise_variance) / model.scale if self.noise_bound is None else self.noise_bound
                norm = self.norm_bound[name] if isinstance(self.norm_bound, Mapping) else self.norm_bound
                assert norm is not None  # held by __init__
                widths[k] = theoretical_width(norm, noise, information_gain(model), len(models), self.delta)
        return widths

    def _budget(self, history: History) -> "ViolationBudget | None":
        """What is left of the violation budget; None if there is none."""
        from bayesopt.acquisition.optimistic_constrained import ViolationBudget

        if self.violation_budget is None:
            return None
        spent = violations(history)
        names = [constraint.name for constraint in history.outcomes.constraints]
        if isinstance(self.violation_budget, float):
            # An equal share each of what is left: any trial that keeps to all of them keeps to their sum.
            left = np.full(len(names), (self.violation_budget - spent.sum()) / max(1, len(names)))
        else:
            left = np.array([self.violation_budget.get(name, math.inf) for name in names]) - spent
        return ViolationBudget(np.maximum(left, 0.0), self.violation_risk)


def violations(history: History) -> FloatArray:
    """Violation of each constraint summed over the told trials, `K`, in its own units; what was not measured is 0."""
    total: FloatArray = np.nansum(np.maximum(history.constraints, 0.0), axis=0)
    return total


def _positive(name: str, value: Any) -> float:
    number = as_number(name, value)
    if not (math.isfinite(number) and number > 0):
        raise InvalidInputError(f"{name}: expected a finite number above 0, or 'theory', got {value!r}.")
    return number


def _by_name(role: str, value: Any) -> float | dict[str, float] | None:
    if isinstance(value, Mapping):
        if not value:
            raise InvalidInputError(f"{role}: the dict is empty; give a number by name of an outcome, or None.")
        return {str(name): non_negative(f"{role}[{name!r}]", number) for name, number in value.items()}
    return None if value is None else non_negative(role, value)


def _check_names(role: str, numbers: float | Mapping[str, float] | None, names: list[str], *, needs_all: bool) -> None:
    if not isinstance(numbers, Mapping):
        return
    unknown = [name for name in numbers if name not in names]
    missing = [name for name in names if needs_all and name not in numbers]
    if unknown or missing:
        fault = f"{unknown[0]!r} is none of them" if unknown else f"{missing[0]!r} is missing"
        raise InvalidInputError(f"{role}: the study's outcomes here are {', '.join(names) or 'none'}; {fault}.")
