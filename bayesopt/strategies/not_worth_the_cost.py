"""End a study when no configuration promises an improvement that is worth its cost.

Alphabet. lambda: the price of a unit of cost, in units of the objective. c: what a trial is expected to cost.
"""

import math

import numpy as np
from typing_extensions import override

from bayesopt.problem.arguments import whole_number
from bayesopt.record.history import History
from bayesopt.strategies.base import EndingRule
from bayesopt.strategies.gittins_search import model_units, positive_price
from bayesopt.strategies.model_based import MIN_TOLD, n_started


class NotWorthTheCost(EndingRule):
    """Ends where `max_x [log EI(x) - log(lambda c(x))] <= 0`, with the probabilities of survival and feasibility in EI.

    That is the same as "no Gittins index is above the incumbent", so one rule serves `GittinsSearch` and
    `ImprovementPerCost`; it may end any other search, too. A search for the maximum that finds nothing is repeated with
    four times as many starts before it is believed.

    Reference: Xie et al. 2025, "Cost-aware Stopping for Bayesian Optimization".

    Example:
        >>> import bayesopt as bo
        >>> space = bo.Space({"lr": bo.Float(1e-4, 1.0, log=True)})
        >>> rule = bo.strategies.NotWorthTheCost(price=0.001)  # a minute is worth 0.001 of accuracy
        >>> study = bo.Study(space, maximize="accuracy", until=rule)
    """

    def __init__(self, price: float, *, at_least: int | None = None) -> None:
        """Choose the price.

        Args:
            price: lambda, what a unit of cost is worth in units of the objective.
            at_least: Trials before which nothing is ended; None for twice as many as dimensions.

        Raises:
            InvalidInputError: If the price is no positive number, or `at_least` negative or no whole number.
        """
        self.price = positive_price(price)
        self.at_least = None if at_least is None else whole_number("at_least", at_least, at_least=0)

    @override
    def why_end(self, history: History, rng: np.random.Generator) -> str | None:
        """Whether nothing is worth its cost any more, as in `EndingRule.why_end`.

        Args:
            history: What was told and paid.
            rng: Draws where the maximum is sought.

        Returns:
            The reason, or None, also while no cost is known or no told trial is feasible.
        """
        at_least = 2 * history.space.dim if self.at_least is None else self.at_least
        if history.prices is None or len(history.X) < max(MIN_TOLD, at_least) or n_started(history) < at_least:
            return None
        worth = self.log_worth(history, rng)
        if worth is None or worth > 0.0:
            return None
        return (
            f"not worth the cost: the best trial promises {math.exp(worth):.2g} of what it would cost, "
            f"at {self.price:g} for a unit"
        )

    def log_worth(self, history: History, rng: np.random.Generator) -> float | None:
        """The largest log of expected improvement over price, as far as a search can tell.

        Args:
            history: What was told and paid.
            rng: Draws where it is sought.

        Returns:
            The number; None while no told trial is probably feasible, or where the model breaks down.
        """
        # late: these bring torch, which a study that only stores and shows trials never needs
        from bayesopt.acquisition.log_expected_improvement import LogExpectedImprovement
        from bayesopt.acquisition.maximize import N_INCUMBENTS, maximize
        from bayesopt.acquisition.per_cost import LogUtilityPerCost
        from bayesopt.acquisition.pool import N_SAMPLES, N_STARTS
        from bayesopt.surrogate import fit_surrogate
        from gp.threads import single_threaded

        assert history.prices is not None  # held by the caller
        with single_threaded():
            try:
                surrogate = fit_surrogate(history)
            except ArithmeticError:
                return None
            normals = rng.standard_normal((1 + len(history.outcomes.constraints), len(history.pending), 1))
            improvement = LogExpectedImprovement(surrogate, history.pending, 0.0 * normals)
            if improvement.incumbents is None:
                return None
            worth = LogUtilityPerCost(improvement, history.prices, 1.0)
            log_price = math.log(self.price * model_units(surrogate))
            incumbents = history.X[surrogate.rows[surrogate.promising_rows(N_INCUMBENTS)]]
            most = -math.inf
            for effort in (1, 4):
                u = maximize(
                    worth,
                    history.space,
                    incumbents,
                    history.tried,
                    rng,
                    n_samples=effort * N_SAMPLES,
                    n_starts=effort * N_STARTS,
                )
                if u is None:
                    return -math.inf
                most = max(most, float(worth.values(u[None])[0]) - log_price)
                if most > 0.0:
                    break
        return most
