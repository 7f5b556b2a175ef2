"""Pictures of a study, as matplotlib figures of their own: no backend is chosen, no global state is touched.

figure = bo.plot.overview(study)
figure.savefig("study.png")
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from bayesopt.errors import InvalidParamsError
from bayesopt.problem.parameters import Choice, Int, Simplex
from bayesopt.record.history import History
from bayesopt.record.trial import Trial
from bayesopt.study import Study

try:
    from matplotlib.collections import LineCollection
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure, FigureBase
    from matplotlib.ticker import (
        FixedLocator,
        FuncFormatter,
        LogFormatterSciNotation,
        LogLocator,
        MaxNLocator,
        NullFormatter,
    )
except ModuleNotFoundError as error:
    if (error.name or "").split(".")[0] != "matplotlib":
        raise
    raise ModuleNotFoundError(
        "bayesopt.plot needs matplotlib: pip install 'priorwise[plot]'.", name=error.name
    ) from None

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesopt.surrogate import Surrogate

FloatArray = NDArray[np.float64]

# The palette of Okabe and Ito, which people with any kind of colour vision can tell apart.
_BLUE: Final = "#0072B2"
_ORANGE: Final = "#E69F00"
_RED: Final = "#D55E00"
_GREEN: Final = "#009E73"
_INK: Final = "#333333"
_BEST: Final = "#000000"
_GREY: Final = "#8C8C8C"
_PALE: Final = "#E4E4E4"
_FILLED: Final[dict[str, Any]] = {"marker": "o", "color": _BLUE, "s": 22, "alpha": 0.6, "linewidths": 0}
"""How a trial is drawn that satisfies the constraints, or one of them."""
_HOLLOW: Final[dict[str, Any]] = {
    "marker": "D",
    "facecolors": "none",
    "edgecolors": _ORANGE,
    "s": 24,
    "linewidths": 1.2,
}
"""How one is drawn that does not."""

_DPI: Final = 130
_NAME_WIDTH: Final = 24
"""Characters of a name that are shown."""
_TITLE_NAME_WIDTH: Final = 40
"""Characters of the objective's name that are shown in a title."""
_OPTION_WIDTH: Final = 12
"""Characters of an option that are shown."""
_GRID: Final = 101
"""Points along a slice."""
_MOST_OPTIONS: Final = 12
"""Options of a Choice that get a tick; of more, this many are picked evenly."""
_SLICES_IN_OVERVIEW: Final = 8
"""Slices on the page of `overview`: those along which the model sees the objective change most."""
_OUTLYING_IQR: Final = 4.0
"""Interquartile ranges beyond the worse quartile from which a value is drawn at the edge instead of to scale."""
_HUGE: Final = 1e100
"""Larger values are drawn as this: matplotlib squares what it draws."""
_INACTIVE_AT: Final = -0.09
"""Height of 'inactive' on an axis of `parallel_coordinates`, of which 0 is the low end."""


# -- the public pictures -------------------------------------------------------------------------------------------


def best_so_far(study: Study) -> Figure:
    """How the best feasible objective came down (or up) over trials, and over cost where costs were told.

    Args:
        study: The study.

    Returns:
        The figure.
    """
    figure = _figure(11 if _costs_told(study) else 7.5, 4.4)
    _draw_best_so_far(figure, study)
    return figure


def slices(study: Study) -> Figure:
    """What the model expects along each parameter through the best trial, everything else held there.

    Args:
        study: The study; its model is fitted, which loads torch.

    Returns:
        The figure.
    """
    cuts = _cuts(study)
    columns = min(4, max(1, len(cuts)))
    rows = max(1, math.ceil(len(cuts) / columns))
    figure = _figure(max(6.0, 3.3 * columns), 0.9 + 2.7 * rows)
    _draw_slices(figure, study, cuts, columns, len(cuts))
    return figure


def parallel_coordinates(study: Study) -> Figure:
    """Every trial as a line through all parameters, coloured by its objective.

    Args:
        study: The study.

    Returns:
        The figure.
    """
    figure = _figure(max(7.5, 2.2 + 1.25 * len(_axes_of(study))), 5.0)
    _draw_parallel(figure, study)
    return figure


def feasibility(study: Study) -> Figure:
    """Each constrained outcome against its bound over trials, and the share of trials that were feasible.

    Args:
        study: The study.

    Returns:
        The figure.
    """
    figure = _figure(7.5, 2.2 + 2.1 * max(1, len(study.outcomes.constraints)))
    _draw_feasibility(figure, study)
    return figure


