"""Where trials are kept. A study needs little of a store: read what changed, and write in serialised transactions.

Every write of a study happens in a transaction that no other write of that study overlaps, in whatever process.
So an ask can read the history, decide and claim its trial without anybody else moving in between.
"""

import threading
from collections.abc import Callable, Iterable
from itertools import takewhile
from typing import Any, Protocol, TypeVar

from typing_extensions import override

from bayesopt.record.trial import Trial

T = TypeVar("T")


class Transaction(Protocol):
    """The exclusive right to write to one study; all of it happens, or nothing."""

    def changes(self, since: int) -> tuple[int, list[Trial]]:
        """As `StudyStore.changes`, as of this transaction."""
        ...

    def insert(self, trial: Trial) -> None:
        """Add a trial under an id that is not taken."""
        ...

    def update(self, trial: Trial) -> None:
        """Replace the trial that has this id."""
        ...

    def silent_since(self, moment: float) -> list[int]:
        """Ids of the pending trials that showed no sign of life after a moment (seconds since 1970)."""
        ...


class StudyStore(Protocol):
    """One study's trials. Implementations may lose nothing that a returned call has written."""

    name: str
    spec: dict[str, Any]
    """What the study was declared as, JSON; fixed when it was created."""

    def changes(self, since: int) -> tuple[int, list[Trial]]:
        """What changed after a revision: the newest revision, and the changed trials in the order of their ids."""
        ...

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` alone among this study's writers and keep what it wrote when it returns.

        After a lost connection `work` runs again, possibly after its first run was kept after all: it must
        recognise its own earlier writes, and touch nothing but the transaction.
        """
        ...

    def silent_since(self, moment: float) -> list[int]:
        """As `Transaction.silent_since`, without its exclusive right."""
        ...

    def add_report(self, trial_id: int, step: float, value: float) -> None:
        """Keep one point of a learning curve; a step reported twice keeps the last value."""
        ...

    def reports(self) -> dict[int, dict[float, float]]:
        """Every learning curve: trial id to step to value."""
        ...

    def beat(self, trial_ids: Iterable[int], moment: float) -> None:
        """Note that these pending trials are being worked on."""
        ...

    def recommendation(self) -> dict[str, Any] | None:
        """What `recommend` kept last."""
        ...

    def recommend(self, recommendation: dict[str, Any]) -> None:
        """Keep the outcome of a model's judgement, JSON, so that a reader needs no model."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


class MemoryStore:
    """A study that lives as long as its process; safe to share between threads."""

    def __init__(self, name: str, spec: dict[str, Any]) -> None:
        """Start an empty study.

        Args:
            name: The study's name.
            spec: What it was declared as.
        """
        self.name, self.spec = name, spec
        self._lock = threading.RLock()
        self._trials: dict[int, tuple[int, Trial]] = {}
        self._revision = 0
        self._reports: dict[int, dict[float, float]] = {}
        self._recommendation: dict[str, Any] | None = None

    @override
    def __str__(self) -> str:
        """Where it is."""
        return "memory"

    def changes(self, since: int) -> tuple[int, list[Trial]]:
        """See `StudyStore.changes`."""
        with self._lock:
            newest_first = reversed(self._trials.values())
            changed = [trial for _, trial in takewhile(lambda written: written[0] > since, newest_first)]
            return self._revision, sorted(changed, key=lambda trial: trial.id)

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """See `StudyStore.transact`."""
        with self._lock:
            transaction = _MemoryTransaction(self)
            result = work(transaction)
            if transaction.written:
                self._revision += 1
                for trial in transaction.written:
                    self._trials.pop(trial.id, None)  # so that the last written stands last
                    self._trials[trial.id] = (self._revision, trial)
            return result

    def silent_since(self, moment: float) -> list[int]:
        """None: whoever could work on these trials lives in this very process."""
        return []

    def add_report(self, trial_id: int, step: float, value: float) -> None:
        """See `StudyStore.add_report`."""
        with self._lock:
            self._reports.setdefault(trial_id, {})[step] = value

    def reports(self) -> dict[int, dict[float, float]]:
        """See `StudyStore.reports`."""
        with self._lock:
            return {trial_id: dict(curve) for trial_id, curve in self._reports.items()}

    def beat(self, trial_ids: Iterable[int], moment: float) -> None:
        """Do nothing: whoever could work on these trials lives in this very process."""

    def recommendation(self) -> dict[str, Any] | None:
        """See `StudyStore.recommendation`."""
        return self._recommendation

    def recommend(self, recommendation: dict[str, Any]) -> None:
        """See `StudyStore.recommend`."""
        self._recommendation = recommendation

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""


class _MemoryTransaction:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.written: list[Trial] = []

    def changes(self, since: int) -> tuple[int, list[Trial]]:
        return self._store.changes(since)

    def insert(self, trial: Trial) -> None:
        self.written.append(trial)

    def update(self, trial: Trial) -> None:
        self.written.append(trial)

    def silent_since(self, moment: float) -> list[int]:
        return self._store.silent_since(moment)
