"""The ask/tell loop: the only thing here that changes state."""

import contextlib
import math
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np
from typing_extensions import override

from bayesopt import declared
from bayesopt.admission import Admission
from bayesopt.errors import (
    InvalidBudgetError,
    InvalidInputError,
    InvalidParamsError,
    InvalidPriorError,
    InvalidSpaceError,
    StorageError,
    StudyMismatchError,
)
from bayesopt.explain.importance import Importance, importance
from bayesopt.explain.left_out import ModelCheck, check_history
from bayesopt.judging import standings, verdict_on
from bayesopt.problem.arguments import as_number, entries, non_negative, whole_number
from bayesopt.problem.beliefs import Prior, Standings
from bayesopt.problem.budget import Budget, Spending
from bayesopt.problem.mean import MeanPrior
from bayesopt.problem.outcomes import Constraint, Outcomes
from bayesopt.problem.priors import PriorOnCube
from bayesopt.problem.space import Space
from bayesopt.problem.verdict import Verdict
from bayesopt.purse import account
from bayesopt.record.curves import Curves
from bayesopt.record.history import History, TrialRows, build_history
from bayesopt.record.ledger import Ledger, Trials
from bayesopt.record.opening import open_store
from bayesopt.record.origin import now
from bayesopt.record.storage import StudyStore
from bayesopt.record.table import records
from bayesopt.record.trial import Trial
from bayesopt.strategies.base import EndingRule, StoppingRule, Strategy, Suggestion
from bayesopt.strategies.expected_improvement import ExpectedImprovement
from bayesopt.strategies.median_stopping import MedianStopping
from bayesopt.strategies.model_based import ModelBased
from bayesopt.strategies.prior_guided import DOUBT, PriorGuided

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import pandas as pd

    from bayesopt.running import TrialParams

_MIN_TOLD_FOR_MODEL = 5
"""Told trials from which `best` trusts a model's means over the raw values."""

MAX_BELIEFS = 8
"""Most beliefs of a study: every set of them is weighed on its own."""


