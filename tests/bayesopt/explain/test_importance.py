"""Importance: the indices of the surrogate's mean, whatever the kind of a parameter."""

import itertools

import numpy as np
import pytest

import bayesopt as bo
from bayesopt.errors import InvalidInputError
from bayesopt.explain.importance import posterior_mean

pytestmark = pytest.mark.usefixtures("one_thread")


def told(space, loss, n, **options):
    study = bo.Study(space, minimize="loss", seed=1, noise=0.0, strategy=bo.strategies.SobolSearch(), **options)
    for _ in range(n):
        trial = study.ask()
        study.tell(trial, loss(trial.params))
    return study


def test_the_indices_are_those_of_the_posterior_mean_by_quadrature():
    from bayesopt.surrogate import fit_surrogate

    space = bo.Space({"x": bo.Float(0.0, 1.0), "c": bo.Choice(["a", "b", "c"])})
    study = told(space, lambda p: (p["x"] - 0.3) ** 2 * (1 + 2 * (p["c"] == "a")) + 0.2 * (p["c"] == "b"), 24)
    surrogate = fit_surrogate(study.history)
    x, weights = np.polynomial.legendre.leggauss(64)
    x, weights = 0.5 * (x + 1.0), 0.5 * weights
    U = np.array([(u, v) for u, v in itertools.product(x, (1 / 6, 0.5, 5 / 6))])
    f = posterior_mean(surrogate, U).reshape(64, 3)
    mean = weights @ f.mean(1)
    variance = weights @ (f**2).mean(1) - mean**2
    by_x = weights @ f.mean(1) ** 2 - mean**2
    by_c = ((weights @ f) ** 2).mean() - mean**2
    found = study.importance()
    exact = {"x": (by_x, variance - by_c), "c": (by_c, variance - by_x)}
    for name, (first, total) in exact.items():
        share = found.shares[name]
        # four standard errors from 8 sequences, and what 64 nodes leave of a smooth mean, far less
        assert abs(share.first - first / variance) <= 6.0 * share.first_error + 1e-4
        assert abs(share.total - total / variance) <= 6.0 * share.total_error + 1e-4
    assert found.warnings == ()


def test_a_mixture_is_one_parameter_and_what_does_nothing_explains_nothing():
    space = bo.Space({
        "mix": bo.Simplex(["web", "code", "math"]),
        "idle": bo.Float(1e-5, 1e-1, log=True),
        "n": bo.Int(1, 5),
        "only": bo.Choice(["one"]),
    })
    # Of three shares, uniform: var(web) = 2 / (9 * 4) = 1/18. Of 1 .. 5: var = 2.
    study = told(space, lambda p: 6.0 * p["mix"]["web"] + p["n"], 60)
    shares = study.importance().shares
    assert next(iter(shares)) in ("mix", "n")
    # the model has seen 60 points of a linear function: its own error, a few percent of the spread, dominates
    assert shares["mix"].total == pytest.approx(2 / 4, abs=0.08)
    assert shares["n"].total == pytest.approx(2 / 4, abs=0.08)
    assert shares["idle"].total < 0.02
    assert shares["only"].total == 0.0


def test_a_conditional_parameter_explains_what_it_does_where_it_exists():
    space = bo.Space({
        "kind": bo.Choice(["plain", "momentum"]),
        "rate": bo.Float(0.0, 1.0, active_if={"kind": "momentum"}),
    })
    study = told(space, lambda p: 4.0 * p.get("rate", 0.5), 30)
    rate = study.importance().shares["rate"]
    # With k a fair coin and f = 2 + k (4 r - 2): all of the variance needs the rate, which explains half of it alone.
    assert rate.total == pytest.approx(1.0, abs=0.05)
    assert rate.first == pytest.approx(0.5, abs=0.08)


def test_the_same_study_says_the_same_and_the_text_names_everything():
    space = bo.Space({"x": bo.Float(0.0, 1.0), "y": bo.Float(0.0, 1.0)})
    study = told(space, lambda p: p["x"], 10)
    found = study.importance()
    assert found == study.importance()
    text = str(found)
    assert text.startswith("What explains loss, by the model of 10 trials")
    assert text.index("  x") < text.index("  y")


def test_equal_outcomes_are_explained_by_nothing_and_the_warning_says_that_there_is_no_order():
    study = told(bo.Space({"x": bo.Float(0.0, 1.0)}), lambda p: 1.0, 10)
    found = study.importance()
    assert found.shares["x"].total == 0.0
    assert "hardly better than chance" in found.warnings[0]


def test_one_trial_is_too_few():
    study = told(bo.Space({"x": bo.Float(0.0, 1.0)}), lambda p: 1.0, 1)
    with pytest.raises(InvalidInputError, match="importance: 1 trials were told, and a model needs 2"):
        study.importance()
