"""Laws that name settings: published numbers, their two forms, and what is fitted to surfaces."""

import numpy as np
import pytest

import bayesopt as bo
from bayesopt.errors import InvalidInputError
from bayesopt.laws import Bowl, Surge, pooled_hessian, surge_fit

SPACE = bo.Space({"lr": bo.Float(1e-4, 1e-2, log=True), "batch_size": bo.Int(16, 1024, log=True)})
KNOWN = {"N": 268_304_384, "D": 5e9}


def test_the_step_law_is_the_published_one():
    # computed by hand from 1.79 N^-0.713 D^0.307 and 0.58 D^0.571 / 2048
    lr, sequences = bo.StepLaw()(268_304_384, 5e9)
    assert lr == pytest.approx(1.79 * 268_304_384**-0.713 * 5e9**0.307, rel=1e-12)
    assert (round(lr, 6), round(sequences, 1)) == (1.663e-3, 97.8)


def test_batches_are_in_sequences_of_the_given_length():
    assert bo.StepLaw(sequence_length=4096)(1e9, 1e10).batch_size == pytest.approx(
        bo.StepLaw()(1e9, 1e10).batch_size / 2, rel=1e-12
    )


def test_deepseeks_rule_depends_on_the_compute_alone():
    rule = bo.DeepSeekRule()
    assert rule(2e8, 6e9) == pytest.approx(rule(6e8, 2e9))
    assert rule(2e8, 6e9).lr == pytest.approx(0.3118 * (6.0 * 2e8 * 6e9) ** -0.125)


def test_the_power_scheduler_predicts_its_own_learning_rate_up_to_the_largest():
    law = bo.PowerScheduler()
    mean, sd = law.predict({"D": 1e10, "batch_size": 128})
    assert 2.0 ** mean["lr"] == pytest.approx(4.0 * 128 * 1e10**-0.51)
    assert law(1.0, 1024) == 0.02
    assert sd == {"lr": 1.0}


def test_batch_transfer_and_last_good():
    assert bo.BatchTransfer(1e-3, 64)(64) == 1e-3
    mean, _ = bo.BatchTransfer(1e-3, 64, exponent=0.5).predict({"batch_size": 256})
    assert 2.0 ** mean["lr"] == pytest.approx(2e-3)
    mean, sd = bo.LastGood({"lr": 3e-4, "optimizer": "adamw", "warm": True}, {"lr": 0.5}).predict({})
    assert 2.0 ** mean["lr"] == pytest.approx(3e-4)
    assert sd == {"lr": 0.5}


def test_as_a_bowl_it_is_a_quadratic_in_octaves_that_becomes_flat():
    prior = bo.StepLaw().as_bowl(KNOWN, SPACE)
    lr, batch = bo.StepLaw()(268_304_384, 5e9)
    at = {"lr": 2.0 * lr, "batch_size": 0.5 * batch}
    # one octave up in one, down in the other: 0.5 (0.0169 + 0.0142 + 2 * 0.0055)
    assert prior.law(at) == pytest.approx(0.02105, abs=1e-12)
    assert prior.law({"lr": 1.0, "batch_size": batch}) == 0.3
    prior.on(SPACE)  # finite all over the space


def test_as_a_belief_it_is_normal_in_octaves():
    belief = bo.StepLaw(sd=0.5).as_belief(KNOWN, SPACE)
    lr, _ = bo.StepLaw()(268_304_384, 5e9)
    centre, factor = belief.beliefs["lr"]
    assert (centre, factor) == (pytest.approx(lr), pytest.approx(2.0**0.5))
    density = belief.on(SPACE)
    u, one_sd = (SPACE.encode({"lr": rate, "batch_size": 98}) for rate in (lr, lr * 2.0**0.5))
    assert density.log_density(u[None])[0] - density.log_density(one_sd[None])[0] == pytest.approx(0.5, abs=1e-6)


def test_a_study_takes_both_forms():
    priors = [bo.StepLaw().as_bowl(KNOWN, SPACE), bo.StepLaw().as_belief(KNOWN, SPACE)]
    study = bo.Study(SPACE, minimize="loss", priors=priors, seed=0)
    assert study.ask().params["lr"] == pytest.approx(1.663e-3, rel=0.05)


def test_laws_find_parameters_under_their_usual_names_and_refuse_others():
    space = bo.Space({"learning_rate": bo.Float(1e-4, 1e-2, log=True), "bs": bo.Int(16, 1024, log=True)})
    assert set(bo.StepLaw().as_belief(KNOWN, space).beliefs) == {"learning_rate", "bs"}
    with pytest.raises(InvalidInputError, match="speaks of 'lr', and the space has"):
        bo.StepLaw().as_belief(KNOWN, bo.Space({"eta": bo.Float(1e-4, 1e-2)}))
    with pytest.raises(InvalidInputError, match="positive values"):
        bo.LastGood({"lr": 0.1}).as_belief({}, bo.Space({"lr": bo.Float(-1.0, 1.0)}))


