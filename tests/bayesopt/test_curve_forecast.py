import numpy as np
import pytest

import bayesopt as bo
from bayesopt.curve_forecast import MOST_STEPS, CurveForecast, log_gain, on_grid
from bayesopt.record.curves import Run

pytestmark = pytest.mark.usefixtures("one_thread")

SPACE = bo.Space({"x": bo.Float(0.0, 1.0)})
STEPS = (1, 2, 4, 8, 16)


def value(x, step):
    """A smooth family of curves that rise towards an end of their own."""
    return 1.0 - (x - 0.6) ** 2 - 0.5 / np.sqrt(step)


def run(x, until=16):
    return Run({"x": x}, {step: value(x, step) for step in STEPS if step <= until})


@pytest.fixture(scope="module")
def forecast():
    return CurveForecast.fit(SPACE, [run(x) for x in np.linspace(0.0, 1.0, 9)], 16)


def test_the_end_of_a_run_that_did_not_begin_is_read_off_its_neighbours(forecast):
    x = np.array([0.19, 0.56, 0.81])
    mean, sd = forecast.last([{"x": one} for one in x])
    # Nine curves of a parabola: between them the model errs by much less than their spread, 0.36, and knows it.
    assert np.abs(mean - value(x, 16)).max() < 0.01
    assert (np.abs(mean - value(x, 16)) < 4.0 * sd).all()


def test_a_run_that_was_seen_is_known_better_and_one_that_is_above_its_neighbours_ends_above_them(forecast):
    x = 0.31
    above = Run({"x": x}, {step: value(x, step) + 0.05 for step in (1, 2, 4)})
    (before,), (sd_before,) = forecast.last([{"x": x}])
    (mean,), (sd,) = forecast.after(above).last([{"x": x}])
    assert sd < sd_before + 1e-9 or mean > before
    assert mean > before + 0.01


def test_a_run_that_is_there_already_continues_its_curve(forecast):
    begun = forecast.after(run(0.31, until=2))
    longer = begun.after(run(0.31, until=8))
    assert longer.model.Y.shape == begun.model.Y.shape == (10, len(STEPS))
    assert np.isfinite(longer.model.Y[-1].numpy()).sum() == 4


def test_a_run_without_a_usable_value_changes_nothing(forecast):
    assert forecast.after(Run({"x": 0.31}, {1: np.nan, 2: -np.inf})) is forecast


def test_the_gain_of_a_certain_value_is_how_much_it_is_above_the_best():
    assert log_gain(np.array([2.0]), np.array([1e-9]), 1.5) == pytest.approx(np.log(0.5), abs=1e-9)


def test_between_two_steps_of_the_grid_the_last_finite_value_counts():
    curve = {1.0: 0.1, 2.0: 0.2, 3.0: 0.3, 5.0: np.nan, 9.0: 0.9}
    np.testing.assert_array_equal(on_grid(curve, np.array([1.0, 4.0, 6.0])), [0.1, 0.3, np.nan])


def test_of_many_steps_few_are_kept_and_the_first_and_the_last_among_them():
    runs = [Run({"x": x}, {step: value(x, step) for step in range(1, 201)}) for x in (0.1, 0.5, 0.9)]
    steps = CurveForecast.fit(SPACE, runs, 200).steps
    assert len(steps) <= MOST_STEPS
    assert (steps[0], steps[-1]) == (1, 200)
    assert (np.diff(steps) > 0).all()


def test_steps_may_begin_at_zero():
    runs = [Run({"x": x}, {step: value(x, step + 1) for step in range(4)}) for x in (0.1, 0.5, 0.9)]
    mean, _ = CurveForecast.fit(SPACE, runs, 3).last([{"x": 0.5}])
    assert mean[0] == pytest.approx(value(0.5, 4), abs=0.02)


def test_the_same_runs_give_the_same_forecast(forecast):
    again = CurveForecast.fit(SPACE, [run(x) for x in np.linspace(0.0, 1.0, 9)], 16)
    np.testing.assert_array_equal(again.last([{"x": 0.3}]), forecast.last([{"x": 0.3}]))
