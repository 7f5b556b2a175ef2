"""Problems with a region, unknown beforehand, whose configurations yield nothing."""

import math
from dataclasses import replace

import numpy as np

from problems.problem import Params
from problems.smooth import BRANIN, HARTMANN3, HARTMANN6, ROSENBROCK4, vector


def _beyond_the_edge(params: Params) -> bool:
    """Four fifths of the cube; the minimum, at x0 + x4 = 0.513, survives."""
    return params["x0"] + params["x4"] > 0.6


def _above_a_wave(params: Params) -> bool:
    """Five eighths of the rectangle, one of its three minima among them."""
    return params["x1"] > 6.0 + 4.0 * math.sin(0.5 * params["x0"])


def _in_a_corner(params: Params) -> bool:
    """Half of the cube, where two variables are unfavourable together."""
    return params["x0"] > 0.3 and params["x2"] < 0.75


def _outside_a_ball(params: Params) -> bool:
    """Nine tenths of the cube; the minimum lies 0.38 from the centre of a ball of radius 0.55."""
    centre = np.array([0.3, 0.3, 0.5, 0.4, 0.4, 0.6])
    return float(np.square(vector(params) - centre).sum()) > 0.3


def _diverging(params: Params) -> bool:
    """Where the objective itself is large: seven eighths of the cube."""
    return ROSENBROCK4.outcomes(params)["y"] > 300.0


CRASHING_HARTMANN6 = replace(
    HARTMANN6, name="Hartmann-6, four fifths break", family="crashing", breaks=_beyond_the_edge, trials=40
)
ALL = (
    CRASHING_HARTMANN6,
    replace(BRANIN, name="Branin, breaks above a wave", family="crashing", breaks=_above_a_wave, trials=40),
    replace(HARTMANN3, name="Hartmann-3, breaks in a corner", family="crashing", breaks=_in_a_corner, trials=40),
    replace(HARTMANN6, name="Hartmann-6, breaks outside a ball", family="crashing", breaks=_outside_a_ball, trials=40),
    replace(ROSENBROCK4, name="Rosenbrock-4, breaks where large", family="crashing", breaks=_diverging, trials=40),
)
