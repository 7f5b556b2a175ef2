"""What beliefs make of drawn functions, and what that adds to an acquisition function."""

import dataclasses

import numpy as np
import pytest

from bayesopt.acquisition.believed_paths import BeliefTerm, draw_believed_paths, judge
from bayesopt.acquisition.log_expected_improvement import LogExpectedImprovement
from bayesopt.acquisition.log_noisy_expected_improvement import LogNoisyExpectedImprovement
from bayesopt.acquisition.slab_mixture import weigh
from bayesopt.problem.optimal_value import OptimalValuePrior
from bayesopt.problem.parameters import Float
from bayesopt.problem.preferences import PreferencePrior
from bayesopt.problem.priors import OptimumPrior
from bayesopt.problem.space import Space
from bayesopt.surrogate import fit_surrogate
from tests.bayesopt.acquisition.cases import MIXED, SQUARE, differences, everything, points, smooth

LINE = Space({"x": Float(0.0, 1.0)})
NOBODY = np.zeros((0, 2))


def believed(history, *priors, n_paths=512):
    beliefs = tuple(prior.on(history.space) for prior in priors)
    return draw_believed_paths(fit_surrogate(history), beliefs, history.pending, n_paths)


def term(paths, doubt=0.2):
    return BeliefTerm(paths, weigh(paths.before, paths.after, doubt))


def line(make_history, xs, ys, **fields):
    return make_history(LINE, np.array(xs)[:, None], np.array(ys), noise=0.0, **fields)


def test_a_function_is_weighed_by_where_it_is_best(make_history):
    history = line(make_history, [0.1, 0.4, 0.9], [0.0, 1.0, 0.2])
    prior = OptimumPrior({"x": (0.3, 0.1)})
    paths = believed(history, prior)
    for row, functions, log_rho in (
        (0, paths.objective.prior, paths.before),
        (1, paths.objective.posterior, paths.after),
    ):
        places = paths.Z[functions.argmax(0), 0]
        np.testing.assert_array_equal(paths.Z[paths.best[row], 0], places)
        np.testing.assert_allclose(log_rho[0], -0.5 * ((places - 0.3) / 0.1) ** 2, atol=1e-9)


def test_a_value_is_believed_in_the_units_and_the_direction_of_the_objective(make_history):
    # the objective is minimised, so that the history holds its negative
    history = line(make_history, [0.1, 0.4, 0.9], [-300.0, -100.0, -280.0])
    paths = believed(history, OptimalValuePrior(mean=80.0, sd=20.0), OptimalValuePrior(at_most=90.0, softness=5.0))
    surrogate = fit_surrogate(history)
    scale = surrogate.scale
    least = -scale.to_units(paths.objective.posterior.max(0))
    # The best that was told is no better in any function, up to the noise that the model sees: 512 draws of its three
    # told values stay within five standard deviations.
    mean, sd = surrogate.told_mean_sd
    assert least.max() <= -scale.to_units(mean.max() - 5.0 * sd[mean.argmax()])
    np.testing.assert_allclose(paths.after[0], -0.5 * ((least - 80.0) / 20.0) ** 2, rtol=1e-9)
    # a bound is softened by a normal error: log Phi at its median is log 1/2
    at_bound = np.abs(least - 90.0).argmin()
    assert paths.after[1][at_bound] == pytest.approx(np.log(0.5), abs=0.1)


def test_a_preference_is_asked_of_every_function(make_history):
    history = line(make_history, [0.1, 0.5], [0.0, 0.1])
    pair = ({"x": 0.8}, {"x": 0.9})
    paths = believed(history, PreferencePrior([pair]), PreferencePrior([pair], softness=0.1))
    better, worse = (paths.objective.posterior[2 + place] for place in (0, 1))
    np.testing.assert_array_equal(paths.after[0] == 0.0, better >= worse)
    units = fit_surrogate(history).scale.to_units
    level = np.abs(units(better) - units(worse)).argmin()
    assert paths.after[1][level] == pytest.approx(np.log(0.5), abs=0.05)


def test_the_optimum_of_a_function_is_feasible_in_it_and_survives(make_history):
    X = points(15, 2)
    margins = np.stack([X[:, 0] - 0.5], 1)
    failed = np.array([[0.1, 0.9], [0.2, 0.8], [0.15, 0.95], [0.05, 0.85]])
    history = make_history(SQUARE, X, smooth(X), constraints=margins, failed=failed, noise=0.0)
    paths = believed(history, OptimumPrior({"x": (0.4, 0.1)}))
    survives = fit_surrogate(history).survival.predictor.predict(paths.Z).mean[:, 0] > 0
    assert not survives.all()
    columns = np.arange(paths.best.shape[1])
    for row, name in enumerate(("prior", "posterior")):
        best = paths.best[row]
        f, g = getattr(paths.objective, name), getattr(paths.constraints[0], name)[-len(paths.Z) :]
        possible = (g <= 0) & survives[:, None]
        found = possible.any(0)
        assert found.mean() > 0.5
        assert possible[best, columns][found].all()
        assert (f[best, columns][found] >= np.where(possible, f, -np.inf).max(0)[found]).all()


def test_the_same_trials_give_the_same_verdict_whatever_is_asked_meanwhile(make_history):
    X = points(10, 2)
    prior = (OptimumPrior({"x": (0.4, 0.1)}).on(SQUARE),)
    history = make_history(SQUARE, X, smooth(X), priors=prior)
    assert judge(history, 0.2).log_bayes_factor == judge(history, 0.2).log_bayes_factor
    other = make_history(SQUARE, X, smooth(X), priors=prior, seed=1)
    # another seed draws other functions: their disagreement is what 512 of them leave open
    assert judge(history, 0.2).probability == pytest.approx(judge(other, 0.2).probability, abs=0.1)


