"""Tune the training of a model: learning rate, batch size, schedule and more, around the law of its field.

Alphabet. Losses are in nats, minimised, and never negated. Distances from a law's settings are in octaves.
"""

import json
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import override

import bayesopt as bo
from bayesopt.errors import InvalidInputError, InvalidOutcomeError, InvalidParamsError, TrialStateError
from bayesopt.laws.annealing import AnnealingLaw
from bayesopt.laws.base import Law, Octaves, names_in
from bayesopt.laws.bowl import CURVATURE, DIVERGED, curvature_of
from bayesopt.laws.curves import Curve, checked_schedule, warmup_end
from bayesopt.problem.arguments import as_number
from bayesopt.tuners.training_strategy import LEFT_NOISE, LEFT_SCALE, BoundLaw, LawGuided

FloatArray = NDArray[np.float64]
LawLike = Law | Callable[[Mapping[str, Any]], Octaves]
Status = Literal["ok", "diverged", "killed"]

LOSS: Final = "loss"
"""Name of the objective in the tuner's study."""
_STATUSES: Final = ("ok", "diverged", "killed")
_KILLED_SD: Final = 0.05
"""Nats that the last loss of a run that was stopped is trusted to, where nothing foretells its end."""
_LEAST_SD: Final = 0.01
"""Least standard deviation of a forecast, nats: what the annealing law misses at the end of unseen schedules."""
_MOST_CURVES: Final = 4
"""Complete curves that are kept for forecasts."""
_CHANCE: Final = 0.05
"""A run whose chance of beating the best is less than this should stop."""
_WORTH: Final = 0.002
"""Nats by which a run may be worse than the best and still count as beating it: less than the noise of a run."""
_SURPRISE: Final = 3.0
"""Standard deviations from which on a loss contradicts a law."""
_CLOSE: Final = 1e-9
"""Configurations closer than this in the unit cube are the same."""


