"""Which model for this history: one Gaussian process an outcome, and one for whether a trial will survive.

Alphabet. U: `m x d` points of the unit cube. Z: `m x F` features, where every kernel is a Matérn-5/2 on Euclidean
distance. n: told trials. K: constraints. The objective is turned so that larger is better; a margin `<= 0` is feasible.
Models live on standardised outcomes; only `Recommendation` speaks the user's units.
"""

import dataclasses
import functools
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr
from torch import Tensor

from bayesopt.errors import InvalidInputError
from bayesopt.long_history import shortened
from bayesopt.output_scale import OutputScale, standardised, warped
from bayesopt.problem.parameters import Simplex
from bayesopt.problem.space import Space
from bayesopt.record.history import History
from bayesopt.warm_start import Remembered, fit
from gp.errors import GPError
from gp.models.exact import ExactGP
from gp.threads import single_threaded

FloatArray = NDArray[np.float64]

_NATS_TO_WARP: Final = 5.0
"""Evidence that a warp of the objective must gain; with 1 nat a warp fitted to chance made Levy-5 three times worse."""
_MIN_TO_WARP: Final = 8
"""Told trials below which the shape of the objective's distribution says nothing."""
_LEAST_SHARE: Final = 1e-6
"""The square root of a share has no slope at 0; shares below this take the slope at this one."""
_LARGEST: Final = 1e300
"""What a ratio that overflows is taken for."""
_CLEAN_NOISE: Final = 1e-4
"""Learned noise variance below which an objective passes for deterministic, in units of its variance."""


class FeatureMap:
    """From the unit cube to a Euclidean space in which one kernel serves every kind of parameter.

    A number is its own feature. An unordered option is a one-hot vector over sqrt(2), so that two options lie 1 apart
    like the two ends of a number's range. A mixture is the square root of its shares, whose distance is Hellinger's.
    The features of one option or mixture share a lengthscale.
    """

    def __init__(self, space: Space) -> None:
        """Lay out the features of a space."""
        self.space = space
        self.groups: list[int] = []
        self._numbers: list[tuple[int, int]] = []  # column, feature
        self._options: list[tuple[int, int, int]] = []  # column, first feature, options
        self._mixtures: list[tuple[slice, slice, Simplex]] = []  # columns, features
        group = column = 0
        while column < space.dim:
            described = space.columns[column]
            first, width = len(self.groups), 1
            if described.kind == "simplex":
                simplex = cast(Simplex, space[described.parameter])
                width, n_features = len(simplex.names) - 1, len(simplex.names)
                self._mixtures.append((slice(column, column + width), slice(first, first + n_features), simplex))
            elif described.levels == 1:
                n_features = 0  # a constant tells nothing
            elif described.kind == "categorical":
                n_features = cast(int, described.levels)
                self._options.append((column, first, n_features))
            else:
                n_features = 1
                self._numbers.append((column, first))
            self.groups += [group] * n_features
            group += n_features > 0
            column += width
        if not self.groups:
            self.groups = [0]  # a space of constants still needs a place to stand on

    def __call__(self, U: FloatArray) -> FloatArray:
        """Features `m x F` of points `m x d`."""
        Z = np.zeros((len(U), len(self.groups)))
        for column, feature in self._numbers:
            Z[:, feature] = U[:, column]
        for column, first, k in self._options:
            option = np.clip((U[:, column] * k).astype(np.intp), 0, k - 1)
            Z[np.arange(len(U)), first + option] = math.sqrt(0.5)
        for columns, features, simplex in self._mixtures:
            Z[:, features] = np.sqrt(np.maximum(simplex.shares(U[:, columns]), 0.0))
        return Z

    def pullback(self, U: FloatArray, grad_Z: FloatArray) -> FloatArray:
        """The chain rule through the map.

        Args:
            U: Points of the unit cube, `m x d`.
            grad_Z: Derivatives with respect to their features, `m x F`.

        Returns:
            Derivatives with respect to the points, `m x d`; options are piecewise constant and get 0.
        """
        grad_U = np.zeros_like(U)
        for column, feature in self._numbers:
            grad_U[:, column] = grad_Z[:, feature]
        for columns, features, simplex in self._mixtures:
            shares = np.maximum(simplex.shares(U[:, columns]), _LEAST_SHARE)
            slopes = simplex.shares_jacobian(U[:, columns]) * (0.5 / np.sqrt(shares))[:, :, None]
            grad_U[:, columns] = np.einsum("mk,mkc->mc", grad_Z[:, features], slopes)
        return grad_U


