"""A study's trials: read as they change, and written only in transactions that recognise what they wrote before."""

import numbers
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from bayesopt.errors import StorageError, TrialStateError
from bayesopt.record.heartbeat import Heartbeat
from bayesopt.record.origin import now, this_process
from bayesopt.record.storage import MemoryStore, StudyStore, Transaction
from bayesopt.record.trial import Home, Trial, copied

Trials = Mapping[int, Trial]

_MAX_BEAT_INTERVAL: Final = 60.0
"""Seconds: even with a timeout of days, a sign of life about once a minute costs nothing."""


class Ledger:
    """The trials of one study, by id in the order of the ids; safe to share between threads.

    A connection can break after a transaction was kept and before that was confirmed, and the transaction then runs
    again. So each write is marked by a moment and a process that no other write has, and looks for its own mark first.
    """

    def __init__(self, store: StudyStore, home: Home, *, timeout: float | None) -> None:
        """Read what the store holds.

        Args:
            store: Where the trials are kept.
            home: The study that the trials report their curves to.
            timeout: Seconds without a sign of life after which a pending trial is lost; None for never.
        """
        self.store = store
        self.lock = threading.RLock()
        self._home = weakref.ref(home)
        self._timeout = timeout
        self._revision = 0
        self._trials: dict[int, Trial] = {}
        self._heartbeat: weakref.finalize[[], Any] | None = None
        self._heartbeat_pid = 0

    @property
    def trials(self) -> Trials:
        """The trials as they were at the last look, for reading only: nobody outside the study may get hold of them."""
        return self._trials

    def snapshot(self, trial_id: int) -> Trial:
        """A trial as it was at the last look, whose dicts its receiver may change without changing what is recorded."""
        trial = self._trials[trial_id]
        parts = {
            name: copied(getattr(trial, name)) for name in ("params", "values", "sd", "meters", "memory", "grounds")
        }
        return replace(trial, **parts)

    def refresh(self, source: Transaction | None = None) -> None:
        """Take over what was written since the last look, by this process or another."""
        with self.lock:
            self._revision, changed = (source or self.store).changes(self._revision)
            for trial in changed:
                self._trials[trial.id] = replace(trial, _study=self._home())

    def without_silent(self) -> Trials:
        """The trials as the next claim will see them: those whose worker is silent are lost."""
        if self._timeout is None or not any(trial.state == "pending" for trial in self._trials.values()):
            return self._trials
        silent = self.store.silent_since(now() - self._timeout)
        return self._trials | {trial_id: self._lost(trial_id, now()) for trial_id in silent}

    def claim(
        self, admit: Callable[[Trials], tuple[list[int], int]], propose: Callable[[Trials, int], list[dict[str, Any]]]
    ) -> list[Trial]:
        """Hand out trials: the queued ones first, then what is proposed; nobody else writes meanwhile.

        Args:
            admit: Which of the queued trials may be handed out, and how many others, given the trials.
            propose: Up to that many further trials, given the trials, those just handed out among them: the fields
                of each that a proposal decides, such as `params` and `memory`.

        Returns:
            The trials, now pending.
        """
        with self.lock:
            asked_at = now()
            claimed = self.store.transact(lambda transaction: self._claim(transaction, asked_at, admit, propose))
            self.refresh()
            self._keep_beating()
            return [self.snapshot(trial_id) for trial_id in claimed]

    def params_of(self, trial: Trial | int) -> dict[str, Any]:
        """The configuration of a trial, for reading only; raises as `end` does where it is unknown."""
        with self.lock:
            self.refresh()
            return self._find(trial).params

    def end(self, trial: Trial | int, outcome: Mapping[str, Any]) -> Trial:
        """Record how a pending or lost trial ended.

        Args:
            trial: The trial or its id.
            outcome: The fields to change.

        Returns:
            The trial as it is now.

        Raises:
            TrialStateError: If it is unknown, of another study, still queued, or has ended before.
            StorageError: If the storage cannot be written.
        """
        told_at = now()

        def end(transaction: Transaction) -> int:
            self.refresh(transaction)
            current = self._find(trial)
            if current.told_at == told_at:
                return current.id
            if current.state == "queued":
                raise TrialStateError(f"trial {current.id} is queued and was not asked for yet; call ask first.")
            if current.state != "pending" and not current.lost:
                raise TrialStateError(f"trial {current.id} has ended already: {_ending(current)}.")
            transaction.update(replace(current, told_at=told_at, **({"reason": None} | dict(outcome))))
            return current.id

        try:
            return self._write(end)
        except StorageError as error:
            trial_id = trial.id if isinstance(trial, Trial) else trial
            raise StorageError(
                f"{error} What came of trial {trial_id} is not: repeat the call when the storage is back."
            ) from error

    def add(self, params: dict[str, Any], outcome: Mapping[str, Any]) -> Trial:
        """Add a trial that nobody asked for.

        Args:
            params: Its configuration.
            outcome: Its other fields.

        Returns:
            The new trial.
        """
        made: dict[str, Any] = {"created_at": now(), "owner": this_process()}

        def add(transaction: Transaction) -> int:
            self.refresh(transaction)
            for known in self._trials.values():
                if known.created_at == made["created_at"] and known.owner == made["owner"]:
                    return known.id
            trial_id = len(self._trials)
            transaction.insert(Trial(trial_id, params, **made, **outcome))
            return trial_id

        return self._write(add)

    def close(self) -> None:
        """Let go of the storage; trials that are still pending will time out."""
        if self._heartbeat is not None:
            self._heartbeat()
            self._heartbeat_pid = 0
        self.store.close()

    def _claim(
        self,
        transaction: Transaction,
        asked_at: float,
        admit: Callable[[Trials], tuple[list[int], int]],
        propose: Callable[[Trials, int], list[dict[str, Any]]],
    ) -> list[int]:
        self.refresh(transaction)
        owner = this_process()
        if kept := [t.id for t in self._trials.values() if t.asked_at == asked_at and t.owner == owner]:
            return kept
        trials = dict(self._trials)
        if self._timeout is not None:
            for trial_id in transaction.silent_since(asked_at - self._timeout):
                trials[trial_id] = self._lost(trial_id, asked_at)
                transaction.update(trials[trial_id])
        claimed, n_more = admit(trials)
        claim: dict[str, Any] = {"state": "pending", "asked_at": asked_at, "owner": owner}
        for trial_id in claimed:
            trials[trial_id] = replace(trials[trial_id], **claim)
            transaction.update(trials[trial_id])
        if n_more:
            for trial_id, proposed in enumerate(propose(trials, n_more), start=len(trials)):
                transaction.insert(Trial(trial_id, **proposed, created_at=asked_at, **claim))
                claimed.append(trial_id)
        return claimed

    def _lost(self, trial_id: int, moment: float) -> Trial:
        reason = f"lost: no sign of life for {self._timeout:g} s"
        return replace(self._trials[trial_id], state="failed", lost=True, reason=reason, told_at=moment)

    def _write(self, work: Callable[[Transaction], int]) -> Trial:
        with self.lock:
            trial_id = self.store.transact(work)
            self.refresh()
            return self.snapshot(trial_id)

    def _find(self, trial: Trial | int) -> Trial:
        name = self.store.name
        if isinstance(trial, Trial):
            home = trial._study
            if home is not None and home.uid != self.store.spec["uid"]:
                raise TrialStateError(
                    f"trial {trial.id} belongs to the study {home.name!r}, not to this one, {name!r}."
                )
            trial_id = trial.id
        elif isinstance(trial, numbers.Integral) and not isinstance(trial, bool):
            trial_id = int(trial)
        else:
            raise TrialStateError(f"expected a trial or its id, got {trial!r}.")
        if trial_id not in self._trials:
            last = len(self._trials) - 1
            known = f"it has trials 0 to {last}" if last >= 0 else "it has no trials yet"
            raise TrialStateError(f"trial {trial_id} is unknown to the study {name!r}; {known}.")
        return self._trials[trial_id]

    def _keep_beating(self) -> None:
        if self._timeout is None or isinstance(self.store, MemoryStore) or self._heartbeat_pid == os.getpid():
            return
        self._heartbeat_pid = os.getpid()
        this = weakref.ref(self)

        def own_pending() -> list[int]:
            ledger = this()
            return [] if ledger is None else ledger._own_pending()

        interval = min(self._timeout / 4, _MAX_BEAT_INTERVAL)
        heartbeat = Heartbeat(self.store, own_pending, interval=interval)
        self._heartbeat = weakref.finalize(self, heartbeat.stop)

    def _own_pending(self) -> list[int]:
        with self.lock:
            owner = this_process()
            return [t.id for t in self._trials.values() if t.state == "pending" and t.owner == owner]


def _ending(trial: Trial) -> str:
    if trial.state == "failed":
        return f"it failed ({trial.reason})"
    return "it was told " + ", ".join(f"{name} = {value}" for name, value in trial.values.items())
