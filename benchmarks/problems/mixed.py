"""Real numbers, whole numbers and options together, with shares of a whole in one."""

import math

import bayesopt as bo
from problems.problem import Params, Problem

SHARES = {"web": 0.2, "code": 0.5, "math": 0.3}
"""Where the training problem has its best mixture."""

_TRAINING = {
    "lr": bo.Float(1e-5, 1e-1, log=True),
    "layers": bo.Int(1, 12),
    "batch_size": bo.Int(16, 512, log=True),
    "optimizer": bo.Choice(["sgd", "adamw", "lion"]),
}
_BEST_TRAINING = {"lr": 1e-3, "layers": 7, "batch_size": 64, "optimizer": "adamw"}


def _training(params: Params) -> dict[str, float]:
    smooth = (math.log10(params["lr"]) + 3) ** 2 + 0.2 * (math.log2(params["batch_size"]) - 6) ** 2
    discrete = 0.05 * (params["layers"] - 7) ** 2 + {"adamw": 0.0, "lion": 0.5, "sgd": 1.0}[params["optimizer"]]
    return {"y": smooth + discrete}


def _training_on_a_mixture(params: Params) -> dict[str, float]:
    return {"y": _training(params)["y"] + 8 * sum((params["mixture"][name] - SHARES[name]) ** 2 for name in SHARES)}


_COST = {
    "cg": {"none": 1.2, "jacobi": 0.9, "ilu": 0.7},
    "gmres": {"none": 1.5, "jacobi": 0.6, "ilu": 0.0},
    "direct": {"none": 0.4, "jacobi": 0.8, "ilu": 1.6},
}
"""What each pair of options costs: the best solver without a preconditioner is the worst with one."""
_LEVELS = {"cg": 2, "gmres": 4, "direct": 5}
_RESTART = {"cg": 8, "gmres": 32, "direct": 16}
_SWEEPS = {"none": 1, "jacobi": 6, "ilu": 3}


def _solver(params: Params) -> dict[str, float]:
    """Every term but the options' is a square that depends on another parameter; all vanish together at one place."""
    solver, preconditioner = params["solver"], params["preconditioner"]
    levels, sweeps, omega = params["levels"], params["sweeps"], params["omega"]
    options = _COST[solver][preconditioner]
    whole = (
        0.1 * (levels - _LEVELS[solver]) ** 2
        + 0.05 * (sweeps - _SWEEPS[preconditioner]) ** 2
        + 0.3 * math.log2(params["restart"] / _RESTART[solver]) ** 2
    )
    real = (
        4 * (omega - 1.1 - 0.1 * (levels - 3)) ** 2
        + 0.15 * (math.log10(params["tolerance"]) + 4 + 0.5 * (sweeps - 3)) ** 2
        + (params["shift"] - 0.3 * math.sin(2 * omega)) ** 2
    )
    return {"y": options + whole + real}


TRAINING = Problem(
    name="training",
    family="mixed",
    space=bo.Space(_TRAINING),
    outcomes=_training,
    minimum=0.0,
    argmin=_BEST_TRAINING,
    source="a sum of squares, made up here",
    trials=25,
    n_seeds=20,
)
SOLVER = Problem(
    name="solver options",
    family="mixed",
    space=bo.Space({
        "solver": bo.Choice(["cg", "gmres", "direct"]),
        "preconditioner": bo.Choice(["none", "jacobi", "ilu"]),
        "restart": bo.Int(4, 64, log=True),
        "levels": bo.Int(1, 6),
        "sweeps": bo.Int(1, 8),
        "omega": bo.Float(0.1, 1.9),
        "tolerance": bo.Float(1e-8, 1e-1, log=True),
        "shift": bo.Float(-1.0, 1.0),
    }),
    outcomes=_solver,
    minimum=0.0,
    argmin={
        "solver": "gmres",
        "preconditioner": "ilu",
        "restart": 32,
        "levels": 4,
        "sweeps": 3,
        "omega": 1.2,
        "tolerance": 1e-4,
        "shift": 0.3 * math.sin(2.4),
    },
    source="squares whose places depend on one another, made up here",
    trials=40,
)
MIXTURE = Problem(
    name="training with a mixture",
    family="mixed",
    space=bo.Space(_TRAINING | {"mixture": bo.Simplex(list(SHARES))}),
    outcomes=_training_on_a_mixture,
    minimum=0.0,
    argmin=_BEST_TRAINING | {"mixture": SHARES},
    source="a sum of squares, made up here",
    trials=40,
)

ALL = (TRAINING, SOLVER, MIXTURE)
