"""The numpy core against dense algebra written out here, GPyTorch, and finite differences."""

import dataclasses
import math

import gpytorch
import numpy as np
import pytest
import torch

from gp.array_kernels import Anova, Ard
from gp.errors import GPError, NotPositiveDefiniteError
from gp.regression import Regression, cholesky

pytestmark = pytest.mark.usefixtures("one_thread")


def points(n, d=3, seed=0):
    return np.random.default_rng(seed).random((n, d))


def targets(X):
    y = np.sin(5.0 * X).sum(1)
    return (y - y.mean()) / y.std()


def differences_twice(function, x, step=1e-3):
    """Second derivatives along each axis."""
    moves = step * np.eye(len(x))
    return np.array([(function(x + move) - 2 * function(x) + function(x - move)) / step**2 for move in moves])


def regression(X, y=None, **fields):
    n, d = X.shape
    defaults = {
        "known_variance": np.zeros(n),
        "unknown": np.ones(n),
        "kernel": Ard(np.arange(d)),
        "center": True,
    }
    return Regression(X=X, y=targets(X) if y is None else y, **(defaults | fields))


def n_hyperparameters(model):
    return len(model.prior_mode())


def predictor(n=12, *, offset=0.0, scale=1.0, **fields):
    """A posterior with lengthscales of 0.6 to 0.9 and noise of variance 0.01, in units of Y."""
    model = regression(points(n), **fields)
    theta = np.log(np.linspace(0.6, 0.9, n_hyperparameters(model)))
    if model.learns_noise:
        theta[-1] = math.log(0.01)
    return dataclasses.replace(model.condition(theta), offset=offset, scale=scale)


def matern_by_hand(r):
    return (1 + math.sqrt(5) * r + 5 * r * r / 3) * math.exp(-math.sqrt(5) * r)


def kernel_by_hand(A, B, kernel, theta):
    """Entry by entry, in plain floats."""
    groups = kernel.groups.tolist()

    def between(a, b):
        squares = [0.0] * (max(groups) + 1)
        for x, y, group in zip(a, b, groups, strict=True):
            squares[group] += ((x - y) / math.exp(theta[group])) ** 2
        if isinstance(kernel, Ard):
            return matern_by_hand(math.sqrt(sum(squares)))
        share = 1 / (1 + math.exp(-theta[len(squares)]))
        return math.prod(1 - share + share * matern_by_hand(math.sqrt(square)) for square in squares)

    return np.array([[between(a, b) for b in B.tolist()] for a in A.tolist()])


def posterior_by_hand(p, X, y, test, center=True):
    """Dense posterior mean and covariance at the generalised least squares prior mean."""
    inverse = np.linalg.inv(kernel_by_hand(X, X, p.kernel, p.theta) + np.diag(p.diagonal))
    k = kernel_by_hand(test, X, p.kernel, p.theta)
    mean = inverse.sum(0) @ y / inverse.sum() if center else 0.0
    return mean + k @ inverse @ (y - mean), kernel_by_hand(test, test, p.kernel, p.theta) - k @ inverse @ k.T


def evidence_by_hand(model, theta):
    """Dense log density of y at its generalised least squares mean, or at 0."""
    n = len(model.y)
    noise = math.exp(theta[-1]) if model.unknown.any() else 0.0
    K = kernel_by_hand(model.X, model.X, model.kernel, theta) + np.diag(model.known_variance + noise * model.unknown)
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


# -- the factor --------------------------------------------------------------------------------------------------------


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
    "tied lengthscales": {"kernel": Ard(TIED)},
    "few interactions": {"kernel": Anova(np.arange(3))},
    "few interactions, tied": {"kernel": Anova(TIED), "known_variance": np.full(12, 0.1), "unknown": np.zeros(12)},
    "no prior mean": {"center": False},
}


@pytest.mark.parametrize("fields", KINDS.values(), ids=KINDS)
def test_the_evidence_is_the_normal_density_at_the_generalised_least_squares_mean(fields):
    model = regression(points(12), **fields)
    theta = np.random.default_rng(0).normal(-0.5, 0.4, (4, n_hyperparameters(model)))
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
    theta = np.random.default_rng(1).normal(-0.5, 0.3, (2, n_hyperparameters(model)))
    for function in (model.log_evidence, model.log_prior):
        for row in theta:
            differences = slopes(lambda t, function=function: function(t[None])[0][0], row, 1e-6)
            # values of size 30, rounded, over 2e-6
            assert function(row[None])[1][0] == pytest.approx(differences, abs=2e-7)


