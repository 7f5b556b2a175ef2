"""The ask/tell loop: the only thing here that changes state."""

import contextlib
import json
import math
import os
import re
import secrets
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np
from typing_extensions import override

from bayesopt.errors import (
    InvalidBudgetError,
    InvalidInputError,
    InvalidOutcomeError,
    InvalidParamsError,
    InvalidPriorError,
    InvalidSpaceError,
    StorageError,
    StudyMismatchError,
)
from bayesopt.problem.arguments import as_number, entries, non_negative, whole_number
from bayesopt.problem.beliefs import Prior, Standing, Standings
from bayesopt.problem.budget import Budget, Spending
from bayesopt.problem.mean import MeanPrior
from bayesopt.problem.outcomes import Constraint, Objective, Outcomes
from bayesopt.problem.priors import PriorOnCube
from bayesopt.problem.space import Space
from bayesopt.problem.verdict import LEAST_TOLD, Verdict
from bayesopt.record.curves import Curves
from bayesopt.record.history import History, TrialRows, build_history
from bayesopt.record.ledger import Ledger, Trials
from bayesopt.record.opening import open_store
from bayesopt.record.origin import now
from bayesopt.record.storage import StudyStore
from bayesopt.record.table import records
from bayesopt.record.trial import Trial
from bayesopt.strategies.base import StoppingRule, Strategy, Suggestion
from bayesopt.strategies.expected_improvement import ExpectedImprovement
from bayesopt.strategies.median_stopping import MedianStopping
from bayesopt.strategies.model_based import MIN_TOLD, ModelBased
from bayesopt.strategies.prior_guided import DOUBT, PriorGuided

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import pandas as pd

    from bayesopt.running import TrialParams

_MIN_TOLD_FOR_MODEL = 5
"""Told trials from which `best` trusts a model's means over the raw values."""

MAX_BELIEFS = 8
"""Most beliefs of a study: every set of them is weighed on its own."""

