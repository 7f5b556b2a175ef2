"""Whether a model can be trusted: each told trial predicted from all others, in closed form.

Alphabet. n: told trials. y: targets on the model's scale. K: their prior covariance, noise included; P: its inverse.
H: `n x h` functions in the prior mean (a constant, perhaps a law), with the prior precision Q of their factors. z: a
left-out error over its predicted standard deviation.

With the mean's factors integrated out, `R = P - P H (H' P H + Q)^-1 H' P`. The prediction of y_i from all others, the
factors learned anew, misses it by `(R y)_i / R_ii`; its variance is `1 / P_ii`, as wide as the model would say. The
hyperparameters stay those of all trials, which flatters the model a little.

References: Dubrule 1983, "Cross validation of kriging in a unique neighborhood"; Rasmussen and Williams 2006, section
5.4.2.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from bayesopt.explain.expectations import INTERVAL_SD
from bayesopt.record.history import History

if TYPE_CHECKING:
    from bayesopt.surrogate import Surrogate
    from gp.models.exact import ExactGP

FloatArray = NDArray[np.float64]

LEAST_JUDGED: Final = 8
"""Trials below which nothing is concluded: of seven in an order by chance, one in 20 is ordered with 0.68."""
_BY_CHANCE: Final = 1.645
"""Standard deviations, `1 / sqrt(n - 1)`, that a rank correlation exceeds by chance once in 20 times."""
_RARE: Final = 0.01
"""Probability of so many values outside of their intervals below which those are called too narrow."""
_SURPRISE: Final = 5.0
"""Standard deviations off which a single trial is named."""


@dataclass(frozen=True)
class LeftOut:
    """How well the model of one outcome predicts each trial from the others."""

    name: str
    """The outcome."""
    ids: NDArray[np.int64]
    """The trials, `n`."""
    told: FloatArray
    """What was told, on the model's scale, `n`."""
    mean: FloatArray
    """What the others lead to expect, on that scale, `n`."""
    sd: FloatArray
    """Standard deviation of that, noise included, `n`."""
    surprise: str | None = None
    """Of the trial that is farthest off, if it is very far: what was expected of it, in the outcome's units."""

    @property
    def z(self) -> FloatArray:
        """Errors in predicted standard deviations, `n`; about standard normal where the model is right."""
        return (self.told - self.mean) / self.sd

    @property
    def rank_correlation(self) -> float:
        """Spearman's, of what was told and what was expected; nan where either is constant."""
        from scipy.stats import rankdata  # late: scipy.stats takes longer to import than the whole of this package

        told, expected = rankdata(self.told), rankdata(self.mean)
        if np.ptp(told) == 0 or np.ptp(expected) == 0:
            return math.nan
        return float(np.corrcoef(told, expected)[0, 1])

    @property
    def n_inside(self) -> int:
        """How many trials lie within their 95 % intervals."""
        return int((np.abs(self.z) <= INTERVAL_SD).sum())

    @property
    def warnings(self) -> tuple[str, ...]:
        """Why not to trust the model, in plain words; nothing where nothing speaks against it."""
        from scipy.special import bdtrc  # late: a study that asks no model needs no scipy

        n = len(self.told)
        if n < LEAST_JUDGED:
            return (f"{n} trials are too few to judge the model of {self.name} by",)
        found = []
        if not self.rank_correlation * math.sqrt(n - 1) >= _BY_CHANCE:
            found.append(
                f"the model of {self.name} orders trials that it has not seen hardly better than chance: "
                "its forecasts, and what it says of parameters, are guesses; tell more, or look for noise and jumps"
            )
        outside = n - self.n_inside
        if outside and bdtrc(outside - 1, n, 0.05) < _RARE:
            found.append(
                f"the model of {self.name} is too sure of itself: {outside} of {n} trials lie outside of their 95 % "
                f"intervals, where about {0.05 * n:.0f} are expected; read its intervals as wider"
            )
        return (*found, self.surprise) if self.surprise is not None else tuple(found)

    @override
    def __str__(self) -> str:
        """One line."""
        n = len(self.told)
        if n < LEAST_JUDGED:
            return f"Model of {self.name}: not judged before {LEAST_JUDGED} trials are told, now {n}"
        rho = self.rank_correlation
        order = "no order to compare" if math.isnan(rho) else f"rank correlation {rho:.2f}"
        return (
            f"Model of {self.name}, each of {n} trials predicted from the others: {order}, {self.n_inside} within "
            "their 95 % intervals"
        )


