"""The loop that `Study.run` runs: ask, evaluate, tell, with a progress bar and a clean way out."""

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import dataclass
from statistics import median
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from tqdm import tqdm

from bayesopt.errors import BayesoptError, InvalidInputError, StorageError, TrialFailed
from bayesopt.problem.arguments import whole_number
from bayesopt.record.origin import is_dead
from bayesopt.record.trial import Trial

if TYPE_CHECKING:
    from bayesopt.study import Study

_LOG = logging.getLogger("bayesopt")

_POLL_SECONDS = 0.2
"""How often a loop that waits for its workers looks for a Ctrl-C."""


class TrialParams(dict[str, Any]):
    """What `Study.run` hands to an evaluation: the parameters as a plain dict, which also knows its trial.

    `params["lr"]`, `f(**params)` and `json.dumps(params)` work as with any dict; `params.report(step, value)` and
    `params.should_stop()` serve an evaluation with a learning curve.
    """

    def __init__(self, trial: Trial) -> None:
        """The parameters of a trial.

        Args:
            trial: The trial that is to be evaluated.
        """
        super().__init__(trial.params)
        self.trial = trial
        self.id, self.report, self.should_stop = trial.id, trial.report, trial.should_stop

    @property
    def params(self) -> dict[str, Any]:
        """The dict itself: so that code written for a `Trial` runs unchanged."""
        return self


def run(
    study: "Study",
    evaluate: Callable[["TrialParams"], Any],
    *,
    workers: int | None,
    progress: bool,
    executor: Executor | None = None,
) -> None:
    """Run a study until it is done or interrupted; see `Study.run`.

    Args:
        study: What to run.
        evaluate: Takes a trial's parameters and returns its outcomes.
        workers: How many evaluations run at the same time; None for one, or as many as the executor has workers.
        progress: Whether to show a progress bar.
        executor: Where they run; None for threads of this process.

    Raises:
        InvalidInputError: If `evaluate` cannot be called, `workers` is no whole number of at least 1, or `executor` is
            none, or one that does not tell how many workers it has.
    """
    if not callable(evaluate):
        raise InvalidInputError(f"run: evaluate must be a function of a trial, got {evaluate!r}.")
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise InvalidInputError(
            f"run: executor must have submit(f, *args), as those of concurrent.futures have, got {executor!r}; "
            "of a Dask client, give client.get_executor()."
        )
    if workers is None:
        workers = 1 if executor is None else _workers_of(executor)
    workers = whole_number("workers", workers, at_least=1)
    _abandon_trials_of_the_dead(study)
    with _Interrupt() as interrupt, _Bar(study, shown=progress) as bar:
        if executor is not None:
            _run_in(executor, study, evaluate, workers, interrupt, bar)
        elif workers == 1:
            _run_here(study, evaluate, interrupt, bar)
        else:
            pool = ThreadPoolExecutor(workers, thread_name_prefix="evaluate")
            try:
                _run_in(pool, study, evaluate, workers, interrupt, bar)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
    if interrupt.asked:
        study.stop("interrupted: run the same study again to go on")


def _run_here(study: "Study", evaluate: Callable[["TrialParams"], Any], interrupt: "_Interrupt", bar: "_Bar") -> None:
    recorder = _Recorder(study)
    trials: list[Trial] = []
    try:
        while trials := _asked(study, 1, interrupt):
            recorder.record(trials[0], _evaluate(evaluate, trials[0]))
            bar.update()
    except BaseException as error:
        _give_up(study, trials, error)
        if not (isinstance(error, KeyboardInterrupt) and interrupt.asked):
            raise


def _workers_of(executor: Executor) -> int:
    """How many calls an executor runs at the same time."""
    # No executor has a public way to say so: pools of the standard library and of loky keep the number that they were
    # given, and Dask's knows the client, which knows the cluster.
    if (client := getattr(executor, "_client", None)) is not None and callable(getattr(client, "nthreads", None)):
        return max(1, sum(client.nthreads().values()))
    workers = getattr(executor, "_max_workers", None)
    if workers is None:
        raise InvalidInputError(
            f"run: {type(executor).__name__} does not tell how many calls it runs at the same time; "
            "say it: run(evaluate, workers=8, executor=...)."
        )
    return int(workers)


