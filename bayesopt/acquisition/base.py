"""What an acquisition function of the loop is, and the terms that all of them share.

Alphabet. U: `m x d` points of the unit cube. c: fantasies, joint pretended outcomes of the pending trials. K: outcome
constraints. a: anchors, points whose posterior covariance with U matters. Everything is maximised, every term is a
log, and terms add.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from bayesopt.acquisition.local_search import Acquisition
from bayesopt.acquisition.loop_terms import log_ndtr_and_slope
from bayesopt.problem.priors import PriorOnCube
from bayesopt.surrogate import Surrogate
from gp.models.exact import ExactGP
from gp.regression import Anchors, Prediction, Predictor

FloatArray = NDArray[np.float64]

PRIOR_DECAY: Final = 10.0
"""A belief about the optimum's place weighs `PRIOR_DECAY / n` after n told trials, so data overrule a wrong one."""


@dataclass(frozen=True)
class Gain:
    """What a trial is worth by the objective alone, in logs, and how that varies."""

    value: FloatArray
    """Log gains, `m x c`."""
    along_mean: FloatArray
    """Derivatives with respect to the objective's posterior means, `m x c`."""
    along_variance: FloatArray
    """With respect to its latent posterior variances, `m x c`."""
    anchors: Anchors | None = None
    """Other points that the gain depends on, if any."""
    along_covariance: FloatArray | None = None
    """With respect to the covariances with them, `m x c x a`."""


