"""Laws of learning curves: against their formulas written out as sums, and what they recover of known constants."""

import math

import numpy as np
import pytest

import bayesopt as bo
from bayesopt.errors import InvalidInputError
from bayesopt.laws import Curve, design_schedule, schedules
from bayesopt.laws.curves import warmup_end

TRUE = {"L0": 2.5, "A": 0.6, "alpha": 0.45, "C": 0.5}
PEAK, TOTAL, WARMUP = 3e-4, 3000, 100
STEPS = np.arange(150, TOTAL, 50)


def rates(kind):
    return {
        "cosine": schedules.cosine(TOTAL, PEAK, warmup=WARMUP),
        "constant": schedules.linear(TOTAL, PEAK, warmup=WARMUP, final=1.0),
        "two_stage": schedules.two_stage(TOTAL, PEAK, warmup=WARMUP, switch=0.5, second=0.3),
        "wsd": schedules.wsd(TOTAL, PEAK, warmup=WARMUP),
    }[kind]


def curve(kind, law, noise=0.0, seed=0):
    losses = law.predict(rates(kind), STEPS)
    return Curve.of(rates(kind), STEPS, losses + noise * np.random.default_rng(seed).standard_normal(len(STEPS)))


def test_the_annealing_law_is_its_double_sum():
    lr = np.array([0.1, 0.2, 0.3, 0.3, 0.2, 0.25, 0.1])
    decay, L0, A, alpha, C = 0.9, 2.0, 0.5, 0.4, 0.7
    law = bo.AnnealingLaw(L0=L0, A=A, alpha=alpha, C=C, decay=decay)
    for s in range(len(lr)):
        first = sum(lr[: s + 1])
        # the warm-up ends at step 2: only later changes count
        second = sum((lr[k - 1] - lr[k]) * decay ** (i - k) for i in range(3, s + 1) for k in range(3, i + 1))
        assert law.predict(lr, [s])[0] == pytest.approx(L0 + A * first**-alpha - C * second, rel=1e-12)


def test_the_multi_power_law_is_its_sum():
    lr = np.array([0.1, 0.2, 0.3, 0.3, 0.2, 0.25, 0.1])
    L0, A, alpha, B, C, beta, gamma = 2.0, 0.5, 0.4, 0.8, 2.0, 0.6, 0.64
    law = bo.MultiPowerLaw((L0, A, alpha, B, C, beta, gamma))
    padded = [0.0, *lr]
    for t in range(len(lr)):
        gained = 0.0
        for k in range(t + 1):
            since = sum(lr[k : t + 1])
            gained += (padded[k] - lr[k]) * (1.0 - (1.0 + C * lr[k] ** -gamma * since) ** -beta)
        assert law.predict(lr, [t])[0] == pytest.approx(L0 + A * sum(lr[: t + 1]) ** -alpha - B * gained, rel=1e-12)
    np.testing.assert_allclose(law.predict(lr), [law.predict(lr, [t])[0] for t in range(len(lr))], rtol=1e-12)


def test_a_multi_power_law_allows_a_learning_rate_of_zero():
    lr = np.asarray(schedules.wsd(TOTAL, PEAK, warmup=WARMUP))
    assert lr[-1] == 0.0
    nearly = lr.copy()
    nearly[-1] = 1e-12
    law = bo.MultiPowerLaw.published("25M")
    last = [TOTAL - 1]
    assert law.predict(lr, last)[0] == pytest.approx(law.predict(nearly, last)[0], abs=1e-4)


def test_an_annealing_fit_recovers_its_constants_and_foretells_another_schedule():
    truth = bo.AnnealingLaw(**TRUE, decay=0.99)
    fitted = bo.AnnealingLaw(decay=0.99).fit([curve(kind, truth) for kind in ("cosine", "constant", "two_stage")])
    assert fitted.constants == pytest.approx(tuple(TRUE.values()), rel=1e-3)
    np.testing.assert_allclose(fitted.predict(rates("wsd"), STEPS), truth.predict(rates("wsd"), STEPS), atol=1e-4)


def test_the_decay_is_chosen_where_it_may_be():
    truth = bo.AnnealingLaw(**TRUE, decay=0.995)
    curves = [curve(kind, truth, noise=1e-3) for kind in ("cosine", "constant", "two_stage")]
    assert bo.AnnealingLaw(decay=None).fit(curves).decay == 0.995


def test_the_end_is_foretold_from_half_a_run_within_its_sd():
    truth = bo.AnnealingLaw(**TRUE, decay=0.999)
    known = bo.AnnealingLaw().fit([curve("two_stage", truth, noise=2e-3)])
    for kind in ("cosine", "wsd"):
        whole = curve(kind, truth, noise=2e-3, seed=1)
        mean, sd = known.final(whole.until(TOTAL / 2), whole.schedule)
        end = truth.predict(whole.schedule, [TOTAL - 1])[0]
        assert abs(mean - end) < 2.0 * sd
        assert abs(mean - end) < 0.2 * (whole.until(TOTAL / 2).losses[-1] - end)


def test_a_run_at_another_level_is_foretold_from_where_it_is():
    truth = bo.AnnealingLaw(**TRUE)
    known = bo.AnnealingLaw().fit([curve("cosine", truth)])
    higher = bo.AnnealingLaw(**{**TRUE, "L0": 2.6})
    whole = curve("cosine", higher)
    mean, sd = known.final(whole.until(0.6 * TOTAL), whole.schedule)
    assert abs(mean - whole.losses[-1]) < 2.0 * sd
    assert sd > 0.01  # the law says itself that one level does not fit both


