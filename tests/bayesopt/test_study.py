"""Ask and tell: what a study does, in memory and on a database, and what cannot stop it."""

import copy
import gc
import json
import math
import os
import random
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest

import bayesopt as bo
from bayesopt.cli import main
from bayesopt.errors import InvalidSpaceError, StorageError
from tests.bayesopt.workers.processes import ROOT
from tests.bayesopt.workers.tasks import Uniform

LINE = bo.Space({"x": bo.Float(0.0, 1.0)})


def make_study(space=LINE, **options):
    return bo.Study(space, **({"minimize": "loss", "seed": 0, "strategy": Uniform(), "noise": 0.0} | options))


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def storage(request, tmp_path):
    if request.param == "memory":
        return None
    return tmp_path / "study.db" if request.param == "sqlite" else request.getfixturevalue("postgresql_url")


# -- the loop ---------------------------------------------------------------------------------------------------------


def test_a_trial_goes_from_ask_to_tell(storage):
    with make_study(storage=storage) as study:
        trial = study.ask()
        assert (trial.id, trial.state, trial.source, trial.values) == (0, "pending", "asked", {})
        told = study.tell(trial, {"loss": 0.5, "epochs": 3}, cost=12, sd={"loss": 0.1})
        assert told == study.trials[0]
        assert (told.state, told.values, told.cost, told.sd) == (
            "complete", {"loss": 0.5, "epochs": 3.0}, 12.0, {"loss": 0.1},
        )  # fmt: skip
        assert told.created_at == told.asked_at < told.told_at
        assert trial.state == "pending"  # the snapshot is as it was


@pytest.mark.parametrize(
    "value",
    [1, 0.5, np.float32(0.5), np.float64(0.5), np.int64(3), np.array(0.5), 1e300, -1e300, 5e-324],
    ids=lambda value: f"{type(value).__name__} {value}",
)
def test_every_kind_of_number_can_be_told(storage, value):
    with make_study(storage=storage) as study:
        told = study.tell(study.ask(), value)
        assert told.values == {"loss": float(value)}
        assert type(told.values["loss"]) is float


def test_a_zero_dimensional_tensor_can_be_told():
    import torch

    study = make_study()
    weight = torch.tensor(0.5, requires_grad=True)
    assert study.tell(study.ask(), {"loss": weight}).values == {"loss": 0.5}


def test_a_trial_can_be_told_by_its_id_also_from_another_process(tmp_path):
    with make_study(storage=tmp_path / "study.db") as study:
        trial = study.ask()
        with bo.Study.open(tmp_path / "study.db", strategy=Uniform()) as other:
            other.tell(np.int64(trial.id), 0.5)
        assert study.trials[0].state == "complete"
        assert study.best.id == 0


def test_what_is_done_to_a_trials_dicts_changes_nothing_on_record(storage):
    space = bo.Space({"x": bo.Float(0.0, 1.0), "mix": bo.Simplex(["web", "code"])})
    with make_study(space, storage=storage) as study:
        asked = study.ask()
        params = {"x": asked.params["x"], "mix": dict(asked.params["mix"])}

        def spoil(trial):
            trial.params["epochs"] = 3
            trial.params["mix"].pop("web")
            trial.values["loss"] = -1.0

        spoil(asked)
        spoil(study.tell(asked, 0.5, sd={"loss": 0.1}))
        for trial in (study.best, study.best_observed, study.trials[0]):
            spoil(trial)
        assert (study.trials[0].params, study.trials[0].values) == (params, {"loss": 0.5})
        assert study.ask().id == 1
        if storage is not None:
            with bo.Study.open(storage, strategy=Uniform()) as other:
                assert (other.trials[0].params, other.trials[0].values) == (params, {"loss": 0.5})


def test_several_trials_at_once_differ(storage):
    with make_study(storage=storage) as study:
        trials = study.ask(5)
        assert [trial.id for trial in trials] == list(range(5))
        assert len({trial.params["x"] for trial in trials}) == 5
        assert isinstance(study.ask(1), list)


