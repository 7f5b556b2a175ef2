"""Problems whose answer is known, and the loop that runs a strategy on one of them.

Alphabet. regret: how far the true value of the returned configuration lies above the problem's minimum.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import bayesopt as bo
from bayesopt.problem.outcomes import Constraint
from bayesopt.strategies import Strategy

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Problem:
    """Something to minimise, with its answer."""

    name: str
    """What the table calls it."""
    space: bo.Space
    """What can be tried."""
    outcomes: Callable[[Params], dict[str, float]]
    """The noise-free outcomes of a configuration; the objective is `y`."""
    minimum: float
    """Least feasible value of the objective."""
    source: str
    """Where the problem and its minimum are from."""
    trials: int
    """Trials of one run."""
    subject_to: tuple[Constraint, ...] = ()
    """What must hold."""
    noise_sd: float = 0.0
    """Standard deviation of the normal noise on the objective that is told; the strategy is not told it."""
    breaks: Callable[[Params], bool] = field(default=lambda params: False)
    """Which configurations yield no outcome at all."""


@dataclass(frozen=True)
class Run:
    """What one strategy found with one seed."""

    returned: float
    """True objective of `study.best`; infinite without one, or where it is not feasible in truth."""
    raw_best: float
    """True objective of `study.best_observed`, likewise."""
    ask_ms: tuple[float, ...]
    """Processor time of each ask, in milliseconds."""
    n_failed: int
    """Trials that broke."""


def run(problem: Problem, strategy: Strategy | None, seed: int) -> Run:
    """Spend a problem's trials with one strategy.

    Args:
        problem: What to minimise.
        strategy: What proposes; None for the default.
        seed: Of the study, and of the noise.

    Returns:
        What was found.
    """
    noise = np.random.default_rng([seed, 1])
    study = bo.Study(problem.space, minimize="y", subject_to=problem.subject_to, strategy=strategy, seed=seed)
    ask_ms = []
    for _ in range(problem.trials):
        started = time.process_time()
        trial = study.ask()
        ask_ms.append(1e3 * (time.process_time() - started))
        if trial is None:
            break
        if problem.breaks(trial.params):
            study.fail(trial, "broke")
            continue
        outcomes = problem.outcomes(trial.params)
        study.tell(trial, outcomes | {"y": outcomes["y"] + problem.noise_sd * noise.standard_normal()})
    n_failed = sum(trial.state == "failed" for trial in study.trials)
    return Run(_truth(problem, study.best), _truth(problem, study.best_observed), tuple(ask_ms), n_failed)


def _truth(problem: Problem, trial: bo.Trial | None) -> float:
    if trial is None:
        return math.inf
    outcomes = problem.outcomes(trial.params)
    holds = all(constraint.margin(outcomes[constraint.name]) <= 0 for constraint in problem.subject_to)
    return outcomes["y"] if holds else math.inf


# -- the problems -----------------------------------------------------------------------------------------------------

_A = np.array([
    [10, 3, 17, 3.5, 1.7, 8],
    [0.05, 10, 17, 0.1, 8, 14],
    [3, 3.5, 1.7, 10, 17, 8],
    [17, 8, 0.05, 10, 0.1, 14],
])
_P = 1e-4 * np.array([
    [1312, 1696, 5569, 124, 8283, 5886],
    [2329, 4135, 8307, 3736, 1004, 9991],
    [2348, 1451, 3522, 2883, 3047, 6650],
    [4047, 8828, 8732, 5743, 1091, 381],
])
_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
MIXTURE = {"web": 0.2, "code": 0.5, "math": 0.3}
"""Where the mixed problem has its best mixture."""


def _vector(params: Params) -> np.ndarray:
    return np.array(list(params.values()))


def _box(d: int, low: float, high: float) -> bo.Space:
    return bo.Space({f"x{i}": bo.Float(low, high) for i in range(d)})


def _hartmann(params: Params) -> dict[str, float]:
    x = _vector(params)
    return {"y": -float(_ALPHA @ np.exp(-(_A * (x - _P) ** 2).sum(1)))}


def _gramacy(params: Params) -> dict[str, float]:
    a, b = _vector(params)
    wave = 1.5 - a - 2 * b - 0.5 * math.sin(2 * math.pi * (a * a - 2 * b))
    return {"y": a + b, "wave": wave, "disc": a * a + b * b - 1.5}


def _branin(params: Params) -> dict[str, float]:
    a, b = _vector(params)
    bowl = (b - 5.1 / (4 * math.pi**2) * a * a + 5 / math.pi * a - 6) ** 2
    return {"y": bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a) + 10}


def _levy(params: Params) -> dict[str, float]:
    w = 1 + (_vector(params) - 1) / 4
    inner = ((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2)).sum()
    ends = math.sin(math.pi * w[0]) ** 2 + (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2)
    return {"y": float(ends + inner)}


def _rosenbrock(params: Params) -> dict[str, float]:
    x = _vector(params)
    return {"y": float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())}


def _ackley(params: Params) -> dict[str, float]:
    x = _vector(params)
    bumps = -20 * math.exp(-0.2 * math.sqrt((x**2).mean())) - math.exp(np.cos(2 * math.pi * x).mean())
    return {"y": float(bumps + 20 + math.e)}


def _training(params: Params) -> dict[str, float]:
    smooth = (math.log10(params["lr"]) + 3) ** 2 + 0.2 * (math.log2(params["batch_size"]) - 6) ** 2
    discrete = 0.05 * (params["layers"] - 7) ** 2 + {"adamw": 0.0, "lion": 0.5, "sgd": 1.0}[params["optimizer"]]
    return {"y": smooth + discrete + 8 * sum((params["mixture"][name] - MIXTURE[name]) ** 2 for name in MIXTURE)}


HARTMANN6 = Problem("Hartmann-6", _box(6, 0.0, 1.0), _hartmann, -3.32237, "Dixon and Szego 1978", 40)
NOISY_HARTMANN6 = Problem(
    "Hartmann-6, noise sd 0.25", _box(6, 0.0, 1.0), _hartmann, -3.32237, "Dixon and Szego 1978", 60, noise_sd=0.25
)
GRAMACY = Problem(
    "constrained Gramacy",
    _box(2, 0.0, 1.0),
    _gramacy,
    0.599788,
    "Gramacy et al. 2016, Modeling an Augmented Lagrangian for Blackbox Constrained Optimization",
    40,
    subject_to=(bo.AtMost("wave", 0.0), bo.AtMost("disc", 0.0)),
)
MIXED = Problem(
    "mixed training",
    bo.Space({
        "lr": bo.Float(1e-5, 1e-1, log=True),
        "layers": bo.Int(1, 12),
        "batch_size": bo.Int(16, 512, log=True),
        "optimizer": bo.Choice(["sgd", "adamw", "lion"]),
        "mixture": bo.Simplex(list(MIXTURE)),
    }),
    _training,
    0.0,
    "a sum of squares, made up here",
    40,
)
CRASHING_HARTMANN6 = Problem(
    "Hartmann-6, half breaks",
    _box(6, 0.0, 1.0),
    _hartmann,
    -3.32237,
    "Dixon and Szego 1978; the minimum, at x0 + x4 = 0.513, survives",
    40,
    breaks=lambda params: params["x0"] + params["x4"] > 0.6,
)
BRANIN = Problem(
    "Branin", bo.Space({"x0": bo.Float(-5.0, 10.0), "x1": bo.Float(0.0, 15.0)}), _branin, 0.397887, "Branin 1972", 30
)
LEVY5 = Problem("Levy-5", _box(5, -10.0, 10.0), _levy, 0.0, "Levy and Montalvo 1985", 60)
ROSENBROCK6 = Problem("Rosenbrock-6", _box(6, -2.048, 2.048), _rosenbrock, 0.0, "Rosenbrock 1960", 60)
# Off its centre: the usual box has the minimum in the middle, which is where the default strategy starts.
ACKLEY5 = Problem("Ackley-5", _box(5, -25.0, 40.0), _ackley, 0.0, "Ackley 1987", 60)

ALL = (HARTMANN6, NOISY_HARTMANN6, GRAMACY, MIXED, CRASHING_HARTMANN6, BRANIN, LEVY5, ROSENBROCK6, ACKLEY5)
"""Every problem, in the order of the table."""
