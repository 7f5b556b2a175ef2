"""Spends a problem's trials with one strategy of this library, through the public loop."""

import math
from dataclasses import dataclass

import numpy as np
from problems.problem import Problem

import bayesopt as bo
from bayesopt.strategies import Strategy


@dataclass(frozen=True)
class StudyRun:
    """What one strategy found with one seed."""

    returned: float
    """True objective of `study.best`; infinite without one, or where it is not feasible in truth."""
    raw_best: float
    """True objective of `study.best_observed`, likewise."""
    n_failed: int
    """Trials that broke."""


def run_study(problem: Problem, strategy: Strategy | None, seed: int) -> StudyRun:
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
    for _ in range(problem.trials):
        trial = study.ask()
        if trial is None:
            break
        if problem.breaks(trial.params):
            study.fail(trial, "broke")
            continue
        outcomes = problem.outcomes(trial.params)
        study.tell(trial, outcomes | {"y": outcomes["y"] + problem.noise_sd * noise.standard_normal()})
    n_failed = sum(trial.state == "failed" for trial in study.trials)
    return StudyRun(_truth(problem, study.best), _truth(problem, study.best_observed), n_failed)


def _truth(problem: Problem, trial: bo.Trial | None) -> float:
    return math.inf if trial is None else problem.true_value(problem.outcomes(trial.params))
