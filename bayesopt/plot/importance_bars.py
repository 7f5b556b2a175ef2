"""Which parameters matter, as one bar each."""

from typing import Final

import numpy as np
from matplotlib.figure import Figure

from bayesopt.explain.importance import LEAST_TOLD
from bayesopt.plot.drawing import BLUE, GREY, INK, RED, new_figure, objective_name, plain, say, tidy, title
from bayesopt.study import Study

_MOST_BARS: Final = 20
"""Bars that there is room for; the parameters that matter least are left out."""
_NOTE_WIDTH: Final = 240
"""Characters of a warning that are shown."""


def importance(study: Study) -> Figure:
    """How much of the objective's variation each parameter explains, alone and together with others.

    Whiskers are the standard error of the integration. What speaks against the model stands below.

    Args:
        study: The study; its model is fitted, which loads torch.

    Returns:
        The figure.
    """
    if len(study.history.ids) < LEAST_TOLD:
        figure = new_figure(6.0, 3.0)
        title(figure, f"What explains {objective_name(study)}")
        say(figure.subplots(), "the model needs two trials that were told")
        return figure
    found = study.importance()
    names = list(found.shares)[:_MOST_BARS]
    shares = [found.shares[name] for name in names]
    figure = new_figure(8.0, 1.6 + 0.34 * len(names) + 0.2 * len(found.warnings))
    title(figure, f"What explains {objective_name(study)}, by the model of {found.n_told} trials")
    ax = figure.subplots()
    tidy(ax)
    places = np.arange(len(names))
    first, total = np.array([share.first for share in shares]), np.array([share.total for share in shares])
    together = np.maximum(total - first, 0.0)
    ax.barh(places, first, color=BLUE, height=0.62, label="alone")
    ax.barh(places, together, left=first, color="#9CC9E3", height=0.62, label="only together with others")
    errors = np.array([share.total_error for share in shares])
    ax.errorbar(first + together, places, xerr=errors, fmt="none", ecolor=INK, elinewidth=1.1, capsize=2)
    for place, end, error in zip(places, first + together, errors, strict=True):
        ax.annotate(
            f"{end:.2f}",
            (end + error, place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=INK,
        )
    ax.set_yticks(places, [plain(name) for name in names])
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")
    ax.set_xlim(0.0, max(1.0, 1.12 * float((first + together + errors).max())))
    ax.set_xlabel("share of the variance of the model's mean over the space")
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8.5)
    if found.warnings:
        note = "\n".join(f"Beware: {plain(warning, _NOTE_WIDTH)}" for warning in found.warnings)
        ax.set_title(note, fontsize=8, color=RED, loc="left", wrap=True)
    left_out = len(found.shares) - len(names)
    if left_out:
        ax.text(1.0, 0.01, f"{left_out} more matter less", transform=ax.transAxes, ha="right", color=GREY, fontsize=8.5)
    return figure
