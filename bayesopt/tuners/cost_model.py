"""A Gaussian process on log cost over (context, arm), kept as sums in cells so that it never grows with the run.

Alphabet. c: a context, `k`; x: its coordinates, scaled to [0, 1]. Z: features of arms, `F`. z: log cost. Cell: a bin
of contexts and an arm; n observations of mean y and noise variance s²/n. f: what the process is of. K: kernel matrix of
the cells; A = K + noise. m: prior mean. h: log hyperparameters: a lengthscale each coordinate and each group of
features, then the amplitude, then the noise s.

Works on numpy alone: a solver's script should not load torch to learn one number.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from scipy.special import log_ndtr

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

MOST_CELLS: Final = 480
"""Cells that are kept apart; beyond, bins of contexts are merged. An update costs some 0.5 ms at that size."""
MOST_BINS: Final = 32
"""Bins of contexts that are kept apart."""
_BIN: Final = 1 / 24
"""Least distance between the centres of two bins, in units of the range of the contexts."""
_LENGTHSCALES: Final = 0.25, 0.35
"""Medians of the priors of the lengthscales of a coordinate and of a group of features, in units of their ranges."""
_NOISE: Final = 0.06
"""Median of the prior of s: iteration counts of ten to fifty are that exact, given their context."""
_LOG_SD: Final = 0.2, 0.2, 0.3, 1.0
"""Standard deviations of the priors of h: coordinates, groups, amplitude, noise. Lengthscales are held tightly, since
they are learned where the tuner has been and used where it has not: with 0.5, bursts were met with a rough model."""
_LEAST_NOISE: Final = 0.02
"""The noise is searched from here on: below, counts would have to be exact to half a per cent."""
_UNSHARED: Final = 0.4
"""Share of s that counts between arms: what a system adds to the cost of all its arms says nothing of which is best.
With 1, the heat equation's 1,000 steps cost 8,443 iterations, with 0.4 8,425, each give or take 10."""
_FIRST_FIT: Final = 30
"""Observations from which on hyperparameters are learned,"""
_FIT_GROWTH: Final = 1.6
"""and the growth of their number after which they are learned anew."""
_REBUILD_GROWTH: Final = 1.1
"""The growth of that number after which scales, prior mean and inverse are computed anew."""
_FLOOR: Final = 1e-3
"""Where a logarithmic coordinate begins to be linear, as a share of the largest context: 0 has a place, too."""
_NATS_TO_REWARP: Final = 2.0
"""Evidence that a logarithmic coordinate must gain over a linear one, or the other way round."""
_LEAST_AMPLITUDE: Final = 0.1
"""Least standard deviation of log cost that is believed while few have been seen."""
_RECENT: Final = 50
"""Observations that tell a drift,"""
_DRIFT: Final = 3.0
"""by a root mean square of their standardised residuals above this."""
_RETRY_PRIOR: Final = 0.02, 1.0
"""A failure's probability before any was seen, and how many observations that is worth."""


@dataclass
class Cells:
    """What was seen, a row a cell."""

    bins: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    """The bin of each cell."""
    arms: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    """Its arm."""
    sums: FloatArray = field(default_factory=lambda: np.empty((0, 6)))
    """Count, sum and sum of squares of z; precision, and precision times mean, of what censored costs say; failures."""

    def __len__(self) -> int:
        """How many there are."""
        return len(self.bins)

    def row(self, a_bin: int, arm: int) -> int:
        """The row of a cell, which is added where it is new."""
        found = np.flatnonzero((self.bins == a_bin) & (self.arms == arm))
        if len(found):
            return int(found[0])
        self.bins, self.arms = np.append(self.bins, a_bin), np.append(self.arms, arm)
        self.sums = np.concatenate([self.sums, np.zeros((1, 6))])
        return len(self) - 1


