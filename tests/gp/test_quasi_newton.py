"""Batched bounded minimisation."""

import numpy as np
import pytest

from gp.quasi_newton import minimize


def rosenbrock(x):
    a, b = x[:, 1:] - x[:, :-1] ** 2, 1.0 - x[:, :-1]
    gradient = np.zeros_like(x)
    gradient[:, :-1] += -400.0 * a * x[:, :-1] - 2.0 * b
    gradient[:, 1:] += 200.0 * a
    return (100.0 * a**2 + b**2).sum(1), gradient


@pytest.mark.parametrize("d", [2, 5])
def test_finds_the_bottom_of_a_curved_valley_from_every_start(d):
    starts = np.random.default_rng(0).uniform(0.0, 2.0, (6, d))
    x, value = minimize(rosenbrock, starts, np.full(d, -2.0), np.full(d, 2.0), max_evaluations=300)
    assert np.abs(x - 1.0).max() < 1e-3  # decreases below 1e-9 end the search; the valley's floor is that flat
    assert value.max() < 1e-6


def test_a_minimum_outside_the_box_is_met_on_its_wall():
    def bowl(x):
        return ((x - 2.0) ** 2).sum(1), 2.0 * (x - 2.0)

    x, value = minimize(bowl, np.array([[0.2, -3.0]]), np.array([0.0, -5.0]), np.array([1.0, 5.0]))
    assert x[0] == pytest.approx([1.0, 2.0], abs=1e-6)
    assert value[0] == pytest.approx(1.0, abs=1e-9)


def test_a_variable_without_range_stays_where_it_is_in_each_problem():
    starts = np.array([[0.3, 0.9], [0.7, 0.1]])
    lower, upper = starts.copy(), starts.copy()
    lower[:, 0], upper[:, 0] = 0.0, 1.0
    x, _ = minimize(lambda u: (((u - 0.5) ** 2).sum(1), 2.0 * (u - 0.5)), starts, lower, upper)
    assert np.array_equal(x[:, 1], starts[:, 1])
    assert x[:, 0] == pytest.approx([0.5, 0.5], abs=1e-5)


def test_a_problem_does_not_depend_on_its_neighbours_in_the_batch():
    starts = np.random.default_rng(1).uniform(-2.0, 2.0, (4, 3))
    box = np.full(3, -2.0), np.full(3, 2.0)
    together, _ = minimize(rosenbrock, starts, *box, max_evaluations=400)
    alone = [minimize(rosenbrock, start[None], *box, max_evaluations=400)[0][0] for start in starts]
    assert np.abs(together - np.array(alone)).max() < 1e-9


def test_never_returns_worse_than_the_start_where_the_function_breaks_down():
    def cliff(x):
        value = np.where(x[:, 0] > 0.5, np.nan, -x[:, 0])
        return value, np.full_like(x, -1.0)

    x, value = minimize(cliff, np.array([[0.1]]), np.zeros(1), np.ones(1))
    assert 0.1 < x[0, 0] <= 0.5
    assert value[0] == -x[0, 0]


def test_uses_no_more_evaluations_than_allowed():
    calls = []

    def counted(x):
        calls.append(len(x))
        return rosenbrock(x)

    minimize(counted, np.full((3, 4), -1.5), np.full(4, -2.0), np.full(4, 2.0), max_evaluations=7)
    assert len(calls) == 7
