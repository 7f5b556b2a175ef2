"""Each kind of parameter on its own: what it refuses, and the way to the unit interval and back."""

import copy
import json
import pickle
from fractions import Fraction

import numpy as np
import pytest

from bayesopt.errors import InvalidParamsError, InvalidSpaceError
from bayesopt.problem.parameters import Choice, Float, Int, Simplex, parameter_from_json

DECLARATIONS = [
    Float(0, 1),
    Float(-1e300, 1e-300),
    Float(1e-300, 2e-300),
    Float(1e6, 1e6 + 1),
    Float(1 / 3, 2 / 3),
    Float(1e-5, 0.1, log=True),
    Float(1e-300, 1e5, log=True),
    Float(1.0, 1.000001, log=True),
    Int(0, 1),
    Int(-7, 12),
    Int(-(2**48), 2**48),
    Int(1, 2**40, log=True),
    Int(16, 512, log=True),
    Choice(["only"]),
    Choice(["adamw", "sgd", None, 3, 0.5, False]),
    Choice([8, 16, 32], ordered=True),
    Choice(["größe", "大", "🙂"], active_if={"wetter": ["☀", "☁"]}),
    Simplex(["web", "code"]),
    Simplex(["web", "code", "math"], floors=0.1, caps={"math": 0.5}),
    Simplex(["a", "b", "c"], caps=0.34),
]


@pytest.mark.parametrize("parameter", DECLARATIONS, ids=repr)
def test_a_parameter_survives_json_pickle_and_copy(parameter):
    assert parameter_from_json(json.loads(json.dumps(parameter.to_json()))) == parameter
    assert pickle.loads(pickle.dumps(parameter)) == parameter
    assert copy.deepcopy(parameter) == parameter


@pytest.mark.parametrize("parameter", DECLARATIONS, ids=repr)
def test_what_is_decoded_once_is_decoded_again(parameter):
    corners = [np.zeros(parameter.width), np.ones(parameter.width), np.full(parameter.width, 0.5)]
    for u in [*corners, *np.random.default_rng(0).random((50, parameter.width))]:
        value = parameter.decode(u)
        assert parameter.validate("p", value) == value
        assert parameter.decode(parameter.encode(value)) == value


@pytest.mark.parametrize("parameter", DECLARATIONS[:8], ids=repr)
def test_the_bounds_of_a_real_range_are_the_ends_of_the_unit_interval(parameter):
    assert parameter.encode(parameter.low) == [0.0]
    assert parameter.encode(parameter.high) == [1.0]
    assert parameter.decode(np.array([0.0])) == parameter.low
    assert parameter.decode(np.array([1.0])) == parameter.high


@pytest.mark.parametrize("parameter", DECLARATIONS[8:13], ids=repr)
def test_every_whole_number_near_the_bounds_has_its_own_place(parameter):
    near = {parameter.low + i for i in range(2)} | {parameter.high - i for i in range(2)}
    places = {value: float(parameter.encode(value)[0]) for value in near}
    assert len(set(places.values())) == len(near)
    assert all(0 < place < 1 for place in places.values())
    assert all(parameter.decode(np.array([place])) == value for value, place in places.items())


def test_a_linear_range_is_spread_evenly_and_a_logarithmic_one_by_factors():
    assert Float(2, 4).decode(np.array([0.25])) == 2.5
    assert Float(1e-4, 1.0, log=True).decode(np.array([0.5])) == pytest.approx(1e-2, rel=1e-11)  # 12 digits
    assert Int(0, 3).encode(1) == [0.375]
    # 1..4 on log bins from 1/2 to 9/2: 2 takes log(2.5/1.5) of log(9)
    middle = (np.log(1.5 / 0.5) + 0.5 * np.log(2.5 / 1.5)) / np.log(9)
    assert Int(1, 4, log=True).encode(2)[0] == pytest.approx(middle, rel=1e-14)
    assert Choice(["a", "b"]).encode("b") == [0.75]


def test_numbers_that_a_person_types_come_back_as_typed():
    for literal in ["0.1", "0.3", "1e-20", "2.5e-5", "0.123456789012", "0.999999999999"]:
        assert Float(0, 1).decode(Float(0, 1).encode(float(literal))) == float(literal)
    for literal in ["3e-4", "0.00123456789012", "1e-5"]:
        learning_rate = Float(1e-5, 0.1, log=True)
        assert learning_rate.decode(learning_rate.encode(float(literal))) == float(literal)


def test_shares_map_corners_and_edges_exactly():
    mixture = Simplex(["a", "b", "c"])
    for shares in [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.5, 0.5, 0), (0.2, 0.3, 0.5), (1e-12, 0, 1 - 1e-12)]:
        value = dict(zip("abc", map(float, shares), strict=True))
        assert mixture.decode(mixture.encode(value)) == value
    assert mixture.encode({"a": 1.0, "b": 0.0, "c": 0.0})[1] == 0.5  # nothing is left to divide: any place would do


