"""The model along each parameter, as one panel each."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bayesopt.plot.cuts import Cut, model_cuts
from bayesopt.plot.drawing import BLUE, GREY, INK, ORANGE, new_figure, objective_name, plain, say, tidy, title
from bayesopt.plot.ended import ended_trials, value_range
from bayesopt.plot.ticks import log_ticks, option_ticks
from bayesopt.problem.parameters import Choice, Int
from bayesopt.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def slices(study: Study) -> Figure:
    """What the model expects along each parameter through the best trial, everything else held there.

    Args:
        study: The study; its model is fitted, which loads torch.

    Returns:
        The figure.
    """
    cuts = model_cuts(study)
    columns = min(4, max(1, len(cuts)))
    rows = max(1, math.ceil(len(cuts) / columns))
    figure = new_figure(max(6.0, 3.3 * columns), 0.9 + 2.7 * rows)
    draw_slices(figure, study, cuts, columns, len(cuts))
    return figure


def draw_slices(figure: FigureBase, study: Study, cuts: Sequence[Cut], columns: int, n_all: int) -> None:
    """Draw cuts on a figure or a part of one.

    Args:
        figure: Where to.
        study: Whose cuts they are.
        cuts: One panel each.
        columns: Panels side by side.
        n_all: How many cuts there are, of which these may be the ones that matter most.
    """
    objective = study.outcomes.objective
    if not cuts:
        title(figure, f"{objective_name(study)} along each parameter")
        say(figure.subplots(), "the model needs two trials that were told")
        return
    rows = math.ceil(len(cuts) / columns)
    anchor = cuts[0].anchor
    which = f"the {len(cuts)} of {n_all} parameters that matter most" if len(cuts) < n_all else "each parameter"
    title(figure, f"What the model expects of {objective_name(study)} along {which}, through trial {anchor.id}")
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    low, high = _slice_range(study, cuts)
    for index, ax in enumerate(axes.flat):
        if index >= len(cuts):
            ax.set_axis_off()
            continue
        cut = cuts[index]
        tidy(ax)
        _draw_cut(ax, cut, low, high)
        beside = "" if cut.anchor.id == anchor.id else f" (trial {cut.anchor.id})"
        ax.set_xlabel(plain(cut.name) + beside)
        if index % columns == 0:
            ax.set_ylabel(plain(objective.name))
        ax.set_ylim(low, high)
    handles: dict[str, Any] = {}
    for ax in axes.flat:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=6, frameon=False, fontsize=8.5
    )


def _slice_range(study: Study, cuts: Sequence[Cut]) -> tuple[float, float]:
    low, high = value_range(study, ended_trials(study))
    span = max(high - low, 1e-12)
    low = min(low, max(low - span, min(float(cut.low.min()) for cut in cuts)))
    high = max(high, min(high + span, max(float(cut.high.max()) for cut in cuts)))
    margin = max(0.05 * (high - low), 1e-3 * abs(high))
    return low - margin, high + margin


def _draw_cut(ax: "Axes", cut: Cut, low: float, high: float) -> None:
    is_choice = isinstance(cut.parameter, Choice)
    shown = np.where(cut.allowed, cut.median, math.nan)
    ax.scatter(
        cut.told,
        np.clip(cut.values, low, high),
        s=12,
        color=GREY,
        alpha=0.55,
        linewidths=0,
        zorder=2,
        label="trials (elsewhere)",
    )
    if is_choice:
        ax.errorbar(
            cut.x,
            shown,
            yerr=(cut.median - cut.low, cut.high - cut.median),
            fmt="o",
            color=BLUE,
            ecolor="#7FB8D8",
            elinewidth=5,
            markersize=5,
            label="posterior median",
            zorder=3,
        )
        option_ticks(ax, cut.parameter)
    else:
        style: dict[str, Any] = {"marker": "o", "markersize": 3.5} if len(cut.x) <= 12 else {}
        ax.plot(cut.x, shown, color=BLUE, linewidth=2, label="posterior median", zorder=4, **style)
        ax.fill_between(
            cut.x, cut.low, cut.high, where=cut.allowed, color=BLUE, alpha=0.18, linewidth=0, label="± 2 sd", zorder=1
        )
        _scale_x(ax, cut)
    for mask, colour, label in (
        (~cut.allowed, GREY, "not allowed"),
        (cut.allowed & ~cut.feasible, ORANGE, "probably infeasible"),
    ):
        if mask.any():
            _shade(ax, cut, mask, colour, label)
    ax.axvline(cut.at, color=INK, linewidth=0.9, linestyle=(0, (2, 2)), zorder=2)
    ax.scatter(
        cut.at,
        np.clip(cut.value, low, high),
        marker="*",
        s=150,
        color=BLUE,
        edgecolors="white",
        zorder=6,
        label="the trial itself",
    )


def _shade(ax: "Axes", cut: Cut, mask: NDArray[np.bool_], colour: str, label: str) -> None:
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


def _scale_x(ax: "Axes", cut: Cut) -> None:
    if getattr(cut.parameter, "log", False):
        ax.set_xscale("log")
        log_ticks(ax.xaxis, cut.parameter.low, cut.parameter.high)
        return
    whole = isinstance(cut.parameter, Int)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=whole, min_n_ticks=2))
