"""Bayesian optimization for people who pay for every evaluation: declare a space, ask, evaluate, tell."""

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bayesopt import acquisition, errors, laws, plot, strategies, tuners
    from bayesopt.errors import TrialFailed
    from bayesopt.laws.annealing import AnnealingLaw
    from bayesopt.laws.batch_transfer import BatchTransfer
    from bayesopt.laws.chinchilla import ChinchillaLaw
    from bayesopt.laws.deepseek import DeepSeekRule
    from bayesopt.laws.last_good import LastGood
    from bayesopt.laws.mixing import ExpMixingLaw
    from bayesopt.laws.multi_power import MultiPowerLaw
    from bayesopt.laws.power_scheduler import PowerScheduler
    from bayesopt.laws.range_test import RangeTest
    from bayesopt.laws.step_law import StepLaw
    from bayesopt.problem.budget import Budget, Spending
    from bayesopt.problem.constraints import LinearConstraint
    from bayesopt.problem.mean import MeanPrior
    from bayesopt.problem.optimal_value import OptimalValuePrior
    from bayesopt.problem.outcomes import AtLeast, AtMost
    from bayesopt.problem.parameters import Choice, Float, Int, Simplex
    from bayesopt.problem.preferences import PreferencePrior
    from bayesopt.problem.priors import OptimumPrior
    from bayesopt.problem.space import Space
    from bayesopt.problem.verdict import Verdict
    from bayesopt.record.trial import Trial
    from bayesopt.study import Study
    from bayesopt.tuners.hypergradient import HypergradientTuner, hypergradient
    from bayesopt.tuners.mixture import MixtureTuner
    from bayesopt.tuners.online_mixer import OnlineMixer
    from bayesopt.tuners.solver import SolverTuner
    from bayesopt.tuners.training import TrainingTuner

_HOME = {
    "AnnealingLaw": "laws.annealing",
    "AtLeast": "problem.outcomes",
    "AtMost": "problem.outcomes",
    "BatchTransfer": "laws.batch_transfer",
    "Budget": "problem.budget",
    "ChinchillaLaw": "laws.chinchilla",
    "Choice": "problem.parameters",
    "DeepSeekRule": "laws.deepseek",
    "ExpMixingLaw": "laws.mixing",
    "Float": "problem.parameters",
    "HypergradientTuner": "tuners.hypergradient",
    "Int": "problem.parameters",
    "LastGood": "laws.last_good",
    "LinearConstraint": "problem.constraints",
    "MeanPrior": "problem.mean",
    "MultiPowerLaw": "laws.multi_power",
    "MixtureTuner": "tuners.mixture",
    "OnlineMixer": "tuners.online_mixer",
    "OptimalValuePrior": "problem.optimal_value",
    "OptimumPrior": "problem.priors",
    "PowerScheduler": "laws.power_scheduler",
    "PreferencePrior": "problem.preferences",
    "RangeTest": "laws.range_test",
    "Simplex": "problem.parameters",
    "SolverTuner": "tuners.solver",
    "Space": "problem.space",
    "Spending": "problem.budget",
    "StepLaw": "laws.step_law",
    "Study": "study",
    "TrainingTuner": "tuners.training",
    "Trial": "record.trial",
    "TrialFailed": "errors",
    "Verdict": "problem.verdict",
    "hypergradient": "tuners.hypergradient",
}
"""Where each public name lives; it is imported when it is first used, so that importing the package costs nothing."""

_ROOMS = ("acquisition", "errors", "laws", "plot", "strategies", "tuners")

__all__ = [
    "AnnealingLaw",
    "AtLeast",
    "AtMost",
    "BatchTransfer",
    "Budget",
    "ChinchillaLaw",
    "Choice",
    "DeepSeekRule",
    "ExpMixingLaw",
    "Float",
    "HypergradientTuner",
    "Int",
    "LastGood",
    "LinearConstraint",
    "MeanPrior",
    "MixtureTuner",
    "MultiPowerLaw",
    "OnlineMixer",
    "OptimalValuePrior",
    "OptimumPrior",
    "PowerScheduler",
    "PreferencePrior",
    "RangeTest",
    "Simplex",
    "SolverTuner",
    "Space",
    "Spending",
    "StepLaw",
    "Study",
    "TrainingTuner",
    "Trial",
    "TrialFailed",
    "Verdict",
    "acquisition",
    "errors",
    "hypergradient",
    "laws",
    "plot",
    "strategies",
    "tuners",
]


def _refuse_foreign_packages() -> None:
    """Stop where `gp` or `inference` is another distribution's: read, not imported, since ours load torch.

    Raises:
        ImportError: If one of the two is not ours.
    """
    for name in ("gp", "inference"):
        spec = importlib.util.find_spec(name)
        found = spec.origin if spec is not None else None
        if found is None or "__priorwise__" not in Path(found).read_text("utf-8"):
            raise ImportError(
                f"bayesopt needs the package `{name}` of the distribution priorwise, but Python finds "
                f"{found or 'none'} under that name. Uninstall the distribution that brings the other `{name}` and "
                "install priorwise again, or keep the two in separate environments."
            )


_refuse_foreign_packages()


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562).

    Returns:
        The class or the subpackage.

    Raises:
        AttributeError: If there is no such name.
    """
    if name in _ROOMS:
        return importlib.import_module(f"bayesopt.{name}")
    if name in _HOME:
        value = getattr(importlib.import_module(f"bayesopt.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'bayesopt' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