def test_a_queued_trial_is_asked_first_and_keeps_its_id(storage):
    with make_study(storage=storage) as study:
        study.ask()
        queued = [study.enqueue({"x": x}) for x in (0.25, 0.25, 0.75)]
        assert [(trial.state, trial.source) for trial in queued] == [("queued", "enqueued")] * 3
        asked = study.ask(4)
        assert [trial.id for trial in asked] == [1, 2, 3, 4]
        assert [trial.params["x"] for trial in asked[:3]] == [0.25, 0.25, 0.75]
        assert asked[3].source == "asked"


def test_what_was_evaluated_elsewhere_counts_for_the_best_but_not_for_the_budget(storage):
    with make_study(storage=storage, budget=bo.Budget(trials=1, cost=5.0)) as study:
        study.tell_external({"x": 0.5}, 0.125, cost=100.0)
        study.tell_external({"x": 0.5}, 0.125)  # duplicated points are fine
        study.tell(study.ask(), 0.5, cost=1.0)
        assert study.best.source == "external"
        assert (study.budget.spent_trials, study.budget.spent_cost) == (1, 1.0)
        assert study.ask() is None


def test_nan_fails_a_trial_and_a_missing_constraint_does_not(storage):
    with make_study(storage=storage, subject_to=[bo.AtMost("memory", 1.0)]) as study:
        told = [
            study.tell(study.ask(), {"loss": loss, "memory": memory})
            for loss, memory in [(math.nan, 0.5), (0.1, math.inf), (-math.inf, 0.5), (0.1, None), (0.5, 0.5), (0.1, 2)]
        ]
        assert [trial.state for trial in told] == ["failed"] * 3 + ["complete"] * 3
        assert [trial.reason for trial in told[:3]] == ["loss is nan", "memory is inf", "loss is -inf"]
        assert study.best.id == 4
        assert math.isnan(study.trials[0].values["loss"])
        assert np.isnan(study.history.constraints[0, 0])
        assert len(study.history.failed) == 3


def test_maximising_prefers_the_larger_value():
    study = make_study(minimize=None, maximize="accuracy")
    for value in (0.2, 0.9, 0.5):
        study.tell(study.ask(), value)
    assert study.best.values == {"accuracy": 0.9}
    assert list(study.history.objective) == [0.2, 0.9, 0.5]


def test_a_verdict_carries_its_evidence():
    assert make_study().verdict == "feasible"
    study = make_study(subject_to=[bo.AtLeast("accuracy", 0.9)])
    study.tell(study.ask(), {"loss": 1.0, "accuracy": 0.5})
    assert study.verdict == "undecided"
    assert study.verdict.evidence == "none of 1 told trials satisfies every constraint"
    assert study.best is None
    study.tell(study.ask(), {"loss": 2.0, "accuracy": 0.95})
    assert (study.verdict, study.verdict.evidence) == (
        "feasible",
        "trial 1 was measured to satisfy every constraint",
    )


def test_the_noisy_best_is_the_models_and_the_raw_one_is_still_there():
    rng = np.random.default_rng(0)
    study = make_study(noise=None, strategy=bo.strategies.SobolSearch())
    for _ in range(12):
        trial = study.ask()
        study.tell(trial, (trial.params["x"] - 0.5) ** 2 + 0.3 * rng.standard_normal())
    assert study.best_observed.values["loss"] == min(trial.values["loss"] for trial in study.trials)
    best = study.best
    assert study.recommended == best
    assert abs(best.params["x"] - 0.5) < 0.35
    study.tell(study.ask(), 0.0)
    assert study.recommended is None  # the model's judgement is out of date


def test_a_judgement_that_cannot_be_kept_is_still_given(tmp_path, monkeypatch):
    with make_study(storage=tmp_path / "study.db", noise=None) as study:
        for _ in range(5):
            study.tell(study.ask(), 0.5)

        def refuse(recommendation):
            raise StorageError("the disk is full")

        monkeypatch.setattr(study._store, "recommend", refuse)
        assert study.best.state == "complete"
        assert study.recommended is None


def test_a_cost_budget_charges_failures_too():
    study = make_study(budget=bo.Budget(cost=10.0))
    study.tell(study.ask(), 1.0, cost=4.0)
    study.fail(study.ask(), cost=4.0)
    assert study.ask() is None
    assert study.done
    assert study.why_stopped == "budget: 8 of 10 is spent, and a further trial may cost 4"