_MAX_ENUMERATED = 100_000
"""Finite spaces up to this size are counted exactly, so that a study knows when nothing is left to try."""


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
            stopping: What `trial.should_stop()` asks; None takes `strategies.MedianStopping()`.
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
        self.outcomes = Outcomes(_objective(minimize, maximize), entries("subject_to", subject_to))
        self.priors = entries("priors", priors)
        if budget is not None and not isinstance(budget, Budget):
            raise InvalidBudgetError(f"budget: expected a Budget, got {budget!r}; write bo.Budget(trials=40).")
        self._limit = budget or Budget()
        self.noise = None if noise is None else non_negative("noise", noise)
        self._given_strategy = None if strategy is None else _strategy(strategy)
        self.stopping = MedianStopping() if stopping is None else _stopping(stopping)
        self._believe(self.priors)
        self.device = _device(device)
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
        self._ran_dry_at: int | None = None
        self._interrupted: str | None = None
        self._n_configurations: int | None = None
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
            trials = self._ledger.claim(lambda known: self._account(known).admits(count), self._propose)
            self._ran_dry_at = None if trials or self._account().exhausted else _n_held(self._ledger.trials)
        return trials if n is not None else next(iter(trials), None)

    def tell(
        self, trial: Trial | int, values: Any, *, cost: float | None = None, sd: Mapping[str, float] | None = None
    ) -> Trial:
        """Record what came of a trial.

        Args:
            trial: The trial or its id. One that was lost with its worker can still be told.
            values: Outcome name to number: the objective and every constrained outcome, None for one that could not
                be measured; further numbers are kept. The objective's number alone will do when nothing else is
                declared. A value that is not finite makes the trial a failed one.
            cost: What the trial cost, in the budget's unit; needed when the budget limits cost.
            sd: Known standard deviation of the noise, by outcome name, in the outcome's units.

        Returns:
            The trial as it is now: 'complete', or 'failed' after a value that is not finite.

        Raises:
            InvalidOutcomeError: If an outcome is missing or no number.
            InvalidBudgetError: If the cost is missing or negative.
            TrialStateError: If the trial is unknown, of another study, or was told before.
            StorageError: If the storage cannot be written; the trial is then still pending and can be told again.
        """
        outcome = self._outcome(values, cost, sd)
        return self._ledger.end(trial, outcome | {"lost": False})

    def fail(self, trial: Trial | int, reason: str = "failed", *, cost: float | None = None) -> Trial:
        """Record that a trial broke; the model then learns to keep away from what breaks.

        Args:
            trial: The trial or its id.
            reason: What happened, for the report.
            cost: What it cost all the same, in the budget's unit.

        Returns:
            The failed trial.

        Raises:
            InvalidBudgetError: If the cost is no number of at least 0.
            TrialStateError: If the trial is unknown, of another study, or was told before.
        """
        outcome = {"state": "failed", "reason": _text(reason), "cost": self._cost(cost, required=False), "lost": False}
        return self._ledger.end(trial, outcome)

    def abandon(self, trial: Trial | int, reason: str = "abandoned") -> Trial:
        """Give a trial up without a verdict on its configuration: nobody will evaluate it.

        It gives its place in the budget back, teaches the model nothing, and can still be told later.

        Args:
            trial: The trial or its id.
            reason: Why, for the report.

        Returns:
            The trial, failed and lost.
        """
        return self._ledger.end(trial, {"state": "failed", "reason": _text(reason), "lost": True})

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
        cost: float | None = None,
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
        outcome = self._outcome(values, cost, sd, external=True)
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
            return self._account()

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
            self._judged = ids, self._judge(history)
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
            self._standings = key, _standings(priors, history, doubt)
        return self._standings[1]

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
        """A plain-text account: the best configuration, the verdict, the budget, and what went wrong."""
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
        weights = tuple(_prior(prior) for prior in priors if not isinstance(prior, MeanPrior))
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
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(len(trials),)))
        suggested = self.strategy.suggest(self._history(list(trials.values())), n, rng)
        kind = type(self.strategy).__name__
        return [self._suggested(params) for params in entries(f"the suggestions of {kind}", suggested)[:n]]

    def _judge(self, history: History) -> Verdict:
        """What a model makes of trials none of which is feasible."""
        none = f"none of {len(history.ids)} told trials satisfies every constraint"
        claim = None
        if len(history.ids) > LEAST_TOLD * self.space.dim:
            from bayesopt.certificate import claim as judge  # late: it brings torch

            claim = judge(history)
        if claim is None:
            return Verdict("undecided", none)
        point, binding = self.space.decode(claim.point), self.outcomes.constraints[claim.binding].name
        if claim.holds:
            status, outlook = "infeasible", f", and at most {claim.expected:.1g} feasible regions are expected anywhere"
        else:
            status, outlook = (
                "undecided",
                f", but a feasible region may exist (chance up to {min(claim.expected, 1.0):.1g})",
            )
        by = f", by {claim.margin:.2g} of its spreads or more" if claim.margin > 0 else ""
        evidence = f"{none}{outlook}; the least violation may be at {point}, where {binding!r} is worst{by}"
        return Verdict(
            status,
            evidence,
            expected=claim.expected,
            chance=claim.chance,
            point=point,
            binding=binding,
            margin=claim.margin,
        )

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

    def _account(self, trials: Trials | None = None) -> Spending:
        charged = [t for t in (self._ledger.trials if trials is None else trials).values() if t.source != "external"]
        states = [trial.state for trial in charged if not trial.lost]
        return Spending(
            self._limit,
            spent_trials=states.count("complete") + states.count("failed"),
            pending=states.count("pending"),
            costs=tuple(t.cost for t in charged if t.cost is not None),
        )

    def _nothing_left(self) -> str | None:
        reason = self._why_nothing_is_left(self._ledger.trials)
        # The next ask will lose the trials whose worker is silent: their places and configurations are free then.
        return None if reason is None else self._why_nothing_is_left(self._ledger.without_silent())

    def _why_nothing_is_left(self, trials: Trials) -> str | None:
        spent = self._account(trials).exhausted
        if spent is not None or any(trial.state == "queued" for trial in trials.values()):
            return spent
        held = [trial for trial in trials.values() if not trial.lost]
        if self.space.size is not None and len(held) >= (n := self._count_configurations(self.space.size)):
            n_tried = len({point.tobytes() for point in self._rows.points(held)})
            if n_tried >= n:
                return f"space: all {n_tried} configurations are tried"
        if self._ran_dry_at == len(held):
            return "space: no configuration is left to try"
        return None

    def _count_configurations(self, size: int) -> int:
        if self._n_configurations is None:
            # An opened study does not know the predicate of its space, which is code, and cannot count without it.
            knows_rules = self.space.allowed is not None or self.space.to_json()["allowed"] is None
            exact = size <= _MAX_ENUMERATED and knows_rules
            self._n_configurations = len(self.space.enumerate(_MAX_ENUMERATED)) if exact else size
        return self._n_configurations

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

    def _outcome(self, values: Any, cost: Any, sd: Any, *, external: bool = False) -> dict[str, Any]:
        """The fields of a trial that ended with these outcomes."""
        told = self.outcomes.parse(values)
        broken = [
            name for name in self.outcomes.names if (value := told[name]) is not None and not math.isfinite(value)
        ]
        return {
            "state": "failed" if broken else "complete",
            "values": told,
            "sd": self.outcomes.parse_sd(sd, told),
            "cost": self._cost(cost, required=not external),
            "reason": ", ".join(f"{name} is {told[name]}" for name in broken) or None,
        }

    def _cost(self, cost: Any, *, required: bool) -> float | None:
        if cost is None:
            if required and self._limit.cost is not None:
                raise InvalidBudgetError(
                    f"cost: this study's budget is limited to a cost of {self._limit.cost:g}, "
                    "so every trial is told with what it cost: tell(trial, values, cost=...)."
                )
            return None
        return non_negative("cost", cost, InvalidBudgetError)

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
        memory = suggestion.memory if isinstance(suggestion, Suggestion) else None
        return {"params": params, "memory": _memory(kind, memory)}

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


