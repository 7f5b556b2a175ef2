"""Scalable constrained Bayesian optimization (SCBO): Thompson samples in a trust region, from BoTorch's parts.

Written from Eriksson and Poloczek 2021, "Scalable Constrained Bayesian Optimization", with one region and one
evaluation at a time. The outcomes are transformed as the paper asks: the objective to normal scores of its ranks, the
constraints by the bilog, which magnifies what happens around 0.

Alphabet. X: told points, `n x d`, in the unit cube; Y: objective to maximise, then the constraints, `n x (1 + m)`.
"""

import math
import warnings

import numpy as np
import torch
from botorch.fit import fit_gpytorch_mll
from botorch.generation.sampling import ConstrainedMaxPosteriorSampling
from botorch.models import ModelListGP, SingleTaskGP
from botorch.models.transforms.outcome import Bilog
from gpytorch.mlls import ExactMarginalLogLikelihood
from problems.problem import Params, Problem
from scipy.special import ndtri
from scipy.stats import rankdata

from optimizers.optimizer import n_starts

_FIRST_SIDE, _LEAST_SIDE, _LARGEST_SIDE = 0.8, 2.0**-7, 1.6
_LEAST_GAIN = 1e-3
"""Of the best value so far: what a trial must gain to count as a success."""


class Scbo:
    """A hypercube around the best trial that grows with successes and shrinks with failures.

    The best is the feasible trial with the best objective or, without one, that with the least sum of violations. Below
    its least side the region starts anew from Sobol points and forgets what was told before.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        """Begin a run."""
        self._problem = problem
        self._names = ["y", *(constraint.name for constraint in problem.subject_to)]
        self._rng = np.random.default_rng([seed, 4])
        self._params: list[Params] = []
        self._X: list[np.ndarray] = []
        self._Y: list[list[float]] = []
        d = problem.space.dim
        self._successes_to_grow, self._failures_to_shrink = max(3, math.ceil(d / 10)), d
        self._start_region()

    def ask(self) -> Params:
        """The candidate that is best in a joint sample of every model."""
        space = self._problem.space
        if len(self._X) - self._first < n_starts(self._problem):
            return space.decode(space.sample(1, self._rng)[0])
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.manual_seed(int(self._rng.integers(2**31)))
            candidates = torch.as_tensor(self._candidates())
            with torch.enable_grad():
                objective, constraints = self._fit()
            sampling = ConstrainedMaxPosteriorSampling(model=objective, constraint_model=constraints, replacement=False)
            chosen = sampling(candidates, num_samples=1)[0]
        return space.decode(space.snap(chosen.numpy()[None])[0])

    def tell(self, params: Params, outcomes: dict[str, float]) -> None:
        """Add the configuration to the data, and judge the region by it."""
        is_start = len(self._X) - self._first < n_starts(self._problem)
        before = None if is_start else self._merit(self._best())
        self._params.append(params)
        self._X.append(self._problem.space.encode(params))
        self._Y.append([-outcomes["y"], *(outcomes[name] for name in self._names[1:])])
        if before is not None:
            self._judge(before, self._merit(len(self._Y) - 1))

    def recommend(self) -> Params | None:
        """The best feasible trial of every region."""
        values = [-math.inf if max(y[1:]) > 0 else y[0] for y in self._Y]
        best = int(np.argmax(values))
        return None if values[best] == -math.inf else self._params[best]

    def _start_region(self) -> None:
        self._first = len(self._X)
        self._side = _FIRST_SIDE
        self._successes = self._failures = 0

    def _merit(self, row: int) -> tuple[float, float]:
        """Less violation first, then the objective."""
        objective, *margins = self._Y[row]
        return -sum(max(margin, 0.0) for margin in margins), objective

    def _best(self) -> int:
        return max(range(self._first, len(self._Y)), key=self._merit)

    def _judge(self, before: tuple[float, float], after: tuple[float, float]) -> None:
        decides = 1 if before[0] == after[0] == 0.0 else 0
        if after[decides] > before[decides] + _LEAST_GAIN * abs(before[decides]):
            self._successes, self._failures = self._successes + 1, 0
        else:
            self._successes, self._failures = 0, self._failures + 1
        if self._successes == self._successes_to_grow:
            self._side, self._successes = min(2.0 * self._side, _LARGEST_SIDE), 0
        elif self._failures == self._failures_to_shrink:
            self._side, self._failures = 0.5 * self._side, 0
        if self._side < _LEAST_SIDE:
            self._start_region()

    def _candidates(self) -> np.ndarray:
        """Points of the region that differ from its centre in some columns."""
        space = self._problem.space
        d = space.dim
        n = min(5000, max(2000, 200 * d))
        centre = self._X[self._best()]
        lower, upper = np.clip(centre - 0.5 * self._side, 0, 1), np.clip(centre + 0.5 * self._side, 0, 1)
        sobol = torch.quasirandom.SobolEngine(d, scramble=True, seed=int(self._rng.integers(2**31)))
        inside = lower + (upper - lower) * sobol.draw(n, dtype=torch.double).numpy()
        moved = self._rng.random((n, d)) < min(1.0, 20.0 / d)
        moved[np.arange(n), self._rng.integers(d, size=n)] = True
        return space.snap(np.where(moved, inside, centre))

    def _fit(self) -> tuple[SingleTaskGP, ModelListGP]:
        X = torch.as_tensor(np.array(self._X[self._first :]))
        Y = np.array(self._Y[self._first :])
        scores = ndtri((rankdata(Y[:, 0]) - 0.5) / len(Y))
        bent = Bilog()(torch.as_tensor(Y[:, 1:]))[0]
        models = [SingleTaskGP(X, torch.as_tensor(scores)[:, None])]
        models += [SingleTaskGP(X, bent[:, [k]]) for k in range(bent.shape[1])]
        for model in models:
            fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        return models[0], ModelListGP(*models[1:])