def test_the_prior_is_a_normal_density_of_the_hyperparameters():
    model = regression(points(12), **KINDS["few interactions"])
    mean, sd = map(torch.as_tensor, model.kernel.prior())
    theta = np.array([[-0.2, 0.1, 0.4, 0.3, -5.0], [0.2, 0.0, 0.4, 0.3, -5.0]])
    apart = model.log_prior(theta)[0][0] - model.log_prior(theta)[0][1]
    density = torch.distributions.Normal(mean, sd).log_prob(torch.as_tensor(theta[:, :-1])).sum(1)
    assert apart == pytest.approx((density[0] - density[1]).item(), abs=1e-12)
    # Normalised, so that kernels with different numbers of hyperparameters compare: a density of 1 at the noise's mode.
    at_mode = model.log_prior(model.prior_mode()[None])[0][0]
    noise_sd = 1 / np.sqrt(-differences_twice(lambda t: model.log_prior(t[None])[0][0], model.prior_mode())[-1])
    constants = -torch.log(sd).sum().item() - math.log(noise_sd) - 0.5 * len(model.prior_mode()) * math.log(2 * math.pi)
    assert at_mode == pytest.approx(constants, abs=1e-6)


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


def test_a_rough_function_without_noise_on_a_smooth_trend_is_not_taken_for_noise():
    X = np.linspace(0.0, 1.0, 80)[:, None]
    y = np.sin(3.0 * X[:, 0]) + 0.2 * np.sin(100.0 * X[:, 0])  # five points a wave
    model = regression(X, (y - y.mean()) / y.std())
    starts = model.search_starts()
    fits = np.array([model.fit(some, 30) for some in (starts, starts[:-1])])
    density = model.log_evidence(fits)[0] + model.log_prior(fits)[0]
    noise = np.exp(fits[:, -1])
    # The waves are a fifth of the variance. Without the rough and clean start they pass for noise, 25 nats lower.
    assert noise[0] < 1e-5
    assert noise[1] > 0.1
    assert density[0] > density[1] + 20.0


@pytest.mark.parametrize("sd", [0.1, 0.5])
def test_the_start_that_is_rough_and_clean_does_not_explain_noise_away(sd):
    X = points(60, 1)
    y = np.sin(3.0 * X[:, 0]) + sd * np.random.default_rng(1).standard_normal(60)
    model = regression(X, (y - y.mean()) / y.std())
    learned = math.sqrt(math.exp(model.fit(model.search_starts(), 30)[-1])) * y.std()
    assert abs(learned / sd - 1.0) < 4.0 / math.sqrt(2.0 * 60)  # four standard errors of a standard deviation of 60


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
    )
    theta = np.array([[-0.2, 0.1, 0.4, -3.0]])
    assert part.log_evidence(theta)[0] == alone.log_evidence(theta)[0]
    assert part.kernel is whole.kernel


# -- prediction -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("m", [4, 3000], ids=["few points", "many points"])
def test_the_posterior_is_that_of_dense_algebra(fields, m):
    p = predictor(offset=3.0, scale=2.0, **fields)
    test = points(m, seed=1)
    mean, covariance = posterior_by_hand(p, points(12), targets(points(12)), test[:4], fields.get("center", True))
    prediction = p.predict(test)
    assert prediction.mean[:4, 0] == pytest.approx(3.0 + 2.0 * mean, abs=1e-9)
    assert prediction.variance[:4] == pytest.approx(4.0 * covariance.diagonal(), abs=1e-9)
    assert prediction.covariance(p.anchor(test[:4]))[:4] == pytest.approx(4.0 * covariance, abs=1e-9)


def test_the_joint_posterior_is_that_of_dense_algebra():
    p = predictor()
    test = points(5, seed=1)
    mean, covariance = posterior_by_hand(p, points(12), targets(points(12)), test)
    joint_mean, joint_covariance, _ = p.joint(test)
    assert joint_mean[:, 0] == pytest.approx(mean, abs=1e-9)
    assert joint_covariance == pytest.approx(covariance, abs=1e-9)


