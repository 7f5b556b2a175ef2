"""What the fitted models expect of points that were chosen: the grounds that are kept with a trial.

Alphabet. U: `m x d` points of the unit cube. Z: their features, `m x F`.
"""

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bayesopt.surrogate import Surrogate

FloatArray = NDArray[np.float64]

INTERVAL_SD: Final = 1.959964
"""Standard deviations on both sides of a normal mean between which 95 % lie."""


def expectations(surrogate: "Surrogate", U: FloatArray) -> list[dict[str, Any]]:
    """What the models expect at points, pending trials aside; draws nothing and changes nothing.

    Args:
        surrogate: The fitted models; the objective's must exist.
        U: The points, `m x d`.

    Returns:
        For each point the parts `expects`, `best`, `improves`, `holds` and `survives` that are described in
        `bayesopt.record.grounds`.
    """
    from scipy.special import ndtr  # late: a study that asks no model needs no scipy

    assert surrogate.objective is not None  # held by whoever chose the points by it
    outcomes = surrogate.history.outcomes
    Z = surrogate.features(U)
    predictor = surrogate.objective.predictor
    prediction = predictor.predict(Z)
    mean, sd = prediction.mean[:, 0], np.sqrt(prediction.variance)
    sign = outcomes.objective.sign
    deviations = sign * INTERVAL_SD * np.array([[-1.0], [0.0], [1.0]])
    low, median, high = (sign * surrogate.scale.to_units(mean + deviations * sd)).tolist()
    grounds: list[dict[str, Any]] = [
        {"expects": {"name": outcomes.objective.name, "median": m, "low": lo, "high": hi}, "best": None}
        for m, lo, hi in zip(median, low, high, strict=True)
    ]
    told_mean, told_sd = surrogate.told_mean_sd
    feasible = np.flatnonzero(surrogate.told_probability_feasible >= 0.5)
    if len(feasible):
        row = int(feasible[np.argmax(told_mean[feasible])])
        best = {
            "trial": int(surrogate.history.ids[row]),
            "median": float(sign * surrogate.scale.to_units(told_mean[row : row + 1])[0]),
        }
        shared = prediction.covariance(predictor.anchor_rows(np.array([row])))[:, 0]
        gap_variance = np.maximum(prediction.variance + told_sd[row] ** 2 - 2.0 * shared, np.finfo(np.float64).tiny)
        improves = ndtr((mean - told_mean[row]) / np.sqrt(gap_variance)).tolist()
        for one, chance in zip(grounds, improves, strict=True):
            one |= {"best": best, "improves": chance}
    for constraint, model in zip(outcomes.constraints, surrogate.constraints, strict=True):
        if model is not None:
            margin = model.predictor.predict(Z)
            chances = ndtr(-margin.mean[:, 0] / np.sqrt(margin.variance)).tolist()
            for one, chance in zip(grounds, chances, strict=True):
                one.setdefault("holds", {})[f"{constraint.name} {constraint.symbol} {constraint.bound:g}"] = chance
    if surrogate.survival is not None:
        label = surrogate.survival.predictor.predict(Z)
        chances = ndtr(label.mean[:, 0] / np.sqrt(label.variance + surrogate.survival.noise_variance)).tolist()
        for one, chance in zip(grounds, chances, strict=True):
            one["survives"] = chance
    return grounds
