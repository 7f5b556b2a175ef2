"""What to try next, and what not to finish: one file a strategy or rule. None imports torch before it needs a model."""

from bayesopt.strategies.base import StoppingRule, Strategy, Suggestion
from bayesopt.strategies.expected_improvement import ExpectedImprovement
from bayesopt.strategies.forecast_stopping import ForecastStopping
from bayesopt.strategies.from_botorch import FromBoTorch
from bayesopt.strategies.knowledge_gradient import KnowledgeGradient
from bayesopt.strategies.median_stopping import MedianStopping
from bayesopt.strategies.optimistic_constrained import OptimisticConstrained
from bayesopt.strategies.prior_guided import PriorGuided
from bayesopt.strategies.random_search import RandomSearch
from bayesopt.strategies.space_filling import SobolSearch

__all__ = [
    "ExpectedImprovement",
    "ForecastStopping",
    "FromBoTorch",
    "KnowledgeGradient",
    "MedianStopping",
    "OptimisticConstrained",
    "PriorGuided",
    "RandomSearch",
    "SobolSearch",
    "StoppingRule",
    "Strategy",
    "Suggestion",
]
