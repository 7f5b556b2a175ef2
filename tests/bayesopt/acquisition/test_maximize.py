"""The search over every kind of space, with acquisition functions whose maximum is known."""

import numpy as np
import pytest

from bayesopt.acquisition.maximize import any_untried, is_untried, maximize
from bayesopt.problem.parameters import Choice, Float, Int, Simplex
from bayesopt.problem.space import LinearConstraint, Space


def hill(top):
    """A concave function of the cube with its maximum, 0, at `top`."""
    top = np.asarray(top)
    return lambda U: (-((U - top) ** 2).sum(1), -2.0 * (U - top))


def search(acquisition, space, incumbents=None, tried=None, seed=0):
    none = np.zeros((0, space.dim))
    return maximize(
        acquisition,
        space,
        none if incumbents is None else np.asarray(incumbents),
        none if tried is None else np.asarray(tried),
        np.random.default_rng(seed),
    )


@pytest.mark.parametrize("d", [1, 3, 50])
def test_climbs_a_smooth_hill_to_its_top(d):
    space = Space({f"x{i}": Float(-1.0, 2.0) for i in range(d)})
    top = np.random.default_rng(0).random(d)
    assert np.abs(search(hill(top), space) - top).max() < 1e-3


def test_finds_the_top_on_the_edge_of_the_cube():
    space = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
    assert search(hill([1.3, -0.2]), space).tolist() == [1.0, 0.0]


def test_finds_a_narrow_peak_beside_an_incumbent():
    space = Space({f"x{i}": Float(0.0, 1.0) for i in range(6)})
    top = np.full(6, 0.37)

    def peak(U):
        squared = ((U - top) ** 2).sum(1)
        value = np.exp(-squared / (2 * 0.02**2)) + 1e-3 * U[:, 0]
        gradient = -(U - top) / 0.02**2 * np.exp(-squared / (2 * 0.02**2))[:, None]
        gradient[:, 0] += 1e-3
        return value, gradient

    assert np.abs(search(peak, space, incumbents=[top + 0.02]) - top).max() < 0.01


@pytest.mark.parametrize(
    "space",
    [
        Space({"x": Float(0.0, 1.0), "c": Choice(["a", "b", "c"]), "k": Int(1, 9)}),
        Space({"n": Int(16, 512, log=True), "x": Float(1e-5, 1e-1, log=True)}),
        Space({"n": Int(1, 10**6), "o": Choice([1, 2, 4, 8, 16], ordered=True)}),
        Space({"m": Simplex(["a", "b", "c"]), "c": Choice([True, False])}),
        Space({f"c{i}": Choice(list("abcdefgh")) for i in range(6)}),
    ],
    ids=["float, choice, int", "logarithmic", "many levels", "mixture", "choices only"],
)
def test_finds_the_configuration_at_the_top_of_any_space(space):
    top = space.sample(1, np.random.default_rng(3))[0]
    found = search(hill(top), space)
    assert np.abs(found - top).max() < 1e-3
    assert np.array_equal(space.snap(found[None])[0], found)


def test_a_parameter_that_does_not_exist_is_left_alone():
    space = Space({"optimizer": Choice(["adam", "sgd"]), "momentum": Float(0.0, 1.0, active_if={"optimizer": "sgd"})})
    with_momentum = search(hill([0.75, 0.9]), space)
    assert space.decode(with_momentum) == pytest.approx({"optimizer": "sgd", "momentum": 0.9}, abs=1e-3)
    without = search(hill([0.25, 0.9]), space)
    assert space.decode(without) == {"optimizer": "adam"}


def test_what_a_linear_constraint_forbids_is_not_proposed():
    space = Space(
        {"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)}, constraints=[LinearConstraint({"x": 1.0, "y": 1.0}, upper=1.0)]
    )
    for seed in range(3):
        found = search(hill([0.9, 0.8]), space, seed=seed)
        assert space.is_allowed(found[None])[0]
        # The best allowed value is -0.245, at (0.55, 0.45); a search that stops at the wall comes near it.
        assert hill([0.9, 0.8])(found[None])[0][0] > -0.28


def test_what_a_predicate_forbids_is_not_proposed():
    space = Space({"x": Float(0.0, 1.0), "k": Int(1, 5)}, allowed=lambda p: p["x"] * p["k"] <= 1.0)
    found = search(hill([0.9, 0.9]), space)
    assert space.is_allowed(found[None])[0]


def test_a_tried_configuration_is_never_proposed():
    space = Space({"k": Int(1, 4), "c": Choice(["a", "b"])})
    everything = space.enumerate(8)
    tried = np.zeros((0, 2))
    for _ in range(8):
        found = search(hill([0.3, 0.3]), space, tried=tried)
        assert is_untried(found, tried)
        tried = np.vstack([tried, found])
    assert len(np.unique(tried, axis=0)) == len(everything) == 8
    assert search(hill([0.3, 0.3]), space, tried=tried) is None


def test_the_last_configuration_of_a_larger_space_is_found():
    space = Space({"k": Int(1, 60), "l": Int(1, 50)})
    everything = space.enumerate(3000)
    found = search(hill([0.5, 0.5]), space, tried=np.delete(everything, 1234, axis=0))
    assert np.array_equal(found, everything[1234])
    assert search(hill([0.5, 0.5]), space, tried=everything) is None


def test_a_continuous_top_that_was_tried_is_passed_over():
    space = Space({"x": Float(0.0, 1.0)})
    found = search(hill([1.5]), space, tried=[[1.0]])
    assert 0.9 < found[0] < 1.0


def test_values_that_are_not_numbers_are_the_worst():
    space = Space({"x": Float(0.0, 1.0)})

    def half_nan(U):
        return np.where(U[:, 0] > 0.5, np.nan, U[:, 0]), np.ones_like(U)

    assert 0.4 < search(half_nan, space)[0] <= 0.5


def test_the_same_generator_gives_the_same_point_bitwise():
    space = Space({"x": Float(0.0, 1.0), "c": Choice(["a", "b", "c"]), "m": Simplex(["p", "q"])})
    top = space.sample(1, np.random.default_rng(1))[0]
    assert np.array_equal(search(hill(top), space, seed=5), search(hill(top), space, seed=5))


def test_any_untried_lists_a_finite_space_to_its_end():
    space = Space({"c": Choice(["a", "b", "c"])})
    everything = space.enumerate(3)
    rng = np.random.default_rng(0)
    assert np.array_equal(any_untried(space, everything[:2], rng), everything[2])
    assert any_untried(space, everything, rng) is None
