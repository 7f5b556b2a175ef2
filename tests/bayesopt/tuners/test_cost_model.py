"""The cost model against dense algebra, finite differences and quadrature."""

import json

import numpy as np
import pytest
from scipy.stats import norm

from bayesopt.tuners import cost_model
from bayesopt.tuners.cost_model import CostModel, _censored_site

ARMS = np.linspace(0.0, 1.0, 5)[:, None]


def told(n, *, is_counted=False, seed=0, context_dim=1):
    rng = np.random.default_rng(seed)
    model = CostModel(context_dim, np.array([0]), is_counted=is_counted)
    for _ in range(n):
        context, arm = rng.uniform(0.1, 10.0, context_dim), int(rng.integers(5))
        z = np.log(20 + 10 * (ARMS[arm, 0] - 0.5) ** 2 * context.sum()) + 0.05 * rng.standard_normal()
        model.tell(context, arm, ARMS, float(z))
    return model


def test_updates_one_by_one_give_the_posterior_of_dense_algebra():
    model = told(25)
    count, total = model.cells.sums[:, 0], model.cells.sums[:, 1]
    X = np.concatenate([model._coordinates(model.centres[model.cells.bins]), ARMS[model.cells.arms]], axis=1)
    at = np.concatenate([np.tile(model._coordinates(np.array([[3.0]])), (5, 1)), ARMS], axis=1)

    def kernel(P, Q):
        gap = (P[:, None] - Q) / np.exp(model.h[:2])
        return (model.scale * np.exp(model.h[2])) ** 2 * np.exp(-0.5 * (gap**2).sum(2))

    A = kernel(X, X) + np.diag(model._noise**2 / count)
    mean = model.mean + kernel(at, X) @ np.linalg.solve(A, total / count - model.mean)
    variance = kernel(at, at).diagonal() - np.einsum("ij,ji->i", kernel(at, X), np.linalg.solve(A, kernel(X, at)))
    found_mean, found_variance = model.predict(np.array([3.0]), ARMS)
    # the inverse is updated a few times between two factorisations of a matrix of condition about 1e5
    np.testing.assert_allclose(found_mean, mean, atol=1e-8)
    np.testing.assert_allclose(found_variance, variance, atol=1e-8)


@pytest.mark.parametrize("is_counted", [False, True])
def test_the_slope_of_the_evidence_is_that_of_finite_differences(is_counted):
    model = told(40, is_counted=is_counted, context_dim=2)
    model.tell(np.array([1.0, 2.0]), 3, ARMS, 3.2, is_censored=True)
    model._rows = np.flatnonzero(model.cells.sums[:, 0] + model.cells.sums[:, 3] > 0)
    distances = model._group_distances(model._cell_points()[model._rows])
    rounding = model._rounding(model._targets(model._rows)[0])
    h = model.h + 0.1
    _, gradient = model._objective(h, distances, rounding)
    step = 1e-5
    for i, slope in enumerate(gradient):
        up, down = (model._objective(h + sign * step * np.eye(len(h))[i], distances, rounding)[0] for sign in (1, -1))
        assert slope == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-4)  # rounding: 1e-10 / step


def test_a_censored_cost_gives_the_moments_of_quadrature():
    least, mean, variance, noise = 2.0, 1.8, 0.09, 0.1
    f = np.linspace(-1.0, 5.0, 200_001)
    density = norm.pdf(f, mean, np.sqrt(variance)) * norm.sf(least, f, noise)
    density /= density.sum()
    true_mean = (f * density).sum()
    true_variance = ((f - true_mean) ** 2 * density).sum()
    precision, weighted = _censored_site(least, mean, variance, noise)
    after = 1.0 / (1.0 / variance + precision)
    assert after == pytest.approx(true_variance, rel=1e-6)
    assert after * (mean / variance + weighted) == pytest.approx(true_mean, rel=1e-6)


def test_a_cost_at_the_cap_moves_the_mean_beyond_the_cap():
    model = told(10)
    context = np.array([5.0])
    before = model.predict(context, ARMS)[0][4]
    model.tell(context, 4, ARMS, 6.0, is_censored=True)
    after = model.predict(context, ARMS)[0][4]
    assert before < 4.0 and after > 5.5


def test_failures_near_by_make_an_arm_dearer_and_others_not():
    model = told(30)
    context = np.array([5.0])
    assert not model.log_attempts(context, ARMS).any()
    for _ in range(20):
        model.tell(context, 4, ARMS, None)
    attempts = model.log_attempts(context, ARMS)
    assert attempts[4] > 0.5  # more failures than solves near by: over half are expected to fail
    assert attempts[0] < 0.1


def test_cells_stay_few_however_long_the_run_and_keep_every_count():
    model = told(1000, context_dim=3)
    assert len(model.centres) <= cost_model.MOST_BINS
    assert len(model.cells) <= cost_model.MOST_CELLS
    assert model.cells.sums[:, 0].sum() == pytest.approx(1000)
    mean, _ = model.predict(np.array([5.0, 5.0, 5.0]), ARMS)
    assert np.abs(mean - np.log(20 + 150 * (ARMS[:, 0] - 0.5) ** 2)).max() < 0.1  # twice the noise


def test_a_drift_lets_old_costs_count_less():
    rng = np.random.default_rng(0)
    model = CostModel(1, np.array([0]), is_counted=False)

    def tell(level, n):
        for _ in range(n):
            model.tell(np.array([1.0 + rng.random()]), int(rng.integers(5)), ARMS, level + 0.02 * rng.standard_normal())

    tell(3.0, 300)
    kept = model.cells.sums[:, 0].sum()
    assert kept == pytest.approx(300)
    tell(5.0, 100)
    assert model.cells.sums[:, 0].sum() < 300
    mean, _ = model.predict(np.array([1.5]), ARMS)
    assert np.abs(mean - 5.0).max() < np.abs(mean - 3.0).min()


def test_goes_on_from_its_state_through_json():
    model = told(60)
    other = CostModel(1, np.array([0]), is_counted=False)
    other.load_state_dict(json.loads(json.dumps(model.state_dict())), ARMS)
    for each in (model, other):
        each.tell(np.array([2.0]), 1, ARMS, 3.1)
    ours, theirs = (each.predict(np.array([4.0]), ARMS)[0] for each in (model, other))
    np.testing.assert_allclose(ours, theirs, atol=1e-8)  # an inverse from scratch beside an updated one