def test_a_pooled_hessian_averages_those_of_its_surfaces():
    rng = np.random.default_rng(0)
    Hs = [np.array([[0.02, -0.005], [-0.005, 0.01]]), np.array([[0.03, -0.01], [-0.01, 0.02]])]
    tables = []
    for H in Hs:
        X = rng.uniform(-1.5, 1.5, (60, 2))
        tables.append((X + 5.0, 2.0 + 0.5 * np.einsum("ni,ij,nj->n", X, H, X)))
    np.testing.assert_allclose(pooled_hessian(tables), np.mean(Hs, axis=0), atol=1e-10)
    with pytest.raises(InvalidInputError, match="none has more points"):
        pooled_hessian([(np.zeros((3, 2)), np.zeros(3))])


def test_a_surge_fit_recovers_its_curve_and_reports_what_it_missed():
    B = 2.0 ** np.arange(5, 12)
    truth = Surge(3e-3, 400.0)
    exact = surge_fit(B, [truth(b) for b in B])
    assert (exact.lr_max, exact.noise_scale) == (pytest.approx(3e-3, rel=1e-5), pytest.approx(400.0, rel=1e-5))
    wiggle = 0.2 * (-1.0) ** np.arange(7)
    noisy = surge_fit(B, [truth(b) * 2.0**w for b, w in zip(B, wiggle, strict=True)])
    assert 0.15 < noisy.rms <= 0.2
    assert truth(100.0) < truth(400.0) > truth(1600.0)


def test_bowls_of_unmeasured_parameters_do_not_interact():
    bowl = bo.LastGood({"lr": 1e-3, "weight_decay": 0.1}).bowl({})
    assert isinstance(bowl, Bowl)
    np.testing.assert_array_equal(bowl.curvature, np.diag([0.0169, 0.01]))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: bo.StepLaw().predict({"N": 1e9}), "'D' is missing"),
        (lambda: bo.StepLaw()(-1.0, 1e9), "positive finite number"),
        (lambda: bo.StepLaw(sd=0.0), "expected a positive number"),
        (lambda: bo.DeepSeekRule(sequence_length=0), "expected a positive sequence_length"),
        (lambda: bo.PowerScheduler(b=0.5), "b < 0"),
        (lambda: bo.BatchTransfer(0.0, 64), "expected a positive number"),
        (lambda: bo.LastGood({"optimizer": "sgd"}), "at least one positive number"),
        (lambda: bo.LastGood({"lr": 1e-3}, 0.0), "positive number of octaves"),
        (lambda: surge_fit([1.0, 2.0], [1.0, 2.0]), "of at least 3"),
        (lambda: surge_fit([1.0, 2.0, -3.0], [1.0, 2.0, 3.0]), "positive finite"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(InvalidInputError, match=match):
        call()


# -- the range test --------------------------------------------------------------------------------------------------


def ramp(noise=0.0, turn=0.05, seed=0):
    """A loss that stands below 1e-4, falls until the turn, and explodes after it."""
    rates = np.geomspace(1e-6, 1.0, 240)
    falling = 1.0 - 0.7 * np.clip(np.log(rates / 1e-4) / np.log(turn / 1e-4), 0.0, 1.0)
    exploding = np.maximum(np.log(rates / turn), 0.0) ** 2
    return rates, 2.0 + falling + exploding + noise * np.random.default_rng(seed).standard_normal(len(rates))


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_a_range_test_finds_where_the_loss_falls_and_turns(noise):
    test = bo.RangeTest(*ramp(noise))
    assert 0.5e-4 < test.low < 4e-4
    assert 0.025 < test.high < 0.1
    mean, sd = test.predict({})
    assert 2.0 ** mean["lr"] == pytest.approx(test.high / 3.0)
    assert sd == {"lr": 0.7}
    assert test.box == (0.5 * test.low, test.high)


def test_a_run_that_ends_in_nan_is_read_up_to_there():
    rates, losses = ramp()
    losses[rates > 0.06] = np.nan
    assert 0.025 < bo.RangeTest(rates, losses).high <= 0.06


@pytest.mark.parametrize(
    ("rates", "losses", "match"),
    [
        (np.geomspace(1e-4, 1.0, 10), np.ones(10), "of at least 20"),
        (np.ones(30), np.ones(30), "rise from step to step"),
        (np.geomspace(1e-4, 1.0, 30), np.full(30, np.nan), "only 0 are finite"),
        (np.geomspace(1e-4, 1.0, 60), np.linspace(1.0, 2.0, 60), "never clearly falls"),
    ],
)
def test_a_range_test_that_shows_nothing_is_refused(rates, losses, match):
    with pytest.raises(InvalidInputError, match=match):
        bo.RangeTest(rates, losses)
