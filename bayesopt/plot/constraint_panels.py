"""Each constrained outcome against its bound, and how many trials were feasible."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import MaxNLocator

from bayesopt.plot.drawing import FILLED, GREEN, GREY, HOLLOW, INK, ORANGE, RED, new_figure, plain, say, tidy, title
from bayesopt.plot.ended import HUGE, OUTLYING_IQR, Ended, FloatArray, ended_trials
from bayesopt.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def feasibility(study: Study) -> Figure:
    """Each constrained outcome against its bound over trials, and the share of trials that were feasible.

    Args:
        study: The study.

    Returns:
        The figure.
    """
    figure = new_figure(7.5, 2.2 + 2.1 * max(1, len(study.outcomes.constraints)))
    draw_feasibility(figure, study)
    return figure


def draw_feasibility(figure: FigureBase, study: Study) -> None:
    """Draw what `feasibility` shows on a figure or a part of one."""
    constraints, ended = study.outcomes.constraints, ended_trials(study)
    title(figure, "Constraints over trials")
    if not constraints or not len(ended.trials):
        say(figure.subplots(), "no trial has ended yet" if constraints else "no outcome is constrained")
        return
    axes = figure.subplots(len(constraints) + 1, 1, sharex=True, height_ratios=[*[1.5] * len(constraints), 1])
    x = np.arange(1.0, len(ended.trials) + 1)
    for ax, constraint in zip(axes, constraints, strict=False):
        tidy(ax)
        told = [trial.values.get(constraint.name) if trial.state == "complete" else None for trial in ended.trials]
        values = np.clip([math.nan if value is None else value for value in told], -HUGE, HUGE)
        _draw_constraint(ax, x, values, constraint, ended)
    _draw_share(axes[-1], x, ended)
    for ax in axes[:-1]:
        ax.tick_params(labelbottom=False)


def _draw_constraint(ax: "Axes", x: FloatArray, values: FloatArray, constraint: Any, ended: Ended) -> None:
    margins = np.array([constraint.margin(value) for value in values])
    measured = np.isfinite(values)
    low, high = _bound_range(values[measured], constraint.bound)
    clipped = np.clip(values, low, high)
    for rows, label, style in (
        (measured & (margins <= 0), "holds", FILLED),
        (measured & (margins > 0), "is broken", HOLLOW),
    ):
        if rows.any():
            ax.scatter(x[rows], clipped[rows], label=label, zorder=3, **style)
    unknown, failed = ~measured & (ended.kinds != "failed"), ended.kinds == "failed"
    for rows, marker, colour, label in ((unknown, "|", GREY, "not measured"), (failed, "x", RED, "failed")):
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
    ax.axhspan(constraint.bound, far, color=ORANGE, alpha=0.1, linewidth=0, zorder=0)
    ax.axhline(constraint.bound, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
    sign = "≤" if constraint.symbol == "<=" else "≥"
    ax.set_title(plain(f"{constraint.name} {sign} {constraint.bound:g}", 40), fontsize=9.5, color=INK, loc="left")
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
    reach = OUTLYING_IQR * (high - low) if high > low else np.ptp(values)
    return float(min(bound, max(values.min(), low - reach))), float(max(bound, min(values.max(), high + reach)))


def _draw_share(ax: "Axes", x: FloatArray, ended: Ended) -> None:
    tidy(ax)
    told = ended.kinds != "failed"
    feasible = np.cumsum(ended.kinds == "feasible")
    n_told = np.cumsum(told)
    share = np.where(n_told > 0, feasible / np.maximum(n_told, 1), math.nan)
    ax.step(x, share, where="mid", color=GREEN, linewidth=2)
    ax.plot(x[-1], share[-1], marker="o", markersize=5, color=GREEN)
    ax.fill_between(x, 0, share, step="mid", color=GREEN, alpha=0.15, linewidth=0)
    ax.set_ylim(0, 1.05)
    ax.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    total = f": {feasible[-1]} of {n_told[-1]} told trials" if n_told[-1] else ""
    ax.set_title(f"share feasible so far{total}", fontsize=9.5, color=INK, loc="left")
    ax.set_xlabel("trials")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlim(0, max(2.0, len(x) * 1.04))
