"""The search over every kind of space, with functions whose maximum is known."""

import numpy as np
import pytest

from bayesopt.acquisition.maximize import any_untried, is_untried, maximize
from bayesopt.problem.parameters import Choice, Float, Int, Simplex
from bayesopt.problem.space import LinearConstraint, Space


class Function:
    """An acquisition function from one that returns values and gradients; counts the points that it was asked about."""

    def __init__(self, function):
        self._function = function
        self.n_points = 0

    def values(self, U):
        return self.value_and_gradient(U)[0]

    def value_and_gradient(self, U):
        self.n_points += len(U)
        return self._function(U)


def hill(top):
    """A concave function of the cube with its maximum, 0, at `top`."""
    top = np.asarray(top)
    return Function(lambda U: (-((U - top) ** 2).sum(1), -2.0 * (U - top)))


def peaks(*tops, heights):
    """Narrow peaks at `tops`; a peak's height is what it is worth."""

    def function(U):
        parts = [
            height * np.exp(-((U - top) ** 2).sum(1) / (2 * 0.1**2)) for top, height in zip(tops, heights, strict=True)
        ]
        slopes = [-(U - top) / 0.1**2 * part[:, None] for top, part in zip(tops, parts, strict=True)]
        return sum(parts), sum(slopes)

    return Function(function)


def search(acquisition, space, incumbents=None, tried=None, seed=0, **options):
    none = np.zeros((0, space.dim))
    return maximize(
        acquisition,
        space,
        none if incumbents is None else np.asarray(incumbents),
        none if tried is None else np.asarray(tried),
        np.random.default_rng(seed),
        **options,
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

    assert np.abs(search(Function(peak), space, incumbents=[top + 0.02]) - top).max() < 0.01


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
        assert hill([0.9, 0.8]).values(found[None])[0] > -0.28


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

    assert 0.4 < search(Function(half_nan), space)[0] <= 0.5


def test_a_guide_searches_and_the_function_itself_has_the_last_word():
    space = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
    tops = np.array([0.2, 0.3]), np.array([0.8, 0.6])
    exact = peaks(*tops, heights=(1.0, 1.5))
    found = search(exact, space, guide=peaks(*tops, heights=(1.0, 0.9)))
    assert np.abs(found - tops[1]).max() < 0.01  # where the guide's search ended, not where it is largest
    unguided = peaks(*tops, heights=(1.0, 1.5))
    search(unguided, space)
    assert exact.n_points < 0.2 * unguided.n_points


def test_what_was_tried_is_passed_over_also_with_a_guide():
    space = Space({"k": Int(1, 4), "c": Choice(["a", "b"])})
    tried = np.zeros((0, 2))
    for _ in range(8):
        found = search(hill([0.3, 0.3]), space, tried=tried, guide=hill([0.6, 0.3]))
        assert is_untried(found, tried)
        tried = np.vstack([tried, found])
    assert search(hill([0.3, 0.3]), space, tried=tried, guide=hill([0.6, 0.3])) is None


def test_a_function_that_is_minus_infinity_or_nan_everywhere_still_gives_a_point():
    space = Space({"x": Float(0.0, 1.0), "k": Int(1, 3)})
    for constant in (-np.inf, np.nan):
        nowhere = Function(lambda U, constant=constant: (np.full(len(U), constant), np.full_like(U, np.nan)))
        assert space.is_allowed(search(nowhere, space)[None])[0]


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


def test_a_region_keeps_continuous_columns_inside_and_leaves_the_others_free():
    space = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0), "c": Choice(["p", "q"])})
    region = np.array([[0.2, 0.4, 0.4], [0.5, 0.6, 0.6]])
    inside = search(hill([0.9, 0.55, 0.9]), space, region=region)
    assert inside[:2] == pytest.approx([0.5, 0.55], abs=1e-3)
    assert space.decode(inside)["c"] == "q"


def test_fewer_samples_ask_for_fewer_values():
    space = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
    many, few = hill([0.3, 0.7]), hill([0.3, 0.7])
    search(many, space)
    assert search(few, space, n_samples=50) == pytest.approx([0.3, 0.7], abs=1e-3)
    assert few.n_points < many.n_points - 300


