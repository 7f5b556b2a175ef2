"""Weights and evidence against closed forms: a Brownian bridge, counted functions, experts who are right at times."""

import numpy as np
import pytest
from scipy.stats import norm

from bayesopt.acquisition.slab_mixture import MIN_EFFECTIVE, n_effective, weigh
from gp.array_kernels import Ard
from gp.paths import draw_paths
from gp.regression import Regression, cholesky


def test_of_functions_that_can_be_counted_the_verdict_is_bayes_rule():
    # Two equally likely functions; the belief holds that it is the first, four times as likely as the second.
    log_rho = np.log([[4.0, 1.0]])
    after = np.repeat(log_rho, [30, 10], axis=1)  # the data make the first one three times as likely
    before = np.repeat(log_rho, [20, 20], axis=1)
    verdict = weigh(before, after, doubt=0.2)
    factor = (0.75 * 4 + 0.25 * 1) / 2.5
    assert verdict.log_bayes_factor == pytest.approx(np.log(factor), abs=1e-12)
    assert verdict.log_bayes_factors == pytest.approx([np.log(factor)], abs=1e-12)
    assert verdict.probability == pytest.approx(0.8 * factor / (0.2 + 0.8 * factor), abs=1e-12)
    log_weights, slopes = verdict.log_weight(log_rho)
    assert np.exp(log_weights) == pytest.approx([0.2 + 0.8 * 4 / 2.5, 0.2 + 0.8 / 2.5], abs=1e-12)
    assert slopes[0] == pytest.approx([0.8 * 1.6 / (0.2 + 0.8 * 1.6), 0.8 * 0.4 / (0.2 + 0.8 * 0.4)], abs=1e-12)


def test_several_beliefs_are_weighed_in_every_combination():
    rng = np.random.default_rng(0)
    before, after = rng.standard_normal((2, 2, 500))
    verdict = weigh(before, after, doubt=0.3)
    sets = {(): 0.09, (0,): 0.21, (1,): 0.21, (0, 1): 0.49}
    mass = {
        rows: share * np.exp(after[list(rows)].sum(0)).mean() / np.exp(before[list(rows)].sum(0)).mean()
        for rows, share in sets.items()
    }
    total = sum(mass.values())
    assert verdict.probability == pytest.approx(mass[0, 1] / total, rel=1e-12)
    expected = [(mass[(row,)] + mass[0, 1]) / total for row in (0, 1)]
    assert verdict.probabilities == pytest.approx(expected, rel=1e-12)
    by_hand = sum(
        share * np.exp(after[list(rows)].sum(0)) / np.exp(before[list(rows)].sum(0)).mean()
        for rows, share in sets.items()
    )
    np.testing.assert_allclose(np.exp(verdict.log_weight(after)[0]), by_hand, rtol=1e-12)


def test_a_belief_that_few_functions_share_is_weakened_until_enough_count():
    before, after = np.full((1, 512), -8.0), np.full((1, 512), -40.0)
    after[0, :2] = 0.0
    verdict = weigh(before, after, doubt=0.2)
    assert 0.0 < verdict.power < 1.0
    # the bisection ends within a thousandth of the power
    assert n_effective(verdict.log_weight(after)[0]) == pytest.approx(MIN_EFFECTIVE, rel=0.05)
    assert weigh(before, before, doubt=0.2).power == 1.0


def test_what_no_function_does_is_no_certainty():
    never = np.full((1, 100), -np.inf)
    assert weigh(never, never, doubt=0.2).probability == pytest.approx(0.8)
    at_odds = weigh(np.zeros((1, 100)), never, doubt=0.2)
    assert np.isfinite(at_odds.log_bayes_factor) and at_odds.probability < 1e-9
    assert np.isfinite(at_odds.log_weight(never)[0]).all()


