"""What to try next, what not to finish, when to end: a file each. None imports torch before it needs a model."""

from bayesopt.strategies.base import EndingRule, StoppingRule, Strategy, Suggestion
from bayesopt.strategies.expected_improvement import ExpectedImprovement
from bayesopt.strategies.forecast_stopping import ForecastStopping
from bayesopt.strategies.from_botorch import FromBoTorch
from bayesopt.strategies.gittins_search import GittinsSearch
from bayesopt.strategies.hyperband import Hyperband
from bayesopt.strategies.improvement_per_cost import ImprovementPerCost
from bayesopt.strategies.knowledge_gradient import KnowledgeGradient
from bayesopt.strategies.median_stopping import MedianStopping
from bayesopt.strategies.no_improvement import NoImprovement
from bayesopt.strategies.not_worth_the_cost import NotWorthTheCost
from bayesopt.strategies.optimistic_constrained import OptimisticConstrained
from bayesopt.strategies.prior_guided import PriorGuided
from bayesopt.strategies.random_search import RandomSearch
from bayesopt.strategies.regret_below import RegretBelow
from bayesopt.strategies.space_filling import SobolSearch
from bayesopt.strategies.successive_halving import SuccessiveHalving

__all__ = [
    "EndingRule",
    "ExpectedImprovement",
    "ForecastStopping",
    "FromBoTorch",
    "GittinsSearch",
    "Hyperband",
    "ImprovementPerCost",
    "KnowledgeGradient",
    "MedianStopping",
    "NoImprovement",
    "NotWorthTheCost",
    "OptimisticConstrained",
    "PriorGuided",
    "RandomSearch",
    "RegretBelow",
    "SobolSearch",
    "StoppingRule",
    "Strategy",
    "SuccessiveHalving",
    "Suggestion",
]
