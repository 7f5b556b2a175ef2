"""The loop's scalar terms against arithmetic with sixty digits, the functions for autograd, and finite differences."""

import itertools
import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bayesopt.acquisition import primitives
from bayesopt.acquisition.loop_terms import log_emax_gain, log_h_and_slope, log_ndtr_and_slope

ROUNDING = 1e-12
"""Relative error allowed: a few thousand roundings of 2e-16, the worst being 1 - x erfcx(x) next to the series."""

EVERYWHERE = st.one_of(
    st.floats(-1e8, 1e8), st.floats(-50.0, 40.0), st.floats(-31.0, -29.0), st.floats(29.0, 31.0), st.floats(-2.0, 0.5)
)


def exact_log_cdf(u):
    """log Phi, by the complementary error function: mpmath keeps its exponent apart, so nothing underflows."""
    return mpmath.log(mpmath.erfc(-mpmath.mpf(u) / mpmath.sqrt(2)) / 2)


def exact_log_h(u):
    u = mpmath.mpf(u)
    log_phi = -u * u / 2 - mpmath.log(2 * mpmath.pi) / 2
    if u < -1e4:  # three terms of the asymptotic series leave 1e-24
        return log_phi - 2 * mpmath.log(-u) + mpmath.log(1 - 3 / u**2 + 15 / u**4 - 105 / u**6)
    return mpmath.log(mpmath.exp(log_phi) + u * mpmath.exp(exact_log_cdf(u)))


def exact_gain(a, b):
    """Log of the sum of `(b_next - b_i) h(-|z|)` over the upper envelope, found by trying every line at every kink."""
    a, b = ([mpmath.mpf(float(x)) for x in line] for line in (a, b))
    kinks = {(a[i] - a[j]) / (b[j] - b[i]) for i, j in itertools.combinations(range(len(a)), 2) if b[i] != b[j]}
    total = mpmath.mpf(0)
    for z in kinks:
        heights = [p + q * z for p, q in zip(a, b, strict=True)]
        touching = [q for q, height in zip(b, heights, strict=True) if height >= max(heights) - mpmath.mpf(10) ** -45]
        if max(touching) > min(touching):
            total += (max(touching) - min(touching)) * mpmath.exp(exact_log_h(-abs(z)))
    return mpmath.log(total) if total else -mpmath.inf


def close(got, exact, tolerance=ROUNDING):
    return abs(got - exact) <= tolerance * max(abs(exact), 1e-300)


def differences(function, x, step):
    """Central differences of a scalar function of one array."""
    slopes = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        slopes[index] = (function(up) - function(down)) / (2 * step)
    return slopes


# -- log h and log Phi ------------------------------------------------------------------------------------------------


@given(EVERYWHERE)
def test_log_h_and_its_slope_are_exact_everywhere(u):
    value, slope = map(float, log_h_and_slope(np.array(u)))
    with mpmath.workdps(60):
        exact = exact_log_h(u)
        # At u = 0.276 log h crosses 0, where only the absolute error means something.
        assert abs(value - exact) <= ROUNDING * max(abs(exact), 1.0)
        if u > -1e4:
            assert close(slope, mpmath.exp(exact_log_cdf(u) - exact))
        else:
            assert close(slope, -mpmath.mpf(u) - 2 / mpmath.mpf(u) + 6 / mpmath.mpf(u) ** 3)


@given(EVERYWHERE)
def test_log_ndtr_and_its_slope_are_exact_everywhere(u):
    value, slope = map(float, log_ndtr_and_slope(np.array(u)))
    with mpmath.workdps(60):
        if u > -1e4:
            exact = exact_log_cdf(u)
            # Where Phi rounds to 1, its log is the upper tail, which may be below the smallest double.
            assert close(value, exact) or abs(exact) < 1e-15
            inverse_mills = mpmath.exp(-(mpmath.mpf(u) ** 2) / 2 - mpmath.log(2 * mpmath.pi) / 2 - exact)
        else:
            inverse_mills = -mpmath.mpf(u) - 1 / mpmath.mpf(u)
        assert close(slope, inverse_mills) or inverse_mills < 1e-300


