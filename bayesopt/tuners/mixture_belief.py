"""What runs on some mixtures say of others: a model of each loss, and of any weighted mean of them.

Alphabet. n: runs. m: groups. P: proportions, `n x m`. D: losses of one run. Y: losses, `n x D`. w: weights of the
target, `D`. s_i: posterior standard deviation of loss i. R: correlations of the losses, `D x D`.

Each loss has a Gaussian process of its own (`gp.models.mixture`), all conditioned on the same runs. Given a shared
kernel the losses would be correlated a posteriori as they are a priori, and R is what their whitened residuals show;
the target's variance is then `sum_ij w_i w_j R_ij s_i s_j`. A new w needs no new run. A target of one loss may have the
exponential mixing law as its mean; in a mean of many losses the laws' errors add up (measured: the search then takes
twice as long).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr

from bayesopt.laws.mixing import ExpMixingLaw
from gp.models.mixture import MixtureGP

if TYPE_CHECKING:
    from gp.regression import Prediction, Predictor

FloatArray = NDArray[np.float64]

_LEAST_RUNS_OF_LAW: Final = 8
"""Runs below which the law, m + 2 parameters, is no mean yet."""
_RIDGE: Final = 0.1
"""Ridge of the law, in squared units of the losses: with few runs more helps than `ExpMixingLaw` needs
for a table. Searches of the RegMix table for one loss took at most 15 runs with 0.1, up to 37 with 0.01 and less."""
_FOLDS: Final = 5
"""Parts of the runs that are left out in turn to see what the law misses."""
_LEAST: Final = 1e-300


@dataclass(frozen=True)
class LossModel:
    """One loss: a Gaussian process, on what a law leaves where there is one."""

    process: MixtureGP
    law: ExpMixingLaw | None
    predictor: "Predictor"
    """The process in units of the loss, pending runs included."""
    stretch: float
    """Factor on the standard deviation of predictions: a law fitted to few runs misses less there than elsewhere. The
    search goes without it: with it three of ten searches of the RegMix table took 30 to 50 runs, not 11."""

    @classmethod
    def fitted(cls, P: FloatArray, y: FloatArray, scales: list[int], pending: FloatArray, *, law: bool) -> "LossModel":
        """A model of one loss.

        Args:
            P: Mixtures of the runs, `n x m`.
            y: Their losses, `n`.
            scales: Index of each run's scale, 0 for the one that is predicted.
            pending: Mixtures of runs that are still going, `k x m`; the result is as sure there as if it had been
                right.
            law: Whether the mixing law is the mean; it needs all runs of one scale.

        Returns:
            It.
        """
        mean = (
            ExpMixingLaw(ridge=_RIDGE).fit(P, y) if law and len(y) >= _LEAST_RUNS_OF_LAW and not any(scales) else None
        )
        rest = y if mean is None else y - mean.predict(P)
        process = MixtureGP(torch.as_tensor(P), torch.as_tensor(rest)[:, None], scales=scales).fit()
        predictor = process.predictor
        if len(pending):
            joint = predictor.joint(process.features(pending))
            noise = np.full(len(pending), process.noise_variance / process.unit**2)
            predictor = predictor.append(process.features(pending), joint[0], noise, joint)
        stretch = 1.0 if mean is None else max(1.0, _missed(P, y) / process.unit)
        return cls(process, mean, process.in_units(predictor), stretch)

    def predict(self, P: FloatArray) -> tuple[FloatArray, FloatArray, "Prediction"]:
        """Means and standard deviations before `stretch`, `k` each, and the process's own prediction."""
        prediction = self.predictor.predict(self.process.features(P))
        mean = prediction.mean[:, 0] + (0.0 if self.law is None else self.law.predict(P))
        return mean, np.sqrt(prediction.variance), prediction

    def slopes(self, P: FloatArray, prediction: "Prediction", by_mean: FloatArray, by_sd: FloatArray) -> FloatArray:
        """Slopes along the proportions, `k x m`, of something with known derivatives to means and deviations."""
        by_variance = by_sd / (2.0 * np.sqrt(prediction.variance))
        along_roots = prediction.pullback(by_mean[:, None], by_variance)[:, : P.shape[1]]
        slopes: FloatArray = along_roots / (2.0 * np.sqrt(np.maximum(P, 1e-12)))
        return slopes if self.law is None else slopes + by_mean[:, None] * self.law.gradient(P)


