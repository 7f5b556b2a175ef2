"""The scalar functions against arithmetic with sixty digits."""

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bayesopt.acquisition.primitives import (
    inv_log_h,
    log1mexp,
    log_h,
    log_h_slope,
    log_ndtr,
    log_ndtr_slope,
)

ROUNDING = 1e-12
"""Relative error allowed: a few thousand roundings of 2e-16, the worst being 1 - x erfcx(x) next to the series."""


def tensor(value):
    return torch.tensor(value, dtype=torch.float64)


def value_and_gradient(function, x):
    t = tensor(x).requires_grad_(True)
    value = function(t)
    value.backward()
    return value.item(), t.grad.item()


def exact_log_cdf(u):
    """log Phi, by the complementary error function: mpmath keeps its exponent apart, so nothing underflows."""
    return mpmath.log(mpmath.erfc(-mpmath.mpf(u) / mpmath.sqrt(2)) / 2)


def exact_log_h(u):
    u = mpmath.mpf(u)
    log_phi = -u * u / 2 - mpmath.log(2 * mpmath.pi) / 2
    if u < -1e4:  # three terms of the asymptotic series leave 1e-24
        return log_phi - 2 * mpmath.log(-u) + mpmath.log(1 - 3 / u**2 + 15 / u**4 - 105 / u**6)
    return log_phi + mpmath.log(1 + u * mpmath.exp(exact_log_cdf(u) - log_phi))


def close(got, exact, tolerance=ROUNDING):
    return abs(got - exact) <= tolerance * max(abs(exact), 1e-300)


@given(st.one_of(st.floats(-1e8, 1e8), st.floats(-50.0, 10.0), st.floats(-31.0, -29.0), st.floats(-1.01, -0.99)))
def test_log_h_and_its_slope_are_exact_everywhere(u):
    with mpmath.workdps(60):
        exact = exact_log_h(u)
        value, slope = value_and_gradient(log_h, u)
        # At u = 0.276 log h crosses 0, where only the absolute error means something.
        assert abs(value - exact) <= ROUNDING * max(abs(exact), 1.0)
        if u > -1e4:
            assert close(slope, mpmath.exp(exact_log_cdf(u) - exact))
        else:
            assert close(slope, -mpmath.mpf(u) - 2 / mpmath.mpf(u) + 6 / mpmath.mpf(u) ** 3)


@pytest.mark.parametrize(
    ("u", "expected"), [(0.0, -0.918938533), (-5.0, -16.7443), (-40.0, -808.2986), (-1e4, -5.0000019e7)]
)
def test_log_h_at_tabulated_points(u, expected):
    assert log_h(tensor(u)).item() == pytest.approx(expected, rel=1e-6)  # the table's digits


@pytest.mark.parametrize(("u", "expected"), [(0.0, 1.2533), (-40.0, 40.0499)])
def test_the_slope_of_log_h_at_tabulated_points(u, expected):
    assert log_h_slope(tensor(u)).item() == pytest.approx(expected, rel=2e-5)  # the table's digits


@given(st.one_of(st.floats(-1e12, 700.0), st.floats(-1e4, 3.0)))
def test_inv_log_h_undoes_log_h(t):
    u, slope = value_and_gradient(inv_log_h, t)
    assert abs(log_h(tensor(u)).item() - t) <= 1e-12 * max(1.0, abs(t))
    assert close(slope * log_h_slope(tensor(u)).item(), 1.0)


@given(st.one_of(st.floats(-1e8, 1e8), st.floats(-40.0, 10.0)))
def test_log_ndtr_and_its_slope_are_exact_everywhere(u):
    value, slope = value_and_gradient(log_ndtr, u)
    with mpmath.workdps(60):
        if u > -1e4:
            exact = exact_log_cdf(u)
            # Where Phi rounds to 1, its log is the upper tail, which may be below the smallest double.
            assert close(value, exact) or abs(exact) < 1e-15
            inverse_mills = mpmath.exp(-(mpmath.mpf(u) ** 2) / 2 - mpmath.log(2 * mpmath.pi) / 2 - exact)
        else:
            inverse_mills = -mpmath.mpf(u) - 1 / mpmath.mpf(u)
        assert close(slope, inverse_mills) or inverse_mills < 1e-300


@given(st.one_of(st.floats(-700.0, -1e-300), st.floats(-1.0, -1e-3)))
def test_log1mexp_is_exact_for_every_negative_number(x):
    value, slope = value_and_gradient(log1mexp, x)
    with mpmath.workdps(400):
        exact = mpmath.log(1 - mpmath.exp(mpmath.mpf(x)))
        assert close(value, exact)
        assert close(slope, 1 / (1 - mpmath.exp(-mpmath.mpf(x))))


@pytest.mark.parametrize("function", [log_h, inv_log_h, log_ndtr], ids=lambda f: f.__name__)
def test_autograd_agrees_with_finite_differences(function):
    assert torch.autograd.gradcheck(function, torch.linspace(-4.0, 2.0, 13, dtype=torch.float64, requires_grad=True))


def test_extreme_arguments_stay_finite():
    u = tensor([-1e150, -1e100, 1e100, 1e150])
    for function in (log_h, log_h_slope, log_ndtr, log_ndtr_slope):
        assert torch.isfinite(function(u)).all(), function.__name__
