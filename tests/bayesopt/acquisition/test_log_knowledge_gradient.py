"""The knowledge gradient against its definition by Monte Carlo; `test_base` has what it shares with the others."""

import numpy as np
import pytest

from bayesopt.acquisition.log_knowledge_gradient import MAX_ANSWERS, LogKnowledgeGradient, likely_optima
from bayesopt.acquisition.log_noisy_expected_improvement import LogNoisyExpectedImprovement
from bayesopt.problem.parameters import Choice, Float, Int
from bayesopt.problem.space import Space
from bayesopt.surrogate import fit_surrogate
from tests.bayesopt.acquisition.cases import MIXED, SQUARE, differences, everything, noisy, points, smooth

pytestmark = pytest.mark.usefixtures("one_thread")

NONE = np.zeros((0, 2))
NO_NORMALS = np.zeros((1, 0, 1))
LINE = Space({"x": Float(0.0, 1.0)})


def optima(surrogate, seed=0):
    return likely_optima(surrogate, np.random.default_rng(seed))


def gain_of(surrogate, answers):
    return LogKnowledgeGradient(surrogate, NONE, NO_NORMALS, answers)


def simulated(model, answers, x, n=40_000):
    """The rise of the best posterior mean among answers and x by one trial at x: its mean and standard error."""
    before = model.predictor.predict(answers).mean.max()
    after, _ = model.fantasies(x[None], np.random.default_rng(0).standard_normal((1, n)))
    rise = after.predict(np.vstack([answers, x])).mean.max(0) - before
    return rise.mean(), rise.std() / np.sqrt(n)


# -- the gain ---------------------------------------------------------------------------------------------------------


def test_it_is_what_the_best_posterior_mean_of_all_answers_gains_by_monte_carlo(make_history):
    X = points(8, 2)
    surrogate = fit_surrogate(make_history(SQUARE, X, noisy(X), noise=0.3))
    answers = points(60, 2, seed=2)
    acquisition = gain_of(surrogate, answers)
    U = np.vstack([points(6, 2, seed=1), X[:2], answers[:2]])
    for u, value in zip(U, acquisition.values(U), strict=True):
        mean, error = simulated(surrogate.objective, np.vstack([X, answers]), u)
        assert abs(np.exp(value) - mean) < 4 * error


def test_without_untried_answers_it_is_noisy_expected_improvement(make_history):
    X = points(8, 2)
    surrogate = fit_surrogate(make_history(SQUARE, X, noisy(X), noise=0.3))
    told = LogNoisyExpectedImprovement(surrogate, NONE, NO_NORMALS)
    U = points(20, 2, seed=1)
    assert gain_of(surrogate, NONE).values(U) == pytest.approx(told.values(U), abs=1e-12)
    assert gain_of(surrogate, X).values(U) == pytest.approx(told.values(U), abs=1e-3)  # the hopeless ones as well


def test_its_gradient_agrees_with_finite_differences(make_history):
    X = points(8, 2)
    surrogate = fit_surrogate(make_history(SQUARE, X, noisy(X), noise=0.3))
    acquisition = gain_of(surrogate, points(60, 2, seed=2))
    U = points(30, 2, seed=1)
    assert acquisition.value_and_gradient(U)[1] == pytest.approx(differences(acquisition, U), rel=1e-4, abs=1e-5)
    bound = acquisition.over_the_best_alone()
    assert bound.value_and_gradient(U)[1] == pytest.approx(differences(bound, U), rel=1e-4, abs=1e-5)
    assert (bound.values(U) <= acquisition.values(U) + 1e-12).all()


def test_a_trial_may_be_worth_most_where_nothing_good_is_expected(make_history):
    """Two distant answers look alike; whatever tells them apart is worth more than a look at a told top."""
    X = np.array([[0.1], [0.5], [0.9]])
    precise = np.array([1e-3, 1e-3, 1e-3])
    history = make_history(LINE, X, [0.0, 1.0, 0.0], noise=0.3, objective_sd=precise)
    surrogate = fit_surrogate(history)
    acquisition = LogKnowledgeGradient(surrogate, np.zeros((0, 1)), NO_NORMALS, optima(surrogate))
    values = acquisition.values(np.array([[0.5], [0.4], [0.6]]))
    assert values[0] < min(values[1:]) - 1.0


