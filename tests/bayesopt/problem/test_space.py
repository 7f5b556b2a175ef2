"""Parameters together: names, conditions, constraints, counting and sampling."""

import copy
import functools
import json
import math
import pickle

import numpy as np
import pytest

from bayesopt.errors import InvalidInputError, InvalidParamsError, InvalidSpaceError
from bayesopt.problem.parameters import Choice, Float, Int, Simplex
from bayesopt.problem.space import Column, LinearConstraint, Space


@pytest.fixture
def training():
    return Space({
        "lr": Float(1e-5, 1e-1, log=True),
        "batch_size": Int(16, 512, log=True),
        "optimizer": Choice(["adamw", "sgd"]),
        "momentum": Float(0, 0.99, active_if={"optimizer": "sgd"}),
        "mixture": Simplex(["web", "code", "math"]),
    })


def generator(seed=0):
    return np.random.default_rng(seed)


def small(params):
    return params["a"] + params["b"] <= 3


def test_the_columns_say_what_each_coordinate_stands_for(training):
    assert training.names == ("lr", "batch_size", "optimizer", "momentum", "mixture")
    assert training.dim == 6
    assert training.columns[:3] == (
        Column("lr", "continuous", None),
        Column("batch_size", "integer", 497),
        Column("optimizer", "categorical", 2),
    )
    assert [column.kind for column in training.columns[4:]] == ["simplex", "simplex"]
    assert training["lr"] == Float(1e-5, 0.1, log=True)
    assert list(training) == list(training.names)
    assert len(training) == 5
    assert not training.is_finite
    assert training.size is None


def test_a_configuration_comes_back_as_plain_python_values(training):
    params = training.decode(np.full(6, 0.3))
    assert [type(params[name]) for name in params] == [float, int, str, dict]
    assert "momentum" not in params
    assert list(training.decode(np.full(6, 0.7))) == list(training.names)
    assert json.loads(json.dumps(params)) == params


def test_values_are_put_in_the_order_of_the_space_and_into_plain_types(training):
    given = {
        "mixture": {"math": 0.2, "web": np.float64(0.5), "code": 0.3},
        "momentum": np.array(0.9),
        "optimizer": np.str_("sgd"),
        "batch_size": np.int32(64),
        "lr": np.float64(3e-4),
    }
    params = training.validate(given)
    assert list(params) == list(training.names)
    assert list(params["mixture"]) == ["web", "code", "math"]
    assert type(params["optimizer"]) is str
    assert type(params["momentum"]) is float


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lrr": 0.1}, r"unknown parameter 'lrr'; the space has \['lr', 'batch_size', 'optimizer'"),
        ({"lr": None}, "'lr': expected one real number"),
        ({"batch_size": 8}, "'batch_size': 8 lies below the least value 16; accepted are 16 to 512"),
        ({"optimizer": "sdg"}, r"'optimizer': 'sdg' is not among the options \['adamw', 'sgd'\]"),
        ({"momentum": 0.9}, "'momentum': 0.9 is given, but it exists only if 'optimizer' is 'sgd'; leave it out"),
        ({"optimizer": "sgd"}, "'momentum' is missing .it exists because 'optimizer' is 'sgd'.; give a value of Float"),
        ({"mixture": None}, "'mixture': expected a dict from share name to share"),
    ],
)
def test_a_configuration_that_does_not_belong_is_refused_by_name(training, change, message):
    params = training.decode(np.full(6, 0.3)) | change
    for use in (training.validate, training.encode):
        with pytest.raises(InvalidParamsError, match=message):
            use(params)


def test_a_missing_parameter_is_named_with_what_it_takes(training):
    params = training.decode(np.full(6, 0.3))
    del params["lr"]
    with pytest.raises(InvalidParamsError, match=r"'lr' is missing; give a value of Float\(1e-05, 0.1, log=True\)"):
        training.validate(params)
    with pytest.raises(InvalidParamsError, match="expected a dict from parameter name to value, got 3"):
        training.validate(3)


def test_points_of_another_cube_are_refused(training):
    for use in (training.snap, training.native, training.is_allowed):
        with pytest.raises(InvalidParamsError, match=r"`n x 6`, got the shape \(2, 5\)"):
            use(np.zeros((2, 5)))
    with pytest.raises(InvalidParamsError, match="got the shape"):
        training.decode(np.zeros(7))


