"""Problems with a belief about where their optimum is, right or wrong.

A good belief is centred `0.1 sqrt(d)` of the range off the optimum in a random direction, with a standard deviation of
0.2 of the range in every parameter: the setting of "A General Framework for User-Guided Bayesian Optimization". A wrong
one is centred in the corner opposite to the optimum. On the surfaces of language models the belief is the Step Law,
which knows neither surface; a wrong one is the Step Law with four times the learning rate.
"""

import csv
import gzip
import math

import numpy as np

import bayesopt as bo
from problems import multimodal, smooth, steplaw
from problems.problem import Params, Problem, box

SD: float = 0.2
"""Standard deviation of a belief, in ranges."""
OCTAVES: float = 0.55
"""Standard deviation of the Step Law, in octaves: how far optima of published surfaces lie from it."""


def _hartmann4(params: Params) -> dict[str, float]:
    miss = (smooth._WIDTHS_6[:, :4] * (smooth.vector(params) - smooth._CENTRES_6[:, :4]) ** 2).sum(1)
    return {"y": -float(smooth._ALPHA @ np.exp(-miss))}


HARTMANN4 = Problem(
    name="Hartmann-4",
    family="smooth",
    space=box(4, 0.0, 1.0),
    outcomes=_hartmann4,
    minimum=-3.7298405845,
    argmin=smooth.point(0.1873953, 0.1941515, 0.5579178, 0.2647796),
    source="the first four parameters of Hartmann-6; the minimum polished here",
    trials=40,
)
LEVY5 = Problem(
    name="Levy-5",
    family="multimodal",
    space=box(5, -10.0, 10.0),
    outcomes=multimodal._levy,
    minimum=0.0,
    argmin=smooth.point(*[1.0] * 5),
    source="Levy and Montalvo 1985",
    trials=50,
)
ROSENBROCK6 = Problem(
    name="Rosenbrock-6",
    family="smooth",
    space=box(6, -2.048, 2.048),
    outcomes=smooth._rosenbrock,
    minimum=0.0,
    argmin=smooth.point(*[1.0] * 6),
    source="Rosenbrock 1960",
    trials=60,
)

ALL = (HARTMANN4, smooth.HARTMANN6, LEVY5, ROSENBROCK6, *steplaw.ALL)


def belief(problem: Problem, kind: str, seed: int) -> bo.OptimumPrior:
    """A belief about a problem's optimum.

    Args:
        problem: The surface of this seed.
        kind: 'good' or 'wrong'.
        seed: Draws the direction in which a good belief is off.

    Returns:
        The belief.
    """
    if problem.argmin is None:
        return _step_law(problem, kind)
    u = problem.space.encode(problem.argmin)
    if kind == "good":
        direction = np.random.default_rng([seed, 3]).standard_normal(len(u))
        centre = np.clip(u + 0.1 * math.sqrt(len(u)) * direction / np.linalg.norm(direction), 0.0, 1.0)
    else:
        centre = np.where(u < 0.5, 1.0, 0.0)
    params = problem.space.decode(centre)
    return bo.OptimumPrior({
        name: (params[name], SD * (parameter.high - parameter.low)) for name, parameter in problem.space.items()
    })


def _step_law(problem: Problem, kind: str) -> bo.OptimumPrior:
    n_parameters, n_tokens = _sizes()[problem.name]
    lr = 1.79 * n_parameters**-0.713 * n_tokens**0.307 * (1.0 if kind == "good" else 4.0)
    batch_size = 0.58 * n_tokens**0.571 / 2048
    centre = {
        name: min(max(value, problem.space[name].low), problem.space[name].high)
        for name, value in (("lr", lr), ("batch_size", batch_size))
    }
    return bo.OptimumPrior({name: (value, 2.0**OCTAVES) for name, value in centre.items()})


def _sizes() -> dict[str, tuple[float, float]]:
    """Parameters without embeddings, and tokens, of each surface."""
    with gzip.open(steplaw.FILE / "surfaces.csv.gz", "rt", newline="") as file:
        return {row["surface"]: (float(row["N"]), float(row["D"])) for row in csv.DictReader(file)}
