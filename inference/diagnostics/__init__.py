"""How far an inference and its predictions can be trusted, as numbers."""

from inference.diagnostics.calibration import brier, coverage, crps, ece, pit
from inference.diagnostics.chains import ess, rhat
from inference.diagnostics.importance import SmoothedWeights, psis
from inference.diagnostics.leave_one_out import loo_gaussian
from inference.diagnostics.simulation import Calibration, sbc

__all__ = [
    "Calibration",
    "SmoothedWeights",
    "brier",
    "coverage",
    "crps",
    "ece",
    "ess",
    "loo_gaussian",
    "pit",
    "psis",
    "rhat",
    "sbc",
]