def test_snapping_is_encoding_what_was_decoded_bit_for_bit(training):
    U = generator().uniform(-0.1, 1.1, (300, training.dim))
    one_by_one = np.array([training.encode(training.decode(u)) for u in U])
    assert np.array_equal(training.snap(U), one_by_one)
    assert np.array_equal(training.snap(one_by_one), one_by_one)
    assert training.snap(np.empty((0, training.dim))).shape == (0, training.dim)


def test_a_parameter_that_does_not_exist_sits_in_the_middle(training):
    u = training.encode(training.decode(np.full(6, 0.1)))
    assert u[3] == 0.5
    assert training.exists(u[None]).tolist() == [[True, True, True, False, True]]
    native = training.native(u[None])
    assert native["optimizer"].tolist() == ["adamw"]
    assert math.isnan(native["momentum"][0])
    assert list(native)[-3:] == ["mixture.web", "mixture.code", "mixture.math"]


def test_conditions_reach_through_generations():
    space = Space({
        "leaf": Float(0, 1, active_if={"depth": [2, 3], "kind": "tree"}),
        "depth": Int(1, 3, active_if={"kind": ["tree", "forest"]}),
        "kind": Choice(["line", "tree", "forest"]),
    })
    assert space.validate({"kind": "line"}) == {"kind": "line"}
    assert list(space.validate({"kind": "tree", "depth": 2, "leaf": 0.5})) == ["leaf", "depth", "kind"]
    with pytest.raises(InvalidParamsError, match=r"'depth' is one of \[2, 3\] and 'kind' is 'tree'; leave it out"):
        space.validate({"kind": "forest", "depth": 3, "leaf": 0.5})


def test_a_choice_of_none_and_an_absent_choice_are_told_apart():
    space = Space({"on": Choice([True, False]), "kind": Choice([None, "a"], active_if={"on": True})})
    assert space.decode(space.encode({"on": True, "kind": None})) == {"on": True, "kind": None}
    assert space.decode(space.encode({"on": False})) == {"on": False}
    assert space.size == 3