def test_shares_sum_to_one_and_keep_to_floors_and_caps_everywhere():
    mixture = Simplex(list("abcdefgh"), floors={"a": 0.05, "h": 0.1}, caps={"b": 0.02, "c": 0.3, "h": 0.1})
    U = np.random.default_rng(1).random((2000, mixture.width)).round(1)  # round: edges and corners too
    shares = mixture.scale.native(U)
    assert np.abs(shares.sum(axis=1) - 1).max() < 1e-15 * 8  # a rounding a share
    floors, caps = mixture.scale.floors, mixture.scale.caps
    assert np.all((shares >= floors) & (shares <= caps))
    assert np.abs(shares - mixture.shares(U)).max() <= 8e-12  # rounding to 1e-12; one share absorbs seven others'


@pytest.mark.parametrize("options", [{}, {"caps": 0.4}, {"floors": 0.1, "caps": {"b": 0.3}}], ids=str)
def test_slopes_of_the_shares_agree_with_finite_differences(options):
    mixture, step = Simplex(["a", "b", "c", "d"], **options), 1e-6
    U = np.random.default_rng(2).uniform(0.05, 0.95, (40, 3))
    for i in range(3):
        shift = np.eye(3)[i] * step
        slope = (mixture.shares(U + shift) - mixture.shares(U - shift)) / (2 * step)
        error = np.abs(slope - mixture.shares_jacobian(U)[:, :, i]).max(axis=1)
        # a cap that starts to bind between the two points is a kink: allow it in a few of forty points
        assert np.sum(error > 1e-6) <= 2


def test_slopes_of_the_shares_are_finite_in_every_corner():
    corners = np.array(np.meshgrid([0.0, 1.0], [0.0, 1.0], [0.0, 1.0])).reshape(3, -1).T
    for options in ({}, {"caps": 0.3}):
        assert np.isfinite(Simplex(["a", "b", "c", "d"], **options).shares_jacobian(corners)).all()


def test_a_uniform_cube_gives_uniform_mixtures_within_four_standard_errors():
    n, k = 20_000, 4
    shares = Simplex([f"s{i}" for i in range(k)]).scale.sample(n, np.random.default_rng(3))
    # Dirichlet(1): mean 1/k, variance (k - 1) / (k^2 (k + 1)), covariance -1 / (k^2 (k + 1))
    variance, covariance = (k - 1) / (k**2 * (k + 1)), -1 / (k**2 * (k + 1))
    deviation = shares - 1 / k
    assert np.abs(deviation.mean(axis=0)).max() < 4 * np.sqrt(variance / n)
    products = deviation[:, :, None] * deviation[:, None, :]
    exact = np.where(np.eye(k, dtype=bool), variance, covariance)
    assert np.all(np.abs(products.mean(axis=0) - exact) < 4 * products.std(axis=0) / np.sqrt(n))


@pytest.mark.parametrize(("k", "cap"), [(2, 0.6), (3, 0.5), (5, 0.3), (6, 0.35)])
def test_capped_mixtures_are_as_uniform_as_rejection_makes_them(k, cap):
    n = 4000
    mixture = Simplex([f"s{i}" for i in range(k)], caps={f"s{i}": cap for i in range(k - 1)})
    ours = mixture.scale.sample(n, np.random.default_rng(4))
    draws = np.random.default_rng(5).dirichlet(np.ones(k), size=400_000)
    theirs = draws[(draws[:, :-1] <= cap).all(axis=1)]
    for power in (1, 2, 3):
        a, b = ours**power, theirs**power
        error = np.sqrt(a.var(axis=0) / len(a) + b.var(axis=0) / len(b))
        assert np.all(np.abs(a.mean(axis=0) - b.mean(axis=0)) < 4 * error)


def test_a_float_slightly_outside_by_rounding_becomes_the_bound():
    assert Float(1e-5, 0.1).validate("lr", 0.1 + 2e-17) == 0.1
    assert Float(1e-5, 0.1, log=True).validate("lr", float(np.exp(np.log(0.1)))) == 0.1


@pytest.mark.parametrize("value", [3, 3.0, np.int64(3), np.float32(3), np.array(3), Fraction(3)], ids=repr)
def test_a_whole_number_in_any_clothes_becomes_a_plain_int(value):
    validated = Int(0, 5).validate("n", value)
    assert type(validated) is int
    assert validated == 3


