"""A law in the prior mean of a search: what it is worth when right, and that evidence drops a wrong one."""

import dataclasses
import json

import numpy as np
import pytest
import torch  # noqa: F401  double precision for what is compared in this file
from scipy.optimize import minimize

import bayesopt as bo
from bayesopt.acquisition.log_expected_improvement import LogExpectedImprovement
from bayesopt.acquisition.log_noisy_expected_improvement import LogNoisyExpectedImprovement
from bayesopt.errors import InvalidPriorError
from bayesopt.law_feature import LawFeature
from bayesopt.problem.outcomes import Objective, Outcomes
from bayesopt.strategies import ExpectedImprovement, FromBoTorch, PriorGuided
from bayesopt.surrogate import fit_surrogate

from .acquisition.cases import KnowledgeGradientOfFive, differences, everything

pytestmark = pytest.mark.usefixtures("one_thread")

SQUARE = bo.Space({"x": bo.Float(0.0, 1.0), "y": bo.Float(0.0, 1.0)})
OUTCOMES = Outcomes(Objective("loss", "minimize"))


def points(n, seed=0):
    return np.random.default_rng(seed).random((n, 2))


def bowl(params):
    """A loss, in units of which it spans about 30."""
    return 40.0 * ((params["x"] - 0.3) ** 2 + (params["y"] - 0.6) ** 2)


def wiggle(U):
    return np.cos(7.0 * U[:, 0] + 3.0 * U[:, 1])


def told(make_history, n=16, law=bowl):
    """Trials of the bowl and a wiggle of a thirtieth of its range, to be minimised."""
    U = points(n)
    losses = np.array([bowl(SQUARE.decode(u)) for u in U]) + wiggle(U)
    mean = None if law is None else bo.MeanPrior(law).on(SQUARE)
    return make_history(SQUARE, U, -losses, outcomes=OUTCOMES, law=mean, noise=0.0)


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_a_right_law_is_in_use_and_predicts_better(make_history, factor):
    U = points(50, seed=1)
    losses = np.array([bowl(SQUARE.decode(u)) for u in U]) + wiggle(U)
    errors = []
    for law in (None, lambda params: factor * bowl(params) + 100.0):
        surrogate = fit_surrogate(told(make_history, 8, law))
        mean = surrogate.objective.predictor.predict(surrogate.features(U)).mean[:, 0]
        errors.append(np.sqrt(np.mean((-surrogate.scale.to_units(mean) - losses) ** 2)))
    assert surrogate.law_gain > 0
    # the wiggle has a root mean square of 0.7, the bowl without it one of 7: what is left lies between
    assert errors[1] < errors[0] / 3.0


@pytest.mark.parametrize(
    "law", [lambda params: -bowl(params), lambda params: np.sin(170.0 * params["x"] + 230.0 * params["y"])]
)
def test_a_wrong_law_is_dropped_and_leaves_the_model_without_one(make_history, law):
    surrogate, plain = (fit_surrogate(told(make_history, law=one)) for one in (law, None))
    assert surrogate.law_gain < 0
    assert surrogate.features.law is None
    assert surrogate.objective.hyperparameters.tolist() == plain.objective.hyperparameters.tolist()
    assert surrogate.scale == plain.scale


def test_a_law_that_is_the_same_at_every_told_trial_is_not_judged(make_history):
    surrogate = fit_surrogate(told(make_history, law=lambda params: 3.0))
    assert surrogate.law_gain is None
    assert surrogate.objective.regression.trend is None


@pytest.mark.parametrize("unit", [1e-300, 1e-5, 1.0, 1e5, 1e300])
@pytest.mark.parametrize("objective", [0.0, 1e-300, 1.0, 1e300])
@pytest.mark.parametrize("n", [2, 3, 9])
def test_no_scale_of_law_or_objective_breaks_the_fit(make_history, unit, objective, n):
    history = told(make_history, n, lambda params: unit * bowl(params))
    largest = np.abs(history.objective).max()
    history = dataclasses.replace(history, objective=objective * history.objective / largest)
    surrogate = fit_surrogate(history)
    prediction = surrogate.objective.predictor.predict(surrogate.features(points(4, seed=1)))
    assert np.isfinite(prediction.mean).all()
    json.dumps(surrogate.memory, allow_nan=False)


def test_a_law_repeated_trials_follow_exactly_is_no_trouble(make_history):
    history = told(make_history)
    rows = np.array([0, 0, 1, 1, 2, 3, 4, 4, 5, 6])
    exact = -history.law.values(history.X[rows])
    surrogate = fit_surrogate(make_history(SQUARE, history.X[rows], exact, outcomes=OUTCOMES, law=history.law))
    assert surrogate.features.law is not None
    mean = surrogate.objective.predictor.predict(surrogate.features(points(4, seed=1))).mean[:, 0]
    truth = -history.law.values(points(4, seed=1))
    # b is believed to be 1 give or take one half, and the data to be free of noise
    np.testing.assert_allclose(surrogate.scale.to_units(mean), truth, atol=0.02 * np.ptp(exact))


