"""Learning curves that are not finished: evidence, and the rest of the curves, beside BoTorch's `LatentKroneckerGP`.

Claims: with 60 curves of 52 steps of which 10 % are missing, the exact evidence and its gradient take less than 60 ms;
on 64 configurations of LCBench's adult data with 30 % of the curves cut short, the model is fitted and the missing
values predicted in less than 20 s with a root mean square error below 0.03.
Metric: median seconds of the processor; error of the missing values, in units of accuracy. Both models see the same
scaled configurations and logarithms of epochs. BoTorch's predictions are the mean of 256 of its samples, because its
own `.mean` is left standardised (0.18.1). The data are read from the folder that BAYESOPT_DATA names.
"""

import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import gpytorch
import numpy as np
import torch
from botorch.fit import fit_gpytorch_mll
from botorch.models.latent_kronecker_gp import LatentKroneckerGP as BoTorchLatentKroneckerGP
from gpytorch.mlls import ExactMarginalLogLikelihood
from tables import table
from torch import Tensor

from gp.linalg.kronecker import dense_evidence
from gp.models.latent_kronecker import LatentKroneckerGP
from structured.measuring import extra_megabytes, timed

FILE = Path(os.environ.get("BAYESOPT_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")) / "lcbench/adult.npz"
"""The table of curves; BAYESOPT_DATA names another folder."""
_N_CONFIGURATIONS = 64
_CUT = 0.3
_LOGARITHMIC = [0, 1, 5]
"""Columns that LCBench drew on a logarithmic scale: batch size, learning rate, units."""


def section() -> Iterator[str]:
    """Measure; yields tables."""
    warnings.simplefilter("ignore")
    yield _evidence()
    if not FILE.exists():
        yield f"LCBench was not run: {FILE} is absent (BAYESOPT_DATA names the folder of the data)."
        return
    yield from map(_adult, _MODELS)


def _evidence() -> str:
    generator = torch.Generator().manual_seed(0)
    X = torch.rand(60, 3, dtype=torch.float64, generator=generator)
    T = torch.linspace(0, 1, 52, dtype=torch.float64)[:, None]
    Y = X[:, :1] * (1 - torch.exp(-5 * X[:, 1:2] * T.mT))
    Y = Y + 0.01 * torch.randn(60, 52, dtype=torch.float64, generator=generator)
    length = torch.full((60, 1), 52)
    length[:10] = torch.randint(8, 36, (10, 1), generator=generator)
    Y = torch.where(torch.arange(52) < length, Y, torch.nan)
    model = LatentKroneckerGP(X, T, Y)
    parameters = list(model.parameters())
    y, cells = model.outcome_scale.standardise(Y)[model.observed], model.observed.nonzero()
    peer = BoTorchLatentKroneckerGP(X, T, Y, covar_module_X=model.kernels[0], covar_module_T=model.kernels[1])
    peer.likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
    peer.likelihood.noise = model.noise.detach()
    mll = ExactMarginalLogLikelihood(peer.likelihood, peer).train()

    def botorch() -> Tensor:
        with peer.use_iterative_methods(), torch.random.fork_rng():
            torch.manual_seed(0)
            value = mll(peer(*peer.train_inputs), peer.train_targets) * len(y)
            torch.autograd.grad(value, list(peer.parameters()), allow_unused=True)
        return value.detach()

    def ours() -> Tensor:
        value = model.evidence()
        torch.autograd.grad(value, parameters)
        return value.detach()

    def dense() -> Tensor:
        value = dense_evidence(model.covariances(), model.noise, y, cells)
        torch.autograd.grad(value, parameters)
        return value.detach()

    calls: dict[str, Callable[[], Tensor]] = {
        "priorwise": ours,
        "dense Cholesky": dense,
        "BoTorch LatentKroneckerGP, iterative": botorch,
    }
    memory = {name: extra_megabytes(call) for name, call in calls.items()}
    seconds = timed(calls, {"priorwise": 15, "dense Cholesky": 3, "BoTorch LatentKroneckerGP, iterative": 3})
    true = dense()
    rows = [
        [name, f"{1e3 * seconds[name]:.3g} ms", f"{memory[name]:.0f} MB", f"{float(call() / len(y)):.6f}"]
        for name, call in calls.items()
    ]
    return (
        f"60 curves of 52 steps, {60 * 52 - len(y)} values missing: evidence and gradient at the same "
        f"hyperparameters. The exact evidence a value is {float(true / len(y)):.6f}. BoTorch standardises with N - 1, "
        "which accounts for less than 0.0005 of the difference.\n\n"
        + table(["method", "seconds", "memory", "evidence a value"], rows)
    )