@pytest.mark.parametrize("fields", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("appended", [False, True], ids=["data alone", "with fantasies"])
def test_conditioning_points_as_anchors_are_as_good_as_any_others(fields, appended):
    p = predictor(offset=3.0, scale=2.0, **fields)
    if appended:
        joint = p.joint(points(2, seed=4))
        p = p.append(points(2, seed=4), np.ones((2, 1)), np.full(2, 0.01), joint)
    rows = np.array([7, 0, 3, len(p.scaled_X) - 1])
    anywhere, there = p.anchor(p.scaled_X[rows] * p.lengthscales), p.anchor_rows(rows)
    prediction = p.predict(np.vstack([points(12)[:3], points(5, seed=1)]))
    assert prediction.covariance(there) == pytest.approx(prediction.covariance(anywhere), abs=1e-9)
    assert prediction.covariance(there[1:3]) == pytest.approx(prediction.covariance(anywhere)[:, 1:3], abs=1e-9)
    weights = np.random.default_rng(3).standard_normal((3, 8, 4))
    along = weights[0, :, :1], weights[1, :, 0]
    gradient = prediction.pullback(*along, there, weights[2])
    assert gradient == pytest.approx(prediction.pullback(*along, anywhere, weights[2]), abs=1e-8)


@pytest.mark.parametrize("fields", [KINDS["learned noise"], KINDS["no prior mean"]], ids=["prior mean", "none"])
def test_what_is_fitted_is_what_is_predicted_at_the_training_points(fields):
    p = predictor(offset=3.0, scale=2.0, **fields)
    mean, variance = p.fitted()
    prediction = p.predict(points(12))
    assert mean == pytest.approx(prediction.mean, abs=1e-9)
    assert variance == pytest.approx(prediction.variance, abs=1e-9)


@pytest.mark.parametrize("place", ["between the data", "on the data"])
@pytest.mark.parametrize("with_anchors", [False, True], ids=["alone", "with anchors"])
@pytest.mark.parametrize("kernel", [Ard(TIED), Anova(TIED)], ids=["all interactions", "few interactions"])
def test_the_pullback_agrees_with_finite_differences(place, with_anchors, kernel):
    p = predictor(offset=3.0, scale=2.0, kernel=kernel)
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


def test_without_its_noise_a_regression_must_reproduce_every_value():
    X = points(10)
    known = np.where(np.arange(10) < 3, 0.2, 0.0)
    noisy = regression(X, known_variance=known, unknown=(known == 0.0).astype(float))
    clean = noisy.without_noise(1e-6)
    assert not clean.learns_noise
    assert clean.known_variance.tolist() == [0.2] * 3 + [1e-6] * 7
    theta = np.full(3, -0.5)
    assert clean.condition(theta).fitted()[0][3:, 0] == pytest.approx(noisy.y[3:], abs=1e-3)


@pytest.mark.parametrize("fields", [KINDS["learned noise"], KINDS["some known"]], ids=["learned", "some known"])
def test_without_noise_is_the_same_as_a_noise_that_was_learned_to_be_so_small(fields):
    noisy, variance = regression(points(12), **fields), 1e-3
    clean = noisy.without_noise(variance)
    theta = np.array([[-0.3, 0.2, -1.0]])
    learned = np.append(theta, [[math.log(variance)]], axis=1)
    value, gradient = clean.log_evidence(theta)
    assert value == pytest.approx(noisy.log_evidence(learned)[0], abs=1e-9)
    assert gradient == pytest.approx(noisy.log_evidence(learned)[1][:, :-1], abs=1e-9)
    # The prior is that of the kernel alone, so that the two compare on what they share.
    mean, sd = map(torch.as_tensor, noisy.kernel.prior())
    kernel_alone = torch.distributions.Normal(mean, sd).log_prob(torch.as_tensor(theta)).sum().item()
    assert clean.log_prior(theta)[0] == pytest.approx(kernel_alone, abs=1e-12)
    assert clean.search_starts().shape[1] == noisy.search_starts().shape[1] - 1


def test_where_every_noise_is_known_there_is_none_to_leave_out():
    known = regression(points(12), **KINDS["known noise"])
    assert np.array_equal(known.without_noise(1e-6).known_variance, known.known_variance)
