"""A study in BoTorch's types: the same models on points of the cube, and data in the stated order and sign."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from bayesopt.acquisition.botorch_problem import botorch_problem, torch_features
from bayesopt.problem.parameters import Choice, Float, Int, Simplex
from bayesopt.problem.space import Space
from bayesopt.surrogate import FeatureMap, fit_surrogate
from gp.threads import single_threaded

SQUARE = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
MIXED = Space({"x": Float(1e-4, 1.0, log=True), "k": Int(1, 9), "c": Choice(["a", "b"]), "m": Simplex(["p", "q", "r"])})


def points(space, n, seed=0):
    return space.sample(n, np.random.default_rng(seed))


def smooth(X):
    return -((X - 0.4) ** 2).sum(1)


def fitted(make_history, space, n=14, **fields):
    X = points(space, n)
    return fit_surrogate(make_history(space, X, smooth(X), **fields))


def problem_of(surrogate, pending=None, **options):
    pending = np.zeros((0, surrogate.history.space.dim)) if pending is None else pending
    return botorch_problem(surrogate, pending, np.random.default_rng(0), **options)


@pytest.mark.parametrize("space", [SQUARE, MIXED], ids=["numbers", "mixed"])
def test_features_are_those_of_the_map_and_differentiable_in_batches(space):
    features = FeatureMap(space)
    mapping = torch_features(features)
    X = torch.tensor(points(space, 12)).reshape(2, 3, 2, -1).clamp(0.05, 0.95)
    flat = X.reshape(12, -1).numpy()
    np.testing.assert_array_equal(mapping(X).reshape(12, -1).numpy(), features(flat))
    assert mapping(X).shape[:-1] == (2, 3, 2)
    assert gradcheck(mapping, X.requires_grad_())


def test_the_model_of_points_is_the_surrogates_model_of_features(make_history):
    surrogate = fitted(make_history, MIXED)
    U = points(MIXED, 9, 1)
    expected = surrogate.objective.posterior(torch.as_tensor(surrogate.features(U)))
    found = problem_of(surrogate).objective_model.posterior(torch.as_tensor(U))
    torch.testing.assert_close(found.mean, expected.mean)
    torch.testing.assert_close(found.distribution.covariance_matrix, expected.distribution.covariance_matrix)


def test_outputs_are_the_objective_and_then_the_margins(make_history):
    margins = np.column_stack([points(SQUARE, 14)[:, 0] - 0.5, np.full(14, np.nan), points(SQUARE, 14)[:, 1] - 0.9])
    problem = problem_of(fitted(make_history, SQUARE, constraints=margins))
    assert problem.model.num_outputs == 3  # the second margin was never measured
    samples = problem.model.posterior(problem.train_X).mean[None]
    torch.testing.assert_close(
        problem.objective(samples)[0], problem.objective_model.posterior(problem.train_X).mean[:, 0]
    )
    first, third = (constraint(samples)[0].numpy() for constraint in problem.constraints)
    np.testing.assert_array_equal(first <= 0, margins[:, 0] <= 0)
    np.testing.assert_array_equal(third <= 0, margins[:, 2] <= 0)
    np.testing.assert_array_equal(problem.train_Y.numpy()[:, 1:], margins)


def test_without_constraints_there_is_one_output_and_no_callable(make_history):
    problem = problem_of(fitted(make_history, SQUARE))
    assert problem.model is problem.objective_model
    assert problem.constraints is None
    assert problem.X_pending is None
    np.testing.assert_array_equal(problem.train_Y[:, 0].numpy(), smooth(points(SQUARE, 14)))


def test_the_incumbent_is_the_best_mean_at_a_feasible_trial(make_history):
    X = points(SQUARE, 14)
    problem = problem_of(fitted(make_history, SQUARE, constraints=X[:, :1] - 0.3, noise=0.0))
    means = problem.objective_model.posterior(torch.as_tensor(X)).mean[:, 0]
    assert problem.best_f == pytest.approx(float(means[X[:, 0] <= 0.3].max()))
    nowhere = problem_of(fitted(make_history, SQUARE, constraints=X[:, :1] + 1.0, noise=0.0))
    assert nowhere.best_f == pytest.approx(float(means.min()))


def test_a_believed_trial_leaves_means_and_takes_variance(make_history):
    surrogate = fitted(make_history, MIXED, constraints=points(MIXED, 14)[:, :1] - 0.5)
    pending = points(MIXED, 2, 1)
    before, after = problem_of(surrogate), problem_of(surrogate, pending, believe=True)
    X = torch.as_tensor(pending)
    torch.testing.assert_close(after.model.posterior(X).mean, before.model.posterior(X).mean)
    assert (after.model.posterior(X).variance < 0.5 * before.model.posterior(X).variance).all()
    assert after.X_pending is None
    assert problem_of(surrogate, pending).X_pending.equal(X)


def test_a_failed_trial_is_no_news_any_more(make_history):
    failed = np.array([[0.9, 0.1]])
    without = problem_of(fitted(make_history, SQUARE)).objective_model
    broken = problem_of(fitted(make_history, SQUARE, failed=failed)).objective_model
    X = torch.as_tensor(failed)
    assert broken.posterior(X).variance < 0.5 * without.posterior(X).variance


def test_candidates_are_allowed(make_history):
    space = Space({"x": Float(0.0, 1.0), "k": Int(1, 9)}, allowed=lambda params: params["x"] * params["k"] < 2)
    candidates = problem_of(fitted(make_history, space)).candidates.numpy()
    assert space.is_allowed(candidates).all()
    assert len(candidates) >= 100


def test_a_perturbed_model_has_an_outcome_for_each_perturbation(make_history):
    problem = problem_of(fitted(make_history, SQUARE))
    perturbations = torch.tensor([[0.0, 0.0], [0.2, 0.0], [0.0, -5.0]])
    found = problem.perturbed(perturbations).posterior(torch.tensor([[0.3, 0.6]])).mean
    around = torch.tensor([[0.3, 0.6], [0.5, 0.6], [0.3, 0.0]])  # clipped to the cube
    torch.testing.assert_close(found, problem.objective_model.posterior(around).mean)


@pytest.mark.parametrize("space", [SQUARE, MIXED], ids=["numbers", "mixed"])
@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
def test_an_older_study_that_agrees_sharpens_the_model(space, make_history):
    with single_threaded():  # BoTorch's fit of 45 trials waits for its threads a hundred times as long as it computes
        surrogate = fitted(make_history, space, n=5)
        problem = problem_of(surrogate)
        old_X = points(space, 40, 2)
        model = problem.multi_task_model(old_X, 5.0 * smooth(old_X) + 3.0)
        T = points(space, 50, 3)
        found = model.posterior(torch.as_tensor(T)).mean * problem.train_Y.std(correction=0) + problem.train_Y.mean()
        alone = surrogate.scale.to_units(problem.objective_model.posterior(torch.as_tensor(T)).mean.numpy())
    truth = smooth(T)[:, None]
    assert np.square(found.numpy() - truth).mean() < 0.25 * np.square(alone - truth).mean()
