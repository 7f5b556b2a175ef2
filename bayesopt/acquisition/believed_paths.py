"""Functions that the objective may be, weighed by what the user believes, and what that says of a trial.

Alphabet. Z: `m x d` points of the cube at which functions are drawn: told trials, pending ones, points that beliefs
name, and candidates. S: functions. K: constraints. rho, B, w: as in `slab_mixture`. x: the point in question.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bayesopt.acquisition.pool import draw_pool
from bayesopt.acquisition.slab_mixture import LEAST_LOG, Verdict, log_mean, weigh
from bayesopt.problem.beliefs import Belief, Functions
from bayesopt.problem.priors import PriorOnCube
from bayesopt.record.history import History
from bayesopt.surrogate import Surrogate, fit_surrogate
from gp.paths import Paths, PathsElsewhere, draw_paths
from gp.threads import single_threaded

FloatArray = NDArray[np.float64]

N_PATHS: Final = 512
"""Functions drawn."""
N_SPREAD: Final = 128
"""Candidates over the whole space, besides those around the best told trial,"""
N_BELIEVED: Final = 64
"""and drawn from each belief that names a place."""
SOFTNESS: Final = 0.02
"""Width within which a function's improvement sets in softly, in standard deviations."""
ALONE: Final = 0.1
"""Improvement, in standard deviations, of the one function more that has its optimum at the point in question."""
_RESIDUE: Final = 2.0 / np.pi
"""What makes the soft improvement of a function at the incumbent, whose value is open by r, the expected one."""
_LEAST: Final = 1e-24
"""Least squared width of the soft improvement."""


@dataclass(frozen=True)
class BelievedPaths:
    """Joint draws of objective and constraints, before and after the data, and what beliefs make of them."""

    surrogate: Surrogate
    """The models that they are drawn from."""
    Z: FloatArray
    """Where, `m x d`; the told trials, then the pending ones come first."""
    objective: Paths
    """The objective on the scale of its model."""
    constraints: tuple[Paths, ...]
    """The margins that have a model."""
    before: FloatArray
    """Log rho of the functions before the data, `B x S`."""
    after: FloatArray
    """Log rho of the functions after them, `B x S`."""
    best: NDArray[np.intp]
    """Row of Z of the optimum of each function before and after the data, `2 x S`."""
    beliefs: tuple[Belief, ...]
    """What is believed."""
    n_pending: int
    """How many pending trials there are."""
    likely: FloatArray
    """Where beliefs expect the optimum, `l x d`."""

    def of(self, rows: NDArray[np.intp]) -> "BelievedPaths":
        """The same functions with some of the beliefs only."""
        kept = tuple(self.beliefs[row] for row in rows)
        return dataclasses.replace(self, beliefs=kept, before=self.before[rows], after=self.after[rows])

    def published(self) -> "BelievedPaths":
        """The same functions, weighed as they were before the data."""
        return dataclasses.replace(self, after=self.before)


def draw_believed_paths(
    surrogate: Surrogate,
    beliefs: Sequence[Belief],
    pending: FloatArray,
    n_paths: int = N_PATHS,
) -> BelievedPaths:
    """Draw functions and ask every belief what it makes of them.

    The optimum of a function is sought among all of Z that is feasible in that function, told trials included. The
    draws depend on the study's seed and on how many trials ended: after the same trials they are the same.

    Args:
        surrogate: The fitted models; the objective's must exist.
        beliefs: What is believed, one or more.
        pending: Trials without an outcome, `p x d`.
        n_paths: How many functions.

    Returns:
        The functions.
    """
    assert surrogate.objective is not None  # held by the caller
    history = surrogate.history
    space, told = history.space, history.X
    rng = np.random.default_rng([history.seed, len(told), len(history.failed)])
    named = [np.zeros((0, space.dim)) if belief.points is None else belief.points for belief in beliefs]
    spread = draw_pool(space, told[surrogate.promising_rows(1)], rng, N_SPREAD)
    places = [mode[None] for belief in beliefs if (mode := belief.mode()) is not None and space.is_allowed(mode[None])]
    places += [points for belief in beliefs if (points := belief.sample(N_BELIEVED, rng)) is not None]
    likely = np.concatenate([np.zeros((0, space.dim)), *places])
    Z = np.concatenate([told, pending, *named, spread, likely])
    features = surrogate.features(Z)
    objective = draw_paths(surrogate.objective.predictor, features[len(told) :], n_paths, rng)
    constraints = tuple(
        draw_paths(model.predictor, features, n_paths, rng) for model in surrogate.constraints if model is not None
    )
    survives = np.ones(len(Z), dtype=bool)
    if surrogate.survival is not None:
        survives = surrogate.survival.predictor.predict(features).mean[:, 0] > 0
    ends = len(told) + len(pending) + np.cumsum([0, *map(len, named)])
    log_rhos, optima = np.empty((2, len(beliefs), n_paths)), np.empty((2, n_paths), dtype=np.intp)
    for log_rho, best, name in zip(log_rhos, optima, ("prior", "posterior"), strict=True):
        f = getattr(objective, name)
        margins = [getattr(paths, name)[-len(Z) :] for paths in constraints]
        best[:] = _optima(f, margins, survives)
        sign = history.outcomes.objective.sign
        for row, belief in enumerate(beliefs):
            log_rho[row] = belief.log_weight(
                Functions(
                    optima=Z[best],
                    best=sign * surrogate.scale.to_units(f[best, np.arange(n_paths)]),
                    at_points=sign * surrogate.scale.to_units(f[ends[row] : ends[row + 1]]),
                    sign=sign,
                )
            )
    before, after = log_rhos
    return BelievedPaths(
        surrogate, Z, objective, constraints, before, after, optima, tuple(beliefs), len(pending), likely
    )


