"""Which model for this history: one Gaussian process an outcome, and one for whether a trial will survive.

Alphabet. U: `m x d` points of the unit cube. Z: `m x F` features, where every kernel is a Matérn-5/2 on Euclidean
distance. n: told trials. K: constraints. The objective is turned so that larger is better; a margin `<= 0` is feasible.
Models live on standardised outcomes; `Surrogate.scale` leads back to the user's units.
"""

import functools
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr
from torch import Tensor

from bayesopt.errors import InvalidInputError
from bayesopt.law_feature import FACTOR_SD, LawFeature
from bayesopt.long_history import shortened
from bayesopt.margin_scale import MarginScale
from bayesopt.output_scale import AS_IT_IS, OutputScale, standardised, warped
from bayesopt.problem.parameters import Simplex
from bayesopt.problem.space import Space
from bayesopt.record.history import History
from bayesopt.warm_start import Remembered, fit
from gp.array_kernels import UNSEEN, Ard
from gp.classification import Classifier
from gp.errors import GPError
from gp.models.exact import KNOWN_NOISE_FLOOR, ExactGP
from gp.regression import Trend
from gp.threads import single_threaded

FloatArray = NDArray[np.float64]

_NATS_TO_WARP: Final = 1.0
"""Evidence that a warp of the objective must gain. With 5 nats, over 12 seeds, an SVM's log loss was left at twice the
regret, and nothing gained elsewhere; with 0 it was as good as with 2."""
_TURNS: Final = 6
"""Asks over which many models spread the searches that are due, the longest due first, so that no ask pays for all."""
_MIN_TO_CHOOSE: Final = 8
"""Told trials below which there is no choosing between scales and kernels."""
_NATS_FOR_ARD: Final = 3.0
"""Evidence that a kernel of all interactions must have over one that learns their order. Where the two were within a
few nats, on designs of 25 to 100 points of six functions, the latter predicted better or as well every time."""
_MOST_ANOVA: Final = 20
"""Most lengthscales for which that kernel is tried: it keeps as many matrices."""
_START_ANOVA: Final = 0.0
"""Log lengthscale from which its fit starts at most: of one variable, a longer one is flat."""
_LEAST_SHARE: Final = 1e-6
"""The square root of a share has no slope at 0; shares below this take the slope at this one."""
_NATS_FOR_NOISE: Final = 5.0
"""Evidence that noise must gain over none before the best measured trial is no longer the one to use."""
_NATS_TO_CURVE_CAUTIOUSLY: Final = 10.0
"""Evidence that a curved scale of margins must gain where a claim rests on it: it takes the bound away from the
data."""
_LAW_RANGE: Final = 1e6
"""How many times more or less than the objective a law may vary: beyond, nothing of it could be seen."""
_OBJECTIVE: Final = "the objective"
"""The name of its model."""
_CLEAN_NOISE: Final = 1e-4
"""Learned noise variance below which an objective passes for deterministic, in units of its variance."""


class LogFactor(Protocol):
    """What the beliefs add to the log of an acquisition function."""

    @property
    def likely(self) -> FloatArray:
        """Points that are worth a look, `l x d`."""
        ...

    def added_to(self, value: FloatArray, U: FloatArray) -> FloatArray:
        """The sum, `m`, with values at `m x d` points; a lower bound of it where it cannot be the largest."""
        ...

    def value_and_gradient(self, U: FloatArray) -> tuple[FloatArray, FloatArray]:
        """What is added at `m x d` points, `m`, and its gradients, `m x d`."""
        ...