def overview(study: Study) -> Figure:
    """One page: progress, constraints, slices along the parameters that matter most, and all trials.

    Args:
        study: The study; its model is fitted, which loads torch.

    Returns:
        The figure.
    """
    cuts = sorted(_cuts(study), key=lambda cut: -cut.reach)[:_SLICES_IN_OVERVIEW]
    cuts.sort(key=lambda cut: cut.order)
    columns = min(4, max(1, len(cuts)))
    rows = max(1, math.ceil(len(cuts) / columns))
    n_constraints = len(study.outcomes.constraints)
    heights = [max(3.9, 1.6 + 1.7 * n_constraints), 0.9 + 2.5 * rows, 4.8]
    width = max(14.0, 2.2 + 1.1 * len(_axes_of(study)))
    figure = _figure(width, sum(heights) + 0.6)
    figure.suptitle(_plain(f"{study.name}: {study.budget}", 90), fontsize=14, color=_INK, fontweight="bold")
    top, middle, bottom = figure.subfigures(3, 1, squeeze=False, height_ratios=heights)[:, 0]
    if n_constraints:
        # Progress over trials and over cost takes two panels, so two thirds of the width.
        left, right = top.subfigures(1, 2, squeeze=False, width_ratios=[2 if _costs_told(study) else 1, 1])[0]
        _draw_best_so_far(left, study)
        _draw_feasibility(right, study)
    else:
        _draw_best_so_far(top, study)
    _draw_slices(middle, study, cuts, columns, len(list(_sliced(study))))
    _draw_parallel(bottom, study)
    return figure


# -- best so far ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Ended:
    """The trials that ended, in the order of their ends."""

    trials: list[Trial]
    kinds: NDArray[np.str_]
    """'feasible', 'infeasible' or 'failed' for each."""
    values: FloatArray
    """The objective of each, nan where it failed."""
    best: FloatArray
    """Best feasible objective up to each, nan before the first."""


def _ended(study: Study) -> _Ended:
    ended = [t for t in study.trials if t.state == "complete" or (t.state == "failed" and not t.lost)]
    ended.sort(key=lambda trial: (trial.told_at or 0.0, trial.id))
    kinds = [
        "failed"
        if trial.state == "failed"
        else "feasible"
        if all(margin <= 0 for margin in study.outcomes.margins(trial.values))
        else "infeasible"
        for trial in ended
    ]
    name, sign = study.outcomes.objective.name, study.outcomes.objective.sign
    values = [math.nan if kind == "failed" else trial.values[name] for trial, kind in zip(ended, kinds, strict=True)]
    feasible = np.clip([v if k == "feasible" else math.nan for v, k in zip(values, kinds, strict=True)], -_HUGE, _HUGE)
    best = sign * np.fmax.accumulate(sign * feasible) if ended else np.zeros(0)
    return _Ended(ended, np.array(kinds, dtype=str), np.clip(np.array(values, dtype=float), -_HUGE, _HUGE), best)


def _draw_best_so_far(figure: FigureBase, study: Study) -> None:
    ended, limit = _ended(study), study.budget.limit
    objective = study.outcomes.objective
    _title(figure, f"Best {_objective_name(study)} so far ({objective.direction})")
    if not len(ended.trials):
        _say(figure.subplots(), "no trial has ended yet")
        return
    n_external = sum(trial.source == "external" for trial in ended.trials)
    panels: list[tuple[FloatArray, str, float | None]] = [
        (np.arange(1.0, len(ended.trials) + 1), "trials", limit.trials and limit.trials + n_external)
    ]
    if _costs_told(study):
        spent = np.cumsum([trial.cost if trial.cost and trial.source != "external" else 0.0 for trial in ended.trials])
        panels.append((spent, "cost spent", limit.cost))
    axes = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
    for ax, (x, label, budget) in zip(axes, panels, strict=True):
        _tidy(ax)
        _draw_progress(ax, study, ended, x)
        ax.set_xlabel(label)
        if label == "trials":
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        _draw_budget(ax, x, budget)
    axes[0].set_ylabel(_plain(objective.name))
    _frame(axes[0], study, ended)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False, fontsize=8.5)


