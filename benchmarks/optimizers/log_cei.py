"""Constrained expected improvement as BoTorch has it: analytic, in logs, all defaults otherwise."""

from collections.abc import Callable

import torch
from botorch.acquisition.analytic import LogConstrainedExpectedImprovement, LogProbabilityOfFeasibility
from botorch.models import ModelListGP
from torch import Tensor
from typing_extensions import override

from optimizers.botorch import BoTorchLoop


class LogConstrainedEI(BoTorchLoop):
    """`BoTorchLoop` with `LogConstrainedExpectedImprovement`, and the probability of feasibility until something is."""

    @override
    def _acquisition(self, model: ModelListGP) -> Callable[[Tensor], Tensor]:
        Y = torch.stack(self._Y)
        bounds = {k: (None, 0.0) for k in range(1, len(self._names))}
        feasible = (Y[:, 1:] <= 0).all(1)
        if not feasible.any():
            return LogProbabilityOfFeasibility(model, bounds)
        best = Y[feasible, 0].max()
        return LogConstrainedExpectedImprovement(model, best, objective_index=0, constraints=bounds)