def test_failure_reasons_survive_whatever_a_program_printed(storage):
    with make_study(storage=storage) as study:
        for reason in ("NUL \0 here", "lone \ud800 surrogate", "\N{SNOWMAN}\nsecond line", "", ValueError("x")):
            trial = study.fail(study.ask(), reason)
            assert study.trials[trial.id].reason == trial.reason
        assert "\N{SNOWMAN}" in study.report()


def test_curves_stop_a_run_that_is_worse_than_most(storage):
    with make_study(storage=storage) as study:
        for k in range(5):
            trial = study.ask()
            for step in (1, 2, 3):
                trial.report(step, 1.0 / step + k / 100)
            study.tell(trial, 0.3)
        good, bad, broken = study.ask(3)
        good.report(2, 0.4)
        bad.report(2, 0.9)
        broken.report(1, math.nan)
        assert (good.should_stop(), bad.should_stop(), broken.should_stop()) == (False, True, True)


def test_the_report_says_what_happened():
    study = make_study(subject_to=[bo.AtMost("memory", 1.0)], budget=bo.Budget(trials=3))
    study.tell(study.ask(), {"loss": 0.5, "memory": None})
    study.tell(study.ask(), {"loss": 0.75, "memory": 0.5})
    study.fail(study.ask(), "out of memory\nTraceback ...")
    text = study.report()
    for line in (
        "Study 'study': minimize loss subject to memory <= 1",
        "Spent: 3 of 3 trials",
        "State: budget: all 3 trials are used",
        "Verdict: feasible (trial 1 was measured",
        "Best: trial 1, loss 0.75, memory 0.5",
        "Failed: 1 of 3 trials",
        "  trial 2: out of memory",
    ):
        assert line in text
    assert "Traceback" not in text
    assert "Best: none yet" in make_study().report()


def test_records_are_flat_and_pandas_reads_them():
    space = bo.Space({
        "kind": bo.Choice(["a", "b"]),
        "rate": bo.Float(0.0, 1.0, active_if={"kind": "b"}),
        "mix": bo.Simplex(["web", "code"]),
    })
    study = make_study(space)
    study.tell_external({"kind": "a", "mix": {"web": 0.25, "code": 0.75}}, {"loss": 1.0, "epochs": 2})
    study.enqueue({"kind": "b", "rate": 0.5, "mix": {"web": 0.5, "code": 0.5}})
    first, second = study.to_records()
    assert (first["kind"], first["rate"], first["mix.web"], first["loss"]) == ("a", None, 0.25, 1.0)
    assert first["epochs"] == 2.0
    assert (second["rate"], second["loss"], second["state"]) == (0.5, None, "queued")
    table = study.to_dataframe()
    assert list(table["id"]) == [0, 1]
    assert table["mix.code"].tolist() == [0.75, 0.5]


# -- storage ----------------------------------------------------------------------------------------------------------


def test_a_study_goes_on_where_it_was_left(tmp_path):
    straight = make_study()
    expected = [straight.ask().params for _ in range(6)]
    for k in range(6):
        with make_study(storage=tmp_path / "study.db") as study:
            assert study.ask().params == expected[k]


def test_a_study_without_a_seed_keeps_the_one_it_drew(tmp_path):
    with make_study(storage=tmp_path / "study.db", seed=None) as study:
        seed = study.seed
    with make_study(storage=tmp_path / "study.db", seed=None) as study:
        assert study.seed == seed
    assert make_study(seed=None).seed != make_study(seed=None).seed


def test_opening_needs_no_declaration(tmp_path):
    space = bo.Space(
        {"lr": bo.Float(1e-5, 1e-1, log=True), "mix": bo.Simplex(["web", "böcker"], caps=0.8), "n": bo.Int(1, 9)},
        constraints=[bo.LinearConstraint({"n": 1.0, "mix.web": 2.0}, upper=9.0)],
    )
    with make_study(space, storage=tmp_path / "s.db", subject_to=[bo.AtLeast("acc", 0.5)], name="größe") as study:
        study.tell(study.ask(), {"loss": 1.0, "acc": None})
        with bo.Study.open(tmp_path / "s.db", budget=bo.Budget(trials=1), strategy=Uniform()) as opened:
            assert (opened.name, opened.seed, opened.space, opened.outcomes) == (
                "größe", study.seed, space, study.outcomes,
            )  # fmt: skip
            assert opened.trials == study.trials
            assert opened.done
        assert not study.done


