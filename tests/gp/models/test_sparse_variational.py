"""GPyTorch's variational process with natural gradients: near the exact posterior where there is one."""

import pytest
import torch
from gpytorch.likelihoods import BernoulliLikelihood, GaussianLikelihood

from gp import SparseVariationalGP
from gp.errors import InvalidDataError

pytestmark = pytest.mark.usefixtures("one_thread")


def test_with_gaussian_noise_one_full_natural_step_is_the_exact_posterior():
    X = torch.linspace(0, 1, 30)[:, None]
    Y = torch.sin(6 * X) + 0.1 * torch.randn(30, 1)
    likelihood = GaussianLikelihood()
    likelihood.noise = 0.01
    model = SparseVariationalGP(X, Y, likelihood=likelihood, n_inducing=30)
    for parameter in [*model.model.covar_module.parameters(), *model.model.mean_module.parameters()]:
        parameter.requires_grad_(False)
    likelihood.raw_noise.requires_grad_(False)
    model.fit(n_epochs=1, batch_size=30, natural_rate=1.0)
    K = model.model.covar_module(X).to_dense().detach()
    mean = model.model.mean_module(X).detach()
    wanted = mean + K @ torch.linalg.solve(K + 0.01 * torch.eye(30), Y[:, 0] - mean)
    # gpytorch's jitter of 1e-4 in the whitening
    assert torch.allclose(model.posterior(X).mean[:, 0], wanted, atol=0.02)


def test_labels_in_batches_are_learned_the_same_from_the_same_generator():
    X = torch.rand(300, 2)
    labels = (X.sum(1, keepdim=True) > 1).double()
    state = torch.random.get_rng_state()
    models = [SparseVariationalGP(X, labels, likelihood=BernoulliLikelihood(), n_inducing=16) for _ in range(2)]
    reports = [model.fit(n_epochs=15, batch_size=64, generator=torch.Generator().manual_seed(3)) for model in models]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert reports[0].log_posterior == reports[1].log_posterior
    new = torch.rand(200, 2)
    clear = (new.sum(1) - 1).abs() > 0.15
    said = models[0].posterior(new).mean[:, 0] > 0
    assert (said == (new.sum(1) > 1))[clear].double().mean() > 0.95


def test_data_and_options_that_cannot_be_used_are_refused():
    X = torch.rand(5, 2)
    with pytest.raises(InvalidDataError, match="one a row of train_X"):
        SparseVariationalGP(X, torch.rand(5), likelihood=BernoulliLikelihood())
    with pytest.raises(InvalidDataError, match="n_inducing"):
        SparseVariationalGP(X, torch.rand(5, 1), likelihood=BernoulliLikelihood(), n_inducing=0)
    with pytest.raises(InvalidDataError, match="rate: expected a positive"):
        SparseVariationalGP(X, torch.ones(5, 1), likelihood=BernoulliLikelihood()).fit(rate=0.0)
