"""What to train next: a Gaussian process around a law's bowl, over all that can be told before and during a search.

Alphabet. U: `m x d` points of the unit cube. Z: their features. d: octaves from the law's settings, `m x k`. H: the
law's curvature. q: the bowl, nats. y: losses, clipped. n: told.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from bayesopt.acquisition.pool import draw_moves, draw_pool
from bayesopt.laws.base import Octaves
from bayesopt.problem.space import Space
from bayesopt.record.history import History
from bayesopt.strategies.base import Suggestion
from bayesopt.strategies.space_filling import sobol_point

if TYPE_CHECKING:
    from gp.models.basis import BasisGP

FloatArray = NDArray[np.float64]

LEFT_SCALE: Final = 0.02
"""Nats that a bowl leaves open of the loss of a language model, a standard deviation."""
LEFT_NOISE: Final = 0.003
"""Nats of noise between runs that differ in nothing that matters."""
LEVEL_SD: Final = 1.0
"""Nats that the level of the loss is unknown by,"""
DEPTH_SD: Final = 0.25
"""and the share that the bowl's depth is: as much as its curvature varies from model to model. With a half, the second
or third run of some searches went to the farthest corner."""
LENGTH_SD: Final = 0.3
"""Nats that doubling the length of a run may change."""
_RELATIVE_NOISE: Final = 0.05
"""Noise without a law, as a share of the spread of the losses."""
_LEAST_SPREAD: Final = 1e-3
"""Losses that differ by less are taken to differ by this much."""
_BELIEF_POWER: Final = 10.0
"""A belief weighs as its density to this power over the number of told runs."""
_SAMPLES: Final = 1024
"""Configurations that are looked at first where there is no list of candidates."""
_ROUNDS: Final = 2
"""Times that one then looks closer around the best of them."""
_TOPS: Final = 4
"""How many those are."""


@dataclass(frozen=True)
class BoundLaw:
    """A law for the configurations of a space."""

    predict: Callable[[Mapping[str, Any]], Octaves]
    """From a configuration to log2 of settings and their sd, by the law's names."""
    names: Mapping[str, str]
    """The law's name of each setting to the space's."""
    curvature: FloatArray
    """H, in the order of `names`."""
    form: Literal["mean", "belief"]
    """What it is told as."""

    def octaves(self, params: list[dict[str, Any]]) -> tuple[FloatArray, FloatArray]:
        """How far configurations are from the law's settings, and how sure these are, `m x k` each."""
        away, sds = np.empty((len(params), len(self.names))), np.empty((len(params), len(self.names)))
        for row, config in enumerate(params):
            mean, sd = self.predict(config)
            away[row] = [np.log2(config[parameter]) - mean[name] for name, parameter in self.names.items()]
            sds[row] = [sd[name] for name in self.names]
        return away, sds