def test_an_opened_study_whose_rule_is_code_can_be_read_and_told_but_says_why_it_cannot_ask(tmp_path):
    def even(params):
        return params["k"] % 2 == 0

    space = bo.Space({"k": bo.Int(0, 9)}, allowed=even)
    with make_study(space, storage=tmp_path / "s.db", strategy=bo.strategies.RandomSearch()) as study:
        trial = study.ask()
        with bo.Study.open(tmp_path / "s.db", noise=0.0) as opened:
            assert opened.tell(trial.id, 1.0).state == "complete"
            assert not opened.done
            assert "going on" in opened.report()
            with pytest.raises(InvalidSpaceError, match="even, which is code and was not stored; declare the space"):
                opened.ask()
        assert {study.ask().params["k"] for _ in range(4)} | {trial.params["k"]} == {0, 2, 4, 6, 8}
        assert study.done
        assert study.why_stopped == "space: all 5 configurations are tried"


def test_a_full_disk_loses_nothing_and_the_call_can_be_repeated(tmp_path):
    import sqlalchemy as sa

    study = make_study(storage=tmp_path / "study.db")
    told = study.tell(study.ask(), 0.5)
    trial = study.ask()
    engine = study._store._database._connected()

    def limit(connection, *_):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")

    sa.event.listen(engine, "checkout", limit)
    with pytest.raises(StorageError, match="the disk is full: free some space and repeat the call"):
        study.fail(trial, "x" * 100_000)
    assert study.trials == [told, trial]
    sa.event.remove(engine, "checkout", limit)
    study.close()
    assert study.fail(trial, "x" * 100_000).state == "failed"
    study.close()


def test_a_fork_after_opening_asks_and_tells_on_its_own(tmp_path):
    code = f"""
import os
from tests.bayesopt.test_study import make_study
study = make_study(storage={str(tmp_path / "study.db")!r})
study.tell(study.ask(), 0.0)
for _ in range(3):
    if os.fork() == 0:
        for _ in range(5):
            trial = study.ask()
            study.tell(trial, trial.params["x"])
        os._exit(0)
for _ in range(5):
    trial = study.ask()
    study.tell(trial, trial.params["x"])
for _ in range(3):
    assert os.wait()[1] == 0
assert [t.id for t in study.trials] == list(range(21))
assert all(t.state == "complete" and t.values["loss"] in (0.0, t.params["x"]) for t in study.trials)
assert len({{t.owner for t in study.trials}}) == 4
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_study_can_be_dropped_without_closing_it(tmp_path):
    make_study(storage=tmp_path / "study.db").ask()
    gc.collect()  # an open connection would warn here, and warnings are errors
    deadline = time.monotonic() + 30
    while (tmp_path / "study.db-wal").exists():  # the last connection takes it away, once the heartbeat has ended
        assert time.monotonic() < deadline
        time.sleep(0.01)


# -- ghosts -----------------------------------------------------------------------------------------------------------


def _ghosts(path, n, **options):
    """Trials asked by a process that did not live to tell them."""
    code = f"""
import os
from tests.bayesopt.test_study import make_study
make_study(storage={str(path)!r}).ask({n})
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == -9


def test_ghosts_time_out_give_their_place_back_and_can_still_be_told(tmp_path):
    path = tmp_path / "study.db"
    _ghosts(path, 3)
    with make_study(storage=path, pending_timeout=0.2, budget=bo.Budget(trials=3)) as study:
        assert study.budget.pending == 3
        time.sleep(0.3)
        assert not study.done
        asked = study.ask(3)
        assert [trial.id for trial in asked] == [3, 4, 5]
        ghosts = study.trials[:3]
        assert {(trial.state, trial.lost, trial.reason) for trial in ghosts} == {
            ("failed", True, "lost: no sign of life for 0.2 s")
        }
        assert len(study.history.pending) == 3
        assert len(study.history.failed) == 0
        late = study.tell(0, 0.25)
        assert (late.state, late.lost, late.reason) == ("complete", False, None)
        assert study.best.id == 0


