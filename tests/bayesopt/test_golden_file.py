"""A study file of each format, made once by tests/data/make_study.py, reads the same in every later version."""

import math
import shutil
import sqlite3
from pathlib import Path

import pytest

import bayesopt as bo
from bayesopt.record.sql import SCHEMA_VERSION, Database
from tests.bayesopt.workers.tasks import Uniform

DATA = Path(__file__).parents[1] / "data"
VERSIONS = range(1, SCHEMA_VERSION + 1)

MIX = {"web": 0.25, "код": 0.5, "本": 0.25}
POINT = {"lr": 0.003, "kind": "adamw", "mix": {"web": 0.4, "код": 0.3, "本": 0.3}}

# params, then every field that is not its default
TRIALS = [
    (
        {"lr": 0.1, "layers": 1, "kind": "adamw", "mix": MIX},
        {
            "state": "complete",
            "values": {"verlust": 0.30000000000000004, "memory_gb": 12.0, "точность": 0.75, "epochs": 3.0},
            "sd": {"verlust": 0.01},
            "cost": 0.3333333333333333,
        },
    ),
    (
        {"lr": 0.01, "layers": 2, "kind": "sgd", "momentum": 0.30000000000000004, "mix": MIX},
        {
            "state": "complete",
            "values": {"verlust": 1e300, "memory_gb": None, "точность": 5e-324},
            "cost": 2.0,
        },
    ),
    (
        {"lr": 0.001, "layers": 3, "kind": None, "mix": MIX},
        {
            "state": "failed",
            "values": {"verlust": "nan", "memory_gb": math.inf, "точность": 0.5},
            "reason": "verlust is nan, memory_gb is inf",
        },
    ),
    (
        {"lr": 0.0001, "layers": 4, "kind": "größer", "mix": MIX},
        {"state": "failed", "cost": 0.5, "reason": "exit 1:\n  CUDA out of memory \N{SNOWMAN}"},
    ),
    (
        {"lr": 0.1, "layers": 5, "kind": "adamw", "mix": MIX},
        {"state": "failed", "lost": True, "reason": "its node went away"},
    ),
    (
        {"lr": 0.01, "layers": 6, "kind": "sgd", "momentum": 0.30000000000000004, "mix": MIX},
        {"state": "complete", "values": {"verlust": -0.0, "memory_gb": 25.0, "точность": 0.75}},
    ),
    ({"lr": 0.001, "layers": 1, "kind": None, "mix": MIX}, {"state": "pending"}),
    (
        POINT | {"layers": 2},
        {
            "state": "complete",
            "source": "external",
            "values": {"verlust": 0.25, "memory_gb": 1.0, "точность": 1.0},
            "sd": {"точность": 0.125},
        },
    ),
    (POINT | {"layers": 3}, {"state": "pending", "source": "enqueued"}),
    (POINT | {"layers": 4}, {"state": "queued", "source": "enqueued"}),
]

REMEMBERED = {
    "θ": [0.30000000000000004, 5e-324, -0.0, -math.inf],
    "größe": {"n": 9007199254740993, "warped": True, "seen": None, "text": 'said "so" \N{SNOWMAN}\n'},
}
# version to the memories of its trials by id; the others have none
MEMORIES = {1: {}} | {version: {id: {"k": id} | REMEMBERED for id in (0, 3, 6)} for version in (2, 3, 4)}
# the same of what they cost on meters with a name, and which were killed
METERS = {1: {}, 2: {}} | {version: {1: {"tokens": 1e300}} for version in (3, 4)}
KILLED = {1: [], 2: [], 3: [3], 4: [3]}
# and why they were proposed
GROUNDS = {1: {}, 2: {}, 3: {}} | {
    4: {id: {"text": 'said "so" \N{SNOWMAN}', "at": [0.30000000000000004, math.inf], "k": id} for id in (0, 2, 4, 6)}
}

DEFAULTS = {"values": {}, "sd": {}, "cost": None, "reason": None, "source": "asked", "lost": False}

SPACE = bo.Space(
    {
        "lr": bo.Float(1e-5, 1e-1, log=True),
        "layers": bo.Int(1, 6),
        "kind": bo.Choice(["adamw", "sgd", None, "größer"]),
        "momentum": bo.Float(0.0, 0.99, active_if={"kind": "sgd"}),
        "mix": bo.Simplex(["web", "код", "本"], caps={"web": 0.9}, floors=0.05),
    },
    constraints=[bo.LinearConstraint({"layers": 1.0, "mix.web": 2.0}, upper=7.5)],
)


@pytest.fixture(params=VERSIONS, ids="v{}".format)
def version(request):
    return request.param


