"""A Gaussian process of data mixtures: a loss as a function of proportions, measured at one scale or at several.

Alphabet. P: proportions, `n x m`, rows that sum to 1. z = sqrt(p): points of the unit sphere, between which the
Euclidean distance is Hellinger's, up to a factor. s: scale of a run, 0 the one that is predicted. Y: losses, `n x 1`;
y: Y less its scale's offset, over its scale's unit.
"""

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from botorch.acquisition.objective import PosteriorTransform
from botorch.posteriors.gpytorch import GPyTorchPosterior
from botorch.posteriors.posterior import Posterior
from gpytorch.distributions.multivariate_normal import MultivariateNormal
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from gp.array_kernels import Ard, FloatArray, Kernel
from gp.data import check_data
from gp.errors import InvalidDataError
from gp.matern import matern52, squared_distances
from gp.models.base import SingleOutputModel, check_output_indices, check_test_inputs
from gp.regression import LEAST_VARIANCE, Prediction, Predictor, Regression
from gp.scale_kernel import AcrossScales

SUM_TOLERANCE: Final = 1e-6
"""Rows may miss the sum of 1 by this."""
_ARD_FROM: Final = 5
"""Runs a group from which on each group has its own lengthscale; fewer say too little of any one."""
_MEDIAN: Final = 1.5
"""Median of the lengthscale prior. The sphere's part is sqrt(2) wide: a loss changes smoothly all over it. Searches of
the RegMix table for a mean of 13 losses needed a median of 20, 19.5, 18 and 18 runs with 0.7, 1, 1.5 and 2."""
_LEAST_SHARE: Final = 1e-12
"""Shares below this count as this in a derivative, which is infinite at 0."""
_PRIOR_RUNS: Final = 0.1
"""How many runs of unit spread the belief is worth that losses differ as much at one scale as at another."""


