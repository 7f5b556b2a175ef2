"""Acquisition functions: how much a trial is worth, one file each, and `maximize` to find the one worth most."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bayesopt.acquisition.botorch_problem import BoTorchProblem
    from bayesopt.acquisition.log_expected_improvement import LogExpectedImprovement

__all__ = ["BoTorchProblem", "LogExpectedImprovement"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562): the functions bring torch, `maximize` does not."""
    if name == "BoTorchProblem":
        from bayesopt.acquisition.botorch_problem import BoTorchProblem

        return BoTorchProblem
    if name == "LogExpectedImprovement":
        from bayesopt.acquisition.log_expected_improvement import LogExpectedImprovement

        return LogExpectedImprovement
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
