"""Parallel coordinates: each line passes where its trial's parameters are."""

import math

import pytest

from bayesopt import plot
from bayesopt.plot.parallel_lines import INACTIVE_AT
from tests.bayesopt.plot.studies import SPACE, labelled, study_of


def test_parallel_lines_end_where_the_parameters_are():
    study = study_of(lambda i, p: {"loss": float(i), "memory": 1.0}, 3, space=SPACE)
    ax = plot.parallel_coordinates(study).axes[0]
    best = study.best.params
    heights = labelled(ax)["best observed"].get_ydata()
    assert heights[0] == pytest.approx((math.log10(best["lr"]) + 5) / 4)
    assert list(heights[-3:]) == pytest.approx(list(best["mix"].values()))
    assert heights[4] == (INACTIVE_AT if "momentum" not in best else pytest.approx(best["momentum"] / 0.99))
