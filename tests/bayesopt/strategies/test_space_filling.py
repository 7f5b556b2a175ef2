"""Sobol and random search: coverage, constraints, repetition, and what they depend on."""

import numpy as np
import pytest

from bayesopt.problem.parameters import Choice, Float, Int, Simplex
from bayesopt.problem.space import LinearConstraint, Space
from bayesopt.strategies import RandomSearch, SobolSearch

CUBE = Space({f"x{i}": Float(0.0, 1.0) for i in range(3)})
MIXED = Space({"x": Float(1e-4, 1.0, log=True), "k": Int(1, 9), "c": Choice(["a", "b"]), "m": Simplex(["p", "q", "r"])})
BOTH = pytest.mark.parametrize("strategy", [RandomSearch(), SobolSearch()], ids=lambda s: type(s).__name__)


def encoded(space, suggestions):
    return np.array([space.encode(params) for params in suggestions])


@BOTH
@pytest.mark.parametrize("space", [CUBE, MIXED], ids=["cube", "mixed"])
def test_suggests_as_many_different_configurations_as_asked(make_history, strategy, space):
    suggestions = strategy.suggest(make_history(space), 20, np.random.default_rng(0))
    assert len(suggestions) == 20
    assert len(np.unique(encoded(space, suggestions), axis=0)) == 20
    assert all(space.validate(params) == params for params in suggestions)


@BOTH
def test_a_finite_space_is_exhausted_and_then_nothing_is_suggested(make_history, strategy):
    space = Space({"k": Int(1, 3), "c": Choice(["a", "b"])})
    suggestions = strategy.suggest(make_history(space), 10, np.random.default_rng(0))
    assert len(suggestions) == 6
    told = make_history(space, encoded(space, suggestions), np.zeros(6))
    assert strategy.suggest(told, 1, np.random.default_rng(1)) == []


@BOTH
def test_a_small_allowed_region_is_found(make_history, strategy):
    space = Space(
        {"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)}, constraints=[LinearConstraint({"x": 1.0, "y": 1.0}, upper=0.05)]
    )
    suggestions = strategy.suggest(make_history(space), 5, np.random.default_rng(0))
    assert len(suggestions) == 5
    assert all(params["x"] + params["y"] <= 0.05 for params in suggestions)


def test_sobol_points_do_not_depend_on_how_many_are_asked_at_once(make_history):
    together = SobolSearch().suggest(make_history(CUBE), 5, np.random.default_rng(0))
    alone = []
    for k in range(5):
        history = make_history(CUBE, encoded(CUBE, alone), np.zeros(k))
        alone += SobolSearch().suggest(history, 1, np.random.default_rng(k))
    assert alone == together


def test_sobol_points_change_with_the_seed_of_the_study(make_history):
    first, second = (SobolSearch().suggest(make_history(CUBE, seed=s), 1, np.random.default_rng(0)) for s in (0, 1))
    assert first != second


def test_sixteen_sobol_points_put_one_in_each_sixteenth_of_every_range(make_history):
    U = encoded(CUBE, SobolSearch().suggest(make_history(CUBE), 16, np.random.default_rng(0)))
    for column in U.T:
        assert sorted((column * 16).astype(int)) == list(range(16))


def test_random_search_is_uniform_within_four_standard_errors(make_history):
    U = encoded(CUBE, RandomSearch().suggest(make_history(CUBE), 400, np.random.default_rng(0)))
    assert np.abs(U.mean(0) - 0.5).max() < 4 * np.sqrt(1 / 12 / 400)
