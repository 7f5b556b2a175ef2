"""Optuna: our strategies as a sampler of its studies, and studies carried over in either direction.

study = optuna.create_study(sampler=PriorwiseSampler(seed=0), storage="sqlite:///optuna.db")
to_optuna(bo.Study.open("tune.db"), "sqlite:///optuna.db")      # its dashboard then shows ours
from_optuna(study, minimize="loss")                             # a bo.Study that knows what it was told
"""

try:
    import optuna  # noqa: F401 - so that its absence is told in one line
except ImportError:
    raise ImportError(
        "bayesopt.integrations.optuna needs Optuna: pip install 'priorwise[integrations]', or pip install optuna."
    ) from None

from bayesopt.integrations.optuna.exchange import from_optuna, to_optuna
from bayesopt.integrations.optuna.sampler import PriorwiseSampler

__all__ = ["PriorwiseSampler", "from_optuna", "to_optuna"]