def _draw_progress(ax: "Axes", study: Study, ended: _Ended, x: FloatArray) -> None:
    low, high = _value_range(study, ended)
    clipped = np.clip(ended.values, low, high)
    for kind, style in (("infeasible", _HOLLOW), ("feasible", _FILLED)):
        rows = ended.kinds == kind
        if rows.any():
            ax.scatter(x[rows], clipped[rows], label=kind, zorder=3, **style)
    outlying = np.isfinite(ended.values) & (ended.values != clipped)
    if outlying.any():
        marker = "^" if study.outcomes.objective.sign < 0 else "v"
        ax.scatter(x[outlying], clipped[outlying], marker=marker, color=_GREY, s=34, label="off the scale", zorder=4)
    failed = ended.kinds == "failed"
    if failed.any():
        edge = 0.965 if study.outcomes.objective.sign < 0 else 0.035
        at = np.full(failed.sum(), edge)
        ax.scatter(
            x[failed],
            at,
            marker="x",
            color=_RED,
            s=26,
            linewidths=1.4,
            label="failed",
            transform=ax.get_xaxis_transform(),
            zorder=4,
        )
    reached = np.isfinite(ended.best)
    if reached.any():
        ax.step(
            x[reached], ended.best[reached], where="post", color=_BLUE, linewidth=2.2, label="best so far", zorder=5
        )
        first = int(np.argmax(ended.best == ended.best[-1]))
        ax.scatter(x[first], ended.best[first], marker="*", s=190, color=_BLUE, edgecolors="white", zorder=6)


def _draw_budget(ax: "Axes", x: FloatArray, budget: float | None) -> None:
    ax.set_xlim(0, max(1.0 if ax.get_xlabel() == "trials" else 0.0, x[-1], budget or 0.0) * 1.06 or 1.0)
    if budget is not None:
        ax.axvspan(budget, ax.get_xlim()[1], color=_PALE, alpha=0.7, zorder=0, linewidth=0)
        ax.axvline(budget, color=_INK, linewidth=1.2, linestyle=(0, (4, 3)))
        ax.annotate(
            f"budget {budget:g}",
            (budget, 0.5),
            xycoords=ax.get_xaxis_transform(),
            rotation=90,
            fontsize=8.5,
            ha="right",
            va="center",
            color=_INK,
            xytext=(-3, 0),
            textcoords="offset points",
        )


def _frame(ax: "Axes", study: Study, ended: _Ended) -> None:
    low, high = _value_range(study, ended)
    margin = 0.07 * (high - low) or max(0.05 * abs(high), 1e-12)
    room_for_failed = margin if (ended.kinds == "failed").any() else 0.0
    minimizes = study.outcomes.objective.sign < 0
    ax.set_ylim(low - margin - (0 if minimizes else room_for_failed), high + margin + room_for_failed * minimizes)


def _value_range(study: Study, ended: _Ended) -> tuple[float, float]:
    """Least and greatest objective that is drawn to scale: far ones on the worse side would flatten all others."""
    values = ended.values[np.isfinite(ended.values)]
    if not len(values):
        return 0.0, 1.0
    sign = study.outcomes.objective.sign
    oriented = sign * values
    worse, better = np.quantile(oriented, [0.25, 0.75])
    least = max(oriented.min(), worse - _OUTLYING_IQR * (better - worse)) if better > worse else oriented.min()
    if np.isfinite(ended.best).any():  # the curve itself is always to scale
        least = min(least, np.nanmin(sign * ended.best[-1:]))
    bounds = sign * np.array([least, oriented.max()])
    return float(bounds.min()), float(bounds.max())


def _costs_told(study: Study) -> bool:
    return any(trial.cost for trial in study.trials)


# -- slices --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cut:
    """The model along one parameter, or one share of a mixture, through one trial."""

    name: str
    order: int
    """Its place among all cuts."""
    parameter: Any
    x: NDArray[Any]
    """Where along it: numbers, or the options' positions."""
    mean: FloatArray
    sd: FloatArray
    """Of the noise-free objective, in its units."""
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
        """How far the mean moves, as the measure of what matters."""
        moves = self.mean[self.allowed] if self.allowed.any() else self.mean
        return float(np.ptp(moves)) if len(moves) else 0.0


def _sliced(study: Study) -> Iterator[tuple[str, str | None]]:
    """Each parameter, and each share of a mixture."""
    for name, parameter in study.space.items():
        if isinstance(parameter, Simplex):
            yield from ((name, share) for share in parameter.names)
        else:
            yield name, None


def _cuts(study: Study) -> list[_Cut]:
    history = study.history
    if len(history.ids) < 2:
        return []
    from bayesopt.surrogate import fit_surrogate  # late: it brings torch

    surrogate = fit_surrogate(history)
    ranked = _anchors(study, history)
    cuts = []
    for order, (name, share) in enumerate(_sliced(study)):
        anchor = next((trial for trial in ranked if name in trial.params), None)
        if anchor is not None:
            cuts.append(_cut(study, surrogate, name, share, order, anchor, ranked))
    return cuts


