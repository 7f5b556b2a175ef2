"""A posterior made of paths is the Gaussian that it stands for, for every acquisition function of BoTorch."""

import pytest
import torch
from botorch.acquisition.logei import qLogExpectedImprovement, qLogNoisyExpectedImprovement
from botorch.acquisition.monte_carlo import qSimpleRegret, qUpperConfidenceBound
from botorch.models.model import Model
from botorch.optim.optimize import optimize_acqf
from botorch.posteriors.gpytorch import GPyTorchPosterior
from botorch.sampling.get_sampler import get_sampler
from botorch.sampling.normal import IIDNormalSampler, SobolQMCNormalSampler
from gpytorch.distributions.multivariate_normal import MultivariateNormal

from gp.posteriors import PathPosterior, unexpanded


class Line(Model):
    """Bayesian linear regression on two features: f(x) = w' x with w ~ N(center, root root')."""

    num_outputs = 1
    batch_shape = torch.Size()

    def __init__(self, dense=False):
        super().__init__()
        self.dense = dense
        self.center = torch.tensor([1.0, -0.5])
        self.root = torch.tensor([[0.8, 0.0], [0.3, 0.5]])

    def posterior(self, X, output_indices=None, observation_noise=False, posterior_transform=None):
        mean = X @ self.center[:, None]
        half = X @ self.root
        if self.dense:
            jitter = 1e-10 * torch.eye(X.shape[-2])
            return GPyTorchPosterior(MultivariateNormal(mean[..., 0], half @ half.mT + jitter))
        return PathPosterior(
            mean,
            lambda: half.square().sum(-1, keepdim=True),
            lambda w: mean + half @ w[..., None],
            n_normals=2,
        )


X = torch.rand(4, 3, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def test_mean_variance_and_samples_are_of_one_process():
    posterior = Line().posterior(X)
    samples = posterior.rsample(torch.Size([40_000]), generator=torch.Generator().manual_seed(0))
    assert samples.shape == (40_000, 4, 3, 1)
    error = (samples.mean(0) - posterior.mean).abs()
    assert (error < 4 * (posterior.variance / 40_000).sqrt()).all()
    dense = Line(dense=True).posterior(X).distribution.covariance_matrix
    centred = (samples - posterior.mean)[..., 0]
    covariance = torch.einsum("sbi,sbj->bij", centred, centred) / 40_000
    variances = posterior.variance[..., 0]
    # variance of a sample covariance: (v_i v_j + c_ij²) / S
    se = ((variances[..., :, None] * variances[..., None, :] + dense**2) / 40_000).sqrt()
    assert ((covariance - dense).abs() < 4.5 * se).all()  # 36 entries: 4.5 rather than 4
    assert torch.allclose(posterior.variance, Line(dense=True).posterior(X).variance, atol=1e-9)


def test_the_sampler_is_quasi_random_and_the_same_over_a_batch():
    posterior = Line().posterior(X[:1].expand(4, 3, 2))
    sampler = get_sampler(posterior, torch.Size([16]), seed=1)
    assert isinstance(sampler, SobolQMCNormalSampler)
    samples = sampler(posterior)
    assert torch.equal(samples[:, 0], samples[:, 3])
    assert torch.equal(samples, sampler(posterior))


def test_more_numbers_than_sobol_has_dimensions_are_drawn_independently():
    mean = torch.zeros(2, 1)
    posterior = PathPosterior(mean, lambda: mean, lambda w: w[..., :2, None], n_normals=30_000)
    assert isinstance(get_sampler(posterior, torch.Size([2]), seed=0), IIDNormalSampler)


@pytest.mark.parametrize(
    "make",
    [
        lambda model: qLogExpectedImprovement(model, best_f=0.4),
        lambda model: qUpperConfidenceBound(model, beta=0.3),
        qSimpleRegret,
        lambda model: qLogNoisyExpectedImprovement(model, X_baseline=X[3], prune_baseline=False, cache_root=False),
    ],
    ids=["qLogEI", "qUCB", "qSimpleRegret", "qLogNEI"],
)
def test_acquisition_functions_give_what_they_give_on_the_dense_posterior(make):
    values = []
    for dense in (False, True):
        acquisition = make(Line(dense))
        acquisition.sampler = SobolQMCNormalSampler(torch.Size([4096]), seed=7)
        values.append(acquisition(X[:2]))
    # 4096 quasi-random points: the Monte Carlo error of either is below 0.01 on values of order one
    assert torch.allclose(values[0], values[1], atol=0.02)


def test_an_acquisition_function_is_optimised_through_the_paths():
    bounds = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    best, _ = optimize_acqf(qSimpleRegret(Line()), bounds, q=1, num_restarts=2, raw_samples=16, options={"seed": 1})
    assert torch.allclose(best, torch.tensor([[1.0, 0.0]]), atol=1e-4)  # the mean is x_0 - x_1 / 2


def test_variance_is_computed_once_and_only_when_asked_for():
    calls = []
    mean = torch.zeros(2, 1)
    posterior = PathPosterior(mean, lambda: calls.append(1) or mean, lambda w: w[..., None], n_normals=2)
    posterior.rsample()
    assert not calls
    assert posterior.variance is posterior.variance
    assert len(calls) == 1


def test_normal_numbers_of_another_shape_are_refused():
    with pytest.raises(RuntimeError, match=r"expected shape \(5, 4, 2\), got \(5, 4, 3\)"):
        Line().posterior(X).rsample_from_base_samples(torch.Size([5]), torch.zeros(5, 4, 3))


def test_copies_along_expanded_dimensions_are_dropped():
    assert unexpanded(torch.zeros(3, 1, 2).expand(3, 5, 2)).shape == (3, 1, 2)
    assert unexpanded(torch.zeros(3, 5, 2)).shape == (3, 5, 2)
