"""The law that an objective is believed to follow: what it is asked, and what is refused."""

import math

import numpy as np
import pytest

import bayesopt as bo
from bayesopt.errors import InvalidPriorError

MIXED = bo.Space({
    "x": bo.Float(-1.0, 3.0),
    "lr": bo.Float(1e-4, 1e-1, log=True),
    "k": bo.Int(1, 5),
    "c": bo.Choice(["a", "b"]),
    "momentum": bo.Float(0.0, 1.0, active_if={"c": "a"}),
    "mix": bo.Simplex(["p", "q"]),
})


def law(params):
    momentum = params.get("momentum", 0.5)
    smooth = params["x"] ** 2 + math.log10(params["lr"]) + 3.0 * momentum + params["mix"]["p"] ** 2
    return smooth + params["k"] + (2.0 if params["c"] == "a" else 0.0)


def some_points(n=6):
    return MIXED.sample(n, np.random.default_rng(1))


def test_the_law_is_asked_in_the_units_of_the_space():
    U = some_points()
    found = bo.MeanPrior(law).on(MIXED).values(U)
    assert found.tolist() == [law(MIXED.decode(u)) for u in U]


def test_the_slopes_are_those_of_the_law_and_0_where_it_moves_in_steps():
    U = some_points()
    slopes = bo.MeanPrior(law).on(MIXED).gradient(U)
    for u, found in zip(U, slopes, strict=True):
        params = MIXED.decode(u)
        # x has 4 units on a side, lr three decades, and a momentum that is not there no slope
        expected = [8.0 * params["x"], 3.0, 0.0, 0.0, 3.0 if params["c"] == "a" else 0.0, 2.0 * params["mix"]["p"]]
        sign = np.sign(found[5])  # whichever way round the share lies along its column
        # lr is rounded to 12 digits, so that a difference over 2e-4 errs by up to 1e-8; a second order is exact
        np.testing.assert_allclose(found * [1, 1, 1, 1, 1, sign], expected, rtol=1e-6, atol=1e-6)


def test_at_the_edge_the_slope_is_one_sided():
    line = bo.Space({"x": bo.Float(0.0, 1.0)})
    slopes = bo.MeanPrior(lambda params: params["x"] ** 2).on(line).gradient(np.array([[0.0], [1.0]]))
    # (step)² / step at 0, and 2 less a step at 1
    np.testing.assert_allclose(slopes[:, 0], [1e-4, 2.0 - 1e-4], rtol=1e-6)


def test_the_same_configuration_is_asked_once():
    asked = []
    mean = bo.MeanPrior(lambda params: asked.append(params) or 1.0).on(MIXED)
    before = len(asked)
    U = some_points()
    assert (mean.values(U) == mean.values(U)).all()
    assert len(asked) == before + len(U)


def test_a_law_may_change_what_it_is_given():
    def consuming(params):
        return sum(params.pop("mix").values())

    assert bo.MeanPrior(consuming).on(MIXED).values(some_points()) == pytest.approx(1.0)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_best_point_is_near_the_laws_own(sign):
    square = bo.Space({"x": bo.Float(0.0, 1.0), "y": bo.Float(0.0, 1.0)})
    bowl = bo.MeanPrior(lambda params: -sign * ((params["x"] - 0.3) ** 2 + (params["y"] - 0.6) ** 2))
    # 512 random points leave 0.02 to the nearest, and 64 moves of 0.01 a tenth of that
    np.testing.assert_allclose(bowl.on(square).best(sign), [0.3, 0.6], atol=0.01)


def test_the_best_point_is_an_allowed_configuration():
    square = bo.Space(
        {"x": bo.Float(0.0, 1.0), "k": bo.Int(0, 4)},
        constraints=[bo.LinearConstraint({"x": 1.0, "k": 1.0}, upper=3.5)],
    )
    best = bo.MeanPrior(lambda params: params["x"] + params["k"]).on(square).best(1.0)
    assert square.is_allowed(best[None])[0]
    assert square.snap(best[None]).tolist() == [best.tolist()]


@pytest.mark.parametrize("wrong", [3.0, None, {"x": 1.0}])
def test_what_is_no_function_is_refused(wrong):
    with pytest.raises(InvalidPriorError, match="expected a function from a configuration to a number"):
        bo.MeanPrior(wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda params: math.nan, r"the law is nan at \{'x': .*; it must be finite"),
        (lambda params: -math.inf, r"the law is -inf at \{'x':"),
        (lambda params: "3", r"the law at \{'x': .*expected one real number"),
        (lambda params: params["y"], r"the law failed at \{'x': .*KeyError\('y'\)"),
    ],
)
def test_a_law_that_gives_no_finite_number_is_refused_where_it_is_declared(wrong, message):
    line = bo.Space({"x": bo.Float(0.0, 1.0)})
    with pytest.raises(InvalidPriorError, match=message):
        bo.Study(line, minimize="y", priors=[bo.MeanPrior(wrong)])
