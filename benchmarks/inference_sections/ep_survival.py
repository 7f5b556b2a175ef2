"""EP in the loop: the classification of told and failed trials that `crashes.py` sets against the label regression.

Kernel, optimiser and memory are those of the loop; the evidence, its gradient and the posterior are `inference`'s. What
EP leaves is a regression on its sites, so that the loop's acquisition functions take it as they take the regression.

Alphabet. X: `n x d` features. y: 1 told, 0 failed. k: kernel of unit variance; s²: variance of the latent function f.
m: its mean over `sqrt(1 + s²)`, so that a prior on m is one on the share of trials that survive. theta: the kernel's
hyperparameters, log s², then m, `h`. b: hyperparameter vectors.
"""

import functools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from bayesopt.record.history import History
from bayesopt.surrogate import FeatureMap, _Fits
from bayesopt.warm_start import Remembered, fit
from gp.array_kernels import Ard, FloatArray
from gp.errors import NotPositiveDefiniteError
from gp.quasi_newton import minimize
from gp.regression import Predictor, cholesky, inverse_of_factor
from inference.errors import InferenceError
from inference.laplace.latent import LatentLaplace
from inference.likelihoods import Bernoulli

LOG_VARIANCE_PRIOR: Final = (4.6, 0.5)
"""Mean and standard deviation of log s² under its prior: where trials break by a rule, the latent function jumps. With
a mean of 1 a fifth of the runs never left the region that breaks."""
LOG_VARIANCE_BOUNDS: Final = (math.log(0.05), math.log(1e3))
"""Where log s² is searched: beyond, all labels are as good as certain or as good as chance."""
MEAN_SD: Final = 1.0
"""Standard deviation of m under its prior, which is centred at 0: even odds."""
MEAN_BOUND: Final = 4.0
"""Where m is searched, on either side of 0."""
_RESTARTS: Final = (0.4, 1.0)
"""Starts of a search: factors on the prior's modes of the lengthscales."""
_LEAST_PRECISION: Final = 1e-10
"""Of a site, in units of `1 / s²`: one below tells nothing, and its mean is far away."""
_LOG_2PI: Final = math.log(2.0 * math.pi)
_PROBIT: Final = LatentLaplace(Bernoulli("probit"))


