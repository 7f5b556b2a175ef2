"""Log of the knowledge gradient over finitely many answers: for a loop whose answer may be a point it never tried.

Alphabet. A: answers, the points whose posterior mean may turn out best, `a` of them. x: the point in question. s_e²:
noise variance of one more trial.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr
from typing_extensions import override

from bayesopt.acquisition.base import Gain, LogUtility
from bayesopt.acquisition.log_noisy_expected_improvement import LogNoisyExpectedImprovement
from bayesopt.acquisition.maximize import N_INCUMBENTS, maximize
from bayesopt.acquisition.pool import draw_pool
from bayesopt.surrogate import Surrogate
from gp.regression import Prediction, cholesky

FloatArray = NDArray[np.float64]

MAX_ANSWERS: Final = 100
"""Untried answers that are compared; the work grows with the square of their number,"""
MAX_ANSWERS_PENDING: Final = 16
"""so that fewer are when fantasies multiply it."""
_N_DRAWS: Final = 256
"""Functions drawn from the posterior; a point that is best in none of them is no answer."""
_MAX_POOL: Final = 400
"""Points at which the functions are drawn."""
_OPTIMISM: Final = 2.0
"""They are those of the pool where the mean is largest with this many standard deviations added."""


class LogKnowledgeGradient(LogNoisyExpectedImprovement):
    """The gain is what one more noisy trial at x is expected to add to the best posterior mean anywhere.

    `E[max over A and x of the mean after x] - max over A of the mean now`, in closed form as in
    `LogNoisyExpectedImprovement`, where the answers A are told trials and given ones that nobody tried. A trial is
    worth what it teaches about all of them, so that it may lie where nothing good is expected. Its gradient holds A
    fixed, and that is the whole gradient: the lines that are best share their height where one hands over to the next.

    References: Frazier, Powell and Dayanik 2009, "The Knowledge-Gradient Policy for Correlated Normal Beliefs"; Scott,
    Frazier and Powell 2011, "The Correlated Knowledge Gradient for Simulation Optimization of Continuous Parameters".
    """

    def __init__(self, surrogate: Surrogate, pending: FloatArray, normals: FloatArray, answers: FloatArray) -> None:
        """Draw the fantasies and choose the answers.

        Args:
            surrogate: As in `LogUtility`.
            pending: As in `LogUtility`.
            normals: As in `LogUtility`.
            answers: Points of the cube that may be returned, `a x d`, the likeliest first, such as `likely_optima`.

        Raises:
            ValueError: If no trial was told, so that there is no objective model.
        """
        super().__init__(surrogate, pending, normals)
        if self._means is None:
            return
        few = answers[: MAX_ANSWERS if len(pending) == 0 else MAX_ANSWERS_PENDING]
        Z = surrogate.features(few)
        means = np.concatenate([self._means, self._objective.predict(Z).mean])
        told = self._objective.scaled_X[self._rows] * self._objective.lengthscales
        # The best comes first, as `over_the_best_alone` has it.
        order = np.argsort(-means.mean(1), kind="stable")
        self._means = means[order]
        self._anchors = self._objective.anchor(np.concatenate([told, Z])[order])


def likely_optima(surrogate: Surrogate, rng: np.random.Generator) -> FloatArray:
    """Points that may be the best feasible one: the best posterior mean, and where functions drawn from it are best.

    Args:
        surrogate: The fitted models; the objective's must exist.
        rng: Draws points and functions.

    Returns:
        Different configurations that are probably feasible and probably survive, `a x d`, the best mean first, then
        those that were best most often; none where no such point is found.
    """
    assert surrogate.objective is not None  # held by the caller
    space, predictor = surrogate.history.space, surrogate.objective.predictor
    promising = surrogate.history.X[surrogate.promising_rows(N_INCUMBENTS)]
    none = np.zeros((0, space.dim))
    mean = _Mean(surrogate, none, np.zeros((1 + len(surrogate.constraints), 0, 1)))
    best = maximize(mean, space, promising, none, rng)
    around = promising if best is None else np.vstack([best, promising])
    pool = np.unique(np.vstack([around, draw_pool(space, around, rng)]), axis=0)
    pool = pool[_is_probably_fine(surrogate, pool)]
    prediction = predictor.predict(surrogate.features(pool))
    hope = prediction.mean[:, 0] + _OPTIMISM * np.sqrt(prediction.variance)
    pool = pool[np.argsort(-hope, kind="stable")[:_MAX_POOL]]
    if len(pool) == 0:
        return none
    means, covariance, _ = predictor.joint(surrogate.features(pool))
    size = covariance.diagonal().mean()
    factor = np.sqrt(size) * cholesky(covariance / size, "covariance of the pool")
    winners = (means + factor @ rng.standard_normal((len(pool), _N_DRAWS))).argmax(0)
    wins = np.bincount(winners, minlength=len(pool))
    wins[means[:, 0].argmax()] = _N_DRAWS + 1
    order = np.argsort(-wins, kind="stable")
    return pool[order[: int((wins > 0).sum())]]


class _Mean(LogUtility):
    """The posterior mean in place of the gain: its maximum is feasible, and the best as far as can be told."""

    @override
    def _gain(self, prediction: Prediction) -> Gain | None:
        one = np.ones_like(prediction.mean)
        return Gain(prediction.mean, one, 0.0 * one)


def _is_probably_fine(surrogate: Surrogate, U: FloatArray) -> NDArray[np.bool_]:
    """Whether every constraint probably holds, and a trial probably survives, at each of `m x d` points."""
    Z = surrogate.features(U)
    log_holds, log_survives = surrogate.log_probability_feasible(Z), np.zeros(len(U))
    if surrogate.survival is not None:
        label = surrogate.survival.predictor.predict(Z)
        log_survives = log_ndtr(label.mean[:, 0] / np.sqrt(label.variance + surrogate.survival.noise_variance))
    fine: NDArray[np.bool_] = np.minimum(log_holds, log_survives) >= np.log(0.5)
    return fine