def _missed(P: FloatArray, y: FloatArray) -> float:
    """Root mean square of what the law misses on runs that it was not fitted to."""
    fold, missed = np.arange(len(y)) % _FOLDS, np.empty(len(y))
    for k in range(_FOLDS):
        out = fold == k
        missed[out] = y[out] - ExpMixingLaw(ridge=_RIDGE).fit(P[~out], y[~out]).predict(P[out])
    return float(np.sqrt(np.square(missed).mean()))


class MixtureBelief:
    """The posterior of every loss and of their target."""

    def __init__(
        self, P: FloatArray, Y: FloatArray, weights: FloatArray, scales: list[int], pending: FloatArray, *, law: bool
    ) -> None:
        """Condition on runs; each loss's model is fitted when it is first needed.

        Args:
            P: Mixtures, `n x m`.
            Y: Losses, `n x D`.
            weights: Of the losses in the target, `D`.
            scales: Index of each run's scale, 0 for the one that is predicted.
            pending: Mixtures of runs that are still going, `k x m`.
            law: Whether a target of one loss has the mixing law as its mean.
        """
        self._P, self._Y, self._weights, self._scales, self._pending = P, Y, weights, scales, pending
        self._in_target = np.flatnonzero(weights).tolist()
        self._law = law and len(self._in_target) == 1
        self._models: dict[int, LossModel] = {}

    def loss(self, index: int) -> LossModel:
        """The model of one loss."""
        if index not in self._models:
            law = self._law and index == self._in_target[0]
            self._models[index] = LossModel.fitted(self._P, self._Y[:, index], self._scales, self._pending, law=law)
        return self._models[index]

    @cached_property
    def _weighted_correlations(self) -> FloatArray:
        """`w_i w_j R_ij` of the losses in the target."""
        whites = np.stack([self.loss(i).process.predictor.white[:, 0] for i in self._in_target])
        sizes = np.linalg.norm(whites, axis=1)
        whites = whites / np.where(sizes > 0, sizes, 1.0)[:, None]
        R = whites @ whites.T
        np.fill_diagonal(R, 1.0)
        w = self._weights[self._in_target]
        weighted: FloatArray = w[:, None] * R * w
        return weighted

    def target(self, P: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Means and standard deviations of the target, `k` each."""
        parts = [self.loss_at(i, P) for i in self._in_target]
        means, sds = np.stack([p[0] for p in parts], 1), np.stack([p[1] for p in parts], 1)
        variance = ((sds @ self._weighted_correlations) * sds).sum(1)
        return means @ self._weights[self._in_target], np.sqrt(np.maximum(variance, _LEAST))

    def loss_at(self, index: int, P: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Means and standard deviations of one loss, `k` each."""
        model = self.loss(index)
        mean, sd, _ = model.predict(P)
        return mean, model.stretch * sd

    def log_expected_improvement(self, P: FloatArray, best: float) -> tuple[FloatArray, FloatArray]:
        """Log of how far below a value the target is expected to come, and its slopes.

        Args:
            P: Mixtures, `k x m`.
            best: The value.

        Returns:
            Logs, `k`, and slopes along the proportions, `k x m`.
        """
        models = [self.loss(i) for i in self._in_target]
        parts = [model.predict(P) for model in models]
        w = self._weights[self._in_target]
        sds = np.stack([p[1] for p in parts], 1)
        towards = sds @ self._weighted_correlations
        mean = np.stack([p[0] for p in parts], 1) @ w
        sd = np.sqrt(np.maximum((towards * sds).sum(1), _LEAST))
        z = (best - mean) / sd
        density = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
        improvement = np.maximum(sd * (density + z * ndtr(z)), _LEAST)
        # far below any hope the logarithm falls like -z²/2, which keeps the order of hopeless mixtures
        value = np.where(improvement > 1e-250, np.log(improvement), np.log(1e-250) - 0.5 * z * z)
        by_mean, by_sd = -ndtr(z) / improvement, density / improvement
        slopes = np.zeros_like(P)
        for index, (model, (_, _, prediction)) in enumerate(zip(models, parts, strict=True)):
            slopes += model.slopes(P, prediction, w[index] * by_mean, by_sd * towards[:, index] / sd)
        return value, slopes

    def negative_mean(self, P: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Minus the target's mean, `k`, and its slopes along the proportions, `k x m`."""
        value, slopes = np.zeros(len(P)), np.zeros_like(P)
        for i in self._in_target:
            mean, _, prediction = self.loss(i).predict(P)
            weight = np.full(len(P), -self._weights[i])
            value += weight * mean
            slopes += self.loss(i).slopes(P, prediction, weight, np.zeros(len(P)))
        return value, slopes