REFUSED = [
    (lambda: Space({}), "there is no parameter to tune"),
    (lambda: Space([Float(0, 1)]), "expected a dict from name to parameter"),
    (lambda: Space({"x": (0, 1)}), r"'x': expected Float\(low, high\), .*got \(0, 1\)"),
    (lambda: Space({"": Float(0, 1)}), "expected a name, a non-empty string, got ''"),
    (lambda: Space({3: Float(0, 1)}), "expected a name, a non-empty string, got 3"),
    (lambda: Space({"a\ud800": Float(0, 1)}), "a character that no database stores"),
    (lambda: Space({"m": Simplex(["a", "b"]), "m.a": Float(0, 1)}), "'m.a' is both a parameter and a share"),
    (lambda: Space({"m.a": Float(0, 1), "m": Simplex(["a", "b"])}), "'m.a' is both a parameter and a share"),
    (lambda: Space({"m": Simplex([str(i) for i in range(10_002)])}), "10001 columns are more than the 10000 accepted"),
    (lambda: Space({"x": Float(0, 1, active_if={"y": 1})}), r"names 'y', which is no parameter; there are \['x'\]"),
    (
        lambda: Space({"x": Float(0, 1), "y": Int(0, 1, active_if={"x": 1})}),
        "names 'x', a Float; only an Int or a Choice can decide",
    ),
    (
        lambda: Space({"x": Choice(["a"]), "y": Int(0, 1, active_if={"x": ["a", "b"]})}),
        "active_if asks for what 'x' never is: 'x': 'b' is not among the options",
    ),
    (
        lambda: Space({"x": Int(0, 1, active_if={"y": 1}), "y": Int(0, 1, active_if={"x": 1})}),
        r"\['x', 'y'\] exist only if one another do; remove one active_if",
    ),
    (lambda: Space({"x": Int(0, 1, active_if={"x": 1})}), r"\['x'\] exist only if"),
    (lambda: Space({"x": Float(0, 1)}, allowed=True), "expected a function from a configuration to True or False"),
    (lambda: Space({"x": Float(0, 1)}, constraints=["x < 1"]), "expected a LinearConstraint, got 'x < 1'"),
    (lambda: Space({"x": Float(0, 1)}, constraints=3), "expected a list of LinearConstraint, got 3"),
    (
        lambda: Space({"x": Float(0, 1)}, constraints=LinearConstraint({"x": 1}, upper=1)),
        r"expected a list; write constraints=\[",
    ),
    (
        lambda: Space({"x": Float(0, 1)}, constraints=[LinearConstraint({"z": 1}, upper=1)]),
        r"'z' is no number in this space; these are \['x'\]",
    ),
    (
        lambda: Space(
            {"x": Choice([1, 2]), "m": Simplex(["ab", "c"])}, constraints=[LinearConstraint({"x": 1}, upper=1)]
        ),
        r"'x' is no number in this space; these are \['m.ab', 'm.c'\]",
    ),
    (lambda: LinearConstraint({}, upper=1), "expected a dict from parameter name to coefficient"),
    (lambda: LinearConstraint({"x": 0}, upper=1), "the coefficient of 'x' is 0; leave the name out"),
    (lambda: LinearConstraint({"x": "1"}, upper=1), "the coefficient of 'x': expected one real number"),
    (lambda: LinearConstraint({"x": math.inf}, upper=1), "the coefficient of 'x': expected a finite number"),
    (lambda: LinearConstraint({"x": 1}), r"no bound is given; give upper= or lower="),
    (lambda: LinearConstraint({"x": 1}, upper=math.nan), "expected a finite number, got nan"),
    (lambda: LinearConstraint({"x": 1}, upper=1, lower=1), "lower must be below upper; where an exact sum is needed"),
    (
        lambda: Space({"x": Float(0, 1)}, constraints=[LinearConstraint({"x": 1}, lower=2)]),
        "the constraint 2 <= x holds nowhere within the parameters' ranges",
    ),
    (
        lambda: Space(
            {"x": Float(0, 1), "y": Float(0, 1)},
            constraints=[LinearConstraint({"x": 1, "y": 1}, lower=1.5), LinearConstraint({"x": 1, "y": 1}, upper=1)],
        ),
        r"the constraints 1.5 <= x \+ y and x \+ y <= 1 cannot all hold at once",
    ),
    (
        lambda: Space(
            {"n": Int(0, 9), "m": Int(0, 9)}, constraints=[LinearConstraint({"n": 2, "m": -4}, lower=0.5, upper=1.5)]
        ),
        "holds nowhere",  # an even number between 0.5 and 1.5: real numbers could, whole ones cannot
    ),
    (
        lambda: Space(
            {"m": Simplex(["a", "b"], caps={"a": 0.7})},
            constraints=[LinearConstraint({"m.a": 1, "m.b": -1}, lower=0.5)],
        ),
        "0.5 <= m.a - m.b holds nowhere",
    ),
    (lambda: Space.from_json({"parameters": [{"low": 0}]}), "this is no stored space .KeyError"),
    (lambda: Space.from_json({}), "this is no stored space"),
]


@pytest.mark.parametrize(("declare", "message"), REFUSED, ids=[message[:45] for _, message in REFUSED])
def test_a_space_that_cannot_work_is_refused_with_what_to_do(declare, message):
    with pytest.raises(InvalidSpaceError, match=message):
        declare()


def test_a_constraint_on_what_may_be_absent_counts_it_as_zero():
    space = Space(
        {"n": Int(1, 2), "w1": Int(10, 99), "w2": Int(10, 99, active_if={"n": 2})},
        constraints=[LinearConstraint({"w1": 1, "w2": 1}, upper=100)],
    )
    assert space.validate({"n": 1, "w1": 99})["w1"] == 99
    with pytest.raises(InvalidParamsError, match=r"breaks the constraint w1 \+ w2 <= 100: the sum is 109"):
        space.validate({"n": 2, "w1": 99, "w2": 10})
    U = space.sample(200, generator())
    assert space.is_allowed(U).all()


def test_rounding_does_not_push_a_configuration_over_a_constraint():
    space = Space({"x": Float(0, 1), "y": Float(0, 1)}, constraints=[LinearConstraint({"x": 1, "y": 1}, upper=0.3)])
    assert 0.1 + 0.2 > 0.3
    assert space.validate({"x": 0.1, "y": 0.2}) == {"x": 0.1, "y": 0.2}
    with pytest.raises(InvalidParamsError, match="breaks the constraint"):
        space.validate({"x": 0.1, "y": 0.2 + 1e-8})


