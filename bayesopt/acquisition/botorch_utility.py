"""The best next trial by a BoTorch acquisition function, in any space and with all that is known about it.

Alphabet. U: `m x d` points of the unit cube. X: `m x 1 x d`, the same points as BoTorch takes them. A: the options of
an inner maximum, `a x d`. f: fantasies, pretended outcomes. p: pending trials. w: the chance that a trial counts.
"""

from collections.abc import Callable
from typing import Final, TypeGuard, cast

import numpy as np
import torch
from botorch.acquisition.acquisition import AcquisitionFunction, OneShotAcquisitionFunction
from botorch.acquisition.knowledge_gradient import qKnowledgeGradient
from botorch.exceptions.errors import CandidateGenerationError, ModelFittingError, UnsupportedError
from botorch.optim.optimize import optimize_acqf
from botorch.posteriors.gpytorch import GPyTorchPosterior
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from bayesopt.acquisition.base import add_beliefs
from bayesopt.acquisition.botorch_problem import BoTorchProblem, botorch_problem
from bayesopt.acquisition.loop_terms import log_ndtr_and_slope
from bayesopt.acquisition.maximize import N_INCUMBENTS, any_untried, is_untried, maximize
from bayesopt.errors import InvalidInputError
from bayesopt.surrogate import Surrogate

FloatArray = NDArray[np.float64]

_ROWS_AT_ONCE: Final = 64
"""Points evaluated together: a joint posterior with a hundred baseline points each then takes a few megabytes."""
_N_OPTIONS: Final = 64
"""Points among which the inner maximum of a knowledge gradient is sought, besides the point itself."""
_ONE_SHOT_RESTARTS: Final = 4
"""Local searches of an acquisition function that is optimised together with its inner solutions."""
_ONE_SHOT_SAMPLES: Final = 64
"""Points from which those are started."""
_ONE_SHOT_ITERATIONS: Final = 50
"""Iterations of each."""
_LARGEST_EXPONENT: Final = 500.0
"""Keeps a weight and its inverse finite."""

NUMERICAL_ERRORS: Final = (ArithmeticError, RuntimeError, ValueError, ModelFittingError, CandidateGenerationError)
"""What numbers may bring about and another point mends; anything else is a mistake in the program."""


def make_acquisition(
    make: Callable[[BoTorchProblem], AcquisitionFunction],
    surrogate: Surrogate,
    pending: FloatArray,
    rng: np.random.Generator,
) -> tuple[AcquisitionFunction, BoTorchProblem]:
    """An acquisition function that knows the pending trials, whether or not `make` hands them on.

    One that cannot be told of them, as the analytic ones, is made again from models that take what is expected of the
    pending trials for told.

    Args:
        make: Makes it.
        surrogate: The fitted models.
        pending: Trials without an outcome, `p x d`.
        rng: Draws what the problem draws.

    Returns:
        The acquisition function, and what it was made from.

    Raises:
        InvalidInputError: If `make` returns something else.
    """
    problem = botorch_problem(surrogate, pending, rng)
    acquisition = make(problem)
    if not isinstance(acquisition, AcquisitionFunction):
        raise InvalidInputError(
            f"make: expected it to return a botorch AcquisitionFunction, got a {type(acquisition).__name__}."
        )
    if problem.X_pending is not None and getattr(acquisition, "X_pending", None) is None:
        try:
            acquisition.set_X_pending(problem.X_pending)
        except UnsupportedError:
            problem = botorch_problem(surrogate, pending, rng, believe=True)
            acquisition = make(problem)
    return acquisition, problem


def best_point(
    acquisition: AcquisitionFunction,
    problem: BoTorchProblem,
    surrogate: Surrogate,
    tried: FloatArray,
    rng: np.random.Generator,
) -> FloatArray | None:
    """The allowed, untried configuration where an acquisition function is largest.

    A one-shot acquisition function has its inner solutions as further arguments. The knowledge gradient loses them to a
    finite set of options, over which its inner maximum is exact. Any other is maximised over the continuous cube with
    them, without the chance that a trial counts, and the nearest allowed configuration is taken.

    Args:
        acquisition: What is maximised; knows what is pending.
        problem: What it was made from.
        surrogate: The models behind that.
        tried: Points that must not be proposed again, `t x d`.
        rng: Draws the points that the search starts from.

    Returns:
        A snapped point, `d`; None when a finite space has no untried configuration left.
    """
    if isinstance(acquisition, OneShotAcquisitionFunction):
        if not _is_plain_knowledge_gradient(acquisition, problem):
            return _relaxed(acquisition, problem, surrogate, tried, rng)
        acquisition = DiscreteKnowledgeGradient(acquisition, problem.candidates)
    incumbents = surrogate.history.X[surrogate.promising_rows(N_INCUMBENTS)]
    likely = None if surrogate.belief is None else surrogate.belief.likely
    weighted = WeightedUtility(acquisition, surrogate)
    return maximize(weighted, surrogate.history.space, incumbents, tried, rng, likely=likely)