class FeatureMap:
    """From the unit cube to a Euclidean space in which one kernel serves every kind of parameter.

    A number is its own feature. An unordered option is a one-hot vector over sqrt(2), so that two options lie 1 apart
    like the two ends of a number's range. A mixture is the square root of its shares, whose distance is Hellinger's.
    The features of one option or mixture share a lengthscale. The law, if there is one, comes last.
    """

    def __init__(self, space: Space, law: LawFeature | None = None) -> None:
        """Lay out the features of a space."""
        self.space, self.law = space, law
        self.groups: list[int] = []
        self._numbers: tuple[list[int], list[int]] = [], []  # columns, features
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
                self._numbers[0].append(column)
                self._numbers[1].append(first)
            self.groups += [group] * n_features
            group += n_features > 0
            column += width
        if not self.groups:
            self.groups = [0]  # a space of constants still needs a place to stand on
        if law is not None:
            self.groups.append(UNSEEN)

    def __call__(self, U: FloatArray) -> FloatArray:
        """Features `m x F` of points `m x d`."""
        Z = np.zeros((len(U), len(self.groups)))
        numbers, places = self._numbers
        Z[:, places] = U[:, numbers]
        for column, first, k in self._options:
            option = np.clip((U[:, column] * k).astype(np.intp), 0, k - 1)
            Z[np.arange(len(U)), first + option] = math.sqrt(0.5)
        for columns, features, simplex in self._mixtures:
            Z[:, features] = np.sqrt(np.maximum(simplex.shares(U[:, columns]), 0.0))
        if self.law is not None:
            Z[:, -1] = self.law.values(U)
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
        numbers, places = self._numbers
        grad_U[:, numbers] = grad_Z[:, places]
        for columns, features, simplex in self._mixtures:
            shares = np.maximum(simplex.shares(U[:, columns]), _LEAST_SHARE)
            slopes = simplex.shares_jacobian(U[:, columns]) * (0.5 / np.sqrt(shares))[:, :, None]
            grad_U[:, columns] = np.einsum("mk,mkc->mc", grad_Z[:, features], slopes)
        if self.law is not None:
            grad_U += grad_Z[:, -1:] * self.law.gradient(U)
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
    margin_scales: tuple[MarginScale | None, ...]
    """Between the margins' units and the scales of their models; None where there is no model."""
    survival: Classifier | None
    """Of a latent value whose sign, under noise, says whether a trial survives; None while nothing failed."""
    scale: OutputScale
    """Between the objective's units and the scale of its model."""
    memory: dict[str, Any]
    """What the next fit starts from, JSON values by the name of the model."""
    belief: LogFactor | None = None
    """What the beliefs are worth, in the place of `history.priors`; None where these weigh in as they are."""

    @property
    def law_gain(self) -> float | None:
        """Nats that the law of a `MeanPrior` gained at the last search, in use where positive; None without one."""
        remembered = Remembered.from_json(self.memory.get(_OBJECTIVE))
        return None if remembered is None else remembered.law_gain

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

    def log_probability_feasible(self, Z: FloatArray) -> FloatArray:
        """Log probability that every constraint that was ever measured holds, `m`, at features `m x F`."""
        total = np.zeros(len(Z))
        for model in self.constraints:
            if model is not None:
                margin = model.predictor.predict(Z)
                total += log_ndtr(-margin.mean[:, 0] / np.sqrt(margin.variance))
        return total

    def promising_rows(self, n: int) -> NDArray[np.intp]:
        """Up to n told trials: the best means among the probably feasible ones, then those nearest to feasible."""
        mean, _ = self.told_mean_sd
        # In logs and by the models: of the infeasible ones, all that were measured exactly have probability 0.
        log_feasible = self.log_probability_feasible(self.told_features)
        order = np.lexsort((-mean, np.where(self.told_probability_feasible >= 0.5, -np.inf, -log_feasible)))
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
        if surrogate.is_clean or not _is_noisy(surrogate.objective):
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
    fits = _Fits(features.groups, history.memory.get("fits"), len(history.X), 1 + history.constraints.shape[1])
    objective, scale = None, AS_IT_IS
    if len(history.X):
        law = LawFeature.of(history)
        objective, scale = _fit_objective(history, Z, fits, law)
        if objective.regression.trend is not None:
            features = FeatureMap(history.space, law)
            Z = features(history.X)
    constraints, scales = _fit_constraints(history, Z, fits)
    survival = _survival(history, features, Z, fits)
    return Surrogate(history, rows, features, objective, constraints, scales, survival, scale, fits.memory)


def fit_margins_cautiously(
    history: History, features: FeatureMap, memory: Mapping[str, Any] | None = None
) -> tuple[tuple[ExactGP | None, ...], dict[str, Any]]:
    """Fit the constraints alone, presuming little of places that no trial was near.

    A kernel of learned order of interaction, and a scale that pulls far margins in, are sure of such places; what is
    claimed of a whole space must not rest on the one, nor lightly on the other.

    Args:
        history: What has been told; its own memory is not looked at.
        features: The features of its space.
        memory: What an earlier call returned; None to search anew.

    Returns:
        A model of each margin, as in `Surrogate.constraints`, and what the next call may start from.
    """
    fits = _Fits(features.groups, memory, len(history.X), history.constraints.shape[1], cautious=True)
    Z = features(history.X)
    models, _ = _fit_constraints(history, Z, fits)
    return models, fits.memory


