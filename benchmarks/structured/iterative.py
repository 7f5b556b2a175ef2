"""Claim: within 20 passes over the kernel matrix, alternating projections predict 15,000 rows as the exact GP does.

Baselines: stochastic dual descent with its own step, conjugate gradients, the same with a pivoted Cholesky
preconditioner of rank 100, and the exact posterior by a Cholesky factorisation in float64, all in this process. Metric:
root mean square error on the test rows of split 0, z-scored, with the published hyperparameters, after so many passes;
processor seconds beside it. Then: negative log likelihood by 64 functions, passes that a hundred further rows take from
the old solution, and hyperparameters learned from scratch. A lost comparison stays in the table.

The data are read from the folder `uci` of `BAYESOPT_DATA` (default `../shared/data`); where it is absent, the section
says so. One kernel matrix is in memory at a time: 1 GB, and 2 GB for the exact posterior.
"""

import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from gpytorch.kernels.matern_kernel import MaternKernel
from gpytorch.kernels.scale_kernel import ScaleKernel
from tables import table
from torch import Tensor

from gp import IterativeGP
from gp.kernels.covariance import covariance
from gp.linalg.iterative.alternating_projections import alternating_projections
from gp.linalg.iterative.conjugate_gradients import conjugate_gradients
from gp.linalg.iterative.stochastic_dual_descent import stochastic_dual_descent
from gp.linalg.iterative.system import KernelSystem

DATA = Path(os.environ.get("BAYESOPT_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")) / "uci"
SETS = ("pol", "elevators", "bike")
BUDGETS = (5, 10, 20, 40, 60, 80)
SOLVERS = {
    "alternating projections": (alternating_projections, {}),
    "stochastic dual descent": (stochastic_dual_descent, {}),
    "conjugate gradients": (conjugate_gradients, {}),
    "the same, preconditioned": (conjugate_gradients, {"rank": 100}),
}
_APPENDED = 100
_COLD = 40
"""Passes of the cold start whose residual the warm one has to reach."""


@dataclass
class Regression:
    """One set, z-scored by its training rows, and its published hyperparameters."""

    X: Tensor
    y: Tensor
    test_X: Tensor
    test_y: Tensor
    kernel: ScaleKernel
    noise: float

    @classmethod
    def load(cls, name: str, split: int = 0) -> "Regression":
        """From the data folder."""
        stored = np.load(DATA / f"{name}.npz")
        x, y = stored["x"].astype(float), stored["y"].astype(float)
        test = np.unpackbits(stored["test_mask"], axis=0)[: len(y), split] == 1
        spread = x[~test].std(0)
        x = (x - x[~test].mean(0)) / np.where(spread > 0, spread, 1.0)
        y = (y - y[~test].mean()) / y[~test].std()
        kernel = ScaleKernel(MaternKernel(nu=1.5, ard_num_dims=x.shape[1])).double()
        kernel.outputscale = float(stored["signal_scale"][split]) ** 2
        kernel.base_kernel.lengthscale = torch.as_tensor(stored["length_scale"][split]).double()
        kernel.requires_grad_(False)
        arrays = (torch.as_tensor(part) for part in (x[~test], y[~test], x[test], y[test]))
        return cls(*arrays, kernel, float(stored["noise_scale"][split]) ** 2)

    def noises(self, n: int) -> Tensor:
        """Noise variances of n rows."""
        return torch.full((n,), self.noise, dtype=torch.float64)

    def system(self, n: int | None = None) -> KernelSystem:
        """Of the first rows, shuffled."""
        n = len(self.X) if n is None else n
        order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
        return KernelSystem(self.kernel, self.X[:n], self.noises(n), order=order)

    def rmse(self, mean: Tensor) -> float:
        """Of predictions for the test rows."""
        return float((mean - self.test_y).square().mean().sqrt())

    def nll(self, mean: Tensor, variance: Tensor) -> float:
        """Mean negative log density of the test rows' observations."""
        return float((0.5 * (2 * math.pi * variance).log() + 0.5 * (mean - self.test_y).square() / variance).mean())


def exact(data: Regression) -> tuple[float, float, float]:
    """Root mean square error, negative log likelihood and processor seconds of the exact posterior."""
    started = time.process_time()
    A = covariance(data.kernel, data.X, data.X)
    A.diagonal().add_(data.noise)
    L = torch.linalg.cholesky(A, out=A)
    half = torch.linalg.solve_triangular(
        L, torch.cat([data.y[:, None], covariance(data.kernel, data.X, data.test_X)], 1), upper=False
    )
    mean = half[:, 1:].mT @ half[:, 0]
    variance = float(data.kernel.outputscale) + data.noise - half[:, 1:].square().sum(0)
    return data.rmse(mean), data.nll(mean, variance), time.process_time() - started


