"""What the model expects along each parameter, in numbers."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from bayesopt.errors import InvalidParamsError
from bayesopt.plot.ended import HUGE, FloatArray
from bayesopt.plot.ticks import axes_of
from bayesopt.problem.parameters import Choice, Simplex
from bayesopt.record.history import History
from bayesopt.record.trial import Trial
from bayesopt.study import Study

if TYPE_CHECKING:
    from bayesopt.surrogate import Surrogate

_GRID: Final = 101
"""Points along a slice."""


@dataclass(frozen=True)
class Cut:
    """The model along one parameter, or one share of a mixture, through one trial."""

    name: str
    order: int
    """Its place among all cuts."""
    parameter: Any
    x: NDArray[Any]
    """Where along it: numbers, or the options' positions."""
    median: FloatArray
    """Of the noise-free objective, in its units."""
    low: FloatArray
    """Two standard deviations below, on the model's scale."""
    high: FloatArray
    """Two above."""
    allowed: NDArray[np.bool_]
    feasible: NDArray[np.bool_]
    """Where the constraints probably hold."""
    anchor: Trial
    at: float
    """The anchor's place on x."""
    value: float
    """The anchor's objective."""
    told: FloatArray
    """Places of the told trials on x; nan where the parameter is inactive."""
    values: FloatArray
    """Their objectives."""

    @property
    def reach(self) -> float:
        """How far the median moves, as the measure of what matters."""
        moves = self.median[self.allowed] if self.allowed.any() else self.median
        return float(np.ptp(moves)) if len(moves) else 0.0


def model_cuts(study: Study) -> list[Cut]:
    """A cut for every parameter that some told trial has; none before the second told trial. Fits the model."""
    history = study.history
    if len(history.ids) < 2:
        return []
    from bayesopt.surrogate import fit_surrogate  # late: it brings torch

    surrogate = fit_surrogate(history)
    ranked = ranked_trials(study, history)
    cuts = []
    for order, (name, share) in enumerate(axes_of(study)):
        anchor = next((trial for trial in ranked if name in trial.params), None)
        if anchor is not None:
            cuts.append(_cut(study, surrogate, name, share, order, anchor, ranked))
    return cuts


def ranked_trials(study: Study, history: History) -> list[Trial]:
    """The told trials: the best, the feasible ones by their objective, then the nearest to feasible first."""
    trials = {trial.id: trial for trial in study.trials}
    broken = np.where(np.isnan(history.constraints), np.inf, np.maximum(history.constraints, 0.0))
    violation = broken.max(axis=1, initial=0.0)
    order = np.lexsort((-history.objective, violation))
    best = study.best
    ranked = [trials[int(history.ids[row])] for row in order]
    return ranked if best is None else [best, *(trial for trial in ranked if trial.id != best.id)]


def _cut(
    study: Study, surrogate: "Surrogate", name: str, share: str | None, order: int, anchor: Trial, told: list[Trial]
) -> Cut:
    parameter, space = study.space[name], study.space
    columns = [i for i, column in enumerate(space.columns) if column.parameter == name]
    x, at = places(parameter, share, anchor.params[name])
    U = np.tile(space.encode(anchor.params), (len(at), 1))
    U[:, columns] = at
    U = space.snap(U)
    median, low, high = _predicted(surrogate, U)
    return Cut(
        name=name if share is None else f"{name}.{share}",
        order=order,
        parameter=parameter,
        x=x,
        median=median,
        low=low,
        high=high,
        allowed=space.is_allowed(U),
        feasible=probability_feasible(surrogate, U) >= 0.5,
        anchor=anchor,
        at=place(parameter, share, anchor.params[name]),
        value=float(anchor.values[study.outcomes.objective.name] or 0.0),
        told=np.array([place(parameter, share, trial.params.get(name)) for trial in told]),
        values=np.array([trial.values[study.outcomes.objective.name] for trial in told], dtype=float),
    )


def places(parameter: Any, share: str | None, value: Any, n: int = _GRID) -> tuple[NDArray[Any], FloatArray]:
    """Up to n values along a parameter, or all options, and their columns of the unit cube."""
    if share is not None:
        return _share_places(parameter, share, value)
    if isinstance(parameter, Choice):
        values: list[Any] = list(parameter.options)
        return np.arange(len(values)), np.array([parameter.encode(option) for option in values])
    values = list(dict.fromkeys(parameter.decode(np.array([u])) for u in np.linspace(0.0, 1.0, n)))
    return np.array(values, dtype=float), np.array([parameter.encode(each) for each in values])


def _share_places(simplex: Simplex, share: str, mixture: dict[str, float]) -> tuple[NDArray[Any], FloatArray]:
    """One share from none to all, the others in the proportions that they have, as far as floors and caps allow."""
    others = {name: amount for name, amount in mixture.items() if name != share}
    total = sum(others.values())
    proportions = {name: amount / total if total > 0 else 1 / len(others) for name, amount in others.items()}
    x, places = [], []
    for amount in np.linspace(0.0, 1.0, _GRID):
        candidate = {n: amount if n == share else (1.0 - amount) * proportions[n] for n in simplex.names}
        try:
            places.append(simplex.encode(simplex.validate("share", candidate)))
        except InvalidParamsError:
            continue
        x.append(amount)
    if not x:  # fixed by its floors and caps
        x, places = [mixture[share]], [simplex.encode(mixture)]
    return np.array(x), np.array(places)


def place(parameter: Any, share: str | None, value: Any) -> float:
    """A value as a number: itself, one of its shares, or the position of an option; nan where it does not exist."""
    if value is None and not (isinstance(parameter, Choice) and None in parameter.options):
        return math.nan
    if share is not None:
        return float(value[share])
    return float(parameter.options.index(value)) if isinstance(parameter, Choice) else float(value)


def _predicted(surrogate: "Surrogate", U: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Median of the objective in its units, and what lies two standard deviations below and above it."""
    assert surrogate.objective is not None
    prediction = surrogate.objective.predictor.predict(surrogate.features(U))
    mean, sd = prediction.mean[:, 0], np.sqrt(prediction.variance)
    sign = surrogate.history.outcomes.objective.sign
    low, median, high = (
        np.clip(sign * surrogate.scale.to_units(mean + sign * deviations * sd), -HUGE, HUGE)
        for deviations in (-2.0, 0.0, 2.0)
    )
    return median, low, high


def probability_feasible(surrogate: "Surrogate", U: FloatArray) -> FloatArray:
    """Probability that every constraint that was ever measured holds, `m`, at `m x d` points of the unit cube."""
    probability: FloatArray = np.exp(surrogate.log_probability_feasible(surrogate.features(U)))
    return probability
