"""A known function in the prior mean, against dense algebra written out here and finite differences."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from gp.array_kernels import UNSEEN, Anova, Ard
from gp.errors import InvalidDataError
from gp.models.exact import ExactGP
from gp.models.single_task import to_single_task_gp
from gp.paths import draw_paths
from gp.regression import Regression, Trend

pytestmark = pytest.mark.usefixtures("one_thread")

TREND = Trend(0.8, 0.4)
GROUPS = np.array([0, 1, UNSEEN])
THETA = np.log([0.4, 0.9, 0.03])  # two lengthscales and a noise variance
N_PATHS = 20_000


def law(X):
    return np.square(X[:, 0] - 0.3) * 6.0 - X[:, 1]


def points(n, seed=0):
    X = np.random.default_rng(seed).random((n, 2))
    return np.column_stack([X, law(X)])


def targets(Z):
    return 0.5 + 1.1 * Z[:, 2] + 0.3 * np.sin(9.0 * Z[:, 0])


def regression(n=9, kernel=Ard, groups=GROUPS, trend=TREND):
    Z = points(n)
    return Regression(
        X=Z,
        y=targets(Z),
        known_variance=np.zeros(n),
        unknown=np.ones(n),
        kernel=kernel(groups),
        center=True,
        trend=trend,
    )


def dense_kernel(A, B):
    """Matérn-5/2 on the first two features, each by its lengthscale."""
    r = np.sqrt((np.square(A[:, None, :2] - B[None, :, :2]) / np.exp(2.0 * THETA[:2])).sum(2))
    return (1.0 + math.sqrt(5.0) * r + 5.0 * r * r / 3.0) * np.exp(-math.sqrt(5.0) * r)


def dense():
    """K with noise, y, h and the most probable constant and coefficient, by the normal equations."""
    Z = points(9)
    K = dense_kernel(Z, Z) + math.exp(THETA[2]) * np.eye(9)
    basis = np.column_stack([np.ones(9), Z[:, 2]])
    inverse = np.linalg.inv(K)
    precision = basis.T @ inverse @ basis + np.diag([0.0, TREND.sd**-2])
    right = basis.T @ inverse @ targets(Z) + np.array([0.0, TREND.mean / TREND.sd**2])
    return Z, K, basis, np.linalg.solve(precision, right), np.linalg.inv(precision)


def predictor(**fields):
    return dataclasses.replace(regression().condition(THETA), **fields)


def test_the_evidence_is_the_normal_density_with_the_coefficient_integrated_out():
    Z, K, _, (constant, _), _ = dense()
    covariance = K + TREND.sd**2 * np.outer(Z[:, 2], Z[:, 2])
    rest = targets(Z) - constant - TREND.mean * Z[:, 2]
    expected = -0.5 * (
        rest @ np.linalg.solve(covariance, rest) + np.linalg.slogdet(covariance)[1] + 9 * math.log(2 * math.pi)
    )
    assert regression().log_evidence(THETA[None])[0][0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kernel", [Ard, Anova])
def test_the_slopes_of_the_evidence_agree_with_differences(kernel):
    model = regression(kernel=kernel)
    theta = THETA if kernel is Ard else np.insert(THETA, 2, 0.3)
    moves = 1e-5 * np.eye(len(theta))
    values = [model.log_evidence(np.stack([theta + move, theta - move]))[0] for move in moves]
    slopes = [(up - down) / 2e-5 for up, down in values]
    # central differences of a value of about 10 at this step: rounding 1e-16 * 10 / 1e-5, curvature 1e-10
    np.testing.assert_allclose(model.log_evidence(theta[None])[1][0], slopes, rtol=1e-6, atol=1e-7)


def test_predictions_are_those_of_dense_generalised_least_squares():
    Z, K, basis, coefficients, covariance = dense()
    T = points(5, seed=1)
    k = dense_kernel(T, Z)
    p, prediction = predictor(), predictor().predict(T)
    expected = np.column_stack([np.ones(5), T[:, 2]]) @ coefficients
    expected += k @ np.linalg.solve(K, targets(Z) - basis @ coefficients)
    np.testing.assert_allclose(prediction.mean[:, 0], expected, rtol=1e-9)
    np.testing.assert_allclose(prediction.variance, 1.0 - np.sum(k * np.linalg.solve(K, k.T).T, 1), rtol=1e-9)
    assert (p.mean, p.slope, p.slope_sd) == pytest.approx((*coefficients, math.sqrt(covariance[1, 1])), rel=1e-9)


def test_a_trend_that_is_surely_absent_leaves_the_model_without_one():
    without = Regression(points(9)[:, :2], targets(points(9)), np.zeros(9), np.ones(9), Ard(np.arange(2)), True)
    absent = regression(trend=Trend(0.0, 1e-9))
    assert absent.log_evidence(THETA[None])[0] == pytest.approx(without.log_evidence(THETA[None])[0], rel=1e-9)
    T = points(5, seed=1)
    expected = without.condition(THETA).predict(T[:, :2]).mean
    np.testing.assert_allclose(absent.condition(THETA).predict(T).mean, expected, rtol=1e-9)


def test_what_is_fitted_at_the_told_points_is_what_is_predicted_there():
    p = predictor(offset=2.0, scale=3.0)
    mean, variance = p.fitted()
    prediction = p.predict(points(9))
    np.testing.assert_allclose(mean, prediction.mean, rtol=1e-9)
    np.testing.assert_allclose(variance, prediction.variance, rtol=1e-9)


def test_an_appended_observation_is_one_more_row_with_the_trend_as_it_was():
    Z, T, X = points(9), points(5, seed=1), points(2, seed=2)
    p = predictor()
    y, noise = np.array([[0.4], [-1.0]]), np.array([0.1, 0.2])
    after = p.append(X, y, noise, p.joint(X)).predict(T)
    everything = np.vstack([Z, X])
    K = dense_kernel(everything, everything) + np.diag([*np.full(9, math.exp(THETA[2])), *noise])
    rest = np.concatenate([targets(Z), y[:, 0]]) - p.mean - p.slope * everything[:, 2]
    expected = p.mean + p.slope * T[:, 2] + dense_kernel(T, everything) @ np.linalg.solve(K, rest)
    np.testing.assert_allclose(after.mean[:, 0], expected, rtol=1e-9)


def test_the_way_back_from_a_prediction_agrees_with_differences_along_every_feature():
    p, T = predictor(offset=2.0, scale=3.0), points(4, seed=1)
    by_mean, by_variance = np.array([[1.0], [0.5], [-2.0], [0.3]]), np.array([0.2, -1.0, 0.4, 1.0])

    def total(X):
        prediction = p.predict(X)
        return float((by_mean * prediction.mean).sum() + by_variance @ prediction.variance)

    slopes = p.predict(T).pullback(by_mean, by_variance)
    for row, feature in np.ndindex(T.shape):
        move = np.zeros_like(T)
        move[row, feature] = 1e-5
        assert slopes[row, feature] == pytest.approx((total(T + move) - total(T - move)) / 2e-5, rel=1e-6, abs=1e-7)


def exact_gp(n=9, additive=False):
    Z = torch.as_tensor(points(n))
    Y = torch.as_tensor(7.0 + 20.0 * targets(points(n)))[:, None]
    return ExactGP(Z, Y, groups=GROUPS.tolist(), additive=additive, trend=Trend(20.0, 10.0)).fit()


@pytest.mark.parametrize("additive", [False, True])
def test_the_posterior_for_autograd_is_that_on_arrays(additive):
    model, T = exact_gp(additive=additive), points(5, seed=1)
    X = torch.as_tensor(T).requires_grad_()
    mean = model.posterior(X).mean
    np.testing.assert_allclose(mean.detach().numpy(), model.predictor.predict(T).mean, rtol=1e-9)
    mean.sum().backward()
    slopes = model.predictor.predict(T).pullback(np.ones((5, 1)), np.zeros(5))
    np.testing.assert_allclose(X.grad.numpy(), slopes, rtol=1e-7, atol=1e-7 * np.abs(slopes).max())


def test_the_coefficient_is_found_in_the_units_of_the_values():
    model = exact_gp(40)
    assert model.predictor.slope * model.scale == pytest.approx(22.0, abs=2.0 * model.predictor.slope_sd * model.scale)


def test_further_observations_and_fantasies_keep_to_the_trend():
    model, X = exact_gp(), points(2, seed=2)
    mean = model.predictor.predict(X).mean
    expected = model.predictor.predict(points(5, seed=1)).mean
    # what was expected anyway changes no mean
    after = model.condition_on_observations(torch.as_tensor(X), torch.as_tensor(mean))
    np.testing.assert_allclose(after.predictor.predict(points(5, seed=1)).mean, expected, rtol=1e-9)
    pretended, values = model.fantasies(X, np.zeros((2, 1)))
    np.testing.assert_allclose(values, mean, rtol=1e-9)
    np.testing.assert_allclose(pretended.predict(points(5, seed=1)).mean, expected, rtol=1e-9)


def test_drawn_functions_vary_about_the_trend():
    model, X = exact_gp(), points(5, seed=1)
    paths = draw_paths(model.predictor, X, N_PATHS, np.random.default_rng(2))
    p, error = model.predictor, 4.0 * model.scale / math.sqrt(N_PATHS)
    prior = p.offset + p.scale * (p.mean + p.slope * X[:, 2])
    np.testing.assert_allclose(paths.prior[-5:].mean(1), prior, atol=error)
    # the jitter of 1e-6 on a unit diagonal adds a thousandth of a prior sd
    np.testing.assert_allclose(paths.posterior[-5:].mean(1), p.predict(X).mean[:, 0], atol=error + 3e-3 * model.scale)


def test_the_way_back_from_drawn_functions_agrees_with_differences():
    model, A = exact_gp(), points(3, seed=3)
    paths = draw_paths(model.predictor, points(5, seed=1), 4, np.random.default_rng(2))
    weights = np.random.default_rng(3).standard_normal((3, 4))
    slopes = paths.at(A).pullback(weights, np.zeros(3))
    for row, feature in np.ndindex(A.shape):
        move = np.zeros_like(A)
        move[row, feature] = 1e-5
        difference = (weights * (paths.at(A + move).mean - paths.at(A - move).mean)).sum() / 2e-5
        assert slopes[row, feature] == pytest.approx(difference, rel=1e-5, abs=1e-6 * np.abs(slopes).max())


def test_a_model_with_a_trend_is_not_converted():
    with pytest.raises(InvalidDataError, match="trend in its mean cannot be converted"):
        to_single_task_gp(exact_gp())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"groups": [0, 1, 2]}, "a last feature of group -1"),
        ({"groups": [0, 1, UNSEEN], "center": False}, "center=False"),
        ({"groups": [0, 1, UNSEEN], "trend": Trend(1.0, 0.0)}, "a positive sd"),
    ],
)
def test_a_trend_that_has_no_place_is_refused(fields, message):
    with pytest.raises(InvalidDataError, match=message):
        ExactGP(torch.rand(4, 3), torch.rand(4, 1), **({"trend": TREND} | fields))