@dataclass(frozen=True)
class Classification:
    """Labels at points, with a prior over the hyperparameters of the latent function that explains them."""

    X: FloatArray
    """Features, `n x d`."""
    y: FloatArray
    """Labels 0 and 1, `n`."""
    kernel: Ard
    """The prior covariance over s²."""

    @functools.cached_property
    def _pairs(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        rows, columns = np.tril_indices(len(self.y), -1)
        return rows, columns

    @functools.cached_property
    def _distances(self) -> FloatArray:
        rows, columns = self._pairs
        distances = np.zeros((self.kernel.n_lengthscales, len(rows)))
        for feature, group in zip(self.X.T, self.kernel.groups, strict=True):
            distances[group] += np.square(feature[rows] - feature[columns])
        return distances

    @functools.cached_property
    def _prior(self) -> tuple[FloatArray, FloatArray]:
        mean, sd = self.kernel.prior()
        return np.append(mean, [LOG_VARIANCE_PRIOR[0], 0.0]), np.append(sd, [LOG_VARIANCE_PRIOR[1], MEAN_SD])

    def prior_mode(self) -> FloatArray:
        """Hyperparameters of largest prior density, `h`."""
        return self._prior[0].copy()

    def log_prior(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Log density of theta, `b`, and its gradient, `b x h`, of `b x h` vectors."""
        mean, sd = self._prior
        z = (theta - mean) / sd
        return -0.5 * (z * z).sum(1) - np.log(sd).sum() - 0.5 * _LOG_2PI * len(sd), -z / sd

    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Where theta is searched, `h` each."""
        lower, upper = self.kernel.bounds()
        return (
            np.append(lower, [LOG_VARIANCE_BOUNDS[0], -MEAN_BOUND]),
            np.append(upper, [LOG_VARIANCE_BOUNDS[1], MEAN_BOUND]),
        )

    def search_starts(self) -> FloatArray:
        """Hyperparameter vectors that cover the prior, `b x h`: where a fit starts that knows nothing yet."""
        starts = np.tile(self.prior_mode(), (len(_RESTARTS), 1))
        starts[:, : self.kernel.n_lengthscales] += np.log(_RESTARTS)[:, None]
        return starts

    def subset(self, rows: NDArray[np.intp]) -> "Classification":
        """The same with some of its rows only."""
        return Classification(self.X[rows], self.y[rows], self.kernel)

    def log_evidence(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Laplace's log evidence of the labels, and its gradient.

        Args:
            theta: Hyperparameter vectors, `b x h`.

        Returns:
            Log evidences, `b`, and gradients, `b x h`.
        """
        n, rows, columns = len(self.y), *self._pairs
        K = np.empty((len(theta), n, n))
        contractions = []
        for one, matrix in zip(theta, K, strict=True):
            k, contract = self.kernel.of_pairs(one[:-2], self._distances)
            matrix[rows, columns] = matrix[columns, rows] = math.exp(one[-2]) * k
            matrix.flat[:: n + 1] = math.exp(one[-2])
            contractions.append(contract)
        K_tensor = torch.from_numpy(K).requires_grad_()
        variance = np.exp(theta[:, -2])
        spread = np.sqrt(1.0 + variance)
        m = torch.from_numpy(np.repeat((theta[:, -1] * spread)[:, None], n, 1)).requires_grad_()
        evidence = _PROBIT.log_evidence(K_tensor, m, torch.from_numpy(self.y))
        along_K, along_m = (part.numpy() for part in torch.autograd.grad(evidence.sum(), (K_tensor, m)))
        gradient = np.empty_like(theta)
        for at, contract in enumerate(contractions):
            # each pair stands for two entries of K
            gradient[at, :-2] = contract(2.0 * math.exp(theta[at, -2]) * along_K[at][rows, columns])
        gradient[:, -2] = np.einsum("bij,bij->b", along_K, K) + along_m.sum(1) * theta[:, -1] * 0.5 * variance / spread
        gradient[:, -1] = along_m.sum(1) * spread
        return evidence.detach().numpy(), gradient

    def fit(self, starts: FloatArray, max_evaluations: int) -> FloatArray:
        """Hyperparameters where evidence times prior is largest.

        Args:
            starts: Vectors to start from, `b x h`.
            max_evaluations: Evaluations of the whole stack of starts, at most.

        Returns:
            The best vector found, `h`.

        Raises:
            NotPositiveDefiniteError: If the evidence cannot be computed.
        """
        lower, upper = self.bounds()

        def loss(theta: FloatArray) -> tuple[FloatArray, FloatArray]:
            evidence, evidence_gradient = self.log_evidence(theta)
            prior, prior_gradient = self.log_prior(theta)
            return -(evidence + prior), -(evidence_gradient + prior_gradient)

        try:
            found, values = minimize(
                loss,
                starts,
                lower,
                upper,
                max_evaluations=max_evaluations,
                gradient_tolerance=1e-2,
                decrease_tolerance=1e-3,  # in nats: of labels, a thousandth says nothing
            )
        except InferenceError as error:
            raise NotPositiveDefiniteError(f"The labels' model cannot be fitted: {error}") from error
        best: FloatArray = found[int(np.argmin(values))]
        return best

    def condition(self, theta: FloatArray) -> Predictor:
        """EP's posterior of the latent function given hyperparameters.

        Args:
            theta: Hyperparameters, `h`.

        Returns:
            It, on the scale of f: a label is 1 with probability `Phi(mean / sqrt(1 + variance))`.

        Raises:
            NotPositiveDefiniteError: If a matrix cannot be factored.
        """
        shape, variance = theta[:-2], math.exp(theta[-2])
        m = float(theta[-1]) * math.sqrt(1.0 + variance)
        lengthscales = self.kernel.lengthscales(shape)
        scaled = self.X / lengthscales
        k = self.kernel.values(shape, scaled, scaled)
        n = len(k)
        k.flat[:: n + 1] = 1.0
        try:
            sites = _PROBIT.expectation_propagation(
                torch.from_numpy(variance * k), torch.full((n,), m, dtype=torch.float64), torch.from_numpy(self.y)
            )
        except InferenceError as error:
            raise NotPositiveDefiniteError(f"The labels' model cannot be conditioned: {error}") from error
        precision = np.maximum(sites.weight.numpy() * variance, _LEAST_PRECISION)
        targets = (sites.location.numpy() * variance / precision - m) / math.sqrt(variance)
        diagonal = 1.0 / precision
        k.flat[:: n + 1] += diagonal
        inverse_factor = inverse_of_factor(cholesky(k, "K_XX of the labels' sites"))
        return Predictor(
            kernel=self.kernel,
            theta=shape,
            scaled_X=scaled,
            lengthscales=lengthscales,
            inverse_factor=inverse_factor,
            diagonal=diagonal,
            targets=targets[:, None],
            white=(inverse_factor @ targets)[:, None],
            mean=0.0,
            offset=m,
            scale=math.sqrt(variance),
        )


class Classifier:
    """What the loop asks of a model of survival, as an `ExactGP` of a label has it."""

    noise_variance = 1.0
    """What the probit adds to the variance of f before a label is read off its sign."""

    def __init__(self, X: FloatArray, y: FloatArray, groups: list[int]) -> None:
        """Put the hyperparameters at their prior's modes."""
        self.regression = Classification(X, y, Ard(np.array(groups, dtype=np.intp)))
        self.hyperparameters = self.regression.prior_mode()

    def fit(self, *, starts: FloatArray, max_evaluations: int) -> None:
        """Move the hyperparameters to the maximum of evidence times prior."""
        self.hyperparameters = self.regression.fit(starts, max_evaluations)

    @functools.cached_property
    def predictor(self) -> Predictor:
        """EP's posterior; asked for once the fit is over."""
        return self.regression.condition(self.hyperparameters)


def survival(history: History, features: FeatureMap, Z: FloatArray, fits: _Fits) -> Classifier | None:
    """In the place of `bayesopt.surrogate._survival`.

    Args:
        history: What was told and what failed.
        features: The features of its space.
        Z: Features of the told trials, `n x F`.
        fits: Remembers the fit.

    Returns:
        The fitted model, or None while nothing failed.
    """
    if len(history.failed) == 0:
        return None
    y = np.concatenate([np.ones(len(Z)), np.zeros(len(history.failed))])
    model = Classifier(np.concatenate([Z, features(history.failed)]), y, fits._groups)
    fits._remember("survival", fit(model, Remembered.from_json(fits._before.get("survival"))))
    return model