@dataclass(frozen=True)
class _Scaled:
    """One outcome on a scale that a model may live on."""

    y: FloatArray
    """Values, `n`."""
    sd: FloatArray
    """Noise of each, `n`; nan where it is not known."""
    slope: FloatArray
    """How fast y grows with the outcome, `n`: the density of the outcome is that of y times this."""
    scale: OutputScale = AS_IT_IS
    """Between y and the outcome's units, of the objective; a constraint keeps but its sign."""
    is_curved: bool = False
    """Whether it is the curved one of two scales."""
    law: FloatArray | None = None
    """Values of the law, `n`; None where the model does without one."""
    trend: Trend | None = None
    """How much of the law y is believed to hold."""


class _Fits:
    """Fits one model after another, each from what was remembered under its name."""

    def __init__(
        self, groups: list[int], remembered: Any, n_rows: int, n_models: int, *, cautious: bool = False
    ) -> None:
        self._groups = groups
        memories = remembered if isinstance(remembered, Mapping) else {}
        self._before = {name: found for name in memories if (found := Remembered.from_json(memories[name]))}
        due = [name for name, before in self._before.items() if before.needs_search(n_rows)]
        due.sort(key=lambda name: self._before[name].searched_at)
        self._may_search = due[: math.ceil(n_models / _TURNS)]
        self._most_anova = 0 if cautious else _MOST_ANOVA
        self.nats_to_curve_margins = _NATS_TO_CURVE_CAUTIOUSLY if cautious else 0.0
        self.memory: dict[str, Any] = {}

    def best(
        self,
        name: str,
        Z: FloatArray,
        noise: float | None,
        straight: _Scaled,
        curve: Callable[[], _Scaled],
        nats_to_curve: float,
        lawful: _Scaled | None = None,
    ) -> tuple[ExactGP, _Scaled]:
        """The model of an outcome on the scale, and with the kernel, that the evidence asked for at the last search.

        Args:
            name: What it is a model of.
            Z: Features of the trials, `n x F`.
            noise: Noise where it is not known; None to learn it.
            straight: The outcome as it is.
            curve: Puts the outcome on another scale.
            nats_to_curve: Evidence that the other scale must gain.
            lawful: The outcome as it is, with a law that its prior mean may hold; None without one.

        Returns:
            The model, and its scale.
        """
        before = self._before.get(name)
        n = len(Z)
        is_judged = before is not None and (before.law_gain is None) == (lawful is None)
        if before is not None and is_judged and not (before.needs_search(n) and name in self._may_search):
            scaled = curve() if before.warped else straight
            if lawful is not None and before.follows_law:
                scaled = lawful
            model, after = self._fit(name, Z, noise, scaled, before, may_search=False)
            self._remember(name, after)
            return model, scaled
        curved = curve()
        first = curved if n < _MIN_TO_CHOOSE and nats_to_curve == 0.0 else straight
        g = max(self._groups) + 1
        # A distance over all variables is some sqrt(g) times as long as one along a variable.
        reach = 0.5 * math.log(g)
        interacting = before
        if before is not None and before.additive:
            scales = tuple(scale + reach for scale in before.theta[:g])
            interacting = replace(before, theta=scales + before.theta[g + 1 :], additive=False)
        model, after = self._fit(name, Z, noise, first, interacting)
        found = [(model, first, after, 0.0)]
        if n >= _MIN_TO_CHOOSE and after is not None:
            # Another scale or kernel varies over about the same distances, so one search from here will do.
            found = [(model, straight, after, _evidence(model, straight))]
            theta = model.hyperparameters
            starts = [(curved, Remembered(tuple(theta.tolist()), n, -1), nats_to_curve)]
            if 2 <= g <= self._most_anova:
                if before is None or not before.additive:
                    theta = np.insert(np.minimum(theta, _START_ANOVA), g, 0.0)
                else:
                    theta = np.array(before.theta)
                additive = Remembered(tuple(theta.tolist()), n, -1, additive=True)
                starts += [(straight, additive, -_NATS_FOR_ARD), (curved, additive, nats_to_curve - _NATS_FOR_ARD)]
            for scaled, begin, price in starts:
                if len(found) == 3 and max(found[1][3], found[2][3]) < found[0][3]:
                    break  # neither the scale nor the kernel gains alone
                model, after = self._fit(name, Z, noise, scaled, replace(begin, warped=scaled.is_curved))
                if after is not None:
                    found.append((model, scaled, after, _evidence(model, scaled) - price))
        model, scaled, after, evidence = max(found, key=lambda one: one[3])
        if lawful is not None:
            if n < _MIN_TO_CHOOSE:
                evidence = _evidence(model, scaled)
            with_law = self._with_law(name, Z, noise, lawful, before)
            gain = with_law[3] - evidence if with_law is not None else 0.0
            if with_law is not None and gain > 0.0:
                model, scaled, after, _ = with_law
            # JSON, as which this is kept, knows no infinities
            after = None if after is None else replace(after, law_gain=float(np.nan_to_num(gain)))
        self._remember(name, after)
        return model, scaled

    def _with_law(
        self, name: str, Z: FloatArray, noise: float | None, lawful: _Scaled, before: Remembered | None
    ) -> tuple[ExactGP, _Scaled, Remembered, float] | None:
        """The better kernel for what a law leaves open, and its evidence; None where none can be fitted."""
        n, g = len(Z), max(self._groups) + 1
        start = before if before is not None and before.follows_law and not before.additive else None
        found = []
        model, after = self._fit(name, Z, noise, lawful, start)
        if after is not None:
            found.append((model, lawful, after, _evidence(model, lawful)))
            if n >= _MIN_TO_CHOOSE and 2 <= g <= self._most_anova:
                if before is not None and before.follows_law and before.additive:
                    theta = before.theta
                else:
                    theta = tuple(np.insert(np.minimum(model.hyperparameters, _START_ANOVA), g, 0.0).tolist())
                begin = Remembered(theta, n, -1, additive=True)
                model, after = self._fit(name, Z, noise, lawful, begin)
                if after is not None:
                    found.append((model, lawful, after, _evidence(model, lawful) + _NATS_FOR_ARD))
        return max(found, key=lambda one: one[3], default=None)

    def labels(self, name: str, Z: FloatArray, labels: FloatArray) -> Classifier:
        """The model of labels 1 and 0."""
        groups = self._groups + [UNSEEN] * (Z.shape[1] - len(self._groups))  # the law's column, where there is one
        model = Classifier(Z, labels, Ard(np.array(groups, dtype=np.intp)))
        self._remember(name, self._moved(name, model, self._before.get(name), may_search=True))
        return model

    def _fit(
        self,
        name: str,
        Z: FloatArray,
        noise: float | None,
        scaled: _Scaled,
        before: Remembered | None,
        *,
        may_search: bool = True,
    ) -> tuple[ExactGP, Remembered | None]:
        known = np.minimum(scaled.sd, 1e3) ** 2
        if scaled.law is not None:
            Z = np.column_stack([Z, scaled.law])
        X, Y, Yvar = (torch.as_tensor(array) for array in (Z, scaled.y[:, None], known[:, None]))
        groups = self._groups + [UNSEEN] * (Z.shape[1] - len(self._groups))
        additive = before is not None and before.additive
        model = ExactGP(X, Y, Yvar, groups=groups, noise=noise, additive=additive, trend=scaled.trend)
        after = self._moved(name, model, before, may_search=may_search)
        if after is not None and after is not before:  # `before` itself comes back where the fit failed
            after = replace(after, warped=scaled.is_curved, additive=additive)
        return model, after

    @staticmethod
    def _moved(
        name: str, model: ExactGP | Classifier, before: Remembered | None, *, may_search: bool
    ) -> Remembered | None:
        """What to remember once the hyperparameters are where the data want them, or back where they were."""
        try:
            return fit(model, before, may_search=may_search)
        except GPError as error:
            if before is not None and before.fits(model):
                model.hyperparameters = np.array(before.theta)
            warnings.warn(
                f"The model of {name} could not be fitted and keeps its last hyperparameters, or its prior's: {error}",
                RuntimeWarning,
                stacklevel=2,
            )
            return before

    def _remember(self, name: str, after: Remembered | None) -> None:
        if after is not None:
            self.memory[name] = after.to_json()


