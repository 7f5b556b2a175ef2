"""The exact Gaussian process as a BoTorch model, against dense algebra written out here; see `test_regression` too."""

import math

import numpy as np
import pytest
import torch
from botorch.acquisition.logei import qLogExpectedImprovement
from botorch.acquisition.objective import ScalarizedPosteriorTransform

from gp.errors import GPError, InvalidDataError
from gp.models.exact import KNOWN_NOISE_FLOOR, ExactGP

pytestmark = pytest.mark.usefixtures("one_thread")


def data(n=12, d=3, seed=0):
    generator = torch.Generator(device="cpu").manual_seed(seed)
    X = torch.rand(n, d, generator=generator, device="cpu").to(torch.get_default_device())
    return X, torch.sin(5.0 * X).sum(1, keepdim=True) + 3.0


def array(tensor):
    return tensor.detach().cpu().numpy()


def kernel_by_hand(A, B, lengthscales):
    """Matérn-5/2, entry by entry, in plain floats."""
    rows = []
    for a in A.tolist():
        row = []
        for b in B.tolist():
            r = math.sqrt(sum(((x - y) / l) ** 2 for x, y, l in zip(a, b, lengthscales, strict=True)))
            row.append((1 + math.sqrt(5) * r + 5 * r * r / 3) * math.exp(-math.sqrt(5) * r))
        rows.append(row)
    return torch.tensor(rows)


def test_the_log_posterior_is_that_of_the_standardised_values():
    X, Y = data()
    model = ExactGP(X, Y)
    scales, noise = model.lengthscales, math.exp(model.hyperparameters[-1])
    K = kernel_by_hand(X, X, scales.tolist()) + noise * torch.eye(len(X))
    y = ((Y - Y.mean()) / Y.std(correction=0))[:, 0]
    inverse = torch.linalg.inv(K)
    mean = (inverse.sum(0) @ y / inverse.sum()).expand(len(y))
    evidence = torch.distributions.MultivariateNormal(mean, K).log_prob(y)
    prior = model.regression.log_prior(model.hyperparameters[None])[0][0]
    assert model.log_posterior == pytest.approx(evidence.item() + prior, abs=1e-8)


def test_before_the_fit_hyperparameters_stand_at_the_mode_of_their_prior():
    model = ExactGP(*data())
    assert np.array_equal(model.hyperparameters, model.regression.prior_mode())
    usual, longer = (ExactGP(*data(), groups=(0, 0, 1), lengthscale_median=m) for m in (None, 5.0))
    assert len(usual.hyperparameters) == len(longer.hyperparameters) == 3
    assert (longer.lengthscales > 2 * usual.lengthscales).all()
    assert len(ExactGP(*data(), additive=True).hyperparameters) == 5


def test_a_fit_climbs_from_the_starts_that_it_is_given():
    model = ExactGP(*data(30))
    before = model.log_posterior
    assert model.fit() is model
    assert model.log_posterior > before
    best = model.hyperparameters
    assert ExactGP(*data(30)).fit(starts=best[None]).log_posterior >= model.log_posterior - 1e-3


def test_new_hyperparameters_are_copied_and_change_what_is_predicted():
    model, theta = ExactGP(*data()), np.log([0.5, 0.6, 0.7, 0.01])
    before = model.predictor
    model.hyperparameters = theta
    theta[:] = np.nan
    assert np.isfinite(model.hyperparameters).all()
    assert model.predictor is not before
    assert model.predictor is model.predictor
    assert model.lengthscales.tolist() == pytest.approx([0.5, 0.6, 0.7])
    assert model.noise_variances[:, 0].tolist() == pytest.approx([0.01 * model.scale**2] * 12)


def test_the_same_data_give_the_same_fit_bitwise():
    first, second = (ExactGP(*data(20)).fit().hyperparameters for _ in range(2))
    assert np.array_equal(first, second)


def test_the_posterior_is_that_of_dense_algebra():
    X, Y = data()
    model = ExactGP(X, Y, noise=0.2)
    test = data(5, seed=1)[0]
    scales = model.lengthscales.tolist()
    noise = 0.2**2 / model.scale**2 + KNOWN_NOISE_FLOOR
    K = kernel_by_hand(X, X, scales) + noise * torch.eye(len(X))
    k = kernel_by_hand(test, X, scales)
    inverse = torch.linalg.inv(K)
    y = (Y[:, 0] - model.offset) / model.scale
    mean = inverse.sum(0) @ y / inverse.sum()
    expected_mean = model.offset + model.scale * (mean + k @ inverse @ (y - mean))
    expected_covariance = model.scale**2 * (kernel_by_hand(test, test, scales) - k @ inverse @ k.mT)
    posterior = model.posterior(test)
    assert (posterior.mean[:, 0] - expected_mean).abs().max() < 1e-8
    assert (posterior.distribution.covariance_matrix - expected_covariance).abs().max() < 1e-8
    noisy = model.posterior(test, observation_noise=True)
    assert (noisy.variance - posterior.variance - noise * model.scale**2).abs().max() < 1e-10