class MixtureGP(SingleOutputModel):
    """Matérn-5/2 of the Hellinger distance, one lengthscale until there are five runs a group, then one a group.

    Runs of other scales (smaller models, shorter training) may be among the data. Each scale is standardised on its
    own, so that only the shape of its losses counts: the scale with most runs by its mean and standard deviation, the
    others by the straight line from that scale's prediction to their losses (as they were mostly made at chosen
    mixtures, their own mean would mislead). What they share is learned: `gp.scale_kernel`.

    Reference: 'Hellinger' kernels on the simplex: Lafferty and Lebanon 2005, "Diffusion Kernels on Statistical
    Manifolds". Scales as tasks: Bonilla, Chai and Williams 2007.

    Example:
        >>> P = torch.tensor([[1.0, 0.0], [0.7, 0.3], [0.5, 0.5], [0.2, 0.8], [0.0, 1.0]], dtype=torch.float64)
        >>> model = MixtureGP(P, 2.0 + torch.exp(-3.0 * P[:, :1])).fit()
        >>> mean = model.posterior(torch.tensor([[0.6, 0.4]]).double()).mean
        >>> bool((mean - (2.0 + torch.exp(torch.tensor(-1.8)))).abs() < 0.02)
        True
    """

    def __init__(
        self,
        train_X: Tensor,
        train_Y: Tensor,
        *,
        scales: Sequence[int] | None = None,
    ) -> None:
        """Standardise the data and put the hyperparameters at their prior's modes.

        Args:
            train_X: Proportions, `n x m`, float64.
            train_Y: Losses, `n x 1`.
            scales: For each run the index of its scale, 0 for the one that is predicted; None if all are of that one.

        Raises:
            InvalidDataError: If a shape or value cannot be used.
        """
        super().__init__()
        check_data(train_X, train_Y, None)
        if train_X.dtype != torch.float64:
            raise InvalidDataError(f"train_X: expected float64, got {train_X.dtype}. Convert it with `.double()`.")
        if (train_X < 0).any() or ((train_X.sum(1) - 1).abs() > SUM_TOLERANCE).any():
            raise InvalidDataError("train_X: expected rows of proportions, none negative, that sum to 1.")
        of_run = np.zeros(len(train_X), dtype=np.intp) if scales is None else np.array(scales, dtype=np.intp)
        if of_run.shape != (len(train_X),) or (of_run < 0).any():
            raise InvalidDataError(f"scales: expected an index of at least 0 for each of {len(train_X)} runs.")
        self._present = np.union1d([0], of_run)
        self.train_X, self.train_Y = train_X, train_Y
        P, Y = train_X.detach().cpu().numpy(), train_Y.detach().cpu().numpy()[:, 0]
        self._offsets, self._units = _standards(P, Y, of_run)
        at = np.searchsorted(self._present, of_run)
        n, m = P.shape
        own = np.arange(m) if n > _ARD_FROM * m else np.zeros(m, dtype=np.intp)
        y = (Y - self._offsets[at]) / self._units[at]
        self._regression = _regression(self._features(P, at), y, own, len(self._present))
        self._predictor: Predictor | None = None
        self.hyperparameters = self._regression.prior_mode()

    @property
    def hyperparameters(self) -> FloatArray:
        """Log lengthscales of the groups (one, or one each), then of the scales, then the log noise variance."""
        return self._theta

    @hyperparameters.setter
    def hyperparameters(self, theta: FloatArray) -> None:
        self._theta = np.array(theta, dtype=np.float64)
        self._predictor = None

    def fit(self, *, starts: FloatArray | None = None, max_evaluations: int = 30) -> "MixtureGP":
        """Move the hyperparameters to the maximum of evidence times prior.

        Args:
            starts: Hyperparameter vectors to start from, `b x h`; None for four that cover the prior.
            max_evaluations: Evaluations of the whole stack of starts, at most.

        Returns:
            This model.
        """
        starts = self._regression.search_starts() if starts is None else starts
        self.hyperparameters = self._regression.fit(starts, max_evaluations)
        return self

    @property
    def predictor(self) -> Predictor:
        """The posterior at the present hyperparameters on arrays; it takes `features`, in units of y."""
        if self._predictor is None:
            self._predictor = self._regression.condition(self._theta)
        return self._predictor

    def features(self, P: FloatArray) -> FloatArray:
        """What `predictor` takes, of mixtures at the predicted scale, `k x m`: `k x d`, sqrt(p) first."""
        return self._features(P, np.zeros(len(P), dtype=np.intp))

    def predict(self, P: FloatArray) -> Prediction:
        """Means and variances of the loss at the predicted scale, mixture by mixture, without a graph.

        Args:
            P: Proportions, `k x m`.

        Returns:
            In units of Y; its `pullback` gives slopes along `features`.
        """
        return self.in_units(self.predictor).predict(self.features(P))

    def in_units(self, predictor: Predictor) -> Predictor:
        """One of this model's predictors, or what `append` made of one, in units of Y at the predicted scale."""
        return dataclasses.replace(predictor, offset=float(self._offsets[0]), scale=float(self._units[0]))

    @property
    def unit(self) -> float:
        """What a unit of y stands for at the predicted scale, in units of Y."""
        return float(self._units[0])

    @property
    def offset(self) -> float:
        """What y = 0 stands for at the predicted scale, in units of Y."""
        return float(self._offsets[0])

    @property
    def noise_variance(self) -> float:
        """Noise variance of a run at the predicted scale, in units of Y squared."""
        return float(np.median(self._regression.diagonal(self._theta))) * self.unit**2

    @override
    def posterior(
        self,
        X: Tensor,
        output_indices: list[int] | None = None,
        observation_noise: bool | Tensor = False,
        posterior_transform: PosteriorTransform | None = None,
    ) -> Posterior:
        """Joint posterior of the loss at q mixtures, at the predicted scale, differentiable with respect to them.

        Args:
            X: Proportions, `... x q x m`.
            output_indices: None or `[0]`.
            observation_noise: True for the posterior of runs; a tensor gives their noise variances in units of Y
                squared, broadcast to `... x q`.
            posterior_transform: Applied to the result.

        Returns:
            A `GPyTorchPosterior` in units of Y, mean `... x q x 1`.

        Raises:
            InvalidDataError: If X has another number of groups, or another output is asked for.
        """
        m = self.train_X.shape[1]
        check_test_inputs(X, m)
        check_output_indices(output_indices)
        p = self.predictor
        trained, lengthscales, inverse_factor, white = (
            torch.as_tensor(array).to(X) for array in (p.scaled_X, p.lengthscales, p.inverse_factor, p.white[:, 0])
        )
        scaled = X.clamp_min(_LEAST_SHARE).sqrt() / lengthscales[:m]
        k = matern52(squared_distances(scaled, trained[:, :m]))
        if len(self._present) > 1:
            here = torch.as_tensor(self.features(np.full((1, m), 1.0 / m))[0, m:]).to(X) / lengthscales[m:]
            k = k * (-(trained[:, m:] - here).square().sum(1)).exp()
        half = k @ inverse_factor.mT
        eye = torch.eye(X.shape[-2]).to(X)
        covariance = matern52(squared_distances(scaled, scaled)) - half @ half.mT + LEAST_VARIANCE * eye
        covariance = self.unit**2 * covariance
        if isinstance(observation_noise, Tensor):
            covariance = covariance + torch.diag_embed(observation_noise.expand(covariance.shape[:-1]))
        elif observation_noise:
            covariance = covariance + self.noise_variance * eye
        mean = self.offset + self.unit * (p.mean + half @ white)
        posterior = GPyTorchPosterior(MultivariateNormal(mean, covariance))
        return posterior if posterior_transform is None else posterior_transform(posterior)

    def _features(self, P: FloatArray, at: NDArray[np.intp]) -> FloatArray:
        """Square roots of proportions, then with several scales the indicators of each run's."""
        z = np.sqrt(P)
        return z if len(self._present) == 1 else np.hstack([z, np.eye(len(self._present))[at]])


