"""What every store of trials must do: a new one subclasses `StorageContract`, gives `open_store`, inherits the rest."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from bayesopt.record.storage import StudyStore, Transaction
from bayesopt.record.trial import Trial

SPEC: Final[dict[str, Any]] = {"seed": 3, "uid": "0123", "space": {"ünïcode": [1, 2.5, None, True]}}
"""The declaration of the study that `open_store` must open."""

OpenStore = Callable[[], StudyStore]
"""Opens the study of a test: a new handle at every call, on the same trials."""

FULL: Final = Trial(
    id=0,
    params={"lr": 0.1 + 0.2, "n": 2**53, "kind": None, "mix": {"web": 0.25, "böcker": 0.75}, "on": True},
    state="complete",
    values={"loss": 1e300, "memory": None, "π": -0.0, "worst": math.inf},
    sd={"loss": 5e-324},
    cost=1 / 3,
    meters={"tokens": 1e300, "seconds": 1 / 3},
    killed=True,
    reason="said 'so'\nin two lines \N{SNOWMAN}",
    source="external",
    lost=True,
    created_at=1700000000.123456,
    asked_at=1700000001.123457,
    told_at=1700000002.123458,
    owner="host:1:ab",
    memory={
        "θ": [0.1 + 0.2, 5e-324, -0.0, 1e300, math.inf, 2**53 + 1],
        "fits": {"warped": {"log_density": -1 / 3, "kept": [[1.0, 2.0], []]}},
        "is_exact": True,
        "text": "said 'so'\n\0 \ud800 \N{SNOWMAN}",
        "seen": None,
    },
    grounds={"start": {"point": "sobol", "number": 3, "of": 8}, "nan": [-0.0, math.inf], "text": "\0 \N{SNOWMAN}"},
)
"""A trial of which no field has its default, with the numbers and texts that formats trip over."""


def insert(store: StudyStore, *trials: Trial) -> None:
    """Write trials in one transaction."""

    def work(transaction: Transaction) -> None:
        for trial in trials:
            transaction.insert(trial)

    store.transact(work)


class StorageContract:
    """Inherited by a test class of yours, which makes `open_store` its fixture.

    class TestMyStore(StorageContract):
        @pytest.fixture
        def open_store(self, tmp_path):
            return lambda: MyStore(tmp_path / "study", "study", SPEC)
    """

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """Opens the study `SPEC` that this test is about: the same one at every call, empty at the first."""
        raise NotImplementedError("give the fixture open_store, a function that opens the study of a test")

    @pytest.fixture
    def store(self, open_store: OpenStore) -> StudyStore:
        """A first handle on that study."""
        return open_store()

    def test_a_new_study_is_empty_and_keeps_its_declaration(self, store: StudyStore) -> None:
        assert store.spec == SPEC
        assert store.changes(0) == (0, [])
        assert store.reports() == {}
        assert store.recommendation() is None

    def test_a_trial_comes_back_as_it_was_written(self, store: StudyStore, open_store: OpenStore) -> None:
        insert(store, FULL)
        for reader in (store, open_store()):
            (read,) = reader.changes(0)[1]
            assert read == FULL
            assert list(read.params) == list(FULL.params)
            assert str(read.values["π"]) == "-0.0"
            assert [type(v) for v in read.params.values()] == [type(v) for v in FULL.params.values()]
            assert read.memory is not None and FULL.memory is not None
            assert list(read.memory) == list(FULL.memory)
            assert math.copysign(1, read.memory["θ"][2]) == -1
            assert [type(v) for v in read.memory["θ"]] == [type(v) for v in FULL.memory["θ"]]

    def test_nan_survives(self, store: StudyStore) -> None:
        insert(store, Trial(0, {"x": 1.0}, values={"loss": math.nan}))
        assert str(store.changes(0)[1][0].values["loss"]) == "nan"

    def test_a_memory_of_nothing_is_not_no_memory(self, store: StudyStore, open_store: OpenStore) -> None:
        insert(
            store, Trial(0, {"x": 1.0}, memory={}), Trial(1, {"x": 1.0}), Trial(2, {"x": 1.0}, memory={"": math.nan})
        )
        empty, none, nan = (trial.memory for trial in open_store().changes(0)[1])
        assert (empty, none) == ({}, None)
        assert str(nan) == "{'': nan}"

    def test_a_trial_that_ends_keeps_its_memory(self, store: StudyStore, open_store: OpenStore) -> None:
        insert(store, Trial(0, {"x": 1.0}, memory={"k": 1}), Trial(1, {"x": 1.0}, memory={"k": 2}))
        pending = store.changes(0)[1][0]
        store.transact(lambda transaction: transaction.update(replace(pending, state="complete")))
        assert [(t.state, t.memory) for t in open_store().changes(0)[1]] == [
            ("complete", {"k": 1}), ("pending", {"k": 2}),
        ]  # fmt: skip

    def test_changes_are_those_after_the_revision_in_the_order_of_ids(self, store: StudyStore) -> None:
        insert(store, Trial(0, {"x": 0}), Trial(1, {"x": 1}), Trial(2, {"x": 2}))
        revision, trials = store.changes(0)
        assert [trial.id for trial in trials] == [0, 1, 2]
        assert store.changes(revision) == (revision, [])
        store.transact(lambda transaction: transaction.update(replace(trials[2], state="failed")))
        store.transact(lambda transaction: transaction.update(replace(trials[0], state="failed")))
        latest, changed = store.changes(revision)
        assert latest > revision
        assert [(trial.id, trial.state) for trial in changed] == [(0, "failed"), (2, "failed")]

    def test_a_transaction_that_writes_nothing_makes_no_revision(self, store: StudyStore) -> None:
        insert(store, Trial(0, {"x": 0}))
        before = store.changes(0)[0]
        assert store.transact(lambda transaction: transaction.changes(0)[0]) == before
        assert store.changes(0)[0] == before

    def test_a_transaction_sees_what_was_kept_before_it(self, store: StudyStore, open_store: OpenStore) -> None:
        other = open_store()
        insert(other, Trial(0, {"x": 0}))
        assert [t.id for t in store.transact(lambda transaction: transaction.changes(0)[1])] == [0]

    def test_a_transaction_that_raises_leaves_nothing_behind(self, store: StudyStore) -> None:
        insert(store, Trial(0, {"x": 0}))

        def breaks(transaction: Transaction) -> None:
            transaction.insert(Trial(1, {"x": 1}))
            transaction.update(Trial(0, {"x": 0}, state="failed"))
            raise KeyError("on purpose")

        with pytest.raises(KeyError, match="on purpose"):
            store.transact(breaks)
        assert [(trial.id, trial.state) for trial in store.changes(0)[1]] == [(0, "pending")]
        insert(store, Trial(1, {"x": 1}))  # the lock was given back, and the id is free

    def test_writers_exclude_one_another(self, store: StudyStore, open_store: OpenStore) -> None:
        stores = [store, open_store(), open_store(), open_store()]
        inside: list[None] = []
        overlaps: list[bool] = []

        def claim(transaction: Transaction) -> int:
            inside.append(None)
            overlaps.append(len(inside) > 1)
            n = len(transaction.changes(0)[1])
            time.sleep(0.002)
            transaction.insert(Trial(n, {"x": n}))
            inside.pop()
            return n

        claimed: list[int] = []

        def many(mine: StudyStore) -> None:
            claimed.extend(mine.transact(claim) for _ in range(5))

        threads = [threading.Thread(target=many, args=(mine,)) for mine in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(claimed) == list(range(20))
        assert not any(overlaps)
        assert [trial.id for trial in store.changes(0)[1]] == list(range(20))

    def test_a_reader_sees_whole_transactions_only(self, store: StudyStore, open_store: OpenStore) -> None:
        reader = open_store()
        seen: list[int] = []
        stop = threading.Event()

        def read() -> None:
            while not stop.is_set():
                seen.append(len(reader.changes(0)[1]))

        thread = threading.Thread(target=read)
        thread.start()
        for first in range(0, 20, 2):
            insert(store, Trial(first, {"x": 0}), Trial(first + 1, {"x": 1}))
        stop.set()
        thread.join()
        assert all(n % 2 == 0 for n in seen)

    def test_curves_keep_the_last_value_of_a_step(self, store: StudyStore, open_store: OpenStore) -> None:
        insert(store, Trial(0, {"x": 0}), Trial(1, {"x": 1}))
        for trial_id, step, value in [(0, 2.0, 0.5), (0, 1.0, 0.7), (1, 1.0, math.inf), (0, 2.0, 0.4)]:
            store.add_report(trial_id, step, value)
        assert open_store().reports() == {0: {1.0: 0.7, 2.0: 0.4}, 1: {1.0: math.inf}}
        store.add_report(1, 2.0, math.nan)
        assert math.isnan(store.reports()[1][2.0])

    def test_the_recommendation_is_the_one_kept_last(self, store: StudyStore, open_store: OpenStore) -> None:
        store.recommend({"told": 3, "trial": 1})
        store.recommend({"told": 4, "trial": 0})
        assert open_store().recommendation() == {"told": 4, "trial": 0}

    def test_a_closed_store_can_be_opened_again(self, store: StudyStore, open_store: OpenStore) -> None:
        insert(store, FULL)
        store.close()
        assert open_store().changes(0)[1] == [FULL]


class SharedStorageContract(StorageContract):
    """Also inherited by stores that outlive their process: others must tell a slow worker from a dead one."""

    def test_a_pending_trial_without_a_beat_is_silent(self, store: StudyStore) -> None:
        insert(store, Trial(0, {"x": 0}, asked_at=1.0), Trial(1, {"x": 1}, state="queued"))
        before, after = time.time() - 60, time.time() + 60
        assert store.transact(lambda transaction: transaction.silent_since(before)) == []
        assert store.transact(lambda transaction: transaction.silent_since(after)) == [0]
        assert (store.silent_since(before), store.silent_since(after)) == ([], [0])

    def test_a_beat_and_a_report_are_signs_of_life(self, store: StudyStore) -> None:
        insert(store, Trial(0, {"x": 0}), Trial(1, {"x": 1}), Trial(2, {"x": 2}))
        time.sleep(0.02)
        moment = time.time()
        store.beat([0], moment + 1)
        store.add_report(1, 1.0, 0.5)
        assert store.transact(lambda transaction: transaction.silent_since(moment)) == [2]

    def test_a_trial_that_has_ended_is_never_silent(self, store: StudyStore) -> None:
        insert(store, Trial(0, {"x": 0}))
        store.transact(lambda transaction: transaction.update(Trial(0, {"x": 0}, state="complete")))
        assert store.transact(lambda transaction: transaction.silent_since(time.time() + 60)) == []

    def test_a_queued_trial_starts_to_beat_when_it_is_asked_for(self, store: StudyStore) -> None:
        insert(store, Trial(0, {"x": 0}, state="queued"))
        store.transact(lambda transaction: transaction.update(Trial(0, {"x": 0}, asked_at=1.0)))
        assert store.transact(lambda transaction: transaction.silent_since(time.time() - 60)) == []
