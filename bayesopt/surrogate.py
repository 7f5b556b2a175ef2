"""Which model for this history: one Gaussian process an outcome, and one for whether a trial will survive.

Alphabet. U: `m x d` points of the unit cube. Z: `m x F` features, where every kernel is a Matérn-5/2 on Euclidean
distance. n: told trials. K: constraints. The objective is turned so that larger is better; a margin `<= 0` is feasible.
Models live on standardised outcomes; only `Recommendation` speaks the user's units.
"""

import functools
import math
import warnings
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bayesopt.errors import InvalidInputError
from bayesopt.output_scale import OutputScale, standardised, warped
from bayesopt.problem.parameters import Simplex
from bayesopt.problem.space import Space
from bayesopt.record.history import History
from gp.errors import GPError
from gp.models.exact import NOISE_BOUNDS, ExactGP
from gp.threads import single_threaded

FloatArray = NDArray[np.float64]

MAX_EXACT: Final = 400
"""Most trials that the exact model is conditioned on; fitting cost grows with the cube."""
_NATS_TO_WARP: Final = 5.0
"""Evidence that a warp of the objective must gain; with 1 nat a warp fitted to chance made Levy-5 three times worse."""
_MIN_TO_WARP: Final = 8
"""Told trials below which the shape of the objective's distribution says nothing."""
_BEST_KEPT: Final = 0.75
"""Of the trials kept from a longer history, the share that is there for being best; the others cover the space."""
_LEAST_SHARE: Final = 1e-6
"""The square root of a share has no slope at 0; shares below this take the slope at this one."""
_LARGEST: Final = 1e300
"""What a ratio that overflows is taken for."""
_MOST_DISTANCES: Final = 2**26
"""Most squared distances, one a feature and pair of trials, that a fit keeps in memory: half a gigabyte."""
_CLEAN_NOISE: Final = 2.0 * NOISE_BOUNDS[0]
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
    """What they were fitted to."""
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

    def tensor(self, array: FloatArray) -> Tensor:
        """An array on the models' device."""
        return torch.as_tensor(array, dtype=torch.float64, device=_device(self.history))

    @property
    def is_clean(self) -> bool:
        """Whether the objective is deterministic, by declaration or as far as the data can tell."""
        return self.objective is None or _is_clean(self.objective, self.history)

    @functools.cached_property
    def told_features(self) -> Tensor:
        """Features of the told trials, `n x F`."""
        return self.tensor(self.features(self.history.X))

    @functools.cached_property
    def told_mean_sd(self) -> tuple[FloatArray, FloatArray]:
        """Standardised posterior mean and standard deviation of the objective at the told trials, `n` each."""
        if self.objective is None:
            return np.zeros(0), np.zeros(0)
        prediction = self.objective.predictor.predict(self.told_features)
        return prediction.mean[:, 0].cpu().numpy(), prediction.variance.sqrt().cpu().numpy()

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
                z = -prediction.mean[:, 0] / prediction.variance.sqrt()
                believed = torch.special.ndtr(z).cpu().numpy()
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


@dataclass(frozen=True)
class Recommendation:
    """Which told trial to use, judged by the models and not by its own noisy value."""

    index: int | None
    """Row of the history with the best posterior mean among the probably feasible; None when no row is."""
    mean: FloatArray
    """Posterior mean of the objective at each row, `n`, in its units, larger is better."""
    sd: FloatArray
    """Posterior standard deviation of the noise-free objective at each row, `n`, in its units."""
    probability_feasible: FloatArray
    """Probability that every constraint holds at each row, `n`."""


def recommend(history: History) -> Recommendation:
    """The told trial that is best when the noise is taken off.

    A row is probably feasible when its constraints hold together with probability at least one half. Where the
    outcomes are deterministic, by declaration or as far as the data can tell, the best observed row is it.

    Args:
        history: What has been told.

    Returns:
        The row, and what the models say of every row.
    """
    with single_threaded():
        surrogate = fit_surrogate(history)
        mean, sd = surrogate.told_mean_sd
        probability = surrogate.told_probability_feasible
    index = history.best_observed
    if not surrogate.is_clean:
        rows = np.flatnonzero(probability >= 0.5)
        if len(rows):
            index = int(rows[np.argmax(mean[rows])])
    to_units = surrogate.scale.to_units
    half_width = 0.5 * (to_units(mean + sd) - to_units(mean - sd))
    return Recommendation(index, to_units(mean), half_width, probability)


def fit_surrogate(history: History) -> Surrogate:
    """Fit every model of a history, from scratch: the same history gives the same models bitwise.

    Args:
        history: What has been told, and what broke.

    Returns:
        The models. One that cannot be fitted keeps its prior's hyperparameters and warns.
    """
    features = FeatureMap(history.space)
    device = _device(history)
    Z = torch.as_tensor(features(history.X), dtype=torch.float64, device=device)
    objective, scale = None, OutputScale(0.0, 1.0)
    if len(history.X):
        objective, scale = _fit_objective(history, Z, features.groups)
    constraints = tuple(
        _fit_constraint(history, column, Z, features.groups) for column in range(history.constraints.shape[1])
    )
    return Surrogate(history, features, objective, constraints, _survival(history, features, Z), scale)


