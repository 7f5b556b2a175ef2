"""What to try next: one file a strategy. None imports torch before it needs a model."""

from bayesopt.strategies.base import Strategy, Suggestion
from bayesopt.strategies.expected_improvement import ExpectedImprovement
from bayesopt.strategies.from_botorch import FromBoTorch
from bayesopt.strategies.knowledge_gradient import KnowledgeGradient
from bayesopt.strategies.optimistic_constrained import OptimisticConstrained
from bayesopt.strategies.prior_guided import PriorGuided
from bayesopt.strategies.random_search import RandomSearch
from bayesopt.strategies.space_filling import SobolSearch

__all__ = [
    "ExpectedImprovement",
    "FromBoTorch",
    "KnowledgeGradient",
    "OptimisticConstrained",
    "PriorGuided",
    "RandomSearch",
    "SobolSearch",
    "Strategy",
    "Suggestion",
]