def test_it_is_finite_on_repeated_inputs_and_on_a_constant_outcome(make_history):
    for X, y in (
        (np.repeat(points(2, 2), 6, axis=0), np.ones(12)),
        (np.repeat(points(2, 2), 6, axis=0), np.tile([0.0, 1.0], 6)),
        (points(9, 2), np.ones(9)),
    ):
        for noise in (None, 0.0, 0.2):
            surrogate = fit_surrogate(make_history(SQUARE, X, y, noise=noise))
            answers = np.vstack([optima(surrogate), X, X])
            values, gradients = gain_of(surrogate, answers).value_and_gradient(np.vstack([points(9, 2, 1), answers]))
            assert not np.isnan(values).any() and not np.isnan(gradients).any()
            assert np.isfinite(values[:9]).all() and np.isfinite(gradients[:9]).all()


def test_while_nothing_told_is_feasible_the_answers_do_not_count(make_history):
    X = points(8, 2)
    surrogate = fit_surrogate(make_history(SQUARE, X, smooth(X), constraints=2.0 - X[:, :1]))
    none = np.zeros((0, 2)), np.zeros((2, 0, 1))
    with_answers, without = (LogKnowledgeGradient(surrogate, *none, answers) for answers in (points(9, 2), NONE))
    U = points(10, 2, seed=1)
    assert np.array_equal(with_answers.values(U), without.values(U))


@pytest.mark.parametrize("n_pending", [0, 3])
def test_its_work_is_bounded_however_many_answers_are_given(make_history, n_pending):
    X, pending = points(40, 2), points(n_pending, 2, seed=5)
    surrogate = fit_surrogate(make_history(SQUARE, X, noisy(X)))
    normals = np.random.default_rng(0).standard_normal((1, n_pending, 16 if n_pending else 1))
    acquisition = LogKnowledgeGradient(surrogate, pending, normals, points(5_000, 2, seed=2))
    assert len(acquisition._means) <= MAX_ANSWERS + 10
    values, gradients = acquisition.value_and_gradient(points(700, 2, seed=1))
    assert np.isfinite(values).all() and np.isfinite(gradients).all()


# -- the answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [SQUARE, MIXED], ids=["numbers", "mixed"])
def test_likely_optima_are_different_allowed_and_probably_feasible(make_history, space):
    surrogate = fit_surrogate(everything(make_history, space, pending=np.zeros((0, space.dim)), priors=()))
    found = optima(surrogate)
    assert 1 < len(found)
    assert len(np.unique(found, axis=0)) == len(found)
    assert np.array_equal(space.snap(found), found)
    Z = surrogate.features(found)
    for model in surrogate.constraints:
        assert (model.predictor.predict(Z).mean < 0).all()
    assert (surrogate.survival.predictor.predict(Z).mean > 0).all()


def test_the_first_of_them_is_where_the_posterior_mean_is_largest(make_history):
    X = points(12, 2)
    surrogate = fit_surrogate(make_history(SQUARE, X, noisy(X)))
    means = surrogate.objective.predictor.predict(optima(surrogate)).mean[:, 0]
    everywhere = surrogate.objective.predictor.predict(points(20_000, 2, seed=1)).mean[:, 0]
    assert means[0] == means.max()
    assert means[0] >= everywhere.max() - 1e-4


def test_a_function_known_well_has_few_likely_optima_and_one_unknown_has_many(make_history):
    X = points(60, 2)
    known, unknown = (fit_surrogate(make_history(SQUARE, X[:n], -np.square(X[:n] - 0.4).sum(1))) for n in (60, 4))
    near, anywhere = optima(known), optima(unknown)
    assert np.abs(near - 0.4).max() < 0.1
    assert np.ptp(anywhere, axis=0).min() > 0.5
    assert len(anywhere) > len(near)


def test_the_same_generator_draws_the_same_optima(make_history):
    X = points(12, 2)
    surrogate = fit_surrogate(make_history(SQUARE, X, noisy(X)))
    assert np.array_equal(optima(surrogate), optima(surrogate))


def test_a_finite_space_is_looked_at_in_full(make_history):
    space = Space({"k": Int(1, 6), "c": Choice(["a", "b"])})
    X = space.enumerate(12)[::3]
    surrogate = fit_surrogate(make_history(space, X, X[:, 0], noise=0.1))
    best = space.enumerate(12)[
        surrogate.objective.predictor.predict(surrogate.features(space.enumerate(12))).mean.argmax()
    ]
    assert np.array_equal(optima(surrogate)[0], best)


def test_where_nothing_is_probably_feasible_there_are_none(make_history):
    X = points(10, 2)
    surrogate = fit_surrogate(make_history(SQUARE, X, smooth(X), constraints=5.0 + X[:, :1]))
    assert optima(surrogate).shape == (0, 2)
