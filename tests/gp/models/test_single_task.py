"""An ExactGP as a SingleTaskGP: the same posterior, and all that only the latter can do."""

import pytest
import torch
from botorch.acquisition.logei import qLogExpectedImprovement
from botorch.optim.optimize import optimize_acqf
from botorch.sampling.normal import SobolQMCNormalSampler

from gp import ExactGP, to_single_task_gp
from gp.errors import InvalidDataError

NOISE = {
    "noise learned": {},
    "deterministic": {"noise": 0.0},
    "one known noise": {"noise": 0.3},
    "a known noise each": {"train_Yvar": 0.01 + torch.linspace(0, 1, 30, dtype=torch.float64)[:, None]},
    "some noises known": {"train_Yvar": torch.tensor([0.2, torch.nan] * 15, dtype=torch.float64)[:, None]},
    "groups": {"groups": [0, 1, 1]},
    "few interactions": {"groups": [0, 1, 1], "additive": True},
    "not centred": {"center": False},
}


def fitted(unit=1.0, **options):
    X = torch.rand(30, 3)
    Y = 3 * torch.sin(5 * X).sum(1, keepdim=True) + 10 + 0.1 * torch.randn(30, 1)
    return ExactGP(X, unit * Y, **options).fit()


def moments(model, X):
    posterior = model.posterior(X)
    return posterior.mean, posterior.distribution.covariance_matrix


@pytest.mark.parametrize("options", NOISE.values(), ids=NOISE)
def test_predicts_what_the_exact_model_predicts(options):
    model = fitted(**options)
    X = torch.cat([torch.rand(5, 3), model.train_X[:3], model.train_X[:3] + 1e-5])
    for ours, theirs, unit in zip(
        moments(model, X), moments(to_single_task_gp(model), X), (model.scale, model.scale**2), strict=True
    ):
        torch.testing.assert_close(theirs / unit, ours / unit, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_no_unit_is_too_small_or_too_large(unit):
    model = fitted(unit, noise=0.0)
    X = torch.rand(4, 3)
    torch.testing.assert_close(to_single_task_gp(model).posterior(X).mean, model.posterior(X).mean, rtol=1e-9, atol=0.0)


@pytest.mark.parametrize("options", NOISE.values(), ids=NOISE)
def test_its_gradients_are_those_of_the_exact_model(options):
    model = fitted(**options)
    X = torch.cat([torch.rand(4, 3), model.train_X[:1]])[:, None, :]
    gradients = []
    for candidate in (model, to_single_task_gp(model)):
        Z = X.clone().requires_grad_()
        posterior = candidate.posterior(Z)
        value = posterior.mean.sum() / model.scale + posterior.variance.sum() / model.scale**2
        gradients += torch.autograd.grad(value, Z)
    torch.testing.assert_close(*gradients, atol=1e-9, rtol=1e-9)


def test_takes_points_that_a_map_turns_into_features():
    def mapping(X):
        return torch.cat([X.square(), X.sin()], -1)

    X = torch.rand(12, 2)
    model = ExactGP(mapping(X), X.sum(1, keepdim=True)).fit()
    converted = to_single_task_gp(model, train_X=X, mapping=mapping)
    T = torch.rand(3, 5, 2)
    torch.testing.assert_close(converted.posterior(T).mean, model.posterior(mapping(T)).mean)


def test_points_that_are_not_the_models_are_refused():
    X = torch.rand(6, 2)
    model = ExactGP(X, X[:, :1])
    with pytest.raises(InvalidDataError, match="not what the model was fitted to"):
        to_single_task_gp(model, train_X=X.flip(0), mapping=torch.clone)
    with pytest.raises(InvalidDataError, match="mapping: expected both"):
        to_single_task_gp(model, train_X=X)


def test_further_observations_count_as_they_do_for_the_exact_model():
    model = fitted(noise=0.3)
    X, Y, T = torch.rand(2, 3), torch.rand(2, 1), torch.rand(4, 3)
    converted = to_single_task_gp(model)
    converted.posterior(T)  # BoTorch conditions a model that has predicted once
    after = converted.condition_on_observations(X, Y)
    expected = model.condition_on_observations(X, Y)
    torch.testing.assert_close(after.posterior(T).mean, expected.posterior(T).mean)
    torch.testing.assert_close(to_single_task_gp(expected).posterior(T).mean, expected.posterior(T).mean)


def test_makes_fantasies_for_batches_of_points():
    converted = to_single_task_gp(fitted())
    fantasies = converted.fantasize(torch.rand(6, 2, 3), SobolQMCNormalSampler(torch.Size([5]), seed=0))
    assert fantasies.posterior(torch.rand(6, 4, 3)).mean.shape == (5, 6, 4, 1)


def test_hyperparameters_are_frozen():
    assert not any(parameter.requires_grad for parameter in to_single_task_gp(fitted()).parameters())


@pytest.mark.parametrize("convert", [lambda model: model, to_single_task_gp], ids=["ExactGP", "SingleTaskGP"])
def test_works_in_a_plain_botorch_loop(convert):
    def objective(X):
        return -(X - 0.3).square().sum(-1, keepdim=True)

    bounds = torch.stack([torch.zeros(2), torch.ones(2)])
    X = torch.rand(6, 2)
    for _ in range(3):
        model = convert(ExactGP(X, objective(X), noise=0.0).fit())
        acquisition = qLogExpectedImprovement(model, best_f=objective(X).max())
        candidate, _ = optimize_acqf(acquisition, bounds, q=1, num_restarts=2, raw_samples=16)
        X = torch.cat([X, candidate])
    assert objective(X).max() > -1e-2


@pytest.mark.gpu
def test_runs_where_its_data_are():
    model = fitted()
    on_gpu = ExactGP(model.train_X.cuda(), model.train_Y.cuda())
    on_gpu.hyperparameters = model.hyperparameters
    X = torch.rand(4, 3)
    found = to_single_task_gp(on_gpu).posterior(X.cuda()).mean
    assert found.is_cuda
    torch.testing.assert_close(found.cpu(), model.posterior(X.cpu()).mean.cpu())