def test_the_law_is_turned_and_its_bad_tail_pulled_in_as_the_objectives_is(make_history):
    def cliff(params):
        return 1e6 if params["x"] > 0.95 else bowl(params)

    history = told(make_history, 40, cliff)
    feature = LawFeature.of(history)
    losses = np.array([cliff(SQUARE.decode(u)) for u in history.X])
    values = feature.values(history.X)
    low, median, high = np.quantile(losses, [0.25, 0.5, 0.75])
    by_hand = -np.minimum(losses, median + 5.0 * (high - low))
    np.testing.assert_allclose(values, (by_hand - by_hand.mean()) / by_hand.std(), rtol=1e-9)
    assert (losses == 1e6).any()
    assert (feature.gradient(history.X)[losses == 1e6] == 0.0).all()


@pytest.mark.parametrize("utility", [LogExpectedImprovement, LogNoisyExpectedImprovement, KnowledgeGradientOfFive])
def test_acquisition_functions_follow_the_law_and_their_gradients_agree_with_differences(make_history, utility):
    history = everything(make_history, law=None)
    rng = np.random.default_rng(3)
    U, normals = points(6, seed=4), rng.standard_normal((3, 3, 4))
    law = bo.MeanPrior(lambda params: 5.0 * bowl(params)).on(SQUARE)
    objective = -law.values(history.X) + wiggle(history.X)
    history = dataclasses.replace(history, law=law, objective=objective)
    surrogate = fit_surrogate(history)
    assert surrogate.features.law is not None
    acquisition = utility(surrogate, history.pending, normals)
    value, gradient = acquisition.value_and_gradient(U)
    np.testing.assert_allclose(value, acquisition.values(U), rtol=1e-9)
    # differences within differences, of a law that is a parabola: exact but for rounding
    np.testing.assert_allclose(gradient, differences(acquisition, U), rtol=1e-4, atol=1e-4 * np.abs(gradient).max())


def test_the_memory_brings_back_the_same_models(make_history):
    history = told(make_history)
    first = fit_surrogate(history)
    memory = json.loads(json.dumps({"fits": first.memory}))
    again = fit_surrogate(dataclasses.replace(history, memory=memory))
    assert again.memory == first.memory
    assert again.objective.hyperparameters.tolist() == first.objective.hyperparameters.tolist()
    U = points(5, seed=2)
    means = [one.objective.predictor.predict(one.features(U)).mean.tolist() for one in (first, again)]
    assert means[0] == means[1]


def test_a_law_that_is_declared_later_or_left_out_is_judged_at_once(make_history):
    without, lawful = told(make_history, law=None), told(make_history)
    before, after = fit_surrogate(without), fit_surrogate(lawful)
    declared = fit_surrogate(dataclasses.replace(lawful, memory={"fits": before.memory}))
    assert declared.features.law is not None
    left_out = fit_surrogate(dataclasses.replace(without, memory={"fits": after.memory}))
    assert left_out.features.law is None
    assert left_out.law_gain is None


def search(n, priors, *, sign=1.0, seed=100, **options):
    direction = {"minimize": "loss"} if sign > 0 else {"maximize": "loss"}
    study = bo.Study(SQUARE, **direction, priors=priors, seed=seed, **options)
    for _ in range(n):
        trial = study.ask()
        loss = bowl(trial.params) + float(wiggle(np.array([list(trial.params.values())]))[0])
        study.tell(trial, {"loss": sign * loss})
    return study


def asked(study):
    return [trial.params for trial in study.trials]


def test_the_first_trial_is_the_laws_best_and_the_second_the_middle():
    first, second = asked(search(2, [bo.MeanPrior(bowl)]))
    assert (first["x"], first["y"]) == pytest.approx((0.3, 0.6), abs=0.02)
    assert second == {"x": 0.5, "y": 0.5}


def test_maximising_the_negative_asks_the_same():
    mirrored = search(8, [bo.MeanPrior(lambda params: -bowl(params))], sign=-1.0)
    assert asked(mirrored) == asked(search(8, [bo.MeanPrior(bowl)]))


def test_a_reopened_study_that_is_given_the_law_again_asks_what_it_would_have_asked(tmp_path):
    whole = search(9, [bo.MeanPrior(bowl)])
    search(6, [bo.MeanPrior(bowl)], storage=tmp_path / "study.db").close()
    with search(3, [bo.MeanPrior(bowl)], storage=tmp_path / "study.db") as resumed:
        assert asked(resumed) == asked(whole)