def _fit_objective(history: History, Z: Tensor, groups: list[int]) -> tuple[ExactGP, OutputScale]:
    """The objective's model, on a warped scale where the evidence asks for one."""
    rows = _kept(history.objective, Z)
    z, plain = standardised(history.objective)
    default = math.nan if history.noise is None else history.noise
    with np.errstate(over="ignore"):
        sd = np.where(np.isnan(history.objective_sd), default, history.objective_sd) / plain.unit

    def fit(values: FloatArray, scale: OutputScale, starts: FloatArray | None = None) -> tuple[ExactGP, float]:
        slope = scale.slope(z)
        noise = (sd * slope)[rows]
        model = _fit(Z[rows], values[rows], noise, groups, None, "the objective", starts)
        # The density of the same numbers, z, whichever scale the model lives on.
        return model, model.log_posterior + float(np.log(slope[rows] / model.scale).sum())

    model, evidence = fit(z, plain)
    if len(rows) >= _MIN_TO_WARP:
        w, bent = warped(z, plain)
        # Bent values vary over about the same distances, so one search from where the last one ended will do.
        other, other_evidence = fit(w, bent, model.hyperparameters[None])
        if other_evidence > evidence + _NATS_TO_WARP:
            return other, bent
    return model, plain


def _is_clean(model: ExactGP, history: History) -> bool:
    """Whether an outcome is deterministic, by declaration or as far as the data can tell."""
    learned = model.learns_noise and model.noise_variance <= _CLEAN_NOISE * model.scale**2
    return history.noise == 0.0 or learned


def _device(history: History) -> torch.device:
    # At most `MAX_EXACT` rows: a GPU's launch times cost more than it saves, so "auto" stays on the CPU here.
    device = torch.device("cpu" if history.device == "auto" else history.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InvalidInputError(
            f"device={history.device!r}: PyTorch finds no CUDA device here; reopen with 'auto' or 'cpu'."
        )
    return device


def _fit(
    Z: Tensor,
    y: FloatArray,
    sd: FloatArray,
    groups: list[int],
    noise: float | None,
    what: str,
    starts: FloatArray | None = None,
) -> ExactGP:
    Y = torch.as_tensor(y).to(Z)[:, None]
    known = np.minimum(sd, 1e3) ** 2
    Yvar = None if np.isnan(known).all() else torch.as_tensor(known).to(Z)[:, None]
    model = ExactGP(Z, Y, Yvar, groups=groups, noise=noise)
    try:
        return model.fit(starts=starts)
    except GPError as error:
        warnings.warn(
            f"The model of {what} could not be fitted and keeps its prior: {error}", RuntimeWarning, stacklevel=2
        )
        return model


def _fit_constraint(history: History, column: int, Z: Tensor, groups: list[int]) -> ExactGP | None:
    margins, sd = history.constraints[:, column], history.constraints_sd[:, column]
    measured = np.flatnonzero(np.isfinite(margins))
    if len(measured) == 0:
        return None
    # Near the boundary matters most: those rows are kept when there are too many.
    measured = measured[_kept(-np.abs(margins[measured]), Z[measured])]
    y, slope = _bilog(margins[measured])
    noise = 0.0 if history.noise == 0.0 else None
    name = history.outcomes.constraints[column].name
    return _fit(Z[measured], y, sd[measured] * slope, groups, noise, f"constraint {name!r}")


def _bilog(margins: FloatArray) -> tuple[FloatArray, FloatArray]:
    """`sign(m) log(1 + |m| / typical)`, which keeps 0 where it is, and its slope at each margin.

    Dividing by the median size first makes the result free of units; far violations are pulled in.

    Args:
        margins: Finite margins, `n`, feasible when `<= 0`.

    Returns:
        Transformed margins of the same signs, and the transform's slopes, `n` each.
    """
    sizes = np.abs(margins)
    typical = float(np.median(sizes[sizes > 0])) if (sizes > 0).any() else 1.0
    with np.errstate(over="ignore"):
        relative = np.minimum(sizes / typical, _LARGEST)
    return np.sign(margins) * np.log1p(relative), 1.0 / (typical * (1.0 + relative))


def _kept(values: FloatArray, Z: Tensor) -> NDArray[np.intp]:
    """Rows to condition on: all of a short history; of a long one the best, and others spread over the space."""
    n = len(values)
    most = min(MAX_EXACT, math.isqrt(_MOST_DISTANCES // Z.shape[1]))
    if n <= most:
        return np.arange(n)
    order = np.argsort(-values, kind="stable")
    kept = list(order[: int(_BEST_KEPT * most)])
    nearest = torch.cdist(Z, Z[kept]).amin(1)
    for _ in range(most - len(kept)):  # farthest-point traversal
        kept.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, torch.linalg.vector_norm(Z - Z[kept[-1]], dim=1))
    return np.sort(np.array(kept, dtype=np.intp))


def _survival(history: History, features: FeatureMap, Z: Tensor) -> ExactGP | None:
    """Least-squares classification (Rasmussen and Williams, section 6.5) of trials that were told and that failed.

    Fitted like any other outcome, it learns along which parameters trials break and how much of it is chance. On two
    six-dimensional problems with a forbidden half-space it lost half the trials that smoothed counts with a fixed
    kernel lost (7 to 21 of 40, against 7 to 30).

    Args:
        history: What was told and what failed.
        features: The features of its space.
        Z: Features of the told trials, `n x F`.

    Returns:
        The fitted model of the labels, or None.
    """
    if len(history.failed) == 0:
        return None
    labels = np.concatenate([np.ones(len(Z)), -np.ones(len(history.failed))])
    everything = torch.cat([Z, torch.as_tensor(features(history.failed)).to(Z)])
    rows = _kept(-labels, everything)  # of too many, survivors are thinned first
    unknown = np.full(len(rows), np.nan)
    return _fit(everything[rows], labels[rows], unknown, features.groups, None, "survival")