@dataclass(frozen=True)
class Surrogate:
    """The fitted models of a history."""

    history: History
    """What they were fitted to: the whole history, or of a long one what `shortened` keeps."""
    rows: NDArray[np.intp]
    """Which told rows of the whole history these are."""
    features: FeatureMap
    """Where they live."""
    objective: ExactGP | None
    """The objective less `offset` over `scale`; None before the first told trial."""
    constraints: tuple[ExactGP | None, ...]
    """Each margin after a sign-keeping transform; None where it was never measured."""
    survival: ExactGP | None
    """A label, +1 for told and -1 for failed, of which a positive value means survival; None while nothing failed."""
    scale: OutputScale
    """Between the objective's units and the scale of its model."""
    memory: dict[str, Any]
    """What the next fit starts from, JSON values by the name of the model."""

    def tensor(self, array: FloatArray) -> Tensor:
        """An array on the study's device, for models that pay there."""
        return torch.as_tensor(array, dtype=torch.float64, device=_device(self.history))

    @property
    def is_clean(self) -> bool:
        """Whether the objective is deterministic, by declaration or as far as the data can tell."""
        return self.objective is None or _is_clean(self.objective, self.history)

    @functools.cached_property
    def told_features(self) -> FloatArray:
        """Features of the told trials, `n x F`."""
        return self.features(self.history.X)

    @functools.cached_property
    def told_mean_sd(self) -> tuple[FloatArray, FloatArray]:
        """Standardised posterior mean and standard deviation of the objective at the told trials, `n` each."""
        if self.objective is None:
            return np.zeros(0), np.zeros(0)
        mean, variance = self.objective.predictor.fitted()
        return mean[:, 0], np.sqrt(variance)

    @functools.cached_property
    def told_probability_feasible(self) -> FloatArray:
        """Probability that every constraint holds at each told trial, `n`.

        Where a margin is deterministic, what was measured is what holds.
        """
        margins = self.history.constraints
        probability = np.ones(len(margins))
        for column, model in enumerate(self.constraints):
            if model is None:
                believed = np.full(len(margins), 0.5)
            else:
                prediction = model.predictor.predict(self.told_features)
                believed = ndtr(-prediction.mean[:, 0] / np.sqrt(prediction.variance))
            if model is not None and _is_clean(model, self.history):
                measured = margins[:, column]
                believed = np.where(np.isnan(measured), believed, measured <= 0)
            probability *= believed
        return probability

    def promising_rows(self, n: int) -> NDArray[np.intp]:
        """Up to n told trials: the best means among the probably feasible ones, then those nearest to feasible."""
        mean, _ = self.told_mean_sd
        probability = self.told_probability_feasible
        order = np.lexsort((-mean, np.where(probability >= 0.5, -1.0, -probability)))
        return order[:n]


def recommend(history: History) -> int | None:
    """The told trial that is best when the noise is taken off.

    A row is probably feasible when its constraints hold together with probability at least one half. Where the
    outcomes are deterministic, by declaration or as far as the data can tell, the best observed row is it.

    Args:
        history: What has been told.

    Returns:
        Row of the history with the best posterior mean among the probably feasible; None when no row is.
    """
    with single_threaded():
        surrogate = fit_surrogate(history)
        if surrogate.is_clean:
            return history.best_observed
        feasible = np.flatnonzero(surrogate.told_probability_feasible >= 0.5)
        if len(feasible) == 0:
            return history.best_observed
        best = feasible[np.argmax(surrogate.told_mean_sd[0][feasible])]
    return int(surrogate.rows[best])


