"""How far a model is fitted, given what is remembered; and that the memory survives JSON, or is ignored."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from bayesopt.warm_start import Remembered, fit
from gp.models.exact import ExactGP

pytestmark = pytest.mark.usefixtures("one_thread")


def model_of(n, seed=0, **options):
    X = torch.as_tensor(np.random.default_rng(seed).random((n, 2)))
    return ExactGP(X, torch.sin(5.0 * X).sum(1, keepdim=True), **options)


@pytest.fixture
def starts(monkeypatch):
    """How many starts each fit of a model had, in order."""
    seen = []
    original = ExactGP.fit

    def counted(self, *, starts=None, **options):
        if starts is not None:
            seen.append(len(starts))
        return original(self, starts=starts, **options)

    monkeypatch.setattr(ExactGP, "fit", counted)
    return seen


def at(n, searched, polished, model=None):
    """What was remembered at those rows, with hyperparameters that no fit would end at."""
    h = len((model or model_of(n)).hyperparameters)
    return Remembered((-0.7,) * h, searched, polished)


# -- the schedule -----------------------------------------------------------------------------------------------------


def test_without_a_memory_a_search_from_several_starts_is_made(starts):
    model = model_of(10)
    before = model.log_posterior
    after = fit(model, None)
    assert starts == [len(model.regression.search_starts())]
    assert starts[0] > 1
    assert model.log_posterior > before
    assert after.theta == tuple(model.hyperparameters)
    assert (after.searched_at, after.polished_at) == (10, 10)


def test_one_more_row_calls_for_a_polish_from_where_the_last_fit_ended(starts):
    before = fit(model_of(20), None)
    model = model_of(21)  # the same rows and one more
    after = fit(model, before)
    assert starts[1:] == [1]
    assert (after.searched_at, after.polished_at) == (20, 21)
    assert after.theta == tuple(model.hyperparameters) != before.theta
    unmoved = model_of(21)
    unmoved.hyperparameters = np.array(before.theta)
    assert model.log_posterior > unmoved.log_posterior
    assert np.abs(np.subtract(after.theta, before.theta)).max() < 1.0


def test_a_polish_keeps_what_the_last_search_chose():
    before = dataclasses.replace(at(21, searched=20, polished=20), warped=True)
    assert fit(model_of(21), before).warped


def test_a_history_that_has_grown_by_a_tenth_is_searched_anew_from_where_it_was_too(starts):
    fit(model_of(44), at(44, searched=40, polished=43))
    assert starts == [1 + len(model_of(44).regression.search_starts())]
    fit(model_of(43), at(43, searched=40, polished=41))
    assert starts[1:] == [1]


def test_the_same_rows_call_for_nothing(starts):
    model = model_of(21)
    before = at(21, searched=20, polished=21)
    assert fit(model, before) == before
    assert starts == []
    assert tuple(model.hyperparameters) == before.theta


def test_a_long_history_is_polished_only_now_and_then():
    due = [n for n in range(301, 320) if at(2, searched=290, polished=300).needs_polish(n)]
    assert due[0] > 302
    assert due == list(range(due[0], 320))


def test_a_history_that_has_shrunk_is_searched_anew():
    """As where the models see another part of a long one, or another study's memory was read."""
    assert at(2, searched=40, polished=40).needs_search(39)
    assert at(2, searched=30, polished=40).needs_polish(39)


def test_a_search_on_many_rows_is_made_on_some_and_polished_on_all(starts):
    model = model_of(120)
    before = model.log_posterior
    after = fit(model, None)
    assert starts == [1]
    assert after.searched_at == after.polished_at == 120
    assert model.log_posterior > before + 10.0


def test_the_same_memory_and_rows_give_the_same_fit_bitwise():
    for before in (None, at(21, searched=20, polished=20), at(21, searched=10, polished=20)):
        assert fit(model_of(21), before) == fit(model_of(21), before)


# -- what is remembered -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("warped", [False, True])
def test_json_brings_every_bit_back(warped):
    theta = (0.1, -1 / 3, math.pi * 1e-7, -7.000000000000001)
    before = Remembered(theta, 17, 19, warped)
    assert Remembered.from_json(json.loads(json.dumps(before.to_json()))) == before


def test_a_fit_is_remembered_exactly():
    after = fit(model_of(12), None)
    back = Remembered.from_json(json.loads(json.dumps(after.to_json())))
    model = model_of(12)
    fit(model, back)
    assert tuple(model.hyperparameters) == after.theta


GOOD = Remembered((0.1, 0.2, -3.0), 10, 11).to_json()


@pytest.mark.parametrize(
    "memory",
    [
        None,
        {},
        [],
        "fits",
        7,
        {"state": [0.1, 0.2]},
        {name: value for name, value in GOOD.items() if name != "theta"},
        GOOD | {"theta": None},
        GOOD | {"theta": ["a", "b", "c"]},
        GOOD | {"theta": [0.1, [0.2], -3.0]},
        GOOD | {"theta": [0.1, math.nan, -3.0]},
        GOOD | {"theta": [0.1, math.inf, -3.0]},
        GOOD | {"theta": [0.1, 1e300, -3.0]},
        GOOD | {"theta": [10**400, 0.2, -3.0]},
        GOOD | {"searched_at": "ten"},
        GOOD | {"searched_at": None},
        GOOD | {"searched_at": math.nan},
        GOOD | {"polished_at": math.inf},
    ],
    ids=lambda memory: repr(memory)[:60],
)
def test_what_is_no_memory_is_ignored(memory):
    assert Remembered.from_json(GOOD) is not None
    assert Remembered.from_json(memory) is None


@pytest.mark.parametrize("theta", [(), (0.1,), (0.1,) * 9])
def test_a_memory_of_another_model_is_ignored(theta):
    before = Remembered(theta, 10, 10)
    model, fresh = model_of(10), model_of(10)
    assert not before.fits(model)
    assert fit(model, before) == fit(fresh, None)
