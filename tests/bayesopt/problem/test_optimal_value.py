"""Beliefs about the value of the optimum: densities by hand, and what is refused."""

import math

import numpy as np
import pytest

from bayesopt.errors import InvalidPriorError
from bayesopt.problem.beliefs import Functions
from bayesopt.problem.optimal_value import OptimalValuePrior
from bayesopt.problem.parameters import Float
from bayesopt.problem.space import Space

SPACE = Space({"x": Float(0.0, 1.0)})


def log_weight(prior, *best):
    n = len(best)
    return prior.on(SPACE).log_weight(Functions(np.zeros((n, 1)), np.array(best), np.zeros((0, n)), -1.0))


def test_a_normal_belief_is_a_normal_density():
    assert log_weight(OptimalValuePrior(mean=2.0, sd=0.5), 2.0, 2.5, 1.0).tolist() == [0.0, -0.5, -2.0]


def test_a_bound_is_strict_without_softness():
    assert log_weight(OptimalValuePrior(at_most=2.0), 1.9, 2.0, 2.1).tolist() == [0.0, 0.0, -math.inf]
    assert log_weight(OptimalValuePrior(at_least=2.0), 1.9, 2.0, 2.1).tolist() == [-math.inf, 0.0, 0.0]


def test_a_soft_bound_is_the_probability_that_an_error_keeps_it():
    soft = log_weight(OptimalValuePrior(at_most=2.0, softness=0.5), 2.0, 1.5, 2.5)
    by_hand = [0.5 * math.erfc(-z / math.sqrt(2)) for z in (0.0, 1.0, -1.0)]
    assert np.exp(soft) == pytest.approx(by_hand, rel=1e-12)
    both = log_weight(OptimalValuePrior(at_least=1.0, at_most=2.0, softness=0.5), 1.5)
    assert np.exp(both) == pytest.approx([by_hand[1] ** 2], rel=1e-12)


def test_a_value_beyond_what_the_objectives_scale_reaches_is_no_error():
    assert log_weight(OptimalValuePrior(mean=2.0, sd=0.5), math.inf, -math.inf).tolist() == [-math.inf, -math.inf]
    assert log_weight(OptimalValuePrior(at_most=2.0, softness=0.5), -math.inf).tolist() == [0.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either mean= and sd=, or a bound"),
        ({"mean": 1.0, "sd": 1.0, "at_most": 1.0}, "give either mean= and sd=, or a bound"),
        ({"mean": 1.0}, "needs both mean= and sd="),
        ({"sd": 1.0}, "needs both mean= and sd="),
        ({"mean": 1.0, "sd": 0.0}, "sd must be positive, got 0.0"),
        ({"mean": math.nan, "sd": 1.0}, "mean must be finite, got nan"),
        ({"mean": "2", "sd": 1.0}, "mean: expected one real number .* got '2'"),
        ({"at_most": math.inf}, "at_most must be finite, got inf"),
        ({"at_most": 1.0, "softness": -1.0}, "softness is of a bound and at least 0, got -1.0"),
        ({"mean": 1.0, "sd": 1.0, "softness": 1.0}, "got 1.0 beside mean= and sd="),
        ({"at_least": 2.0, "at_most": 1.0}, "at_least=2.0 lies above at_most=1.0"),
    ],
    ids=str,
)
def test_what_is_no_belief_is_refused(options, message):
    with pytest.raises(InvalidPriorError, match=message):
        OptimalValuePrior(**options)
