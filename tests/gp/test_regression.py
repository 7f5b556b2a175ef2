"""The numpy core against dense algebra written out here, GPyTorch, and finite differences."""

import dataclasses
import math

import gpytorch
import numpy as np
import pytest
import torch

from gp.errors import GPError, NotPositiveDefiniteError
from gp.regression import (
    LENGTHSCALE_LOG_SD,
    NOISE_LOG_MEAN,
    NOISE_LOG_SD,
    Regression,
    cholesky,
    matern,
    squared_distances,
)


def points(n, d=3, seed=0):
    return np.random.default_rng(seed).random((n, d))


def targets(X):
    y = np.sin(5.0 * X).sum(1)
    return (y - y.mean()) / y.std()


def regression(X, y=None, **fields):
    n, d = X.shape
    defaults = {
        "known_variance": np.zeros(n),
        "unknown": np.ones(n),
        "groups": np.arange(d),
        "center": True,
        "lengthscale_log_median": math.log(0.5 * math.sqrt(d)),
    }
    return Regression(X=X, y=targets(X) if y is None else y, **(defaults | fields))


def predictor(n=12, *, offset=0.0, scale=1.0, **fields):
    """A posterior with lengthscales of 0.6 to 0.9 and noise of variance 0.01, in units of Y."""
    model = regression(points(n), **fields)
    theta = np.log(np.linspace(0.6, 0.9, model.n_lengthscales + model.learns_noise))
    if model.learns_noise:
        theta[-1] = math.log(0.01)
    return dataclasses.replace(model.condition(theta), offset=offset, scale=scale)


def kernel_by_hand(A, B, lengthscales):
    """Matérn-5/2, entry by entry, in plain floats."""
    rows = []
    for a in A.tolist():
        row = []
        for b in B.tolist():
            r = math.sqrt(sum(((x - y) / l) ** 2 for x, y, l in zip(a, b, lengthscales, strict=True)))
            row.append((1 + math.sqrt(5) * r + 5 * r * r / 3) * math.exp(-math.sqrt(5) * r))
        rows.append(row)
    return np.array(rows)


def posterior_by_hand(X, y, test, lengthscales, diagonal, center=True):
    """Dense posterior mean and covariance at the generalised least squares prior mean."""
    inverse = np.linalg.inv(kernel_by_hand(X, X, lengthscales) + np.diag(diagonal))
    k = kernel_by_hand(test, X, lengthscales)
    mean = inverse.sum(0) @ y / inverse.sum() if center else 0.0
    return mean + k @ inverse @ (y - mean), kernel_by_hand(test, test, lengthscales) - k @ inverse @ k.T


def evidence_by_hand(model, theta):
    """Dense log density of y at its generalised least squares mean, or at 0."""
    n = len(model.y)
    lengthscales = [math.exp(theta[group]) for group in model.groups]
    noise = math.exp(theta[-1]) if model.unknown.any() else 0.0
    K = kernel_by_hand(model.X, model.X, lengthscales) + np.diag(model.known_variance + noise * model.unknown)
    inverse = np.linalg.inv(K)
    residual = model.y - (inverse.sum(0) @ model.y / inverse.sum() if model.center else 0.0)
    return -0.5 * (residual @ inverse @ residual + np.linalg.slogdet(K)[1] + n * math.log(2 * math.pi))


def slopes(function, x, step):
    """Central differences of a function of one array, in the shape of that array before the function's own."""
    found = []
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        found.append((function(up) - function(down)) / (2 * step))
    return np.reshape(found, x.shape + np.shape(found[0]))


# -- kernel and factor ------------------------------------------------------------------------------------------------


def test_the_kernel_and_its_derivative_are_those_of_the_formula_and_finite_at_zero():
    r2 = np.array([0.0, 1e-8, 0.3, 4.0, 900.0])
    value, slope = matern(r2)
    s = np.sqrt(5.0 * r2)
    assert value == pytest.approx((1 + s + s**2 / 3) * np.exp(-s), rel=1e-14)
    assert slope == pytest.approx(-5.0 / 6.0 * (1 + s) * np.exp(-s), rel=1e-14)
    step = 1e-6
    differences = (matern(r2[2:] + step)[0] - matern(r2[2:] - step)[0]) / (2 * step)
    assert slope[2:] == pytest.approx(differences, rel=1e-7, abs=1e-12)


def test_squared_distances_are_never_negative():
    A = 1e6 + points(5)
    r2 = squared_distances(A, A)
    assert (r2 >= 0).all()
    assert squared_distances(points(4), points(3, seed=1)) == pytest.approx(
        ((points(4)[:, None] - points(3, seed=1)) ** 2).sum(2), abs=1e-14
    )


