"""Log expected improvement under constraints, crashes, beliefs and pending trials.

Alphabet. U: `m x d` points of the unit cube. c: fantasies, joint pretended outcomes of the pending trials. K: outcome
constraints. Everything is maximised, every term is a log, and terms add.
"""

import math
from typing import Any, Final

import numpy as np
import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from bayesopt.acquisition.primitives import log_h, log_h_slope, log_ndtr, log_ndtr_slope
from bayesopt.surrogate import Surrogate
from gp.models.exact import ExactGP, Predictor

FloatArray = NDArray[np.float64]

PRIOR_DECAY: Final = 10.0
"""A belief about the optimum's place weighs `PRIOR_DECAY / n` after n told trials, so data overrule a wrong one."""


class LogExpectedImprovement(AcquisitionFunction):
    """Log of the improvement expected of a trial, times the chance that it counts.

    `log EI + sum_k log P(margin_k <= 0) + log P(survives) + (PRIOR_DECAY / n) log prior`, averaged over fantasies of
    the pending trials: `log mean_c exp(log EI_c + sum_k log P_kc)`. The incumbent is the best posterior mean among the
    told trials with probability of feasibility at least one half, and in each fantasy among the pending ones too. While
    no told trial qualifies, expected improvement is left out. Where the objective is noisy, its improvement is weighed
    by `1 - sd_noise / sqrt(sd² + sd_noise²)`: a place known better than a trial can measure is not tried again.

    References: Jones, Schonlau and Welch 1998 (EI); Gardner et al. 2014 (constraints); Snoek, Larochelle and Adams
    2012 (fantasies); Huang et al. 2006 (augmented EI, the weight under noise); Hvarfner et al. 2022, "piBO" (decaying
    belief); Ament et al. 2023 (in logs).
    """

    def __init__(self, surrogate: Surrogate, pending: FloatArray, normals: FloatArray) -> None:
        """Draw the fantasies and find the incumbents.

        Args:
            surrogate: The fitted models; the objective's must exist.
            pending: Trials without an outcome, `p x d` points of the cube.
            normals: Standard normal numbers that draw their outcomes, `(1 + K) x p x c`; unused when `p` is 0.

        Raises:
            ValueError: If no trial was told, so that there is no objective model.
        """
        if surrogate.objective is None:
            raise ValueError("LogExpectedImprovement: the surrogate has no objective model; tell a trial first.")
        super().__init__(model=surrogate.objective)
        self._surrogate = surrogate
        objective = _without_hope_at_failures(surrogate, surrogate.objective)
        pending_Z = surrogate.tensor(surrogate.features(pending))
        self._predictors: list[Predictor | None] = []
        for model, numbers in zip([objective, *surrogate.constraints], normals, strict=True):
            if model is None or len(pending) == 0:
                self._predictors.append(None if model is None else model.predictor)
            else:
                self._predictors.append(model.fantasies(pending_Z, surrogate.tensor(numbers))[0])
        self.incumbents = self._find_incumbents(pending_Z)
        self._noise = 0.0 if surrogate.is_clean else surrogate.objective.noise_variance
        history = surrogate.history
        self._priors = history.priors
        self._prior_weight = PRIOR_DECAY / max(1, len(history.X))

    def _find_incumbents(self, pending_Z: Tensor) -> Tensor | None:
        """What an improvement is measured from, one a fantasy, `c`; None while nothing told is probably feasible."""
        surrogate = self._surrogate
        objective = self._predictors[0]
        assert objective is not None  # held by __init__
        told = surrogate.tensor(surrogate.told_probability_feasible) >= 0.5
        if not told.any():
            return None
        best = objective.predict(surrogate.told_features[told]).mean.amax(0)
        if len(pending_Z):
            mean = objective.predict(pending_Z).mean
            log_feasible = torch.zeros_like(mean)
            for predictor in self._predictors[1:]:
                if predictor is not None:
                    margin = predictor.predict(pending_Z)
                    log_feasible = log_feasible + log_ndtr(-margin.mean / margin.variance.sqrt()[:, None])
            mean = torch.where(log_feasible >= math.log(0.5), mean, -math.inf)
            best = torch.maximum(best, mean.amax(0))
        return best

    def value_and_gradient(self, U: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The acquisition value and its gradient; no graph is built.

        Args:
            U: `m x d` points of the unit cube.

        Returns:
            Values, `m`, and gradients with respect to U, `m x d` (0 in columns of unordered options).
        """
        surrogate = self._surrogate
        array = surrogate.features(U)
        Z = surrogate.tensor(array)
        objective, *constraints = self._predictors
        pieces = []  # prediction, d log value / d mean (m x c), d log value / d variance (m x c)
        total = Z.new_zeros((len(U), 1))
        if objective is not None and self.incumbents is not None:
            prediction = objective.predict(Z)
            sd = prediction.variance.sqrt()[:, None]
            u = (prediction.mean - self.incumbents) / sd
            slope = log_h_slope(u)
            news, news_slope = self._news(prediction.variance[:, None])
            total = total + sd.log() + log_h(u) + news
            pieces.append((prediction, slope / sd, 0.5 * (1.0 - slope * u) / sd.square() + news_slope))
        for predictor in constraints:
            if predictor is not None:
                prediction = predictor.predict(Z)
                sd = prediction.variance.sqrt()[:, None]
                u = -prediction.mean / sd
                slope = log_ndtr_slope(u)
                total = total + log_ndtr(u)
                pieces.append((prediction, -slope / sd, -0.5 * slope * u / sd.square()))
        value = torch.logsumexp(total, 1) - math.log(total.shape[1])
        share = torch.exp(total - torch.logsumexp(total, 1, keepdim=True))
        gradient = torch.zeros_like(Z)
        for prediction, along_mean, along_variance in pieces:
            gradient += prediction.pullback(share * along_mean, (share * along_variance).sum(1))
        if surrogate.survival is not None:
            prediction = surrogate.survival.predictor.predict(Z)
            sd = (prediction.variance + surrogate.survival.noise_variance).sqrt()  # a label is drawn with its noise
            u = prediction.mean[:, 0] / sd
            slope = log_ndtr_slope(u)
            value = value + log_ndtr(u)
            gradient += prediction.pullback((slope / sd)[:, None], -0.5 * slope * u / sd.square())
        values = value.cpu().numpy()
        gradients = surrogate.features.pullback(U, gradient.cpu().numpy())
        for prior in self._priors:
            log_density, prior_gradient = prior.value_and_gradient(U)
            values = values + self._prior_weight * log_density
            gradients = gradients + self._prior_weight * prior_gradient
        return values, gradients

    def _news(self, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Log of `1 - sd_noise / sqrt(variance + sd_noise²)`, what noise leaves of an observation, and its slope.

        Args:
            variance: Of the latent objective, any shape.

        Returns:
            The logs, and their derivatives with respect to the variance; zeros where the objective is clean.
        """
        if self._noise == 0.0:
            return torch.zeros_like(variance), torch.zeros_like(variance)
        total = variance + self._noise
        noise_share = (self._noise / total).sqrt()
        value = variance.log() - total.log() - torch.log1p(noise_share)  # no difference of nearly equal numbers
        return value, 1.0 / variance - (1.0 - 0.5 * noise_share / (1.0 + noise_share)) / total

    @override
    def forward(self, X: Tensor) -> Tensor:
        """The acquisition value of single points, differentiable once.

        Args:
            X: `b x 1 x d` points of the unit cube.

        Returns:
            Values, `b`.
        """
        result: Tensor = _Evaluate.apply(X.squeeze(-2), self)
        return result


def _without_hope_at_failures(surrogate: Surrogate, objective: ExactGP) -> ExactGP:
    """The objective's model after failed trials are taken to have brought what was expected, but no improvement.

    They brought none, and their place is not worth a second look; whether a trial nearby survives is another term's
    business. On two six-dimensional problems with a forbidden half-space this halves the trials lost to it.

    Args:
        surrogate: The fitted models.
        objective: The objective's.

    Returns:
        The model conditioned on the mean at each failed trial, or on the incumbent where that is lower.
    """
    failed_Z = surrogate.tensor(surrogate.features(surrogate.history.failed))
    if len(failed_Z) == 0:
        return objective
    expected = objective.predictor.predict(failed_Z).mean
    feasible = surrogate.told_probability_feasible >= 0.5
    if feasible.any():
        expected = expected.clamp_max(float(surrogate.told_mean_sd[0][feasible].max()))
    return objective.condition_on_observations(failed_Z, expected)


class _Evaluate(torch.autograd.Function):
    @staticmethod
    @override
    def forward(ctx: Any, U: Tensor, acquisition: LogExpectedImprovement) -> Tensor:
        values, gradients = acquisition.value_and_gradient(U.detach().cpu().numpy())
        ctx.save_for_backward(torch.as_tensor(gradients).to(U))
        return torch.as_tensor(values).to(U)

    @staticmethod
    @override
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (gradients,) = ctx.saved_tensors
        return grad_outputs[0][:, None] * gradients, None