@pytest.mark.parametrize("at_data", [False, True], ids=["between the data", "on the data"])
@pytest.mark.parametrize("additive", [False, True], ids=["all interactions", "few interactions"])
def test_the_graph_free_prediction_is_the_posterior_and_so_is_its_gradient(at_data, additive):
    X, Y = data()
    model = ExactGP(X, Y, groups=(0, 0, 1), additive=additive).fit()
    test = X[:4].clone() if at_data else data(4, seed=2)[0]
    test.requires_grad_(True)
    posterior = model.posterior(test[:, None])
    weights = torch.tensor([[1.0], [-2.0], [0.5], [3.0]])
    (weights * posterior.mean[:, 0] + weights * posterior.variance[:, 0]).sum().backward()
    prediction = model.predictor.predict(array(test))
    assert prediction.mean == pytest.approx(array(posterior.mean[:, 0]), abs=1e-9)
    assert prediction.variance == pytest.approx(array(posterior.variance[:, 0, 0]), abs=1e-9)
    assert torch.isfinite(test.grad).all()
    gradient = prediction.pullback(array(weights), array(weights[:, 0]))
    assert gradient == pytest.approx(array(test.grad), abs=1e-7)


def test_conditioning_is_the_bayesian_update():
    X, Y = data(15)
    model = ExactGP(X[:10], Y[:10], noise=0.1)
    model.fit()
    test = data(6, seed=3)[0]
    joint = model.posterior(torch.cat([test, X[10:]]))
    mean, covariance = joint.mean[:, 0], joint.distribution.covariance_matrix
    observed = covariance[6:, 6:] + model.noise_variance * torch.eye(5)
    gain = torch.linalg.solve(observed, covariance[6:, :6]).mT
    expected = mean[:6] + gain @ (Y[10:, 0] - mean[6:])
    after = model.condition_on_observations(X[10:], Y[10:]).posterior(test)
    assert (after.mean[:, 0] - expected).abs().max() < 1e-6
    assert (after.variance[:, 0] - (covariance[:6, :6] - gain @ covariance[6:, :6]).diagonal()).abs().max() < 1e-6


def test_conditioning_leaves_the_model_before_alone():
    X, Y = data(15)
    model = ExactGP(X[:10], Y[:10])
    before = model.posterior(X).mean
    after = model.condition_on_observations(X[10:], Y[10:], torch.full((5, 1), 0.01))
    assert torch.equal(model.posterior(X).mean, before)
    assert len(model.train_X) == len(model.regression.y) == 10
    assert len(after.train_X) == len(after.regression.y) == 15
    assert after.noise_variances[10:, 0].tolist() == pytest.approx([0.01] * 5)


def test_a_fantasy_is_a_conditioned_model_whose_observation_was_drawn_from_the_posterior():
    model = ExactGP(*data()).fit()
    points, test = array(data(2, seed=4)[0]), data(5, seed=5)[0]
    fantasies, drawn = model.fantasies(points, np.random.default_rng(0).standard_normal((2, 3)))
    prediction = fantasies.predict(array(test))
    for column in range(3):
        after = model.condition_on_observations(*map(torch.as_tensor, (points, drawn[:, [column]])))
        posterior = after.posterior(test[:, None])
        assert prediction.mean[:, column] == pytest.approx(array(posterior.mean[:, 0, 0]), abs=1e-8)
        assert prediction.variance == pytest.approx(array(posterior.variance[:, 0, 0]), abs=1e-8)


def test_fantasies_have_the_moments_of_the_noisy_posterior_within_four_standard_errors():
    model = ExactGP(*data()).fit()
    points = data(2, seed=4)[0]
    n = 20_000
    _, drawn = model.fantasies(array(points), np.random.default_rng(0).standard_normal((2, n)))
    posterior = model.posterior(points, observation_noise=True)
    covariance = array(posterior.distribution.covariance_matrix)
    variance = covariance.diagonal()
    assert (np.abs(drawn.mean(1) - array(posterior.mean[:, 0])) < 4 * np.sqrt(variance / n)).all()
    spread = np.sqrt((variance[:, None] * variance + covariance**2) / n)
    assert (np.abs(np.cov(drawn) - covariance) < 4 * spread).all()


