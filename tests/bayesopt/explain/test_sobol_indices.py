"""Sobol indices: against closed forms."""

import math

import numpy as np
import pytest

from bayesopt.explain.sobol_indices import sobol_indices


def ishigami(U):
    x = math.pi * (2.0 * U - 1.0)
    return np.sin(x[:, 0]) + 7.0 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])


# Ishigami and Homma 1990: with a = 7, b = 0.1 the parts of the variance are
A, B = 7.0, 0.1
V1 = 0.5 * (1.0 + B * math.pi**4 / 5.0) ** 2
V2 = A**2 / 8.0
V13 = 8.0 * B**2 * math.pi**8 / 225.0
V = V1 + V2 + V13


def within(found, error, exact):
    """Four standard errors, each of which is itself known to a quarter of it or so, from 8 sequences."""
    return np.abs(found - exact) <= 4.0 * error * 1.5 + 1e-12


def test_the_indices_of_ishigamis_function_are_the_published_ones():
    found = sobol_indices(ishigami, [[0], [1], [2]], 3, seed=1)
    assert within(found.first, found.first_error, np.array([V1, V2, 0.0]) / V).all()
    assert within(found.total, found.total_error, np.array([V1 + V13, V2, V13]) / V).all()
    assert max(found.first_error.max(), found.total_error.max()) < 0.02
    # 8192 points of a net: far better than 1 / sqrt(8192) of the function's spread
    assert found.variance == pytest.approx(V, rel=0.01)


def test_a_group_of_variables_counts_as_one():
    # f = x0 x1 + x2 of independent uniforms: var(x0 x1) = 1/9 - 1/16, var(x2) = 1/12
    found = sobol_indices(lambda U: U[:, 0] * U[:, 1] + U[:, 2], [[0, 1], [2]], 3, seed=1)
    exact = np.array([1 / 9 - 1 / 16, 1 / 12]) / (1 / 9 - 1 / 16 + 1 / 12)
    assert within(found.first, found.first_error, exact).all()
    assert within(found.total, found.total_error, exact).all()


def test_the_stated_error_is_that_of_repeated_estimates():
    runs = [sobol_indices(ishigami, [[0], [1], [2]], 3, seed=k, n_points=64) for k in range(40)]
    first = np.array([run.first for run in runs])
    spread, stated = first.std(0), np.mean([run.first_error for run in runs], axis=0)
    # a standard deviation of 40 numbers is known to 11 %, the mean of 40 stated ones to 4 %: 50 % is four of both
    np.testing.assert_allclose(stated, spread, rtol=0.5)
    bias = first.mean(0) - np.array([V1, V2, 0.0]) / V
    # a ratio of estimates is biased by about its variance, less than 0.01 here
    assert (np.abs(bias) <= 4.0 * spread / math.sqrt(40) + 0.01).all()


@pytest.mark.parametrize("value", [0.0, 3.7, 1e100])
def test_what_is_constant_is_explained_by_nothing(value):
    found = sobol_indices(lambda U: np.full(len(U), value), [[0], [1]], 2, seed=0)
    assert not found.first.any()
    assert not found.total.any()


def test_the_same_seed_gives_the_same_indices_and_another_one_others():
    one, again, other = (sobol_indices(ishigami, [[0]], 3, seed=k, n_points=64) for k in (1, 1, 2))
    assert one.first == again.first
    assert one.first != other.first
