"""Any space at all: encoding and decoding undo one another, and every sample is allowed."""

import dataclasses
import json
import math

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bayesopt.errors import InvalidSpaceError
from bayesopt.problem.parameters import LARGEST_LOG_INTEGER, MOST_INTEGERS, Choice, Float, Int, Simplex
from bayesopt.problem.scales import LINEAR_DIGITS, LOG_DIGITS
from bayesopt.problem.space import LinearConstraint, Space

unit_values = st.floats(0, 1) | st.sampled_from([0.0, 1.0, 0.5, 5e-324, 1e-12, 1 - 2**-53])
finite = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def floats(draw, numbers=finite):
    log = draw(st.booleans())
    low, high = sorted([draw(numbers), draw(numbers)])
    try:
        return Float(abs(low) if log else low, max(abs(low), abs(high)) if log else high, log=log)
    except InvalidSpaceError:
        assume(False)


@st.composite
def integers(draw):
    log = draw(st.booleans())
    low = draw(st.integers(1, LARGEST_LOG_INTEGER - 1) if log else st.integers(-(2**53), 2**53 - 1))
    most = LARGEST_LOG_INTEGER if log else min(2**53, low + MOST_INTEGERS - 1)
    return Int(low, draw(st.integers(low + 1, most) | st.just(low + 1) | st.just(most)), log=log)


scalars = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")) | st.integers() | finite
choices = st.builds(
    Choice,
    st.lists(scalars | st.none(), min_size=1, max_size=9, unique=True),
    ordered=st.booleans(),
)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00."), min_size=1).filter(str.strip)


@st.composite
def simplexes(draw):
    keys = draw(st.lists(names, min_size=2, max_size=6, unique=True))
    floors = draw(st.none() | st.dictionaries(st.sampled_from(keys), st.floats(0, 0.15)))
    caps = draw(st.none() | st.floats(1.01 / len(keys), 1) | st.dictionaries(st.sampled_from(keys), st.floats(0.2, 1)))
    try:
        return Simplex(keys, floors=floors, caps=caps)
    except InvalidSpaceError:
        assume(False)


parameters = floats() | integers() | choices | simplexes()


@st.composite
def spaces(draw, kinds=parameters, max_size=6):
    """Spaces of any parameters, the later ones existing under values of earlier ones."""
    declared = draw(st.dictionaries(names, kinds, min_size=1, max_size=max_size))
    conditional = {}
    for name, parameter in declared.items():
        parents = [n for n, p in conditional.items() if isinstance(p, Int | Choice)]
        if parents and draw(st.booleans()):
            parent = draw(st.sampled_from(parents))
            candidate = conditional[parent]
            values = [candidate.decode(np.array([u])) for u in draw(st.lists(unit_values, min_size=1, max_size=3))]
            conditional[name] = dataclasses.replace(parameter, active_if={parent: values})
        else:
            conditional[name] = parameter
    return Space(conditional)


@given(st.data(), spaces())
def test_every_place_in_the_cube_stands_for_a_configuration_that_encodes_to_its_snapped_place(data, space):
    u = np.array(data.draw(st.lists(unit_values, min_size=space.dim, max_size=space.dim)))
    params = space.decode(u)
    assert space.validate(params) == params
    encoded = space.encode(params)
    assert np.array_equal(space.snap(u[None])[0], encoded)
    assert np.all((encoded >= 0) & (encoded <= 1))
    assert space.decode(encoded) == params
    assert np.array_equal(space.encode(space.decode(encoded)), encoded)
    assert json.loads(json.dumps(params)) == params


@given(spaces())
def test_a_space_is_what_its_json_says(space):
    assert Space.from_json(json.loads(json.dumps(space.to_json()))) == space
    assert repr(space).isprintable()


@given(st.data(), floats())
def test_a_number_of_twelve_digits_comes_back_exactly(data, parameter):
    raw = data.draw(st.floats(parameter.low, parameter.high))
    # Digits are counted from the larger of the number and, on a linear range, its lower bound: 64 bits hold no more.
    size = max(abs(raw), 0.0 if parameter.log else abs(parameter.low))
    typed = 0.0 if size == 0 else round(raw, 11 - math.floor(math.log10(size)))
    assume(parameter.low <= typed <= parameter.high)
    u = parameter.encode(typed)
    # what 64 bits cannot tell from a bound is the bound, and below 2e-308 of the range they hold fewer digits
    assume(np.finfo(np.float64).tiny <= u[0] < 1)
    assert parameter.decode(u) == typed


