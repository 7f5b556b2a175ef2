"""The exponential law of data mixtures."""

import numpy as np
import pytest

import bayesopt as bo
from bayesopt.errors import InvalidInputError


def known_losses(P):
    """Two losses of three groups with parameters of the size that fits to real runs have."""
    return np.stack([
        np.exp(0.9) + np.exp(0.6 - 2.5 * P[:, 0] - 0.3 * P[:, 1]),
        np.exp(1.1) + np.exp(0.2 + 0.4 * P[:, 0] - 1.7 * P[:, 2]),
    ]).T


def dirichlet(seed, n, m=3):
    return np.random.default_rng(seed).dirichlet(np.ones(m), n)


def test_recovers_known_laws_from_twenty_runs_without_noise():
    P, Q = dirichlet(0, 20), dirichlet(1, 500)
    law = bo.ExpMixingLaw().fit(P, known_losses(P))
    # 0.01 nats is what the acceptance asks; the ridge of 1e-5 biases by about a tenth of that
    assert np.abs(law.predict(Q) - known_losses(Q)).max() < 0.01


def test_a_vanishing_ridge_recovers_them_to_many_digits():
    P, Q = dirichlet(0, 20), dirichlet(1, 500)
    law = bo.ExpMixingLaw(ridge=1e-12).fit(P, known_losses(P))
    assert np.abs(law.predict(Q) - known_losses(Q)).max() < 1e-6
    np.testing.assert_allclose(law.parameters.c, np.exp([0.9, 1.1]), rtol=1e-3)


def test_the_slopes_are_those_of_finite_differences():
    P = dirichlet(0, 30)
    law = bo.ExpMixingLaw().fit(P, known_losses(P))
    # along the simplex, since `predict` takes mixtures only: central differences, exact to step² ~ 1e-10
    step, direction = 1e-5, np.array([1.0, -1.0, 0.0])
    Q = dirichlet(2, 20) * 0.9 + 0.1 / 3
    numeric = (law.predict(Q + step * direction) - law.predict(Q - step * direction)) / (2 * step)
    np.testing.assert_allclose(law.gradient(Q) @ direction, numeric, atol=1e-8)


def test_the_fit_is_a_minimum_of_its_own_objective():
    rng = np.random.default_rng(3)
    P = dirichlet(4, 40)
    y = known_losses(P)[:, 0] + 0.02 * rng.standard_normal(40)
    law = bo.ExpMixingLaw(ridge=1e-3).fit(P, y)
    fitted = law.parameters

    def objective(c, b, t):
        return 0.5 * np.square(c + np.exp(b + P @ t) - y).sum() + 1e-3 * np.square(t).sum()

    least = objective(fitted.c[0], fitted.b[0], fitted.t[0])
    for _ in range(200):
        dc, db, dt = rng.normal(0, 1e-2), rng.normal(0, 1e-2), rng.normal(0, 1e-2, 3)
        assert objective(fitted.c[0] + dc, fitted.b[0] + db, fitted.t[0] + dt) > least


def test_fewer_runs_than_parameters_are_enough_for_a_finite_law():
    P = dirichlet(5, 6, m=17)
    law = bo.ExpMixingLaw().fit(P, 3.0 + P[:, 0])
    assert np.isfinite(law.predict(dirichlet(6, 50, m=17))).all()


def test_a_vector_of_losses_gives_vectors_back():
    P = dirichlet(0, 20)
    law = bo.ExpMixingLaw().fit(P, known_losses(P)[:, 0])
    assert law.predict(P).shape == (20,)
    assert law.gradient(P).shape == (20, 3)


def test_rounded_rows_are_divided_by_their_sum():
    P = dirichlet(0, 20)
    law = bo.ExpMixingLaw().fit(P, known_losses(P))
    np.testing.assert_allclose(law.predict(1.02 * P), law.predict(P), rtol=1e-12)


@pytest.mark.parametrize(
    ("P", "losses", "message"),
    [
        ([[0.5, 0.5], [1.2, -0.2]], [1.0, 2.0], "row 1 is no mixture"),
        ([[0.5, 0.5], [0.6, 0.6]], [1.0, 2.0], "row 1 is no mixture"),
        ([0.5, 0.5], [1.0, 2.0], "expected `n x m`"),
        ([[0.5, 0.5], [0.6, 0.4]], [1.0], "for the n=2 mixtures"),
        ([[0.5, 0.5], [0.6, 0.4]], [1.0, float("nan")], "positive finite losses"),
        ([[0.5, 0.5], [0.6, 0.4]], [1.0, -1.0], "positive finite losses"),
        ([["a", "b"]], [1.0], "expected rows of numbers"),
    ],
)
def test_what_cannot_be_fitted_is_refused(P, losses, message):
    with pytest.raises(InvalidInputError, match=message):
        bo.ExpMixingLaw().fit(P, losses)


def test_a_law_predicts_only_once_it_is_fitted_and_for_as_many_groups():
    with pytest.raises(InvalidInputError, match=r"call \.fit"):
        bo.ExpMixingLaw().predict([[0.5, 0.5]])
    law = bo.ExpMixingLaw().fit(dirichlet(0, 20), np.full(20, 2.0))
    with pytest.raises(InvalidInputError, match="expected 3 groups"):
        law.predict([[0.5, 0.5]])