def _anchors(study: Study, history: History) -> list[Trial]:
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
) -> _Cut:
    parameter, space = study.space[name], study.space
    columns = [i for i, column in enumerate(space.columns) if column.parameter == name]
    x, places = _places(parameter, share, anchor.params[name])
    U = np.tile(space.encode(anchor.params), (len(places), 1))
    U[:, columns] = places
    U = space.snap(U)
    mean, sd, feasible = _predicted(surrogate, U)
    return _Cut(
        name=name if share is None else f"{name}.{share}",
        order=order,
        parameter=parameter,
        x=x,
        mean=mean,
        sd=sd,
        allowed=space.is_allowed(U),
        feasible=feasible,
        anchor=anchor,
        at=_place(parameter, share, anchor.params[name]),
        value=float(anchor.values[study.outcomes.objective.name] or 0.0),
        told=np.array([_place(parameter, share, trial.params.get(name)) for trial in told]),
        values=np.array([trial.values[study.outcomes.objective.name] for trial in told], dtype=float),
    )


def _places(parameter: Any, share: str | None, value: Any) -> tuple[NDArray[Any], FloatArray]:
    """Values along a parameter, and their columns of the unit cube."""
    if share is not None:
        return _share_places(parameter, share, value)
    if isinstance(parameter, Choice):
        values: list[Any] = list(parameter.options)
        return np.arange(len(values)), np.array([parameter.encode(option) for option in values])
    values = list(dict.fromkeys(parameter.decode(np.array([u])) for u in np.linspace(0.0, 1.0, _GRID)))
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


def _place(parameter: Any, share: str | None, value: Any) -> float:
    if value is None and not (isinstance(parameter, Choice) and None in parameter.options):
        return math.nan
    if share is not None:
        return float(value[share])
    return float(parameter.options.index(value)) if isinstance(parameter, Choice) else float(value)