def test_a_bridge_of_brownian_motion_gives_the_closed_form_of_the_evidence():
    """Motion from 0 whose end was seen at b = 1/2, and the belief that its maximum exceeds c = 1.

    By the reflection principle the maximum exceeds c with probability 2 Phi(-c) before and exp(-2 c (c - b)) after the
    end is seen. On a grid of steps dt the barrier lies 0.5826 sqrt(dt) lower (Broadie, Glasserman and Kou 1997).
    """
    c, b, steps, n = 1.0, 0.5, 400, 40_000
    rng = np.random.default_rng(0)
    dt = 1.0 / steps
    motion = np.cumsum(rng.standard_normal((n, steps)) * np.sqrt(dt), axis=1)
    bridge = motion + np.linspace(dt, 1.0, steps) * (b - motion[:, -1:])
    barrier = c - 0.5826 * np.sqrt(dt)
    with np.errstate(divide="ignore"):
        before, after = (np.log((path.max(1) > barrier).astype(float))[None] for path in (motion, bridge))
    verdict = weigh(before, after, doubt=0.2)
    exact = np.exp(-2 * c * (c - b)) / (2 * norm.cdf(-c))
    assert exact == pytest.approx(1.159, abs=5e-4)
    p, q = np.exp(after).mean(), np.exp(before).mean()
    error = exact * np.sqrt((1 - p) / (p * n) + (1 - q) / (q * n))
    # the correction itself is good to o(sqrt(dt)), of which an eighth of a step is left, a density of 0.6 high
    assert np.exp(verdict.log_bayes_factor) == pytest.approx(exact, abs=4 * error + 0.6 * 0.125 * np.sqrt(dt))


GRID = np.linspace(0.0, 1.0, 101)


def matern(a, b, length):
    s = np.sqrt(5.0) * np.abs(a[:, None] - b[None, :]) / length
    return (1.0 + s + s * s / 3.0) * np.exp(-s)


def functions(n, rng, length=0.2):
    """Functions on the grid, `101 x n`, of a Matérn-5/2 with unit variance."""
    return cholesky(matern(GRID, GRID, length) + 1e-6 * np.eye(len(GRID)), "grid") @ rng.standard_normal((len(GRID), n))


def given(f, rows, values, length=0.2):
    """Functions moved to pass through values at rows of the grid."""
    K = matern(GRID, GRID[rows], length)
    return f + K @ np.linalg.solve(K[rows] + 1e-6 * np.eye(len(rows)), np.asarray(values)[:, None] - f[rows])


def log_belief(f, centre, sd):
    return -0.5 * ((GRID[f.argmax(0)] - centre) / sd)[None] ** 2


def test_with_a_wrong_belief_only_data_can_take_back_what_it_claims():
    rng = np.random.default_rng(0)
    prior = functions(4000, rng)
    before = log_belief(prior, 0.75, 0.05)
    rows, values = np.array([10, 20, 30, 70, 75, 80]), [1.0, 1.6, 1.0, -1.0, -1.5, -1.0]
    verdict = weigh(before, log_belief(given(prior, rows, values), 0.75, 0.05), doubt=0.2)
    assert verdict.probability < 0.05
    agreeing = weigh(before, log_belief(given(prior, rows, values[::-1]), 0.75, 0.05), doubt=0.2)
    assert agreeing.probability > 0.8


