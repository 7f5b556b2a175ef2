"""Beliefs about what is better than what: probabilities by hand, and what is refused."""

import math

import numpy as np
import pytest

from bayesopt.errors import InvalidPriorError
from bayesopt.problem.beliefs import Functions
from bayesopt.problem.parameters import Choice, Float
from bayesopt.problem.preferences import PreferencePrior
from bayesopt.problem.space import Space

SPACE = Space({"x": Float(0.0, 1.0), "c": Choice(["a", "b"])})
A, B = {"x": 0.1, "c": "a"}, {"x": 0.9, "c": "b"}


def log_weight(prior, values, sign):
    values = np.array(values, dtype=float)
    functions = Functions(np.zeros((values.shape[1], 2)), np.zeros(values.shape[1]), values, sign)
    return prior.on(SPACE).log_weight(functions)


def test_it_names_the_points_of_its_pairs_better_ones_first():
    belief = PreferencePrior([(A, B), (B, A)]).on(SPACE)
    np.testing.assert_array_equal(belief.points, np.array([SPACE.encode(params) for params in (A, B, B, A)]))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_order_is_certain_without_softness_and_follows_the_direction_of_the_objective(sign):
    values = sign * np.array([[2.0, 1.0, 1.0], [1.0, 1.0, 2.0]])
    assert log_weight(PreferencePrior([(A, B)]), values, sign).tolist() == [0.0, 0.0, -math.inf]


def test_a_soft_order_holds_with_the_probability_that_two_errors_keep_it():
    weights = log_weight(PreferencePrior([(A, B), (A, B)], softness=0.5), [[1.0], [0.0], [0.0], [0.0]], 1.0)
    # each side errs by a sd of 0.5, their difference by 0.5 sqrt(2): Phi(sqrt(2)) and Phi(0)
    assert np.exp(weights) == pytest.approx([0.5 * math.erfc(-1.0) * 0.5], rel=1e-12)


def test_values_beyond_what_the_objectives_scale_reaches_are_level():
    assert log_weight(PreferencePrior([(A, B)]), [[-math.inf], [-math.inf]], 1.0).tolist() == [0.0]


@pytest.mark.parametrize(
    ("pairs", "softness", "message"),
    [
        ([], 0.0, "a non-empty list of pairs"),
        ((A, B), 0.0, "list of pairs of configurations, .better, worse."),
        ([A], 0.0, "list of pairs"),
        ([(A, B, A)], 0.0, "list of pairs"),
        ("ab", 0.0, "list of pairs"),
        ([(A, B)], -1.0, "softness: expected a finite number of at least 0, got -1.0"),
    ],
    ids=str,
)
def test_what_is_no_preference_is_refused(pairs, softness, message):
    with pytest.raises(InvalidPriorError, match=message):
        PreferencePrior(pairs, softness)


def test_a_configuration_of_another_space_is_refused():
    with pytest.raises(InvalidPriorError, match=r"a configuration does not belong to the space: .*'x'"):
        PreferencePrior([({"x": 7.0, "c": "a"}, B)]).on(SPACE)
