"""What all acquisition functions of the loop share: the terms beside the gain, fantasies, gradients, odd histories."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm

from bayesopt.acquisition.base import PRIOR_DECAY
from bayesopt.acquisition.log_expected_improvement import LogExpectedImprovement
from bayesopt.acquisition.log_noisy_expected_improvement import LogNoisyExpectedImprovement
from bayesopt.problem.parameters import Choice, Int
from bayesopt.problem.priors import OptimumPrior
from bayesopt.problem.space import Space
from bayesopt.surrogate import fit_surrogate
from tests.bayesopt.acquisition.cases import (
    MIXED,
    SQUARE,
    KnowledgeGradientOfFive,
    acquisition_of,
    differences,
    everything,
    moments,
    noisy,
    points,
    smooth,
)

pytestmark = pytest.mark.usefixtures("one_thread")

EVERY = pytest.mark.parametrize(
    "make",
    [LogExpectedImprovement, LogNoisyExpectedImprovement, KnowledgeGradientOfFive],
    ids=lambda make: make.__name__,
)


@EVERY
def test_terms_add_in_logs(make_history, make):
    fields = {"pending": np.zeros((0, 2)), "failed": np.zeros((0, 2)), "noise": 0.3}
    U = points(20, 2, seed=3)
    history = everything(make_history, **fields)
    surrogate = fit_surrogate(history)
    assert (surrogate.told_probability_feasible >= 0.5).sum() > 1
    acquisition = acquisition_of(make, history)
    gain = acquisition._gain(surrogate.objective.predictor.predict(U)).value[:, 0]
    expected = gain + PRIOR_DECAY / 12 * history.priors[0].log_density(U)
    for model in surrogate.constraints:
        margin, sd = moments(model, U)
        expected += norm.logcdf(-margin / sd)
    assert acquisition.values(U) == pytest.approx(expected, rel=1e-9)


def test_the_chance_of_survival_is_a_term_too(make_history):
    history = everything(make_history, pending=np.zeros((0, 2)))
    acquisition = acquisition_of(LogExpectedImprovement, history)
    U = points(20, 2, seed=3)
    model = fit_surrogate(history).survival
    latent = model.predictor.predict(U)
    expected = norm.logcdf(latent.mean[:, 0] / np.sqrt(latent.variance + 1.0))  # the probit's own noise
    assert expected.min() < -0.1
    acquisition_without = acquisition_of(LogExpectedImprovement, history)
    object.__setattr__(acquisition_without._surrogate, "survival", None)
    assert acquisition.values(U) - acquisition_without.values(U) == pytest.approx(expected, rel=1e-6)


@EVERY
@pytest.mark.parametrize("space", [SQUARE, MIXED], ids=["numbers", "mixed"])
def test_the_gradient_of_all_terms_agrees_with_finite_differences(make_history, make, space):
    acquisition = acquisition_of(make, everything(make_history, space))
    U = np.random.default_rng(4).uniform(0.15, 0.85, (8, space.dim))
    values, gradient = acquisition.value_and_gradient(U)
    slopes = differences(acquisition, U)
    for j, column in enumerate(space.columns):
        if column.kind == "categorical":
            assert not gradient[:, j].any()
        else:
            assert gradient[:, j] == pytest.approx(slopes[:, j], rel=1e-4, abs=1e-4)
    assert np.array_equal(acquisition.values(U), values)


@EVERY
def test_fantasies_are_averaged_outside_the_logarithm(make_history, make):
    history = everything(make_history, failed=np.zeros((0, 2)), priors=())
    normals = np.random.default_rng(7).standard_normal((3, 3, 5))
    U = points(10, 2, seed=3)
    # Each fantasy alone; noisy expected improvement keeps fewer anchors when there are several, of the same order.
    alone = [acquisition_of(make, history, normals=normals[:, :, [c]]).values(U) for c in range(5)]
    together = acquisition_of(make, history, normals=normals).values(U)
    assert together == pytest.approx(logsumexp(alone, axis=0) - np.log(5), abs=0.02)


@EVERY
def test_it_is_finite_on_told_pending_and_failed_points(make_history, make):
    history = everything(make_history)
    values, gradients = acquisition_of(make, history).value_and_gradient(history.tried)
    assert np.isfinite(values).all() and np.isfinite(gradients).all()


@EVERY
@pytest.mark.parametrize("noise", [None, 0.0, 0.2])
@pytest.mark.parametrize(
    ("X", "objective"),
    [
        (np.repeat(points(2, 2), 5, axis=0), np.tile([0.0, 1.0], 5)),
        (np.repeat(points(1, 2), 6, axis=0), np.arange(6.0)),
        (np.repeat(points(1, 2), 6, axis=0), np.ones(6)),
        (points(8, 2), np.ones(8)),
        (points(1, 2), np.ones(1)),
    ],
    ids=["two places", "one place", "one place, equal values", "equal values", "one trial"],
)
def test_an_odd_history_raises_no_warning_and_gives_no_nan(make_history, make, X, objective, noise):
    acquisition = acquisition_of(make, make_history(SQUARE, X, objective, noise=noise))
    values, gradients = acquisition.value_and_gradient(np.vstack([X, points(20, 2, seed=1)]))
    assert not np.isnan(values).any() and not np.isnan(gradients).any()
    assert np.isfinite(values[-20:]).all() and np.isfinite(gradients[-20:]).all()


@EVERY
def test_a_finite_space_told_in_full_raises_no_warning(make_history, make):
    space = Space({"k": Int(1, 3), "c": Choice(["a", "b"])})
    X = np.repeat(space.enumerate(6), 3, axis=0)
    values, _ = acquisition_of(make, make_history(space, X, noisy(X))).value_and_gradient(X)
    assert not np.isnan(values).any()


@EVERY
def test_while_nothing_is_feasible_only_feasibility_counts(make_history, make):
    X = points(8, 2)
    history = make_history(SQUARE, X, smooth(X), constraints=2.0 - X[:, :1])
    acquisition = acquisition_of(make, history)
    U = points(10, 2, seed=1)
    assert acquisition._gain(fit_surrogate(history).objective.predictor.predict(U)) is None
    margin, sd = moments(fit_surrogate(history).constraints[0], U)
    assert acquisition.values(U) == pytest.approx(norm.logcdf(-margin / sd), rel=1e-9)
    assert acquisition.value_and_gradient(U)[1] == pytest.approx(differences(acquisition, U), rel=1e-4, abs=1e-4)


@EVERY
def test_a_pending_point_is_not_worth_a_second_trial(make_history, make):
    X = points(8, 2)
    history = make_history(SQUARE, X, smooth(X), noise=0.01)
    pending = points(1, 2, seed=5)
    before = acquisition_of(make, history).values(pending)
    after = acquisition_of(make, history, pending=pending).values(pending)
    assert after[0] < before[0] - 2.0


@EVERY
def test_a_belief_fades_as_trials_are_told(make_history, make):
    def weight(n):
        X = points(n, 2)
        prior = OptimumPrior({"x": (0.9, 0.05)}).on(SQUARE)
        U = np.array([[0.1, 0.5]])
        plain = acquisition_of(make, make_history(SQUARE, X, smooth(X))).values(U)
        believing = acquisition_of(make, make_history(SQUARE, X, smooth(X), priors=(prior,))).values(U)
        return float((believing - plain)[0])

    assert weight(10) == pytest.approx(2 * weight(20))
    assert weight(10) < -10


@EVERY
def test_what_failed_is_not_expected_to_improve(make_history, make):
    X = points(8, 2)
    history = make_history(SQUARE, X, smooth(X), noise=0.01)
    plain = acquisition_of(make, history)
    grid = points(500, 2, seed=8)
    favourite = grid[[np.argmax(plain.values(grid))]]
    failed = acquisition_of(make, make_history(SQUARE, X, smooth(X), noise=0.01, failed=favourite))
    best = fit_surrogate(history).told_mean_sd[0].max()
    assert failed._objective.predict(favourite).mean[0, 0] <= best + 1e-3
    assert failed.values(favourite)[0] < plain.values(favourite)[0] - 2.0


@EVERY
def test_botorch_sees_a_differentiable_acquisition_function(make_history, make):
    acquisition = acquisition_of(make, everything(make_history))
    X = torch.as_tensor(points(3, 2, seed=9))[:, None].requires_grad_(True)
    values = acquisition(X)
    values.sum().backward()
    expected, gradient = acquisition.value_and_gradient(X.detach()[:, 0].numpy())
    assert values.shape == (3,)
    assert values.tolist() == expected.tolist()
    assert X.grad[:, 0].tolist() == gradient.tolist()


@EVERY
def test_without_a_told_trial_it_is_refused(make_history, make):
    surrogate = fit_surrogate(make_history(SQUARE))
    with pytest.raises(ValueError, match=rf"{make.__name__}.*tell a trial first"):
        make(surrogate, np.zeros((0, 2)), np.zeros((1, 0, 16)))
