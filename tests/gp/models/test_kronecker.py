"""Gaussian processes on grids against the dense model on the observed cells, which knows nothing of grids."""

import math

import pytest
import torch
from botorch.acquisition.logei import qLogExpectedImprovement
from botorch.acquisition.objective import GenericMCObjective, ScalarizedPosteriorTransform
from botorch.optim.optimize import optimize_acqf
from gpytorch.kernels.periodic_kernel import PeriodicKernel

from gp.errors import GPError, InvalidDataError
from gp.linalg import grid_systems
from gp.models import grid_solution
from gp.models.kronecker import KroneckerGP

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = pytest.mark.parametrize("sizes", [(7, 6), (5, 3, 4), (9,)], ids=str)
DATA = pytest.mark.parametrize("data", ["full", "holes", "known noise", "one known noise"])
N_PATHS = 4096


def made(sizes, data="holes", seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    axes = [torch.rand(n, 2 if i == 0 else 1, generator=generator).to(dtype) for i, n in enumerate(sizes)]
    if sizes[0] > 2:
        axes[0][1] = axes[0][0]  # a repeated design point
    Y = 3.0 + 2.0 * torch.randn(sizes, generator=generator).to(dtype)
    if data != "full":
        Y[torch.rand(sizes, generator=generator) < 0.2] = torch.nan
    Yvar = {"known noise": 0.1 + torch.rand(sizes, generator=generator), "one known noise": torch.tensor(0.3)}.get(data)
    return KroneckerGP(axes, Y, Yvar)


class Dense:
    """The same model as a matrix of all pairs of observed cells."""

    def __init__(self, model):
        self.model = model
        seen = model.observed.flatten()
        cells = torch.cartesian_prod(*[torch.arange(n) for n in model.Y.shape]).reshape(len(seen), -1)[seen]
        self.points = [axis[column] for axis, column in zip(model.axes, cells.unbind(-1), strict=True)]
        self.y = (model.Y.flatten()[seen] - model.offset) / model.scale
        noise = model.noise.expand(model.Y.shape).flatten()[seen]
        self.A = self.covariance(self.points, self.points) + torch.diag(noise)

    def covariance(self, left, right):
        K = torch.ones(())
        for kernel, a, b in zip(self.model.kernels, left, right, strict=True):
            K = K * kernel(a, b).to_dense()
        return K

    def posterior(self, X, T=None):
        """Mean and covariance of `q x m` outputs, flattened, in the units of Y."""
        model = self.model
        axes = [X, *(model.axes[1:] if T is None else [T])]
        cells = torch.cartesian_prod(*[torch.arange(len(axis)) for axis in axes])
        cells = cells.reshape(-1, len(axes))
        test = [axis[column] for axis, column in zip(axes, cells.unbind(-1), strict=True)]
        C = self.covariance(test, self.points)
        mean = C @ torch.linalg.solve(self.A, self.y)
        covariance = self.covariance(test, test) - C @ torch.linalg.solve(self.A, C.mT)
        return model.offset + model.scale * mean, model.scale**2 * covariance


def points(*shape):
    return torch.rand(*shape, 2, generator=torch.Generator().manual_seed(9))


@SIZES
@DATA
def test_evidence_is_that_of_the_dense_model(sizes, data):
    model = made(sizes, data)
    dense = Dense(model)
    expected = torch.distributions.MultivariateNormal(torch.zeros(len(dense.y)), dense.A).log_prob(dense.y)
    value = model.evidence()
    assert abs(value.item() / expected.item() - 1) < 1e-9
    parameters = list(model.parameters())
    gradients = [torch.autograd.grad(v, parameters) for v in (value, expected)]
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-7, atol=1e-9)


@SIZES
@DATA
@pytest.mark.parametrize("shape", [(4,), (2, 3, 4)], ids=str)
def test_mean_and_variance_are_those_of_the_dense_model(sizes, data, shape):
    model = made(sizes, data)
    X = points(*shape)
    posterior = model.posterior(X)
    assert posterior.mean.shape == posterior.variance.shape == (*shape, model.num_outputs)
    mean, covariance = Dense(model).posterior(X.reshape(-1, 2))
    assert torch.allclose(posterior.mean.flatten(), mean, rtol=1e-8)
    assert torch.allclose(posterior.variance.flatten(), covariance.diagonal(), rtol=1e-7)


