"""The sentence that says why: every kind of reason, in words and numbers."""

import math

import pytest

from bayesopt.record.grounds import sentence

MODEL = {
    "expects": {"name": "loss", "median": 2.5, "low": 2.25, "high": 2.75},
    "best": {"trial": 7, "median": 2.4},
    "improves": 0.31,
}


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ("middle", "the middle of the space"),
        ("mode", "where your beliefs put the optimum"),
        ("law", "the best by your law"),
        ("sobol", "a point that fills the space evenly"),
    ],
)
def test_a_start_says_which_point_it_is(point, said):
    grounds = {"start": {"point": point, "number": 3, "of": 8}}
    assert sentence("asked", grounds) == f"Start, trial 3 of 8: {said}, before any model."
    longer = {"start": {"point": point, "number": 9, "of": 8}}  # failures and pending trials make a start longer
    assert sentence("asked", longer).startswith("Start, trial 9: ")


def test_what_is_expected_to_be_worse_is_exploring_and_the_rest_is_exploiting():
    assert sentence("asked", MODEL) == (
        "Exploring: loss 2.5 (95 % between 2.25 and 2.75) is expected, worse than the 2.4 of trial 7, the best so far, "
        "but with a chance of 31 % to beat it."
    )
    better = MODEL | {"improves": 0.5, "around": 7}
    assert sentence("asked", better) == (
        "Exploiting around trial 7: loss 2.5 (95 % between 2.25 and 2.75) is expected, at least as good as the 2.4 of "
        "trial 7, the best so far, with a chance of 50 % to beat it."
    )


def test_conditions_and_beliefs_are_named_and_no_model_is_sure():
    more = {"holds": {"memory <= 24": 0.9999, "accuracy >= 0.5": 0.001}, "survives": 0.8, "beliefs": [0.25, 0.75]}
    assert sentence("asked", MODEL | more).endswith(
        "to beat it; memory <= 24 holds with over 99 %; accuracy >= 0.5 holds with under 1 %; it survives with 80 %; "
        "your beliefs are taken to be right with 25 %, 75 %."
    )
    assert "your belief is taken to be right with 25 %" in sentence("asked", MODEL | {"beliefs": [0.25]})


def test_without_a_feasible_trial_one_is_looked_for():
    grounds = {"expects": MODEL["expects"] | {"high": math.inf}, "best": None, "holds": {"memory <= 24": 0.4}}
    assert sentence("asked", grounds) == (
        "Looking for a feasible point, since no told trial probably is one: loss 2.5 (95 % between 2.25 and unbounded) "
        "is expected; memory <= 24 holds with 40 %."
    )


@pytest.mark.parametrize(
    ("source", "grounds", "said"),
    [
        ("enqueued", None, "Queued by you."),
        ("external", None, "Evaluated elsewhere and told."),
        ("confirmation", {"repeats": 4}, "Repeats trial 4, the best so far, to confirm it."),
        ("asked", {"text": "It is my turn."}, "It is my turn."),
        ("asked", {"start": {"point": "fallback", "number": 9, "of": 8}}, "The model broke down, so a point was taken"),
        ("asked", None, "No reason is on record."),
        ("asked", {}, "No reason is on record."),
        ("asked", {"mood": "good"}, "No reason is on record."),
    ],
)
def test_every_other_reason_has_its_words(source, grounds, said):
    assert sentence(source, grounds).startswith(said)