def judge(history: History, doubt: float) -> Verdict:
    """What the told trials have left of the beliefs of a history.

    Args:
        history: At least one trial told, and one belief.
        doubt: Probability that a belief is wrong before any data.

    Returns:
        The verdict, as the strategy reaches it at the next ask.
    """
    with single_threaded():
        paths = draw_believed_paths(fit_surrogate(history), history.priors, history.pending)
        return weigh(paths.before, paths.after, doubt)


def _optima(f: FloatArray, margins: list[FloatArray], survives: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Row of the best feasible point of each function, `S`; of the least violation where none is feasible."""
    score = np.where(survives[:, None], f, -np.inf)
    if margins:
        violation = np.maximum(np.stack(margins), 0.0).sum(0)
        score = np.where(violation > 0, -np.inf, score)
        nowhere = ~np.isfinite(score).any(0)
        score[:, nowhere] = -violation[:, nowhere]
    best: NDArray[np.intp] = score.argmax(0)
    return best


class BeliefTerm:
    """Log of what an improvement at x says about the beliefs: `log E[w u(x)] / E[u(x)]`, u the improvement there.

    Added to the log of an expected improvement that does without beliefs, it makes the expected improvement under the
    beliefs. As a ratio of means over the same functions it is bounded by the weights, and it vanishes where all
    functions that improve agree equally well with the beliefs: the exact engine then decides alone.

    A function's improvement over its own best told or pending value counts in soft form, `(e + sqrt(e² + v)) / 2` with
    the difference e, and `v` of `SOFTNESS` standard deviations at x and of what its values at Z leave open of it. Under
    constraints it is multiplied by a soft form of being feasible in that function; while no told trial is probably
    feasible, that is all. One function more stands for those too rare to be drawn: if x is better than expected by so
    much, it is the optimum, and is weighed as such.
    """

    def __init__(self, paths: BelievedPaths, verdict: Verdict, *, alone: float = ALONE) -> None:
        """Combine functions and verdict.

        Args:
            paths: The functions, and what the beliefs make of them.
            verdict: What weighs them.
            alone: Improvement, in standard deviations, of the one function more; 0 for none.
        """
        log_weights = verdict.log_weight(paths.after)[0]
        self.likely = paths.likely
        """Points drawn from the beliefs, `l x d`."""
        self._alone = alone
        self._beliefs, self._verdict = paths.beliefs, verdict
        self._log_unit = log_weights.max()
        self._weights = np.exp(log_weights - self._log_unit)
        self._least = float(log_weights.min() - self._log_unit)
        self._typical = log_mean(np.maximum(paths.after, LEAST_LOG))
        self._features = paths.surrogate.features
        self._constraints = paths.constraints
        told = np.flatnonzero(paths.surrogate.told_probability_feasible >= 0.5)
        pending = len(paths.surrogate.history.X) + np.arange(paths.n_pending)
        self._objective = paths.objective
        self._best = paths.objective.posterior[[*told, *pending]].max(0) if len(told) else None

    def added_to(self, value: FloatArray, U: FloatArray) -> FloatArray:
        """The sum of this and of values of another function, `b`, at `b x d` points of the cube.

        This lies between the least and the largest log weight. Where the sum cannot be the largest, it is not worth
        computing, and its lower bound stands for it.

        Args:
            value: Values of the other function, nan where it has none.
            U: The points.

        Returns:
            The sum, or its lower bound, `b`.
        """
        log_alone, _ = self._log_weight_alone(U, with_gradient=False)
        least = value + np.minimum(log_alone, self._least)
        most = value + np.maximum(log_alone, 0.0)
        hopeful = most >= least.max(initial=-np.inf, where=~np.isnan(least))
        if hopeful.any():
            least[hopeful] = value[hopeful] + self.values(U[hopeful])
        return least

    def values(self, U: FloatArray) -> FloatArray:
        """Values, `b`, of `b x d` points of the cube."""
        return self._evaluate(U, with_gradient=False)[0]

    def value_and_gradient(self, U: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Values, `b`, and gradients, `b x d`, of `b x d` points of the cube."""
        return self._evaluate(U, with_gradient=True)

    def _evaluate(self, U: FloatArray, *, with_gradient: bool) -> tuple[FloatArray, FloatArray]:
        features = self._features(U)
        utility = np.ones((len(U), len(self._weights)))
        alone = np.full((len(U), 1), self._alone)
        parts = []  # functions, and the slopes of the log of their factor by their means and by v
        if self._best is not None:
            functions = self._objective.at(features)
            spread = functions.mean.var(1, keepdims=True) + functions.variance[:, None]
            alone = self._alone * np.sqrt(spread)
            e, v = functions.mean - self._best, _squared_width(functions, spread)
            q = np.sqrt(e * e + v)
            improvement = 0.5 * np.where(e > 0, e + q, v / (q + np.abs(e)))
            utility *= improvement
            parts.append((functions, 1.0 / q, 0.25 / (q * improvement)))
        for paths in self._constraints:
            functions = paths.at(features)
            spread = functions.mean.var(1, keepdims=True) + functions.variance[:, None]
            g, v = functions.mean, _squared_width(functions, spread)
            q = np.sqrt(g * g + v)
            feasible = 0.5 * np.where(g < 0, 1.0 - g / q, v / (q * (q + np.abs(g))))
            utility *= feasible
            slope = 0.5 / (q**3 * feasible)
            parts.append((functions, -v * slope, 0.5 * g * slope))
        log_alone, along_U = self._log_weight_alone(U, with_gradient=with_gradient)
        weight_alone = np.exp(log_alone)[:, None]
        believed = utility @ self._weights[:, None] + alone * weight_alone
        plain = utility.sum(1, keepdims=True) + alone
        value = (np.log(believed) - np.log(plain))[:, 0]
        if not with_gradient:
            return value, np.zeros((0, 0))
        along_log = utility * (self._weights / believed - 1.0 / plain)
        along_alone = alone * (weight_alone / believed - 1.0 / plain)
        gradient = np.zeros_like(features)
        for row, (functions, by_mean, by_width) in enumerate(parts):
            along_width = (along_log * by_width).sum(1, keepdims=True)
            by_spread = SOFTNESS**2 * along_width
            if row == 0 and self._best is not None:
                by_spread += 0.5 * along_alone / (functions.mean.var(1, keepdims=True) + functions.variance[:, None])
            centred = functions.mean - functions.mean.mean(1, keepdims=True)
            along_mean = along_log * by_mean + (2.0 / centred.shape[1]) * by_spread * centred
            gradient += functions.pullback(along_mean, (by_spread + _RESIDUE * along_width)[:, 0])
        share = alone * weight_alone / believed
        return value, self._features.pullback(U, gradient) + share * along_U

    def _log_weight_alone(self, U: FloatArray, *, with_gradient: bool) -> tuple[FloatArray, FloatArray]:
        """Log weight of a function with its optimum at each point.

        A belief that names no place takes what is typical.

        Args:
            U: The points, `b x d`.
            with_gradient: Whether the gradient is needed; else it is 0.

        Returns:
            Log weights, `b`, and their gradient, `b x d`.
        """
        log_rho = np.repeat(self._typical[:, None], len(U), axis=1)
        along = np.zeros((len(self._beliefs), *U.shape))
        for row, belief in enumerate(self._beliefs):
            if isinstance(belief, PriorOnCube):
                if with_gradient:
                    log_rho[row], along[row] = belief.value_and_gradient(U)
                else:
                    log_rho[row] = belief.log_density(U)
        value, slopes = self._verdict.log_weight(log_rho)
        return value - self._log_unit, np.einsum("bm,bmd->md", slopes, along)


def _squared_width(functions: PathsElsewhere, spread: FloatArray) -> FloatArray:
    """v, `b x 1`."""
    width: FloatArray = np.maximum(SOFTNESS**2 * spread + _RESIDUE * functions.variance[:, None], _LEAST)
    return width