def _n_held(trials: Trials) -> int:
    """How many trials keep their configuration from being proposed: all but the lost ones."""
    return sum(not trial.lost for trial in trials.values())


def _objective(minimize: str | None, maximize: str | None) -> Objective:
    if (minimize is None) == (maximize is None):
        raise InvalidOutcomeError(
            "give one objective: minimize='name' or maximize='name'; "
            f"got minimize={minimize!r} and maximize={maximize!r}."
        )
    return Objective(minimize, "minimize") if maximize is None else Objective(maximize, "maximize")  # type: ignore[arg-type]


def _prior(prior: Any) -> Prior:
    if not isinstance(prior, Prior):
        raise InvalidPriorError(
            "priors: expected OptimumPrior(...), OptimalValuePrior(...), PreferencePrior(...) or MeanPrior(...), "
            f"got {prior!r}."
        )
    return prior


def _standings(priors: tuple[Prior, ...], history: History, doubt: float) -> Standings:
    """What is left of beliefs after a history."""
    n = len(history.X)
    undecided = tuple(Standing(prior, 1.0 - doubt, 0.0) for prior in priors)
    nothing_known = Standings(undecided, (1.0 - doubt) ** len(priors), 0.0, n)
    if not priors or n < MIN_TOLD:
        return nothing_known
    from bayesopt.acquisition.believed_paths import judge  # late: it brings torch

    try:
        verdict = judge(history, doubt)
    except ArithmeticError as error:
        warnings.warn(f"The model broke down and says nothing of the beliefs: {error}", RuntimeWarning, stacklevel=3)
        return nothing_known
    each = zip(priors, verdict.probabilities.tolist(), verdict.log_bayes_factors.tolist(), strict=True)
    return Standings(tuple(Standing(*one) for one in each), verdict.probability, verdict.log_bayes_factor, n)


def _strategy(strategy: Any) -> Strategy:
    if not callable(getattr(strategy, "suggest", None)) or isinstance(strategy, type):
        raise InvalidInputError(
            f"strategy: expected an object with suggest(history, n, rng), such as bo.strategies.RandomSearch(), "
            f"got {strategy!r}."
        )
    return strategy


def _stopping(rule: Any) -> StoppingRule:
    if not callable(getattr(rule, "should_stop", None)) or isinstance(rule, type):
        raise InvalidInputError(
            "stopping: expected an object with should_stop(curves), such as bo.strategies.MedianStopping(), "
            f"got {rule!r}."
        )
    return rule


def _memory(kind: str, memory: Any) -> dict[str, Any] | None:
    """A memory as it will be read again from any store: by way of JSON, so that memory and files agree."""
    if memory is None:
        return None
    if not isinstance(memory, Mapping):
        raise InvalidInputError(f"the memory of the strategy {kind}: expected a dict or None, got {memory!r}.")
    try:
        return dict(json.loads(json.dumps(dict(memory))))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"the memory of the strategy {kind} is kept as JSON, which does not hold it ({error}); "
            "use strings, numbers, booleans, None, lists and dicts, such as array.tolist()."
        ) from error


def _device(device: Any) -> str:
    # Whether the machine has it is known to torch alone, which must not be imported for a study that asks no model.
    if not isinstance(device, str) or not re.fullmatch(r"auto|cpu|(cuda|mps|xpu)(:\d+)?", device):
        raise InvalidInputError(f"device: expected 'auto', 'cpu', 'cuda' or one such as 'cuda:1', got {device!r}.")
    return device


def _text(reason: Any) -> str:
    # Databases refuse NUL and lone surrogates, and a reason often is whatever a broken program printed.
    return str(reason).replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