class TrainingTuner:
    """Asks what to train next and is told the loss, the curve, the cost and how the run ended.

    A law of the field becomes the prior mean of a Gaussian process, a bowl whose centre and depth the data may move, or
    a belief about the place of the optimum. A run that diverged is clipped or a constraint, never an outlier. The study
    behind it, `study`, has the budget, the storage and the records.

    Example:
        >>> space = bo.Space({"lr": bo.Float(1e-4, 1e-2, log=True), "batch_size": bo.Int(16, 1024, log=True)})
        >>> tuner = TrainingTuner(space, law=bo.StepLaw(), features={"N": 2.7e8, "D": 5e9}, seed=0)
        >>> config = tuner.ask()
        >>> config["batch_size"]
        98
        >>> tuner.tell(config, 2.56)
        >>> tuner.best() == config
        True
    """

    def __init__(
        self,
        space: bo.Space,
        law: LawLike | None = None,
        fidelity: str = "tokens",
        diverge: Literal["clip", "constraint"] = "clip",
        *,
        features: Mapping[str, Any] | None = None,
        law_as: Literal["mean", "belief"] = "mean",
        candidates: Sequence[Mapping[str, Any]] | None = None,
        clip: float = DIVERGED,
        budget: bo.Budget | None = None,
        storage: str | os.PathLike[str] | None = None,
        name: str | None = None,
        seed: int | None = None,
    ) -> None:
        """Declare what is tuned, and what is known of it.

        Args:
            space: What can be varied.
            law: A `laws.Law`, or a function from features to log2 of settings and their sd in octaves; None knows
                nothing. It sees `features` and the configuration, and speaks of "lr", "batch_size" or parameters by
                their names.
            fidelity: The parameter of the space, if it has one of this name, that is the length of a run in tokens:
                laws see it as "D", asks are of its largest value, and shorter runs may be told.
            diverge: 'clip' takes a run that diverged for one that is `clip` above the best; 'constraint' models where
                runs diverge, and keeps away from there.
            features: What is known of the model and the data, such as "N" and "D".
            law_as: 'mean' for the prior mean of the loss, 'belief' for a density of the optimum's place.
            candidates: The only configurations that may be asked, as of a grid; None for the whole space.
            clip: Nats above the best from which on a loss says only that the run went wrong.
            budget: As in `Study`.
            storage: As in `Study`; a tuner reopened with it goes on.
            name: As in `Study`.
            seed: As in `Study`.

        Raises:
            InvalidInputError: If an argument is not of an accepted kind, or the law does not fit the space.
        """
        if not isinstance(space, bo.Space):
            raise InvalidInputError(f"space: expected a Space, got {space!r}; write bo.Space({{...}}).")
        if diverge not in ("clip", "constraint"):
            raise InvalidInputError(f"diverge: expected 'clip' or 'constraint', got {diverge!r}.")
        if law_as not in ("mean", "belief"):
            raise InvalidInputError(f"law_as: expected 'mean' or 'belief', got {law_as!r}.")
        if not 0 < as_number("clip", clip, InvalidInputError) < math.inf:
            raise InvalidInputError(f"clip: expected a positive finite number of nats, got {clip!r}.")
        self.space = space
        self._features = dict(features or {})
        self._length = fidelity if fidelity in space else None
        if self._length is not None and not isinstance(space[self._length], bo.Float | bo.Int):
            raise InvalidInputError(f"fidelity: {fidelity!r} must be a Float or an Int, got {space[fidelity]!r}.")
        self._law = None if law is None else self._bound(law, law_as)
        allowed = None if candidates is None else self._encoded(candidates)
        self._strategy = LawGuided(self._law, clip=clip, diverge=diverge, candidates=allowed, length=self._length)
        self.study = bo.Study(
            space,
            minimize=LOSS,
            budget=budget,
            storage=storage,
            name=name,
            seed=seed,
            strategy=self._strategy,
        )
        """The study behind the tuner."""
        self._curves: list[Curve] = []

    # -- the loop -----------------------------------------------------------------------------------------------------

    def ask(self) -> dict[str, Any] | None:
        """The next configuration to train; None when nothing admissible is left (`study.why_stopped`)."""
        trial = self.study.ask()
        return None if trial is None else trial.params

    def tell(
        self,
        config: Mapping[str, Any],
        loss: float | Sequence[Sequence[float]] | None,
        cost: float | None = None,
        status: Status = "ok",
        *,
        schedule: ArrayLike | None = None,
    ) -> None:
        """Say what came of a run.

        A configuration that was not asked for, such as the nearest point of a grid, takes the place of the nearest one
        that is still pending.

        Args:
            config: What was trained.
            loss: The final loss in nats, or the curve as rows of (step, lr, loss); None or a number that is not finite
                only of a run that diverged.
            cost: What the run cost, in the budget's unit.
            status: 'ok', 'diverged', or 'killed' for a run that was stopped before its end.
            schedule: Of a killed run with a curve, the learning rates of the whole run by step: the model then sees
                the forecast of its end.

        Raises:
            InvalidInputError: If the status is none of the three.
            InvalidOutcomeError: If a run that did not diverge has no finite loss.
            InvalidParamsError: If the configuration does not belong to the space.
        """
        if status not in _STATUSES:
            raise InvalidInputError(f"status: expected one of {', '.join(map(repr, _STATUSES))}, got {status!r}.")
        params = self.space.validate(self._within(config))
        curve = loss if isinstance(loss, Sequence) and not isinstance(loss, str) else None
        last = float(curve[-1][2]) if curve else math.nan if loss is None else as_number(LOSS, loss)
        if status == "diverged" or (status == "ok" and loss is not None and not math.isfinite(last)):
            self.study.fail(self._trial(params), f"diverged, loss {last:g}", cost=cost)
            return
        if not math.isfinite(last):
            raise InvalidOutcomeError(
                f"loss: expected a finite number or a curve of a run that is {status}, got {loss!r}."
            )
        value, sd = last, None
        if status == "killed":
            value, sd = last, _KILLED_SD
            if curve and schedule is not None and (self._curves or len(curve) >= 5):
                value, sd = self.forecast(curve, schedule)
        elif curve:
            self._curves = [*self._curves, Curve.from_rows(curve)][-_MOST_CURVES:]
        self._warn_of_surprise(params, value)
        self.study.tell(
            self._trial(params),
            {LOSS: value, "last_loss": last} if status == "killed" else {LOSS: value},
            cost=cost,
            sd=None if sd is None else {LOSS: sd},
        )

    def best(self) -> dict[str, Any] | None:
        """The configuration with the least loss told, of full length where there is a length; None before the first."""
        told = [trial for trial in self.study.trials if trial.state == "complete" and "last_loss" not in trial.values]
        if self._length is not None and told:
            longest = max(trial.params[self._length] for trial in told)
            told = [trial for trial in told if trial.params[self._length] == longest]
        best = min(told, key=lambda trial: trial.values[LOSS] or 0.0, default=None)
        return None if best is None else best.params

    # -- runs under way -----------------------------------------------------------------------------------------------

    def forecast(self, curve: Sequence[Sequence[float]], schedule: ArrayLike) -> tuple[float, float]:
        """The loss at the end of a run from its first part, by the annealing law.

        Each complete curve that was told gives a law of how losses fall, and the run goes on from where it is by the
        mean of them: configurations differ in level more than in shape. A curve whose learning rate fell must be
        among them unless this run's has. Without any the run's own law is used.

        Args:
            curve: Rows of (step, lr, loss) so far.
            schedule: Learning rates of the whole run by step.

        Returns:
            Mean and standard deviation, nats.

        Raises:
            InvalidInputError: If the curve or the schedule cannot be used, or fewer than five losses are known.
        """
        lr, rows = checked_schedule(schedule), Curve.from_rows(curve)
        if not self._curves:
            return AnnealingLaw().final(Curve.of(lr, rows.steps, rows.losses), lr)
        late = rows.steps >= 0.5 * (rows.steps[0] + rows.steps[-1])
        ends, misfits = [], []
        for complete in self._curves:
            predicted = AnnealingLaw().fit([complete]).predict(lr)
            missed = rows.losses[late] - predicted[rows.steps[late]]
            ends.append(float(predicted[-1] + missed[-max(1, len(missed) // 5) :].mean()))
            misfits.append(float(missed.std()))
        misfit = max(_LEAST_SD, float(np.mean(misfits)))
        return float(np.mean(ends)), math.hypot(misfit, float(np.std(ends)))

    def should_stop(self, curve: Sequence[Sequence[float]], schedule: ArrayLike) -> bool:
        """Whether a run is hardly going to beat the best: never within its warm-up, nor before a curve was told.

        Args:
            curve: Rows of (step, lr, loss) so far.
            schedule: Learning rates of the whole run by step.

        Returns:
            True where the chance of an end within 0.002 nats of the best or below is less than 5 %.
        """
        lr = checked_schedule(schedule)
        best = self.study.best_observed
        if best is None or not self._curves or not curve or curve[-1][0] <= warmup_end(lr):
            return False
        mean, sd = self.forecast(curve, lr)
        z = (float(best.values[LOSS] or 0.0) + _WORTH - mean) / sd
        return 0.5 * math.erfc(-z / math.sqrt(2.0)) < _CHANCE

    # -- what became of the law ---------------------------------------------------------------------------------------

    def centre(self) -> tuple[dict[str, float], dict[str, float]] | None:
        """Where the data have moved the law's settings.

        Returns:
            The settings by the space's names, in its units, and their standard deviations in octaves; None without a
            law in the mean. Before the first loss they are the law's own.
        """
        if self._law is None or self._law.form != "mean":
            return None
        history = self.study.history
        mean, sd = self._law.predict(self._middle())
        moved, moved_sd = np.zeros(len(mean)), np.array(list(sd.values()))
        if len(self._strategy.losses(history)[1]):
            model, _ = self._strategy.fitted(history)
            weights, covariance = model.weights
            k = len(mean)
            moved, moved_sd = weights[-k:], np.sqrt(np.diag(covariance)[-k:])
        settings = {
            self._law.names[name]: 2.0 ** (mean[name] + by) for name, by in zip(mean, moved.tolist(), strict=True)
        }
        return settings, dict(zip(settings, moved_sd.tolist(), strict=True))

    def report(self) -> str:
        """The study's account, and what the data made of the law."""
        lines = [self.study.report()]
        centre = self.centre()
        if centre is not None and self._law is not None:
            mean, sd = self._law.predict(self._middle())
            for name, parameter in self._law.names.items():
                moved = math.log2(centre[0][parameter]) - mean[name]
                lines.append(
                    f"Law: {parameter} {2.0 ** mean[name]:.3g} give or take {sd[name]:.2g} octaves; the data say "
                    f"{centre[0][parameter]:.3g} give or take {centre[1][parameter]:.2g}, {moved:+.2f} octaves away."
                )
        return "\n".join(lines)

    # -- state --------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All that was asked and told, as JSON; what was declared is not in it."""
        trials = [
            {
                "params": trial.params,
                "state": "abandoned" if trial.lost else trial.state,
                "values": trial.values,
                "sd": trial.sd,
                "cost": trial.cost,
                "reason": trial.reason,
                "external": trial.source == "external",
            }
            for trial in self.study.trials
        ]
        curves = [[curve.schedule.tolist(), curve.steps.tolist(), curve.losses.tolist()] for curve in self._curves]
        return {"seed": self.study.seed, "trials": json.loads(json.dumps(trials)), "curves": curves}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what another tuner of the same declaration was asked and told; it then asks what that would have.

        Args:
            state: From `state_dict`. The seed must be this tuner's for the same asks.

        Raises:
            TrialStateError: If this tuner was asked or told something already.
        """
        if self.study.trials:
            raise TrialStateError("load_state_dict: this tuner was used already; load into a new one.")
        for entry in state["trials"]:
            if entry["external"]:
                self.study.tell_external(entry["params"], entry["values"], cost=entry["cost"], sd=entry["sd"] or None)
                continue
            self.study.enqueue(entry["params"])
            trial = self.study.ask()
            if trial is None:
                raise TrialStateError(f"load_state_dict: nothing more may be tried here: {self.study.why_stopped}.")
            if entry["state"] == "complete":
                self.study.tell(trial, entry["values"], cost=entry["cost"], sd=entry["sd"] or None)
            elif entry["state"] == "failed":
                self.study.fail(trial, entry["reason"], cost=entry["cost"])
            elif entry["state"] == "abandoned":
                self.study.abandon(trial, entry["reason"])
        self._curves = [Curve.of(*curve) for curve in state["curves"]]

    @override
    def __repr__(self) -> str:
        """Its law and progress."""
        return f"TrainingTuner({'no law' if self._law is None else tuple(self._law.names)}, {self.study.budget})"

    # -- inside -------------------------------------------------------------------------------------------------------

    def _bound(self, law: LawLike, form: Literal["mean", "belief"]) -> BoundLaw:
        predict = law.predict if isinstance(law, Law) or hasattr(law, "predict") else law
        if not callable(predict):
            raise InvalidInputError(
                f"law: expected a law such as bo.StepLaw(), or a function from features to (mean, sd), got {law!r}."
            )

        def of_config(params: Mapping[str, Any]) -> Octaves:
            known = {**self._features, **params}
            for name, alias in names_used.items():
                known.setdefault(name, params.get(alias))
            if self._length is not None:
                known["D"] = params[self._length]
            return predict(known)

        names_used: dict[str, str] = {}
        for name in CURVATURE:
            try:
                names_used.update(names_in(self.space, (name[0],)))
            except InvalidInputError:  # the space has no such parameter, and the law may not need it
                continue
        mean, sd = of_config(self._middle())
        if not mean or set(mean) != set(sd) or not all(math.isfinite(mean[name]) and sd[name] > 0 for name in mean):
            raise InvalidInputError(
                f"law: expected two dicts with the same names, of finite log2 settings and positive sd, got {mean!r} "
                f"and {sd!r}."
            )
        curvature = getattr(law, "curvature", CURVATURE)
        return BoundLaw(of_config, names_in(self.space, mean), curvature_of(mean, curvature), form)

    def _middle(self) -> dict[str, Any]:
        """The middle of the space, of full length."""
        params = self.space.decode(np.full(self.space.dim, 0.5))
        if self._length is not None:
            params[self._length] = self.space[self._length].high  # type: ignore[union-attr]  # a number, as checked
        return params

    def _encoded(self, candidates: Sequence[Mapping[str, Any]]) -> FloatArray:
        if len(candidates) == 0:
            raise InvalidInputError("candidates: expected at least one configuration, got none.")
        return np.unique(np.array([self.space.encode(self._within(config)) for config in candidates]), axis=0)

    def _within(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """A configuration whose whole numbers may have come as floats, as a table holds them."""
        if not isinstance(config, Mapping):
            raise InvalidParamsError(f"config: expected a dict from parameter name to value, got {config!r}.")
        return {
            name: int(value)
            if name in self.space and isinstance(self.space[name], bo.Int) and _is_whole_float(value)
            else value
            for name, value in config.items()
        }

    def _trial(self, params: dict[str, Any]) -> int:
        """The trial that a configuration is told of, pending."""
        place = self.space.encode(params)
        open_trials = [trial for trial in self.study.trials if trial.state == "pending" or trial.lost]
        away = [float(np.abs(self.space.encode(trial.params) - place).max()) for trial in open_trials]
        same = [trial for trial, distance in zip(open_trials, away, strict=True) if distance < _CLOSE]
        if same:
            return same[0].id
        waiting = [
            (distance, trial.id) for trial, distance in zip(open_trials, away, strict=True) if trial.state == "pending"
        ]
        if waiting:
            self.study.abandon(min(waiting)[1], "another configuration was trained in its place")
        self.study.enqueue(params)
        trial = self.study.ask()
        if trial is None:
            raise TrialStateError(f"tell: nothing more may be tried here: {self.study.why_stopped}.")
        return trial.id

    def _warn_of_surprise(self, params: dict[str, Any], loss: float) -> None:
        """Say where a law in the mean is contradicted by a loss beside the best one."""
        best = self.study.best_observed
        if self._law is None or self._law.form != "mean" or best is None:
            return
        varied = {column.parameter for column in self.space.columns if column.levels != 1} - {self._length}
        if varied != set(self._law.names.values()) or (
            self._length is not None and params[self._length] != best.params[self._length]
        ):
            return  # the law says nothing of the difference
        strategy, told = self._strategy, float(best.values[LOSS] or 0.0)
        U = np.array([self.space.encode(config) for config in (params, best.params)])
        here, there = strategy.columns(self.space, U)[:, -(1 + len(self._law.names)) :]
        mean, sd = (np.array(part[-(1 + len(self._law.names)) :]) for part in strategy.weights(self.space, 1.0))
        expected = float((here - there) @ mean)
        spread = math.sqrt(float(((here - there) ** 2) @ sd**2) + 2.0 * (LEFT_SCALE**2 + LEFT_NOISE**2))
        difference = min(loss, told + strategy.clip) - told
        if abs(difference - expected) > _SURPRISE * spread:
            warnings.warn(
                f"The law expected a loss of {told + expected:.3f} at {params!r}, give or take {spread:.3f}, beside "
                f"{told:.3f} at the best so far; it was {loss:.3f}. The search goes on and learns, but look at "
                "whether the law is meant for this model and unit.",
                RuntimeWarning,
                stacklevel=3,
            )


def _is_whole_float(value: Any) -> bool:
    return isinstance(value, float | np.floating) and float(value).is_integer()