@pytest.mark.slow
def test_the_probability_of_being_right_is_calibrated():
    """Experts who are right four times out of five, each about a function of its own.

    A right expert's function is drawn with the density that the belief claims, prior times rho; a wrong one's from the
    prior alone. Among experts given probability p, a share p must be right.
    """
    rng = np.random.default_rng(1)
    pool, judges = functions(20_000, rng), functions(2000, rng)
    predicted, right = [], []
    for _ in range(600):
        centre = rng.uniform(0.1, 0.9)
        is_right = rng.random() < 0.8
        rho = np.exp(log_belief(pool, centre, 0.1))[0]
        truth = pool[:, rng.choice(pool.shape[1], p=rho / rho.sum() if is_right else None)]
        rows = rng.choice(len(GRID), rng.integers(2, 8), replace=False)
        verdict = weigh(
            log_belief(judges, centre, 0.1), log_belief(given(judges, rows, truth[rows]), centre, 0.1), doubt=0.2
        )
        predicted.append(verdict.probability)
        right.append(is_right)
    predicted, right = np.array(predicted), np.array(right)
    assert np.ptp(predicted) > 0.5  # or calibration would be empty
    edges = np.quantile(predicted, np.linspace(0.0, 1.0, 6))
    which = np.clip(np.searchsorted(edges, predicted, side="right") - 1, 0, 4)
    for group in range(5):
        p, share = predicted[which == group].mean(), right[which == group].mean()
        # three standard errors of a binomial share, and what 2000 functions leave open of a probability
        assert share == pytest.approx(p, abs=3 * np.sqrt(p * (1 - p) / (which == group).sum()) + 0.02), (group, p)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("xs", "ys", "plain", "published", "weighed", "share", "log_factor"),
    [
        pytest.param((0.3, 0.5), (0.0, 0.0), 0.37, 0.79, 0.95, 0.34, 0.14, id="uninformative"),
        pytest.param((0.05, 0.2, 0.8), (0.0, -0.5, 2.0), 0.91, 0.97, 0.99, 0.82, 1.16, id="agrees"),
        pytest.param((0.15, 0.35, 0.45, 0.65), (2.0, 2.0, 2.0, -0.5), 0.001, 0.001, 0.158, 0.019, -4.9, id="conflicts"),
    ],
)
def test_the_chance_of_a_believed_optimum_in_one_dimension(
    xs, ys, plain, published, weighed, share, log_factor, one_thread
):
    """A belief N(0.75, 0.1) on the optimum of a Matérn-5/2 with lengthscale 0.2, by 200,000 functions.

    The chance that the optimum lies within two sds of 0.75: without the belief, with functions weighed before the data
    as published, and with functions weighed after them; then the share of functions that effectively count, and the
    evidence. The numbers are those of a table that was computed apart from this program, whose data of two
    uninformative, three agreeing and four conflicting values are not on record: these here were chosen, by 20,000
    functions of another sampler, as data with about such numbers.
    """
    regression = Regression(
        X=np.array(xs)[:, None],
        y=np.array(ys),
        known_variance=np.full(len(xs), 1e-6),
        unknown=np.zeros(len(xs)),
        kernel=Ard(np.zeros(1, dtype=np.intp)),
        center=False,
    )
    predictor = regression.condition(np.array([np.log(0.2)]))
    places = np.concatenate([xs, GRID])
    rng = np.random.default_rng(0)
    log_before, log_after, near = [], [], []
    for _ in range(20):
        paths = draw_paths(predictor, GRID[:, None], 10_000, rng)
        before, after = (places[drawn.argmax(0)] for drawn in (paths.prior, paths.posterior))
        log_before.append(-0.5 * ((before - 0.75) / 0.1) ** 2)
        log_after.append(-0.5 * ((after - 0.75) / 0.1) ** 2)
        near.append(np.abs(after - 0.75) < 0.2)
    log_before, log_after, near = (np.concatenate(part) for part in (log_before, log_after, near))
    verdict = weigh(log_before[None], log_after[None], doubt=0.2)
    w, w_before = np.exp(log_after), np.exp(log_before)
    # the table's own tolerance; in nats, 0.1
    assert near.mean() == pytest.approx(plain, abs=0.03)
    assert np.average(near, weights=w_before) == pytest.approx(published, abs=0.03)
    assert np.average(near, weights=w) == pytest.approx(weighed, abs=0.03)
    assert n_effective(log_after) / len(w) == pytest.approx(share, abs=0.03)
    assert verdict.log_bayes_factor == pytest.approx(log_factor, abs=0.1)