def test_the_predicate_sees_what_the_objective_would_see_and_cannot_change_it():
    seen = []

    def watch(params):
        seen.append(json.dumps(params))
        params["m"]["a"] = 7.0
        return params.pop("x") <= 0.5

    space = Space({"x": Float(0, 1), "m": Simplex(["a", "b"])}, allowed=watch)
    assert space.validate({"x": 0.5, "m": {"a": 0.25, "b": 0.75}})["m"]["a"] == 0.25
    assert seen == ['{"x": 0.5, "m": {"a": 0.25, "b": 0.75}}']
    with pytest.raises(InvalidParamsError, match=r"is ruled out by the space's predicate, allowed=.*watch"):
        space.validate({"x": 0.75, "m": {"a": 0.25, "b": 0.75}})


def test_a_predicate_that_fails_or_answers_neither_is_named_with_the_configuration():
    def broken(params):
        return params["y"] > 0

    with pytest.raises(InvalidSpaceError, match=r"allowed=.*broken failed at .'x': 0.25.: KeyError\('y'\)"):
        Space({"x": Float(0, 1)}, allowed=broken).is_allowed([[0.25]])
    with pytest.raises(InvalidSpaceError, match="must return True or False, got None"):
        Space({"x": Float(0, 1)}, allowed=lambda params: None).is_allowed([[0.25]])


def test_a_stored_space_knows_that_its_predicate_was_not_stored():
    space = Space({"a": Int(0, 3), "b": Int(0, 3)}, allowed=small)
    stored = Space.from_json(json.loads(json.dumps(space.to_json())))
    assert stored == space
    assert stored.decode(stored.encode({"a": 1, "b": 2})) == {"a": 1, "b": 2}
    with pytest.raises(InvalidSpaceError, match=r"the predicate allowed=small, which is code and was not stored"):
        stored.sample(1, generator())


def test_spaces_survive_json_pickle_and_copy(training):
    constrained = Space(
        {"a": Int(0, 3), "größe": Float(0, 1), "b": Int(0, 9)},
        constraints=[LinearConstraint({"a": 1, "größe": -2.5}, lower=0)],
        allowed=small,
    )
    constrained.sample(3, generator())
    for space in (training, constrained):
        assert Space.from_json(json.loads(json.dumps(space.to_json()))) == space
        for twin in (pickle.loads(pickle.dumps(space)), copy.deepcopy(space), copy.copy(space)):
            assert twin == space
            assert np.array_equal(twin.sample(4, generator(1)), space.sample(4, generator(1)))


def test_differences_say_what_was_and_what_is():
    was = Space({"x": Float(0, 1), "n": Int(0, 3)}, constraints=[LinearConstraint({"x": 1, "n": 1}, upper=3)])
    now = Space({"x": Float(0, 2), "k": Int(0, 3)}, allowed=small)
    assert was.differences(was) == []
    assert was.differences(now) == [
        "the parameter 'n' is no longer there",
        "the parameter 'k' is new",
        "the parameter 'x' was Float(0.0, 1.0), now it is Float(0.0, 2.0)",
        "the linear constraints were x + n <= 3, now they are none",
        "the predicate was allowed=None, now it is allowed=small",
    ]
    turned = Space({"n": Int(0, 3), "x": Float(0, 1)}, constraints=was.constraints)
    assert was.differences(turned) == ["the parameters' order was ['x', 'n'], now it is ['n', 'x']"]
    assert was != turned
    assert was != {"x": Float(0, 1), "n": Int(0, 3)}


def test_a_space_shows_itself_in_one_line():
    space = Space(
        {"a": Int(0, 3), "b": Float(1e-4, 1, log=True)},
        constraints=[LinearConstraint({"a": 1, "b": -2}, upper=3, lower=0)],
        allowed=small,
    )
    assert repr(space) == "Space(a: Int(0, 3), b: Float(0.0001, 1.0, log=True) | 0 <= a - 2*b <= 3, allowed=small)"
    assert repr(Space({"a": Int(0, 3)}, allowed=functools.partial(small))).endswith("allowed=partial)")


def test_a_finite_space_is_counted_and_listed_once_each():
    space = Space({
        "kind": Choice(["line", "tree"]),
        "depth": Int(1, 3, active_if={"kind": "tree"}),
        "split": Choice(["gini", "entropy"], active_if={"depth": [2, 3]}),
        "bins": Int(1, 4, log=True),
    })
    # line, or tree with depth 1, or depth 2 or 3 with either split; times bins
    assert space.size == (1 + 1 + 2 * 2) * 4
    listed = space.enumerate(100)
    configurations = {json.dumps(space.decode(u)) for u in listed}
    assert len(listed) == len(configurations) == space.size
    assert np.array_equal(space.snap(listed), listed)


