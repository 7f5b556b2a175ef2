"""Beliefs as log densities on the cube; gradients against central differences, densities against their formula."""

import math

import numpy as np
import pytest

from bayesopt.errors import InvalidPriorError
from bayesopt.problem.parameters import Choice, Float, Int, Simplex
from bayesopt.problem.priors import OptimumPrior
from bayesopt.problem.space import Space

SPACE = Space({
    "lr": Float(1e-5, 1e-1, log=True),
    "dropout": Float(0.0, 0.5),
    "layers": Int(1, 8),
    "kind": Choice(["adamw", "sgd", "lion"]),
    "mix": Simplex(["web", "code", "books"]),
})
BELIEFS = {
    "lr": (1e-3, 3.0),
    "dropout": (0.1, 0.05),
    "layers": (4, 1.5),
    "kind": {"adamw": 3.0, "sgd": 1.0, "lion": 1.0},
    "mix": ({"web": 0.5, "code": 0.3, "books": 0.2}, 8.0),
}


def at(**changes):
    params = {"lr": 1e-3, "dropout": 0.1, "layers": 4, "kind": "adamw", "mix": {"web": 0.5, "code": 0.3, "books": 0.2}}
    return SPACE.encode(params | changes)[None]


def test_the_density_is_the_formula_in_the_parameters_own_units():
    prior = OptimumPrior(BELIEFS).on(SPACE)
    here = prior.log_density(at())[0]
    # a normal's log density falls by z^2 / 2, with z in spreads: one factor of 3 is one spread
    assert here - prior.log_density(at(lr=3e-3))[0] == pytest.approx(0.5, abs=1e-9)
    assert here - prior.log_density(at(lr=1e-3 / 9))[0] == pytest.approx(2.0, abs=1e-9)
    assert here - prior.log_density(at(dropout=0.2))[0] == pytest.approx(2.0, abs=1e-9)
    assert here - prior.log_density(at(kind="sgd"))[0] == pytest.approx(math.log(3.0), abs=1e-12)
    assert prior.log_density(at(kind="sgd"))[0] == prior.log_density(at(kind="lion"))[0]
    other = {"web": 0.2, "code": 0.3, "books": 0.5}
    by_hand = 8.0 * (0.5 * math.log(0.5 / 0.2) + 0.2 * math.log(0.2 / 0.5))
    assert here - prior.log_density(at(mix=other))[0] == pytest.approx(by_hand, abs=1e-9)


def test_integers_are_as_far_apart_as_their_numbers():
    prior = OptimumPrior({"layers": (4, 1.5)}).on(SPACE)
    fall = prior.log_density(at())[0] - prior.log_density(at(layers=7))[0]
    # three layers are two spreads: z^2 / 2 = 2
    assert fall == pytest.approx(2.0, rel=1e-9)


def test_gradients_agree_with_central_differences():
    prior = OptimumPrior(BELIEFS).on(SPACE)
    u = np.random.default_rng(0).uniform(0.1, 0.9, size=(20, SPACE.dim))
    value, gradient = prior.value_and_gradient(u)
    step = 1e-6
    kind = SPACE.names.index("kind")  # constant within an option, and the step stays in one
    for j in range(SPACE.dim):
        up, down = u.copy(), u.copy()
        up[:, j] += step
        down[:, j] -= step
        slope = (prior.log_density(up) - prior.log_density(down)) / (2 * step)
        # 1e-6 squared times a third derivative of up to about 1e3, over slopes of up to about 1e2
        np.testing.assert_allclose(gradient[:, j], slope, rtol=1e-5, atol=1e-5, err_msg=f"column {j}, kind is {kind}")
    assert value.shape == (20,)


def test_the_mode_is_where_the_density_is_highest():
    prior = OptimumPrior(BELIEFS).on(SPACE)
    mode = prior.mode()
    assert SPACE.decode(mode) == {
        "lr": 0.001, "dropout": 0.1, "layers": 4, "kind": "adamw",
        "mix": {"web": 0.5, "code": 0.3, "books": 0.2},
    }  # fmt: skip
    points = SPACE.sample(500, np.random.default_rng(0))
    assert prior.log_density(points).max() <= prior.log_density(mode[None])[0]


def test_parameters_without_a_belief_stay_open():
    prior = OptimumPrior({"lr": (1e-3, 3.0)}).on(SPACE)
    assert prior.log_density(at())[0] == prior.log_density(at(kind="lion", layers=8, dropout=0.5))[0]
    assert not prior.value_and_gradient(at())[1][0, 1:].any()


def test_a_share_of_zero_is_unlikely_and_not_impossible():
    prior = OptimumPrior({"mix": BELIEFS["mix"]}).on(SPACE)
    value, gradient = prior.value_and_gradient(at(mix={"web": 1.0, "code": 0.0, "books": 0.0}))
    assert np.isfinite(value).all() and np.isfinite(gradient).all()
    assert value[0] < prior.log_density(at())[0]


def test_a_concentration_of_zero_knows_nothing():
    prior = OptimumPrior({"mix": ({"web": 0.5, "code": 0.3, "books": 0.2}, 0.0)}).on(SPACE)
    assert not prior.log_density(SPACE.sample(50, np.random.default_rng(0))).any()


def test_a_belief_at_the_edge_of_the_range_is_fine():
    prior = OptimumPrior({"lr": (1e-5, 2.0), "layers": (8, 1.0)}).on(SPACE)
    assert SPACE.decode(prior.mode())["lr"] == 1e-5
    assert np.isfinite(prior.log_density(SPACE.sample(50, np.random.default_rng(0)))).all()


