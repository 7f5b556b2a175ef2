"""Smooth functions with few minima: what a Gaussian process is made for."""

import math

import numpy as np

import bayesopt as bo
from problems.problem import Params, Problem, box

_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
_WIDTHS_3 = np.array([[3.0, 10, 30], [0.1, 10, 35], [3.0, 10, 30], [0.1, 10, 35]])
_CENTRES_3 = 1e-4 * np.array([[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]])
_WIDTHS_6 = np.array([
    [10, 3, 17, 3.5, 1.7, 8],
    [0.05, 10, 17, 0.1, 8, 14],
    [3, 3.5, 1.7, 10, 17, 8],
    [17, 8, 0.05, 10, 0.1, 14],
])
_CENTRES_6 = 1e-4 * np.array([
    [1312, 1696, 5569, 124, 8283, 5886],
    [2329, 4135, 8307, 3736, 1004, 9991],
    [2348, 1451, 3522, 2883, 3047, 6650],
    [4047, 8828, 8732, 5743, 1091, 381],
])


def vector(params: Params) -> np.ndarray:
    """The values of a configuration of real numbers, shape `d`."""
    return np.array(list(params.values()), dtype=float)


def point(*values: float) -> dict[str, float]:
    """The configuration `x0`, `x1`, ... of these values."""
    return {f"x{i}": value for i, value in enumerate(values)}


def branin(params: Params) -> dict[str, float]:
    """A parabola along a bent valley with three equal minima."""
    a, b = vector(params)
    bowl = (b - 5.1 / (4 * math.pi**2) * a * a + 5 / math.pi * a - 6) ** 2
    return {"y": float(bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a) + 10)}


def hartmann3(params: Params) -> dict[str, float]:
    """Four bumps of different widths in three dimensions."""
    return {"y": -float(_ALPHA @ np.exp(-(_WIDTHS_3 * (vector(params) - _CENTRES_3) ** 2).sum(1)))}


def hartmann6(params: Params) -> dict[str, float]:
    """Four bumps of different widths in six dimensions."""
    return {"y": -float(_ALPHA @ np.exp(-(_WIDTHS_6 * (vector(params) - _CENTRES_6) ** 2).sum(1)))}


def _rosenbrock(params: Params) -> dict[str, float]:
    x = vector(params)
    return {"y": float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())}


BRANIN = Problem(
    name="Branin",
    family="smooth",
    space=bo.Space({"x0": bo.Float(-5.0, 10.0), "x1": bo.Float(0.0, 15.0)}),
    outcomes=branin,
    minimum=0.39788735772973816,
    argmin=point(math.pi, 2.275),
    source="Branin 1972; the minimum is 10 / (8 pi)",
    trials=25,
    n_seeds=20,
)
HARTMANN3 = Problem(
    name="Hartmann-3",
    family="smooth",
    space=box(3, 0.0, 1.0),
    outcomes=hartmann3,
    minimum=-3.8627797874,
    argmin=point(0.114614, 0.555649, 0.852547),
    source="Dixon and Szego 1978; the minimum polished here",
    trials=25,
    n_seeds=20,
)
HARTMANN6 = Problem(
    name="Hartmann-6",
    family="smooth",
    space=box(6, 0.0, 1.0),
    outcomes=hartmann6,
    minimum=-3.3223680115,
    argmin=point(0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573),
    source="Dixon and Szego 1978; the minimum polished here",
    trials=50,
)
ROSENBROCK4 = Problem(
    name="Rosenbrock-4",
    family="smooth",
    space=box(4, -2.048, 2.048),
    outcomes=_rosenbrock,
    minimum=0.0,
    argmin=point(1.0, 1.0, 1.0, 1.0),
    source="Rosenbrock 1960",
    trials=40,
)

ALL = (BRANIN, HARTMANN3, HARTMANN6, ROSENBROCK4)
