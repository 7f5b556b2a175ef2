"""Search by the Gittins index: for costs that vary, and for knowing when nothing is worth its price any more.

Alphabet. lambda: the price of a unit of cost, in units of the objective.
"""

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from bayesopt.acquisition.maximize import N_INCUMBENTS, maximize
from bayesopt.errors import InvalidInputError
from bayesopt.problem.arguments import non_negative
from bayesopt.record.history import History
from bayesopt.strategies.chosen import Chosen
from bayesopt.strategies.model_based import ModelBased, n_samples, trust_region

if TYPE_CHECKING:
    from bayesopt.surrogate import Surrogate

FloatArray = NDArray[np.float64]

_FIRST: Final = 0.1
"""lambda at the start where none is given: of a trial of mean cost, in standard deviations of the objective."""
_HALVINGS: Final = 40
"""Of lambda in one ask, at most: 1e-12 of it is no price."""


class GittinsSearch(ModelBased):
    """Tries the configuration whose Gittins index is largest: as if every trial were a box that is opened for a fee.

    The index is the incumbent at which the expected improvement of a trial is worth its cost, and no more. Without a
    `price` of a unit of cost it starts at a tenth of the objective's standard deviation for a trial of mean cost, and
    is halved whenever nothing is worth it any more, so that the search goes on until the budget is spent. With one,
    `NotWorthTheCost(price)` is the rule that goes with it. It pays where costs vary many times over; where they do not,
    `ExpectedImprovement` finds better trials.

    Reference: Xie et al. 2024, "Cost-aware Bayesian Optimization via the Pandora's Box Gittins Index".

    Example:
        >>> import bayesopt as bo
        >>> rules = {"strategy": bo.strategies.GittinsSearch(0.01), "until": bo.strategies.NotWorthTheCost(0.01)}
        >>> study = bo.Study(bo.Space({"x": bo.Float(0.0, 1.0)}), minimize="loss", **rules)
    """

    def __init__(self, price: float | None = None, n_initial: int | None = None) -> None:
        """Choose the price.

        Args:
            price: lambda, what a unit of cost is worth in units of the objective; None to let it fall.
            n_initial: As in `ModelBased`.

        Raises:
            InvalidInputError: If the price is no positive number, or `n_initial` negative or no whole number.
        """
        super().__init__(n_initial)
        self.price = None if price is None else positive_price(price)

    @override
    def _choose(
        self, surrogate: "Surrogate", history: History, n: int, chosen: Chosen, rng: np.random.Generator
    ) -> dict[str, Any]:
        from bayesopt.acquisition.gittins import GittinsIndex

        if history.prices is None:
            raise InvalidInputError(
                "GittinsSearch weighs what trials cost, and no cost is known: tell(trial, values, cost=...), or "
                "Budget(cost_of=...)."
            )
        incumbents = surrogate.history.X[surrogate.promising_rows(N_INCUMBENTS)]
        price, memory = self._price(surrogate, history)
        while len(chosen) < n:
            pending = np.vstack([history.pending, *chosen])
            tried = np.vstack([history.tried, *chosen])
            region = trust_region(history, incumbents) if len(tried) % 2 == 0 else None
            for _ in range(_HALVINGS):
                index = GittinsIndex(surrogate, pending, price)
                u = maximize(
                    index,
                    history.space,
                    incumbents,
                    tried,
                    rng,
                    region=region,
                    n_samples=n_samples(len(history.X)),
                )
                stops = u is not None and index.incumbent is not None and index.values(u[None])[0] <= index.incumbent
                if not stops or self.price is not None:
                    break
                price /= 2.0
                memory = {"price": memory["price"] / 2.0}
            if u is None:
                break
            chosen.append(u)
            if region is not None:
                chosen.note(around=int(surrogate.history.ids[surrogate.promising_rows(1)[0]]))
        return memory

    def _price(self, surrogate: "Surrogate", history: History) -> tuple[float, dict[str, Any]]:
        """Lambda on the scale of the objective's model, and what is remembered of it."""
        if self.price is not None:
            return self.price * model_units(surrogate), {}
        assert history.prices is not None  # held by the caller
        relative = history.memory.get("price", _FIRST)
        mean_cost = float(np.exp(history.prices.log_expected(history.X)[0]).mean())
        return float(relative) / mean_cost, {"price": float(relative)}


def positive_price(price: float) -> float:
    """A price of a unit of cost.

    Args:
        price: In units of the objective.

    Returns:
        The same.

    Raises:
        InvalidInputError: If it is no positive finite number.
    """
    value = non_negative("price", price)
    if value == 0:
        raise InvalidInputError("price: at 0 a unit of cost is worth nothing, and every trial its cost; leave it out.")
    return value


def model_units(surrogate: "Surrogate") -> float:
    """Units of the objective's model in one unit of the objective, near the best told trial, where it matters."""
    best = np.array([surrogate.history.objective.max()])
    scale = surrogate.scale
    return float(scale.slope((best - scale.offset) / scale.unit)[0] / scale.unit)