class CostModel:
    """Posterior of log cost at any context and arm; what is told is folded in at constant cost.

    Each observation is moved to its cell's centre by the model's own difference between the two places, so that a
    coarse bin adds no noise of its own.
    """

    def __init__(self, context_dim: int, groups: IntArray, *, is_counted: bool) -> None:
        """A model that knows nothing.

        Args:
            context_dim: Numbers in a context.
            groups: For each feature of an arm the index of its group, `F`.
            is_counted: Whether costs are whole numbers.
        """
        self.is_counted = is_counted
        self.groups, self.context_dim = groups, context_dim
        self.cells = Cells()
        self.centres = np.empty((0, context_dim))
        """The contexts in the middle of the bins, `b x k`."""
        self.is_log = np.ones(context_dim, dtype=np.bool_)
        """Which coordinates are logarithmic."""
        self.low, self.high = np.full(context_dim, np.inf), np.full(context_dim, -np.inf)
        """Range of the contexts."""
        n_groups = int(groups.max()) + 1
        medians = [*[_LENGTHSCALES[0]] * context_dim, *[_LENGTHSCALES[1]] * n_groups, 1.0, _NOISE]
        self._prior = np.log(medians)
        context, group, amplitude, noise = _LOG_SD
        self._prior_sd = np.array([*[context] * context_dim, *[group] * n_groups, amplitude, noise])
        self.h = self._prior.copy()
        self.told = 0
        self.mean, self.scale = 0.0, _LEAST_AMPLITUDE
        self._width = _BIN
        self._rebuild_at = self._fit_at = 0
        self._recent: list[float] = []
        self._usual = 1.0
        self._features: FloatArray = np.empty((0, len(groups)))
        self._floor, self._low, self._span = np.ones(context_dim), np.zeros(context_dim), np.ones(context_dim)
        self._rows = np.empty(0, dtype=np.intp)
        self._points: FloatArray = np.empty((0, context_dim + len(groups)))
        self._diagonal: FloatArray = np.empty(0)
        self._inverse: FloatArray = np.empty((0, 0))
        self._alpha: FloatArray = np.empty(0)

    # -- what the model says ---------------------------------------------------------------------------------------

    def predict(self, context: FloatArray, Z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Posterior of f at one context and several arms.

        Args:
            context: Its numbers, `k`.
            Z: Features of the arms, `p x F`.

        Returns:
            Means and variances, `p` each.
        """
        cross = self._kernel(self._at(context, Z), self._points)
        variance = self._amplitude**2 - np.einsum("ij,ij->i", cross @ self._inverse, cross)
        return self.mean + cross @ self._alpha, np.maximum(variance, 1e-10)

    def log_attempts(self, context: FloatArray, Z: FloatArray) -> FloatArray:
        """Log of the number of solves that one success is expected to take, `p`: 1 over the probability of success.

        That probability is a local frequency: solves near by count by the kernel, after a weak prior.

        Args:
            context: As in `predict`.
            Z: As there.

        Returns:
            Shape `p`; zeros before the first failure.
        """
        sums = self.cells.sums
        if not sums[:, 5].any():
            return np.zeros(len(Z))
        near = self._kernel(self._at(context, Z), self._cell_points()) / self._amplitude**2
        failures, solves = near @ sums[:, 5], near @ (sums[:, 0] + sums[:, 5])
        share, weight = _RETRY_PRIOR
        attempts: FloatArray = -np.log1p(-(share * weight + failures) / (weight + solves))
        return attempts

    # -- what the model is told ------------------------------------------------------------------------------------

    def tell(
        self,
        context: FloatArray,
        arm: int,
        Z: FloatArray,
        z: float | None,
        *,
        is_censored: bool = False,
        is_more: bool = False,
    ) -> None:
        """Fold in one solve.

        Args:
            context: Its numbers, `k`.
            arm: The arm's number.
            Z: Features of all arms, `n x F`.
            z: Log cost; None for a solve that broke down.
            is_censored: Whether the true cost is at least that, and not known.
            is_more: Whether another follows at once, so that the posterior can wait for it.
        """
        self._features = Z
        self.low, self.high = np.minimum(self.low, context), np.maximum(self.high, context)
        if self.told == 0:
            self.is_log = context >= 0
            self.mean = 0.0 if z is None else z
            self._rescale()
        self.told += 1
        row = self.cells.row(self._bin(context), arm)
        sums = self.cells.sums[row]
        if is_more and z is not None and not is_censored:
            sums[:3] += 1.0, z, z * z
            self._rebuild_at = -1
            return
        if self._rebuild_at == -1:
            self._rebuild()
            sums = self.cells.sums[row]
        if z is None:
            sums[5] += 1
        else:
            (mean,), (variance,) = self.predict(context, Z[[arm]])
            if is_censored:
                sums[3:5] += _censored_site(z, float(mean), float(variance), self._noise)
            else:
                self._recent.append((z - float(mean)) / math.sqrt(variance + (self._noise / _UNSHARED) ** 2))
                (at_centre,), _ = self.predict(self.centres[self.cells.bins[row]], Z[[arm]])
                z += float(at_centre - mean)
                sums[:3] += 1.0, z, z * z
            self._refresh(row)
        self._notice_drift()
        if len(self.centres) > MOST_BINS or len(self.cells) > MOST_CELLS:
            self._coarsen()
        if self.told >= self._rebuild_at:
            self._rebuild()

    # -- cells -----------------------------------------------------------------------------------------------------

    def _bin(self, context: FloatArray) -> int:
        """The bin of a context; a new one where no centre is near."""
        if len(self.centres):
            distances = np.abs(self._coordinates(self.centres) - self._coordinates(context[None])).max(1, initial=0.0)
            nearest = int(distances.argmin())
            if distances[nearest] <= self._width:
                return nearest
        self.centres = np.concatenate([self.centres, context[None]])
        return len(self.centres) - 1

    def _coarsen(self) -> None:
        """Merge bins until they and their cells are few enough again; sums move by what the model says of the move."""
        while len(self.centres) > 0.75 * MOST_BINS or len(self.cells) > 0.75 * MOST_CELLS:
            self._width *= 1.3
            X = self._coordinates(self.centres)
            kept: list[int] = []
            home = np.empty(len(X), dtype=np.intp)
            counts = np.bincount(self.cells.bins, weights=self.cells.sums[:, 0], minlength=len(X))
            for each in np.argsort(-counts, kind="stable"):
                distances = np.abs(X[kept] - X[each]).max(1, initial=0.0)
                if len(kept) == 0 or distances.min() > self._width:
                    home[each] = len(kept)
                    kept.append(int(each))
                else:
                    home[each] = int(distances.argmin())
            if len(kept) < len(X):
                self._merge(kept, home)
            elif len(kept) == 1:
                break  # one bin: the arms are bounded, and so are the cells
        self._rebuild_at = 0

    def _merge(self, kept: list[int], home: IntArray) -> None:
        old = self.cells
        before, _ = self._predict_points(self._cell_points())
        moved = self._at_many(self.centres[kept][home[old.bins]], self._features[old.arms])
        shift = self._predict_points(moved)[0] - before
        count, total, square, precision, weighted, failures = old.sums.T
        sums = np.stack([
            count,
            total + shift * count,
            square + 2.0 * shift * total + shift**2 * count,
            precision,
            weighted + shift * precision,
            failures,
        ])
        self.cells, self.centres = Cells(), self.centres[kept]
        for a_bin, arm, each in zip(home[old.bins], old.arms, sums.T, strict=True):
            row = self.cells.row(int(a_bin), int(arm))
            self.cells.sums[row] += each

    def _notice_drift(self) -> None:
        """Let what is older count less where the last solves were far from what it foretold; nothing is forgotten."""
        if len(self._recent) < _RECENT:
            return
        surprise = float(np.mean(np.square(self._recent)))
        usual = max(1.0, self._usual)
        if surprise > _DRIFT**2 * usual:
            self.cells.sums[:, :5] *= usual / surprise
            self._recent = []
            self._rebuild_at = 0
        else:
            left = self._recent.pop(0)
            self._usual += (left**2 - self._usual) / max(1, self.told - _RECENT)

    # -- the process -----------------------------------------------------------------------------------------------

    @property
    def _amplitude(self) -> float:
        return float(self.scale * math.exp(self.h[-2]))

    @property
    def _noise(self) -> float:
        return float(_UNSHARED * math.exp(self.h[-1]))

    def _coordinates(self, contexts: FloatArray) -> FloatArray:
        """Contexts `n x k` on the scale of the last `_rescale`."""
        return (self._warped(contexts) - self._low) / self._span

    def _warped(self, contexts: FloatArray) -> FloatArray:
        return np.where(self.is_log, np.arcsinh(contexts / self._floor), contexts)

    def _rescale(self) -> None:
        largest = np.maximum(np.abs(self.low), np.abs(self.high))
        self._floor = np.where(largest > 0, _FLOOR * largest, 1.0)
        ends = self._warped(np.stack([self.low, self.high]))
        self._low = ends[0]
        self._span = np.where(ends[1] > ends[0], ends[1] - ends[0], 1.0)

    def _at(self, context: FloatArray, Z: FloatArray) -> FloatArray:
        return self._at_many(np.broadcast_to(context, (len(Z), self.context_dim)), Z)

    def _at_many(self, contexts: FloatArray, Z: FloatArray) -> FloatArray:
        return np.concatenate([self._coordinates(contexts), Z], axis=1)

    def _cell_points(self) -> FloatArray:
        return self._at_many(self.centres[self.cells.bins], self._features[self.cells.arms])

    def _lengthscales(self) -> FloatArray:
        lengthscales: FloatArray = np.exp(self.h[:-2])
        k = self.context_dim
        return np.concatenate([lengthscales[:k], lengthscales[k:][self.groups]])

    def _kernel(self, P: FloatArray, Q: FloatArray) -> FloatArray:
        """Squared-exponential covariances of `p` with `q` places, `p x q`."""
        P, Q = P / self._lengthscales(), Q / self._lengthscales()
        squares = np.einsum("ij,ij->i", P, P)[:, None] + np.einsum("ij,ij->i", Q, Q) - 2.0 * P @ Q.T
        return self._amplitude**2 * np.exp(-0.5 * np.maximum(squares, 0.0))

    def _predict_points(self, points: FloatArray) -> tuple[FloatArray, FloatArray]:
        cross = self._kernel(points, self._points)
        return self.mean + cross @ self._alpha, cross

    def _targets(self, rows: IntArray) -> tuple[FloatArray, FloatArray]:
        """Mean and noise variance of what cells say of f."""
        count, total, _, precision, weighted, _ = self.cells.sums[rows].T
        known = count / self._noise**2 + precision
        y = (total / self._noise**2 + weighted) / known
        return y, 1.0 / known

    def _rounding(self, y: FloatArray) -> FloatArray:
        """Variance of log cost that whole numbers alone make; a cell repeats its own error, so no mean over n helps."""
        return np.exp(-2.0 * y) / 12.0 if self.is_counted else np.zeros(len(y))

    def _refresh(self, row: int) -> None:
        """Update the inverse of A after one cell changed: a rank-one correction, or one more row and column."""
        place = np.flatnonzero(self._rows == row)
        _, (noise,) = self._targets(np.array([row]))
        if len(place):
            i = int(place[0])
            change = noise - self._diagonal[i]
            self._diagonal[i] = noise
            column = self._inverse[:, i].copy()
            self._inverse -= np.outer(column, column * (change / (1.0 + change * column[i])))
        else:
            point = self._at(self.centres[self.cells.bins[row]], self._features[[self.cells.arms[row]]])
            cross = self._kernel(point, self._points)[0]
            solved = self._inverse @ cross
            corner = 1.0 / (self._amplitude**2 + noise - cross @ solved)
            n = len(cross)
            inverse = np.empty((n + 1, n + 1))
            inverse[:n, :n] = self._inverse + corner * np.outer(solved, solved)
            inverse[n, :n] = inverse[:n, n] = -corner * solved
            inverse[n, n] = corner
            self._inverse, self._points = inverse, np.concatenate([self._points, point])
            self._rows, self._diagonal = np.append(self._rows, row), np.append(self._diagonal, noise)
        self._alpha = self._inverse @ (self._targets(self._rows)[0] - self.mean)

    def _rebuild(self) -> None:
        """Scales, prior mean and inverse anew; hyperparameters too where they are due."""
        self._rebuild_at = math.ceil(_REBUILD_GROWTH * self.told)
        self._rescale()
        self._rows = np.flatnonzero(self.cells.sums[:, 0] + self.cells.sums[:, 3] > 0)
        if len(self._rows) and self.told >= max(self._fit_at, _FIRST_FIT):
            self._fit()
            self._fit_at = math.ceil(_FIT_GROWTH * self.told)
        if len(self._rows):
            self._centre(self._targets(self._rows)[0])
        self._invert()

    def _invert(self) -> None:
        self._rows = np.flatnonzero(self.cells.sums[:, 0] + self.cells.sums[:, 3] > 0)
        self._points = self._cell_points()[self._rows]
        y, self._diagonal = self._targets(self._rows)
        A = self._kernel(self._points, self._points) + np.diag(self._diagonal)
        self._inverse = cho_solve(cho_factor(A), np.eye(len(A))) if len(A) else A
        self._alpha = self._inverse @ (y - self.mean)

    def _centre(self, y: FloatArray) -> None:
        weights = self.cells.sums[self._rows, 0] + (self.cells.sums[self._rows, 3] > 0)
        self.mean = float(np.average(y, weights=weights))
        self.scale = max(math.sqrt(np.average((y - self.mean) ** 2, weights=weights)), _LEAST_AMPLITUDE)

    def _fit(self) -> None:
        """Hyperparameters at the maximum of evidence times prior; each coordinate as it is and warped otherwise."""
        y, _ = self._targets(self._rows)
        self._centre(y)
        best, self.h = self._search(self.h)
        for i in range(self.context_dim):
            if self.high[i] == self.low[i]:
                continue
            self.is_log[i] = not self.is_log[i]
            self._rescale()
            value, h = self._search(self.h)
            if value < best - _NATS_TO_REWARP:
                best, self.h = value, h
            else:
                self.is_log[i] = not self.is_log[i]
                self._rescale()

    def _search(self, start: FloatArray) -> tuple[float, FloatArray]:
        points = self._cell_points()[self._rows]
        distances = self._group_distances(points)
        low, high = self._prior - 3.0 * self._prior_sd, self._prior + 3.0 * self._prior_sd
        low[-1] = math.log(_LEAST_NOISE)
        found = minimize(
            self._objective,
            start,
            args=(distances, self._rounding(self._targets(self._rows)[0])),
            jac=True,
            method="L-BFGS-B",
            bounds=list(zip(low, high, strict=True)),
            options={"maxiter": 15},
        )
        return float(found.fun), found.x

    def _group_distances(self, points: FloatArray) -> FloatArray:
        """Squared distances along each coordinate and group, `(k + g) x n x n`."""
        k = self.context_dim
        distances = np.zeros((len(self.h) - 2, len(points), len(points)))
        for feature, owner in enumerate([*range(k), *(k + self.groups)]):
            column = points[:, feature]
            distances[owner] += (column[:, None] - column) ** 2
        return distances

    def _objective(self, h: FloatArray, distances: FloatArray, rounding: FloatArray) -> tuple[float, FloatArray]:
        """Minus log evidence and log prior, and the gradient.

        The scatter of the observations within a cell is independent of their mean, so it adds its own likelihood.

        Returns:
            The value, and its derivatives with respect to h.
        """
        count, total, square, precision, weighted, _ = self.cells.sums[self._rows].T
        noise = math.exp(2.0 * h[-1])
        known = count / noise + precision
        D = 1.0 / known
        y = (total / noise + weighted) * D
        residual = y - self.mean
        inverse_squares = np.exp(-2.0 * h[:-2])
        K = (self.scale * math.exp(h[-2])) ** 2 * np.exp(-0.5 * np.tensordot(inverse_squares, distances, axes=1))
        factor = cho_factor(K + np.diag(D + rounding))
        inverse = cho_solve(factor, np.eye(len(K)))
        alpha = inverse @ residual
        seen = count > 0
        within = float(np.sum(square[seen] - total[seen] ** 2 / count[seen]))
        freedom = max(float(np.sum(count[seen] - 1.0)), 0.0)
        off = (h - self._prior) / self._prior_sd
        value = 0.5 * residual @ alpha + np.log(np.diag(factor[0])).sum() + freedom * h[-1] + 0.5 * within / noise
        value += 0.5 * off @ off
        W = 0.5 * (inverse - np.outer(alpha, alpha))
        WK = W * K
        gradient = off / self._prior_sd
        gradient[:-2] += inverse_squares * np.einsum("gij,ij->g", distances, WK)
        gradient[-2] += 2.0 * WK.sum()
        dD = 2.0 * D**2 * count / noise  # with respect to h[-1]
        dy = D * (-2.0 * total / noise) + y * dD / D
        gradient[-1] += np.diag(W) @ dD + alpha @ dy + freedom - within / noise
        return float(value), gradient

    # -- storage ---------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """What the model knows, in JSON values."""
        return {
            "bins": self.cells.bins.tolist(),
            "arms": self.cells.arms.tolist(),
            "sums": self.cells.sums.tolist(),
            "centres": self.centres.tolist(),
            "is_log": self.is_log.tolist(),
            "range": [self.low.tolist(), self.high.tolist()] if self.told else None,
            "scaled_by": [self._floor.tolist(), self._low.tolist(), self._span.tolist()],
            "h": self.h.tolist(),
            "told": self.told,
            "mean": self.mean,
            "scale": self.scale,
            "width": self._width,
            "due": [self._rebuild_at, self._fit_at],
            "residuals": [self._usual, list(self._recent)],
        }

    def load_state_dict(self, state: dict[str, Any], Z: FloatArray) -> None:
        """Know what another model knew.

        Args:
            state: What `state_dict` returned.
            Z: Features of all arms, `n x F`.
        """
        k = self.context_dim
        self.cells = Cells(
            np.array(state["bins"], dtype=np.intp),
            np.array(state["arms"], dtype=np.intp),
            np.reshape(np.array(state["sums"], dtype=np.float64), (-1, 6)),
        )
        self.centres = np.reshape(np.array(state["centres"], dtype=np.float64), (len(state["centres"]), k))
        self.is_log = np.array(state["is_log"], dtype=np.bool_)
        ends = state["range"] or [[np.inf] * k, [-np.inf] * k]
        self.low, self.high = (np.array(end, dtype=np.float64) for end in ends)
        self._floor, self._low, self._span = (np.array(part, dtype=np.float64) for part in state["scaled_by"])
        self.h = np.array(state["h"], dtype=np.float64)
        self.told, self.mean, self.scale = int(state["told"]), float(state["mean"]), float(state["scale"])
        self._width, (self._usual, recent) = float(state["width"]), state["residuals"]
        self._recent = list(recent)
        self._rebuild_at, self._fit_at = state["due"]
        self._features = Z
        self._invert()


def _censored_site(least: float, mean: float, variance: float, noise: float) -> tuple[float, float]:
    """What "at least this" says of f, as a normal factor of the same two moments of the posterior (Tobit).

    Returns:
        The factor's precision, and that times its mean.
    """
    sd = math.sqrt(variance + noise**2)
    reach = (mean - least) / sd
    ratio = math.exp(-0.5 * reach**2 - 0.5 * math.log(2.0 * math.pi) - float(log_ndtr(reach)))
    after_mean = mean + variance * ratio / sd
    after_variance = variance - variance**2 * ratio * (reach + ratio) / sd**2
    precision = max(1.0 / after_variance - 1.0 / variance, 1e-9)
    return precision, after_mean / after_variance - mean / variance