def test_numpy_bounds_and_options_are_stored_as_plain_python():
    assert [type(v) for v in (Float(np.float32(0.5), np.int64(2)).low, Int(np.int8(1), np.uint16(9)).high)] == [
        float,
        int,
    ]
    assert [type(o) for o in Choice(np.array([1, 2])).options] == [int, int]
    assert [type(o) for o in Choice([np.str_("a"), np.bool_(True), np.float64(0.5)]).options] == [str, bool, float]


def test_an_option_is_matched_by_value_but_never_true_for_one():
    assert Choice([32, 64]).validate("width", 64.0) == 64
    assert type(Choice([32, 64]).validate("width", 64.0)) is int
    with pytest.raises(InvalidParamsError, match=r"True is not among the options \[1, 2\]"):
        Choice([1, 2]).validate("n", True)


REFUSED = [
    (lambda: Float(1, 0), r"Float\(1\.0, 0\.0\): low must be below high; swap"),
    (lambda: Float(1, 1), r"nothing to tune; leave it out of the space as a constant, or write Choice\(\[1\.0\]\)"),
    (lambda: Float(0, 1, log=True), "a logarithmic range needs low > 0"),
    (lambda: Float(-1, 1, log=True), "a logarithmic range needs low > 0"),
    (lambda: Float(0, float("inf")), "Float high: expected a finite number, got inf"),
    (lambda: Float(float("nan"), 1), "Float low: expected a finite number, got nan"),
    (lambda: Float(-1e308, 1e308), "overflows a 64-bit float; halve the bounds"),
    (lambda: Float(1e-320, 1, log=True), "spans more than a 64-bit float can"),
    (lambda: Float(1e-300, 1e300, log=True), "spans more than a 64-bit float can"),
    (lambda: Float(1e6, 1e6 + 1e-4), "too narrow for 64-bit floats"),
    (lambda: Float(0, 1e-310), "too narrow for 64-bit floats"),
    (lambda: Float("0", 1), "Float low: expected one real number.*got '0' of type str"),
    (lambda: Float(False, 1), "Float low: expected one real number.*got False of type bool"),
    (lambda: Float(0, 1j), "Float high: expected one real number.*complex"),
    (lambda: Float(0, 10**400), "does not fit a 64-bit float"),
    (lambda: Float(0.1, 1, log="yes"), r"Float\(log=\.\.\.\): expected True or False, got 'yes'"),
    (lambda: Int(0.5, 3), "Int low: expected a whole number, got 0.5 of type float"),
    (lambda: Int(True, 3), "Int low: expected a whole number, got True of type bool"),
    (lambda: Int(3, 3), r"write Choice\(\[3\]\)"),
    (lambda: Int(5, 3), r"swap them: Int\(3, 5\)"),
    (lambda: Int(0, 8, log=True), "raise low to 1"),
    (lambda: Int(1, 2**41, log=True), r"largest bound is 2\*\*40"),
    (lambda: Int(0, 10**400), r"bounds up to 2\*\*53"),
    (lambda: Int(0, 2**52), r"up to 2\*\*50 whole numbers"),
    (lambda: Choice([]), "nothing to choose from"),
    (lambda: Choice("abc"), r"expected a list of options, got 'abc'; write Choice\(\['a', 'b'\]\)"),
    (lambda: Choice(3), "expected a list of options, got 3"),
    (lambda: Choice(["a", "b", "a"]), "the option 'a' is given twice"),
    (lambda: Choice([True, 1]), "True and 1 are equal in Python, so nothing tells them apart"),
    (lambda: Choice([1, 1.0]), "1 and 1.0 are equal in Python"),
    (lambda: Choice([float("nan")]), "must be a string, a finite number, True, False or None, got nan"),
    (lambda: Choice([("a", "b")]), r"got \('a', 'b'\) of type tuple; name it by a string"),
    (lambda: Choice([b"a"]), "of type bytes"),
    (lambda: Choice(["a\x00"]), "a character that no database stores"),
    (lambda: Choice(["a", "b"], ordered=1), r"Choice\(ordered=\.\.\.\): expected True or False, got 1"),
    (lambda: Simplex(["web"]), "at least two names; a single share is always 1"),
    (lambda: Simplex("web"), "expected a list of names, got 'web'"),
    (lambda: Simplex(["web", "web"]), "the name 'web' is given twice"),
    (lambda: Simplex(["web", ""]), "expected a name, a non-empty string, got ''"),
    (lambda: Simplex(["web", "code"], floors={"math": 0.1}), r"unknown share 'math'; the names are \['web', 'code'\]"),
    (lambda: Simplex(["web", "code"], caps=1.5), "expected a share from 0 to 1, got 1.5"),
    (lambda: Simplex(["web", "code"], floors=0.5), "the floors sum to 1, which leaves nothing to divide"),
    (lambda: Simplex(["web", "code"], caps=0.4), "the caps sum to 0.8, but shares sum to 1"),
    (
        lambda: Simplex(["web", "code"], floors={"web": 0.6}, caps={"web": 0.5}),
        "the floor of 'web', 0.6, lies above its cap",
    ),
    (lambda: Float(0, 1, active_if="sgd"), "expected a dict from a parameter's name to its value.*got 'sgd'"),
    (lambda: Float(0, 1, active_if={}), "active_if: expected a dict"),
    (
        lambda: Float(0, 1, active_if={"optimizer": []}),
        "'optimizer': no value is given, so the parameter would never exist",
    ),
    (lambda: parameter_from_json({"type": "double"}), r"type must be one of \['float', .*got 'double'"),
    (lambda: parameter_from_json({"type": "float", "low": 0}), "Float: .*high"),
    (lambda: parameter_from_json({"type": "float", "low": 0, "high": 1, "step": 2}), r"unknown fields \['step'\]"),
]