def test_counting_does_not_list():
    assert Space({f"n{i}": Int(0, 9) for i in range(50)}).size == 10**50
    chain = {"n0": Int(0, 2**49)} | {f"n{i}": Int(0, 9, active_if={f"n{i - 1}": [0, 1]}) for i in range(1, 50)}
    size = 10  # the last has ten values; each before it 8 or 9 that end the chain, and 2 that go on
    for _ in range(48):
        size = 8 + 2 * size
    assert Space(chain).size == 2**49 - 1 + 2 * size
    gated = {"on": Choice([True, False])} | {f"n{i}": Int(1, 9, active_if={"on": True}) for i in range(40)}
    gated |= {f"m{i}": Int(1, 2, active_if={f"n{i}": 9}) for i in range(40)}
    assert Space(gated).size == 1 + 10**40


def test_only_allowed_configurations_are_listed():
    space = Space({"a": Int(0, 3), "b": Int(0, 3)}, constraints=[LinearConstraint({"a": 1}, lower=1)], allowed=small)
    assert space.size == 16
    assert [space.decode(u) for u in space.enumerate(16)] == [
        {"a": a, "b": b} for a in range(1, 4) for b in range(4) if a + b <= 3
    ]
    with pytest.raises(InvalidSpaceError, match="the space has 16 configurations; up to 15 can be listed"):
        space.enumerate(15)
    with pytest.raises(InvalidSpaceError, match="uncountably many configurations"):
        Space({"x": Float(0, 1)}).enumerate(10)


def test_fifty_parameters_of_every_kind_round_trip():
    kinds = [Float(0, 1), Float(1e-6, 1, log=True), Int(-5, 5), Int(1, 9999, log=True), Choice(list("abc"))]
    space = Space({f"参数{i}": kinds[i % 5] for i in range(49)} | {"mix": Simplex(list("abcdef"))})
    U = space.sample(64, generator())
    assert np.array_equal(np.array([space.encode(space.decode(u)) for u in U]), U)


def test_the_same_generator_gives_the_same_sample_whatever_was_drawn_before():
    def declare():
        return Space(
            {"x": Float(0, 1), "y": Float(0, 1), "m": Simplex(list("abcd"), caps=0.4)},
            constraints=[LinearConstraint({"x": 1, "y": 1, "m.a": 1}, upper=0.02)],
        )

    space = declare()
    space.sample(100, generator(7))
    assert np.array_equal(space.sample(20, generator(3)), declare().sample(20, generator(3)))
    state = np.random.get_state()[1].copy()
    declare().sample(5, generator())
    assert np.array_equal(np.random.get_state()[1], state)


def test_a_sample_needs_a_number_of_points(training):
    assert training.sample(0, generator()).shape == (0, 6)
    with pytest.raises(InvalidInputError, match="n: expected a whole number of at least 0, got -1"):
        training.sample(-1, generator())


def within_standard_errors(values, mean):
    """Whether a sample's mean is within six standard errors: four, and half more as walkers share 64 starts."""
    return abs(values.mean() - mean) < 6 * values.std() / math.sqrt(len(values))


def test_a_corner_of_a_millionth_of_the_cube_is_sampled_uniformly():
    n, bound = 6, 0.3  # volume 0.3^6 / 6! = 1.0e-6
    names = [f"x{i}" for i in range(n)]
    space = Space(
        dict.fromkeys(names, Float(0, 1)), constraints=[LinearConstraint(dict.fromkeys(names, 1), upper=bound)]
    )
    U = space.sample(2000, generator())
    assert space.is_allowed(U).all()
    # with the gap up to the bound, the coordinates are bound times a uniform mixture of n + 1 shares
    for i in range(n):
        assert within_standard_errors(U[:, i], bound / (n + 1))
        assert within_standard_errors(U[:, i] ** 2, 2 * bound**2 / ((n + 1) * (n + 2)))


def test_a_slab_of_a_millionth_of_a_range_is_walked_along_its_length():
    space = Space(
        {"x": Float(0, 1), "y": Float(0, 1)},
        constraints=[LinearConstraint({"x": 1, "y": 1}, lower=1, upper=1 + 1e-6)],
    )
    U = space.sample(1000, generator())
    assert space.is_allowed(U).all()
    assert within_standard_errors(U[:, 0], 1 / 2)
    assert within_standard_errors(U[:, 0] ** 2, 1 / 3)
    assert within_standard_errors(U.sum(axis=1) - 1, 5e-7)