class LawGuided:
    """Expected improvement under a `gp.models.basis.BasisGP`, among candidates or all over a space.

    With a law the first run is at its settings. Without one it is in the middle of the space, and as many points of a
    Sobol sequence as there are dimensions follow.
    """

    def __init__(
        self,
        law: BoundLaw | None,
        *,
        clip: float,
        diverge: Literal["clip", "constraint"],
        candidates: FloatArray | None,
        length: str | None,
    ) -> None:
        """Say what is known.

        Args:
            law: The law; None without one.
            clip: Nats above the best at which losses are cut.
            diverge: Whether runs that diverged count as that much above the best, or as a constraint of their own.
            candidates: The only points that may be proposed, `m x d`; None for the whole space.
            length: The parameter that says how long a run is; proposals are of full length. None without one.
        """
        self.law, self.clip, self.diverge = law, clip, diverge
        self.candidates, self.length = candidates, length

    def suggest(self, history: History, n: int, rng: np.random.Generator) -> list[Suggestion]:
        """Configurations to try next, as in `Strategy.suggest`."""
        from gp.threads import single_threaded  # late: it brings torch, which a study that only stores never needs

        chosen: list[FloatArray] = []
        with single_threaded():
            while len(chosen) < n:
                u = self._next(history, chosen, rng)
                if u is None:
                    break
                chosen.append(u)
        return [Suggestion(history.space.decode(u)) for u in chosen]

    def _next(self, history: History, chosen: list[FloatArray], rng: np.random.Generator) -> FloatArray | None:
        space, tried = history.space, np.vstack([history.tried, *chosen])
        is_blind = len(history.X) + (len(history.failed) if self.diverge == "clip" else 0) == 0
        if self.law is None and (len(tried) <= space.dim or is_blind):
            target = np.full(space.dim, 0.5) if len(tried) == 0 else None
            if target is None:
                target = sobol_point(space, len(tried) - 1, history.seed, np.zeros((0, space.dim)), rng)
            return self._nearest(space, target, tried, rng)
        if self.law is not None and (len(tried) == 0 or is_blind):
            return self._nearest(space, self._settings(space, 0.0 if len(tried) == 0 else 1.0, rng), tried, rng)
        pending = np.vstack([history.pending, *chosen])
        model, told = self._model(history, pending)
        pool = self._pool(space, told, tried, rng)
        if len(pool) == 0:
            return None
        scores = self._scores(model, history, told, pool)
        if self.candidates is None:
            for _ in range(_ROUNDS):
                tops = pool[np.argsort(-scores, kind="stable")[:_TOPS]]
                near = self._admitted(space, draw_moves(space, tops, rng), tried)
                if len(near):
                    pool = np.vstack([tops, near])
                    scores = self._scores(model, history, told, pool)
        best: FloatArray = pool[int(np.argmax(scores))]
        return best

    # -- where to look ------------------------------------------------------------------------------------------------

    def _pool(self, space: Space, told: FloatArray, tried: FloatArray, rng: np.random.Generator) -> FloatArray:
        if self.candidates is not None:
            return self._admitted(space, self.candidates, tried)
        pool = draw_pool(space, told[:_TOPS], rng, _SAMPLES)
        if self.law is not None:
            settings = self._settings(space, 0.0, rng)
            pool = np.vstack([pool, space.snap(settings[None]), draw_moves(space, settings[None], rng)])
        return self._admitted(space, pool, tried)

    def _admitted(self, space: Space, pool: FloatArray, tried: FloatArray) -> FloatArray:
        """Those of full length that are allowed and were not tried."""
        if self.candidates is None:
            pool = self._at_full_length(space, pool)
            pool = pool[space.is_allowed(pool)]
        if len(tried) and len(pool):
            gaps = np.abs(pool[:, None, :] - tried[None, :, :]).max(axis=2).min(axis=1)
            pool = pool[gaps > 1e-9]
        return pool

    def _at_full_length(self, space: Space, U: FloatArray) -> FloatArray:
        if self.length is None:
            return U
        column = next(i for i, described in enumerate(space.columns) if described.parameter == self.length)
        full = U.copy()
        full[:, column] = 1.0
        return space.snap(full)

    def _nearest(
        self, space: Space, target: FloatArray | None, tried: FloatArray, rng: np.random.Generator
    ) -> FloatArray | None:
        """The untried point nearest to a target."""
        if target is None:
            return None
        near = draw_moves(space, target[None], rng) if self.candidates is None else np.zeros((0, space.dim))
        own = space.snap(target[None])
        pool = self._admitted(space, np.vstack([own, near]) if self.candidates is None else self.candidates, tried)
        if len(pool) == 0 and self.candidates is None:
            pool = self._admitted(space, draw_pool(space, np.zeros((0, space.dim)), rng, _SAMPLES), tried)
        if len(pool) == 0:
            return None
        nearest: FloatArray = pool[int(np.argmin(((pool - target) ** 2).sum(1)))]
        return nearest

    def _settings(self, space: Space, spread: float, rng: np.random.Generator) -> FloatArray:
        """The law's settings in the middle of what it says nothing of, `d`, moved by a draw times its sd."""
        assert self.law is not None
        middle = self._at_full_length(space, space.snap(np.full((1, space.dim), 0.5)))[0]
        params = space.decode(middle)
        mean, sd = self.law.predict(params)
        for name, parameter in self.law.names.items():
            declared: Any = space[parameter]
            value = 2.0 ** (mean[name] + spread * sd[name] * float(rng.standard_normal()))
            value = min(max(value, declared.low), declared.high)
            params[parameter] = round(value) if isinstance(declared.low, int) else value
        return space.encode(params)

    # -- what is known ------------------------------------------------------------------------------------------------

    def losses(self, history: History) -> tuple[FloatArray, FloatArray, FloatArray]:
        """What a model sees of a history.

        A run that diverged is `clip` above the best, or with the constraint left out; no loss is further above.

        Args:
            history: What was told and what diverged.

        Returns:
            Points, `n x d`, losses, `n`, and known variances of these besides the noise, `n`.
        """
        losses = -history.objective
        best = losses.min() if len(losses) else 0.0
        variances = np.nan_to_num(history.objective_sd) ** 2
        U, y = history.X, np.minimum(losses, best + self.clip)
        if self.diverge == "clip" and len(history.failed):
            U = np.vstack([U, history.failed])
            y = np.append(y, np.full(len(history.failed), best + self.clip))
            variances = np.append(variances, np.zeros(len(history.failed)))
        return U, y, variances

    def columns(self, space: Space, U: FloatArray) -> FloatArray:
        """What a model sees of points: features, the level, and with a law its bowl and the slopes of a moved one."""
        from bayesopt.surrogate import FeatureMap  # late: it brings torch

        parts = [FeatureMap(space)(U), np.ones((len(U), 1))]
        params = space.decode_all(U)
        if self.length is not None:
            longest = float(space[self.length].high)  # type: ignore[union-attr]  # the tuner saw a number
            parts.append(np.log2([[config[self.length] / longest] for config in params]))
        if self.law is not None and self.law.form == "mean":
            away, _ = self.law.octaves(params)
            q = 0.5 * np.einsum("mi,ij,mj->m", away, self.law.curvature, away)
            slopes = -(away @ self.law.curvature) * (q < self.clip)[:, None]
            parts += [np.minimum(q, self.clip)[:, None], slopes]
        return np.hstack(parts)

    def weights(self, space: Space, level_sd: float) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of the weights of what comes after the features in `columns`."""
        mean, sd = [0.0], [level_sd]
        if self.length is not None:
            mean, sd = [*mean, 0.0], [*sd, LENGTH_SD]
        if self.law is not None and self.law.form == "mean":
            _, octaves = self.law.predict(space.decode(np.full(space.dim, 0.5)))
            mean = [*mean, 1.0, *([0.0] * len(self.law.names))]
            sd = [*sd, DEPTH_SD, *(octaves[name] for name in self.law.names)]
        return mean, sd

    def fitted(self, history: History) -> "tuple[BasisGP, float]":
        """The model of y less its mean, fitted, and that mean."""
        import torch

        from bayesopt.surrogate import FeatureMap
        from gp.models.basis import BasisGP

        U, y, variances = self.losses(history)
        level = float(y.mean())
        if self.law is not None and self.law.form == "mean":
            level_sd, scale, noise = LEVEL_SD, LEFT_SCALE, LEFT_NOISE
        else:
            level_sd = scale = max(float(y.std()), _LEAST_SPREAD)
            noise = _RELATIVE_NOISE * scale
        mean, sd = self.weights(history.space, level_sd)
        model = BasisGP(
            torch.as_tensor(self.columns(history.space, U)),
            torch.as_tensor((y - level)[:, None]),
            torch.as_tensor(variances[:, None]),
            weight_mean=mean,
            weight_sd=sd,
            scale=scale,
            noise=noise,
            groups=FeatureMap(history.space).groups,
        )
        return model.fit(), level

    def _model(self, history: History, pending: FloatArray) -> "tuple[BasisGP, FloatArray]":
        """The model after pretending that pending runs turn out as expected, and the told points from the best on."""
        model, _ = self.fitted(history)
        U, y, _ = self.losses(history)
        if len(pending):
            model = model.believing(self.columns(history.space, pending))
        return model, U[np.argsort(y, kind="stable")]

    def _scores(self, model: "BasisGP", history: History, told: FloatArray, pool: FloatArray) -> FloatArray:
        """Log expected improvement on the best told mean, with what divergence and beliefs take away, `m`."""
        import torch

        from bayesopt.acquisition.primitives import log_h

        space = history.space
        best = model.predict(self.columns(space, self._at_full_length(space, told)))[0].min()
        mean, sd = model.predict(self.columns(space, pool))
        scores: FloatArray = log_h(torch.as_tensor((best - mean) / sd)).numpy() + np.log(sd)
        if self.diverge == "constraint" and len(history.failed):
            scores = scores + self._log_survival(history, pool)
        if self.law is not None and self.law.form == "belief":
            away, sds = self.law.octaves(space.decode_all(pool))
            scores = scores - 0.5 * ((away / sds) ** 2).sum(1) * _BELIEF_POWER / max(1, len(history.X))
        return scores

    def _log_survival(self, history: History, pool: FloatArray) -> FloatArray:
        """Log probability that a run does not diverge, `m`: least-squares classification, probit of its posterior."""
        import torch
        from scipy.special import log_ndtr

        from bayesopt.surrogate import FeatureMap
        from gp.models.exact import ExactGP

        features = FeatureMap(history.space)
        X = torch.as_tensor(features(np.vstack([history.X, history.failed])))
        labels = torch.cat([torch.ones(len(history.X)), -torch.ones(len(history.failed))]).to(X)[:, None]
        prediction = ExactGP(X, labels, groups=features.groups).fit().predictor.predict(features(pool))
        survival: FloatArray = log_ndtr(prediction.mean[:, 0] / np.sqrt(prediction.variance))
        return survival