def _adult(name: str) -> str:
    data = np.load(FILE)
    seeds, predict = _MODELS[name]
    rows, errors, all_seconds = [], [], []
    for seed in seeds:
        X, T, Y, seen = _problem(data, seed)
        started = time.process_time()
        mean, sd = predict(X, T, torch.where(seen, Y, torch.nan))
        all_seconds.append(time.process_time() - started)
        errors.append(float((mean - Y)[~seen].square().mean().sqrt()))
        inside = float(((mean - Y).abs() < 1.645 * sd)[~seen].double().mean())
        missing = str(int((~seen).sum()))
        rows.append([str(seed), missing, f"{errors[-1]:.4f}", f"{all_seconds[-1]:.1f}", f"{inside:.0%}"])
    return (
        f"LCBench adult by {name}: {_N_CONFIGURATIONS} configurations, {_CUT:.0%} of the curves cut. "
        f"RMSE: median {np.median(errors):.4f}, worst {max(errors):.4f}; all values have the standard deviation "
        f"{data['Y'].std():.3f}. Seconds: median {np.median(all_seconds):.1f}, worst {max(all_seconds):.1f}.\n\n"
        + table(["seed", "missing", "RMSE", "seconds", "within the 90 % band of an observation"], rows)
    )


def _problem(data: dict[str, np.ndarray], seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(data["X"]))[:_N_CONFIGURATIONS]
    X, Y = data["X"][chosen].astype(float), torch.tensor(data["Y"][chosen])
    X[:, _LOGARITHMIC] = np.log(X[:, _LOGARITHMIC])
    X = (X - X.min(0)) / np.maximum(X.max(0) - X.min(0), 1e-12)
    T = np.log(np.arange(1, Y.shape[1] + 1)) / np.log(Y.shape[1])
    seen = torch.ones_like(Y, dtype=torch.bool)
    for row in rng.permutation(_N_CONFIGURATIONS)[: round(_CUT * _N_CONFIGURATIONS)]:
        seen[row, rng.integers(5, 45) :] = False
    return torch.tensor(X), torch.tensor(T)[:, None], Y, seen


def _ours(X: Tensor, T: Tensor, Y: Tensor) -> tuple[Tensor, Tensor]:
    model = LatentKroneckerGP(X, T, Y)
    model.fit()
    with torch.no_grad():
        posterior = model.posterior(X, observation_noise=True)
        return posterior.mean, posterior.variance.sqrt()


def _botorch(X: Tensor, T: Tensor, Y: Tensor) -> tuple[Tensor, Tensor]:
    model = BoTorchLatentKroneckerGP(X, T, Y)
    mll = ExactMarginalLogLikelihood(model.likelihood, model)
    with torch.random.fork_rng(), model.use_iterative_methods():
        torch.manual_seed(0)
        fit_gpytorch_mll(mll)
        with torch.no_grad():
            samples = model.posterior(X).rsample(torch.Size([256]))
            noise = model.likelihood.noise * model.outcome_transform.stdvs.squeeze() ** 2
    return samples.mean(0), (samples.var(0) + noise).sqrt()


_MODELS = {"priorwise": (range(5), _ours), "BoTorch": (range(3), _botorch)}
"""By name, the splits that each is run on, fewer of the slow one, and how it predicts."""
