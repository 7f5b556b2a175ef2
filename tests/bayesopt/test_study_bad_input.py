"""Every way to hold it wrong gets a clear error where it enters, and the study is as it was."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import bayesopt as bo
from bayesopt.errors import (
    BayesoptError,
    InvalidBudgetError,
    InvalidInputError,
    InvalidOutcomeError,
    InvalidParamsError,
    InvalidPriorError,
    InvalidSpaceError,
    StorageError,
    StudyMismatchError,
    TrialStateError,
)
from tests.bayesopt.workers.tasks import Uniform

GOOD = {"lr": 0.01, "layers": 2, "kind": "a", "mix": {"web": 0.5, "code": 0.5}}
VALUES = {"loss": 1.0, "memory": 0.5}


def make_space(**changes):
    parameters = {
        "lr": bo.Float(1e-4, 1.0, log=True),
        "layers": bo.Int(1, 8),
        "kind": bo.Choice(["a", "b"]),
        "mix": bo.Simplex(["web", "code"]),
    }
    return bo.Space(parameters | changes)


def make_study(**changes):
    declared = {"minimize": "loss", "subject_to": [bo.AtMost("memory", 1.0)], "seed": 0, "strategy": Uniform()}
    return bo.Study(changes.pop("space", make_space()), **(declared | changes))


@pytest.fixture
def study():
    """Two told trials (0, 1), a pending one (2), a failed one (3), a queued one (4) and an external one (5)."""
    study = make_study()
    for trial in study.ask(2):
        study.tell(trial, VALUES)
    study.ask()
    study.fail(study.ask())
    study.enqueue(GOOD)
    study.tell_external(GOOD, VALUES)
    return study


def _foreign(study):
    return make_study(name="other").ask()


# what is called, the error, and what its message must say
CALLS = {
    # -- tell
    "tell twice": (lambda s: s.tell(0, VALUES), TrialStateError, "trial 0 has ended already: it was told loss = 1.0"),
    "tell a failed one": (
        lambda s: s.tell(3, VALUES),
        TrialStateError,
        r"trial 3 has ended already: it failed \(failed",
    ),
    "tell a queued one": (lambda s: s.tell(4, VALUES), TrialStateError, "trial 4 is queued .* call ask first"),
    "tell an external one": (lambda s: s.tell(5, VALUES), TrialStateError, "trial 5 has ended already"),
    "tell an unknown id": (lambda s: s.tell(6, VALUES), TrialStateError, "trial 6 is unknown .* trials 0 to 5"),
    "tell a negative id": (lambda s: s.tell(-1, VALUES), TrialStateError, "trial -1 is unknown"),
    "tell a numpy id": (lambda s: s.tell(np.int64(9), VALUES), TrialStateError, "trial 9 is unknown"),
    "tell a bool": (lambda s: s.tell(True, VALUES), TrialStateError, "expected a trial or its id, got True"),
    "tell a float": (lambda s: s.tell(2.0, VALUES), TrialStateError, r"expected a trial or its id, got 2\.0"),
    "tell a dict": (lambda s: s.tell(GOOD, VALUES), TrialStateError, "expected a trial or its id, got {'lr'"),
    "tell None": (lambda s: s.tell(None, VALUES), TrialStateError, "expected a trial or its id, got None"),
    "tell a list of trials": (lambda s: s.tell([2], VALUES), TrialStateError, r"expected a trial or its id, got \[2\]"),
    "tell a trial of another study": (
        lambda s: s.tell(_foreign(s), VALUES),
        TrialStateError,
        "trial 0 belongs to the study 'other', not to this one, 'study'",
    ),
    "tell without the objective": (
        lambda s: s.tell(2, {"memory": 0.5}),
        InvalidOutcomeError,
        "'loss' missing; got 'memory'",
    ),
    "tell without the constraint": (
        lambda s: s.tell(2, {"loss": 0.5}),
        InvalidOutcomeError,
        "'memory' missing; got 'loss'. Give None for a constrained outcome that could not be measured",
    ),
    "tell an empty dict": (lambda s: s.tell(2, {}), InvalidOutcomeError, "'loss', 'memory' missing; got nothing"),
    "tell a bare number where two are needed": (
        lambda s: s.tell(2, 0.5),
        InvalidOutcomeError,
        r"expected a dict with 'loss', 'memory', got 0\.5 of type float",
    ),
    "tell no values": (
        lambda s: s.tell(2, None),
        InvalidOutcomeError,
        "expected a dict with 'loss', 'memory', got None",
    ),
    "tell a tuple": (lambda s: s.tell(2, (1.0, 0.5)), InvalidOutcomeError, "expected a dict"),
    "tell an objective of None": (
        lambda s: s.tell(2, {"loss": None, "memory": 0.5}),
        InvalidOutcomeError,
        "the objective 'loss' is None; use Study.fail",
    ),
    "tell a string": (
        lambda s: s.tell(2, {"loss": "0.5", "memory": 0.5}),
        InvalidOutcomeError,
        "loss: expected one real number .* got '0.5' of type str",
    ),
    "tell a complex number": (
        lambda s: s.tell(2, {"loss": 1j, "memory": 0.5}),
        InvalidOutcomeError,
        "loss: expected one real number .* of type complex",
    ),
    "tell a numpy complex number": (
        lambda s: s.tell(2, {"loss": np.complex128(1j), "memory": 0.5}),
        InvalidOutcomeError,
        "loss: expected one real number .* of type complex",
    ),
    "tell a truth value": (
        lambda s: s.tell(2, {"loss": 0.5, "memory": True}),
        InvalidOutcomeError,
        "memory: expected one real number .* got True of type bool",
    ),
    "tell a numpy truth value": (
        lambda s: s.tell(2, {"loss": 0.5, "memory": np.bool_(True)}),
        InvalidOutcomeError,
        "memory: expected one real number .* of type bool",
    ),
    "tell an array": (
        lambda s: s.tell(2, {"loss": np.ones(1), "memory": 0.5}),
        InvalidOutcomeError,
        "loss: expected one real number .* of type ndarray",
    ),
    "tell a list": (
        lambda s: s.tell(2, {"loss": [0.5], "memory": 0.5}),
        InvalidOutcomeError,
        r"loss: expected one real number .* got \[0\.5\] of type list",
    ),
    "tell a decimal": (
        lambda s: s.tell(2, {"loss": Decimal("0.5"), "memory": 0.5}),
        InvalidOutcomeError,
        "loss: expected one real number .* of type Decimal",
    ),
    "tell an int beyond floats": (
        lambda s: s.tell(2, {"loss": 10**400, "memory": 0.5}),
        InvalidOutcomeError,
        "loss: 1000.* does not fit a 64-bit float",
    ),
    "tell a fraction beyond floats": (
        lambda s: s.tell(2, {"loss": Fraction(10**400), "memory": 0.5}),
        InvalidOutcomeError,
        "loss: .* does not fit a 64-bit float",
    ),
    "tell an outcome without a name": (
        lambda s: s.tell(2, VALUES | {"": 1.0}),
        InvalidOutcomeError,
        "expected the outcome's name, a non-empty string, got ''",
    ),
    "tell an outcome named by a number": (
        lambda s: s.tell(2, VALUES | {7: 1.0}),
        InvalidOutcomeError,
        "expected the outcome's name, a non-empty string, got 7",
    ),
    "tell a further outcome that is no number": (
        lambda s: s.tell(2, VALUES | {"note": "good"}),
        InvalidOutcomeError,
        "note: expected one real number",
    ),
    "tell a negative cost": (lambda s: s.tell(2, VALUES, cost=-1), InvalidBudgetError, "cost: .* at least 0, got -1"),
    "tell an infinite cost": (lambda s: s.tell(2, VALUES, cost=np.inf), InvalidBudgetError, "cost: .* got inf"),
    "tell a cost of nan": (lambda s: s.tell(2, VALUES, cost=np.nan), InvalidBudgetError, "cost: .* got nan"),
    "tell a cost in words": (lambda s: s.tell(2, VALUES, cost="1h"), InvalidBudgetError, "cost: .* got '1h'"),
    "tell a bare sd": (lambda s: s.tell(2, VALUES, sd=0.1), InvalidOutcomeError, r"sd: expected a dict .* got 0\.1"),
    "tell the sd of something else": (
        lambda s: s.tell(2, VALUES, sd={"los": 0.1}),
        InvalidOutcomeError,
        "sd: 'los' is none of the outcomes told",
    ),
    "tell a negative sd": (
        lambda s: s.tell(2, VALUES, sd={"loss": -0.1}),
        InvalidOutcomeError,
        r"sd of loss: .* at least 0, got -0\.1",
    ),
    "tell an sd of nan": (lambda s: s.tell(2, VALUES, sd={"loss": np.nan}), InvalidOutcomeError, "sd of loss: .* nan"),
    "tell an sd of None": (lambda s: s.tell(2, VALUES, sd={"loss": None}), InvalidOutcomeError, "sd of loss: .* None"),
    # -- fail, abandon
    "fail twice": (lambda s: s.fail(3), TrialStateError, "trial 3 has ended already: it failed"),
    "fail a told one": (lambda s: s.fail(0), TrialStateError, "trial 0 has ended already: it was told"),
    "fail a queued one": (lambda s: s.fail(4), TrialStateError, "trial 4 is queued"),
    "fail an unknown one": (lambda s: s.fail(99), TrialStateError, "trial 99 is unknown"),
    "fail with a negative cost": (lambda s: s.fail(2, cost=-1), InvalidBudgetError, "cost: .* got -1"),
    "abandon a told one": (lambda s: s.abandon(1), TrialStateError, "trial 1 has ended already"),
    "abandon a queued one": (lambda s: s.abandon(4), TrialStateError, "trial 4 is queued"),
    # -- enqueue, tell_external
    "enqueue no dict": (lambda s: s.enqueue([0.01]), InvalidParamsError, r"expected a dict .* got \[0\.01\]"),
    "enqueue None": (lambda s: s.enqueue(None), InvalidParamsError, "expected a dict .* got None"),
    "enqueue a name too many": (
        lambda s: s.enqueue(GOOD | {"lrr": 1.0}),
        InvalidParamsError,
        "unknown parameter 'lrr'; the space has .*'lr', 'layers'",
    ),
    "enqueue a name too few": (
        lambda s: s.enqueue({k: v for k, v in GOOD.items() if k != "kind"}),
        InvalidParamsError,
        "'kind'",
    ),
    "enqueue nothing": (lambda s: s.enqueue({}), InvalidParamsError, "'lr'"),
    "enqueue out of range": (lambda s: s.enqueue(GOOD | {"lr": 2.0}), InvalidParamsError, r"'lr'.* 2\.0"),
    "enqueue nan": (lambda s: s.enqueue(GOOD | {"lr": np.nan}), InvalidParamsError, "'lr': .* finite number, got nan"),
    "enqueue a string": (lambda s: s.enqueue(GOOD | {"lr": "0.1"}), InvalidParamsError, "'lr': .* got '0.1'"),
    "enqueue a truth value": (lambda s: s.enqueue(GOOD | {"layers": True}), InvalidParamsError, "'layers'.* True"),
    "enqueue half a layer": (lambda s: s.enqueue(GOOD | {"layers": 2.5}), InvalidParamsError, r"'layers'.* 2\.5"),
    "enqueue no such option": (lambda s: s.enqueue(GOOD | {"kind": "c"}), InvalidParamsError, "'kind'.* 'c'"),
    "enqueue shares of more than 1": (
        lambda s: s.enqueue(GOOD | {"mix": {"web": 0.9, "code": 0.9}}),
        InvalidParamsError,
        "'mix'.* 1.8",
    ),
    "enqueue a missing share": (
        lambda s: s.enqueue(GOOD | {"mix": {"web": 1.0}}),
        InvalidParamsError,
        "'mix'.* 'code'",
    ),
    "enqueue shares as a list": (lambda s: s.enqueue(GOOD | {"mix": [0.5, 0.5]}), InvalidParamsError, "'mix'.*dict"),
    "external with an unknown name": (
        lambda s: s.tell_external(GOOD | {"lrr": 1.0}, VALUES),
        InvalidParamsError,
        "unknown parameter 'lrr'",
    ),
    "external without an outcome": (
        lambda s: s.tell_external(GOOD, {"loss": 1.0}),
        InvalidOutcomeError,
        "'memory' missing",
    ),
    "external with a negative cost": (lambda s: s.tell_external(GOOD, VALUES, cost=-2), InvalidBudgetError, "got -2"),
    "external with a bad sd": (lambda s: s.tell_external(GOOD, VALUES, sd={"x": 1}), InvalidOutcomeError, "sd: 'x'"),
    # -- ask, run, reports
    "ask for none": (lambda s: s.ask(0), InvalidInputError, r"ask\(n\): expected a whole number of at least 1, got 0"),
    "ask for less than none": (lambda s: s.ask(-1), InvalidInputError, "at least 1, got -1"),
    "ask for half a trial": (lambda s: s.ask(0.5), InvalidInputError, r"at least 1, got 0\.5"),
    "ask for a truth value": (lambda s: s.ask(True), InvalidInputError, "at least 1, got True"),
    "ask in words": (lambda s: s.ask("two"), InvalidInputError, "at least 1, got 'two'"),
    "run nothing": (lambda s: s.run(None), InvalidInputError, "evaluate must be a function of a trial, got None"),
    "run without workers": (lambda s: s.run(len, workers=0), InvalidInputError, "workers: .* at least 1, got 0"),
    "run half a worker": (lambda s: s.run(len, workers=1.5), InvalidInputError, r"workers: .* got 1\.5"),
    "report before the start": (
        lambda s: s.trials[2].report(-1, 0.5),
        InvalidInputError,
        "step: expected a finite number of at least 0, got -1",
    ),
    "report at nan": (lambda s: s.trials[2].report(np.nan, 0.5), InvalidInputError, "step: .* got nan"),
    "report in words": (
        lambda s: s.trials[2].report(1, "low"),
        InvalidOutcomeError,
        "loss: expected one real .* 'low'",
    ),
}


@pytest.mark.parametrize("case", CALLS)
def test_a_wrong_call_is_refused_and_leaves_the_study_unharmed(study, case):
    call, error, message = CALLS[case]
    before = study.trials
    with pytest.raises(error, match=message) as caught:
        call(study)
    assert isinstance(caught.value, BayesoptError)
    assert isinstance(caught.value, ValueError)
    assert study.trials == before
    assert study._store.reports() == {}
    assert study.tell(2, VALUES).state == "complete"
    assert study.ask().params == GOOD
    assert study.ask().id == 6


SPACE = make_space()

DECLARATIONS = {
    "a dict for a space": ({"space": {"lr": bo.Float(0, 1)}}, InvalidSpaceError, r"space: expected a Space, got {"),
    "no objective": ({"minimize": None}, InvalidOutcomeError, "give one objective"),
    "two objectives": ({"maximize": "accuracy"}, InvalidOutcomeError, "minimize='loss' and maximize='accuracy'"),
    "an objective that is a list": ({"minimize": ["loss"]}, InvalidOutcomeError, r"objective: .* got \['loss'\]"),
    "an objective without a name": ({"minimize": " "}, InvalidOutcomeError, "objective: .* non-empty string, got ' '"),
    "a bare constraint": (
        {"subject_to": bo.AtMost("m", 1)},
        InvalidInputError,
        "subject_to: expected a list, got AtMost",
    ),
    "a constraint in words": ({"subject_to": ["m < 1"]}, InvalidOutcomeError, "expected AtMost.* got 'm < 1'"),
    "one constraint twice": (
        {"subject_to": [bo.AtMost("m", 1), bo.AtMost("m", 2)]},
        InvalidOutcomeError,
        "each outcome takes one AtMost and one AtLeast",
    ),
    "a bare prior": ({"priors": bo.OptimumPrior({"lr": (0.1, 2.0)})}, InvalidInputError, "priors: expected a list"),
    "a prior that is a dict": ({"priors": [{"lr": 0.1}]}, InvalidPriorError, "expected OptimumPrior.* got {'lr'"),
    "a prior on nothing known": (
        {"priors": [bo.OptimumPrior({"lrr": (0.1, 2.0)})]},
        InvalidPriorError,
        "unknown parameter 'lrr'",
    ),
    "a prior out of range": (
        {"priors": [bo.OptimumPrior({"lr": (10.0, 2.0)})]},
        InvalidPriorError,
        "the centre does not lie in the space",
    ),
    "a budget that is a number": ({"budget": 40}, InvalidBudgetError, r"budget: expected a Budget, got 40; write bo"),
    "a seed in words": ({"seed": "zero"}, InvalidInputError, "seed: expected a whole number of at least 0, got 'zero'"),
    "a negative seed": ({"seed": -1}, InvalidInputError, "seed: .* got -1"),
    "a seed that is a float": ({"seed": 1.0}, InvalidInputError, r"seed: .* got 1\.0"),
    "negative noise": ({"noise": -0.1}, InvalidInputError, r"noise: .* at least 0, got -0\.1"),
    "noise of nan": ({"noise": np.nan}, InvalidInputError, "noise: .* got nan"),
    "noise in words": ({"noise": "auto"}, InvalidInputError, "noise: .* got 'auto'"),
    "a strategy by name": ({"strategy": "random"}, InvalidInputError, r"strategy: expected an object .* got 'random'"),
    "a strategy's class": ({"strategy": Uniform}, InvalidInputError, "strategy: expected an object with suggest"),
    "a storage that is a number": ({"storage": 7}, InvalidInputError, "storage: expected a file path, .* got 7"),
    "a storage in bytes": ({"storage": b"x.db"}, InvalidInputError, "storage: expected a file path"),
    "a storage in no folder": ({"storage": "no/such/folder/x.db"}, StorageError, "the folder .* does not exist"),
    "another database": ({"storage": "mysql://localhost/x"}, StorageError, "mysql is not supported"),
    "an empty name": ({"name": ""}, InvalidInputError, "name: expected a non-empty printable string, got ''"),
    "a name of two lines": ({"name": "a\nb"}, InvalidInputError, "name: expected a non-empty printable string"),
    "a name that is a number": ({"name": 7}, InvalidInputError, "name: expected .* got 7"),
    "a device that is none": ({"device": "gpu"}, InvalidInputError, "device: expected 'auto', 'cpu', .* got 'gpu'"),
    "a device that is a number": ({"device": 0}, InvalidInputError, "device: .* got 0"),
    "a timeout of nothing": ({"pending_timeout": 0}, InvalidInputError, "pending_timeout: 0 seconds would lose every"),
    "a negative timeout": ({"pending_timeout": -1}, InvalidInputError, "pending_timeout: .* got -1"),
    "a timeout in words": ({"pending_timeout": "1h"}, InvalidInputError, "pending_timeout: .* got '1h'"),
}


@pytest.mark.parametrize("case", DECLARATIONS)
def test_a_wrong_declaration_is_refused_where_it_is_made(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changes, error, message = DECLARATIONS[case]
    with pytest.raises(error, match=message) as caught:
        make_study(**changes)
    assert isinstance(caught.value, BayesoptError)
    assert list(tmp_path.iterdir()) == []


PARTS = {
    "low above high": (lambda: bo.Float(1.0, 0.0), InvalidSpaceError, "low"),
    "low equal to high": (lambda: bo.Int(3, 3), InvalidSpaceError, "low|Choice"),
    "log from 0": (lambda: bo.Float(0.0, 1.0, log=True), InvalidSpaceError, "log"),
    "log from below 0": (lambda: bo.Int(-1, 8, log=True), InvalidSpaceError, "log"),
    "an infinite bound": (lambda: bo.Float(0.0, np.inf), InvalidSpaceError, "inf"),
    "a bound in words": (lambda: bo.Float("0", 1.0), InvalidSpaceError, "'0'"),
    "no options": (lambda: bo.Choice([]), InvalidSpaceError, "option"),
    "an option twice": (lambda: bo.Choice(["a", "a"]), InvalidSpaceError, "'a'"),
    "an empty space": (lambda: bo.Space({}), InvalidSpaceError, "no parameter to tune"),
    "a parameter that is a tuple": (lambda: bo.Space({"lr": (0, 1)}), InvalidSpaceError, r"'lr'.* got \(0, 1\)"),
    "a parameter without a name": (lambda: bo.Space({"": bo.Float(0, 1)}), InvalidSpaceError, "name"),
    "a budget of no trials": (lambda: bo.Budget(trials=0), InvalidBudgetError, "trials.* at least 1, got 0"),
    "a budget of half a trial": (lambda: bo.Budget(trials=2.5), InvalidBudgetError, r"trials.* got 2\.5"),
    "a budget of no cost": (lambda: bo.Budget(cost=0), InvalidBudgetError, "a cost of 0 buys nothing"),
    "a negative budget": (lambda: bo.Budget(cost=-1.0), InvalidBudgetError, r"cost.* got -1\.0"),
    "a bound of nan": (lambda: bo.AtMost("memory", np.nan), InvalidOutcomeError, "the bound must be finite, got nan"),
    "a bound in gigabytes": (lambda: bo.AtLeast("memory", "1 GB"), InvalidOutcomeError, "bound: .* got '1 GB'"),
    "a bound on nothing": (lambda: bo.AtMost("", 1.0), InvalidOutcomeError, "AtMost: expected the outcome's name"),
    "a prior without beliefs": (lambda: bo.OptimumPrior({}), InvalidPriorError, "non-empty dict"),
}


@pytest.mark.parametrize("case", PARTS)
def test_a_wrong_part_is_refused_where_it_is_made(case):
    make, error, message = PARTS[case]
    with pytest.raises(error, match=message):
        make()


REOPENED = {
    "another range": ({"space": make_space(lr=bo.Float(1e-5, 1.0, log=True))}, "'lr' was Float.*now it is Float"),
    "another type": ({"space": make_space(lr=bo.Int(1, 8))}, "'lr' was Float.*now it is Int"),
    "a parameter more": ({"space": make_space(wd=bo.Float(0, 1))}, "'wd' is new"),
    "a parameter less": (
        {"space": bo.Space({k: v for k, v in SPACE.items() if k != "lr"})},
        "'lr' is no longer there",
    ),
    "another order": ({"space": bo.Space(dict(reversed(list(SPACE.items()))))}, "order"),
    "another rule": ({"space": bo.Space(dict(SPACE), allowed=lambda p: True)}, "predicate|allowed"),
    "another objective": ({"minimize": "error"}, "the objective was minimize 'loss', now it is minimize 'error'"),
    "another direction": ({"minimize": None, "maximize": "loss"}, "now it is maximize 'loss'"),
    "another bound": ({"subject_to": [bo.AtMost("memory", 2.0)]}, "were memory <= 1, now they are memory <= 2"),
    "another side": ({"subject_to": [bo.AtLeast("memory", 1.0)]}, "memory <= 1, now they are memory >= 1"),
    "no constraint": ({"subject_to": []}, "now they are none"),
    "another seed": ({"seed": 1}, r"the seed was 0, now it is 1 \(omit it to go on\)"),
}


@pytest.mark.parametrize("case", REOPENED)
def test_a_study_declared_differently_is_not_reopened_and_says_what_differs(case, tmp_path):
    path = tmp_path / "study.db"
    with make_study(storage=path) as study:
        study.tell(study.ask(), VALUES)
        before = study.trials
    changes, message = REOPENED[case]
    with pytest.raises(StudyMismatchError, match=message) as caught:
        make_study(storage=path, **changes)
    assert "'study'" in str(caught.value) and str(path) in str(caught.value)
    with make_study(storage=path) as study:
        assert study.trials == before
        assert study.ask() is not None


OPENED = {
    "nothing there": (lambda path: bo.Study.open(path / "no.db"), StorageError, r"no\.db: there is no such file"),
    "no such study": (
        lambda path: bo.Study.open(path / "two.db", "c"),
        StorageError,
        "no study 'c'; it holds 'a', 'b'",
    ),
    "which of two": (
        lambda path: bo.Study.open(path / "two.db"),
        StorageError,
        "name= must say which study; it holds 'a', 'b'",
    ),
    "an empty file": (lambda path: bo.Study.open(path / "empty.db"), StorageError, r"empty\.db holds no study"),
    "None": (lambda path: bo.Study.open(None), InvalidInputError, "storage: expected a file path .* got None"),
    "a URL to nothing": (lambda path: bo.Study.open(f"sqlite:///{path}/no.db"), StorageError, "there is no such file"),
    "a text": (lambda path: bo.Study.open(path / "text.db"), StorageError, "it is not a SQLite file"),
}


@pytest.mark.parametrize("case", OPENED)
def test_what_cannot_be_opened_is_said(case, tmp_path):
    for name in ("a", "b"):
        make_study(storage=tmp_path / "two.db", name=name).close()
    (tmp_path / "empty.db").touch()
    (tmp_path / "text.db").write_text("text " * 500)
    call, error, message = OPENED[case]
    with pytest.raises(error, match=message):
        call(tmp_path)
    assert not (tmp_path / "no.db").exists()


def test_a_budget_of_cost_needs_every_cost():
    study = make_study(budget=bo.Budget(cost=10.0))
    trial = study.ask()
    with pytest.raises(InvalidBudgetError, match=r"limited to a cost of 10, .* tell\(trial, values, cost=...\)"):
        study.tell(trial, VALUES)
    assert study.trials[0].state == "pending"
    assert study.tell(trial, VALUES, cost=1.0).cost == 1.0


def test_a_strategy_that_suggests_nonsense_is_named_and_nothing_is_asked():
    class Broken:
        def suggest(self, history, n, rng):
            return [GOOD | {"lr": 7.0}]

    study = make_study(strategy=Broken())
    with pytest.raises(InvalidParamsError, match="the strategy Broken suggested what the space does not hold: 'lr'"):
        study.ask()
    assert study.trials == []


def _looped():
    memory = {}
    memory["again"] = memory
    return memory


@pytest.mark.parametrize(
    ("memory", "message"),
    [
        ({"theta": np.zeros(2)}, r"kept as JSON, which does not hold it \(.*ndarray.*\); use .*array\.tolist\(\)"),
        ({"fits": [{"scale": np.float32(1.0)}]}, r"which does not hold it \(.*float32"),
        ({("a", "b"): 1.0}, r"which does not hold it \(keys must be str"),
        ({"seen": {1, 2}}, r"which does not hold it \(.*set"),
        (_looped(), r"which does not hold it \(Circular reference"),
        ([1.0, 2.0], r"expected a dict or None, got \[1\.0, 2\.0\]"),
        ("k = 1", "expected a dict or None, got 'k = 1'"),
    ],
    ids=["an array", "a narrow float", "a tuple as key", "a set", "a loop", "a list", "a text"],
)
def test_a_memory_that_json_does_not_hold_names_its_strategy_and_nothing_is_asked(memory, message):
    class Forgetful:
        def suggest(self, history, n, rng):
            return [bo.strategies.Suggestion(GOOD, memory=memory)]

    study = make_study(strategy=Forgetful())
    with pytest.raises(InvalidInputError, match=f"the memory of the strategy Forgetful.*{message}"):
        study.ask()
    assert study.trials == []


def test_a_strategy_that_returns_no_list_is_told_so():
    class Silent:
        def suggest(self, history, n, rng):
            return None

    study = make_study(strategy=Silent())
    with pytest.raises(InvalidInputError, match="the suggestions of Silent: expected a list, got None"):
        study.ask()
    assert study.trials == []


def test_a_trial_of_a_study_with_the_same_name_is_still_foreign(tmp_path):
    first, second = make_study(storage=tmp_path / "1.db"), make_study(storage=tmp_path / "2.db")
    trial = first.ask()
    second.ask()
    with pytest.raises(TrialStateError, match="belongs to the study 'study'"):
        second.tell(trial, VALUES)
    with make_study(storage=tmp_path / "1.db") as again:
        assert again.tell(trial, VALUES).state == "complete"
    first.close()
    second.close()


def test_a_snapshot_that_is_out_of_date_does_not_tell_twice(study):
    stale = study.trials[2]
    study.tell(2, VALUES)
    with pytest.raises(TrialStateError, match="trial 2 has ended already"):
        study.tell(stale, VALUES)
    with pytest.raises(TrialStateError, match="trial 2 has ended already"):
        study.tell(replace(stale, state="pending"), VALUES)
