"""All pictures of a study on one page."""

import math
from typing import Final

from matplotlib.figure import Figure

from bayesopt.plot.constraint_panels import draw_feasibility
from bayesopt.plot.cuts import model_cuts
from bayesopt.plot.drawing import INK, new_figure, plain
from bayesopt.plot.ended import costs_told
from bayesopt.plot.parallel_lines import draw_parallel
from bayesopt.plot.progress import draw_best_so_far
from bayesopt.plot.slice_panels import draw_slices
from bayesopt.plot.ticks import axes_of
from bayesopt.study import Study

_SLICES_IN_OVERVIEW: Final = 8
"""Slices on the page of `overview`: those along which the model sees the objective change most."""


def overview(study: Study) -> Figure:
    """One page: progress, constraints, slices along the parameters that matter most, and all trials.

    Args:
        study: The study; its model is fitted, which loads torch.

    Returns:
        The figure.
    """
    cuts = sorted(model_cuts(study), key=lambda cut: -cut.reach)[:_SLICES_IN_OVERVIEW]
    cuts.sort(key=lambda cut: cut.order)
    columns = min(4, max(1, len(cuts)))
    rows = max(1, math.ceil(len(cuts) / columns))
    n_constraints = len(study.outcomes.constraints)
    heights = [max(3.9, 1.6 + 1.7 * n_constraints), 0.9 + 2.5 * rows, 4.8]
    width = max(14.0, 2.2 + 1.1 * len(axes_of(study)))
    figure = new_figure(width, sum(heights) + 0.6)
    figure.suptitle(plain(f"{study.name}: {study.budget}", 90), fontsize=14, color=INK, fontweight="bold")
    top, middle, bottom = figure.subfigures(3, 1, squeeze=False, height_ratios=heights)[:, 0]
    if n_constraints:
        # Progress over trials and over cost takes two panels, so two thirds of the width.
        left, right = top.subfigures(1, 2, squeeze=False, width_ratios=[2 if costs_told(study) else 1, 1])[0]
        draw_best_so_far(left, study)
        draw_feasibility(right, study)
    else:
        draw_best_so_far(top, study)
    draw_slices(middle, study, cuts, columns, len(axes_of(study)))
    draw_parallel(bottom, study)
    return figure
