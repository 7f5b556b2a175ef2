"""Gaussian process regression of signals that oscillate: a spectral mixture, started at the tones that the data show.

Alphabet. X: `n x d` inputs in their own units; x: the same with each axis on [0, 1]. Y: `n x 1` outcomes; y: Y less its
mean, over its standard deviation. Q: components along an axis. F: random features. s: paths.
"""

import math
from collections.abc import Callable
from typing import Final

import torch
from botorch.models.gp_regression import SingleTaskGP
from botorch.models.transforms.input import Normalize
from botorch.models.transforms.outcome import Standardize
from gpytorch.constraints.constraints import GreaterThan
from gpytorch.likelihoods.gaussian_likelihood import GaussianLikelihood
from gpytorch.means.constant_mean import ConstantMean
from torch import Tensor

from gp.errors import InvalidDataError
from gp.fitting import FitReport, fit_hyperparameters
from gp.kernels.spectral_initialisation import init_spectral
from gp.kernels.spectral_mixture import SpectralMixtureKernel
from gp.linalg.cholesky import safe_cholesky
from gp.models.base import check_inputs

_NOISE_FLOOR: Final = 1e-6
"""Least noise variance, in units of the variance of Y: keeps the kernel matrix well posed without noise."""


class SpectralMixtureGP(SingleTaskGP):
    """BoTorch's `SingleTaskGP` with a `SpectralMixtureKernel`, from a start that finds the tones.

    The likelihood has a maximum near every frequency, and an optimiser ends at the one it starts by: nearly all that
    decides is the start, `init_spectral`, which is part of the constructor; `fit` polishes it. It extrapolates a tone
    for about as long as it saw it. For a response without oscillations `gp.ExactGP` is the better model.

    Example:
        >>> X = torch.linspace(0, 3, 60).double()[:, None]
        >>> model = SpectralMixtureGP(X, torch.sin(2 * torch.pi * 4.2 * X))
        >>> report = model.fit()
        >>> ahead = torch.tensor([[3.2]]).double()
        >>> bool((model.posterior(ahead).mean - torch.sin(2 * torch.pi * 4.2 * ahead)).abs() < 0.05)
        True
    """

    covar_module: SpectralMixtureKernel
    outcome_transform: Standardize
    _x: Tensor
    _ranges: Tensor

    def __init__(
        self, train_X: Tensor, train_Y: Tensor, *, n_components: int | None = None, spectrum: str = "gaussian"
    ) -> None:
        """Find the tones and put the hyperparameters there.

        Args:
            train_X: Inputs, `n x d`, in any units, n at least 4.
            train_Y: Outcomes, `n x 1`.
            n_components: Tones to look for; None for as many as the criterion of Schwarz (BIC) allows.
            spectrum: 'gaussian' or 'student', as in `SpectralMixtureKernel`.

        Raises:
            InvalidDataError: If a shape, a dtype or a value cannot be used.
        """
        check_inputs("train_X", train_X)
        if train_Y.shape != (len(train_X), 1) or train_Y.dtype != train_X.dtype:
            raise InvalidDataError(
                f"train_Y: expected `n x 1` with n={len(train_X)}, as train_X of {train_X.dtype}, got "
                f"{tuple(train_Y.shape)} of {train_Y.dtype}."
            )
        d = train_X.shape[1]
        low, high = train_X.min(0).values, train_X.max(0).values
        x = (train_X - low) / torch.where(high > low, high - low, torch.ones_like(high))
        spread = train_Y.std()
        y = (train_Y - train_Y.mean()) / torch.where(spread > 0, spread, torch.ones_like(spread))
        start = init_spectral(x, y[:, 0], n_components=n_components)
        kernel = SpectralMixtureKernel(start.weights.shape[1], n_dims=d, spectrum=spectrum).to(train_X)
        kernel.weights, kernel.frequencies, kernel.bandwidths = start.weights, start.frequencies, start.bandwidths
        likelihood = GaussianLikelihood(
            noise_constraint=GreaterThan(_NOISE_FLOOR, transform=torch.exp, inv_transform=torch.log)
        ).to(train_X)
        likelihood.noise = train_X.new_tensor(max(start.noise, 2.0 * _NOISE_FLOOR))
        mean = ConstantMean().to(train_X)
        mean.constant = start.mean
        super().__init__(
            train_X,
            train_Y,
            likelihood=likelihood,
            covar_module=kernel,
            mean_module=mean,
            outcome_transform=Standardize(m=1),
            input_transform=Normalize(d=d, bounds=torch.stack([low, high])),
        )
        self.register_buffer("_x", x)
        self.register_buffer("_ranges", high - low)
        self.eval()

    @property
    def frequencies(self) -> Tensor:
        """Of each component in cycles a unit of X, `d x Q`."""
        return self.covar_module.frequencies.detach().abs() / self._ranges[:, None]

    @property
    def components(self) -> int:
        """Components along each axis, Q."""
        return int(self.covar_module.n_components)

    @property
    def noise_variance(self) -> float:
        """Of an observation, in units of Y squared."""
        return float(self.likelihood.noise.detach()) * float(self._scale[1]) ** 2

    def log_evidence(self) -> Tensor:
        """Log marginal likelihood of the standardised outcomes y at the present hyperparameters, differentiable.

        Returns:
            A scalar.

        Raises:
            NotPositiveDefiniteError: If the kernel matrix cannot be factored with any jitter.
        """
        L, left = self._factors()
        white = torch.linalg.solve_triangular(L, left[:, None], upper=False)
        return -0.5 * white.square().sum() - L.diagonal().log().sum() - 0.5 * len(L) * math.log(2.0 * math.pi)

    def fit(self, *, max_iterations: int = 200, generator: torch.Generator | None = None) -> FitReport:
        """Move the hyperparameters to the nearest maximum of the evidence.

        Args:
            max_iterations: Of the optimiser.
            generator: Of no influence as long as no prior is registered; see `fit_hyperparameters`.

        Returns:
            What was reached.

        Raises:
            GPError: If the evidence cannot be computed where the hyperparameters are.
        """
        report = fit_hyperparameters(
            self, self.log_evidence, n_draws=0, generator=generator, max_iterations=max_iterations
        )
        self.train()  # BoTorch's way to forget what predictions have cached
        self.eval()
        return report

    def draw_paths(
        self, n_paths: int, generator: torch.Generator, *, n_features: int = 2048
    ) -> Callable[[Tensor], Tensor]:
        """Whole functions from the posterior, which stay the same wherever they are evaluated.

        A function from the prior is a sum of waves of frequencies from the kernel's own spectrum; the data move it by
        Matheron's rule. Its mean is exact, its covariance up to about `1 / sqrt(n_features)` of the prior's.

        Args:
            n_paths: How many, s.
            generator: Draws them.
            n_features: Waves.

        Returns:
            A differentiable callable from `... x q x d` to `s x ... x q x 1`, in units of Y.

        Reference: Wilson et al. 2020, "Efficiently Sampling Functions from Gaussian Process Posteriors".
        """
        kernel = self.covar_module
        with torch.no_grad():
            omega = kernel.draw_frequencies(n_features, generator)
            size = (kernel.variance / n_features).sqrt()
            normals = self._x.new_empty(2 * n_features, n_paths).normal_(generator=generator)

            def features(x: Tensor) -> Tensor:
                phase = x @ omega.mT
                return size * torch.cat([phase.cos(), phase.sin()], -1)

            L, left = self._factors()
            noise = self.likelihood.noise.sqrt() * normals.new_empty(len(L), n_paths).normal_(generator=generator)
            moved_by = torch.cholesky_solve(left[:, None] - features(self._x) @ normals - noise, L)
            level = self.mean_module.constant
            offset, scale = self._scale

        def paths(X: Tensor) -> Tensor:
            x = self.input_transform(X)
            y = level + features(x) @ normals + kernel(x, self._x).to_dense() @ moved_by
            return (offset + scale * y).movedim(-1, 0)[..., None]

        return paths

    @property
    def _scale(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of Y."""
        offset, scale = self.outcome_transform.means, self.outcome_transform.stdvs
        assert isinstance(offset, Tensor)
        assert isinstance(scale, Tensor)
        return offset[0], scale[0]

    def _factors(self) -> tuple[Tensor, Tensor]:
        """Cholesky factor of the covariance of y, and y less its mean."""
        # our own algebra: what gpytorch does here hangs on its global settings
        K = self.covar_module(self._x).to_dense()
        K = K + self.likelihood.noise * torch.eye(len(K), dtype=K.dtype, device=K.device)
        L = safe_cholesky(K, "K + noise of the spectral mixture")
        return L, self.train_targets - self.mean_module.constant