@SIZES
@DATA
def test_samples_have_the_mean_and_the_covariance_of_the_dense_model(sizes, data):
    model = made(sizes, data)
    X = torch.cat([model.axes[0][:1], points(2)])  # also where the grid has a point
    samples = model.posterior(X).rsample(torch.Size([N_PATHS]), generator=torch.Generator().manual_seed(1))
    assert samples.shape == (N_PATHS, 3, model.num_outputs)
    mean, covariance = Dense(model).posterior(X)
    flat = samples.flatten(1)
    variance = covariance.diagonal()
    assert ((flat.mean(0) - mean).abs() < 4 * (variance / N_PATHS).sqrt() + 1e-9).all()
    assert ((model.posterior(X).mean.flatten() - flat.mean(0)).abs() < 4 * (variance / N_PATHS).sqrt() + 1e-9).all()
    centred = flat - mean
    # variance of a sample covariance: (v_i v_j + c_ij²) / S; 5 rather than 4, there are up to 36² entries
    se = ((variance[:, None] * variance + covariance**2) / N_PATHS).sqrt()
    assert ((centred.mT @ centred / N_PATHS - covariance).abs() < 5 * se).all()


@SIZES
@DATA
def test_drawn_paths_have_the_posterior_mean_and_nearly_its_variance(sizes, data):
    model = made(sizes, data)
    X = points(3)
    paths = model.draw_paths(N_PATHS, torch.Generator().manual_seed(2), n_features=512)
    values = paths(X)
    assert values.shape == (N_PATHS, 3, model.num_outputs)
    posterior = model.posterior(X)
    assert ((values.mean(0) - posterior.mean).abs() < 4 * (values.var(0) / N_PATHS).sqrt()).all()
    # sampling: 4 sqrt(2 / 4096) = 9 %; features, of which there are 512: as much again of the prior variance
    allowed = 0.09 * posterior.variance + 0.1 * model.scale**2 * model.kernels[0].outputscale
    assert ((values.var(0) - posterior.variance).abs() < allowed).all()
    assert torch.allclose(paths(X[1:]), values[:, 1:])  # the same functions wherever they are evaluated


def test_paths_can_be_differentiated():
    model = made((6, 4))
    paths = model.draw_paths(2, torch.Generator().manual_seed(0), n_features=16)
    assert torch.autograd.gradcheck(paths, points(2).requires_grad_())


@DATA
def test_the_posterior_can_be_differentiated(data):
    model = made((6, 4), data)

    def moments(X):
        posterior = model.posterior(X)
        normals = torch.linspace(-1, 1, posterior.base_sample_shape[-1])[None]
        samples = posterior.rsample_from_base_samples(torch.Size([1]), normals)
        return posterior.mean, posterior.variance, samples

    assert torch.autograd.gradcheck(moments, points(2).requires_grad_(), atol=1e-5)


@DATA
def test_a_transform_gets_the_joint_gaussian(data):
    model = made((7, 6), data)
    X = points(2, 3)
    weights = torch.linspace(-1, 1, 6)
    posterior = model.posterior(X, posterior_transform=ScalarizedPosteriorTransform(weights))
    assert posterior.mean.shape == (2, 3, 1)
    for batch in range(2):
        mean, covariance = Dense(model).posterior(X[batch])
        map_ = torch.kron(torch.eye(3), weights[None])
        assert torch.allclose(posterior.mean[batch, :, 0], map_ @ mean)
        assert torch.allclose(posterior.distribution.covariance_matrix[batch], map_ @ covariance @ map_.mT, rtol=1e-6)


@pytest.mark.parametrize(
    "transform", [None, ScalarizedPosteriorTransform(torch.ones(2).double())], ids=["paths", "transform"]
)
def test_some_outputs_can_be_asked_for(transform):
    model = made((7, 6))
    X = points(3)
    some = model.posterior(X, output_indices=[4, -1], posterior_transform=transform)
    whole = model.posterior(X)
    if transform is None:
        assert torch.equal(some.mean, whole.mean[:, [4, 5]])
        assert torch.equal(some.variance, whole.variance[:, [4, 5]])
        seed = torch.Generator().manual_seed(0)
        assert some.rsample(torch.Size([2]), generator=seed).shape == (2, 3, 2)
    else:
        assert torch.allclose(some.mean[:, 0], whole.mean[:, [4, 5]].sum(-1))