class WeightedUtility:
    """An acquisition function's values, weighed by what BoTorch has no argument for.

    The weight of a point is `w = P(survives) prior^(PRIOR_DECAY / n)`, as in `LogUtility`, or what the surrogate's
    `belief` says in the place of the prior. An acquisition function that
    is a log, as those of BoTorch say of themselves, becomes `value + log w`. Of another one a positive value becomes
    `w value`, what is to be expected where a broken trial is worth 0, and a negative value becomes `value / w`, so that
    a likely crash is always worse.
    """

    def __init__(self, acquisition: AcquisitionFunction, surrogate: Surrogate) -> None:
        """Combine the two.

        Args:
            acquisition: Takes `m x 1 x d` points and returns `m` values, differentiable.
            surrogate: Knows how trials survive, and the beliefs.
        """
        self._acquisition = acquisition
        self._surrogate = surrogate
        self._is_log = acquisition._log

    def values(self, U: FloatArray) -> FloatArray:
        """Values, `m`, of `m x d` points."""
        with torch.no_grad():
            values = [self._evaluate(block) for block in self._surrogate.tensor(U).split(_ROWS_AT_ONCE)]
        return self._weighed(torch.cat(values).cpu().numpy(), self._log_weight(U)[0])

    def value_and_gradient(self, U: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Values, `m`, and gradients, `m x d`, of `m x d` points."""
        values, gradients = [], []
        for block in self._surrogate.tensor(U).split(_ROWS_AT_ONCE):
            with torch.enable_grad():
                X = block.clone().requires_grad_()
                values.append(self._evaluate(X))
                gradients += torch.autograd.grad(values[-1].sum(), X)
        value, gradient = torch.cat(values).detach().cpu().numpy(), torch.cat(gradients).cpu().numpy()
        log_w, along_log_w = self._log_weight(U)
        if self._is_log:
            return value + log_w, gradient + along_log_w
        sign = np.where(value > 0, 1.0, -1.0)[:, None]
        scale = np.exp(np.clip(sign * log_w[:, None], -_LARGEST_EXPONENT, _LARGEST_EXPONENT))
        return self._weighed(value, log_w), scale * (gradient + sign * value[:, None] * along_log_w)

    def _weighed(self, value: FloatArray, log_w: FloatArray) -> FloatArray:
        if self._is_log:
            return value + log_w
        weight = np.exp(np.clip(np.where(value > 0, log_w, -log_w), -_LARGEST_EXPONENT, _LARGEST_EXPONENT))
        weighed: FloatArray = value * weight
        return weighed

    def _evaluate(self, points: Tensor) -> Tensor:
        value = self._acquisition(points[:, None, :])
        if value.shape != points.shape[:1]:
            raise InvalidInputError(
                f"{type(self._acquisition).__name__}: expected one value a point, {tuple(points.shape[:1])}, got "
                f"{tuple(value.shape)}."
            )
        return value

    def _log_weight(self, U: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The log of w, `m`, and its gradient, `m x d`."""
        surrogate = self._surrogate
        log_w, gradient = np.zeros(len(U)), np.zeros_like(U)
        if surrogate.survival is not None:
            label = surrogate.survival.predictor.predict(surrogate.features(U))
            total = label.variance + surrogate.survival.noise_variance  # a label is drawn with its noise
            u = label.mean[:, 0] / np.sqrt(total)
            log_w, slope = log_ndtr_and_slope(u)
            along_Z = label.pullback((slope / np.sqrt(total))[:, None], -0.5 * slope * u / total)
            gradient = surrogate.features.pullback(U, along_Z)
        return add_beliefs(surrogate, U, log_w, gradient)


class DiscreteKnowledgeGradient(AcquisitionFunction):
    """BoTorch's knowledge gradient with its inner maximum taken over options and the point itself.

    After fantasised outcomes y at the point and the pending trials the means are `mean(A) + K(A, .) K(., .)^-1 (y -
    mean)`: one joint posterior serves every point and fantasy, where conditioned models would cost a hundred times as
    much. It equals the one-shot function at the best of these inner solutions, with the same draws.

    Reference: Frazier, Powell and Dayanik 2009, "The Knowledge-Gradient Policy for Correlated Normal Beliefs".
    """

    def __init__(self, one_shot: qKnowledgeGradient, candidates: Tensor) -> None:
        """Choose the options.

        Args:
            one_shot: Of one output, with the posterior mean as its value.
            candidates: Where the maximum may be, `c x d`; kept are the most promising.
        """
        super().__init__(model=one_shot.model)
        self._one_shot = one_shot
        with torch.no_grad():
            posterior = self._posterior(candidates[:, None, :])
            hope = (posterior.mean + posterior.variance.sqrt()).flatten()
        self.options = candidates[hope.argsort(descending=True, stable=True)[:_N_OPTIONS]]

    @override
    def forward(self, X: Tensor) -> Tensor:
        """The gain in the best mean, expected of observing a point.

        Args:
            X: Points, `m x 1 x d`.

        Returns:
            Values, `m`; the best mean itself where the one-shot function was not told the present one.
        """
        one_shot, m, a = self._one_shot, len(X), len(self.options)
        assert one_shot.sampler is not None  # its constructor makes one
        pending = X.new_zeros((0, X.shape[-1])) if one_shot.X_pending is None else one_shot.X_pending
        joint = self._posterior(torch.cat([self.options, pending, X[:, 0]])).distribution
        news = self._posterior(torch.cat([X, pending.expand(m, -1, -1)], 1), observation_noise=True)
        surprise = (one_shot.sampler(news) - news.mean)[..., 0].movedim(0, -1)  # m x (1 + p) x f
        weight = torch.cholesky_solve(surprise, torch.linalg.cholesky(news.distribution.covariance_matrix))
        # Of the joint posterior, each point needs the rows of the options and its own, the columns of what is observed.
        place = torch.arange(a + len(pending) + m, device=X.device)
        options, waiting, own = place[:a].expand(m, -1), place[a:-m].expand(m, -1), place[-m:, None]
        rows, columns = torch.cat([options, own], 1), torch.cat([own, waiting], 1)
        shift = joint.covariance_matrix[rows[:, :, None], columns[:, None, :]] @ weight
        after = joint.mean[rows][:, :, None] + shift
        value = after.amax(1).mean(1)
        return value if one_shot.current_value is None else value - one_shot.current_value

    def _posterior(self, X: Tensor, *, observation_noise: bool = False) -> GPyTorchPosterior:
        return cast(GPyTorchPosterior, self.model.posterior(X, observation_noise=observation_noise))


def _is_plain_knowledge_gradient(
    acquisition: OneShotAcquisitionFunction, problem: BoTorchProblem
) -> TypeGuard[qKnowledgeGradient]:
    """Whether its value is the posterior mean of one Gaussian output, so that fantasies shift it linearly."""
    if type(acquisition) is not qKnowledgeGradient:  # a subclass weighs, expands or projects
        return False
    if acquisition.objective is not None or acquisition.posterior_transform is not None:
        return False
    posterior = acquisition.model.posterior(problem.bounds)
    return type(posterior) is GPyTorchPosterior and posterior.mean.shape == (2, 1)


def _relaxed(
    acquisition: OneShotAcquisitionFunction,
    problem: BoTorchProblem,
    surrogate: Surrogate,
    tried: FloatArray,
    rng: np.random.Generator,
) -> FloatArray | None:
    """The allowed, untried configuration that is nearest to the maximum over the continuous cube."""
    found, _ = optimize_acqf(
        acquisition,
        problem.bounds,
        q=1,
        num_restarts=_ONE_SHOT_RESTARTS,
        raw_samples=_ONE_SHOT_SAMPLES,
        options={"maxiter": _ONE_SHOT_ITERATIONS},
    )
    space, features = surrogate.history.space, surrogate.features
    end = found.detach().cpu().numpy()
    near = np.vstack([space.snap(end), problem.candidates.cpu().numpy()])
    near = near[space.is_allowed(near)]
    distance = np.linalg.norm(features(near) - features(end), axis=1)
    for u in near[np.argsort(distance, kind="stable")]:
        if is_untried(u, tried):
            chosen: FloatArray = u
            return chosen
    return any_untried(space, tried, rng)
