"""The best feasible objective so far, over trials and over cost."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import MaxNLocator

from bayesopt.plot.drawing import (
    BLUE,
    FILLED,
    GREY,
    HOLLOW,
    INK,
    PALE,
    RED,
    new_figure,
    objective_name,
    plain,
    say,
    tidy,
    title,
)
from bayesopt.plot.ended import Ended, FloatArray, costs_told, ended_trials, value_range
from bayesopt.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def best_so_far(study: Study) -> Figure:
    """How the best feasible objective came down (or up) over trials, and over cost where costs were told.

    Args:
        study: The study.

    Returns:
        The figure.
    """
    figure = new_figure(11 if costs_told(study) else 7.5, 4.4)
    draw_best_so_far(figure, study)
    return figure


def draw_best_so_far(figure: FigureBase, study: Study) -> None:
    """Draw what `best_so_far` shows on a figure or a part of one."""
    ended, limit = ended_trials(study), study.budget.limit
    objective = study.outcomes.objective
    title(figure, f"Best {objective_name(study)} so far ({objective.direction})")
    if not len(ended.trials):
        say(figure.subplots(), "no trial has ended yet")
        return
    n_external = sum(trial.source == "external" for trial in ended.trials)
    panels: list[tuple[FloatArray, str, float | None]] = [
        (np.arange(1.0, len(ended.trials) + 1), "trials", limit.trials and limit.trials + n_external)
    ]
    if costs_told(study):
        spent = np.cumsum([trial.cost if trial.cost and trial.source != "external" else 0.0 for trial in ended.trials])
        panels.append((spent, "cost spent", limit.cost))
    axes = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
    for ax, (x, label, budget) in zip(axes, panels, strict=True):
        tidy(ax)
        _draw_progress(ax, study, ended, x)
        ax.set_xlabel(label)
        if label == "trials":
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        _draw_budget(ax, x, budget)
    axes[0].set_ylabel(plain(objective.name))
    _frame(axes[0], study, ended)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False, fontsize=8.5)


def _draw_progress(ax: "Axes", study: Study, ended: Ended, x: FloatArray) -> None:
    low, high = value_range(study, ended)
    clipped = np.clip(ended.values, low, high)
    for kind, style in (("infeasible", HOLLOW), ("feasible", FILLED)):
        rows = ended.kinds == kind
        if rows.any():
            ax.scatter(x[rows], clipped[rows], label=kind, zorder=3, **style)
    outlying = np.isfinite(ended.values) & (ended.values != clipped)
    if outlying.any():
        marker = "^" if study.outcomes.objective.sign < 0 else "v"
        ax.scatter(x[outlying], clipped[outlying], marker=marker, color=GREY, s=34, label="off the scale", zorder=4)
    failed = ended.kinds == "failed"
    if failed.any():
        edge = 0.965 if study.outcomes.objective.sign < 0 else 0.035
        at = np.full(failed.sum(), edge)
        ax.scatter(
            x[failed],
            at,
            marker="x",
            color=RED,
            s=26,
            linewidths=1.4,
            label="failed",
            transform=ax.get_xaxis_transform(),
            zorder=4,
        )
    reached = np.isfinite(ended.best)
    if reached.any():
        ax.step(x[reached], ended.best[reached], where="post", color=BLUE, linewidth=2.2, label="best so far", zorder=5)
        first = int(np.argmax(ended.best == ended.best[-1]))
        ax.scatter(x[first], ended.best[first], marker="*", s=190, color=BLUE, edgecolors="white", zorder=6)


def _draw_budget(ax: "Axes", x: FloatArray, budget: float | None) -> None:
    ax.set_xlim(0, max(1.0 if ax.get_xlabel() == "trials" else 0.0, x[-1], budget or 0.0) * 1.06 or 1.0)
    if budget is not None:
        ax.axvspan(budget, ax.get_xlim()[1], color=PALE, alpha=0.7, zorder=0, linewidth=0)
        ax.axvline(budget, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
        ax.annotate(
            f"budget {budget:g}",
            (budget, 0.5),
            xycoords=ax.get_xaxis_transform(),
            rotation=90,
            fontsize=8.5,
            ha="right",
            va="center",
            color=INK,
            xytext=(-3, 0),
            textcoords="offset points",
        )


def _frame(ax: "Axes", study: Study, ended: Ended) -> None:
    low, high = value_range(study, ended)
    margin = 0.07 * (high - low) or max(0.05 * abs(high), 1e-12)
    room_for_failed = margin if (ended.kinds == "failed").any() else 0.0
    minimizes = study.outcomes.objective.sign < 0
    ax.set_ylim(low - margin - (0 if minimizes else room_for_failed), high + margin + room_for_failed * minimizes)