@pytest.fixture
def path(version, tmp_path):
    golden = DATA / f"study_v{version}.db"
    assert not Path(f"{golden}-wal").exists()
    return Path(shutil.copy(golden, tmp_path / "study.db"))


@pytest.fixture
def study(path):
    # No timeout: the pending trials of the file are years old, and these tests are about them.
    with bo.Study.open(path, "größte Studie", strategy=Uniform(), pending_timeout=None) as study:
        yield study


def _told(value):
    return "nan" if value is not None and math.isnan(value) else value


def test_the_file_holds_its_studies(path):
    assert Database(path).study_names() == ["größte Studie", "second"]
    with bo.Study.open(path, "second") as second:
        assert (second.outcomes.objective.name, second.outcomes.objective.direction) == ("y", "maximize")
        assert second.trials == []


@pytest.mark.parametrize("id", range(len(TRIALS)))
def test_every_trial_is_what_was_written(study, id):
    params, facts = TRIALS[id]
    trial = study.trials[id]
    assert trial.params == params
    expected = DEFAULTS | facts
    assert {name: _told(v) for name, v in trial.values.items()} == expected.pop("values")
    assert {name: getattr(trial, name) for name in expected} == expected
    asked = trial.source != "external" and trial.state != "queued"
    assert trial.created_at == 1700000000.25 + id
    assert trial.asked_at == (1700000100.5 + id if asked else None)
    assert trial.told_at == (1700000200.75 + id if trial.state in ("complete", "failed") else None)
    assert trial.owner == "host:1234:0a1b2c3d"


def test_what_the_strategy_remembered_is_what_was_written(study, version):
    assert {trial.id: trial.memory for trial in study.trials if trial.memory is not None} == MEMORIES[version]
    assert study.history.memory == MEMORIES[version].get(6, {})
    if memory := study.history.memory:
        assert math.copysign(1, memory["θ"][2]) == -1


def test_what_the_meters_counted_is_what_was_written(study, version):
    assert {trial.id: trial.meters for trial in study.trials if trial.meters} == METERS[version]
    assert [trial.id for trial in study.trials if trial.killed] == KILLED[version]


def test_why_a_trial_was_proposed_is_what_was_written(study, version):
    assert {trial.id: trial.grounds for trial in study.trials if trial.grounds is not None} == GROUNDS[version]
    why = [study.trials[id].why for id in (0, 1, 7, 8)]
    first = 'said "so" \N{SNOWMAN}' if version == 4 else "No reason is on record."
    assert why == [first, "No reason is on record.", "Evaluated elsewhere and told.", "Queued by you."]


def test_an_older_file_is_brought_to_the_present_format_and_keeps_what_it_holds(path, version):
    def rows():
        with sqlite3.connect(path) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute("SELECT * FROM priorwise_trials ORDER BY id")]

    before = rows()
    Database(path).close()
    newer = ("memory", "meters", "killed", "grounds")
    assert [row | {name: row.get(name) for name in newer} for row in before] == rows()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT value FROM priorwise_meta").fetchall() == [(str(SCHEMA_VERSION),)]


def test_its_declaration_is_what_was_written(study):
    assert len(study.trials) == len(TRIALS)
    assert study.space == SPACE
    assert study.seed == 2**40 + 7
    assert study.outcomes.to_json() == {
        "objective": {"name": "verlust", "direction": "minimize"},
        "constraints": [
            {"kind": "AtMost", "name": "memory_gb", "bound": 24.0},
            {"kind": "AtLeast", "name": "точность", "bound": 0.5},
        ],
    }


def test_its_curves_and_its_recommendation_are_what_was_written(study):
    (curve,) = study._store.reports().values()
    assert {step: _told(value) for step, value in curve.items()} == {1.0: 0.75, 2.0: 0.4375, 2.5: "nan"}
    assert study.recommended.id == 0
    assert study.best_observed.id == 7
    assert math.copysign(1, study.trials[5].values["verlust"]) == -1


def test_the_same_declaration_reopens_it_and_it_goes_on(path):
    with bo.Study(
        SPACE,
        minimize="verlust",
        subject_to=[bo.AtMost("memory_gb", 24.0), bo.AtLeast("точность", 0.5)],
        storage=path,
        name="größte Studie",
        strategy=Uniform(),
    ) as study:
        assert study.ask().id == 9  # the queued one first
        assert study.ask().id == 10
        assert [trial.lost for trial in study.trials[4:9]] == [True, False, True, False, True]  # 6 and 8 timed out
        done = study.tell(6, {"verlust": 0.0, "memory_gb": 1.0, "точность": 0.5})
        assert (done.state, study.best_observed.id) == ("complete", 6)