def _standards(P: FloatArray, Y: FloatArray, of_run: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
    """Offset and unit of each scale that is present, 0 always among them, in its order.

    Returns:
        Both of the reference, which has most runs, where a scale has none.
    """
    present = np.union1d([0], of_run)
    counts = np.array([(of_run == s).sum() for s in present])
    reference = int(np.argmax(counts))
    rows = of_run == present[reference]
    offset = float(Y[rows].mean())
    spread = float(np.sqrt(np.square(Y[rows] - offset).mean()))
    unit = spread if spread > 1e-12 else 1.0
    offsets, units = np.full(len(present), offset), np.full(len(present), unit)
    if len(present) == 1:
        return offsets, units
    n, m = rows.sum(), P.shape[1]
    own = np.arange(m) if n > _ARD_FROM * m else np.zeros(m, dtype=np.intp)
    alone = _regression(np.sqrt(P[rows]), (Y[rows] - offset) / unit, own, 1)
    predictor = alone.condition(alone.fit(alone.prior_mode()[None], 30))
    for index, s in enumerate(present):
        if index == reference or counts[index] == 0:
            continue
        at = of_run == s
        told, expected = Y[at], predictor.predict(np.sqrt(P[at])).mean[:, 0]
        centred = expected - expected.mean()
        slope = (centred @ (told - told.mean()) + _PRIOR_RUNS * unit) / (centred @ centred + _PRIOR_RUNS)
        units[index] = max(slope, 0.1 * unit)  # a scale that ranks mixtures the other way round still has a spread
        offsets[index] = told.mean() - units[index] * expected.mean()
    return offsets, units


def _regression(X: FloatArray, y: FloatArray, own: NDArray[np.intp], n_scales: int) -> Regression:
    kernel: Kernel
    if n_scales == 1:
        kernel = Ard(own, _MEDIAN)
    else:
        kernel = AcrossScales(np.concatenate([own, own.max() + 1 + np.arange(n_scales)]), n_scales, _MEDIAN)
    return Regression(X=X, y=y, known_variance=np.zeros(len(y)), unknown=np.ones(len(y)), kernel=kernel, center=True)