def _run_in(
    executor: Executor,
    study: "Study",
    evaluate: Callable[["TrialParams"], Any],
    workers: int,
    interrupt: "_Interrupt",
    bar: "_Bar",
) -> None:
    running: dict[Future[_Ending], Trial] = {}
    broken: list[BayesoptError] = []
    recorder = _Recorder(study)
    asked: list[Trial] = []
    try:
        while True:
            free = workers - len(running)
            if free and not broken:
                try:
                    asked = _asked(study, free, interrupt)
                    while asked:
                        running[executor.submit(_evaluate, evaluate, asked[0])] = asked[0]
                        del asked[0]
                except BayesoptError as error:
                    broken.append(error)
            if not running:
                break
            for future in wait(running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED).done:
                try:
                    recorder.record(running[future], _ending(future, running[future], recorder))
                    bar.update()
                except BayesoptError as error:
                    # The others were paid for too: nothing new is started, and what is running may finish.
                    _give_up(study, [running[future]], error)
                    broken.append(error)
                del running[future]
        if broken:
            raise type(broken[0])("\n".join(map(str, broken))) from broken[0]
    except BaseException as error:
        for future in running:
            future.cancel()
        _give_up(study, [*running.values(), *asked], error)
        if not (isinstance(error, KeyboardInterrupt) and interrupt.asked):
            raise


def _asked(study: "Study", n: int, interrupt: "_Interrupt") -> list[Trial]:
    """Up to `n` trials to evaluate, none once a Ctrl-C has come, also where it came while the model was thinking."""
    trials = [] if interrupt.asked else study.ask(n)
    if interrupt.asked:
        for trial in trials:
            study.abandon(trial, "interrupted before it was evaluated")
        return []
    return trials


@dataclass(frozen=True, kw_only=True)
class _Ending:
    """What an evaluation came to."""

    values: Any = None
    """What it returned."""
    failure: str | None = None
    """Why it failed; None if it did not."""
    cost: float | Mapping[str, float] | None = None
    """What it said that its failure cost."""
    killed: bool = False
    """Whether it was killed at a limit."""
    seconds: float
    """How long it took."""


def _evaluate(evaluate: Callable[["TrialParams"], Any], trial: Trial) -> _Ending:
    start = time.perf_counter()
    try:
        values = evaluate(TrialParams(trial))
    except TrialFailed as error:
        _LOG.warning("trial %d failed: %s", trial.id, error)
        seconds = time.perf_counter() - start
        return _Ending(failure=str(error), cost=error.cost, killed=error.killed, seconds=seconds)
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
        _LOG.warning("trial %d failed: %s", trial.id, failure, exc_info=error)
        return _Ending(failure=failure, seconds=time.perf_counter() - start)
    return _Ending(values=values, seconds=time.perf_counter() - start)


def _ending(future: "Future[_Ending]", trial: Trial, recorder: "_Recorder") -> _Ending:
    """What an evaluation came to, or what became of the worker that it ran on."""
    try:
        return future.result()
    except (BrokenExecutor, CancelledError):
        raise  # nothing will run there any more, and no trial is to blame
    except Exception as error:
        # Evaluations catch their own exceptions, so this is the executor's: a worker that died with its trial, again
        # and again where the executor tries again. Before anything came back it rather is one that cannot run the
        # evaluation at all, for instance because it cannot be pickled, and no trial is worth losing to that.
        if not recorder.has_recorded:
            raise
        failure = f"{type(error).__name__}: {error}"
        _LOG.warning("trial %d failed with its worker: %s", trial.id, failure)
        return _Ending(failure=failure, seconds=max(0.0, time.time() - (trial.asked_at or math.inf)))


