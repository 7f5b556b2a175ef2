"""What the models are shown of a long history."""

import dataclasses

import numpy as np

from bayesopt.long_history import MAX_EXACT, shortened
from bayesopt.problem.parameters import Float
from bayesopt.problem.space import Space

SQUARE = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
LONG = MAX_EXACT + 200


def points(n, seed=0):
    return np.random.default_rng(seed).random((n, 2))


def short_of(history):
    return shortened(history, history.X, history.failed)


def test_a_short_history_is_shown_whole(make_history):
    X = points(MAX_EXACT)
    history = make_history(SQUARE, X, X[:, 0], failed=points(20, 1))
    short, rows = short_of(history)
    assert short is history
    assert np.array_equal(rows, np.arange(MAX_EXACT))


def test_a_long_one_keeps_its_best_trials_and_covers_the_space(make_history):
    X = points(LONG)
    X[0] = [0.0, 1.5]  # alone, far from all others
    y = -np.square(X - 0.3).sum(1)
    short, rows = short_of(make_history(SQUARE, X, y))
    assert len(rows) == len(short.X) == MAX_EXACT
    assert (np.diff(rows) > 0).all()
    best = np.argsort(-y)
    assert set(best[: MAX_EXACT // 4]) <= set(rows)
    assert 0 in rows
    left_out = np.setdiff1d(np.arange(LONG), rows)
    distance = np.linalg.norm(X[left_out, None] - X[None, rows], axis=2).min(1)
    assert distance.max() < 0.1  # a hundred spread points leave no larger hole in the square


def test_every_field_is_that_of_the_rows_that_are_kept(make_history):
    X, rng = points(LONG), np.random.default_rng(1)
    history = make_history(
        SQUARE,
        X,
        rng.random(LONG),
        ids=3 * np.arange(LONG),
        objective_sd=rng.random(LONG),
        constraints=rng.standard_normal((LONG, 2)),
        constraints_sd=rng.random((LONG, 2)),
        costs=rng.random(LONG),
        pending=points(3, 2),
    )
    short, rows = short_of(history)
    for name in ("ids", "X", "objective", "objective_sd", "constraints", "constraints_sd", "costs"):
        assert np.array_equal(getattr(short, name), getattr(history, name)[rows])
    untouched = {"pending", "space", "outcomes", "n_asked", "seed", "noise", "priors", "device", "memory"}
    for field in dataclasses.fields(history):
        if field.name in untouched:
            assert getattr(short, field.name) is getattr(history, field.name)


def test_feasible_trials_come_before_better_infeasible_ones_and_those_at_the_boundary_stay(make_history):
    X = points(LONG)
    margin = X[:, :1] - 0.2  # a fifth is feasible, and the infeasible are better
    short, rows = short_of(make_history(SQUARE, X, X[:, 0], constraints=margin))
    feasible = np.flatnonzero(margin[:, 0] <= 0)
    assert len(feasible) < MAX_EXACT // 2
    assert set(feasible) <= set(rows)
    nearest = np.argsort(np.abs(margin[:, 0]))[: MAX_EXACT // 8]
    assert set(nearest) <= set(rows)
    assert (short.X[:, 0] > 0.8).any()


def test_constraints_that_were_not_measured_are_no_obstacle(make_history):
    X = points(LONG)
    margin = np.where(np.arange(LONG)[:, None] % 2, np.nan, X[:, :1] - 0.5)
    short, rows = short_of(make_history(SQUARE, X, X[:, 0], constraints=margin))
    assert len(np.unique(rows)) == len(short.X) == MAX_EXACT


def test_of_many_failures_those_are_kept_that_cover_the_space(make_history):
    failed = np.vstack([np.tile([[0.5, 0.5]], (LONG, 1)), [[0.0, 0.0]], [[1.0, 1.0]]])
    history = make_history(SQUARE, points(10), np.arange(10.0), failed=failed)
    short, rows = short_of(history)
    assert np.array_equal(rows, np.arange(10))
    assert len(short.failed) < MAX_EXACT
    assert len(np.unique(short.failed, axis=0)) == 3


def test_no_trial_is_shown_twice_where_many_lie_at_few_places(make_history):
    X = np.repeat(points(3), LONG // 3, axis=0)
    _, rows = short_of(make_history(SQUARE, X, np.arange(len(X), dtype=float)))
    assert len(np.unique(rows)) == MAX_EXACT


def test_many_features_shorten_a_history_further(make_history):
    X = points(MAX_EXACT)
    Z = np.random.default_rng(0).random((MAX_EXACT, 2_000))
    short, rows = shortened(make_history(SQUARE, X, X[:, 0]), Z, np.zeros((0, 2_000)))
    assert len(rows) == len(short.X) < MAX_EXACT
    assert int(np.argmax(X[:, 0])) in rows


def test_the_same_history_is_shortened_alike(make_history):
    X = points(LONG)
    (_, first), (_, second) = (short_of(make_history(SQUARE, X, X[:, 0])) for _ in range(2))
    assert np.array_equal(first, second)
