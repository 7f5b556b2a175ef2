"""The scales of margins: signs stay, units go, and the way back leads back."""

import numpy as np
import pytest

from bayesopt.margin_scale import MarginScale

MARGINS = np.array([-3.0, -1.0, 0.0, 0.5, 1e4])


@pytest.mark.parametrize(
    "scale", [MarginScale.of(MARGINS), MarginScale.of(MARGINS).curved()], ids=["straight", "curved"]
)
def test_margins_keep_their_sign_and_forget_their_unit(scale):
    assert scale.typical == 2.0  # the median size of the four that are not 0
    scaled, slope = scale.apply(MARGINS)
    assert np.array_equal(np.sign(scaled), np.sign(MARGINS))
    larger = MarginScale(MarginScale.of(1e9 * MARGINS).typical, scale.is_curved)
    assert scaled == pytest.approx(larger.apply(1e9 * MARGINS)[0])
    assert scale.to_units(scaled) == pytest.approx(MARGINS, rel=1e-12)
    step = 1e-6  # central differences err by rounding, 1e-16 of 1e4 over the step, and by the curvature times step²
    up, down = (scale.apply(MARGINS + move)[0] for move in (step, -step))
    assert slope == pytest.approx((up - down) / (2 * step), rel=1e-3)


def test_only_the_curve_pulls_far_margins_in():
    plain = MarginScale(2.0)
    assert plain.apply(np.array([2e4]))[0] == pytest.approx(1e4)
    assert plain.curved().apply(np.array([2e4]))[0] == pytest.approx(np.log(10001.0))


def test_margins_of_every_size_stay_finite():
    assert MarginScale.of(np.zeros(3)).typical == 1.0
    for scale in (MarginScale.of(np.array([1e-308])), MarginScale.of(np.array([1e-308])).curved()):
        for part in scale.apply(np.array([1e308, -1e308, 0.0])):
            assert np.isfinite(part).all()