class _Recorder:
    """Tells a study how its trials ended, and what to charge for them."""

    def __init__(self, study: "Study") -> None:
        self._study = study
        self._limit = study.budget.limit  # now: a storage that cannot be read must not keep a result from being told
        self._named: list[dict[str, float]] = []
        self.has_recorded = False

    def record(self, trial: Trial, ending: _Ending) -> None:
        self.has_recorded = True
        values, named = ending.values, ending.cost
        if isinstance(values, Mapping) and "cost" in values and "cost" not in self._study.outcomes.names:
            values = dict(values)
            named = values.pop("cost")
        limit = self._limit
        cost: float | dict[str, float] | None
        if named is not None:
            cost = limit.charge(named, required=False)
            self._named.append(cost)
        elif ending.failure is not None and self._named:
            # Costs have a unit of their own, which only evaluations know; were failures free, a budget could not end.
            meters = dict.fromkeys(meter for charge in self._named for meter in charge)
            cost = {meter: median(c[meter] for c in self._named if meter in c) for meter in meters}
        elif limit.cost_of is not None or set(limit.limits) - {"cost"}:
            cost = {} if limit.cost_of is None else None  # seconds are no money and no tokens
        else:
            cost = ending.seconds
        if isinstance(cost, dict) and limit.seconds is not None:
            cost = {"seconds": ending.seconds} | cost
        try:
            if ending.failure is not None:
                self._study.fail(trial, ending.failure, cost=cost, killed=ending.killed)
            else:
                self._study.tell(trial, values, cost=cost)
        except StorageError as error:
            # The result was paid for: the message carries it, since no database will.
            cost = cost["cost"] if isinstance(cost, dict) and set(cost) == {"cost"} else cost  # as a user would give it
            call = f"tell({trial.id}, {values!r}" if ending.failure is None else f"fail({trial.id}, {ending.failure!r}"
            raise StorageError(f"{error} The call is study.{call}, {cost=}).") from error


def _give_up(study: "Study", trials: list[Trial], error: BaseException) -> None:
    """Say of trials that the loop leaves behind that nobody evaluates them; a broken storage keeps them pending."""
    if isinstance(error, StorageError):
        return
    pending = {trial.id for trial in study.trials if trial.state == "pending"}
    for trial in trials:
        if trial.id in pending:
            study.abandon(trial, "interrupted" if isinstance(error, KeyboardInterrupt) else f"run ended: {error!r}")


def _abandon_trials_of_the_dead(study: "Study") -> None:
    """Free the places of trials that a process on this machine asked for and did not live to tell."""
    for trial in study.trials:
        if trial.state == "pending" and trial.owner is not None and is_dead(trial.owner):
            study.abandon(trial, f"its process {trial.owner} died")


class _Interrupt:
    """Turns the first Ctrl-C into a request and lets the second through."""

    def __init__(self) -> None:
        self.asked = False
        # Only the main thread may handle signals, and whoever has set a handler of his own knows better.
        is_ours = threading.current_thread() is threading.main_thread()
        self._previous = signal.getsignal(signal.SIGINT) if is_ours else None

    def __enter__(self) -> Self:
        if self._previous is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._previous is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._previous)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        tqdm.write("Finishing what is being evaluated; press Ctrl-C again to abandon it.")


class _Bar:
    """Trials, best so far, cost and time left, on one line."""

    def __init__(self, study: "Study", *, shown: bool) -> None:
        self._study = study
        budget = study.budget
        # A budget of cost alone is measured by its cost; otherwise trials are what one counts.
        limits = budget.limit.limits
        self._meter = next(iter(limits)) if budget.trials is None and limits else None
        self._tqdm = tqdm(
            desc=study.name,
            total=budget.trials if self._meter is None else limits[self._meter],
            initial=self._spent(),
            unit=self._meter or "trial",
            disable=not shown,
            dynamic_ncols=True,
        )
        self._describe()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._tqdm.close()

    def update(self) -> None:
        if not self._tqdm.disable:
            self._tqdm.update(self._spent() - self._tqdm.n)
            self._describe()

    def _spent(self) -> float:
        budget = self._study.budget
        # The last trial may cost a little more than was left, and a bar that runs over warns.
        if self._meter is None:
            return budget.spent_trials
        return min(round(budget.spent(self._meter), 3), budget.limit.limits[self._meter])

    def _describe(self) -> None:
        best, budget = self._study.best_observed, self._study.budget
        parts = {}
        if best is not None:
            name = self._study.outcomes.objective.name
            parts[f"best {name}"] = f"{best.values[name]:.6g}"
        if self._meter is not None:
            parts["trials"] = f"{budget.spent_trials}"
        elif budget.cost is not None:
            parts["cost"] = f"{budget.spent_cost:.4g}/{budget.cost:g}"
        elif budget.costs:
            parts["cost"] = f"{budget.spent_cost:.4g}"
        self._tqdm.set_postfix(parts)