@pytest.mark.parametrize("function", [log_h_and_slope, log_ndtr_and_slope], ids=lambda f: f.__name__)
def test_each_element_of_an_array_is_what_it_is_alone(function):
    u = np.array([[-1e300, -1e9, -30.0, -1.0], [0.0, 0.5, 30.5, 1e300]])
    together = function(u)
    for index in np.ndindex(u.shape):
        for whole, alone in zip(together, function(u[index]), strict=True):
            assert whole[index] == alone


@pytest.mark.parametrize("function", [log_h_and_slope, log_ndtr_and_slope], ids=lambda f: f.__name__)
def test_no_argument_raises_a_warning_or_gives_a_value_that_is_not_a_number(function):
    u = np.array([-np.inf, -1e308, -1e154, -1e20, 1e20, 1e154, 1e308, np.inf])
    value, slope = function(u)
    assert not np.isnan(value).any() and not np.isnan(slope).any()
    assert (value[1:] >= value[:-1]).all()
    assert all(np.isnan(part) for part in function(np.array(np.nan)))


def test_they_agree_with_the_functions_for_autograd():
    u = np.concatenate([np.linspace(-40.0, 8.0, 500), [-1e6, -1e3, 50.0]])
    t = torch.as_tensor(u)
    for ours, value, slope in (
        (log_h_and_slope, primitives.log_h, primitives.log_h_slope),
        (log_ndtr_and_slope, primitives.log_ndtr, primitives.log_ndtr_slope),
    ):
        assert ours(u)[0] == pytest.approx(value(t).numpy(), rel=ROUNDING, abs=ROUNDING)
        assert ours(u)[1] == pytest.approx(slope(t).numpy(), rel=ROUNDING)


# -- the best of several lines ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [0.0, 0.3, 5.0, 40.0, 1000.0])
@pytest.mark.parametrize("slope", [1e-3, 1.0, 50.0])
def test_the_gain_of_two_lines_is_an_expected_improvement(distance, slope):
    gain = log_emax_gain(np.array([0.0, -distance]), np.array([0.0, slope])).value
    expected = math.log(slope) + log_h_and_slope(np.array(-distance / slope))[0]
    assert gain == pytest.approx(expected, rel=1e-14)


LINES = st.lists(
    st.tuples(st.sampled_from([-3.0, -1.0, 0.0, 0.5, 2.0]), st.sampled_from([-2.0, -0.5, 0.0, 1.0, 1.5])),
    min_size=1,
    max_size=7,
)
"""Few values, so that parallel, equal and concurrent lines are common."""


@given(LINES)
def test_the_gain_is_exact_also_where_lines_are_parallel_equal_or_concurrent(lines):
    a, b = np.array(lines).T
    value = float(log_emax_gain(a, b).value)
    with mpmath.workdps(60):
        exact = exact_gain(a, b)
    assert value == exact == -math.inf or close(value, exact) or abs(value - exact) < ROUNDING


@given(st.integers(0, 10_000))
def test_lines_through_one_point_up_to_rounding_count_as_the_two_outermost(seed):
    rng = np.random.default_rng(seed)
    b, z = rng.standard_normal(rng.integers(3, 9)), 2.0 * rng.standard_normal()
    a = rng.standard_normal() - b * z
    expected = math.log(b.max() - b.min()) + log_h_and_slope(np.array(-abs(z)))[0]
    gain = log_emax_gain(a, b)
    assert gain.value == pytest.approx(expected, abs=1e-9)  # lines apart by 1e-16 near the crossing
    inner = np.sort(np.argsort(b)[1:-1])
    # What an inner line gains where rounding makes it best it loses at once to the next.
    assert gain.gradients()[0][inner] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("n_lines", [2, 5, 40])
def test_the_gain_agrees_with_draws_within_four_standard_errors(n_lines):
    rng = np.random.default_rng(n_lines)
    a, b = rng.standard_normal((2, n_lines))
    gains = (a + b * rng.standard_normal((50_000, 1))).max(1) - a.max()
    error = gains.std() / math.sqrt(len(gains))
    assert abs(math.exp(log_emax_gain(a, b).value) - gains.mean()) < 4 * error