def _evidence(model: ExactGP, scaled: _Scaled) -> float:
    """Log density of the outcome, whichever scale the model lives on, times the prior of the hyperparameters."""
    log_slope = np.log(np.maximum(scaled.slope, np.finfo(np.float64).tiny)) - math.log(model.scale)
    evidence = model.log_posterior + float(log_slope.sum())
    if scaled.trend is not None:
        # That the law's factor is positive is believed beforehand; the model has its normal density without a bound.
        p = model.predictor
        evidence += float(log_ndtr(p.slope / p.slope_sd) - log_ndtr(scaled.trend.mean / scaled.trend.sd))
    return evidence


def _fit_objective(history: History, Z: FloatArray, fits: _Fits, law: LawFeature | None) -> tuple[ExactGP, OutputScale]:
    """The objective's model, and the scale that it lives on."""
    z, plain = standardised(history.objective)
    default = math.nan if history.noise is None else history.noise
    with np.errstate(over="ignore"):
        sd = np.where(np.isnan(history.objective_sd), default, history.objective_sd) / plain.unit
    straight = _Scaled(z, sd, np.ones_like(z), plain)

    def curve() -> _Scaled:
        w, bent = warped(z, plain)
        return _Scaled(w, sd * bent.slope(z), bent.slope(z), bent, is_curved=True)

    lawful = None  # a law is in the objective's units: it is offered as they are, and a warp without it competes
    factor = 0.0 if law is None else law.unit / plain.unit
    if law is not None and 1.0 / _LAW_RANGE < factor < _LAW_RANGE:
        trend = Trend(factor, FACTOR_SD * factor)
        lawful = replace(straight, law=law.values(history.X), trend=trend)
    model, scaled = fits.best(_OBJECTIVE, Z, None, straight, curve, _NATS_TO_WARP, lawful)
    return model, scaled.scale