@pytest.mark.parametrize("space", [SQUARE, MIXED], ids=["square", "mixed"])
@pytest.mark.parametrize("alone", [0.0, 0.1])
def test_gradients_agree_with_central_differences(make_history, space, alone):
    history = everything(make_history, space)
    paths = believed(history, OptimumPrior({"x": (0.4, 0.2)}), OptimalValuePrior(at_most=-2.0, softness=0.2))
    factor = BeliefTerm(paths, weigh(paths.before, paths.after, 0.2), alone=alone)
    U = np.random.default_rng(3).uniform(0.1, 0.9, (6, space.dim))
    smooth_columns = [i for i, column in enumerate(space.columns) if column.levels is None]
    value, gradient = factor.value_and_gradient(U)
    np.testing.assert_array_equal(value, factor.values(U))
    # the step squared times third derivatives of up to 1e4 near told trials
    by_differences = differences(factor, U)
    np.testing.assert_allclose(gradient[:, smooth_columns], by_differences[:, smooth_columns], rtol=1e-4, atol=1e-4)


def test_gradients_agree_while_nothing_told_is_feasible(make_history):
    X = points(8, 2)
    history = make_history(SQUARE, X, smooth(X), constraints=1.0 + X[:, :1], noise=0.0)
    factor = term(believed(history, OptimumPrior({"x": (0.4, 0.2)})))
    U = np.random.default_rng(3).uniform(0.1, 0.9, (6, 2))
    np.testing.assert_allclose(factor.value_and_gradient(U)[1], differences(factor, U), rtol=1e-4, atol=1e-4)


def test_the_sum_keeps_its_largest_value_and_bounds_the_others_from_below(make_history):
    history = everything(make_history)
    paths = believed(history, OptimumPrior({"x": (0.4, 0.05), "y": (0.1, 0.05)}))
    factor = term(paths)
    U = points(200, 2, 4)
    value = 4.0 * np.random.default_rng(5).standard_normal(200)
    value[7] = np.nan
    exact, found = value + factor.values(U), factor.added_to(value, U)
    assert np.isnan(found[7])
    rest = np.arange(200) != 7
    assert found[rest].max() == pytest.approx(exact[rest].max(), abs=1e-12)  # sums of other blocks of rows
    assert found[rest].argmax() == exact[rest].argmax()
    assert (found[rest] <= exact[rest] + 1e-12).all()
    assert (found[rest] < exact[rest]).any()  # some were not worth computing


def test_a_belief_that_all_functions_share_leaves_the_acquisition_function_alone(make_history):
    X = points(10, 2)
    history = make_history(SQUARE, X, smooth(X))
    factor = term(believed(history, OptimalValuePrior(at_most=1e6)))
    assert np.abs(factor.values(points(50, 2, 1))).max() < 1e-9


def test_with_the_exact_improvement_it_is_the_improvement_of_the_weighed_functions(make_history):
    """Against the plain average over weighed functions, at points where these are known without interpolation."""
    history = line(make_history, [0.15, 0.35, 0.9], [0.0, 0.6, 0.1])
    n = 20_000
    paths = believed(history, OptimumPrior({"x": (0.55, 0.1)}), n_paths=n)
    verdict = weigh(paths.before, paths.after, 0.2)
    w = np.exp(verdict.log_weight(paths.after)[0])
    rows = np.abs(paths.Z[:, 0][:, None] - np.array([0.25, 0.45, 0.6, 0.75])).argmin(0)
    U = paths.Z[rows]
    plain = LogExpectedImprovement(paths.surrogate, np.zeros((0, 1)), np.zeros((1, 0, 1)))
    found = np.exp(plain.values(U) + term(paths).values(U))
    gain = np.maximum(paths.objective.posterior[rows] - paths.objective.posterior[:3].max(0), 0.0)
    by_hand = (gain * w).mean(1) / w.max()
    error = (gain * w).std(1) / w.max() / np.sqrt(n)
    # four standard errors; the jitter of 1e-6, seen by functions and not by the exact improvement, is a thousandth
    np.testing.assert_allclose(found, by_hand, atol=4 * error.max() + 1e-3)
    assert np.ptp(np.log(by_hand)) > 1.0


@pytest.mark.parametrize("make", [LogExpectedImprovement, LogNoisyExpectedImprovement], ids=lambda make: make.__name__)
def test_in_the_loop_it_takes_the_place_of_the_decaying_factor(make_history, make):
    history = everything(make_history)
    factor = term(believed(history, OptimumPrior({"x": (0.4, 0.2)})))
    surrogate = fit_surrogate(history)
    silent = dataclasses.replace(surrogate, history=dataclasses.replace(history, priors=()))
    normals = np.random.default_rng(7).standard_normal((3, 3, 16))
    plain, guided = (make(s, history.pending, normals) for s in (silent, dataclasses.replace(surrogate, belief=factor)))
    U = points(20, 2, 3)
    np.testing.assert_allclose(
        guided.value_and_gradient(U)[0], plain.values(U) + factor.value_and_gradient(U)[0], rtol=1e-12
    )
    value, gradient = guided.value_and_gradient(U)
    by_differences = differences(guided, U)
    # the values alone may stop at a lower bound; where they do not, they are those that the gradient is of
    exact = np.abs(guided.values(U) - value) < 1e-9
    near = np.abs(by_differences - gradient).max(1) < 1e-3 * (1 + np.abs(gradient).max(1))
    assert exact.any()
    assert near[exact.argmax()]