def test_the_gain_of_many_lines_agrees_with_quadrature():
    a, b = np.random.default_rng(0).standard_normal((2, 120))
    z = np.linspace(-12.0, 12.0, 200_001)
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    exact = np.trapezoid((a[:, None] + b[:, None] * z).max(0) * density, z) - a.max()
    # Trapezoids of width 1e-4 over kinks of slope up to 5: 1e-8.
    assert math.exp(log_emax_gain(a, b).value) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([2.0], [3.0]),
        ([3.0, 1.0, 0.0], [1.0, 1.0, 1.0]),
        ([1.0, 1.0, 1.0], [0.5, 0.5, 0.5]),
        ([5.0, 5.0], [0.0, 0.0]),
    ],
    ids=["one line", "parallel lines", "equal lines", "flat lines"],
)
def test_where_one_line_is_best_everywhere_nothing_is_gained(a, b):
    gain = log_emax_gain(np.array(a), np.array(b))
    assert gain.value == -math.inf
    for part in gain.gradients():
        assert part.tolist() == [0.0] * len(a)


def test_lines_of_equal_height_gain_by_their_outermost_slopes_alone():
    """As for a constant outcome: every mean is the same, and rounding must not pick a line in between."""
    gain = log_emax_gain(np.zeros(4), np.array([0.1, 0.3, 0.2, 0.9]))
    density = 1 / math.sqrt(2 * math.pi)
    assert gain.value == pytest.approx(math.log(0.8 * density), rel=1e-14)
    assert gain.gradients()[1] == pytest.approx(np.array([-1.25, 0.0, 0.0, 1.25]), rel=1e-14)


def test_the_order_of_lines_and_lines_never_best_and_equal_lines_change_nothing():
    a, b = np.array([0.0, -0.5, 0.2, -9.0]), np.array([0.0, 1.0, -0.7, 0.1])
    gain = log_emax_gain(a, b).value
    shuffled = np.array([2, 0, 3, 1])
    assert log_emax_gain(a[shuffled], b[shuffled]).value == gain
    assert log_emax_gain(a[:3], b[:3]).value == gain
    assert log_emax_gain(np.tile(a, 2), np.tile(b, 2)).value == gain


def test_the_gradient_of_the_gain_agrees_with_finite_differences():
    a, b = np.random.default_rng(1).standard_normal((2, 6, 5))
    along_a, along_b = log_emax_gain(a, b).gradients()
    for row in range(6):
        by_a = differences(lambda x, row=row: float(log_emax_gain(x, b[row]).value), a[row], 1e-6)
        by_b = differences(lambda x, row=row: float(log_emax_gain(a[row], x).value), b[row], 1e-6)
        assert along_a[row] == pytest.approx(by_a, abs=1e-7)
        assert along_b[row] == pytest.approx(by_b, abs=1e-7)


def test_a_tiny_gain_keeps_its_digits_and_its_gradient():
    gain = log_emax_gain(np.array([0.0, -300.0]), np.array([0.0, 10.0]))
    log_h, slope = log_h_and_slope(np.array(-30.0))
    assert gain.value == pytest.approx(math.log(10.0) + log_h, rel=1e-14)
    assert gain.gradients()[0] == pytest.approx(np.array([-1.0, 1.0]) * slope / 10.0, rel=1e-12)


def test_stacks_of_lines_are_what_each_is_alone_however_many():
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((40, 3, 90)), rng.standard_normal((40, 1, 90))  # too many pairs for one go
    together = log_emax_gain(a, b)
    gradients = together.gradients()
    assert together.value.shape == (40, 3)
    assert gradients[0].shape == gradients[1].shape == (40, 3, 90)
    for i, j in ((0, 0), (17, 2), (39, 1)):
        alone = log_emax_gain(a[i, j], b[i, 0])
        assert together.value[i, j] == alone.value
        for whole, part in zip(gradients, alone.gradients(), strict=True):
            assert whole[i, j] == pytest.approx(part, abs=1e-14)


@pytest.mark.parametrize("size", [1e-300, 1e-17, 1.0, 1e17, 1e150])
def test_lines_of_any_size_and_nearly_parallel_ones_raise_no_warning(size):
    rng = np.random.default_rng(4)
    a, b = size * rng.standard_normal((2, 50, 5))
    b[:, 1] = np.nextafter(b[:, 0], np.inf)
    gain = log_emax_gain(a, b)
    assert not np.isnan(gain.value).any()
    assert all(np.isfinite(part).all() for part in gain.gradients())