class Study:
    """A search for the best configuration: asks what to try, is told what came of it, and loses nothing.

    Example:
        >>> import bayesopt as bo
        >>> study = bo.Study(bo.Space({"x": bo.Float(-1.0, 1.0)}), minimize="loss", seed=0)
        >>> trial = study.ask()
        >>> study.tell(trial, {"loss": trial.params["x"] ** 2}).state
        'complete'
    """

    def __init__(
        self,
        space: Space,
        *,
        minimize: str | None = None,
        maximize: str | None = None,
        subject_to: Sequence[Constraint] = (),
        priors: Sequence[Prior | MeanPrior] = (),
        budget: Budget | None = None,
        storage: str | os.PathLike[str] | StudyStore | None = None,
        name: str | None = None,
        seed: int | None = None,
        noise: float | None = None,
        strategy: Strategy | None = None,
        stopping: StoppingRule | None = None,
        until: EndingRule | Sequence[EndingRule] = (),
        device: str = "auto",
        pending_timeout: float | None = 3600.0,
    ) -> None:
        """Start a study, or go on with the one that the storage holds under this name.

        Args:
            space: What can be tried.
            minimize: Name of the objective, when smaller is better. Give this or `maximize`.
            maximize: Name of the objective, when larger is better.
            subject_to: Outcomes that must hold, each an `AtMost` or `AtLeast`.
            priors: What you believe of the optimum: `OptimumPrior`, `OptimalValuePrior`, `PreferencePrior`. Each is
                right or wrong on its own; those that are right hold together. And how you believe the objective to
                depend on the parameters, one `MeanPrior`. The storage does not keep them.
            budget: What may be spent; None sets no limit. A reopened study takes the budget given now.
            storage: A file for SQLite, a `postgresql://` URL, or a `StudyStore`; None keeps the study in memory.
            name: Its name within the storage; 'study' if omitted.
            seed: Seed of every random choice; None draws one, which is kept with the study.
            noise: Standard deviation of the objective's noise in its units, that of the constrained outcomes being
                learned; 0.0 for outcomes that are all deterministic, None to learn every one.
            strategy: What proposes configurations; None takes the default, `strategies.ExpectedImprovement()`, or with
                priors of the optimum `strategies.PriorGuided()`.
            stopping: What `trial.should_stop()` asks, to end a run; None takes `strategies.MedianStopping()`.
            until: What ends the study before the budget does, one rule or several, such as
                `strategies.NotWorthTheCost(price=0.01)`. The storage does not keep it.
            device: Where models run: 'auto' (CUDA where it is present and pays), 'cpu', 'cuda', 'cuda:1', ...
            pending_timeout: Seconds without a sign of life from the process that asked for a trial after which the
                trial counts as lost: it fails, no longer shapes suggestions, gives its place in the budget back,
                and can still be told. None waits for ever. Applies to stored studies.

        Raises:
            InvalidInputError: If an argument is not of an accepted kind.
            InvalidSpaceError: If `space` is no `Space`.
            InvalidBudgetError: If `budget` is no `Budget`.
            StudyMismatchError: If the storage holds a study of this name that was declared differently.
        """
        if not isinstance(space, Space):
            raise InvalidSpaceError(f"space: expected a Space, got {space!r}; write bo.Space({{...}}).")
        self.space = space
        self.outcomes = Outcomes(declared.objective(minimize, maximize), entries("subject_to", subject_to))
        self.priors = entries("priors", priors)
        if budget is not None and not isinstance(budget, Budget):
            raise InvalidBudgetError(f"budget: expected a Budget, got {budget!r}; write bo.Budget(trials=40).")
        self._limit = budget or Budget()
        self.noise = None if noise is None else non_negative("noise", noise)
        self._given_strategy = None if strategy is None else declared.strategy(strategy)
        self.stopping = MedianStopping() if stopping is None else declared.stopping(stopping)
        self.until = declared.endings(until)
        self._believe(self.priors)
        self.device = declared.device(device)
        timeout = None if pending_timeout is None else non_negative("pending_timeout", pending_timeout)
        if timeout == 0:
            raise InvalidInputError("pending_timeout: 0 seconds would lose every trial; None waits for ever.")
        spec = {
            "space": space.to_json(),
            "outcomes": self.outcomes.to_json(),
            "seed": secrets.randbits(32) if seed is None else whole_number("seed", seed, at_least=0),
            "uid": secrets.token_hex(8),
            "noise": self.noise,
        }
        self._store = open_store(storage, name, spec)
        self._check_same(self._store.spec, seed)
        self.seed: int = self._store.spec["seed"]
        self._ledger = Ledger(self._store, self, timeout=timeout)
        self._rows = TrialRows(space, self.outcomes)
        self._admission = Admission(space, self._limit, self._rows, self.seed, self._history, self.until)
        self._interrupted: str | None = None
        self._judged: tuple[tuple[int, ...], Verdict] | None = None
        self._standings: tuple[tuple[int, ...], Standings] | None = None

    @classmethod
    def open(cls, storage: str | os.PathLike[str], name: str | None = None, **options: Any) -> "Study":
        """A stored study, declared as the storage remembers it.

        Args:
            storage: A SQLite file or a `postgresql://` URL.
            name: Which study; may be omitted when the storage holds just one.
            options: What the storage does not remember: `budget`, `priors`, `strategy`, ...; as in `Study`. The noise
                is the one that the study was created with, unless it is given.

        Returns:
            The study.

        Raises:
            InvalidInputError: If `storage` is neither a path nor a URL.
            StorageError: If there is no such study.
        """
        from bayesopt.record.sql import Database  # late: SQLAlchemy alone would double the import time

        if not isinstance(storage, str | os.PathLike):
            raise InvalidInputError(f"storage: expected a file path or a postgresql:// URL, got {storage!r}.")
        database = Database(storage, create=False)
        names = database.study_names()
        if name is None and len(names) == 1:
            name = names[0]
        if name not in names:
            asked = "name= must say which study" if name is None else f"there is no study {name!r}"
            database.close()
            raise StorageError(f"{database}: {asked}; it holds {', '.join(map(repr, names)) or 'none'}.")
        store = database.find_or_create(name, {})
        outcomes = Outcomes.from_json(store.spec["outcomes"])
        direction: dict[str, Any] = {outcomes.objective.direction: outcomes.objective.name}
        space = Space.from_json(store.spec["space"])
        options = {"noise": store.spec.get("noise")} | options
        return cls(space, **direction, subject_to=outcomes.constraints, storage=store, name=name, **options)

    @property
    def name(self) -> str:
        """Its name within the storage."""
        return self._store.name

    @property
    def uid(self) -> str:
        """What tells it from every other study, wherever that is kept."""
        return str(self._store.spec["uid"])

    # -- the loop ------------------------------------------------------------------------------------------------

    @overload
    def ask(self) -> Trial | None: ...

    @overload
    def ask(self, n: int) -> list[Trial]: ...

    def ask(self, n: int | None = None) -> Trial | list[Trial] | None:
        """What to evaluate next.

        Args:
            n: How many configurations to propose at once, chosen to suit one another and those pending; None asks
                for one.

        Returns:
            Without `n`, a trial, or None when nothing admissible is left (`why_stopped` says why). With `n`, a list
            of up to `n` trials.

        Raises:
            InvalidInputError: If `n` is no whole number of at least 1.
            StorageError: If the storage cannot be written; nothing was asked then.
        """
        count = 1 if n is None else whole_number("ask(n)", n, at_least=1)
        with self._ledger.lock:
            if isinstance(self.strategy, ModelBased):
                self.strategy.load(len(self._ledger.trials))  # other processes wait from `claim` on
            trials = self._ledger.claim(lambda known: self._admission.admit(known, count), self._propose)
            self._admission.note_asked(self._ledger.trials, found=bool(trials))
        return trials if n is not None else next(iter(trials), None)

    def tell(
        self,
        trial: Trial | int,
        values: Any,
        *,
        cost: float | Mapping[str, float] | None = None,
        sd: Mapping[str, float] | None = None,
    ) -> Trial:
        """Record what came of a trial.

        Args:
            trial: The trial or its id. One that was lost with its worker can still be told.
            values: Outcome name to number: the objective and every constrained outcome, None for one that could not
                be measured; further numbers are kept. The objective's number alone will do when nothing else is
                declared. A value that is not finite makes the trial a failed one.
            cost: What the trial cost, in the budget's unit, or a dict from meters (`seconds`, `tokens`, `money`,
                `cost`) to numbers; needed when the budget limits it, unless the budget knows it beforehand.
            sd: Known standard deviation of the noise, by outcome name, in the outcome's units.

        Returns:
            The trial as it is now: 'complete', or 'failed' after a value that is not finite.

        Raises:
            InvalidOutcomeError: If an outcome is missing or no number.
            InvalidBudgetError: If the cost is missing or negative.
            TrialStateError: If the trial is unknown, of another study, or was told before.
            StorageError: If the storage cannot be written; the trial is then still pending and can be told again.
        """
        outcome = self._outcome(values, sd) | self._charge(cost, trial)
        return self._ledger.end(trial, outcome | {"lost": False})

    def fail(
        self,
        trial: Trial | int,
        reason: str = "failed",
        *,
        cost: float | Mapping[str, float] | None = None,
        killed: bool = False,
    ) -> Trial:
        """Record that a trial broke; the model then learns to keep away from what breaks.

        Args:
            trial: The trial or its id.
            reason: What happened, for the report.
            cost: What it cost all the same, as in `tell`.
            killed: Whether it was killed at a limit and would have cost more.

        Returns:
            The failed trial.

        Raises:
            InvalidBudgetError: If the cost is no number of at least 0.
            TrialStateError: If the trial is unknown, of another study, or was told before.
        """
        outcome = {"state": "failed", "reason": declared.text(reason), "killed": bool(killed), "lost": False}
        return self._ledger.end(trial, outcome | self._charge(cost, trial, required=False))

    def abandon(self, trial: Trial | int, reason: str = "abandoned") -> Trial:
        """Give a trial up without a verdict on its configuration: nobody will evaluate it.

        It gives its place in the budget back, teaches the model nothing, and can still be told later.

        Args:
            trial: The trial or its id.
            reason: Why, for the report.

        Returns:
            The trial, failed and lost.
        """
        return self._ledger.end(trial, {"state": "failed", "reason": declared.text(reason), "lost": True})

    def enqueue(self, params: Mapping[str, Any]) -> Trial:
        """Queue a configuration to be asked before anything that a strategy proposes.

        Args:
            params: A value for every active parameter.

        Returns:
            The queued trial; `ask` hands it out under the same id.

        Raises:
            InvalidParamsError: If the configuration does not belong to the space.
        """
        return self._ledger.add(self._params(params), {"state": "queued", "source": "enqueued"})

    def tell_external(
        self,
        params: Mapping[str, Any],
        values: Any,
        *,
        cost: float | Mapping[str, float] | None = None,
        sd: Mapping[str, float] | None = None,
    ) -> Trial:
        """Add a configuration that was evaluated elsewhere; it is not charged to the budget.

        Args:
            params: A value for every active parameter.
            values: As in `tell`.
            cost: As in `tell`, never needed.
            sd: As in `tell`.

        Returns:
            The new trial.

        Raises:
            InvalidParamsError: If the configuration does not belong to the space.
            InvalidOutcomeError: If an outcome is missing or no number.
        """
        canonical = self._params(params)
        outcome = self._outcome(values, sd) | self._charge(cost, None, required=False)
        return self._ledger.add(canonical, outcome | {"source": "external", "told_at": now()})

    def add_prior(self, prior: Prior | MeanPrior) -> None:
        """Take a further belief into account from the next `ask` on, judged by all that was told so far.

        The storage does not keep it: declare it in `priors` where the study is reopened.

        Args:
            prior: The belief.

        Raises:
            InvalidPriorError: If it is none, or does not fit the space or the strategy.
        """
        with self._ledger.lock:
            self._believe((*self.priors, prior))

    def run(
        self,
        evaluate: Callable[["TrialParams"], Any],
        workers: int | None = None,
        progress: bool = True,
        *,
        executor: "Executor | None" = None,
    ) -> Trial | None:
        """Ask, evaluate and tell until nothing more is to be tried.

        The first Ctrl-C lets the running evaluations finish and then returns; the second abandons them.

        Args:
            evaluate: Takes the parameters, a dict that also is a handle on its trial (`TrialParams`), and returns what
                `tell` takes. A "cost" among the returned outcomes is the trial's cost, unless an outcome of that name
                is declared; otherwise its wall time in seconds is. An exception makes the trial a failed one, and the
                loop goes on; `TrialFailed(reason, cost=...)` says why in its own words, and what it cost. A failure
                that does not say is charged its seconds, or the median of the costs that evaluations of this run have
                named, if any have.
            workers: How many evaluations run at the same time; None for one, or as many as `executor` has workers.
            progress: Whether to show a progress bar.
            executor: Where they run: anything with `submit` as in `concurrent.futures`, such as a `ProcessPoolExecutor`
                or, for a Dask cluster, `client.get_executor(pure=False)`; it stays open. None for threads of this
                process. Elsewhere than in this process, `evaluate` must be picklable by the executor's means and
                cannot report a learning curve. A worker that dies costs its trial at most; an executor that breaks
                as a whole ends the run with its error, and the trials that were running can be asked anew.

        Returns:
            `best`.

        Raises:
            InvalidInputError: If an argument is not of an accepted kind.
        """
        from bayesopt.running import run  # late: the loop needs Study, and tqdm is only for those who run

        run(self, evaluate, workers=workers, progress=progress, executor=executor)
        return self.best

    def stop(self, reason: str) -> None:
        """Note why the loop around this study ended early, for `why_stopped`; asking again goes on."""
        self._interrupted = reason

    # -- what is known -------------------------------------------------------------------------------------------

    @property
    def trials(self) -> list[Trial]:
        """Every trial in the order of the ids, also what other processes asked and told."""
        with self._ledger.lock:
            self._ledger.refresh()
            return [self._ledger.snapshot(trial_id) for trial_id in self._ledger.trials]

    @property
    def history(self) -> History:
        """The told, pending and failed trials as arrays: what a strategy sees."""
        with self._ledger.lock:
            self._ledger.refresh()
            return self._history(list(self._ledger.trials.values()))

    @property
    def best(self) -> Trial | None:
        """The trial to use: the best feasible one; None while there is none.

        Unless the outcomes are deterministic, it is the one with the best posterior mean among those that are
        probably feasible, not the luckiest measurement.
        """
        history = self.history
        row = history.best_observed
        if row is None:
            return None
        if self.noise != 0.0 and len(history.ids) >= _MIN_TOLD_FOR_MODEL:
            return self._ledger.snapshot(self._recommended(history))
        return self._ledger.snapshot(int(history.ids[row]))

    @property
    def best_observed(self) -> Trial | None:
        """The feasible trial with the best objective as it was measured, luck included; None while there is none."""
        history = self.history
        row = history.best_observed
        return None if row is None else self._ledger.snapshot(int(history.ids[row]))

    @property
    def recommended(self) -> Trial | None:
        """`best` as a model judged it when nothing newer had been told; None when that is not on record.

        Costs no model, unlike `best`.
        """
        history = self.history
        kept = self._kept_recommendation(history)
        return None if kept is None else self._ledger.snapshot(kept)

    @property
    def budget(self) -> Spending:
        """The budget and what is spent of it."""
        with self._ledger.lock:
            self._ledger.refresh()
            return account(self._limit, self._ledger.trials)

    @property
    def verdict(self) -> Verdict:
        """Whether the constraints can be met, with the evidence: a measured trial, or a model's judgement.

        A function of what was told: a reopened study says the same. While nothing feasible was told a model is fitted
        when the verdict is read, once after a tell.
        """
        if not self.outcomes.constraints:
            return Verdict("feasible", "no outcome is constrained")
        history = self.history
        if (row := history.best_observed) is not None:
            return Verdict("feasible", f"trial {history.ids[row]} was measured to satisfy every constraint")
        ids = tuple(history.ids.tolist())
        if self._judged is None or self._judged[0] != ids:
            self._judged = ids, verdict_on(history)
        return self._judged[1]

    @property
    def beliefs(self) -> Standings:
        """What the data have left of each declared belief about the optimum; empty without one.

        Fits the model, once after each trial told. With fewer than two told trials nothing speaks for or against.
        """
        with self._ledger.lock:
            self._ledger.refresh()
            history, bound = self._history(list(self._ledger.trials.values())), self._bound_priors
            priors = tuple(prior for prior in self.priors if isinstance(prior, Prior))
        doubt = self.strategy.doubt if isinstance(self.strategy, PriorGuided) else DOUBT
        key = (len(history.X), len(history.failed), len(bound), int(history.law is not None))
        if self._standings is None or self._standings[0] != key:
            self._standings = key, standings(priors, history, doubt)
        return self._standings[1]

    def importance(self) -> Importance:
        """Which parameters matter for the objective, by a model of what was told: Sobol indices, a mixture as one.

        Returns:
            What each explains alone and together with others, with the error of the integration, and why not to trust
            the model where something speaks against it. Fits the model.

        Raises:
            InvalidInputError: If fewer than two trials were told.
        """
        return importance(self.history)

    def check_model(self) -> ModelCheck:
        """How far the models can be trusted: each told trial predicted from the others.

        Returns:
            For each outcome the left-out errors, their calibration and rank correlation, and warnings in plain words.
            Fits the models.
        """
        return check_history(self.history)

    @property
    def done(self) -> bool:
        """Whether `ask` would return None now."""
        with self._ledger.lock:
            self._ledger.refresh()
            return self._nothing_left() is not None

    @property
    def why_stopped(self) -> str | None:
        """Which rule ended the study; None while it can go on."""
        with self._ledger.lock:
            self._ledger.refresh()
            return self._nothing_left() or self._interrupted

    def report(self) -> str:
        """A plain-text account: the best configuration, the verdict, the budget, what went wrong, the models' worth."""
        from bayesopt.report import report  # late: it needs Study

        return report(self)

    def to_dataframe(self) -> "pd.DataFrame":
        """One row a trial, one column a parameter (a share of a `Simplex` each), an outcome and a fact about it.

        Returns:
            The table.

        Raises:
            ImportError: If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise ImportError("Study.to_dataframe needs pandas: pip install pandas.") from None
        return pd.DataFrame(self.to_records())

    def to_records(self) -> list[dict[str, Any]]:
        """One flat dict a trial, with the same keys for all; see `bayesopt.record.table.records`."""
        return records(self.trials, self.space, self.outcomes)

    def close(self) -> None:
        """Let go of the storage; trials that are still pending will time out."""
        self._ledger.close()

    def __enter__(self) -> Self:
        """The study, closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    @override
    def __repr__(self) -> str:
        """Its name, objective and progress."""
        objective = self.outcomes.objective
        return f"Study({self.name!r}: {objective.direction} {objective.name!r}, {self.budget})"

    # -- inside --------------------------------------------------------------------------------------------------

    def _believe(self, priors: tuple[Any, ...]) -> None:
        """Take these beliefs for the declared ones, and the strategy that is due with them."""
        weights = tuple(declared.prior(prior) for prior in priors if not isinstance(prior, MeanPrior))
        bound = tuple(prior.on(self.space) for prior in weights)
        laws = tuple(prior.on(self.space) for prior in priors if isinstance(prior, MeanPrior))
        if len(laws) > 1:
            raise InvalidPriorError(f"priors: expected at most one MeanPrior, got {len(laws)}; add the laws up in one.")
        if len(bound) > MAX_BELIEFS:
            raise InvalidPriorError(
                f"priors: {len(bound)} beliefs are more than the {MAX_BELIEFS} that can be told apart; one "
                "OptimumPrior takes any number of parameters, and one PreferencePrior any number of pairs."
            )
        default = PriorGuided() if weights else ExpectedImprovement()
        strategy = default if self._given_strategy is None else self._given_strategy
        if isinstance(strategy, ModelBased) and not strategy.takes_every_belief:
            for prior, belief in zip(weights, bound, strict=True):
                if not isinstance(belief, PriorOnCube):
                    raise InvalidPriorError(
                        f"priors: {type(strategy).__name__} weighs places of the optimum alone and would ignore "
                        f"{prior!r}; leave strategy= out or give strategies.PriorGuided()."
                    )
        if laws and isinstance(strategy, ModelBased) and not strategy.takes_law:
            raise InvalidPriorError(
                f"priors: {type(strategy).__name__} hands models to BoTorch, which cannot hold the law of a MeanPrior; "
                "leave it out, or choose a strategy without make=."
            )
        self.priors, self._bound_priors, self.strategy = priors, bound, strategy
        self._law = laws[0] if laws else None

    def _propose(self, trials: Trials, n: int) -> list[dict[str, Any]]:
        """What the strategy suggests after these trials, as fields of new ones: a function of them and of the seed."""
        again = self._admission.to_confirm(trials, lambda: self._judged_best(trials))
        if again is not None:
            best, n_affordable = again
            repetition = {"params": best.params, "source": "confirmation", "grounds": {"repeats": best.id}}
            return [repetition] * min(n, n_affordable)
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(len(trials),)))
        suggested = self.strategy.suggest(self._admission.history(trials), n, rng)
        kind = type(self.strategy).__name__
        proposed = [self._suggested(params) for params in entries(f"the suggestions of {kind}", suggested)[:n]]
        return proposed[: self._admission.paid(trials, [self.space.encode(one["params"]) for one in proposed])]

    def _judged_best(self, trials: Trials) -> Trial | None:
        history = self._history(list(trials.values()))
        return trials[self._recommended(history)] if len(history.ids) >= _MIN_TOLD_FOR_MODEL else None

    def _history(self, trials: Sequence[Trial]) -> History:
        return build_history(
            trials,
            rows=self._rows,
            seed=self.seed,
            noise=self.noise,
            priors=self._bound_priors,
            law=self._law,
            device=self.device,
        )

    def _nothing_left(self) -> str | None:
        reason = self._admission.why_nothing_is_left(self._ledger.trials)
        # The next ask will lose the trials whose worker is silent: their places and configurations are free then.
        return None if reason is None else self._admission.why_nothing_is_left(self._ledger.without_silent())

    def _recommended(self, history: History) -> int:
        kept = self._kept_recommendation(history)
        if kept is None:
            from bayesopt.surrogate import recommend  # late: it brings torch

            row = recommend(history)
            kept = int(history.ids[history.best_observed if row is None else row])
            # A full disk must not hide what is known: a judgement that cannot be kept is made again when it is needed.
            with contextlib.suppress(StorageError):
                self._store.recommend({"told": len(history.ids), "trial": kept})
        return kept

    def _kept_recommendation(self, history: History) -> int | None:
        kept = self._store.recommendation()
        return int(kept["trial"]) if kept is not None and kept["told"] == len(history.ids) else None

    def _outcome(self, values: Any, sd: Any) -> dict[str, Any]:
        """The fields of a trial that ended with these outcomes."""
        told = self.outcomes.parse(values)
        broken = [
            name for name in self.outcomes.names if (value := told[name]) is not None and not math.isfinite(value)
        ]
        return {
            "state": "failed" if broken else "complete",
            "values": told,
            "sd": self.outcomes.parse_sd(sd, told),
            "reason": ", ".join(f"{name} is {told[name]}" for name in broken) or None,
        }

    def _charge(self, cost: Any, trial: Trial | int | None, *, required: bool = True) -> dict[str, Any]:
        """The fields of a trial that say what it cost; what is known beforehand need not be told."""
        known = self._admission.known_costs
        if cost is None and known is not None and trial is not None:
            charge = known.charge(self._ledger.params_of(trial))
        else:
            charge = self._limit.charge(cost, required=required)
        return {"cost": charge.pop("cost", None), "meters": charge}

    def _params(self, params: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(params, Mapping):
            raise InvalidParamsError(f"expected a dict from parameter name to value, got {params!r}.")
        return self.space.validate(params)

    def _suggested(self, suggestion: Mapping[str, Any]) -> dict[str, Any]:
        kind = type(self.strategy).__name__
        try:
            params = self.space.validate(suggestion)
        except InvalidParamsError as error:
            raise InvalidParamsError(f"the strategy {kind} suggested what the space does not hold: {error}") from error
        if not isinstance(suggestion, Suggestion):
            return {"params": params}
        return {
            "params": params,
            "memory": declared.note(f"the memory of the strategy {kind}", suggestion.memory),
            "grounds": declared.note(f"the reason of the strategy {kind}", suggestion.grounds),
        }

    def _check_same(self, stored: Mapping[str, Any], seed: int | None) -> None:
        differences = Space.from_json(stored["space"]).differences(self.space)
        differences += Outcomes.from_json(stored["outcomes"]).differences(self.outcomes)
        if seed is not None and seed != stored["seed"]:
            differences.append(f"the seed was {stored['seed']}, now it is {seed} (omit it to go on)")
        if differences:
            raise StudyMismatchError(
                f"the study {self._store.name!r} in {self._store} was declared differently: {'; '.join(differences)}. "
                "Give the new study another name, or declare this one as it was."
            )

    def _report(self, trial_id: int, step: float, value: Any) -> None:
        at = non_negative("step", step)
        number = as_number(self.outcomes.objective.name, value)
        self._store.add_report(trial_id, at, number)

    def _should_stop(self, trial_id: int) -> bool:
        reports = self._store.reports()
        with self._ledger.lock:
            self._ledger.refresh()
            trials = self._ledger.trials
            curves = Curves.of(
                self.space, trials[trial_id], list(trials.values()), reports, self.outcomes.objective.sign
            )
        return self.stopping.should_stop(curves)