@pytest.mark.parametrize("data", ["holes", "known noise"])
def test_observation_noise_is_added_to_variance_and_samples(data):
    model = made((7, 6), data)
    X = points(2)
    latent, noisy = model.posterior(X), model.posterior(X, observation_noise=True)
    if data == "holes":
        expected = (model.noise * model.scale**2).expand(6)
    else:  # the mean known noise of the observed cells of each output
        expected = torch.stack([model.Yvar[model.observed[:, t], t].mean() for t in range(6)])
    assert torch.allclose(noisy.variance - latent.variance, expected.expand(2, 6))
    assert torch.equal(noisy.mean, latent.mean)
    samples = noisy.rsample(torch.Size([N_PATHS]), generator=torch.Generator().manual_seed(3))
    assert ((samples.var(0) / noisy.variance - 1).abs() < 5 * math.sqrt(2 / N_PATHS)).all()
    given = model.posterior(X, observation_noise=torch.tensor([[0.5], [0.7]]))
    assert torch.allclose(given.variance - latent.variance, torch.tensor([[0.5], [0.7]]).expand(2, 6))


@pytest.mark.parametrize("data", ["full", "holes", "known noise"])
def test_further_observations_give_the_model_of_all_data(data):
    model = made((7, 6), data)
    X, Y = points(2), 3.0 + torch.randn(2, 6)
    Y[0, 3:] = torch.nan
    noise = torch.full((2, 6), 0.4) if data == "known noise" else None
    after = model.condition_on_observations(X, Y, noise)
    assert after.Y.shape == (9, 6) and model.Y.shape == (7, 6)
    mean, covariance = Dense(after).posterior(points(4))
    posterior = after.posterior(points(4))
    assert torch.allclose(posterior.mean.flatten(), mean)
    assert torch.allclose(posterior.variance.flatten(), covariance.diagonal(), rtol=1e-6)
    assert after.offset == model.offset  # standardised as before
    assert not torch.allclose(posterior.mean, model.posterior(points(4)).mean)


def test_observations_at_a_point_of_the_grid_fill_its_missing_cells():
    model = made((7, 6))
    row = int((~model.observed).any(1).nonzero()[-1])
    values = torch.where(model.observed[row], torch.nan, 5.0)
    after = model.condition_on_observations(model.axes[0][row : row + 1], values[None])
    assert after.Y.shape == model.Y.shape
    assert not after.Y[row].isnan().any()
    again = after.condition_on_observations(model.axes[0][row : row + 1], torch.ones(1, 6))
    assert again.Y.shape == (8, 6)  # every cell is taken: a repetition is a row of its own


@pytest.mark.parametrize("data", ["holes", "known noise"])
def test_where_nothing_can_be_factored_the_iterative_methods_agree(data, monkeypatch):
    exact = made((12, 9), data)
    X = points(2)
    expected = exact.posterior(X)
    monkeypatch.setattr(grid_systems, "FEW_MISSING", 0)
    monkeypatch.setattr(grid_systems, "FEW_OBSERVED", 0)
    model = made((12, 9), data)
    posterior = model.posterior(X)
    # residuals of 1e-9 times a condition number of about 1e3
    assert torch.allclose(posterior.mean, expected.mean, rtol=1e-6)
    assert torch.allclose(posterior.variance, expected.variance, rtol=1e-5)
    with pytest.raises(GPError, match="no exact value is affordable"):
        model.evidence()
    monkeypatch.setattr(grid_solution, "_MOST_EXACT_VARIANCES", 1)
    by_paths = model.posterior(X).variance
    # 256 paths: 9 % is one standard error
    assert ((by_paths / expected.variance - 1).abs() < 0.4).all()


def test_the_fit_by_estimated_gradients_comes_near_the_exact_one(monkeypatch):
    generator = torch.Generator().manual_seed(4)
    x, t = torch.linspace(0, 1, 20)[:, None], torch.linspace(0, 1, 16)[:, None]
    Y = torch.sin(5 * x) * torch.cos(4 * t.mT) + 0.1 * torch.randn(20, 16, generator=generator)
    Y[torch.rand(20, 16, generator=generator) < 0.25] = torch.nan
    exact = KroneckerGP([x, t], Y)
    best = exact.fit().log_posterior
    start = KroneckerGP([x, t], Y).evidence().item()
    monkeypatch.setattr(grid_systems, "FEW_MISSING", 0)
    monkeypatch.setattr(grid_systems, "FEW_OBSERVED", 0)
    model = KroneckerGP([x, t], Y)
    report = model.fit()
    assert math.isnan(report.log_posterior) and report.converged
    monkeypatch.undo()
    reached = model.fit(max_iterations=0).log_posterior
    assert best - reached < 1.0 < best - start  # within one nat of the mode


