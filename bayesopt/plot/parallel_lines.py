"""Every trial as a line through all parameters."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, FigureBase

from bayesopt.plot.drawing import GREY, INK, ORANGE, RED, new_figure, objective_name, plain, say, title
from bayesopt.plot.ended import Ended, FloatArray, ended_trials, value_range
from bayesopt.plot.ticks import axes_of, axis_ticks
from bayesopt.record.trial import Trial
from bayesopt.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BEST: Final = "#000000"
INACTIVE_AT: Final = -0.09
"""Height of 'inactive' on an axis of `parallel_coordinates`, of which 0 is the low end."""


def parallel_coordinates(study: Study) -> Figure:
    """Every trial as a line through all parameters, coloured by its objective.

    Args:
        study: The study.

    Returns:
        The figure.
    """
    figure = new_figure(max(7.5, 2.2 + 1.25 * len(axes_of(study))), 5.0)
    draw_parallel(figure, study)
    return figure


def draw_parallel(figure: FigureBase, study: Study) -> None:
    """Draw what `parallel_coordinates` shows on a figure or a part of one."""
    objective, ended = study.outcomes.objective, ended_trials(study)
    title(figure, f"Every trial through all parameters, coloured by {objective_name(study)} ({objective.direction})")
    ax = figure.subplots()
    if not len(ended.trials):
        say(ax, "no trial has ended yet")
        return
    names = axes_of(study)
    heights = np.array([[_height(study, trial, *axis) for axis in names] for trial in ended.trials])
    x = np.arange(len(names), dtype=float)
    if len(names) == 1:  # a line needs two ends
        x, heights = np.array([-0.2, 0.2]), np.repeat(heights, 2, axis=1)
    paths = [np.column_stack([x, row]) for row in heights]
    good = ended.kinds == "feasible"
    for kind, colour, dashes in (("infeasible", ORANGE, "solid"), ("failed", RED, (0, (1, 2)))):
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
    some_inactive = bool((heights == INACTIVE_AT).any())
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.set_ylim(INACTIVE_AT - 0.06 if some_inactive else -0.04, 1.04)
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.xaxis.tick_top()
    labels = [plain(name if share is None else f"{name}.{share}", 18) for name, share in names]
    crowded = len(labels) > 8 or max(map(len, labels)) > 13
    ax.set_xticks(
        range(len(names)),
        labels,
        rotation=25 if crowded else 0,
        ha="left" if crowded else "center",
        fontsize=9.5,
        color=INK,
        fontweight="bold",
    )
    ax.tick_params(length=0)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=4, frameon=False, fontsize=8.5)


def _draw_feasible_lines(
    figure: FigureBase, ax: "Axes", study: Study, ended: Ended, paths: Sequence[FloatArray]
) -> None:
    objective = study.outcomes.objective
    values = ended.values[ended.kinds == "feasible"]
    low, high = value_range(study, ended)
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
    bar.set_label(plain(objective.name), color=INK)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8.5, color=GREY, labelcolor=INK)


def _height(study: Study, trial: Trial, name: str, share: str | None) -> float:
    parameter = study.space[name]
    if name not in trial.params:
        return INACTIVE_AT
    value = trial.params[name]
    return float(value[share]) if share is not None else float(parameter.encode(value)[0])


def _draw_axis(ax: "Axes", study: Study, position: int, name: str, share: str | None) -> None:
    parameter: Any = study.space[name]
    ax.plot([position, position], [0, 1], color=INK, linewidth=1.1, zorder=5)
    for height, text in axis_ticks(parameter, share):
        ax.plot(position, height, marker="_", markersize=6, color=INK, zorder=5)
        _tick_text(ax, position, height, text)
    if parameter.active_if is not None:
        ax.plot(position, INACTIVE_AT, marker="o", markersize=4, color=GREY, zorder=5)
        _tick_text(ax, position, INACTIVE_AT, "inactive")


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
        color=INK,
        zorder=7,
        bbox=box,
    )