def test_a_slow_worker_shows_signs_of_life_and_keeps_its_trial(tmp_path):
    with make_study(storage=tmp_path / "study.db", pending_timeout=0.4) as study:
        trial = study.ask()
        time.sleep(1.0)
        with make_study(storage=tmp_path / "study.db", pending_timeout=0.4) as other:
            other.ask()
        assert study.trials[trial.id].state == "pending"
        assert study.tell(trial, 0.5).state == "complete"


def test_a_restarted_container_with_the_old_name_and_number_does_not_keep_its_ghosts_alive(tmp_path, monkeypatch):
    from bayesopt.record import origin

    path = tmp_path / "study.db"
    before = make_study(storage=path, pending_timeout=None)  # None: without a heartbeat, as if it had died
    before.ask()
    monkeypatch.setattr(origin, "_PROCESS", {})  # the same host and pid, another process
    with make_study(storage=path, pending_timeout=0.3) as study:
        study.ask()
        time.sleep(0.8)
        study.ask()
        assert [trial.lost for trial in study.trials] == [True, False, False]
    before.close()


def test_no_timeout_waits_for_ever(tmp_path):
    path = tmp_path / "study.db"
    _ghosts(path, 1)
    with make_study(storage=path, pending_timeout=None) as study:
        time.sleep(0.1)
        study.ask()
        assert study.trials[0].state == "pending"


def test_an_abandoned_trial_gives_its_place_back():
    study = make_study(budget=bo.Budget(trials=1))
    trial = study.ask()
    assert study.done
    study.abandon(trial)
    assert not study.done
    assert study.ask().id == 1
    assert study.tell(trial, 0.5).state == "complete"


def test_a_clock_that_stands_still_confuses_no_trial(monkeypatch, storage):
    monkeypatch.setattr(time, "time", lambda: 1.7e9)
    with make_study(storage=storage, pending_timeout=None) as study:
        first, second = study.ask(), study.ask()
        assert (first.id, second.id) == (0, 1)
        study.tell(first, 0.5)
        study.tell(second, 0.6)
        study.tell_external({"x": 0.5}, 0.5)
        study.tell_external({"x": 0.5}, 0.5)
        assert len(study.trials) == 4


# -- what a strategy remembers ----------------------------------------------------------------------------------------


class Counting:
    """Remembers how many configurations it has suggested, and writes down what it read."""

    def __init__(self):
        self.read = []

    def suggest(self, history, n, rng):
        self.read.append(history.memory)
        first = history.memory.get("n", 0)
        return [
            bo.strategies.Suggestion({"x": float(x)}, memory={"n": first + i + 1, "x": [float(x) / 3, -math.inf]})
            for i, x in enumerate(rng.random(n))
        ]


def test_what_a_strategy_remembers_comes_back_at_its_next_call(storage):
    strategy = Counting()
    with make_study(storage=storage, strategy=strategy, pending_timeout=None) as study:
        assert study.ask().memory["n"] == 1
        study.tell(0, 0.5)
        assert [trial.memory["n"] for trial in study.ask(3)] == [2, 3, 4]
        study.fail(study.ask())
        study.abandon(study.ask())
        study.enqueue({"x": 0.5})
        study.tell_external({"x": 0.25}, 0.5)
        assert [trial.memory and trial.memory["n"] for trial in study.ask(2)] == [None, 7]
        study.tell(1, 0.5)  # an older one ends later
        assert study.history.memory["n"] == 7
        assert [memory.get("n", 0) for memory in strategy.read] == [0, 1, 4, 5, 6]
        last = study.trials[-1]
        assert last.memory == {"n": 7, "x": [last.params["x"] / 3, -math.inf]} == study.history.memory


def test_each_suggestion_after_an_ask_with_pending_trials_reads_the_newest_memory(storage):
    strategy = Counting()
    with make_study(storage=storage, strategy=strategy) as study:
        asked = [study.ask() for _ in range(3)]
        for trial in reversed(asked):
            study.tell(trial, 0.5)
        study.ask(2)
        study.ask()
    assert [memory.get("n", 0) for memory in strategy.read] == [0, 1, 2, 3, 5]


def test_what_is_done_to_a_memory_changes_nothing_on_record(storage):
    with make_study(storage=storage, strategy=Counting()) as study:
        trial = study.ask()
        remembered = {"n": 1, "x": [trial.params["x"] / 3, -math.inf]}
        for memory in (trial.memory, study.trials[0].memory, study.history.memory, study.tell(trial, 0.5).memory):
            assert memory == remembered
            memory["x"].append(1.0)
            memory["n"] = 99
        assert study.ask().memory["n"] == 2
        assert study.trials[0].memory == remembered


