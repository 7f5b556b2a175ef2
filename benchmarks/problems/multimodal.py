"""Functions with many local minima."""

import math

import numpy as np

from problems.problem import Params, Problem, box
from problems.smooth import point, vector


def _levy(params: Params) -> dict[str, float]:
    w = 1 + (vector(params) - 1) / 4
    inner = ((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2)).sum()
    ends = math.sin(math.pi * w[0]) ** 2 + (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2)
    return {"y": float(ends + inner)}


def _ackley(params: Params) -> dict[str, float]:
    x = vector(params)
    bumps = -20 * math.exp(-0.2 * math.sqrt((x**2).mean())) - math.exp(np.cos(2 * math.pi * x).mean())
    return {"y": float(bumps + 20 + math.e)}


def _michalewicz(params: Params) -> dict[str, float]:
    x = vector(params)
    i = np.arange(1, len(x) + 1)
    return {"y": -float((np.sin(x) * np.sin(i * x**2 / math.pi) ** 20).sum())}


def _styblinski_tang(params: Params) -> dict[str, float]:
    x = vector(params)
    return {"y": float(0.5 * (x**4 - 16 * x**2 + 5 * x).sum())}


LEVY4 = Problem(
    name="Levy-4",
    family="multimodal",
    space=box(4, -10.0, 10.0),
    outcomes=_levy,
    minimum=0.0,
    argmin=point(1.0, 1.0, 1.0, 1.0),
    source="Levy and Montalvo 1985",
    trials=40,
)
# Off its centre: the usual box has the minimum in the middle, where some optimizers start.
ACKLEY5 = Problem(
    name="Ackley-5",
    family="multimodal",
    space=box(5, -25.0, 40.0),
    outcomes=_ackley,
    minimum=0.0,
    argmin=point(0.0, 0.0, 0.0, 0.0, 0.0),
    source="Ackley 1987",
    trials=50,
)
MICHALEWICZ5 = Problem(
    name="Michalewicz-5",
    family="multimodal",
    space=box(5, 0.0, math.pi),
    outcomes=_michalewicz,
    minimum=-4.6876581791,
    argmin=point(2.202906, 1.570796, 1.284992, 1.923058, 1.720470),
    source="Michalewicz 1992; the minimum polished here, coordinate by coordinate",
    trials=50,
)
STYBLINSKI10 = Problem(
    name="Styblinski-Tang-10",
    family="multimodal",
    space=box(10, -5.0, 5.0),
    outcomes=_styblinski_tang,
    minimum=-391.6616570378,
    argmin=point(*[-2.903534027771177] * 10),
    source="Styblinski and Tang 1990; the minimum from the cubic equation of one coordinate",
    trials=60,
)

ALL = (LEVY4, ACKLEY5, MICHALEWICZ5, STYBLINSKI10)