def predictions(name: str, data: Regression) -> Iterator[list[str]]:
    """Rows of the first table: error after so many passes."""
    system = data.system()
    cross = covariance(data.kernel, data.test_X, data.X)
    for solver, (solve, options) in SOLVERS.items():
        cells, started, passes = [], time.process_time(), 0.0
        for budget in BUDGETS:
            found = solve(system, data.y[:, None], passes=budget, tolerance=1e-4, **options)
            passes += found.passes
            cells.append(f"{data.rmse(cross @ found.x[:, 0]):.4f}")
        yield [name, solver, *cells, f"{(time.process_time() - started) / passes:.3f}"]
        print(name, solver, *cells, flush=True)


def appended(name: str, data: Regression) -> list[str]:
    """A row of the third table: passes from the old solution and from zeros, to the same residual."""
    n = len(data.X) - _APPENDED
    before = data.system(n)
    old = alternating_projections(before, data.y[:n, None], passes=_COLD, tolerance=1e-4)
    system = before.extended(data.X[n:], data.noises(_APPENDED))
    cold = alternating_projections(system, data.y[:, None], passes=_COLD, tolerance=1e-4)
    start = torch.cat([old.x, torch.zeros(_APPENDED, 1, dtype=torch.float64)])
    reached = cold.history[-1]
    warm = alternating_projections(system, data.y[:, None], start=start, passes=_COLD, tolerance=reached)
    row = [
        name,
        f"{reached:.1e}",
        f"{cold.passes:.1f}",
        f"{warm.passes:.1f}{'' if warm.converged else ' (not reached)'}",
    ]
    print("appended", *row, flush=True)
    return row


def likelihood(data: Regression, exact_nll: float) -> str:
    """What 64 functions make of the likelihood, in a sentence."""
    model = IterativeGP(data.X, data.y[:, None], kernel=data.kernel, passes=_COLD, tolerance=0.1)
    model.likelihood.noise = data.noise
    started = time.process_time()
    posterior = model.posterior(data.test_X, observation_noise=True)
    mean, variance = posterior.mean[:, 0].detach(), posterior.variance[:, 0].detach()
    found = data.nll(mean, variance)
    return (
        f"Negative log likelihood on elevators by {model.n_paths} functions after {model.solution.passes:.0f} passes: "
        f"{found:.3f}, exact {exact_nll:.3f} ({time.process_time() - started:.0f} s)."
    )


def learned(data: Regression, exact_rmse: float) -> str:
    """What hyperparameters learned from scratch predict, in a sentence."""
    started = time.process_time()
    model = IterativeGP(data.X, data.y[:, None])
    model.fit()
    seconds = time.process_time() - started
    noise = model.likelihood.noise.detach().expand(len(data.X))
    order = torch.randperm(len(data.X), generator=torch.Generator().manual_seed(0))
    found = alternating_projections(
        KernelSystem(model.kernel, data.X, noise, order=order), data.y[:, None], passes=80, tolerance=1e-4
    )
    with torch.no_grad():
        rmse = data.rmse((covariance(model.kernel, data.test_X, data.X) @ found.x)[:, 0])
    return (
        f"Hyperparameters learned from scratch on elevators (30 steps of 10 passes, {seconds:.0f} s): "
        f"error {rmse:.4f}, {rmse / exact_rmse:.3f} times that of the exact posterior with the published ones."
    )


def section() -> Iterator[str]:
    """The tables, each as soon as it is measured."""
    if not DATA.exists():
        print(f"Not run: there is no folder {DATA}; name the data's with BAYESOPT_DATA.")
        return
    rows, further, references = [], [], {}
    for name in SETS:
        data = Regression.load(name)
        rows += predictions(name, data)
        further.append(appended(name, data))
        rmse, nll, seconds = references[name] = exact(data)
        rows.append([name, "exact", *[f"{rmse:.4f}"] * len(BUDGETS), f"{seconds:.0f} s in all"])
        print(name, "exact", rmse, nll, seconds, flush=True)
    yield "Root mean square error on the test rows after so many passes; processor seconds a pass.\n\n" + table(
        ["set", "solver", *map(str, BUDGETS), "s a pass"], rows
    )
    yield (
        f"Passes of alternating projections to the residual that a cold start has after {_COLD}, when {_APPENDED} rows "
        "are appended to the others' solution; the evaluation of its residual counts as one.\n\n"
        + table(["set", "relative residual", "from zeros", "from the old solution"], further)
    )
    elevators = Regression.load("elevators")
    yield likelihood(elevators, references["elevators"][1])
    yield learned(elevators, references["elevators"][0])