def test_a_factor_is_shifted_only_where_that_is_needed():
    fine = np.array([[1.0, 0.5], [0.5, 1.0]])
    assert cholesky(fine, "K") == pytest.approx(np.linalg.cholesky(fine), abs=1e-15)
    singular = np.ones((3, 3))
    L = cholesky(singular, "K")
    assert np.array_equal(np.triu(L, 1), np.zeros((3, 3)))
    assert np.isfinite(L).all()
    assert np.abs(L @ L.T - singular).max() <= 1e-7  # the second shift at the latest


@pytest.mark.parametrize(
    ("K", "message"),
    [
        (np.diag([1.0, -1.0]), r"K_XX \(2 x 2\): it is not positive definite at jitter 0.0001"),
        (np.diag([1.0, np.nan]), r"K_XX \(2 x 2\): it holds values that are not finite"),
    ],
    ids=["indefinite", "nan"],
)
def test_what_cannot_be_factored_is_named_with_its_likely_causes(K, message):
    with pytest.raises(NotPositiveDefiniteError, match=message + r".*\(a\) duplicate rows.*\(b\) a lengthscale"):
        cholesky(K, "K_XX")


# -- evidence and prior -----------------------------------------------------------------------------------------------

TIED = np.array([0, 1, 0])
KINDS = {
    "learned noise": {},
    "known noise": {"known_variance": np.linspace(0.01, 0.2, 12), "unknown": np.zeros(12)},
    "some known": {"known_variance": np.where(np.arange(12) < 5, 0.1, 0.0), "unknown": 1.0 * (np.arange(12) >= 5)},
    "tied lengthscales": {"groups": TIED},
    "no prior mean": {"center": False},
}


@pytest.mark.parametrize("fields", KINDS.values(), ids=KINDS)
def test_the_evidence_is_the_normal_density_at_the_generalised_least_squares_mean(fields):
    model = regression(points(12), **fields)
    theta = np.random.default_rng(0).normal(-0.5, 0.4, (4, model.n_lengthscales + model.learns_noise))
    value, _ = model.log_evidence(theta)
    assert value == pytest.approx([evidence_by_hand(model, row) for row in theta], abs=1e-8)


def test_the_evidence_agrees_with_gpytorch():
    model = regression(points(12))
    theta = np.array([-0.3, 0.2, -1.0, -3.0])
    kernel = gpytorch.kernels.MaternKernel(nu=2.5, ard_num_dims=3)
    kernel.lengthscale = torch.as_tensor(np.exp(theta[:3]))
    covariance = kernel(torch.as_tensor(model.X)).to_dense() + math.exp(-3.0) * torch.eye(12)
    mean = torch.full((12,), model.condition(theta).mean)
    reference = torch.distributions.MultivariateNormal(mean, covariance).log_prob(torch.as_tensor(model.y))
    assert model.log_evidence(theta[None])[0] == pytest.approx(reference.item(), abs=1e-8)


@pytest.mark.parametrize("coincident", [False, True], ids=["apart", "coincident"])
@pytest.mark.parametrize("fields", KINDS.values(), ids=KINDS)
def test_gradients_of_evidence_and_prior_agree_with_finite_differences(fields, coincident):
    X = points(12)
    if coincident:
        X[1], X[2] = X[0], X[0]
    model = regression(X, targets(points(12)), **fields)
    theta = np.random.default_rng(1).normal(-0.5, 0.3, (2, model.n_lengthscales + model.learns_noise))
    for function in (model.log_evidence, model.log_prior):
        for row in theta:
            differences = slopes(lambda t, function=function: function(t[None])[0][0], row, 1e-6)
            # values of size 30, rounded, over 2e-6
            assert function(row[None])[1][0] == pytest.approx(differences, abs=2e-7)


def test_the_prior_density_is_that_of_lengthscales_and_noise_themselves():
    model = regression(points(12))
    theta = np.array([[-0.2, 0.1, 0.4, -5.0]])
    median = torch.tensor(model.lengthscale_log_median)
    lengthscales = torch.distributions.LogNormal(median, LENGTHSCALE_LOG_SD)
    noise = torch.distributions.LogNormal(torch.tensor(NOISE_LOG_MEAN), NOISE_LOG_SD)
    expected = lengthscales.log_prob(torch.as_tensor(np.exp(theta[0, :3]))).sum()
    expected = expected + noise.log_prob(torch.tensor(math.exp(-5.0)))
    assert model.log_prior(theta)[0] == pytest.approx(expected.item(), abs=1e-10)


