"""CONFIG as its authors run it: optimism about the objective and about every constraint.

Written from Xu et al. 2023, "Constrained Efficient Global Optimization of Expensive Black-box Functions": the least
lower confidence bound of the objective among the points where every constraint's lower bound is at most 0, with the
constant width of the authors' experiments, 3 standard deviations. Their grid of 100 points an axis is a pool of Sobol
points here, which any dimension can have. Their hyperparameters are fixed by the caller; nobody knows them on these
problems, so each model is fitted at every ask, as `BoTorchLoop` fits it.
"""

import torch
from torch import Tensor
from typing_extensions import override

from optimizers.botorch import BoTorchLoop

_WIDTH = 3.0
"""Standard deviations between a posterior mean and its bound."""
_POOL = 2**13
"""Points among which the next one is chosen."""
_INFEASIBLE = 1e10
"""Added to the bound where the problem is believed infeasible: with no other point left, the authors take one there."""


class Config(BoTorchLoop):
    """Fits the models of `BoTorchLoop` and takes the most optimistic point of a pool."""

    @override
    def _propose(self) -> Tensor:
        model = self._fit()
        pool = self._pool()
        means, variances = [], []
        with torch.no_grad():
            for outcome in model.models:  # each in turn, and point by point: jointly they would not fit into memory
                posterior = outcome.posterior(pool[:, None])
                means.append(posterior.mean[:, 0, 0])
                variances.append(posterior.variance[:, 0, 0])
        mean, sd = torch.stack(means, 1), torch.stack(variances, 1).sqrt()
        objective = -mean[:, 0] - _WIDTH * sd[:, 0]
        is_out = ((mean - _WIDTH * sd)[:, 1:] > 0).any(1)
        return pool[(objective + _INFEASIBLE * is_out).argmin()]

    def _pool(self) -> Tensor:
        """Sobol points whose columns with levels stand on one."""
        seed = int(torch.randint(2**31, ()))
        pool = torch.quasirandom.SobolEngine(len(self._columns), scramble=True, seed=seed).draw(
            _POOL, dtype=torch.double
        )
        for index, column in enumerate(self._columns):
            if column.levels:
                levels = torch.tensor(column.levels, dtype=torch.double)
                pool[:, index] = levels[(pool[:, index] * len(levels)).long().clamp(max=len(levels) - 1)]
        return pool