@dataclass(frozen=True)
class ModelCheck:
    """How far the models of a study can be trusted."""

    outcomes: tuple[LeftOut, ...]
    """The objective, then each constraint that was ever measured."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Why not to trust them, in plain words."""
        return tuple(warning for outcome in self.outcomes for warning in outcome.warnings)

    @override
    def __str__(self) -> str:
        """A line each, and what warns."""
        lines = []
        for outcome in self.outcomes:
            lines.append(str(outcome))
            if len(outcome.told) >= LEAST_JUDGED:
                lines += [f"  Beware: {warning}" for warning in outcome.warnings]
        return "\n".join(lines)


def check_models(surrogate: "Surrogate") -> ModelCheck:
    """Predict each told trial from the others, for every outcome.

    Args:
        surrogate: The fitted models.

    Returns:
        What came of it; of a long history, for the trials that the models know.
    """
    history, checks = surrogate.history, []
    objective, sign = history.outcomes.objective, history.outcomes.objective.sign
    if surrogate.objective is not None:
        told = sign * history.objective
        checks.append(
            _check(
                objective.name,
                surrogate.objective,
                history.ids,
                told,
                lambda scaled: sign * surrogate.scale.to_units(scaled),
            )
        )
    for column, constraint in enumerate(history.outcomes.constraints):
        model, scale = surrogate.constraints[column], surrogate.margin_scales[column]
        if model is not None and scale is not None:
            margins = history.constraints[:, column]
            measured = np.isfinite(margins)
            way = constraint.margin(constraint.bound + 1.0)  # 1 where a larger value is worse, else -1
            checks.append(
                _check(
                    constraint.name,
                    model,
                    history.ids[measured],
                    constraint.bound + way * margins[measured],
                    lambda scaled, scale=scale, way=way, at=constraint.bound: at + way * scale.to_units(scaled),  # type: ignore[misc]
                )
            )
    return ModelCheck(tuple(checks))


def check_history(history: History) -> ModelCheck:
    """As `check_models`, of the models that are fitted to a history here; empty before the second told trial."""
    if len(history.ids) < 2:
        return ModelCheck(())
    from bayesopt.surrogate import fit_surrogate  # late: it brings torch
    from gp.threads import single_threaded

    with single_threaded():
        return check_models(fit_surrogate(history))


def left_out(model: "ExactGP") -> tuple[FloatArray, FloatArray]:
    """Means and standard deviations of each observation given all others, `n` each, noise included.

    Args:
        model: The fitted model of at least two observations.

    Returns:
        They, in units of the model's Y. Where an observation alone says what the mean is, its own value and its sd.
    """
    p, regression = model.predictor, model.regression
    P = p.inverse_factor.T @ p.inverse_factor
    R = P
    if regression.center:
        n = len(P)
        H, Q = np.ones((n, 1)), np.zeros((1, 1))
        if regression.trend is not None:
            H, Q = np.column_stack([H, regression.X[:, -1]]), np.diag([0.0, regression.trend.sd**-2])
        PH = P @ H
        R = P - PH @ np.linalg.solve(H.T @ PH + Q, PH.T)
    precision, own = P.diagonal(), R.diagonal()
    tiny = np.finfo(np.float64).eps * precision
    errors = np.where(own > tiny, p.alpha[:, 0] / np.maximum(own, tiny), 0.0)
    return model.offset + model.scale * (p.targets[:, 0] - errors), model.scale * np.sqrt(1.0 / precision)


def _check(
    name: str,
    model: "ExactGP",
    ids: NDArray[np.int64],
    told: FloatArray,
    to_units: Callable[[FloatArray], FloatArray],
) -> LeftOut:
    """The check of one model; `told` is in the outcome's units."""
    mean, sd = left_out(model)
    p = model.predictor
    check = LeftOut(name, ids, model.offset + model.scale * p.targets[:, 0], mean, sd)
    row = int(np.argmax(np.abs(check.z)))
    if len(ids) < LEAST_JUDGED or abs(check.z[row]) <= _SURPRISE:
        return check
    low, high = np.sort(to_units(mean[row] + sd[row] * INTERVAL_SD * np.array([-1.0, 1.0])))
    surprise = (
        f"trial {ids[row]} was told {name} {told[row]:.4g} where the others lead to expect {low:.4g} to {high:.4g}: "
        "check that it is right; if it is, the outcome jumps there"
    )
    return LeftOut(name, ids, check.told, mean, sd, surprise)