@pytest.mark.parametrize("fields", [KINDS["learned noise"], KINDS["known noise"]], ids=["learned", "known"])
def test_the_mode_of_the_prior_is_where_its_slope_vanishes_and_the_first_start(fields):
    model = regression(points(12), **fields)
    mode = model.prior_mode()
    assert np.abs(model.log_prior(mode[None])[1]).max() < 1e-12
    assert np.array_equal(model.search_starts()[0], mode)


def test_the_fit_is_stationary_and_beats_its_starts():
    model = regression(points(30))
    starts = model.search_starts()
    best = model.fit(starts, 60)[None]

    def density(theta):
        return model.log_evidence(theta)[0] + model.log_prior(theta)[0]

    assert density(best) > density(starts).max()
    gradient = model.log_evidence(best)[1] + model.log_prior(best)[1]
    assert np.abs(gradient).max() < 0.05  # the fit ends where a step gains less than 1e-4 nats


def test_a_start_where_the_kernel_cannot_be_factored_does_not_spoil_the_others():
    model = regression(points(12))
    starts = model.search_starts()
    broken = np.vstack([np.full_like(starts[0], np.nan), starts])
    assert np.array_equal(model.fit(broken, 30), model.fit(starts, 30))
    with pytest.raises(GPError, match="cannot be factored at any of 1 starts"):
        model.fit(broken[:1], 30)


def test_a_subset_is_the_regression_of_its_rows():
    whole = regression(points(12), **KINDS["some known"])
    rows = np.array([1, 4, 7, 11])
    part = whole.subset(rows)
    alone = regression(
        whole.X[rows],
        whole.y[rows],
        known_variance=whole.known_variance[rows],
        unknown=whole.unknown[rows],
        lengthscale_log_median=whole.lengthscale_log_median,
    )
    theta = np.array([[-0.2, 0.1, 0.4, -3.0]])
    assert part.log_evidence(theta)[0] == alone.log_evidence(theta)[0]
    assert part.groups is whole.groups


# -- prediction -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("m", [4, 3000], ids=["few points", "many points"])
def test_the_posterior_is_that_of_dense_algebra(fields, m):
    p = predictor(offset=3.0, scale=2.0, **fields)
    test = points(m, seed=1)
    mean, covariance = posterior_by_hand(
        points(12), targets(points(12)), test[:4], p.lengthscales, p.diagonal, fields.get("center", True)
    )
    prediction = p.predict(test)
    assert prediction.mean[:4, 0] == pytest.approx(3.0 + 2.0 * mean, abs=1e-9)
    assert prediction.variance[:4] == pytest.approx(4.0 * covariance.diagonal(), abs=1e-9)
    assert prediction.covariance(p.anchor(test[:4]))[:4] == pytest.approx(4.0 * covariance, abs=1e-9)


def test_the_joint_posterior_is_that_of_dense_algebra():
    p = predictor()
    test = points(5, seed=1)
    mean, covariance = posterior_by_hand(points(12), targets(points(12)), test, p.lengthscales, p.diagonal)
    joint_mean, joint_covariance, _ = p.joint(test)
    assert joint_mean[:, 0] == pytest.approx(mean, abs=1e-9)
    assert joint_covariance == pytest.approx(covariance, abs=1e-9)


@pytest.mark.parametrize("fields", [KINDS["learned noise"], KINDS["no prior mean"]], ids=["prior mean", "none"])
def test_what_is_fitted_is_what_is_predicted_at_the_training_points(fields):
    p = predictor(offset=3.0, scale=2.0, **fields)
    mean, variance = p.fitted()
    prediction = p.predict(points(12))
    assert mean == pytest.approx(prediction.mean, abs=1e-9)
    assert variance == pytest.approx(prediction.variance, abs=1e-9)


def test_some_rows_of_a_prediction_are_the_prediction_at_some_points():
    p = predictor()
    test, rows = points(6, seed=1), np.array([4, 1])
    some, alone = p.predict(test).rows(rows), p.predict(test[rows])
    weights = np.ones((2, 1)), np.ones(2)
    assert some.mean == pytest.approx(alone.mean, abs=1e-14)
    assert some.variance == pytest.approx(alone.variance, abs=1e-14)
    assert some.pullback(*weights) == pytest.approx(alone.pullback(*weights), abs=1e-13)


