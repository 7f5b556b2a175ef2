"""The loop of BoTorch's tutorials: a Gaussian process an outcome and noisy expected improvement, all defaults.

Alphabet. X: told points, `n x d`, numbers between 0 and 1 and options by their position; Y: objective to maximise, then
the constraints, `n x (1 + m)`.
"""

import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from botorch.acquisition import GenericMCObjective
from botorch.acquisition.logei import qLogNoisyExpectedImprovement, qLogProbabilityOfFeasibility
from botorch.fit import fit_gpytorch_mll
from botorch.models import ModelListGP, SingleTaskGP
from botorch.models.transforms.input import NumericToCategoricalEncoding
from botorch.optim import optimize_acqf
from botorch.optim.optimize_mixed import optimize_acqf_mixed_alternating
from gpytorch.mlls import ExactMarginalLogLikelihood, SumMarginalLogLikelihood
from problems.problem import Params, Problem
from torch import Tensor
from torch.nn.functional import one_hot

import bayesopt as bo
from optimizers.optimizer import PlainSpace

_RESTARTS, _RAW_SAMPLES = 10, 512
_CONSTRAINED = {"options": {"maxiter": 50}, "retry_on_optimization_warning": False}
"""Beside constraints: without a limit one ask went on for minutes, and with it still takes ten seconds."""


class BoTorchLoop:
    """`SingleTaskGP` and `qLogNoisyExpectedImprovement`.

    Options are one-hot columns of the model (`MixedSingleTaskGP` took ten seconds of fitting a trial). Constraints have
    models of their own; while nothing told is feasible the probability of feasibility is maximised, as the library's
    warning advises. Beside whole numbers or options it is `optimize_acqf_mixed_alternating`.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        """Begin a run."""
        self._plain = PlainSpace(problem)
        self._columns = [_Column(parameter) for parameter in self._plain.parameters.values()]
        self._names = ["y", *(constraint.name for constraint in problem.subject_to)]
        self._X: list[Tensor] = []
        self._Y: list[Tensor] = []
        self._params: list[Params] = []
        self._rng = torch.Generator().manual_seed(seed)

    def ask(self) -> Params:
        """The maximiser of the acquisition function of a newly fitted model."""
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(int(torch.randint(2**31, (), generator=self._rng)))
            x = self._propose()
        decoded = [column.decode(u) for column, u in zip(self._columns, x.tolist(), strict=True)]
        return self._plain.params(dict(zip(self._plain.parameters, decoded, strict=True)))

    def tell(self, params: Params, outcomes: dict[str, float]) -> None:
        """Add the configuration to the data."""
        values = self._plain.values(params).values()
        row = [column.encode(value) for column, value in zip(self._columns, values, strict=True)]
        self._X.append(torch.tensor(row, dtype=torch.double))
        told = [outcomes[name] for name in self._names]
        self._Y.append(torch.tensor([-told[0], *told[1:]], dtype=torch.double))
        self._params.append(params)

    def recommend(self) -> Params | None:
        """The evaluated configuration with the best posterior mean among those told feasible."""
        X, Y = torch.stack(self._X), torch.stack(self._Y)
        feasible = (Y[:, 1:] <= 0).all(1)
        if not feasible.any():
            return None
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mean = self._fit().posterior(X).mean[:, 0].detach()
        return self._params[int(mean.masked_fill(~feasible, -torch.inf).argmax())]

    def _propose(self) -> Tensor:
        return self._maximize(self._acquisition(self._fit()))

    def _fit(self) -> SingleTaskGP | ModelListGP:
        X, Y = torch.stack(self._X), torch.stack(self._Y)
        options = {i: len(column.levels) for i, column in enumerate(self._columns) if column.is_categorical}
        encoders = {i: partial(one_hot, num_classes=n) for i, n in options.items()}
        models = [
            SingleTaskGP(
                X,
                Y[:, [k]],
                input_transform=NumericToCategoricalEncoding(len(self._columns), options, encoders)
                if options
                else None,
            )
            for k in range(len(self._names))
        ]
        if len(models) == 1:
            fit_gpytorch_mll(ExactMarginalLogLikelihood(models[0].likelihood, models[0]))
            return models[0]
        together = ModelListGP(*models)
        fit_gpytorch_mll(SumMarginalLogLikelihood(together.likelihood, together))
        return together

    def _acquisition(self, model: SingleTaskGP | ModelListGP) -> Callable[[Tensor], Tensor]:
        X, Y = torch.stack(self._X), torch.stack(self._Y)
        if len(self._names) == 1:
            return qLogNoisyExpectedImprovement(model, X)
        constraints = [partial(_column, k=k) for k in range(1, len(self._names))]
        if not (Y[:, 1:] <= 0).all(1).any():
            return qLogProbabilityOfFeasibility(model, constraints=constraints)
        objective = GenericMCObjective(lambda Z, X=None: Z[..., 0])
        return qLogNoisyExpectedImprovement(model, X, objective=objective, constraints=constraints)

    def _maximize(self, acquisition: Callable[[Tensor], Tensor]) -> Tensor:
        bounds = torch.tensor([[0.0, column.high] for column in self._columns], dtype=torch.double).T.contiguous()
        columns = {i: column for i, column in enumerate(self._columns) if column.levels}
        if not columns:
            return optimize_acqf(
                acquisition,
                bounds,
                q=1,
                num_restarts=_RESTARTS,
                raw_samples=_RAW_SAMPLES,
                **(_CONSTRAINED if len(self._names) > 1 else {}),
            )[0][0]
        return optimize_acqf_mixed_alternating(
            acquisition,
            bounds,
            discrete_dims={i: column.levels for i, column in columns.items() if not column.is_categorical},
            cat_dims={i: column.levels for i, column in columns.items() if column.is_categorical},
            q=1,
            num_restarts=_RESTARTS,
            raw_samples=_RAW_SAMPLES,
        )[0][0]


class _Column:
    """The way of one parameter to a column of X."""

    def __init__(self, parameter: bo.Float | bo.Int | bo.Choice) -> None:
        self._parameter = parameter
        self.is_categorical = isinstance(parameter, bo.Choice)
        self.high = float(len(parameter.options) - 1) if isinstance(parameter, bo.Choice) else 1.0
        self._values: list[Any] = []
        if isinstance(parameter, bo.Choice):
            self._values = list(parameter.options)
        elif isinstance(parameter, bo.Int):
            self._values = list(range(parameter.low, parameter.high + 1))
        self.levels = [self.encode(value) for value in self._values]

    def encode(self, value: Any) -> float:
        if isinstance(self._parameter, bo.Choice):
            return float(self._values.index(value))
        place = math.log if self._parameter.log else float
        low, high = place(self._parameter.low), place(self._parameter.high)
        return min(max((place(value) - low) / (high - low), 0.0), 1.0)

    def decode(self, u: float) -> Any:
        if self._values:
            return self._values[min(range(len(self.levels)), key=lambda i: abs(self.levels[i] - u))]
        return self._parameter.decode(np.array([u]))


def _column(Z: Tensor, k: int) -> Tensor:
    return Z[..., k]