def test_draws_have_the_moments_of_the_belief():
    prior = OptimumPrior(BELIEFS).on(SPACE)
    drawn = prior.sample(4000, np.random.default_rng(0))
    native = SPACE.native(drawn)
    n = len(drawn)
    assert n == 4000 and SPACE.is_allowed(drawn).all()
    log_lr = np.log(native["lr"])
    # four standard errors of a mean and of a standard deviation; the range cuts off tails beyond four spreads
    assert log_lr.mean() == pytest.approx(math.log(1e-3), abs=4 * math.log(3) / math.sqrt(n))
    assert log_lr.std() == pytest.approx(math.log(3), rel=4 / math.sqrt(2 * n))
    assert (native["kind"] == "adamw").mean() == pytest.approx(0.6, abs=4 * math.sqrt(0.24 / n))
    # a Dirichlet with exponents 8 (0.5, 0.3, 0.2) has the means (8 share + 1) / (8 + 3)
    assert native["mix.web"].mean() == pytest.approx(5 / 11, abs=4 * math.sqrt(5 / 11 * 6 / 11 / 12 / n))


def test_draws_leave_parameters_without_a_belief_open_and_keep_to_what_is_allowed():
    space = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)}, allowed=lambda params: params["x"] + params["y"] < 1)
    drawn = OptimumPrior({"x": (0.2, 0.05)}).on(space).sample(2000, np.random.default_rng(0))
    assert space.is_allowed(drawn).all()
    assert drawn[:, 1].max() > 0.7 and drawn[:, 1].min() < 0.05


def test_a_log_density_of_ones_own_is_taken_as_it_is():
    def log_density(params):
        return -abs(math.log10(params["lr"]) + 3) - (params["kind"] == "sgd")

    prior = OptimumPrior(log_density).on(SPACE)
    assert prior.log_density(at(lr=1e-2, kind="sgd"))[0] == pytest.approx(-2.0, abs=1e-9)
    # of 1024 configurations and three rounds of moves the best lies within a hundredth of four decades
    mode = SPACE.decode(prior.mode())
    assert abs(math.log10(mode["lr"]) + 3) < 0.05 and mode["kind"] != "sgd"
    _, gradient = prior.value_and_gradient(at(lr=1e-2))
    assert gradient[0, 0] == pytest.approx(-4.0, abs=1e-6)  # one a decade, and the range has four
    drawn = prior.sample(1000, np.random.default_rng(0))
    share = prior.log_density(drawn).mean()
    assert share > prior.log_density(SPACE.sample(1000, np.random.default_rng(0))).mean() + 0.1


def test_a_log_density_may_rule_configurations_out_but_not_all():
    prior = OptimumPrior(lambda params: 0.0 if params["layers"] > 4 else -math.inf).on(SPACE)
    assert np.isneginf(prior.log_density(at(layers=3))[0])
    assert SPACE.native(prior.sample(50, np.random.default_rng(0)))["layers"].min() > 4
    with pytest.raises(InvalidPriorError, match="it must be finite somewhere"):
        OptimumPrior(lambda params: math.nan).on(SPACE)
    with pytest.raises(InvalidPriorError, match=r"the log density: expected one real number .* got 'high'"):
        OptimumPrior(lambda params: "high").on(SPACE)


@pytest.mark.parametrize(
    ("beliefs", "message"),
    [
        ({}, "non-empty dict"),
        ([("lr", 1)], "non-empty dict"),
        ({"lrr": (1e-3, 3.0)}, "unknown parameter 'lrr'; the space has"),
        ({"lr": 1e-3}, r"'lr': expected \(centre, spread\) for a Float, got 0.001"),
        ({"lr": (1e-3, 3.0, 1.0)}, r"expected \(centre, spread\)"),
        ({"lr": (1.0, 3.0)}, "the centre does not lie in the space: 'lr'"),
        ({"lr": ("1e-3", 3.0)}, "the centre does not lie in the space"),
        ({"lr": (1e-3, 1.0)}, "logarithmic, so its spread is a factor above 1 .* got 1.0"),
        ({"lr": (1e-3, math.nan)}, "the spread must be a finite number, got nan"),
        ({"lr": (1e-3, True)}, "the spread of 'lr': expected one real number .* got True"),
        ({"dropout": (0.1, 0.0)}, "the spread must be positive, got 0.0"),
        ({"dropout": (0.1, -0.1)}, "the spread must be positive, got -0.1"),
        ({"layers": (4.5, 1.0)}, "the centre does not lie in the space"),
        ({"kind": "adamw"}, "expected a dict from option to weight, got 'adamw'"),
        ({"kind": {}}, "expected a dict from option to weight"),
        ({"kind": {"adam": 1.0}}, "has no option 'adam'; the options are"),
        ({"kind": {"adamw": 1.0, "sgd": 1.0}}, "give 'lion' a weight too; every option needs one"),
        ({"kind": {"adamw": 0.0}}, "the weight of 'adamw' must be positive and finite, got 0.0"),
        ({"kind": {"adamw": math.inf}}, "must be positive and finite, got inf"),
        ({"mix": ({"web": 0.9, "code": 0.9, "books": 0.9}, 8.0)}, "the centre does not lie in the space"),
        ({"mix": ({"web": 0.5, "code": 0.3, "books": 0.2}, -1.0)}, "the concentration must be >= 0, got -1.0"),
    ],
    ids=str,
)
def test_a_belief_that_does_not_fit_is_refused(beliefs, message):
    with pytest.raises(InvalidPriorError, match=message):
        OptimumPrior(beliefs).on(SPACE)
