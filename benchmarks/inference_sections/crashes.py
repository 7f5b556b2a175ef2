"""Claims: crashes are predicted as well as by gpytorch's variational GP in a fifth of its time, and are avoided.

As well: the mean negative log probability of 1,000 labels is no worse by more than 0.02 than that of a full variational
GP with the same kernel and priors after 200 or 1,000 steps of Adam. Regions are deterministic, four for each size; CPU
seconds are of fit and prediction. In the loop, on problems with a hidden region that breaks, at least 30 % fewer trials
break than without the model of survival.
"""

import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.metadata import version
from typing import Any
from unittest import mock

import gpytorch
import numpy as np
import torch
from one_thread import restart_with_one_thread
from problems import crashing
from study_run import run_study
from tables import table
from torch import Tensor

import bayesopt.acquisition.base
import bayesopt.surrogate
from gp import LaplaceGP

SIZES = ((40, 2), (60, 4), (200, 6))
"""Points and variables."""
FIRST_SEED = 300
_N_TEST = 1000
Labels = Callable[[Tensor], Tensor]
_REGIONS: dict[str, Labels] = {
    "half-space": lambda X: X.mean(-1) < 0.5,
    "ball": lambda X: (X - 0.4).square().mean(-1) < 0.09,
    "wave": lambda X: X[..., 0] + 0.25 * torch.sin(6.0 * X[..., 1]) < 0.6,
    "corner": lambda X: (X[..., 0] < 0.6) | (X[..., 1] < 0.4),
}
"""Where trials survive, of points of the unit cube."""
_STEPS = (200, 1000)
_MOST_STEPS = {200: 200}
"""Steps of the variational GP at most, by the number of points: at 200, a thousand take a minute each."""
ARMS = {
    "failures leave no trace": {
        (bayesopt.surrogate, "_survival"): lambda *_: None,
        (bayesopt.acquisition.base, "without_hope_at_failures"): lambda _, objective: objective,
    },
    "no model of survival": {(bayesopt.surrogate, "_survival"): lambda *_: None},
    "EP classification (the loop's)": {},
}
"""What each way of treating failures changes in the loop; without the second change a failed trial counts as one that
brought no improvement."""


def versions() -> list[dict[str, str]]:
    """What took part."""
    return [{"version": f"{name} {version(name)}"} for name in ("gpytorch", "botorch", "priorwise")]


def measure(n_seeds: int) -> Iterator[str]:
    """The text with its tables, after each seed."""
    warnings.simplefilter("ignore")
    predicted: dict[tuple[Any, str], list[tuple[float, float]]] = defaultdict(list)
    looped: dict[tuple[str, str], list[tuple[int, float, float]]] = defaultdict(list)
    for seed in range(FIRST_SEED, FIRST_SEED + n_seeds):
        for size in SIZES:
            for region in _REGIONS.values():
                for name, result in _predict(region, *size, seed).items():
                    predicted[size, name].append(result)
        for problem in crashing.ALL:
            for arm in ARMS:
                looped[problem.name, arm].append(_loop(problem, arm, seed))
        yield f"## Crashes\n\n{_prediction_table(predicted)}\n\n{_loop_table(looped)}"


def _predict(region: Labels, n: int, d: int, seed: int) -> dict[str, tuple[float, float]]:
    """Loss and seconds of each method on one region."""
    generator = torch.Generator().manual_seed(seed)
    X, test_X = (torch.rand(k, d, generator=generator, dtype=torch.float64) for k in (n, _N_TEST))
    Y, test_Y = region(X).double(), region(test_X).double()
    found = {}
    for posterior in ("laplace", "ep"):
        started = time.process_time()
        model = LaplaceGP(X, Y[:, None], posterior=posterior)
        model.fit()
        with torch.no_grad():
            loss = -float(model.log_predictive(test_X, test_Y[:, None]).mean())
        found[f"LaplaceGP, {posterior}"] = loss, time.process_time() - started
    started = time.process_time()
    variational = _Variational(X, LaplaceGP(X, Y[:, None]))
    for step, steps in zip((0, *_STEPS), _STEPS, strict=False):
        if steps > _MOST_STEPS.get(n, steps):
            break
        variational.train_for(steps - step, X, Y)
        probability = variational.probability(test_X)
        loss = -float(torch.where(test_Y > 0.5, probability, 1.0 - probability).log().mean())
        found[f"variational, {steps} steps"] = loss, time.process_time() - started
    return found


