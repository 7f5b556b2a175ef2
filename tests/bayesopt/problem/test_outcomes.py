import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesopt.errors import InvalidOutcomeError
from bayesopt.problem.outcomes import AtLeast, AtMost, Objective, Outcomes

names = st.text(min_size=1).filter(str.strip)
bounds = st.floats(allow_nan=False, allow_infinity=False)


def test_a_margin_is_at_most_zero_exactly_where_the_bound_holds():
    assert AtMost("memory", 24.0).margin(18.0) == -6.0
    assert AtLeast("accuracy", 0.75).margin(1.0) == -0.25
    assert AtMost("memory", 24.0).margin(24.0) == AtLeast("accuracy", 0.75).margin(0.75) == 0.0
    assert AtMost("memory", 24.0).margin(25.0) > 0 < AtLeast("accuracy", 0.75).margin(0.5)


def test_a_constraint_may_hold_on_the_objective_itself():
    outcomes = Outcomes(Objective("loss"), (AtMost("loss", 2.0), AtLeast("loss", 1.0)))
    assert outcomes.names == ("loss",)
    assert outcomes.parse(1.5) == {"loss": 1.5}
    assert outcomes.margins({"loss": 1.5}) == [-0.5, -0.5]


def test_one_outcome_may_have_two_sides():
    outcomes = Outcomes(Objective("loss"), (AtMost("t", 2.0), AtLeast("t", 1.0)))
    assert outcomes.names == ("loss", "t")


def test_parsing_keeps_what_else_was_told_after_what_was_declared():
    outcomes = Outcomes(Objective("loss"), (AtMost("memory", 1.0),))
    parsed = outcomes.parse({"epochs": np.int64(3), "memory": None, "note": math.nan, "loss": np.float32(0.5)})
    assert list(parsed) == ["loss", "memory", "epochs", "note"]
    assert parsed["memory"] is None
    assert all(type(value) is float for name, value in parsed.items() if name != "memory")


def test_an_unknown_outcome_has_an_unknown_margin():
    outcomes = Outcomes(Objective("loss"), (AtMost("memory", 1.0), AtLeast("accuracy", 0.5)))
    assert np.isnan(outcomes.margins({"loss": 1.0, "memory": None})).tolist() == [True, True]


def test_the_sign_turns_the_better_value_into_the_larger_one():
    assert Objective("loss").sign == -1.0
    assert Objective("accuracy", "maximize").sign == 1.0


@given(name=names, bound=bounds, direction=st.sampled_from(["minimize", "maximize"]))
def test_a_declaration_survives_json(name, bound, direction):
    outcomes = Outcomes(Objective("objective", direction), (AtMost(name, bound), AtLeast(name, bound)))
    assert Outcomes.from_json(outcomes.to_json()) == outcomes
    assert outcomes.differences(outcomes) == []


def test_an_upper_and_a_lower_bound_are_different_constraints():
    assert AtMost("m", 1.0) != AtLeast("m", 1.0)
    assert AtMost("m", 1) == AtMost("m", 1.0)


def test_differences_are_sentences():
    was = Outcomes(Objective("loss"), (AtMost("memory", 1.0),))
    now = Outcomes(Objective("loss", "maximize"), ())
    assert was.differences(now) == [
        "the objective was minimize 'loss', now it is maximize 'loss'",
        "the constraints were memory <= 1, now they are none",
    ]


def test_the_order_of_constraints_is_no_difference():
    pair = (AtMost("a", 1.0), AtMost("b", 2.0))
    assert Outcomes(Objective("y"), pair).differences(Outcomes(Objective("y"), pair[::-1])) == []


def test_an_unknown_direction_is_refused():
    with pytest.raises(InvalidOutcomeError, match="must be 'minimize' or 'maximize', got 'min'"):
        Objective("loss", "min")
