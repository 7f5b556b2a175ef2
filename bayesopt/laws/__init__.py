"""What a field knows, before the first trial: where good settings lie, how a loss falls, which schedule suits.

Numbers of papers are facts with a source; everything works on numpy and scipy alone.
"""

from bayesopt.laws import schedules
from bayesopt.laws.annealing import AnnealingLaw
from bayesopt.laws.base import Law
from bayesopt.laws.batch_transfer import BatchTransfer, Surge, surge_fit
from bayesopt.laws.bowl import Bowl, pooled_hessian
from bayesopt.laws.chinchilla import ChinchillaLaw
from bayesopt.laws.curves import Curve
from bayesopt.laws.deepseek import DeepSeekRule
from bayesopt.laws.last_good import LastGood
from bayesopt.laws.mixing import ExpMixingLaw
from bayesopt.laws.multi_power import MultiPowerLaw
from bayesopt.laws.power_scheduler import PowerScheduler
from bayesopt.laws.range_test import RangeTest
from bayesopt.laws.schedule_design import design_schedule
from bayesopt.laws.step_law import StepLaw

__all__ = [
    "AnnealingLaw",
    "BatchTransfer",
    "Bowl",
    "ChinchillaLaw",
    "Curve",
    "DeepSeekRule",
    "ExpMixingLaw",
    "LastGood",
    "Law",
    "MultiPowerLaw",
    "PowerScheduler",
    "RangeTest",
    "StepLaw",
    "Surge",
    "design_schedule",
    "pooled_hessian",
    "schedules",
    "surge_fit",
]