def test_a_ball_that_only_a_predicate_knows_is_sampled_uniformly():
    radius = 0.15  # 1.4% of the cube
    space = Space(
        {name: Float(0, 1) for name in "xyz"},
        allowed=lambda p: sum((v - 0.5) ** 2 for v in p.values()) <= radius**2,
    )
    U = space.sample(500, generator())
    assert space.is_allowed(U).all()
    assert within_standard_errors(((U - 0.5) ** 2).sum(axis=1), 3 / 5 * radius**2)


def test_shares_under_a_linear_constraint_stay_uniform():
    # b + c <= 0.05 of three shares: b and c uniform on a small triangle, so each has the mean 0.05 / 3
    space = Space({"m": Simplex(["a", "b", "c"])}, constraints=[LinearConstraint({"m.b": 1, "m.c": 1}, upper=0.05)])
    native = space.native(space.sample(1500, generator()))
    assert within_standard_errors(native["m.b"], 0.05 / 3)
    assert within_standard_errors(native["m.c"], 0.05 / 3)
    assert within_standard_errors(native["m.b"] * native["m.c"], 0.05**2 / 12)


def test_parameters_that_no_constraint_names_stay_uniform():
    space = Space(
        {"x": Float(0, 1), "k": Choice(list("abcd")), "y": Float(0, 1)},
        constraints=[LinearConstraint({"x": 1}, upper=1e-4)],
    )
    U = space.sample(2000, generator())
    assert within_standard_errors(U[:, 2], 1 / 2)
    counts = np.bincount((U[:, 1] * 4).astype(int), minlength=4)
    assert np.all(np.abs(counts - 500) < 4 * math.sqrt(2000 * 0.25 * 0.75))


def test_whole_numbers_that_satisfy_a_tight_constraint_are_found():
    space = Space(
        {"a": Int(0, 10_000), "b": Int(0, 10_000), "z": Float(0, 1)},
        constraints=[LinearConstraint({"a": 7, "b": -11}, lower=2.5, upper=3.5)],
    )
    found = [space.decode(u) for u in space.sample(50, generator())]
    assert {7 * params["a"] - 11 * params["b"] for params in found} == {3}
    assert len({params["a"] for params in found}) > 20


def test_a_log_range_under_a_linear_constraint_is_sampled_by_factors():
    # x <= 1e-3 of [1e-6, 1e3] leaves the lower third of the logarithms; y <= 1e-3 leaves a thousandth
    space = Space(
        {"x": Float(1e-6, 1e3, log=True), "y": Float(0, 1)},
        constraints=[LinearConstraint({"x": 1}, upper=1e-3), LinearConstraint({"y": 1}, upper=1e-3)],
    )
    U = space.sample(1000, generator())
    assert within_standard_errors(U[:, 0], 1 / 6)
    assert within_standard_errors(U[:, 1], 5e-4)


def test_a_finite_space_with_few_allowed_is_sampled_by_their_volume():
    space = Space(
        {"a": Int(1, 99, log=True), "b": Int(1, 99)}, allowed=lambda p: p["a"] == p["b"] and p["a"] in (1, 50)
    )
    ones = np.mean([space.decode(u)["a"] == 1 for u in space.sample(1000, generator())])
    share = math.log(3)  # a = 1 takes log(1.5 / 0.5) of the logarithms, a = 50 takes log(50.5 / 49.5)
    share /= share + math.log(50.5 / 49.5)
    assert abs(ones - share) < 4 * math.sqrt(share * (1 - share) / 1000)


def test_a_single_allowed_point_is_found_and_repeated():
    space = Space({"x": Float(0, 1), "y": Float(0, 1)}, constraints=[LinearConstraint({"x": 1, "y": 1}, upper=0)])
    assert np.array_equal(space.sample(5, generator()), np.zeros((5, 2)))


def test_a_space_in_which_nothing_is_allowed_says_so():
    with pytest.raises(InvalidSpaceError, match="none of the 10 configurations is allowed; loosen"):
        Space({"n": Int(0, 9)}, allowed=lambda params: False).sample(1, generator())
    with pytest.raises(InvalidSpaceError, match="no allowed configuration was found in 64000 random ones; loosen"):
        Space({"x": Float(0, 1)}, allowed=lambda params: False).sample(1, generator())