class Utility(AcquisitionFunction):
    """What an acquisition function of the loop starts from: a model of each outcome that knows the pending trials."""

    def __init__(self, surrogate: Surrogate, pending: FloatArray, normals: FloatArray) -> None:
        """Draw the fantasies.

        Args:
            surrogate: The fitted models; the objective's must exist.
            pending: Trials without an outcome, `p x d` points of the cube.
            normals: Standard normal numbers that draw their outcomes, `(1 + K) x p x c`; unused when `p` is 0.

        Raises:
            ValueError: If no trial was told, so that there is no objective model.
        """
        if surrogate.objective is None:
            raise ValueError(f"{type(self).__name__}: the surrogate has no objective model; tell a trial first.")
        super().__init__(model=surrogate.objective)
        self._surrogate = surrogate
        objective = without_hope_at_failures(surrogate, surrogate.objective)
        self._pending_Z = surrogate.features(pending)
        self._predictors: list[Predictor | None] = []
        for model, numbers in zip([objective, *surrogate.constraints], normals, strict=True):
            if model is None or len(pending) == 0:
                self._predictors.append(None if model is None else model.predictor)
            else:
                self._predictors.append(model.fantasies(self._pending_Z, numbers)[0])

    @property
    def _objective(self) -> Predictor:
        objective = self._predictors[0]
        assert objective is not None  # held by __init__
        return objective

    def _eligible(self) -> tuple[NDArray[np.intp], FloatArray, FloatArray] | None:
        """The points that may be returned in the end, and what they are worth in each fantasy.

        Returns:
            Rows of the objective's conditioning points that are told trials with probability of feasibility at least
            one half, or pending trials, `a`; its posterior means there, `a x c`, -infinity where a pending trial is
            probably infeasible in that fantasy; and variances, `a`. None while no told trial qualifies.
        """
        surrogate = self._surrogate
        told = surrogate.told_probability_feasible >= 0.5
        if not told.any():
            return None
        # The objective is conditioned on the told trials, then on the failed ones, then on the pending ones.
        n_pending = len(self._pending_Z)
        n_failed = len(self._objective.targets) - len(told) - n_pending
        counts = np.concatenate([told, np.zeros(n_failed, dtype=bool), np.ones(n_pending, dtype=bool)])
        mean, variance = (fitted[counts] for fitted in self._objective.fitted())
        log_feasible = np.zeros((len(self._pending_Z), 1))
        if len(self._pending_Z):
            for predictor in self._predictors[1:]:
                if predictor is not None:
                    margin = predictor.predict(self._pending_Z)
                    u = -margin.mean / np.sqrt(margin.variance)[:, None]
                    log_feasible = log_feasible + log_ndtr_and_slope(u)[0]
            n_told = int(told.sum())
            mean[n_told:] = np.where(log_feasible >= math.log(0.5), mean[n_told:], -np.inf)
        return np.flatnonzero(counts), mean, variance

    def values(self, U: FloatArray) -> FloatArray:
        """The acquisition value alone, `m`, of `m x d` points of the unit cube."""
        return self._evaluate(U, with_gradient=False)[0]

    def value_and_gradient(self, U: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The acquisition value and its gradient; no graph is built.

        Args:
            U: `m x d` points of the unit cube.

        Returns:
            Values, `m`, and gradients with respect to U, `m x d` (0 in columns of unordered options).
        """
        return self._evaluate(U, with_gradient=True)

    @abstractmethod
    def _evaluate(self, U: FloatArray, *, with_gradient: bool) -> tuple[FloatArray, FloatArray]:
        """Values, `m`, and gradients, `m x d`, at `m x d` points; an empty array for those not asked for."""

    @override
    def forward(self, X: Tensor) -> Tensor:
        """The acquisition value of single points, differentiable once.

        Args:
            X: `b x 1 x d` points of the unit cube.

        Returns:
            Values, `b`.
        """
        return evaluate(X, self)


class LogUtility(Utility):
    """Log of the gain expected of a trial, times the chance that it counts.

    `log gain + sum_k log P(margin_k <= 0) + log P(survives) + (PRIOR_DECAY / n) log prior`, averaged over fantasies of
    the pending trials: `log mean_c exp(log gain_c + sum_k log P_kc)`. While no told trial is probably feasible, the
    gain is left out. A subclass says what the gain is.

    References: Gardner et al. 2014 (constraints); Snoek, Larochelle and Adams 2012 (fantasies); Hvarfner et al. 2022,
    "piBO" (decaying belief); Ament et al. 2023 (in logs).
    """

    @abstractmethod
    def _gain(self, prediction: Prediction) -> Gain | None:
        """The objective's term at the predicted points; None while nothing told can be improved on."""

    @override
    def _evaluate(self, U: FloatArray, *, with_gradient: bool) -> tuple[FloatArray, FloatArray]:
        surrogate = self._surrogate
        Z = surrogate.features(U)
        prediction = self._objective.predict(Z)
        gain = self._gain(prediction)
        total = np.zeros((len(U), 1)) if gain is None else gain.value
        margins = []  # prediction, d log P / d mean (m x c), d log P / d variance (m x c)
        for predictor in self._predictors[1:]:
            if predictor is not None:
                margin = predictor.predict(Z)
                log_holds, along_mean, along_variance = _log_positive(margin, sign=-1.0)
                total = total + log_holds
                margins.append((margin, along_mean, along_variance))
        value = total[:, 0]
        share = np.ones_like(total)
        if total.shape[1] > 1:
            largest = total.max(1)
            safe = np.where(np.isfinite(largest), largest, 0.0)
            weights = np.exp(total - safe[:, None])
            with np.errstate(divide="ignore"):
                value = safe + np.log(weights.mean(1))
            share = weights / np.maximum(weights.sum(1, keepdims=True), np.finfo(np.float64).tiny)
        gradient = np.zeros_like(Z)
        if with_gradient:
            if gain is not None:
                along = None if gain.along_covariance is None else (share[:, :, None] * gain.along_covariance).sum(1)
                along_variance = (share * gain.along_variance).sum(1)
                gradient += prediction.pullback(share * gain.along_mean, along_variance, gain.anchors, along)
            for margin, along_mean, along_variance in margins:
                gradient += margin.pullback(share * along_mean, (share * along_variance).sum(1))
        if surrogate.survival is not None:
            label = surrogate.survival.predictor.predict(Z)
            noise = surrogate.survival.noise_variance  # a label is drawn with its noise
            log_survives, along_mean, along_variance = _log_positive(label, sign=1.0, noise=noise)
            value = value + log_survives[:, 0]
            if with_gradient:
                gradient += label.pullback(along_mean, along_variance[:, 0])
        return add_beliefs(surrogate, U, value, surrogate.features.pullback(U, gradient) if with_gradient else None)


def evaluate(X: Tensor, acquisition: Acquisition) -> Tensor:
    """An acquisition function of the loop as BoTorch calls one, differentiable once.

    Args:
        X: `b x 1 x d` points of the unit cube.
        acquisition: The function.

    Returns:
        Values, `b`.
    """
    result: Tensor = _Evaluate.apply(X.squeeze(-2), acquisition)
    return result


def add_beliefs(
    surrogate: Surrogate, U: FloatArray, value: FloatArray, gradient: FloatArray | None
) -> tuple[FloatArray, FloatArray]:
    """Add the term of the user's beliefs: the surrogate's, or `(PRIOR_DECAY / n) log prior` with n told trials.

    Args:
        surrogate: Knows the beliefs and the trials.
        U: Points of the unit cube, `m x d`.
        value: What the term is added to, `m`.
        gradient: Its gradient with respect to U, `m x d`; None if none is asked for.

    Returns:
        The sum, `m`, and its gradient, `m x d`, or an empty array.
    """
    if surrogate.belief is not None:
        if gradient is None:
            return surrogate.belief.added_to(value, U), np.zeros((0, 0))
        factor, along = surrogate.belief.value_and_gradient(U)
        return value + factor, gradient + along
    weight = PRIOR_DECAY / max(1, len(surrogate.history.X))
    for prior in surrogate.history.priors:
        if not isinstance(prior, PriorOnCube):
            continue  # of the other beliefs a place says nothing
        log_density, along = prior.value_and_gradient(U)
        value = value + weight * log_density
        if gradient is not None:
            gradient = gradient + weight * along
    return value, np.zeros((0, 0)) if gradient is None else gradient


def _log_positive(
    prediction: Prediction, *, sign: float, noise: float = 0.0
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Log probability that `sign` times the predicted quantity is positive, and its slopes.

    Args:
        prediction: Of an outcome.
        sign: 1 or -1.
        noise: Variance added to the latent one.

    Returns:
        Log probabilities, and their derivatives with respect to mean and latent variance, `m x c` each.
    """
    sd = np.sqrt(prediction.variance + noise)[:, None]
    u = sign * prediction.mean / sd
    value, slope = log_ndtr_and_slope(u)
    return value, sign * slope / sd, -0.5 * slope * u / np.square(sd)


def without_hope_at_failures(surrogate: Surrogate, objective: ExactGP) -> ExactGP:
    """The objective's model after failed trials are taken to have brought what was expected, but no improvement.

    They brought none, and their place is not worth a second look; whether a trial nearby survives is another term's
    business. On two six-dimensional problems with a forbidden half-space this halves the trials lost to it.

    Args:
        surrogate: The fitted models.
        objective: The objective's.

    Returns:
        The model conditioned on the mean at each failed trial, or on the incumbent where that is lower.
    """
    failed_Z = surrogate.features(surrogate.history.failed)
    if len(failed_Z) == 0:
        return objective
    expected = objective.predictor.predict(failed_Z).mean
    feasible = surrogate.told_probability_feasible >= 0.5
    if feasible.any():
        expected = np.minimum(expected, surrogate.told_mean_sd[0][feasible].max())
    return objective.condition_on_observations(torch.as_tensor(failed_Z), torch.as_tensor(expected))


class _Evaluate(torch.autograd.Function):
    @staticmethod
    @override
    def forward(ctx: Any, U: Tensor, acquisition: Acquisition) -> Tensor:
        values, gradients = acquisition.value_and_gradient(U.detach().cpu().numpy())
        ctx.save_for_backward(torch.as_tensor(gradients).to(U))
        return torch.as_tensor(values).to(U)

    @staticmethod
    @override
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (gradients,) = ctx.saved_tensors
        return grad_outputs[0][:, None] * gradients, None