def test_another_opener_reads_what_was_remembered(tmp_path):
    with make_study(storage=tmp_path / "study.db", strategy=Counting()) as study:
        study.ask(2)
        other = Counting()
        with bo.Study.open(tmp_path / "study.db", strategy=other) as opened:
            assert opened.history.memory == study.history.memory
            assert opened.ask().memory["n"] == 3
        assert other.read == [study.trials[1].memory]
        assert study.ask().memory["n"] == 4


def test_every_store_gives_a_memory_back_in_the_same_words(storage):
    class Careless:
        def suggest(self, history, n, rng):
            memory = {1: (0.1 + 0.2, np.float64(1 / 3), -0.0), "n": {"none": None}}
            return [bo.strategies.Suggestion({"x": 0.5}, memory=memory)]

    with make_study(storage=storage, strategy=Careless()) as study:
        memory = study.ask().memory
        assert memory == study.history.memory == {"1": [0.1 + 0.2, 1 / 3, -0.0], "n": {"none": None}}
        assert [type(value) for value in memory["1"]] == [float] * 3
        assert math.copysign(1, memory["1"][2]) == -1


def test_plain_dicts_and_memories_can_be_mixed(storage):
    class Mixed:
        def suggest(self, history, n, rng):
            plain = [{"x": float(x)} for x in rng.random(n)]
            return [bo.strategies.Suggestion(plain[0], memory={"n": history.n_asked}), *plain[1:]]

    with make_study(storage=storage, strategy=Mixed()) as study:
        assert [trial.memory for trial in study.ask(3)] == [{"n": 0}, None, None]
        assert study.history.memory == {"n": 0}
        assert study.ask().memory == {"n": 3}


def test_a_memory_is_shown_by_no_record_and_no_export(tmp_path):
    with make_study(storage=tmp_path / "study.db", strategy=Counting()) as study:
        study.tell(study.ask(), 0.5)
        assert "memory" not in study.to_records()[0]
        assert "memory" not in study.report()
    for form in ("csv", "json"):
        assert main(["export", str(tmp_path / "study.db"), "--format", form, "--out", str(tmp_path / form)]) == 0
        assert "memory" not in (tmp_path / form).read_text()


# -- finite spaces ----------------------------------------------------------------------------------------------------

GRID = bo.Space({"k": bo.Int(0, 2), "kind": bo.Choice(["a", "b"])})


def test_an_exhausted_space_is_a_status(storage):
    with make_study(GRID, storage=storage, strategy=bo.strategies.SobolSearch()) as study:
        seen = []
        while not study.done:
            trial = study.ask()
            seen.append(tuple(trial.params.values()))
            study.tell(trial, 1.0)
        assert sorted(seen) == [(k, kind) for k in range(3) for kind in "ab"]
        assert study.ask() is None
        assert study.ask(3) == []
        assert study.why_stopped == "space: all 6 configurations are tried"
        assert study.enqueue({"k": 0, "kind": "a"}).state == "queued"
        assert not study.done
        assert study.ask().id == 6


def test_the_rest_of_a_finite_space_may_be_fewer_than_asked_for():
    study = make_study(GRID, strategy=bo.strategies.RandomSearch())
    assert len(study.ask(4)) == 4
    assert len(study.ask(4)) == 2
    assert study.done


def test_a_lost_trial_puts_its_configuration_back():
    study = make_study(GRID, strategy=bo.strategies.RandomSearch())
    trials = study.ask(6)
    assert study.ask() is None
    study.abandon(trials[2])
    assert not study.done
    assert study.ask().params == trials[2].params


# -- the default strategy is not to be stopped ------------------------------------------------------------------------

PLANE = bo.Space({"x": bo.Float(0.0, 1.0), "y": bo.Float(0.0, 1.0)})


def _goes_on(study, n=2):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a model that broke down may say so
        trials = [study.ask() for _ in range(n)]
    assert all(0 <= value <= 1 for trial in trials for value in trial.params.values())
    assert len({tuple(trial.params.values()) for trial in study.trials if trial.state == "pending"}) == n