@pytest.mark.parametrize("seed", range(3))
def test_no_point_of_a_region_is_outside_it_wherever_the_incumbents_are(seed):
    space = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
    region = np.array([[0.1, 0.3], [0.4, 0.6]])
    inside = search(peaks([0.9, 0.9], heights=(1.0,)), space, [[0.9, 0.9], [0.2, 0.4]], seed=seed, region=region)
    assert (region[0] <= inside).all() and (inside <= region[1]).all()


def test_within_a_region_the_top_of_a_narrow_peak_is_found_that_the_whole_cube_hides():
    space = Space({f"x{i}": Float(0.0, 1.0) for i in range(4)})
    top = np.array([0.2, 0.3, 0.4, 0.5])
    close = np.clip(np.array([top - 0.1, top + 0.2]), 0.0, 1.0)
    narrow = peaks(top, heights=(1.0,))
    assert np.abs(search(narrow, space, region=close) - top).max() < 0.01


def test_a_looser_tolerance_ends_the_climb_sooner():
    space = Space({f"x{i}": Float(0.0, 1.0) for i in range(6)})
    scales = np.geomspace(1.0, 100.0, 6)
    valley = lambda: Function(  # noqa: E731  # each counts its own points
        lambda U: (-(scales * (U - 0.37) ** 2).sum(1), -2.0 * scales * (U - 0.37))
    )
    loose, tight = valley(), valley()
    far, near = (np.abs(search(f, space, tolerance=t) - 0.37).max() for f, t in ((loose, 1e-1), (tight, 1e-8)))
    assert near < 1e-3 < far
    assert loose.n_points < tight.n_points


def test_a_hill_away_from_the_incumbents_is_climbed_also_when_every_move_around_them_looks_better():
    """The starts are kept far apart, and some of them for the samples of the whole space."""
    home, top = np.array([0.25, 0.25]), np.array([0.8, 0.8])

    def landscape(U):
        low = np.exp(-((U - home) ** 2).sum(1) / (2 * 0.3**2))
        high = 2.0 * np.exp(-((U - top) ** 2).sum(1) / (2 * 0.12**2))  # below the low hill's top beyond 0.14 of its own
        slopes = -(U - home) / 0.3**2 * low[:, None] - (U - top) / 0.12**2 * high[:, None]
        return low + high, slopes

    space = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
    found = [search(Function(landscape), space, [home], seed=seed, n_samples=32) for seed in range(8)]
    assert all(np.abs(u - top).max() < 0.05 for u in found)


# -- whole numbers under constraints ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_a_whole_number_moves_together_with_what_it_is_tied_to(seed):
    space = Space({"k": Int(1, 9), "x": Float(0.0, 1.0)})

    def tied(U):
        """The fewer the better, but `x` must stand within about a hundredth of where `k` does."""
        off = (U[:, 1] - U[:, 0]) / 0.01
        return -U[:, 0] - off**2, np.stack([-1.0 + 200.0 * off, -200.0 * off], 1)

    here = space.snap(np.array([[0.7, 0.7]]))
    found = search(Function(tied), space, incumbents=here, seed=seed, n_samples=1, follows=True)
    least = space.snap(np.zeros((1, 2)))[0, 0]
    assert found[0] == least
    assert abs(found[1] - least) < 1e-3  # at the tolerance of 1e-4, x is known to 1e-4 of a standard deviation of 0.01


def test_following_changes_nothing_where_there_is_nothing_to_follow():
    smooth = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
    whole = Space({"k": Int(1, 9), "m": Int(1, 9)})
    for space in (smooth, whole):
        plain = search(hill([0.3, 0.6]), space, n_samples=8)
        assert search(hill([0.3, 0.6]), space, n_samples=8, follows=True).tolist() == plain.tolist()


def test_a_needle_that_the_pool_misses_is_found_where_it_is_said_to_be_likely():
    space = Space({f"x{i}": Float(0.0, 1.0) for i in range(6)})
    needle = np.full(6, 0.77)

    def peak(U):
        # so narrow that it and its slope are 0 in floats wherever the pool is likely to be
        value = np.exp(-((U - needle) ** 2).sum(1) / 2e-5)
        return value, -1e5 * (U - needle) * value[:, None]

    assert np.abs(search(Function(peak), space) - needle).max() > 0.05
    found = search(Function(peak), space, likely=space.snap(needle[None] + 0.001))
    assert np.abs(found - needle).max() <= 0.001