@pytest.mark.parametrize(("declare", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_a_declaration_that_cannot_work_is_refused_with_what_to_do(declare, message):
    with pytest.raises(InvalidSpaceError, match=message):
        declare()


BAD_VALUES = [
    (Float(0, 1), 2, "'p': 2.0 lies above the greatest value 1.0; accepted are 0.0 to 1.0"),
    (Float(0, 1), -1e-9, "lies below the least value 0.0"),
    (Float(0, 1), float("nan"), "'p': expected a finite number, got nan"),
    (Float(0, 1), "0.5", "'p': expected one real number.*got '0.5' of type str"),
    (Float(0, 1), True, "got True of type bool"),
    (Float(0, 1), None, "got None"),
    (Float(0, 1), [0.5], r"got \[0\.5\]"),
    (Float(0, 1), np.array([0.5]), "expected one real number"),
    (Float(0, 1), 0.5 + 0j, "complex"),
    (Int(0, 9), 2.5, "'p': expected a whole number, got 2.5"),
    (Int(0, 9), 10, "'p': 10 lies above the greatest value 9; accepted are 0 to 9"),
    (Int(0, 9), float("inf"), "expected a whole number, got inf"),
    (Int(0, 9), False, "got False of type bool"),
    (Int(0, 9), "3", "got '3' of type str"),
    (Choice(["a", "b"]), "c", r"'p': 'c' is not among the options \['a', 'b'\]"),
    (Choice(["a", "b"]), ["a"], r"\['a'\] is not among the options"),
    (Choice(["a", None]), 0, "0 is not among the options"),
    (Choice([0, 2]), False, "False is not among the options"),
    (Simplex(["a", "b"]), [0.5, 0.5], r"expected a dict from share name to share, with the names \['a', 'b'\]"),
    (Simplex(["a", "b"]), {"a": 0.5, "c": 0.5}, r"'p': unknown share 'c'; the names are \['a', 'b'\]"),
    (Simplex(["a", "b"]), {"a": 1.0}, "the share of 'b' is missing"),
    (Simplex(["a", "b"]), {"a": 0.5, "b": 0.4}, "the shares must sum to 1, got 0.9.*divide each by their sum"),
    (Simplex(["a", "b"]), {"a": 1.5, "b": -0.5}, "'p.a': 1.5 lies above the greatest value 1.0"),
    (Simplex(["a", "b"], caps={"a": 0.3}), {"a": 0.5, "b": 0.5}, "'p.a': 0.5 lies above the greatest value 0.3"),
    (Simplex(["a", "b"]), {"a": "1", "b": 0}, "'p.a': expected one real number"),
]


@pytest.mark.parametrize(("parameter", "value", "message"), BAD_VALUES, ids=[m[:40] for _, _, m in BAD_VALUES])
def test_a_value_that_does_not_belong_is_refused_with_what_does(parameter, value, message):
    with pytest.raises(InvalidParamsError, match=message):
        parameter.validate("p", value)


def test_a_long_list_of_options_is_shortened_in_messages():
    with pytest.raises(InvalidParamsError, match=r"'x7', \.\.\. 91 more \.\.\., 'x99'\]"):
        Choice([f"x{i}" for i in range(100)]).validate("p", "y")


def test_a_parameter_shows_itself_as_it_was_declared():
    assert repr(Int(1, 8, active_if={"optimizer": "sgd"})) == "Int(1, 8, active_if={'optimizer': 'sgd'})"
    assert repr(Choice([1, 2], ordered=True)) == "Choice([1, 2], ordered=True)"
    assert repr(Simplex(["a", "b"], floors=0.1)) == "Simplex(['a', 'b'], floors={'a': 0.1, 'b': 0.1})"
