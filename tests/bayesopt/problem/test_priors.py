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
