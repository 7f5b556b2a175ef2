"""What was believed of the optimum's place, what is left of it, and where the trials went, one panel a parameter."""

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator
from numpy.typing import NDArray

from bayesopt.plot.cuts import place
from bayesopt.plot.drawing import BLUE, GREY, INK, ORANGE, new_figure, objective_name, plain, say, tidy, title
from bayesopt.plot.ticks import axes_of, axis_ticks
from bayesopt.problem.parameters import Choice, Int
from bayesopt.strategies.model_based import MIN_TOLD
from bayesopt.strategies.prior_guided import DOUBT, PriorGuided
from bayesopt.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = NDArray[np.float64]

_N_PATHS: Final = 2048
"""Functions drawn: four times those of an ask, for a smooth picture."""
_BINS: Final = 20
"""Bins along a number."""


def beliefs(study: Study) -> Figure:
    """Where the optimum was believed to be, where it may be after the data, and where the trials went.

    Both are of the same functions, drawn from the model before and after the data. Before, they have the weight of
    the beliefs if all are right; after, the weight that is left to these when each may be wrong.

    Args:
        study: The study; its model is fitted, which loads torch.

    Returns:
        The figure.
    """
    axes = axes_of(study)
    columns = min(4, max(1, len(axes)))
    rows = max(1, math.ceil(len(axes) / columns))
    figure = new_figure(max(6.0, 3.3 * columns), 0.9 + 2.4 * rows)
    is_believed = bool(study.history.priors)
    if not is_believed or len(study.history.X) < MIN_TOLD:
        title(figure, f"Beliefs about {objective_name(study)}")
        say(figure.subplots(), "two told trials, and a belief, are needed" if is_believed else "nothing was believed")
        return figure
    standings = study.beliefs
    title(
        figure,
        f"Where the optimum of {objective_name(study)} is believed to be: right with probability "
        f"{standings.probability:.2g} after {standings.n_told} trials",
    )
    places, before, after = _optima(study)
    trials = [trial.params for trial in study.trials if trial.state != "queued"]
    panels = figure.subplots(rows, columns, squeeze=False)
    for index, ax in enumerate(panels.flat):
        if index >= len(axes):
            ax.set_axis_off()
            continue
        name, share = axes[index]
        tidy(ax)
        _draw(ax, study.space[name], share, [params.get(name) for params in places], before, after)
        _draw_trials(ax, study.space[name], share, [params.get(name) for params in trials])
        ax.set_xlabel(plain(name if share is None else f"{name}.{share}"))
        ax.set_yticks([])
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8.5)
    return figure


def _optima(study: Study) -> tuple[list[dict[str, Any]], FloatArray, FloatArray]:
    """Configurations, and the probability that the optimum is there by the beliefs alone and after the data."""
    from bayesopt.acquisition.believed_paths import draw_believed_paths  # late: these bring torch
    from bayesopt.acquisition.slab_mixture import weigh
    from bayesopt.surrogate import fit_surrogate
    from gp.threads import single_threaded

    history = study.history
    doubt = study.strategy.doubt if isinstance(study.strategy, PriorGuided) else DOUBT
    with single_threaded():
        paths = draw_believed_paths(fit_surrogate(history), history.priors, history.pending, _N_PATHS)
    verdict = weigh(paths.before, paths.after, doubt)
    rows, which = np.unique(paths.best, return_inverse=True)
    mass: list[FloatArray] = []
    for log_weights, place_of in zip((paths.before.sum(0), verdict.log_weight(paths.after)[0]), which, strict=True):
        weights = np.exp(log_weights - log_weights.max())
        mass.append(np.bincount(place_of, weights / weights.sum(), minlength=len(rows)).astype(np.float64))
    return [study.space.decode(u) for u in paths.Z[rows]], mass[0], mass[1]


def _draw(
    ax: "Axes", parameter: Any, share: str | None, values: list[Any], before: FloatArray, after: FloatArray
) -> None:
    at = _heights(parameter, share, values)
    exists = ~np.isnan(at)
    n_bins = len(parameter.options) if isinstance(parameter, Choice) else _BINS
    if isinstance(parameter, Int):
        n_bins = min(_BINS, parameter.levels)
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    for mass, colour, label in ((before, ORANGE, "believed"), (after, BLUE, "left after the data")):
        heights, _ = np.histogram(at[exists], edges, weights=mass[exists])
        ax.stairs(heights, edges, color=colour, fill=True, alpha=0.25)
        ax.stairs(heights, edges, color=colour, linewidth=1.8, label=label)
    ticks = axis_ticks(parameter, share)
    ax.xaxis.set_major_locator(FixedLocator([height for height, _ in ticks]))
    ax.xaxis.set_major_formatter(FixedFormatter([text for _, text in ticks]))
    ax.set_xlim(0.0, 1.0)


def _draw_trials(ax: "Axes", parameter: Any, share: str | None, values: list[Any]) -> None:
    """Ticks below the panel's floor, the later the darker."""
    at = _heights(parameter, share, values)
    order = np.linspace(0.15, 1.0, len(at))
    low, high = ax.get_ylim()
    ax.set_ylim(low - 0.12 * (high - low), high)
    ax.scatter(
        at,
        np.full(len(at), low - 0.06 * (high - low)),
        marker="|",
        s=70,
        color=[(*to_rgb(INK), darkness) for darkness in order.tolist()],
        label="trials, the later the darker",
    )
    ax.axhline(low, color=GREY, linewidth=0.7)


def _heights(parameter: Any, share: str | None, values: list[Any]) -> FloatArray:
    """Places on an axis from 0 to 1; nan where the parameter does not exist."""
    at = np.array([place(parameter, share, value) for value in values], dtype=np.float64)
    if share is not None:
        return at
    if isinstance(parameter, Choice):
        return (at + 0.5) / len(parameter.options)
    return np.array([math.nan if math.isnan(x) else float(parameter.encode(parameter.validate("", x))[0]) for x in at])
