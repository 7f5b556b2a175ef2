"""Acquisition functions: how much a trial is worth, one file each, and `maximize` to find the one worth most."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from bayesopt.acquisition.botorch_problem import BoTorchProblem
    from bayesopt.acquisition.gittins import GittinsIndex
    from bayesopt.acquisition.log_expected_improvement import LogExpectedImprovement
    from bayesopt.acquisition.log_knowledge_gradient import LogKnowledgeGradient
    from bayesopt.acquisition.log_noisy_expected_improvement import LogNoisyExpectedImprovement
    from bayesopt.acquisition.per_cost import LogUtilityPerCost

_MODULES: Final = {
    "BoTorchProblem": "botorch_problem",
    "GittinsIndex": "gittins",
    "LogExpectedImprovement": "log_expected_improvement",
    "LogKnowledgeGradient": "log_knowledge_gradient",
    "LogNoisyExpectedImprovement": "log_noisy_expected_improvement",
    "LogUtilityPerCost": "per_cost",
}

__all__ = [
    "BoTorchProblem",
    "GittinsIndex",
    "LogExpectedImprovement",
    "LogKnowledgeGradient",
    "LogNoisyExpectedImprovement",
    "LogUtilityPerCost",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562): the functions bring torch, `maximize` does not."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