class _Variational(gpytorch.models.ApproximateGP):
    """gpytorch's own, with a variational value at every training point and the kernel and mean of another model."""

    def __init__(self, X: Tensor, like: LaplaceGP) -> None:
        distribution = gpytorch.variational.CholeskyVariationalDistribution(len(X))
        super().__init__(
            gpytorch.variational.VariationalStrategy(self, X, distribution, learn_inducing_locations=False)
        )
        self.mean_module, self.covar_module = like.mean, like.kernel
        self.likelihood = gpytorch.likelihoods.BernoulliLikelihood()
        self.double()
        self._optimizer = torch.optim.Adam(self.parameters(), lr=0.1)

    def forward(self, X: Tensor) -> gpytorch.distributions.MultivariateNormal:
        return gpytorch.distributions.MultivariateNormal(self.mean_module(X), self.covar_module(X))

    def train_for(self, n_steps: int, X: Tensor, y: Tensor) -> None:
        self.train()
        objective = gpytorch.mlls.VariationalELBO(self.likelihood, self, len(y))
        for _ in range(n_steps):
            self._optimizer.zero_grad()
            loss = -objective(self(X), y)
            loss.backward()
            self._optimizer.step()

    @torch.no_grad()
    def probability(self, X: Tensor) -> Tensor:
        self.eval()
        return self.likelihood(self(X)).probs.clamp(1e-12, 1.0 - 1e-12)


def _loop(problem: Any, arm: str, seed: int) -> tuple[int, float, float]:
    """Failed trials, regret, and seconds of the processor a trial."""
    with ExitStack() as stack:
        for (module, name), instead in ARMS[arm].items():
            stack.enter_context(mock.patch.object(module, name, instead))
        started = time.process_time()
        run = run_study(problem, None, seed)
        seconds = (time.process_time() - started) / problem.trials
    return run.n_failed, run.returned - problem.minimum, seconds


def _prediction_table(results: dict[tuple[Any, str], list[tuple[float, float]]]) -> str:
    names = list(dict.fromkeys(name for _, name in results))
    rows = []
    for size in SIZES:
        runs = {name: np.array(results[size, name]) for name in names if results[size, name]}
        loss = {name: one[:, 0].mean() for name, one in runs.items()}
        seconds = {name: float(np.median(one[:, 1])) for name, one in runs.items()}
        ep = names[1]
        cells = [f"{loss[name]:.3f} / {seconds[name]:.2f}" if name in runs else "-" for name in names]
        cells += [
            f"{loss[ep] - loss[name]:+.3f} / {seconds[name] / seconds[ep]:.0f}" if name in runs else "-"
            for name in names[2:]
        ]
        rows.append([f"{size[0]}, {size[1]}", *cells])
    n_seeds = len(results[SIZES[0], names[0]]) // len(_REGIONS)
    head = ["n, d", *names, *(f"EP less that / times faster: {name}" for name in names[2:])]
    return (
        f"Mean negative log probability of {_N_TEST} labels / median CPU seconds; {len(_REGIONS)} regions "
        f"({', '.join(_REGIONS)}), {n_seeds} seeds.\n\n{table(head, rows)}"
    )


def _loop_table(results: dict[tuple[str, str], list[tuple[int, float, float]]]) -> str:
    rows = []
    for problem in crashing.ALL:
        runs = [results[problem.name, arm] for arm in ARMS]
        cells = [f"{np.mean([r[0] for r in of]):.1f} / {np.median([r[1] for r in of]):.2g}" for of in runs]
        rows.append([problem.name, *cells])
    failed = {arm: np.array([r[0] for p in crashing.ALL for r in results[p.name, arm]], dtype=float) for arm in ARMS}
    rows.append(["all", *(f"{failed[arm].mean():.1f}" for arm in ARMS)])
    seconds = {arm: np.median([r[2] for p in crashing.ALL for r in results[p.name, arm]]) for arm in ARMS}
    rows.append(["ms of CPU a trial", *(f"{1e3 * seconds[arm]:.0f}" for arm in ARMS)])
    *without, loop = ARMS
    lines = [
        f"{100 * (1 - failed[loop].mean() / failed[arm].mean()):.0f} % fewer failed trials than with {arm!r}."
        for arm in without
    ]
    n_seeds = len(results[crashing.ALL[0].name, loop])
    return (
        f"Failed trials of 40, mean / median regret of what is returned; {n_seeds} seeds.\n\n"
        f"{table(['problem', *ARMS], rows)}\n\n" + "\n".join(lines)
    )


if __name__ == "__main__":  # alone, from the root: PYTHONPATH=benchmarks python -m inference_sections.crashes
    restart_with_one_thread()
    for text in measure(n_seeds=1):
        print(text)
