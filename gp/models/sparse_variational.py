"""Gaussian processes of many points whose observations are labels, counts or values: GPyTorch's SVGP, fitted.

Alphabet. X: `n x d` features. m: inducing points. q(u): normal distribution of the latent values there.
"""

import math
import time
import warnings

import torch
from botorch.exceptions.warnings import InputDataWarning
from botorch.models.approximate_gp import SingleTaskVariationalGP
from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
from botorch.models.utils.inducing_point_allocators import GreedyVarianceReduction
from gpytorch.kernels.kernel import Kernel
from gpytorch.likelihoods.likelihood import Likelihood
from gpytorch.mlls.variational_elbo import VariationalELBO
from gpytorch.optim.ngd import NGD
from gpytorch.variational.natural_variational_distribution import NaturalVariationalDistribution
from torch import Tensor

from gp.errors import InvalidDataError
from gp.fitting import FitReport
from gp.models.base import check_inputs
from inference.seeding import seeded


class SparseVariationalGP(SingleTaskVariationalGP):
    """BoTorch's variational Gaussian process with natural parameters, and a `fit` that uses them.

    For any likelihood of GPyTorch, and for data that come in batches. With Gaussian noise and all data at hand
    `SparseGP` is faster and closer; for fewer than some hundred labels or counts `LaplaceGP` is.

    Reference: Hensman, Matthews and Ghahramani 2015, "Scalable Variational Gaussian Process Classification";
    Salimbeni, Eleftheriadis and Hensman 2018, "Natural Gradients in Practice".

    Example:
        >>> from gpytorch.likelihoods import BernoulliLikelihood
        >>> X = torch.rand(200, 1, generator=torch.Generator().manual_seed(0)).double()
        >>> model = SparseVariationalGP(X, (X > 0.5).double(), likelihood=BernoulliLikelihood(), n_inducing=8)
        >>> report = model.fit(n_epochs=20)
        >>> bool(model.posterior(torch.tensor([[0.9]]).double()).mean > 0.0)
        True
    """

    def __init__(
        self,
        train_X: Tensor,
        train_Y: Tensor,
        *,
        likelihood: Likelihood,
        n_inducing: int = 64,
        kernel: Kernel | None = None,
    ) -> None:
        """Place the inducing points where the prior is least sure.

        Args:
            train_X: Features, `n x d`, scaled so that a side has length about 1, as BoTorch's kernel priors expect.
            train_Y: Observations, `n x 1`, of the kind that the likelihood takes.
            likelihood: Of an observation given its latent value, one of GPyTorch's.
            n_inducing: m at most; fewer where those leave nothing open.
            kernel: Prior covariance; None for BoTorch's default.

        Raises:
            InvalidDataError: If a shape, a dtype or a value cannot be used.
        """
        check_inputs("train_X", train_X)
        if train_Y.shape != (len(train_X), 1) or train_Y.dtype != train_X.dtype:
            raise InvalidDataError(
                f"train_Y: expected {(len(train_X), 1)} of {train_X.dtype}, one a row of train_X, got "
                f"{tuple(train_Y.shape)} of {train_Y.dtype}."
            )
        if n_inducing < 1:
            raise InvalidDataError(f"n_inducing: expected at least 1, got {n_inducing}.")
        kernel = get_covar_module_with_dim_scaled_prior(train_X.shape[-1]).to(train_X) if kernel is None else kernel
        with torch.no_grad():  # fewer than asked for, where those leave nothing open
            Z = GreedyVarianceReduction().allocate_inducing_points(
                train_X, kernel, min(n_inducing, len(train_X)), torch.Size()
            )
        with warnings.catch_warnings():  # labels and counts are not meant to be standardised
            warnings.simplefilter("ignore", InputDataWarning)
            super().__init__(
                train_X,
                train_Y,
                likelihood=likelihood.to(train_X),
                covar_module=kernel,
                learn_inducing_points=False,
                variational_distribution=NaturalVariationalDistribution(len(Z)).to(train_X),
                inducing_points=Z,
            )
        self.to(train_X)

    def fit(
        self,
        *,
        n_epochs: int = 30,
        batch_size: int = 256,
        natural_rate: float = 0.1,
        rate: float = 0.02,
        generator: torch.Generator | None = None,
    ) -> FitReport:
        """Follow natural gradients in q(u), and Adam in the hyperparameters.

        Args:
            n_epochs: Times that all data are seen.
            batch_size: Observations a step.
            natural_rate: Length of a natural step; 1 would forget what earlier batches said.
            rate: Length of Adam's steps.
            generator: Deals the batches; None for a fresh one of seed 0.

        Returns:
            How it went; `log_posterior` is the mean bound of the last epoch.

        Raises:
            InvalidDataError: If a number is not positive.
        """
        for name, value in (
            ("n_epochs", n_epochs),
            ("batch_size", batch_size),
            ("natural_rate", natural_rate),
            ("rate", rate),
        ):
            if not value > 0:
                raise InvalidDataError(f"{name}: expected a positive number, got {value}.")
        began = time.process_time()
        X, Y = self.model.train_inputs[0], self.model.train_targets
        deal = torch.Generator().manual_seed(0) if generator is None else generator
        mll = VariationalELBO(self.likelihood, self.model, num_data=len(Y))
        natural = set(self.model.variational_parameters())
        others = [one for one in self.parameters() if one not in natural and one.requires_grad]
        steps: list[torch.optim.Optimizer] = [NGD(list(natural), num_data=len(Y), lr=natural_rate)]
        if others:
            steps.append(torch.optim.Adam(others, lr=rate))
        self.train()
        bounds: list[float] = []
        # likelihoods that integrate by sampling draw from the global generator
        with seeded(int(torch.randint(2**62, (), generator=deal, device=deal.device))):
            for _ in range(n_epochs):
                bounds = []
                for rows in torch.randperm(len(Y), generator=deal, device=deal.device).to(X.device).split(batch_size):
                    for one in steps:
                        one.zero_grad()
                    bound = mll(self.model(X[rows]), Y[rows])
                    (-bound).backward()
                    for one in steps:
                        one.step()
                    bounds.append(float(bound.detach()) * len(Y))
        self.eval()
        norm = math.sqrt(sum(float(one.grad.square().sum()) for one in others if one.grad is not None))
        return FitReport(
            log_posterior=sum(bounds) / len(bounds),
            gradient_norm=norm,
            starts=1,
            iterations=n_epochs,
            jitter=0.0,
            cpu_seconds=time.process_time() - began,
            converged=all(math.isfinite(bound) for bound in bounds),
        )