@given(st.data(), floats())
def test_decoding_never_leaves_the_range_and_never_turns_round(data, parameter):
    u, v = sorted(data.draw(st.tuples(unit_values, unit_values)))
    low, high = parameter.decode(np.array([u])), parameter.decode(np.array([v]))
    assert parameter.low <= low <= high <= parameter.high


@given(st.data(), floats())
def test_rounding_moves_a_number_by_no_more_than_its_last_digit(data, parameter):
    raw = data.draw(st.floats(parameter.low, parameter.high))
    back = parameter.decode(parameter.encode(raw))
    step = 10.0 ** (1 - (LOG_DIGITS if parameter.log else LINEAR_DIGITS))
    size = max(abs(raw), abs(back), 0.0 if parameter.log else abs(parameter.low))
    least = 5e-324 * (parameter.high - parameter.low)  # the unit interval's first step above 0, in native units
    assert abs(back - raw) <= step * size + least


@given(st.data(), integers())
def test_every_whole_number_comes_back(data, parameter):
    value = data.draw(st.integers(parameter.low, parameter.high))
    assert parameter.decode(parameter.encode(value)) == value


@given(choices)
def test_every_option_comes_back(parameter):
    for option in parameter.options:
        back = parameter.decode(parameter.encode(option))
        assert back == option
        assert type(back) is type(option)


@given(st.data(), simplexes())
def test_shares_of_twelve_decimals_come_back(data, mixture):
    weights = np.array(
        data.draw(st.lists(st.integers(0, 1000), min_size=mixture.width + 1, max_size=mixture.width + 1))
    )
    assume(weights.sum() > 0)
    rounded = mixture.scale.rounded((weights / weights.sum())[None])[0]
    value = dict(zip(mixture.names, rounded.tolist(), strict=True))
    assume(abs(math.fsum(value.values()) - 1) < 1e-12)  # the caps of some mixtures are too far for one share to absorb
    assert all(0 <= share <= 1 for share in value.values())
    try:
        mixture.validate("m", value)
    except ValueError:
        assume(False)
    assert mixture.decode(mixture.encode(value)) == value


@given(st.data(), simplexes())
def test_any_shares_come_back_to_within_a_billionth(data, mixture):
    u = np.array(data.draw(st.lists(unit_values, min_size=mixture.width, max_size=mixture.width)))
    shares = mixture.shares(u[None])[0]
    value = mixture.validate("m", dict(zip(mixture.names, shares.tolist(), strict=True)))
    back = mixture.decode(mixture.encode(value))
    assert max(abs(back[name] - value[name]) for name in mixture.names) < 1e-9
    assert abs(math.fsum(back.values()) - 1) < 1e-9


@settings(max_examples=40)
@given(spaces(kinds=st.builds(Int, st.integers(-2, 0), st.integers(1, 3)) | choices, max_size=5))
def test_the_size_of_a_finite_space_is_how_many_it_lists(space):
    assume(space.size <= 2000)
    listed = space.enumerate(2000)
    assert len(listed) == space.size
    assert len({json.dumps(space.decode(u)) for u in listed}) == space.size


reasonable = floats(st.floats(-1e3, 1e3) | st.floats(1e-3, 1e3))


@settings(max_examples=30)
@given(
    st.data(), spaces(kinds=reasonable | st.builds(Int, st.integers(-9, 0), st.integers(1, 9)) | choices | simplexes())
)
def test_every_sample_satisfies_every_constraint(data, space):
    # a constraint that holds at one place of the cube, with room on neither, either or both sides
    place = np.array(data.draw(st.lists(unit_values, min_size=space.dim, max_size=space.dim)))
    native = {name: v[0] for name, v in space.native(place[None]).items() if v.dtype == np.float64}
    assume(native)
    weights = data.draw(
        st.dictionaries(st.sampled_from(sorted(native)), st.sampled_from([-2.0, -1.0, 0.5, 1.0]), min_size=1)
    )
    total = sum(weight * native[name] for name, weight in weights.items() if not math.isnan(native[name]))
    room = data.draw(st.sampled_from([1e-3, 0.1, 10.0]))
    below = data.draw(st.booleans())
    bound = LinearConstraint(weights, upper=total + room, lower=total - room if below else None)
    constrained = Space(dict(space), constraints=[bound])
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    try:
        U = constrained.sample(20, rng)
    except InvalidSpaceError as error:  # a place so small that neither chance nor a linear program met it
        assert "no allowed configuration was found" in str(error)
        assume(False)
    assert U.shape == (20, space.dim)
    assert constrained.is_allowed(U).all()
    assert np.array_equal(constrained.snap(U), U)
    for u in U:
        constrained.validate(constrained.decode(u))
