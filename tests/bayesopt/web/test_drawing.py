"""What is drawn: which trials, where, and the best so far."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bayesopt as bo
from bayesopt.web.axes import Axis, axes_of
from bayesopt.web.drawing import LEAST_DRAWN, MOST_DRAWN, Drawing
from bayesopt.web.snapshot import Snapshot
from tests.bayesopt.web.studies import SPACE, long_study, usual_study

LINE = bo.Space({"x": bo.Float(0.0, 1.0)})


def drawn(study):
    snapshot = Snapshot.of(study)
    return snapshot, Drawing(study.space, study.outcomes).draw(snapshot)


def told(values, **options):
    study = bo.Study(LINE, seed=0, strategy=bo.strategies.RandomSearch(), **options)
    for value in values:
        study.tell(study.ask(), value, cost=2.0)
    return study


@pytest.mark.parametrize(("direction", "best"), [("minimize", np.minimum), ("maximize", np.maximum)])
def test_the_best_so_far_is_the_running_best_of_the_feasible_trials(direction, best):
    values = np.random.default_rng(4).normal(size=40)
    sizes = np.random.default_rng(5).random(40)
    outcomes = [{"loss": v, "size": s} for v, s in zip(values.tolist(), sizes.tolist(), strict=True)]
    _, drawing = drawn(told(outcomes, **{direction: "loss"}, subject_to=[bo.AtMost("size", 0.5)]))
    neutral = math.inf if direction == "minimize" else -math.inf
    running = best.accumulate(np.where(sizes <= 0.5, values, neutral))
    steps = drawing["best"]
    at = np.searchsorted(steps["order"], np.arange(1, 41), side="right") - 1
    # seven digits are sent
    expected = running[at >= 0]
    np.testing.assert_allclose(np.array(steps["value"])[at[at >= 0]], expected, rtol=1e-6)
    assert np.isinf(running[at < 0]).all()
    assert steps["spent"] == [2.0 * place for place in steps["order"]]


def test_of_a_long_study_the_best_the_latest_and_a_spread_are_drawn():
    study = long_study(2000)
    study.ask()
    snapshot, drawing = drawn(study)
    ids = set(drawing["trials"]["id"])
    assert len(ids) == len(drawing["trials"]["id"]) == MOST_DRAWN
    assert {snapshot.trials[row].id for row in snapshot.ranked[:140]} <= ids
    assert set(range(1860, 2000)) <= ids
    assert 2000 in ids  # the pending one
    others = np.array(sorted(ids))
    assert np.diff(others).max() < 40  # no gap: 300 or so of 2,000 are spread evenly


def test_of_a_space_with_many_axes_fewer_trials_are_drawn():
    space = bo.Space({f"x{k}": bo.Float(0.0, 1.0) for k in range(400)})
    study = bo.Study(space, minimize="loss", seed=0)
    point = {f"x{k}": 0.5 for k in range(400)}
    for i in range(LEAST_DRAWN + 20):
        study.tell_external(point, float(i))
    assert len(drawn(study)[1]["trials"]["id"]) == LEAST_DRAWN


def test_columns_are_equally_long_and_say_what_the_trials_do():
    study = usual_study()
    snapshot, drawing = drawn(study)
    trials = drawing["trials"]
    n = len(trials["id"])
    assert n == 34
    assert all(len(column) == n for name, column in trials.items() if name != "constraints")
    assert [len(column) for column in trials["constraints"]] == [n]
    for i, number in enumerate(trials["id"]):
        trial = snapshot.trials[number]
        assert trials["kind"][i] == snapshot.kinds[number]
        assert trials["value"][i] == pytest.approx(trial.values["val_loss"], rel=1e-6) if trial.values else True
        there = [axis.name in trial.params for axis in axes_of(SPACE)]
        assert [height is not None for height in trials["heights"][i]] == there
    assert trials["order"].count(None) == trials["kind"].count("pending") == 2


def test_far_outliers_on_the_worse_side_are_off_the_scale_and_good_ones_never():
    values = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1e6]
    low, high = drawn(told(values, minimize="loss"))[1]["range"]
    assert low == 1.0
    assert high == pytest.approx(1.45 + 4 * 0.3)  # quartiles 1.15 and 1.45
    low, high = drawn(told([-v for v in values], minimize="loss"))[1]["range"]
    assert (low, high) == (-1e6, -1.0)


@pytest.mark.parametrize("values", [[1e308, -1e308], [5.0], [2.0, 2.0]], ids=str)
def test_numbers_of_any_size_are_drawn(values):
    low, high = drawn(told(values, minimize="loss"))[1]["range"]
    assert -1e100 <= low <= high <= 1e100
    assert math.isfinite(high - low)


def test_an_empty_study_is_drawn():
    drawing = drawn(told([], minimize="loss"))[1]
    assert drawing["range"] is None
    assert drawing["trials"]["id"] == []


def ticks_of(parameter):
    return Axis("p", None, parameter).ticks()


@given(
    low=st.floats(-1e12, 1e12),
    width=st.floats(1e-6, 1e12),
)
def test_numbers_along_an_even_axis_are_within_it_and_tell_apart(low, width):
    parameter = bo.Float(low, low + max(width, 1e-6 * abs(low)))
    ticks = ticks_of(parameter)
    assert 2 <= len(ticks) <= 7
    heights = [height for height, _ in ticks]
    assert heights == sorted(heights)
    assert heights[0] >= 0.0
    assert heights[-1] <= 1.0
    assert len({text for _, text in ticks}) == len(ticks)


@given(low=st.floats(1e-200, 1e100), factor=st.floats(1.001, 1e100))
def test_numbers_along_a_logarithmic_axis_are_where_they_say(low, factor):
    parameter = bo.Float(low, low * factor, log=True)
    for height, text in ticks_of(parameter):
        place = math.log(float(text) / low) / math.log(factor)
        assert place == pytest.approx(height, abs=0.006 / math.log(factor) + 1e-9)  # the text has three digits


def test_whole_numbers_and_options_stand_in_the_middle_of_their_share():
    assert ticks_of(bo.Int(2, 5)) == [(0.125, "2"), (0.375, "3"), (0.625, "4"), (0.875, "5")]
    assert ticks_of(bo.Choice(["a", None])) == [(0.25, "a"), (0.75, "None")]
    assert len(ticks_of(bo.Choice([f"o{k}" for k in range(100)]))) == 12
    assert ticks_of(bo.Float(3.0, 3.0 + 1e-8))[0][1] != ticks_of(bo.Float(3.0, 3.0 + 1e-8))[-1][1]
