"""From a history to models: features, transforms, odd data, and the recommendation."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from bayesopt.errors import InvalidInputError
from bayesopt.long_history import MAX_EXACT
from bayesopt.problem.parameters import Choice, Float, Int, Simplex
from bayesopt.problem.priors import OptimumPrior
from bayesopt.problem.space import Space
from bayesopt.surrogate import FeatureMap, _is_noisy, fit_surrogate, recommend
from gp.errors import NotPositiveDefiniteError
from gp.models.exact import ExactGP

pytestmark = pytest.mark.usefixtures("one_thread")

LINE = Space({"x": Float(0.0, 1.0)})
SQUARE = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
MIXED = Space({
    "lr": Float(1e-5, 1e-1, log=True),
    "layers": Int(1, 8),
    "optimizer": Choice(["adamw", "sgd", "lion"]),
    "size": Choice(["s", "m", "l"], ordered=True),
    "mixture": Simplex(["web", "code", "math"]),
    "fixed": Choice(["only"]),
})


def smooth(X):
    return np.sin(4.0 * X).sum(1)


def points(n, d, seed=0):
    return np.random.default_rng(seed).random((n, d))


# -- features ---------------------------------------------------------------------------------------------------------


def test_numbers_are_their_own_features_and_a_constant_has_none():
    features = FeatureMap(MIXED)
    U = MIXED.sample(5, np.random.default_rng(0))
    Z = features(U)
    assert Z.shape == (5, 1 + 1 + 3 + 1 + 3)
    assert np.array_equal(Z[:, :2], U[:, :2])
    assert features.groups == [0, 1, 2, 2, 2, 3, 4, 4, 4]


def test_two_options_lie_as_far_apart_as_the_ends_of_a_number():
    space = Space({"c": Choice(["a", "b", "c"])})
    Z = FeatureMap(space)(np.array([[1 / 6], [0.5], [5 / 6]]))
    distances = np.linalg.norm(Z[:, None] - Z[None], axis=-1)
    assert distances[~np.eye(3, dtype=bool)] == pytest.approx(np.ones(6))


def test_a_mixture_becomes_the_square_roots_of_its_shares():
    space = Space({"m": Simplex(["a", "b", "c"])})
    Z = FeatureMap(space)(space.encode({"m": {"a": 0.25, "b": 0.25, "c": 0.5}})[None])
    assert Z[0] == pytest.approx([0.5, 0.5, math.sqrt(0.5)], abs=1e-6)


def test_a_space_of_constants_still_has_a_feature():
    assert FeatureMap(Space({"c": Choice(["only"])}))(np.full((2, 1), 0.5)).shape == (2, 1)


def test_the_pullback_agrees_with_finite_differences():
    features = FeatureMap(MIXED)
    U = np.random.default_rng(1).uniform(0.1, 0.9, (6, MIXED.dim))
    weights = np.random.default_rng(2).standard_normal((6, len(features.groups)))
    gradient = features.pullback(U, weights)
    step = 1e-6
    for j, column in enumerate(MIXED.columns):
        if column.kind == "categorical":
            assert not gradient[:, j].any()
            continue
        move = np.zeros(MIXED.dim)
        move[j] = step
        slope = (weights * (features(U + move) - features(U - move))).sum(1) / (2 * step)
        assert gradient[:, j] == pytest.approx(slope, abs=1e-5)


def test_the_corners_of_a_mixture_have_finite_gradients():
    space = Space({"m": Simplex(["a", "b", "c"])})
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    assert np.isfinite(FeatureMap(space).pullback(corners, np.ones((4, 3)))).all()


# -- models -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "objective"),
    [
        ([[0.5, 0.5]], [1.0]),
        ([[0.5, 0.5]] * 6, [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]),
        (points(6, 2), [3.0] * 6),
        (points(6, 2), [1e300, -1e300, 0.0, 1.0, 2.0, 3.0]),
    ],
    ids=["one trial", "one place", "equal values", "huge values"],
)
@pytest.mark.parametrize("noise", [None, 0.0, 0.1])
def test_odd_histories_give_finite_predictions(make_history, X, objective, noise):
    surrogate = fit_surrogate(make_history(SQUARE, X, objective, noise=noise))
    prediction = surrogate.objective.predictor.predict(points(4, 2))
    assert np.isfinite(prediction.mean).all()
    assert (prediction.variance > 0).all()


def test_a_margin_that_was_not_measured_is_left_out_of_its_model_alone(make_history):
    X = points(6, 1)
    constraints = np.stack([X[:, 0] - 0.5, X[:, 0] - 0.2], 1)
    constraints[2, 0] = np.nan
    surrogate = fit_surrogate(make_history(LINE, X, smooth(X), constraints=constraints))
    assert [len(model.train_X) for model in surrogate.constraints] == [5, 6]
    assert len(surrogate.objective.train_X) == 6


def test_a_constraint_never_measured_has_no_model_and_leaves_feasibility_open(make_history):
    X = points(3, 1)
    surrogate = fit_surrogate(make_history(LINE, X, smooth(X), constraints=np.full((3, 1), np.nan)))
    assert surrogate.constraints == (None,)
    assert surrogate.told_probability_feasible == pytest.approx([0.5] * 3)


def test_the_probability_of_feasibility_follows_the_margin(make_history):
    X = np.linspace(0.0, 1.0, 12)[:, None]
    surrogate = fit_surrogate(make_history(LINE, X, smooth(X), constraints=X - 0.5))
    probability = surrogate.told_probability_feasible
    assert (probability[X[:, 0] < 0.4] > 0.9).all()
    assert (probability[X[:, 0] > 0.6] < 0.1).all()


@pytest.mark.parametrize("n", [5, 12])
@pytest.mark.parametrize(
    "margin",
    [
        lambda k: np.where(k == 0, 1e300, 1e-300),
        lambda k: np.where(k == 0, -1e300, -1e-300),
        lambda k: np.where(k % 2, 1.7e308, -1.7e308),
        lambda k: np.where(k == 0, 1e308, 0.0),
        lambda k: 10.0 ** (60.0 * k - 300.0),
        lambda k: 0.0 * k,
        lambda k: 0.0 * k + 5e-324,
    ],
    ids=["tiny but one", "tiny but one, feasible", "huge", "0 but one", "all magnitudes", "on the bound", "denormal"],
)
def test_odd_margins_raise_no_warning_and_give_probabilities(make_history, margin, n):
    X = points(n, 2)
    history = make_history(SQUARE, X, smooth(X), constraints=margin(np.arange(float(n)) % 10)[:, None])
    surrogate = fit_surrogate(history)
    probability = surrogate.told_probability_feasible
    assert ((probability >= 0) & (probability <= 1)).all()
    assert len(surrogate.promising_rows(3)) == 3


def test_a_known_noise_is_not_learned(make_history):
    X = points(8, 1)
    known = fit_surrogate(make_history(LINE, X, smooth(X), noise=0.2))
    assert not known.objective.learns_noise
    assert math.sqrt(known.objective.noise_variance) * known.scale.unit == pytest.approx(0.2, rel=1e-3)
    partly = make_history(LINE, X, smooth(X), objective_sd=np.array([0.1] * 4 + [np.nan] * 4))
    assert fit_surrogate(partly).objective.learns_noise


def test_a_long_history_is_shortened_and_the_surrogate_says_which_rows_it_holds(make_history):
    X = points(MAX_EXACT + 60, 2)
    y = smooth(X)
    surrogate = fit_surrogate(make_history(SQUARE, X, y, failed=points(5, 2, 1)))
    assert len(surrogate.objective.train_X) == len(surrogate.rows) == MAX_EXACT
    assert np.array_equal(surrogate.history.X, X[surrogate.rows])
    assert np.argmax(y) in surrogate.rows
    assert len(surrogate.told_mean_sd[0]) == len(surrogate.told_probability_feasible) == MAX_EXACT
    assert len(surrogate.survival.regression.X) == MAX_EXACT + 5


def test_what_is_said_of_the_told_trials_is_what_the_model_predicts_there(make_history):
    X = points(15, 2)
    surrogate = fit_surrogate(make_history(SQUARE, X, smooth(X), noise=0.2))
    prediction = surrogate.objective.predictor.predict(X)
    mean, sd = surrogate.told_mean_sd
    assert mean == pytest.approx(prediction.mean[:, 0], abs=1e-9)
    assert sd == pytest.approx(np.sqrt(prediction.variance), rel=1e-6)
    assert surrogate.promising_rows(3).tolist() == np.argsort(-mean)[:3].tolist()


def test_promising_trials_are_feasible_first_and_then_the_nearest_to_it(make_history):
    X = np.linspace(0.0, 1.0, 10)[:, None]
    surrogate = fit_surrogate(make_history(LINE, X, X[:, 0], constraints=X - 0.25))
    assert surrogate.promising_rows(5).tolist() == [2, 1, 0, 3, 4]
    assert len(surrogate.promising_rows(99)) == 10


def test_the_objective_is_warped_only_when_the_evidence_is_strong(make_history):
    X = points(30, 2)
    assert fit_surrogate(make_history(SQUARE, X, smooth(X))).scale.power == 1.0
    steep = fit_surrogate(make_history(SQUARE, X, -np.exp(4.0 * smooth(X))))
    assert steep.scale.power != 1.0
    units = steep.scale.to_units(steep.told_mean_sd[0])
    ranks = [np.argsort(np.argsort(values)) for values in (units, -smooth(X))]
    assert np.corrcoef(ranks)[0, 1] > 0.99  # the order survives, although the worst values were pulled in


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_a_device_that_is_not_there_is_named(make_history):
    X = points(8, 2)
    history = dataclasses.replace(make_history(SQUARE, X, smooth(X)), device="cuda")
    with pytest.raises(InvalidInputError, match="device='cuda': PyTorch finds no CUDA device here"):
        fit_surrogate(history)


def test_the_same_history_gives_the_same_models_bitwise(make_history):
    X = points(15, 2)
    fits = [fit_surrogate(make_history(SQUARE, X, smooth(X))).objective.hyperparameters for _ in range(2)]
    assert np.array_equal(*fits)


def test_a_fit_that_fails_keeps_the_prior_and_warns_once(make_history, monkeypatch):
    def broken(self, **_):
        raise NotPositiveDefiniteError("no")

    monkeypatch.setattr(ExactGP, "fit", broken)
    with pytest.warns(RuntimeWarning, match="the objective could not be fitted and keeps its last .*: no") as caught:
        surrogate = fit_surrogate(make_history(LINE, points(5, 1), np.arange(5.0)))
    assert len(caught) == 1
    assert np.isfinite(surrogate.objective.predictor.predict(points(2, 1)).mean).all()
    assert surrogate.memory == {}


# -- memory -----------------------------------------------------------------------------------------------------------


def remembering(history, memory):
    """The history as the next ask sees it: what was remembered comes back through JSON."""
    return dataclasses.replace(history, memory=json.loads(json.dumps({"fits": memory})))


def everything(make_history, n):
    """The first n of one sequence of trials with an objective, two constraints and failures."""
    X = points(30, 2)
    constraints = np.stack([X[:, 0] - 0.8, 0.1 - X[:, 1]], 1)
    return make_history(SQUARE, X[:n], smooth(X)[:n], constraints=constraints[:n], failed=points(4, 2, 1))


def thetas(surrogate):
    models = [surrogate.objective, *surrogate.constraints, surrogate.survival]
    return [model.hyperparameters.tolist() for model in models]


def test_every_model_is_remembered_and_taken_up_where_it_was(make_history):
    first = fit_surrogate(everything(make_history, 20))
    assert len(first.memory) == 4
    again = fit_surrogate(remembering(everything(make_history, 20), first.memory))
    assert thetas(again) == thetas(first)  # no further rows: nothing moves
    assert again.memory == first.memory
    assert again.scale == first.scale
    more = fit_surrogate(remembering(everything(make_history, 22), first.memory))
    assert more.memory.keys() == first.memory.keys()
    for before, after in zip(first.memory.values(), more.memory.values(), strict=True):
        assert after["searched_at"] == before["searched_at"]
        assert after["polished_at"] == before["polished_at"] + 2
        assert after["theta"] != before["theta"]


def test_the_same_history_and_memory_give_the_same_models_bitwise(make_history):
    first = fit_surrogate(everything(make_history, 20))
    history = remembering(everything(make_history, 23), first.memory)
    assert thetas(fit_surrogate(history)) == thetas(fit_surrogate(history))


def test_many_models_take_turns_at_the_search_that_is_due_and_the_longest_due_comes_first(make_history):
    X = points(30, 2)
    margins = np.stack([X[:, 0] * X[:, 1] - 0.1 * k for k in range(6)], 1)

    def after(n, memory):
        return fit_surrogate(
            remembering(make_history(SQUARE, X[:n], smooth(X[:n]), constraints=margins[:n]), memory)
        ).memory

    memory = fit_surrogate(make_history(SQUARE, X[:20], smooth(X[:20]), constraints=margins[:20])).memory
    assert [fit["searched_at"] for fit in memory.values()] == [20] * 7
    for n in (23, 24, 25, 26):  # a search is due three trials after the last one: at 26 of the first two again
        memory = after(n, memory)
    searched = [fit["searched_at"] for fit in memory.values()]
    assert searched == [26, 23, 24, 24, 25, 25, 26]  # the last one had waited for longer than the second


@pytest.mark.parametrize("memory", [None, 7, "fits", [], {"fits": None}, {"the objective": {"theta": ["a"]}}], ids=repr)
def test_a_memory_that_is_none_changes_nothing(make_history, memory):
    history = everything(make_history, 12)
    assert thetas(fit_surrogate(remembering(history, memory))) == thetas(fit_surrogate(history))


def test_of_the_memory_of_another_space_no_hyperparameters_are_taken(make_history):
    wide = Space({f"x{i}": Float(0.0, 1.0) for i in range(5)})
    other = fit_surrogate(make_history(wide, points(12, 5), smooth(points(12, 5))))
    history = make_history(SQUARE, points(12, 2), smooth(points(12, 2)))
    surrogate = fit_surrogate(remembering(history, other.memory))
    assert surrogate.memory["the objective"]["searched_at"] == 12
    assert surrogate.objective.log_posterior > fit_surrogate(history).objective.log_posterior - 1.0


def test_what_was_warped_at_the_last_search_stays_warped_until_the_next(make_history):
    X = points(31, 2)
    y = -np.exp(4.0 * smooth(X))
    before = fit_surrogate(make_history(SQUARE, X[:30], y[:30]))
    assert before.scale.power != 1.0
    after = fit_surrogate(remembering(make_history(SQUARE, X, y), before.memory))
    assert after.scale.power != 1.0
    plain = make_history(SQUARE, X, smooth(X))
    assert fit_surrogate(remembering(plain, fit_surrogate(plain).memory)).scale.power == 1.0


# -- survival ---------------------------------------------------------------------------------------------------------


def survival(make_history, failed, told):
    surrogate = fit_surrogate(make_history(SQUARE, told, smooth(np.asarray(told)), failed=np.array(failed)))

    def probability(*place):
        label = surrogate.survival.predictor.predict(np.array([place]))
        return norm.cdf(label.mean.item() / math.sqrt(label.variance.item() + surrogate.survival.noise_variance))

    return probability


def test_without_a_failure_there_is_no_survival_model(make_history):
    assert fit_surrogate(make_history(LINE, points(3, 1), np.arange(3.0))).survival is None


def test_failures_at_one_place_repel_there_and_not_far_away(make_history):
    probability = survival(make_history, [(0.2, 0.2)] * 6, points(12, 2) * 0.5 + 0.5)
    assert probability(0.2, 0.2) < 0.05
    assert probability(0.8, 0.8) > 0.95


def test_a_wall_is_learned_along_the_parameter_that_it_cuts(make_history):
    X = points(40, 2)
    broken = X[:, 0] > 0.6
    probability = survival(make_history, X[broken], X[~broken])
    for y in (0.1, 0.5, 0.9):
        assert probability(0.4, y) > 0.8
        assert probability(0.8, y) < 0.2


def test_failures_by_chance_are_put_down_to_chance(make_history):
    X = points(60, 2)
    broken = np.random.default_rng(3).random(60) < 0.25
    probability = survival(make_history, X[broken], X[~broken])
    believed = [probability(*place) for place in points(50, 2, seed=5)]
    assert 0.6 < np.mean(believed) < 0.9
    assert min(believed) > 0.4


# -- recommendation ---------------------------------------------------------------------------------------------------


def test_under_noise_the_recommendation_is_not_fooled_by_a_lucky_value(make_history):
    rng = np.random.default_rng(0)
    X = rng.random((40, 1))
    truth = -((X[:, 0] - 0.5) ** 2)
    y = truth + 0.05 * rng.standard_normal(40)
    worst = int(np.argmin(truth))
    y[worst] = y.max() + 0.02
    row = recommend(make_history(LINE, X, y))
    assert row != worst
    assert truth[row] > -0.01


def test_deterministic_outcomes_recommend_the_best_observed(make_history):
    X = points(10, 1)
    history = make_history(LINE, X, smooth(X), noise=0.0)
    assert recommend(history) == history.best_observed


def test_a_rough_function_without_noise_is_not_taken_for_a_noisy_one(make_history):
    X = np.linspace(0.0, 1.0, 40)[:, None]
    y = np.sin(40.0 * X[:, 0]) + X[:, 0]  # a wave of length 0.16, a quarter of the shortest usual lengthscale
    surrogate = fit_surrogate(make_history(LINE, X, y))
    assert surrogate.objective.noise_variance < 1e-2
    assert not _is_noisy(surrogate.objective)
    assert recommend(make_history(LINE, X, y)) == int(np.argmax(y))


def test_noise_that_explains_the_values_better_than_any_function_is_seen(make_history):
    X = np.repeat(np.linspace(0.0, 1.0, 10), 4)[:, None]
    y = np.sin(3.0 * X[:, 0]) + 0.3 * np.random.default_rng(0).standard_normal(40)
    surrogate = fit_surrogate(make_history(LINE, X, y))
    assert _is_noisy(surrogate.objective)  # four values at each place differ by 0.3


def test_of_a_rough_function_on_a_smooth_trend_the_best_measured_trial_is_recommended(make_history):
    X = np.linspace(0.0, 1.0, 80)[:, None]
    y = np.sin(3.0 * X[:, 0]) + 0.2 * np.sin(100.0 * X[:, 0])  # a model that is too smooth calls the waves noise
    history = make_history(LINE, X, y)
    surrogate = fit_surrogate(history)
    assert surrogate.is_clean or not _is_noisy(surrogate.objective)
    assert recommend(history) == history.best_observed == int(np.argmax(y))


@pytest.mark.parametrize("seed", range(4))
def test_of_a_clearly_noisy_objective_the_best_mean_is_recommended_and_not_the_luckiest_value(make_history, seed):
    rng = np.random.default_rng(seed)
    X = rng.random((60, 1))
    truth = -4.0 * (X[:, 0] - 0.5) ** 2  # from -1 at the edges to 0
    y = truth + 0.2 * rng.standard_normal(60)
    luckiest = int(np.argmin(truth))
    y[luckiest] = y.max() + 0.01
    history = make_history(LINE, X, y)
    surrogate = fit_surrogate(history)
    assert _is_noisy(surrogate.objective)
    row = recommend(history)
    assert row == np.argmax(surrogate.told_mean_sd[0])
    assert row != history.best_observed == luckiest
    assert truth[row] > -0.2  # one standard deviation of the noise


@pytest.mark.parametrize("noise", [0.05, 1.0])
def test_a_noise_that_is_known_needs_no_evidence(make_history, noise):
    X = points(8, 1)
    assert _is_noisy(fit_surrogate(make_history(LINE, X, smooth(X), noise=noise)).objective)


def test_without_a_model_nothing_is_noisy():
    assert not _is_noisy(None)


def test_of_few_values_that_any_function_explains_none_is_called_noise(make_history):
    y = np.random.default_rng(0).standard_normal(6)
    history = make_history(LINE, np.linspace(0.0, 1.0, 6)[:, None], y)
    assert not _is_noisy(fit_surrogate(history).objective)
    assert recommend(history) == int(np.argmax(y))


def test_what_is_probably_infeasible_is_not_recommended(make_history):
    X = np.linspace(0.0, 1.0, 21)[:, None]
    y = X[:, 0] + 0.1 * np.random.default_rng(0).standard_normal(21)
    row = recommend(make_history(LINE, X, y, constraints=X - 0.5))
    assert 0.3 < X[row, 0] <= 0.5


def test_of_a_long_history_the_row_is_that_of_the_whole(make_history):
    rng = np.random.default_rng(0)
    X = rng.random((MAX_EXACT + 50, 1))
    X[:50] = 0.05 * rng.random((50, 1))  # of these crowded, bad ones most are left out
    truth = -((X[:, 0] - 0.7) ** 2)
    row = recommend(make_history(LINE, X, truth + 0.05 * rng.standard_normal(len(X))))
    assert isinstance(row, int)
    assert truth[row] > -0.01


def test_nothing_told_recommends_nothing(make_history):
    assert recommend(make_history(LINE)) is None


@pytest.mark.parametrize("noise", [None, 0.0, 0.1])
def test_nothing_feasible_recommends_nothing(make_history, noise):
    X = np.linspace(0.0, 1.0, 8)[:, None]
    assert recommend(make_history(LINE, X, X[:, 0], constraints=X + 5.0, noise=noise)) is None


def test_the_history_may_carry_beliefs_that_the_models_do_not_need(make_history):
    prior = OptimumPrior({"x": (0.5, 0.1)}).on(LINE)
    assert recommend(make_history(LINE, points(3, 1), np.arange(3.0), priors=(prior,))) is not None
