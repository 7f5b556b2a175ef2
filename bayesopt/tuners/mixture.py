"""Which data mixture to train on: proportions of groups of data, from the losses of a few training runs.

Alphabet. m: groups. p: proportions, `m`, which sum to 1. D: losses of one run (validation domains), in nats a token or
any other unit; smaller is better. w: their weights in the target, `D`, which sum to 1. n: runs told.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from bayesopt.errors import InvalidInputError
from bayesopt.laws.mixing import proportions
from bayesopt.problem.arguments import as_number, entries, non_negative, probability, whole_number
from bayesopt.problem.parameters import Simplex
from bayesopt.tuners.mixture_candidates import MixtureCandidates
from bayesopt.tuners.mixture_data import Interval, MixtureReport, by_name, read_runs, share_caps

if TYPE_CHECKING:
    from bayesopt.tuners.mixture_belief import MixtureBelief

FloatArray = NDArray[np.float64]
Shares = Mapping[str, float]
Target = str | Mapping[str, float] | None

_POOL: Final = 2000
"""Random mixtures among which the best is sought,"""
_CLIMBERS: Final = 8
"""and how many of them are then improved."""
_OPENING: Final = 6
"""Runs before a model chooses: token shares, equal shares, and random ones."""


class MixtureTuner:
    """Finds the mixture of least target loss, one training run at a time.

    Every run tells all of its losses, and the target is any weighted mean of them: setting `target` anew needs no new
    run. The model is a Gaussian process on sqrt(p) for each loss (see `bayesopt.tuners.mixture_belief`); with a target
    of one loss, the exponential mixing law is its mean. Runs at other scales, say of smaller models, may be told too:
    ranks carry over, levels need not. With few runs the intervals are wide, and equal shares often hard to beat: read
    `best().target` beside the prediction for the mixture you have now.

    Reference: Ye et al., "Data Mixing Laws"; Liu et al., "RegMix: Data Mixture as Regression for Language Model
    Pre-training".

    Example:
        >>> tuner = MixtureTuner(["web", "code"], token_counts=[9e9, 1e9], run_tokens=8e9, target="code_loss")
        >>> tuner.caps
        {'web': 1.0, 'code': 0.5}
        >>> mixture = tuner.ask()  # the first is what the tokens are
        >>> mixture
        {'web': 0.9, 'code': 0.1}
        >>> tuner.tell(mixture, {"web_loss": 2.9, "code_loss": 1.7})
        >>> tuner.ask()
        {'web': 0.5, 'code': 0.5}
    """

    def __init__(
        self,
        groups: Sequence[str],
        token_counts: Sequence[float] | Mapping[str, float] | None = None,
        repeats: float = 4,
        target: Target = None,
        *,
        run_tokens: float | None = None,
        scales: Sequence[str] = ("full",),
        candidates: ArrayLike | None = None,
        law: bool = True,
        seed: int = 0,
    ) -> None:
        """Declare the groups and what is wanted.

        Args:
            groups: Names of the groups of data, at least two.
            token_counts: Tokens that each group holds, in their order or by name; None where none is scarce.
            repeats: How often a token may be seen in a run; with the counts it caps the shares.
            target: The loss to lower, or losses and their positive weights; None for the mean of all.
            run_tokens: Tokens of a full training run; None for the sum of `token_counts`.
            scales: Names of the scales at which runs may be told; the last is the one to be tuned for.
            candidates: The only mixtures that can be run, `k x m`; None for all. None of them is asked twice.
            law: Whether the exponential mixing law is the mean of a target of one loss.
            seed: Of all randomness.

        Raises:
            InvalidInputError: If something cannot be used; the message says what and how to mend it.
        """
        names = tuple(entries("MixtureTuner(groups)", groups))
        counts = by_name("token_counts", token_counts, names)
        self._repeats = non_negative("MixtureTuner(repeats)", repeats)
        self._simplex = Simplex(names, caps=share_caps(names, counts, self._repeats, run_tokens))
        self.groups: tuple[str, ...] = self._simplex.names
        self._centre = [1.0] * len(names) if counts is None else counts
        self._space = MixtureCandidates(self._simplex, self._centre)
        self.scales: tuple[str, ...] = tuple(entries("MixtureTuner(scales)", scales))
        if not self.scales or len(set(self.scales)) < len(self.scales):
            raise InvalidInputError(f"MixtureTuner(scales): expected distinct names, at least one, got {scales!r}.")
        self._candidates = None if candidates is None else proportions("MixtureTuner(candidates)", candidates)
        if self._candidates is not None and self._candidates.shape[1] != len(names):
            raise InvalidInputError(
                f"MixtureTuner(candidates): expected {len(names)} columns, one a group, "
                f"got {self._candidates.shape[1]}."
            )
        self._law, self._seed = law, whole_number("MixtureTuner(seed)", seed, at_least=0)
        self._rows: list[FloatArray] = []
        self._losses: list[dict[str, float]] = []
        self._scale_of: list[int] = []
        self._pending: list[FloatArray] = []
        self._n_asked = 0
        self._belief: MixtureBelief | None = None
        self._target: Target = None
        self.target = target

    # -- what is wanted and allowed -------------------------------------------------------------------------------

    @property
    def caps(self) -> dict[str, float]:
        """The greatest share of each group."""
        return dict(zip(self.groups, self._space.scale.caps.tolist(), strict=True))

    @property
    def target(self) -> Target:
        """The loss to lower, losses and their weights, or None for the mean of all; may be set at any time."""
        return self._target

    @target.setter
    def target(self, target: Target) -> None:
        if not (target is None or isinstance(target, str)):
            if not isinstance(target, Mapping) or not target:
                raise InvalidInputError(
                    f"MixtureTuner(target): expected the name of a loss, a dict from losses to weights, or None for "
                    f"the mean of all, got {target!r}."
                )
            target = {name: non_negative(f"target[{name!r}]", weight) for name, weight in target.items()}
            if not sum(target.values()) > 0:
                raise InvalidInputError("MixtureTuner(target): the weights are all 0; give one a positive weight.")
        before, self._target = self._target, target
        if self._losses:
            try:
                self._weights()
            except InvalidInputError:
                self._target = before
                raise
        self._belief = None

    @property
    def losses(self) -> tuple[str, ...]:
        """Names of the losses that runs tell; empty before the first."""
        return tuple(self._losses[0]) if self._losses else ()

    def _weights(self) -> FloatArray:
        names = self.losses
        if self._target is None:
            return np.full(len(names), 1.0 / len(names))
        weights = {self._target: 1.0} if isinstance(self._target, str) else dict(self._target)
        for name in weights:
            if name not in names:
                raise InvalidInputError(f"target: no run told a loss {name!r}; the losses are {', '.join(names)}.")
        total = sum(weights.values())
        return np.array([weights.get(name, 0.0) / total for name in names])

    # -- the loop -------------------------------------------------------------------------------------------------

    def ask(self) -> dict[str, float] | None:
        """The mixture to train on next; asked again before a tell, another one that goes with it.

        Returns:
            Shares by group, which sum to 1; None where every candidate has been run or asked for.
        """
        rng = np.random.default_rng([self._seed, len(self._rows), self._n_asked])
        self._n_asked += 1
        pool = self._remaining()
        if pool is not None and not len(pool):
            return None
        n = sum(scale == len(self.scales) - 1 for scale in self._scale_of) + len(self._pending)
        if not self._losses or len(self._rows) + len(self._pending) < _OPENING:
            chosen = self._opening(n, pool, rng)
        elif pool is not None:
            score = self._model().log_expected_improvement(pool, self._incumbent())[0]
            chosen = pool[np.argmax(score)]
        else:
            chosen = self._searched(rng)
        self._pending.append(chosen)
        self._belief = None
        return self._named(chosen)

    def tell(self, mixture: Shares, losses: Mapping[str, float], scale: str | None = None) -> None:
        """Add a run, asked for or not.

        Args:
            mixture: Shares by group.
            losses: All losses of the run by name, the same names every time.
            scale: The scale it was run at; None for the one to be tuned for.

        Raises:
            InvalidInputError: If the mixture, a loss or the scale cannot be used.
        """
        row = self._row(mixture)
        if not isinstance(losses, Mapping) or not losses:
            raise InvalidInputError(f"tell(losses): expected a dict from loss to value, got {losses!r}.")
        values = {str(name): as_number(f"losses[{name!r}]", value, InvalidInputError) for name, value in losses.items()}
        for name, value in values.items():
            if not math.isfinite(value):
                raise InvalidInputError(
                    f"losses[{name!r}]: expected a finite number, got {value!r}; leave out a run that diverged."
                )
        if self._losses and set(values) != set(self.losses):
            raise InvalidInputError(
                f"tell(losses): expected the losses {', '.join(self.losses)}, as in the runs before, "
                f"got {', '.join(values)}."
            )
        at = self.scales[-1] if scale is None else scale
        if at not in self.scales:
            raise InvalidInputError(f"tell(scale): expected one of {', '.join(self.scales)}, got {scale!r}.")
        first = not self._losses
        self._losses.append(values if first else {name: values[name] for name in self.losses})
        if first:
            try:
                self._weights()
            except InvalidInputError:
                self._losses.pop()
                raise
        self._rows.append(row)
        self._scale_of.append(self.scales.index(at))
        matching = [i for i, pending in enumerate(self._pending) if np.abs(pending - row).max() <= 1e-6]
        if matching:
            del self._pending[matching[0]]
        self._belief = None

    # -- what is known --------------------------------------------------------------------------------------------

    def predict(self, mixture: Shares, level: float = 0.9) -> MixtureReport:
        """What a run with a mixture would give at the scale to be tuned for, noise of a run left out.

        Args:
            mixture: Shares by group.
            level: How much the intervals hold, between 0 and 1.

        Returns:
            Intervals of the target and of each loss.

        Raises:
            InvalidInputError: Before the second run, or if an argument cannot be used.
        """
        return self._report(self._row(mixture), level)

    def best(self, level: float = 0.9, *, among_runs: bool = True) -> MixtureReport:
        """The mixture to use: of least predicted target, which under noise is not always the least told.

        Args:
            level: How much its intervals hold, between 0 and 1.
            among_runs: Whether only mixtures count that were run at the scale to be tuned for (at any, if none was);
                otherwise the best prediction anywhere, which is what proxy runs alone can give.

        Returns:
            It, with intervals.

        Raises:
            InvalidInputError: Before the second run.
        """
        P = self._at_full_scale() if among_runs else self._everywhere()
        return self._report(P[int(np.argmin(self._model().target(P)[0]))], level)

    def _report(self, row: FloatArray, level: float) -> MixtureReport:
        probability("level", level)
        model, n = self._model(), len(self._rows)
        # the unit of the losses is estimated from the runs, so the predictive distribution is Student's
        width = float(stdtrit(n - 1, 0.5 * (1.0 + level))) * math.sqrt(n / (n - 1))

        def interval(mean: FloatArray, sd: FloatArray) -> Interval:
            return Interval(float(mean[0]), float(mean[0] - width * sd[0]), float(mean[0] + width * sd[0]))

        at = row[None]
        told = [
            self._weights() @ list(losses.values())
            for run, losses, scale in zip(self._rows, self._losses, self._scale_of, strict=True)
            if scale == len(self.scales) - 1 and np.abs(run - row).max() <= 1e-9
        ]
        return MixtureReport(
            self._named(row),
            interval(*model.target(at)),
            {name: interval(*model.loss_at(i, at)) for i, name in enumerate(self.losses)},
            float(np.mean(told)) if told else None,
        )

    # -- files ----------------------------------------------------------------------------------------------------

    def read_csv(self, path: str | Path, *, weight: str = "w_", loss: str = "loss_", scale: str | None = None) -> int:
        """Tell the runs of a table: a column of shares a group, one a loss, one run a row.

        Args:
            path: A CSV file with a header.
            weight: What the group's name is preceded by in its column's name,
            loss: and the loss's.
            scale: The column of scales; None if all are of the one to be tuned for.

        Returns:
            How many runs were told.

        Raises:
            InvalidInputError: If a column is missing or a cell cannot be used; then no run is told.
        """
        runs = read_runs(path, self.groups, weight=weight, loss=loss, scale=scale)
        before = self.state_dict()
        try:
            for mixture, losses, at in runs:
                self.tell(mixture, losses, at)
        except InvalidInputError:
            self.load_state_dict(before)
            raise
        return len(runs)

    def write_json(self, path: str | Path, level: float = 0.9, *, among_runs: bool = True) -> None:
        """Write `best(level, among_runs=...)` to a file: mixture, intervals, and what was observed."""
        Path(path).write_text(json.dumps(asdict(self.best(level, among_runs=among_runs)), indent=2) + "\n", "utf-8")

    def state_dict(self) -> dict[str, Any]:
        """Everything told and asked, in JSON values."""
        return {
            "groups": list(self.groups),
            "scales": list(self.scales),
            "target": self._target if self._target is None or isinstance(self._target, str) else dict(self._target),
            "seed": self._seed,
            "n_asked": self._n_asked,
            "runs": [
                {"mixture": row.tolist(), "losses": dict(losses), "scale": self.scales[scale]}
                for row, losses, scale in zip(self._rows, self._losses, self._scale_of, strict=True)
            ],
            "pending": [row.tolist() for row in self._pending],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another tuner with the same declaration stopped; it would ask the same next.

        Args:
            state: What `state_dict` gave.

        Raises:
            InvalidInputError: If its groups or scales are others, or it is no such state; then nothing is changed.
        """
        try:
            declared = tuple(state["groups"]), tuple(state["scales"])
            rows = [np.array(run["mixture"], dtype=np.float64) for run in state["runs"]]
            losses = [{str(k): float(v) for k, v in run["losses"].items()} for run in state["runs"]]
            scale_of = [self.scales.index(run["scale"]) for run in state["runs"]] if declared[1] == self.scales else []
            pending = [np.array(row, dtype=np.float64) for row in state["pending"]]
            target, seed, n_asked = state["target"], int(state["seed"]), int(state["n_asked"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInputError(f"load_state_dict: this is no state of a MixtureTuner ({error!r}).") from None
        if declared != (self.groups, self.scales):
            raise InvalidInputError(
                f"load_state_dict: the state has groups and scales {declared}, this tuner {(self.groups, self.scales)}."
            )
        self._rows, self._losses, self._scale_of, self._pending = rows, losses, scale_of, pending
        self._seed, self._n_asked = seed, n_asked
        self.target = target

    # -- inside ---------------------------------------------------------------------------------------------------

    def _row(self, mixture: Shares) -> FloatArray:
        """Shares by name as an array, divided by their sum."""
        if not isinstance(mixture, Mapping) or set(mixture) != set(self.groups):
            raise InvalidInputError(
                f"mixture: expected a dict with the groups {', '.join(self.groups)}, got {mixture!r}."
            )
        shares = [as_number(f"mixture[{group!r}]", mixture[group], InvalidInputError) for group in self.groups]
        return proportions("mixture", [shares])[0]

    def _named(self, row: FloatArray) -> dict[str, float]:
        return dict(zip(self.groups, row.tolist(), strict=True))

    def _remaining(self) -> FloatArray | None:
        """Candidates that were neither run at the scale to be tuned for nor asked for."""
        if self._candidates is None:
            return None
        last = len(self.scales) - 1
        taken = [row for row, scale in zip(self._rows, self._scale_of, strict=True) if scale == last] + self._pending
        if not taken:
            return self._candidates
        far = np.abs(self._candidates[:, None] - np.array(taken)).max(2).min(1) > 1e-9
        return self._candidates[far]

    def _opening(self, n: int, pool: FloatArray | None, rng: np.random.Generator) -> FloatArray:
        """Token shares, equal shares, then random mixtures; of a table the nearest rows, then random ones."""
        m = len(self.groups)
        ideal = [np.array(self._centre), np.ones(m)] if min(self._centre) < max(self._centre) else [np.ones(m)]
        if n < len(ideal):
            wanted = self._space.capped(np.maximum(ideal[n], 1e-300)[None])[0]
            if pool is None:
                return wanted
            nearest: FloatArray = pool[np.argmin(np.square(np.sqrt(pool) - np.sqrt(wanted)).sum(1))]
            return nearest
        drawn: FloatArray = self._space.sample(1, rng)[0] if pool is None else pool[rng.integers(len(pool))]
        return drawn

    def _searched(self, rng: np.random.Generator) -> FloatArray:
        model, best = self._model(), self._incumbent()
        pool = np.vstack([self._space.sample(_POOL, rng), self._space.capped(np.array(self._rows))])
        score = model.log_expected_improvement(pool, best)[0]
        starts = pool[np.argsort(-score)[:_CLIMBERS]]
        ends = self._space.climb(starts, lambda P: model.log_expected_improvement(P, best))
        chosen: FloatArray = ends[np.argmax(model.log_expected_improvement(ends, best)[0])]
        return chosen

    def _everywhere(self) -> FloatArray:
        """Mixtures of low predicted target: the best of a pool, improved; the candidates, if those are all."""
        if self._candidates is not None:
            return self._candidates
        model = self._model()
        pool = self._space.sample(_POOL, np.random.default_rng([self._seed, len(self._rows)]))
        pool = np.vstack([pool, self._space.capped(np.array(self._rows))])
        starts = pool[np.argsort(model.target(pool)[0])[:_CLIMBERS]]
        return self._space.climb(starts, model.negative_mean)

    def _at_full_scale(self) -> FloatArray:
        """Mixtures that were run at the scale to be tuned for, or all if none was, `k x m`."""
        last = len(self.scales) - 1
        full = [row for row, scale in zip(self._rows, self._scale_of, strict=True) if scale == last]
        return np.array(full or self._rows).reshape(-1, len(self.groups))

    def _incumbent(self) -> float:
        """Least predicted target among the runs, in units of the losses."""
        return float(self._model().target(self._at_full_scale())[0].min())

    def _model(self) -> "MixtureBelief":
        if len(self._rows) < 2:
            raise InvalidInputError(f"MixtureTuner: a prediction needs at least 2 runs, {len(self._rows)} were told.")
        if self._belief is None:
            from bayesopt.tuners.mixture_belief import MixtureBelief  # loads torch

            last = len(self.scales) - 1
            self._belief = MixtureBelief(
                np.array(self._rows),
                np.array([list(losses.values()) for losses in self._losses]),
                self._weights(),
                [last - scale for scale in self._scale_of],
                np.array(self._pending).reshape(-1, len(self.groups)),
                law=self._law,
            )
        return self._belief