def _predicted(surrogate: "Surrogate", U: FloatArray) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Mean and standard deviation of the objective in its units, and where the constraints probably hold."""
    Z = surrogate.tensor(surrogate.features(U))
    sign = surrogate.history.outcomes.objective.sign
    assert surrogate.objective is not None
    prediction = surrogate.objective.predictor.predict(Z)
    probability = np.ones(len(U))
    for model in surrogate.constraints:
        if model is not None:
            margin = model.predictor.predict(Z)
            z = -(margin.mean[:, 0] / margin.variance.sqrt()).cpu().numpy()
            probability *= [0.5 * math.erfc(-each / math.sqrt(2.0)) for each in z]
    mean, sd = prediction.mean[:, 0].cpu().numpy(), prediction.variance.sqrt().cpu().numpy()
    with np.errstate(over="ignore"):
        mean, sd = sign * (surrogate.offset + surrogate.scale * mean), surrogate.scale * sd
    return np.clip(mean, -_HUGE, _HUGE), np.clip(sd, 0.0, _HUGE), probability >= 0.5


def _draw_slices(figure: FigureBase, study: Study, cuts: Sequence[_Cut], columns: int, n_all: int) -> None:
    objective = study.outcomes.objective
    if not cuts:
        _title(figure, f"{_objective_name(study)} along each parameter")
        _say(figure.subplots(), "the model needs two trials that were told")
        return
    rows = math.ceil(len(cuts) / columns)
    anchor = cuts[0].anchor
    which = f"the {len(cuts)} of {n_all} parameters that matter most" if len(cuts) < n_all else "each parameter"
    _title(figure, f"What the model expects of {_objective_name(study)} along {which}, through trial {anchor.id}")
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    low, high = _slice_range(study, cuts)
    for index, ax in enumerate(axes.flat):
        if index >= len(cuts):
            ax.set_axis_off()
            continue
        cut = cuts[index]
        _tidy(ax)
        _draw_cut(ax, cut, low, high)
        beside = "" if cut.anchor.id == anchor.id else f" (trial {cut.anchor.id})"
        ax.set_xlabel(_plain(cut.name) + beside)
        if index % columns == 0:
            ax.set_ylabel(_plain(objective.name))
        ax.set_ylim(low, high)
    handles: dict[str, Any] = {}
    for ax in axes.flat:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=6, frameon=False, fontsize=8.5
    )


def _slice_range(study: Study, cuts: Sequence[_Cut]) -> tuple[float, float]:
    low, high = _value_range(study, _ended(study))
    bands = [(cut.mean - 2 * cut.sd, cut.mean + 2 * cut.sd) for cut in cuts]
    span = max(high - low, 1e-12)
    low = min(low, max(low - span, min(float(lower.min()) for lower, _ in bands)))
    high = max(high, min(high + span, max(float(upper.max()) for _, upper in bands)))
    margin = max(0.05 * (high - low), 1e-3 * abs(high))
    return low - margin, high + margin


def _draw_cut(ax: "Axes", cut: _Cut, low: float, high: float) -> None:
    is_choice = isinstance(cut.parameter, Choice)
    shown = np.where(cut.allowed, cut.mean, math.nan)
    ax.scatter(
        cut.told,
        np.clip(cut.values, low, high),
        s=12,
        color=_GREY,
        alpha=0.55,
        linewidths=0,
        zorder=2,
        label="trials (elsewhere)",
    )
    if is_choice:
        ax.errorbar(
            cut.x,
            shown,
            yerr=2 * cut.sd,
            fmt="o",
            color=_BLUE,
            ecolor="#7FB8D8",
            elinewidth=5,
            markersize=5,
            label="posterior mean",
            zorder=3,
        )
        _ticks_of_options(ax, cut.parameter)
    else:
        style: dict[str, Any] = {"marker": "o", "markersize": 3.5} if len(cut.x) <= 12 else {}
        ax.plot(cut.x, shown, color=_BLUE, linewidth=2, label="posterior mean", zorder=4, **style)
        band = (cut.mean - 2 * cut.sd, cut.mean + 2 * cut.sd)
        ax.fill_between(cut.x, *band, where=cut.allowed, color=_BLUE, alpha=0.18, linewidth=0, label="± 2 sd", zorder=1)
        _scale_x(ax, cut)
    for mask, colour, label in (
        (~cut.allowed, _GREY, "not allowed"),
        (cut.allowed & ~cut.feasible, _ORANGE, "probably infeasible"),
    ):
        if mask.any():
            _shade(ax, cut, mask, colour, label)
    ax.axvline(cut.at, color=_INK, linewidth=0.9, linestyle=(0, (2, 2)), zorder=2)
    ax.scatter(
        cut.at,
        np.clip(cut.value, low, high),
        marker="*",
        s=150,
        color=_BLUE,
        edgecolors="white",
        zorder=6,
        label="the trial itself",
    )


def _shade(ax: "Axes", cut: _Cut, mask: NDArray[np.bool_], colour: str, label: str) -> None:
    """A strip at the bottom, half way to the neighbours on both sides."""
    x = cut.x.astype(float)
    is_log = getattr(cut.parameter, "log", False)
    t = np.log(x) if is_log else x
    middles = (t[1:] + t[:-1]) / 2
    half = 0.5 if isinstance(cut.parameter, Choice) else 0.0
    edges = np.concatenate([[t[0] - half], middles, [t[-1] + half]])
    edges = np.exp(edges) if is_log else edges
    starts = np.flatnonzero(mask & ~np.concatenate([[False], mask[:-1]]))
    ends = np.flatnonzero(mask & ~np.concatenate([mask[1:], [False]]))
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        ax.axvspan(
            edges[start],
            edges[end + 1],
            ymax=0.04,
            color=colour,
            alpha=0.85,
            linewidth=0,
            zorder=5,
            label=label if number == 0 else "_",
        )


def _scale_x(ax: "Axes", cut: _Cut) -> None:
    if getattr(cut.parameter, "log", False):
        ax.set_xscale("log")
        _log_ticks(ax, cut.parameter.low, cut.parameter.high)
        return
    whole = isinstance(cut.parameter, Int)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=whole, min_n_ticks=2))


def _log_ticks(ax: "Axes", low: float, high: float) -> None:
    if high / low >= 1000:
        ax.xaxis.set_major_locator(LogLocator(numticks=6))
        ax.xaxis.set_major_formatter(_decade_formatter(low, high))
        ax.xaxis.set_minor_formatter(NullFormatter())
    else:
        ax.xaxis.set_major_locator(FixedLocator(_log_steps(low, high)))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_minor_locator(FixedLocator([]))


def _decade_formatter(low: float, high: float) -> Any:
    if low >= 0.01 and high <= 10_000:
        return FuncFormatter(lambda value, _: f"{value:g}")
    return LogFormatterSciNotation()


def _log_steps(low: float, high: float) -> list[float]:
    """Three to six round numbers between two bounds that lie few decades apart."""
    decades = 10.0 ** np.arange(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ([1.0], [1.0, 3.0], [1.0, 2.0, 5.0]):
        round_numbers = sorted(float(f"{d * s:.3g}") for d in decades for s in steps)
        inside = [number for number in round_numbers if low <= number <= high]
        if len(inside) >= 3:
            return inside
    return [low, high]


def _ticks_of_options(ax: "Axes", parameter: Choice) -> None:
    n = len(parameter.options)
    positions = np.unique(np.linspace(0, n - 1, min(n, _MOST_OPTIONS)).round().astype(int))
    labels = [_plain(parameter.options[i], _OPTION_WIDTH) for i in positions]
    crowded = sum(map(len, labels)) > 26
    ax.set_xticks(positions, labels, rotation=30 if crowded else 0, ha="right" if crowded else "center")
    ax.set_xlim(-0.5, n - 0.5)


# -- parallel coordinates ------------------------------------------------------------------------------------------


def _axes_of(study: Study) -> list[tuple[str, str | None]]:
    return list(_sliced(study))


def _draw_parallel(figure: FigureBase, study: Study) -> None:
    objective, ended = study.outcomes.objective, _ended(study)
    _title(figure, f"Every trial through all parameters, coloured by {_objective_name(study)} ({objective.direction})")
    ax = figure.subplots()
    if not len(ended.trials):
        _say(ax, "no trial has ended yet")
        return
    names = _axes_of(study)
    heights = np.array([[_height(study, trial, *axis) for axis in names] for trial in ended.trials])
    x = np.arange(len(names), dtype=float)
    if len(names) == 1:  # a line needs two ends
        x, heights = np.array([-0.2, 0.2]), np.repeat(heights, 2, axis=1)
    paths = [np.column_stack([x, row]) for row in heights]
    good = ended.kinds == "feasible"
    for kind, colour, dashes in (("infeasible", _ORANGE, "solid"), ("failed", _RED, (0, (1, 2)))):
        rows = np.flatnonzero(ended.kinds == kind)
        if len(rows):
            label = f"{kind} ({len(rows)})"
            ax.add_collection(
                LineCollection(
                    [paths[i] for i in rows],
                    colors=colour,
                    linewidths=0.9,
                    linestyles=dashes,
                    alpha=0.45,
                    label=label,
                    zorder=1,
                )
            )
    if good.any():
        _draw_feasible_lines(figure, ax, study, ended, [path for path, keep in zip(paths, good, strict=True) if keep])
    for position, (name, share) in zip(range(len(names)), names, strict=True):
        _draw_axis(ax, study, position, name, share)
    some_inactive = bool((heights == _INACTIVE_AT).any())
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.set_ylim(_INACTIVE_AT - 0.06 if some_inactive else -0.04, 1.04)
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.xaxis.tick_top()
    labels = [_plain(name if share is None else f"{name}.{share}", 18) for name, share in names]
    crowded = len(labels) > 8 or max(map(len, labels)) > 13
    ax.set_xticks(
        range(len(names)),
        labels,
        rotation=25 if crowded else 0,
        ha="left" if crowded else "center",
        fontsize=9.5,
        color=_INK,
        fontweight="bold",
    )
    ax.tick_params(length=0)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=4, frameon=False, fontsize=8.5)


def _draw_feasible_lines(
    figure: FigureBase, ax: "Axes", study: Study, ended: _Ended, paths: Sequence[FloatArray]
) -> None:
    objective = study.outcomes.objective
    values = ended.values[ended.kinds == "feasible"]
    low, high = _value_range(study, ended)
    norm = Normalize(low, high if high > low else low + max(abs(low) * 1e-6, 1e-12))
    # The dark end of the map is the good one: on white, what is pale fades.
    colours = "viridis" if objective.sign < 0 else "viridis_r"
    order = np.argsort(objective.sign * values, kind="stable")  # the best is drawn last, on top
    lines = LineCollection(
        [paths[i] for i in order], array=values[order], cmap=colours, norm=norm, linewidths=1.3, alpha=0.85, zorder=2
    )
    ax.add_collection(lines)
    best = paths[order[-1]]
    ax.plot(best[:, 0], best[:, 1], color="white", linewidth=5.5, zorder=3, solid_capstyle="round")
    ax.plot(
        best[:, 0], best[:, 1], color=_BEST, linewidth=2.8, marker="o", markersize=5, zorder=4, label="best observed"
    )
    if high <= low:
        return  # one value has no scale
    bar = figure.colorbar(lines, ax=ax, pad=0.01, fraction=0.03, aspect=28)
    bar.set_label(_plain(objective.name), color=_INK)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8.5, color=_GREY, labelcolor=_INK)


def _height(study: Study, trial: Trial, name: str, share: str | None) -> float:
    parameter = study.space[name]
    if name not in trial.params:
        return _INACTIVE_AT
    value = trial.params[name]
    return float(value[share]) if share is not None else float(parameter.encode(value)[0])


def _draw_axis(ax: "Axes", study: Study, position: int, name: str, share: str | None) -> None:
    parameter: Any = study.space[name]
    ax.plot([position, position], [0, 1], color=_INK, linewidth=1.1, zorder=5)
    for height, text in _axis_ticks(parameter, share):
        ax.plot(position, height, marker="_", markersize=6, color=_INK, zorder=5)
        _tick_text(ax, position, height, text)
    if parameter.active_if is not None:
        ax.plot(position, _INACTIVE_AT, marker="o", markersize=4, color=_GREY, zorder=5)
        _tick_text(ax, position, _INACTIVE_AT, "inactive")


def _tick_text(ax: "Axes", position: float, height: float, text: str) -> None:
    box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8}
    ax.annotate(
        text,
        (position, height),
        xytext=(-6, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=8,
        color=_INK,
        zorder=7,
        bbox=box,
    )


def _axis_ticks(parameter: Any, share: str | None) -> list[tuple[float, str]]:
    """Heights and texts of an axis."""
    if share is not None:
        return [(height, f"{height:g}") for height in (0.0, 0.25, 0.5, 0.75, 1.0)]
    if isinstance(parameter, Choice):
        n = len(parameter.options)
        picked = np.unique(np.linspace(0, n - 1, min(n, _MOST_OPTIONS)).round().astype(int))
        return [((i + 0.5) / n, _plain(parameter.options[i], _OPTION_WIDTH)) for i in picked]
    low, high = parameter.low, parameter.high
    if parameter.log and high / low >= 1000:
        decades = 10.0 ** np.arange(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
        values = list(decades[:: max(1, math.ceil(len(decades) / 6))])
    elif parameter.log:
        values = _log_steps(low, high)
    else:
        values = [
            v for v in MaxNLocator(5, integer=isinstance(parameter, Int)).tick_values(low, high) if low <= v <= high
        ]
    if isinstance(parameter, Int):
        values = [int(value) for value in values if low <= int(value) <= high]
    return [(float(parameter.encode(min(max(v, low), high))[0]), _number_text(v)) for v in values]


# -- feasibility ---------------------------------------------------------------------------------------------------


def _draw_feasibility(figure: FigureBase, study: Study) -> None:
    constraints, ended = study.outcomes.constraints, _ended(study)
    _title(figure, "Constraints over trials")
    if not constraints or not len(ended.trials):
        _say(figure.subplots(), "no trial has ended yet" if constraints else "no outcome is constrained")
        return
    axes = figure.subplots(len(constraints) + 1, 1, sharex=True, height_ratios=[*[1.5] * len(constraints), 1])
    x = np.arange(1.0, len(ended.trials) + 1)
    for ax, constraint in zip(axes, constraints, strict=False):
        _tidy(ax)
        told = [trial.values.get(constraint.name) if trial.state == "complete" else None for trial in ended.trials]
        values = np.clip([math.nan if value is None else value for value in told], -_HUGE, _HUGE)
        _draw_constraint(ax, x, values, constraint, ended)
    _draw_share(axes[-1], x, ended)
    for ax in axes[:-1]:
        ax.tick_params(labelbottom=False)


def _draw_constraint(ax: "Axes", x: FloatArray, values: FloatArray, constraint: Any, ended: _Ended) -> None:
    margins = np.array([constraint.margin(value) for value in values])
    measured = np.isfinite(values)
    low, high = _bound_range(values[measured], constraint.bound)
    clipped = np.clip(values, low, high)
    for rows, label, style in (
        (measured & (margins <= 0), "holds", _FILLED),
        (measured & (margins > 0), "is broken", _HOLLOW),
    ):
        if rows.any():
            ax.scatter(x[rows], clipped[rows], label=label, zorder=3, **style)
    unknown, failed = ~measured & (ended.kinds != "failed"), ended.kinds == "failed"
    for rows, marker, colour, label in ((unknown, "|", _GREY, "not measured"), (failed, "x", _RED, "failed")):
        if rows.any():
            ax.scatter(
                x[rows],
                np.full(rows.sum(), 0.04),
                marker=marker,
                color=colour,
                s=24,
                linewidths=1.3,
                label=label,
                transform=ax.get_xaxis_transform(),
                zorder=3,
            )
    margin = 0.1 * (high - low) or max(abs(high) * 0.1, 1e-12)
    ax.set_ylim(low - margin, high + margin)
    far = high + margin if constraint.symbol == "<=" else low - margin
    ax.axhspan(constraint.bound, far, color=_ORANGE, alpha=0.1, linewidth=0, zorder=0)
    ax.axhline(constraint.bound, color=_INK, linewidth=1.2, linestyle=(0, (4, 3)))
    sign = "≤" if constraint.symbol == "<=" else "≥"
    ax.set_title(_plain(f"{constraint.name} {sign} {constraint.bound:g}", 40), fontsize=9.5, color=_INK, loc="left")
    ax.legend(
        frameon=False,
        fontsize=8,
        loc="lower right",
        bbox_to_anchor=(1.0, 0.98),
        ncols=4,
        borderpad=0,
        handletextpad=0.1,
        columnspacing=0.9,
    )
    ax.yaxis.set_major_locator(MaxNLocator(4))


def _bound_range(values: FloatArray, bound: float) -> tuple[float, float]:
    """What is drawn to scale: the values without far outliers, and the bound."""
    if not len(values):
        return bound - max(abs(bound), 1.0) * 0.1, bound + max(abs(bound), 1.0) * 0.1
    low, high = np.quantile(values, [0.25, 0.75])
    reach = _OUTLYING_IQR * (high - low) if high > low else np.ptp(values)
    return float(min(bound, max(values.min(), low - reach))), float(max(bound, min(values.max(), high + reach)))


def _draw_share(ax: "Axes", x: FloatArray, ended: _Ended) -> None:
    _tidy(ax)
    told = ended.kinds != "failed"
    feasible = np.cumsum(ended.kinds == "feasible")
    n_told = np.cumsum(told)
    share = np.where(n_told > 0, feasible / np.maximum(n_told, 1), math.nan)
    ax.step(x, share, where="mid", color=_GREEN, linewidth=2)
    ax.plot(x[-1], share[-1], marker="o", markersize=5, color=_GREEN)
    ax.fill_between(x, 0, share, step="mid", color=_GREEN, alpha=0.15, linewidth=0)
    ax.set_ylim(0, 1.05)
    ax.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    total = f": {feasible[-1]} of {n_told[-1]} told trials" if n_told[-1] else ""
    ax.set_title(f"share feasible so far{total}", fontsize=9.5, color=_INK, loc="left")
    ax.set_xlabel("trials")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlim(0, max(2.0, len(x) * 1.04))


# -- what all of them share ----------------------------------------------------------------------------------------


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=_DPI, layout="constrained", facecolor="white")


def _title(figure: FigureBase, text: str) -> None:
    figure.suptitle(_plain(text, 130), fontsize=11.5, color=_INK)


def _tidy(ax: "Axes") -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(_GREY)
    ax.tick_params(color=_GREY, labelcolor=_INK, labelsize=8.5)
    ax.xaxis.label.set_color(_INK)
    ax.yaxis.label.set_color(_INK)
    ax.grid(color=_PALE, linewidth=0.7)
    ax.set_axisbelow(True)


def _say(ax: "Axes", text: str) -> None:
    """An empty panel that says why it is empty."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, text, ha="center", va="center", color=_GREY, fontsize=11, transform=ax.transAxes)


def _objective_name(study: Study) -> str:
    name = study.outcomes.objective.name
    return name if len(name) <= _TITLE_NAME_WIDTH else name[: _TITLE_NAME_WIDTH - 1] + "…"


def _plain(text: Any, width: int = _NAME_WIDTH) -> str:
    """A text as it is: not too long, and without the meaning that matplotlib gives to a dollar sign."""
    text = " ".join(str(text).split()) or repr(text)
    if len(text) > width:  # names that begin alike often end differently
        head = (width - 1) * 3 // 5
        text = f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"
    return text.replace("$", r"\$")


def _number_text(value: float) -> str:
    if value and not 1e-3 <= abs(value) < 1e5:
        exponent = math.floor(math.log10(abs(value)))
        mantissa = value / 10.0**exponent
        power = rf"10^{{{exponent}}}"
        return rf"${power}$" if math.isclose(mantissa, 1.0) else rf"${mantissa:.3g}\times {power}$"
    return f"{value:g}"