def test_a_multi_power_fit_foretells_what_its_own_law_made():
    truth = bo.MultiPowerLaw((2.4, 0.65, 0.43, 520.0, 2.0, 0.59, 0.63))
    fitted = bo.MultiPowerLaw().fit([curve(kind, truth) for kind in ("cosine", "constant", "two_stage")])
    assert fitted.residual_sd < 3e-3
    missed = fitted.predict(rates("wsd"), STEPS) - truth.predict(rates("wsd"), STEPS)
    assert np.abs(missed).mean() < 3e-3  # a tenth of what the decay gains, 0.03 nats and more
    whole = curve("wsd", truth)
    mean, sd = fitted.final(whole.until(TOTAL / 2), whole.schedule)
    assert abs(mean - truth.predict(whole.schedule, [TOTAL - 1])[0]) < 2.0 * sd


def test_published_constants_give_the_published_order_of_schedules():
    law = bo.MultiPowerLaw.published("400M")

    def end(schedule):
        return law.predict(schedule, [23_999])[0]

    warmup = {"warmup": 2160}
    wsd, cosine = schedules.wsd(24_000, PEAK, **warmup), schedules.cosine(24_000, PEAK, **warmup)
    constant = schedules.linear(24_000, PEAK, final=1.0, **warmup)
    # tuning.md 3.6 measured 2.691, 2.757 and 2.817 with these constants
    assert [round(float(end(s)), 3) for s in (wsd, cosine, constant)] == [2.691, 2.757, 2.817]


@pytest.mark.slow
def test_a_designed_schedule_is_foretold_to_end_below_every_family_and_never_rises():
    law = bo.MultiPowerLaw.published("25M")
    designed = design_schedule(law, TOTAL, PEAK, warmup=WARMUP, n_knots=12)
    families = [rates("wsd"), rates("cosine"), schedules.wsd(TOTAL, PEAK, warmup=WARMUP, power=0.5)]
    ends = [law.predict(schedule, [TOTAL - 1])[0] for schedule in (designed, *families)]
    assert ends[0] < min(ends[1:])
    assert designed.max() <= PEAK
    assert (np.diff(np.asarray(designed)[WARMUP:]) <= 1e-18).all()


@pytest.mark.slow
def test_chinchilla_recovers_its_constants_with_intervals_that_hold_them():
    rng = np.random.default_rng(0)
    N, D = 10.0 ** rng.uniform(8, 10, 40), 10.0 ** rng.uniform(9.5, 11.5, 40)
    truth = bo.ChinchillaLaw((1.7, 400.0, 0.34, 400.0, 0.28))
    exact = np.array([truth.predict(n, d)[0] for n, d in zip(N, D, strict=True)])
    assert bo.ChinchillaLaw().fit(N, D, exact, n_bootstrap=0).constants == pytest.approx(truth.constants, rel=1e-3)
    noisy = bo.ChinchillaLaw().fit(N, D, exact + 0.005 * rng.standard_normal(40), n_bootstrap=60)
    for name, value in zip(("E", "alpha", "beta"), (1.7, 0.34, 0.28), strict=True):
        low, high = noisy.interval(name, 0.99)
        assert low < value < high
    mean, sd = noisy.predict(1e9, 1e11)
    assert abs(mean - truth.predict(1e9, 1e11)[0]) < 3.0 * sd
    assert 0.004 < noisy.residual_sd < 0.0075


def test_curves_from_rows_have_a_warm_up_and_straight_lines_between():
    read = Curve.from_rows([(2, 0.2, 3.0), (4, 0.4, 2.0)])
    np.testing.assert_allclose(read.schedule, [0.0, 0.1, 0.2, 0.3, 0.4])
    assert read.steps.tolist() == [2, 4]


def test_a_warm_up_ends_where_the_rise_does():
    assert warmup_end(np.array([0.1, 0.2, 0.3, 0.3, 0.2])) == 2
    assert warmup_end(np.array([0.3, 0.2, 0.1])) == 0
    assert warmup_end(np.array([0.1, 0.2])) == 1


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: bo.AnnealingLaw(L0=2.0), "give all of L0, A, alpha and C"),
        (lambda: bo.AnnealingLaw(**TRUE, decay=1.0), r"number in \[0, 1\)"),
        (lambda: bo.AnnealingLaw().predict(np.ones(5)), "call fit"),
        (lambda: bo.AnnealingLaw().fit([(np.ones(9), [1, 2], [3.0, 2.0])]), "at least 5 losses"),
        (lambda: Curve.of(np.ones(4), [0, 9], [1.0, 1.0]), "whole numbers from 0 to below 4"),
        (lambda: Curve.of(np.ones(4), [1, 2], [1.0, math.nan]), "positive finite numbers"),
        (lambda: Curve.of(np.zeros(4), [1], [1.0]), "learning rate at every step"),
        (lambda: Curve.from_rows([(1, 2)]), r"rows of \(step, lr, loss\)"),
        (lambda: bo.MultiPowerLaw((1.0, 2.0)), "seven numbers"),
        (lambda: bo.MultiPowerLaw().predict(np.ones(5)), "call fit"),
        (lambda: bo.MultiPowerLaw.published("7B"), "expected one of '25M'"),
        (lambda: bo.ChinchillaLaw((1.0,)), "five positive numbers"),
        (lambda: bo.ChinchillaLaw().predict(1e9, 1e9), "call fit"),
        (lambda: bo.ChinchillaLaw().fit([1.0], [1.0], [1.0]), "of at least 6"),
        (lambda: bo.ChinchillaLaw((1.0, 1.0, 1.0, 1.0, 1.0)).interval("E"), "no bootstrap"),
        (lambda: design_schedule(bo.MultiPowerLaw.published("25M"), 10, 1.0, n_knots=20), "at most the 10 steps"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(InvalidInputError, match=match):
        call()