def test_known_variances_pull_the_mean_towards_the_precise_observations():
    X = torch.tensor([[0.5], [0.5], [0.1]])
    Y = torch.tensor([[0.0], [1.0], [0.0]])
    model = ExactGP(X, Y, torch.tensor([[1e-6], [1.0], [1e-6]]))
    assert model.posterior(X[:1]).mean.item() < 0.05
    assert not model.learns_noise


def test_noise_is_learned_for_the_observations_whose_variance_is_not_known():
    X, Y = data(40)
    Y = Y + 0.3 * torch.randn(40, 1)
    variance = torch.full((40, 1), torch.nan)
    variance[:5] = 0.3**2
    model = ExactGP(X, Y, variance).fit()
    assert model.learns_noise
    assert 0.1 < math.sqrt(model.noise_variance) < 0.9


def test_an_uncentred_model_forgets_towards_zero():
    X, Y = data()
    far = torch.full((1, 3), 1e3)
    assert ExactGP(X, Y, center=False).posterior(far).mean.item() == pytest.approx(0.0, abs=1e-12)
    assert ExactGP(X, Y).posterior(far).mean.item() == pytest.approx(3.0, abs=2.0)


def test_botorch_optimises_over_the_posterior_of_several_points():
    X, Y = data()
    model = ExactGP(X, Y).fit()
    test = data(6, seed=6)[0].view(3, 2, 3).requires_grad_(True)
    qLogExpectedImprovement(model, best_f=Y.max())(test).sum().backward()
    assert torch.isfinite(test.grad).all() and test.grad.any()


def test_a_posterior_transform_is_applied():
    X, Y = data()
    model = ExactGP(X, Y)
    halved = model.posterior(X, posterior_transform=ScalarizedPosteriorTransform(torch.tensor([0.5])))
    assert (halved.mean - 0.5 * model.posterior(X).mean).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("X", "Y"),
    [
        (torch.rand(1, 2, device="cpu").double(), torch.rand(1, 1, device="cpu").double()),
        (torch.zeros(6, 2, device="cpu").double(), torch.arange(6.0, device="cpu")[:, None].double()),
        (torch.rand(6, 2, device="cpu").double(), torch.full((6, 1), 7.0, device="cpu").double()),
        (torch.rand(6, 2, device="cpu").double(), 1e-200 * torch.rand(6, 1, device="cpu").double()),
    ],
    ids=["one point", "duplicated points", "equal values", "tiny values"],
)
@pytest.mark.parametrize("noise", [None, 0.0])
def test_degenerate_data_give_a_finite_model(X, Y, noise):
    device = torch.get_default_device()
    model = ExactGP(X.to(device), Y.to(device), noise=noise).fit()
    prediction = model.predictor.predict(array(torch.rand(3, 2)))
    assert np.isfinite(prediction.mean).all()
    assert (prediction.variance > 0).all()


def test_a_model_of_duplicates_without_noise_that_cannot_be_factored_says_so():
    model = ExactGP(*data())
    with pytest.raises(GPError, match="cannot be factored at any of 1 starts"):
        model.fit(starts=np.full((1, 4), np.nan))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda X, Y: ExactGP(X, Y[:, 0]), "expected X `n x d` and Y `n x 1`"),
        (lambda X, Y: ExactGP(X[:0], Y[:0]), "n, d >= 1"),
        (lambda X, Y: ExactGP(X.float(), Y), "both float64 or both float32"),
        (lambda X, Y: ExactGP(X, Y * torch.nan), "must be finite"),
        (lambda X, Y: ExactGP(X, Y, -Y.abs()), "variances >= 0"),
        (lambda X, Y: ExactGP(X, Y, groups=(0, 2, 2)), "using every one of 0 .. g - 1"),
        (lambda X, Y: ExactGP(X, Y, noise=-1.0), "finite standard deviation >= 0"),
        (lambda X, Y: ExactGP(X, Y).posterior(X[:, :2]), "expected `... x q x d` with d=3"),
        (lambda X, Y: ExactGP(X, Y).posterior(X, output_indices=[1]), "there is one output"),
        (lambda X, Y: ExactGP(X, Y).condition_on_observations(X[:, :2], Y), "expected `k x d` with d=3"),
    ],
)
def test_what_cannot_be_used_is_refused(make, message):
    with pytest.raises(InvalidDataError, match=message):
        make(*data())
