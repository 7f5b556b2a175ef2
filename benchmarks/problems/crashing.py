"""A problem most of whose configurations yield nothing."""

from dataclasses import replace

from problems.problem import Params
from problems.smooth import HARTMANN6


def _beyond_the_edge(params: Params) -> bool:
    """Four fifths of the cube; the minimum, at x0 + x4 = 0.513, survives."""
    return params["x0"] + params["x4"] > 0.6


CRASHING_HARTMANN6 = replace(
    HARTMANN6, name="Hartmann-6, four fifths break", family="crashing", breaks=_beyond_the_edge, trials=40
)