STRANGE = {
    "all equal": [1.0] * 8,
    "huge": [1e300, -1e300, 1e300, 0.0, 1.0, 2.0, -1e300, 1e299],
    "tiny": [5e-324, 0.0, -5e-324, 1e-310, 0.0, 2e-320, 0.0, 1e-300],
    "one outlier": [0.1, 0.2, 0.3, 0.15, 0.25, 0.12, 1e300, 0.22],
    "offset": [1e15 + k for k in range(8)],
    "half of them nan": [0.5, math.nan, 0.25, math.nan, 0.75, math.inf, 0.3, -math.inf],
}


@pytest.mark.parametrize("values", STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("noise", [None, 0.0], ids=["noisy", "exact"])
def test_strange_outcomes_do_not_stop_the_loop(values, noise):
    study = make_study(PLANE, strategy=None, noise=noise)
    for value in values:
        study.tell(study.ask(), value)
    _goes_on(study)
    best = study.best
    assert best is None or best.state == "complete"
    assert study.report()


@pytest.mark.parametrize("values", [[0.5] * 10, [0.5, 0.7] * 5, [0.5, 1e300] * 5], ids=["equal", "noisy", "huge"])
def test_duplicated_points_do_not_stop_the_loop(values):
    study = make_study(PLANE, strategy=None)
    for value in values:
        study.tell_external({"x": 0.3, "y": 0.7}, value)
    _goes_on(study)


@pytest.mark.parametrize("memory", [[None, *[0.5] * 7], [None] * 8, [2.0] * 8, [1e300, None] * 4])
def test_constraints_that_are_missing_hopeless_or_huge_do_not_stop_the_loop(memory):
    study = make_study(PLANE, strategy=None, subject_to=[bo.AtMost("memory", 1.0)])
    for value in memory:
        trial = study.ask()
        study.tell(trial, {"loss": trial.params["x"], "memory": value})
    _goes_on(study)


def test_100_failures_in_a_row_do_not_stop_the_loop():
    study = make_study(PLANE, strategy=None)
    points = []
    for _ in range(100):
        trial = study.ask()
        points.append(tuple(trial.params.values()))
        study.fail(trial)
    assert len(set(points)) == 100
    for value in (0.5, 0.25, 0.75):
        study.tell(study.ask(), value)
    _goes_on(study)
    assert study.best.values == {"loss": 0.25}


def test_failures_among_successes_do_not_stop_the_loop():
    study = make_study(PLANE, strategy=None)
    rng = random.Random(0)
    for _ in range(15):
        trial = study.ask()
        if rng.random() < 0.5:
            study.fail(trial)
        else:
            study.tell(trial, trial.params["x"])
    _goes_on(study)


def test_ghosts_do_not_shift_the_suggestions_once_they_are_lost():
    """After they are abandoned, the next suggestion is that of a study whose lost trials were never told either."""
    study, twin = (make_study(PLANE, strategy=None, noise=0.0) for _ in range(2))
    for each in (study, twin):
        for k in range(8):
            each.tell(each.ask(), math.sin(k))
        for ghost in each.ask(3):
            each.abandon(ghost)
    assert len(study.history.tried) == 8
    assert study.ask().params == twin.ask().params


def test_the_default_strategy_exhausts_a_finite_space():
    study = make_study(GRID, strategy=None)
    for _ in range(6):
        study.tell(study.ask(), 1.0)
    assert study.ask() is None
    assert study.why_stopped == "space: all 6 configurations are tried"


def test_a_study_reads_and_changes_no_global_random_state():
    import torch

    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    study = make_study(PLANE, strategy=None)
    for k in range(6):
        study.tell(study.ask(), float(k))
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


def test_a_trial_can_be_sent_to_another_process():
    import pickle

    trial = make_study().ask()
    assert pickle.loads(pickle.dumps(trial)) == copy.deepcopy(trial) == trial
    assert json.loads(json.dumps(trial.params)) == trial.params
    assert os.getpid() == int(trial.owner.split(":")[1])


def test_an_opened_study_remembers_the_noise_that_it_was_declared_with(tmp_path):
    path = tmp_path / "study.db"
    make_study(storage=path, noise=0.25).close()
    assert bo.Study.open(path).noise == 0.25
    assert bo.Study.open(path, noise=0.0).noise == 0.0