def test_the_fit_recovers_what_made_the_data():
    generator = torch.Generator().manual_seed(1)
    x = torch.linspace(0, 1, 40)[:, None]
    truth = KroneckerGP([x, x], torch.randn(40, 40, generator=generator))
    truth.kernels[0].base_kernel.lengthscale = 0.3
    truth.kernels[1].lengthscale = 0.6
    with torch.no_grad():
        roots = [torch.linalg.cholesky(K + 1e-9 * torch.eye(40)) for K in truth.covariances()]
        Y = roots[0] @ torch.randn(40, 40, generator=generator) @ roots[1].mT
        Y = 10.0 + 5.0 * (Y + 0.1 * torch.randn(40, 40, generator=generator))
    model = KroneckerGP([x, x], Y)
    report = model.fit()
    assert report.converged and report.jitter == 0.0 and report.cpu_seconds > 0
    sd = (model.noise.sqrt() * model.scale).item()
    assert sd == pytest.approx(0.5, rel=0.05)  # 1600 values tell a standard deviation to 2 %
    assert model.kernels[0].base_kernel.lengthscale.item() == pytest.approx(0.3, rel=0.4)
    assert model.kernels[1].lengthscale.item() == pytest.approx(0.6, rel=0.4)


def test_units_of_inputs_and_outcomes_do_not_matter():
    model, other = made((7, 6)), made((7, 6))
    other = KroneckerGP([50.0 * axis for axis in other.axes], 1e3 * other.Y - 7.0)
    for each in (model, other):
        each.fit()
    X = points(3)
    assert torch.allclose(1e3 * model.posterior(X).mean - 7.0, other.posterior(50.0 * X).mean, rtol=1e-3)


def test_every_monte_carlo_acquisition_function_is_optimised():
    x = torch.linspace(0, 1, 8)
    model = KroneckerGP([x, x[:3]], -((x[:, None] - 0.6) ** 2) - x[:3])
    model.fit()
    last = GenericMCObjective(lambda samples, X: samples[..., -1])
    acquisition = qLogExpectedImprovement(model, best_f=model.Y[:, -1].max(), objective=last)
    bounds = torch.tensor([[0.0], [1.0]])
    best, value = optimize_acqf(acquisition, bounds, q=2, num_restarts=2, raw_samples=16, options={"seed": 0})
    assert torch.isfinite(value)
    assert (best - 0.6).abs().min() < 0.1  # the maximum is at 0.6, between two points of the grid


def test_state_can_be_saved_and_loaded():
    model = made((7, 6))
    model.fit(max_iterations=5)
    other = made((7, 6))
    before = other.posterior(points(2)).mean
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.posterior(points(2)).mean, model.posterior(points(2)).mean)
    assert not torch.equal(other.posterior(points(2)).mean, before)


def test_single_precision_is_warned_of_and_stays_near_double():
    with pytest.warns(UserWarning, match="KroneckerGP: float32"):
        single = made((7, 6), dtype=torch.float32)
    posterior = single.posterior(points(2).float())
    assert posterior.mean.dtype == posterior.variance.dtype == torch.float32
    assert posterior.rsample(torch.Size([2])).dtype == torch.float32
    double = made((7, 6)).posterior(points(2))
    # covariances rounded to 6e-8, noise 0.02: three digits and more
    assert torch.allclose(posterior.mean.double(), double.mean, rtol=1e-3)
    assert torch.allclose(posterior.variance.double(), double.variance, rtol=1e-2)


@pytest.mark.parametrize("sizes", [(1, 1), (1, 5), (5, 1)], ids=str)
def test_equal_values_and_axes_of_one_point_are_no_trouble(sizes):
    axes = [torch.rand(n, 1) for n in sizes]
    model = KroneckerGP(axes, torch.full(sizes, 2.0))
    model.fit(max_iterations=10)
    posterior = model.posterior(torch.rand(3, 1))
    assert torch.allclose(posterior.mean, torch.tensor(2.0))
    assert (posterior.variance > 0).all()