def fit_surrogate(history: History) -> Surrogate:
    """Fit every model of a history as far as that is due: the same history gives the same models bitwise.

    Args:
        history: What has been told, what broke, and what the last ask remembered.

    Returns:
        The models. One that cannot be fitted keeps its last hyperparameters, or its prior's, and warns.
    """
    _device(history)  # a device that is not there is an error wherever the exact models run
    features = FeatureMap(history.space)
    history, rows = shortened(history, features(history.X), features(history.failed))
    Z = features(history.X)
    fits = _Fits(features.groups, history.memory.get("fits"))
    objective, scale = None, OutputScale(0.0, 1.0)
    if len(history.X):
        objective, scale = _fit_objective(history, Z, fits)
    constraints = tuple(_fit_constraint(history, column, Z, fits) for column in range(history.constraints.shape[1]))
    survival = _survival(history, features, Z, fits)
    return Surrogate(history, rows, features, objective, constraints, survival, scale, fits.memory)


class _Fits:
    """Fits one model after another, each from what was remembered under its name."""

    def __init__(self, groups: list[int], remembered: Any) -> None:
        self._groups = groups
        self._before = remembered if isinstance(remembered, Mapping) else {}
        self.memory: dict[str, Any] = {}

    def before(self, name: str) -> Remembered | None:
        return Remembered.from_json(self._before.get(name))

    def fit(
        self,
        name: str,
        Z: FloatArray,
        y: FloatArray,
        sd: FloatArray,
        noise: float | None,
        before: Remembered | None,
    ) -> tuple[ExactGP, Remembered | None]:
        """The model of `y` with noise of `sd`, nan where `noise` says it."""
        known = np.minimum(sd, 1e3) ** 2
        X, Y, Yvar = (torch.as_tensor(array) for array in (Z, y[:, None], known[:, None]))
        model = ExactGP(X, Y, Yvar, groups=self._groups, noise=noise)
        try:
            return model, fit(model, before)
        except GPError as error:
            if before is not None and before.fits(model):
                model.hyperparameters = np.array(before.theta)
            warnings.warn(
                f"The model of {name} could not be fitted and keeps its last hyperparameters, or its prior's: {error}",
                RuntimeWarning,
                stacklevel=2,
            )
            return model, before

    def remember(self, name: str, after: Remembered | None) -> None:
        if after is not None:
            self.memory[name] = after.to_json()


def _fit_objective(history: History, Z: FloatArray, fits: _Fits) -> tuple[ExactGP, OutputScale]:
    """The objective's model, on a warped scale where the evidence asked for one at the last search."""
    name = "the objective"
    z, plain = standardised(history.objective)
    default = math.nan if history.noise is None else history.noise
    with np.errstate(over="ignore"):
        sd = np.where(np.isnan(history.objective_sd), default, history.objective_sd) / plain.unit

    def on(
        values: FloatArray, scale: OutputScale, before: Remembered | None
    ) -> tuple[ExactGP, Remembered | None]:
        return fits.fit(name, Z, values, sd * scale.slope(z), None, before)

    def evidence(model: ExactGP, scale: OutputScale) -> float:
        # The density of the same numbers, z, whichever scale the model lives on.
        return model.log_posterior + float(np.log(scale.slope(z) / model.scale).sum())

    before = fits.before(name)
    scale = plain
    if before is not None and not before.needs_search(len(z)):
        values = z
        if before.warped:
            values, scale = warped(z, plain)
        model, after = on(values, scale, before)
    else:
        model, after = on(z, plain, before)
        if len(z) >= _MIN_TO_WARP:
            w, bent = warped(z, plain)
            # Bent values vary over about the same distances, so one search from where the last one ended will do.
            start = Remembered(tuple(model.hyperparameters.tolist()), len(z), -1)
            other, other_after = on(w, bent, start)
            gain = evidence(other, bent) - evidence(model, plain)
            if gain > _NATS_TO_WARP and other_after is not None:
                model, scale, after = other, bent, dataclasses.replace(other_after, warped=True)
    fits.remember(name, after)
    return model, scale


def _is_clean(model: ExactGP, history: History) -> bool:
    """Whether an outcome is deterministic, by declaration or as far as the data can tell."""
    learned = model.learns_noise and model.noise_variance <= _CLEAN_NOISE * model.scale**2
    return history.noise == 0.0 or learned