def test_the_report_says_whether_the_law_is_in_use():
    assert "Law: in use (log evidence ratio +" in search(8, [bo.MeanPrior(bowl)]).report()
    assert "Law: not in use (log evidence ratio -" in search(8, [bo.MeanPrior(lambda p: -bowl(p))]).report()
    assert "Law: not judged yet" in search(1, [bo.MeanPrior(bowl)]).report()
    assert "Law: not judged, since it hardly varies" in search(3, [bo.MeanPrior(lambda p: 1.0)]).report()
    assert "Law" not in search(3, []).report()


def test_it_goes_together_with_beliefs_about_the_optimum():
    study = search(7, [bo.MeanPrior(bowl), bo.OptimumPrior({"x": (0.35, 0.2)})])
    assert isinstance(study.strategy, PriorGuided)
    assert [standing.prior for standing in study.beliefs] == [study.priors[1]]
    assert "Law: in use" in study.report()


def test_alone_it_leaves_the_default_strategy():
    study = search(0, [])
    study.add_prior(bo.MeanPrior(bowl))
    assert isinstance(study.strategy, ExpectedImprovement)
    assert len(study.beliefs) == 0
    assert study.history.law is not None


@pytest.mark.parametrize("strategy", [FromBoTorch(lambda p: None), PriorGuided(make=lambda p: None)])
def test_a_strategy_that_hands_models_to_botorch_is_refused(strategy):
    with pytest.raises(InvalidPriorError, match="cannot hold the law of a MeanPrior"):
        bo.Study(SQUARE, minimize="loss", priors=[bo.MeanPrior(bowl)], strategy=strategy)


def test_two_laws_are_refused():
    with pytest.raises(InvalidPriorError, match="at most one MeanPrior, got 2"):
        bo.Study(SQUARE, minimize="loss", priors=[bo.MeanPrior(bowl)] * 2)


# -- what it is worth ------------------------------------------------------------------------------------------------

SEEDS = range(300, 316)
LEAST_REGRET = 1e-4
"""Of a range of about 3: what is closer counts as this close."""


def problem(d, seed):
    """A bowl around a drawn centre, plus waves of a tenth of its range that move the optimum: law, loss, best."""
    rng = np.random.default_rng(1000 + seed)
    centre, waves = rng.uniform(0.2, 0.8, d), 3.0 * rng.standard_normal((6, d))
    phases, heights = rng.uniform(0.0, 6.28, 6), 0.17 * rng.standard_normal(6)

    def law(params):
        return 4.0 * float(np.sum((np.array(list(params.values())) - centre) ** 2))

    def loss(params):
        return 2.0 + law(params) + float(heights @ np.cos(waves @ np.array(list(params.values())) + phases))

    def at(x):
        return loss(dict(enumerate(x)))

    U = rng.random((2000, d))
    starts = U[np.argsort([at(u) for u in U])[:5]]
    return law, loss, min(minimize(at, start, bounds=[(0.0, 1.0)] * d).fun for start in starts)


def log_regrets(d, n, change):
    """log10 of the regret after each of n trials, `seeds x n`, with the law as `change` makes it, or without."""
    rows = []
    for seed in SEEDS:
        law, loss, best = problem(d, seed)
        priors = [] if change is None else [bo.MeanPrior(change(law))]
        space = bo.Space({f"x{i}": bo.Float(0.0, 1.0) for i in range(d)})
        study = bo.Study(space, minimize="loss", priors=priors, seed=seed)
        losses = []
        for _ in range(n):
            trial = study.ask()
            losses.append(loss(trial.params))
            study.tell(trial, {"loss": losses[-1]})
        rows.append(np.log10(np.maximum(np.minimum.accumulate(losses) - best, LEAST_REGRET)))
    return np.array(rows)


def mean_and_error(differences):
    return differences.mean(), differences.std(ddof=1) / np.sqrt(len(differences))


@pytest.mark.slow
@pytest.mark.parametrize("d", [2, 3, 4])
def test_a_right_law_leaves_less_than_half_of_the_regret_after_few_trials(d):
    n = 3 * d + 4
    mean, error = mean_and_error(log_regrets(d, n, lambda law: law)[:, -1] - log_regrets(d, n, None)[:, -1])
    assert mean + 2.0 * error < 0.0
    assert mean < np.log10(0.5)


@pytest.mark.slow
@pytest.mark.parametrize("d", [2, 3, 4])
@pytest.mark.parametrize("kind", ["reversed", "noise"])
def test_a_wrong_law_costs_no_more_than_the_one_trial_at_its_best(d, kind):
    def wrong(law):
        if kind == "reversed":
            return lambda params: -law(params)
        return lambda params: np.sin(200.0 * sum((i + 1) * x for i, x in enumerate(params.values())))

    n = 3 * d + 4
    mean, error = mean_and_error(log_regrets(d, n + 1, wrong)[:, -1] - log_regrets(d, n, None)[:, -1])
    assert mean < 2.0 * error
