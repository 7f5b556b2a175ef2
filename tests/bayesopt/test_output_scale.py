import math

import mpmath
import numpy as np
import pytest

from bayesopt.output_scale import POWERS, OutputScale, standardised, warped


@pytest.mark.parametrize(
    "values",
    [[1.0], [7.0] * 5, [1e300, -1e300, 0.0, 1.0], [-1e300] + [0.0] * 9, [1e-300, 2e-300, 3e-300], [0.0, 0.0]],
    ids=["one", "equal", "huge", "one terrible", "tiny", "zeros"],
)
def test_any_objective_values_are_standardised_and_warped_to_finite_ones(values):
    z, scale = standardised(np.array(values))
    assert np.isfinite(z).all() and math.isfinite(scale.offset) and 0 < scale.unit < math.inf
    assert np.abs(z).max() <= len(values)
    w, bent = warped(z, scale)
    assert np.isfinite(w).all() and np.isfinite(bent.slope(z)).all()


def test_a_terrible_value_does_not_flatten_the_others():
    z, _ = standardised(np.array([1.0, 2.0, 3.0, 4.0, 5.0, -1e12]))
    assert z[4] - z[0] > 0.5


def test_a_wonderful_value_is_kept_as_it_is():
    values = np.array([1.0, 2.0, 3.0, 4.0, 50.0])
    z, scale = standardised(values)
    assert scale.to_units(z) == pytest.approx(values)


def by_hand(z, power):  # Yeo and Johnson's four cases, in 40 digits
    with mpmath.workdps(40):
        z, power = mpmath.mpf(z), mpmath.mpf(power)
        if z >= 0:
            return float(mpmath.log1p(z) if power == 0 else ((z + 1) ** power - 1) / power)
        return float(-mpmath.log1p(-z) if power == 2 else -((1 - z) ** (2 - power) - 1) / (2 - power))


@pytest.mark.parametrize("power", [-1.0, 0.0, 0.5, 1.0, 1.975, 2.0, 3.0])
def test_the_warp_is_yeo_and_johnsons(power):
    z = np.array([-30.0, -2.0, -1e-9, 0.0, 1e-9, 0.3, 5.0, 30.0])
    expected = [by_hand(value, power) for value in z]
    # 1e-14: a few roundings of numbers of order one
    assert OutputScale(0.0, 1.0, power).warp(z) == pytest.approx(expected, rel=1e-14, abs=1e-14)


@pytest.mark.parametrize("power", [float(p) for p in POWERS[::8]])
def test_to_units_undoes_the_warp_and_its_slope_is_the_derivative(power):
    scale = OutputScale(3.0, 2.0, power, shift=0.4, spread=1.7)
    z = np.linspace(-3.0, 3.0, 25)
    assert scale.to_units(scale.warp(z)) == pytest.approx(3.0 + 2.0 * z, rel=1e-9, abs=1e-9)
    step = 1e-6
    difference = (scale.warp(z + step) - scale.warp(z - step)) / (2 * step)
    assert scale.slope(z) == pytest.approx(difference, rel=1e-4)  # the kink of the second derivative at 0


def test_beyond_what_a_warp_can_reach_the_units_are_infinite():
    scale = OutputScale(0.0, 1.0, -1.0)  # warps everything below 1
    assert scale.to_units(np.array([1.5]))[0] == math.inf


def test_the_warp_makes_a_long_tail_nearly_normal():
    rng = np.random.default_rng(0)
    z, plain = standardised(-np.exp(rng.standard_normal(400)))
    w, scale = warped(z, plain)
    assert scale.power > 1.5  # more than 1 pulls the bad tail in
    assert w.mean() == pytest.approx(0.0, abs=1e-12) and w.std() == pytest.approx(1.0)
    skewness = abs((w**3).mean())
    assert skewness < 0.3 < abs((z**3).mean())  # 0.12 is one standard error of a normal sample's
