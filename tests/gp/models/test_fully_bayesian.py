"""The mixture over hyperparameters: its algebra, its place in BoTorch, and that it is worth its time."""

import math

import pytest
import torch
from botorch.acquisition.analytic import LogExpectedImprovement
from botorch.acquisition.logei import qLogExpectedImprovement, qLogNoisyExpectedImprovement
from botorch.optim.optimize import optimize_acqf
from botorch.posteriors.fully_bayesian import GaussianMixturePosterior
from gpytorch.kernels.matern_kernel import MaternKernel

import gp
from gp.errors import InvalidDataError

pytestmark = pytest.mark.usefixtures("one_thread")


def data(n=12, d=2, scale=1.0):
    X = torch.rand(n, d)
    return X, scale * (torch.sin(5 * X[:, :1]) + X[:, 1:2] ** 2) + 3.0 * scale


def densely(model, X, k):
    """Mean and covariance of f under draw k, from gpytorch's kernel and a solve, in units of Y."""
    p, matern = model.hyperparameters, MaternKernel(nu=2.5)
    matern.lengthscale = 1.0

    def kernel(A, B):
        return p.signal_variance[k] * matern(A / p.lengthscales[k], B / p.lengthscales[k]).to_dense().detach()

    noise = torch.where(model._variances.isnan(), p.noise_variance[k], model._variances)
    y = (model.train_Y[:, 0] - model.offset) / model.scale
    weight = torch.linalg.solve(kernel(model.train_X, model.train_X) + torch.diag(noise), kernel(model.train_X, X)).T
    mean = p.mean[k] + weight @ (y - p.mean[k])
    covariance = kernel(X, X) - weight @ kernel(model.train_X, X)
    return model.offset + model.scale * mean, model.scale**2 * covariance


@pytest.mark.parametrize("kernel", ["saas", "dimension-scaled"])
@pytest.mark.parametrize("method", ["map", "laplace", "hmc"])
def test_every_member_predicts_what_dense_algebra_says(kernel, method):
    X, Y = data(scale=40.0)
    model = gp.FullyBayesianGP(X, Y, kernel=kernel, method=method).fit()
    test_X = torch.rand(2, 3, 2)
    posterior = model.posterior(test_X)
    assert isinstance(posterior, GaussianMixturePosterior)
    assert posterior.mean.shape == (2, 1 if method == "map" else 16, 3, 1)
    for b in range(2):
        for k in range(model.num_mcmc_samples):
            mean, covariance = densely(model, test_X[b], k)
            assert torch.allclose(posterior.mean[b, k, :, 0], mean, rtol=1e-6)
            # 1e-10 of the variance of Y is added on purpose, and K has condition numbers up to 1e6
            found = posterior.distribution.covariance_matrix[b, k]
            assert torch.allclose(found, covariance, atol=1e-7 * model.scale**2)


def test_known_noise_is_taken_as_it_is_and_observations_have_it():
    X, Y = data()
    Yvar = torch.full_like(Y, 0.04)
    model = gp.FullyBayesianGP(X, Y, Yvar, method="laplace").fit()
    mean, _ = densely(model, X, 3)
    assert torch.allclose(model.posterior(X).mean[3, :, 0], mean)
    with_noise = model.posterior(X, observation_noise=True).variance - model.posterior(X).variance
    assert torch.allclose(with_noise, torch.tensor(0.04), rtol=1e-4)  # the floor of 1e-6 is on top


def test_conditioning_is_adding_data_under_the_same_draws():
    X, Y = data()
    model = gp.FullyBayesianGP(X[:9], Y[:9], method="laplace").fit()
    after = model.condition_on_observations(X[9:], Y[9:])
    assert len(model.train_X) == 9
    for k in (0, 7):
        mean, _ = densely(after, X[:4], k)
        assert torch.allclose(after.posterior(X[:4]).mean[k, :, 0], mean, rtol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda model, X, Y: LogExpectedImprovement(model, Y.max()),
        lambda model, X, Y: qLogExpectedImprovement(model, Y.max()),
        lambda model, X, Y: qLogNoisyExpectedImprovement(model, X, prune_baseline=True),
    ],
    ids=["LogEI", "qLogEI", "qLogNEI"],
)
@pytest.mark.filterwarnings("ignore:.*cache_root.*:RuntimeWarning")
def test_acquisition_functions_of_botorch_take_it_unchanged(make):
    X, Y = data()
    acquisition = make(gp.FullyBayesianGP(X, Y, method="laplace").fit(), X, Y)
    bounds = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    best, value = optimize_acqf(acquisition, bounds, q=1, num_restarts=2, raw_samples=16)
    with torch.no_grad():
        assert value >= acquisition(torch.rand(64, 1, 2)).max() - 0.5  # two restarts may miss the very best
    assert best.shape == (1, 2)