@pytest.mark.parametrize("place", ["between the data", "on the data"])
@pytest.mark.parametrize("with_anchors", [False, True], ids=["alone", "with anchors"])
def test_the_pullback_agrees_with_finite_differences(place, with_anchors):
    p = predictor(offset=3.0, scale=2.0, groups=TIED)
    test = points(12)[:5] if place == "on the data" else points(5, seed=1)
    anchors = p.anchor(np.vstack([points(12)[:2], points(2, seed=2)]))  # two of them are training points, too
    rng = np.random.default_rng(3)
    along_mean, along_variance = rng.standard_normal((5, 1)), rng.standard_normal(5)
    along_covariance = rng.standard_normal((5, 4)) * with_anchors

    def weighted(X):
        prediction = p.predict(X)
        total = along_mean[:, 0] * prediction.mean[:, 0] + along_variance * prediction.variance
        return total + (along_covariance * prediction.covariance(anchors)).sum(1)

    prediction = p.predict(test)
    gradient = (
        prediction.pullback(along_mean, along_variance, anchors, along_covariance)
        if with_anchors
        else prediction.pullback(along_mean, along_variance)
    )
    differences = slopes(weighted, test, 1e-5)  # m x d x m: a point moves its own prediction alone
    assert gradient == pytest.approx(np.einsum("idi->id", differences), abs=1e-6)
    assert np.abs(differences[0, :, 1:]).max() == 0.0


def test_the_pullback_adds_over_columns_of_targets():
    p = predictor()
    joint = p.joint(points(2, seed=4))
    several = p.append(points(2, seed=4), np.random.default_rng(0).standard_normal((2, 3)), np.full(2, 0.01), joint)
    prediction = several.predict(points(5, seed=1))
    weights = np.random.default_rng(1).standard_normal((5, 3))
    total = prediction.pullback(weights, np.zeros(5))
    parts = [prediction.pullback(weights * (np.arange(3) == c), np.zeros(5)) for c in range(3)]
    assert total == pytest.approx(sum(parts), abs=1e-12)


# -- further observations ---------------------------------------------------------------------------------------------


def test_appending_is_conditioning_from_scratch_at_the_same_prior_mean():
    X, y, noise = points(15), targets(points(15)), np.array([0.3, 0.01, 0.2])
    before = regression(X[:12], y[:12], center=False)
    theta = np.log([0.6, 0.7, 0.8, 0.01])
    after = before.condition(theta)
    after = after.append(X[12:], y[12:, None], noise, after.joint(X[12:]))
    whole = regression(
        X,
        y,
        center=False,
        known_variance=np.concatenate([np.zeros(12), noise]),
        unknown=1.0 * (np.arange(15) < 12),
    ).condition(theta)
    test = points(5, seed=1)
    for one, other in zip(after.fitted(), whole.fitted(), strict=True):
        assert one == pytest.approx(other, abs=1e-9)
    assert after.inverse_factor == pytest.approx(whole.inverse_factor, abs=1e-8)
    assert after.predict(test).mean == pytest.approx(whole.predict(test).mean, abs=1e-9)
    assert after.predict(test).variance == pytest.approx(whole.predict(test).variance, abs=1e-9)


def test_columns_of_targets_are_appended_side_by_side():
    p = predictor()
    new, noise = points(2, seed=4), np.full(2, 0.05)
    columns = np.random.default_rng(0).standard_normal((2, 3))
    together = p.append(new, columns, noise, p.joint(new))
    test = points(5, seed=1)
    for c in range(3):
        alone = p.append(new, columns[:, [c]], noise, p.joint(new))
        assert together.predict(test).mean[:, [c]] == pytest.approx(alone.predict(test).mean, abs=1e-12)
        assert together.fitted()[0][:, [c]] == pytest.approx(alone.fitted()[0], abs=1e-12)
        assert np.array_equal(together.predict(test).variance, alone.predict(test).variance)


def test_a_point_appended_where_it_is_already_known_leaves_all_as_it_was():
    p = predictor()
    here = points(12)[:1]
    mean, _, _ = joint = p.joint(here)
    after = p.append(here, mean, np.array([1e-3]), joint)
    assert after.predict(points(5, seed=1)).mean == pytest.approx(p.predict(points(5, seed=1)).mean, abs=1e-9)


@pytest.mark.parametrize(
    ("X", "y"),
    [
        (points(1), np.zeros(1)),
        (np.zeros((6, 3)), np.linspace(-1.0, 1.0, 6)),
        (points(6), np.zeros(6)),
    ],
    ids=["one point", "one place", "equal values"],
)
@pytest.mark.parametrize("known", [None, 1e-6], ids=["learned noise", "no noise"])
def test_degenerate_data_give_a_finite_posterior(X, y, known):
    n = len(y)
    fields = {} if known is None else {"known_variance": np.full(n, known), "unknown": np.zeros(n)}
    model = regression(X, y, **fields)
    p = model.condition(model.fit(model.search_starts(), 30))
    prediction = p.predict(points(3, seed=1))
    assert np.isfinite(prediction.mean).all()
    assert (prediction.variance > 0).all()
    assert np.isfinite(prediction.pullback(np.ones((3, 1)), np.ones(3))).all()