def test_a_single_observation_is_enough():
    Y = torch.full((3, 2), torch.nan)
    Y[1, 1] = 4.0
    model = KroneckerGP([torch.rand(3, 1), torch.rand(2, 1)], Y)
    assert model.posterior(model.axes[0]).mean[1, 1].item() == pytest.approx(4.0)


def test_a_kernel_of_ones_own_is_used_and_its_paths_are_refused_with_a_remedy():
    x = torch.rand(6, 1)
    kernels = [PeriodicKernel(), PeriodicKernel()]
    model = KroneckerGP([x, x], torch.rand(6, 6), kernels=kernels)
    assert torch.equal(model.covariances()[0], kernels[0](x).to_dense())
    with pytest.raises(InvalidDataError, match="no random features are known for PeriodicKernel"):
        model.draw_paths(2, torch.Generator().manual_seed(0))


X5, Y5 = torch.rand(5, 1, dtype=torch.float64), torch.rand(5, dtype=torch.float64)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KroneckerGP([], torch.rand(5)), "axes: expected at least one axis"),
        (
            lambda: KroneckerGP([X5, X5], torch.rand(5, 4, dtype=torch.float64)),
            r"Y: expected a value a cell, of shape \(5, 5\)",
        ),
        (lambda: KroneckerGP([X5], Y5 * torch.nan), "at least one value"),
        (lambda: KroneckerGP([X5], Y5, torch.rand(4)), r"Yvar: expected a shape that broadcasts to \(5,\)"),
        (lambda: KroneckerGP([X5], Y5, torch.tensor(-1.0)), "Yvar: expected a finite variance >= 0"),
        (lambda: KroneckerGP([X5], Y5, kernels=[]), "kernels: expected one an axis, 1, got 0"),
        (lambda: made((5, 4)).posterior(torch.rand(3, 5)), r"X: expected `... x q x d` with d=2"),
        (lambda: made((5, 4)).posterior(points(3), output_indices=[4]), r"there are 4 outputs, got \[4\]"),
        (lambda: made((5, 4)).condition_on_observations(points(2), torch.rand(2, 3)), r"`k x t` with k=2, t=4"),
        (lambda: made((5, 4)).condition_on_observations(points(1), torch.rand(1, 4), torch.ones(1, 4)), "leave it out"),
        (lambda: made((5, 4), "known noise").condition_on_observations(points(1), torch.rand(1, 4)), "give it"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_remedy(make, message):
    with pytest.raises(InvalidDataError, match=message):
        make()


def test_a_joint_covariance_that_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr(grid_solution, "_MOST_JOINT", 10)
    with pytest.raises(InvalidDataError, match="does not fit in memory"):
        made((5, 4)).posterior(points(2), posterior_transform=ScalarizedPosteriorTransform(torch.ones(4)))


@pytest.mark.gpu
@DATA
def test_a_gpu_predicts_what_the_cpu_does(data):
    model = made((7, 6), data)
    expected = model.posterior(points(3))
    on = model.to("cuda")
    posterior = on.posterior(points(3).cuda())
    assert posterior.mean.is_cuda and posterior.rsample().is_cuda
    assert torch.allclose(posterior.mean.cpu(), expected.mean)
    assert torch.allclose(posterior.variance.cpu(), expected.variance, rtol=1e-6)


def test_a_model_can_be_printed():
    model = KroneckerGP([torch.rand(4, 2).double(), torch.rand(3).double()], torch.rand(4, 3).double())
    assert "MaternKernel" in repr(model)


def test_a_hyperparameter_that_is_set_moves_what_was_solved_before():
    X, z, Y = torch.rand(6, 2).double(), torch.linspace(0, 1, 4).double(), torch.rand(6, 4).double()
    model = KroneckerGP([X, z], Y)
    model.posterior(X).mean  # noqa: B018  # solves
    model.kernels[0].outputscale = 9.0
    model.likelihood.noise = torch.tensor(0.5).double()
    fresh = KroneckerGP([X, z], Y)
    fresh.load_state_dict(model.state_dict())
    torch.testing.assert_close(model.posterior(X).mean, fresh.posterior(X).mean, rtol=0.0, atol=0.0)