def _device(history: History) -> torch.device:
    # At most `MAX_EXACT` rows: a GPU's launch times cost more than it saves, so that "auto" means the CPU here and the
    # exact models stay there whatever is said.
    device = torch.device("cpu" if history.device == "auto" else history.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InvalidInputError(
            f"device={history.device!r}: PyTorch finds no CUDA device here; reopen with 'auto' or 'cpu'."
        )
    return device


def _fit_constraint(history: History, column: int, Z: FloatArray, fits: _Fits) -> ExactGP | None:
    margins, sd = history.constraints[:, column], history.constraints_sd[:, column]
    measured = np.flatnonzero(np.isfinite(margins))
    if len(measured) == 0:
        return None
    margins, Z, n = margins[measured], Z[measured], len(measured)
    noise = 0.0 if history.noise == 0.0 else None
    name = f"constraint {history.outcomes.constraints[column].name!r}"
    typical = _typical(margins)
    linear, bent = (margins / typical, np.full(n, 1.0 / typical)), _bilog(margins, typical)

    def on(scaled: tuple[FloatArray, FloatArray], before: Remembered | None) -> tuple[ExactGP, Remembered | None]:
        values, slope = scaled
        return fits.fit(name, Z, values, sd[measured] * slope, noise, before)

    def evidence(model: ExactGP, scaled: tuple[FloatArray, FloatArray]) -> float:
        return model.log_posterior + float(np.log(scaled[1] / model.scale).sum())

    before = fits.before(name)
    if before is not None and not before.needs_search(n):
        model, after = on(bent if before.warped else linear, before)
    else:
        model, after = on(bent, before)
        if after is not None:
            after = dataclasses.replace(after, warped=True)
        if n >= _MIN_TO_WARP:
            straight, straight_after = on(linear, Remembered(tuple(model.hyperparameters.tolist()), n, -1))
            if evidence(straight, linear) > evidence(model, bent) and straight_after is not None:
                model, after = straight, straight_after
    fits.remember(name, after)
    return model


def _typical(margins: FloatArray) -> float:
    """Median size of the margins that are not 0, or 1 without one."""
    sizes = np.abs(margins)
    return float(np.median(sizes[sizes > 0])) if (sizes > 0).any() else 1.0


def _bilog(margins: FloatArray, typical: float) -> tuple[FloatArray, FloatArray]:
    """`sign(m) log(1 + |m| / typical)`, which keeps 0 where it is, and its slope at each margin.

    Dividing by a typical size first makes the result free of units; far violations are pulled in.

    Args:
        margins: Finite margins, `n`, feasible when `<= 0`.
        typical: A size of theirs, positive.

    Returns:
        Transformed margins of the same signs, and the transform's slopes, `n` each.
    """
    with np.errstate(over="ignore"):
        relative = np.minimum(np.abs(margins) / typical, _LARGEST)
    return np.sign(margins) * np.log1p(relative), 1.0 / (typical * (1.0 + relative))


def _survival(history: History, features: FeatureMap, Z: FloatArray, fits: _Fits) -> ExactGP | None:
    """Least-squares classification (Rasmussen and Williams, section 6.5) of trials that were told and that failed.

    Fitted like any other outcome, it learns along which parameters trials break and how much of it is chance. On two
    six-dimensional problems with a forbidden half-space it lost half the trials that smoothed counts with a fixed
    kernel lost (7 to 21 of 40, against 7 to 30).

    Args:
        history: What was told and what failed.
        features: The features of its space.
        Z: Features of the told trials, `n x F`.
        fits: Fits it.

    Returns:
        The fitted model of the labels, or None.
    """
    if len(history.failed) == 0:
        return None
    labels = np.concatenate([np.ones(len(Z)), -np.ones(len(history.failed))])
    everything = np.concatenate([Z, features(history.failed)])
    unknown = np.full(len(labels), np.nan)
    model, after = fits.fit("survival", everything, labels, unknown, None, fits.before("survival"))
    fits.remember("survival", after)
    return model