def _is_noisy(model: ExactGP | None) -> bool:
    """Whether noise explains an outcome clearly better than a rougher function without any would.

    A model that is too smooth takes what it misses for noise. So its evidence is set against that of the best model
    which must reproduce every value, with the same prior on what they share.

    Args:
        model: The fitted model; None without one.

    Returns:
        Whether the gain is more than `_NATS_FOR_NOISE`; True also where the noise is known.
    """
    if model is None or not model.learns_noise:
        return model is not None
    noisy, theta = model.regression, model.hyperparameters
    clean = noisy.without_noise(KNOWN_NOISE_FLOOR)
    try:
        rough = clean.fit(np.vstack([theta[:-1], clean.search_starts()]), max_evaluations=30)
    except GPError:
        return True
    gain = noisy.log_evidence(theta[None])[0] - clean.log_evidence(rough[None])[0]
    gain += clean.log_prior(theta[None, :-1])[0] - clean.log_prior(rough[None])[0]
    return float(gain[0]) > _NATS_FOR_NOISE


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


def _fit_constraints(
    history: History, Z: FloatArray, fits: _Fits
) -> tuple[tuple[ExactGP | None, ...], tuple[MarginScale | None, ...]]:
    """A model of each margin, and the scale that it lives on."""
    fitted = [_fit_constraint(history, column, Z, fits) for column in range(history.constraints.shape[1])]
    return tuple(model for model, _ in fitted), tuple(scale for _, scale in fitted)


def _fit_constraint(
    history: History, column: int, Z: FloatArray, fits: _Fits
) -> tuple[ExactGP | None, MarginScale | None]:
    margins, sd = history.constraints[:, column], history.constraints_sd[:, column]
    measured = np.flatnonzero(np.isfinite(margins))
    if len(measured) == 0:
        return None, None
    margins, sd, Z = margins[measured], sd[measured], Z[measured]
    noise = 0.0 if history.noise == 0.0 else None
    plain = MarginScale.of(margins)

    def on(scale: MarginScale) -> _Scaled:
        y, slope = scale.apply(margins)
        with np.errstate(over="ignore"):
            return _Scaled(y, sd * slope, slope, is_curved=scale.is_curved)

    name = f"constraint {history.outcomes.constraints[column].name!r}"
    model, scaled = fits.best(name, Z, noise, on(plain), lambda: on(plain.curved()), fits.nats_to_curve_margins)
    return model, plain.curved() if scaled.is_curved else plain


def _survival(history: History, features: FeatureMap, Z: FloatArray, fits: _Fits) -> Classifier | None:
    """Classification of the trials that were told and that failed.

    Over five problems with a region that breaks it lost a third fewer of 40 trials than no model did, and a tenth fewer
    than a regression on labels of 1 and -1.

    Args:
        history: What was told and what failed.
        features: The features of its space.
        Z: Features of the told trials, `n x F`.
        fits: Fits it.

    Returns:
        The fitted model of the labels, or None while nothing failed.
    """
    if len(history.failed) == 0:
        return None
    labels = np.concatenate([np.ones(len(Z)), np.zeros(len(history.failed))])
    return fits.labels("survival", np.concatenate([Z, features(history.failed)]), labels)