def test_log_expected_improvement_is_the_mean_over_the_members():
    X, Y = data()
    model = gp.FullyBayesianGP(X, Y, method="laplace").fit()
    point = torch.tensor([[[0.3, 0.9]]])
    found = LogExpectedImprovement(model, Y.max())(point)
    posterior = model.posterior(point)
    mean, sd = posterior.mean[0, :, 0, 0], posterior.variance[0, :, 0, 0].sqrt()
    u, normal = (mean - Y.max()) / sd, torch.distributions.Normal(0.0, 1.0)
    improvement = sd * (normal.log_prob(u).exp() + u * normal.cdf(u))
    assert found.item() == pytest.approx(float(improvement.mean().log()), abs=1e-6)


def test_goes_on_from_the_fit_before_and_depends_on_its_seed_alone():
    X, Y = data()
    state = torch.random.get_rng_state()
    first, again = (gp.FullyBayesianGP(X[:-1], Y[:-1]).fit(seed=3) for _ in range(2))
    assert torch.equal(first.posterior(X).mean, again.posterior(X).mean)
    warm = gp.FullyBayesianGP(X, Y).fit(seed=4, warm_start=first.state)
    cold = gp.FullyBayesianGP(X, Y).fit(seed=5)
    assert torch.equal(torch.random.get_rng_state(), state)
    test_X = torch.rand(50, 2)
    close = [model.posterior(test_X[:, None]).mixture_mean[:, 0, 0] for model in (warm, cold)]
    assert (close[0] - close[1]).abs().mean() < 0.05 * Y.std()  # two mixtures of 16 draws


def test_it_is_less_sure_than_the_mode_where_data_are_few():
    X, Y = data(n=6, d=4)
    sd = {
        method: gp.FullyBayesianGP(X, Y, method=method).fit().posterior(torch.rand(100, 1, 4)).mixture_variance.mean()
        for method in ("map", "hmc")
    }
    assert sd["hmc"] > sd["map"]


def test_single_precision_comes_back_and_gradients_reach_the_points():
    X, Y = data()
    model = gp.FullyBayesianGP(X.float(), Y.float(), method="map").fit()
    point = torch.rand(1, 2, dtype=torch.float32, requires_grad=True)
    mean = model.posterior(point).mean
    assert mean.dtype == torch.float32
    assert torch.isfinite(torch.autograd.grad(mean.sum(), point)[0]).all()


@pytest.mark.slow
def test_nuts_predicts_what_hmc_does():
    X, Y = data()
    test_X = torch.rand(100, 1, 2)
    hmc, sampler = (gp.FullyBayesianGP(X, Y, method=m).fit().posterior(test_X) for m in ("hmc", "nuts"))
    gap = (hmc.mixture_mean - sampler.mixture_mean).abs().mean()
    assert gap < 0.05 * Y.std()  # as two runs of hmc


def test_what_cannot_be_used_is_refused():
    X, Y = data()
    with pytest.raises(InvalidDataError, match="call `fit"):
        gp.FullyBayesianGP(X, Y).posterior(X)
    with pytest.raises(InvalidDataError, match="'rbf'"):
        gp.FullyBayesianGP(X, Y, kernel="rbf")
    with pytest.raises(InvalidDataError, match="finite"):
        gp.FullyBayesianGP(X, Y * math.nan)
    model = gp.FullyBayesianGP(X, Y, method="map").fit()
    with pytest.raises(InvalidDataError, match="d=2"):
        model.posterior(torch.rand(3, 5))
    other = gp.FullyBayesianGP(torch.rand(5, 3), torch.rand(5, 1)).fit().state
    with pytest.raises(InvalidDataError, match="16 chains of dimension"):
        gp.FullyBayesianGP(X, Y).fit(warm_start=other)


@pytest.mark.gpu
def test_runs_on_a_gpu():
    X, Y = (tensor.cuda() for tensor in data())
    posterior = gp.FullyBayesianGP(X, Y).fit().posterior(X)
    assert posterior.mean.device.type == "cuda"
