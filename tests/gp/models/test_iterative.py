"""The iterative Gaussian process against a dense one."""

import math
import warnings

import pytest
import torch
from botorch.acquisition.logei import qLogExpectedImprovement
from botorch.optim.optimize import optimize_acqf
from gpytorch.kernels import MaternKernel, PeriodicKernel, RBFKernel, ScaleKernel

from gp import IterativeGP
from gp.errors import InvalidDataError
from gp.models import iterative as module
from gp.random_functions import SHARED_BY

pytestmark = pytest.mark.usefixtures("one_thread")

SOLVERS = ("ap", "sdd", "cg")


def data(n=120):
    X = torch.rand(n, 2)
    return X, 3.0 * torch.sin(5 * X).sum(1, keepdim=True) + 10.0 + 0.3 * torch.randn(n, 1)


def model_of(n=120, **options):
    model = IterativeGP(*data(n), **{"noise": 1.0, "passes": 3000, "tolerance": 1e-6, **options})
    if isinstance(model.kernel, ScaleKernel):
        model.kernel.outputscale, model.kernel.base_kernel.lengthscale = 1.5, torch.tensor([0.5, 0.8])
    return model


def dense(model, X):
    """Mean and covariance at `q x d` points by a dense factorisation, in units of Y."""
    y = (model.train_Y - model.train_Y.mean()) / model.train_Y.std(correction=0)
    unit = model.train_Y.std(correction=0)
    A = model.kernel(model.train_X).to_dense() + torch.diag(model.noise_variances[:, 0] / unit**2)
    cross, K = model.kernel(X, model.train_X).to_dense(), model.kernel(X).to_dense()
    solved = torch.linalg.solve(A, torch.cat([y, cross.mT], 1))
    return model.train_Y.mean() + unit * (cross @ solved[:, :1]), unit**2 * (K - cross @ solved[:, 1:])


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kernel", [None, RBFKernel().double()], ids=["default", "given"])
def test_a_few_points_have_their_exact_posterior(solver, kernel):
    model = model_of(solver=solver, kernel=kernel)
    X = torch.cat([torch.rand(4, 2), model.train_X[:2]])
    posterior = model.posterior(X)
    mean, covariance = dense(model, X)
    # a relative residual of 1e-6 over a noise of about 0.1 of the variance of Y
    torch.testing.assert_close(posterior.mean, mean, rtol=0.0, atol=1e-3)
    torch.testing.assert_close(posterior.distribution.covariance_matrix, covariance, rtol=0.0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("observation_noise", [False, True, "given"])
def test_many_points_agree_with_the_exact_posterior_within_four_standard_errors(observation_noise):
    n_seeds = 30
    X, Y = data()
    models = [IterativeGP(X, Y, noise=1.0, passes=3000, tolerance=1e-6, seed=seed) for seed in range(n_seeds)]
    T = torch.rand(module._EXACT_POINTS + 1, 2)
    mean, covariance = dense(models[0], T)
    noise, further = observation_noise, torch.zeros(())
    if observation_noise == "given":
        noise = further = torch.linspace(0.1, 1.0, len(T))[:, None]
    elif observation_noise:
        further = models[0].noise_variances[:1]
    posteriors = [model.posterior(T, observation_noise=noise) for model in models]
    torch.testing.assert_close(posteriors[0].mean, mean, rtol=0.0, atol=1e-3)
    variances = torch.stack([posterior.variance.detach() for posterior in posteriors])
    error = variances.std(0) / math.sqrt(n_seeds)
    assert ((variances.mean(0) - covariance.diagonal()[:, None] - further).abs() < 4 * error).all()
    posterior = posteriors[0]
    samples = posterior.rsample(torch.Size([4096]), torch.Generator().manual_seed(5))
    assert samples.shape == (4096, len(T), 1)
    error = posterior.variance.sqrt() / math.sqrt(4096)
    assert ((samples.mean(0) - posterior.mean).abs() < 4 * error).all()
    # the scatter of a sample variance of 4096
    torch.testing.assert_close(samples.var(0), posterior.variance, rtol=5 * math.sqrt(2 / 4096), atol=0.0)


def test_batches_are_what_their_members_are():
    model = model_of()
    for shape in ((2, 3, 4), (2, 3, 20)):  # exact, and by functions
        X = torch.rand(*shape, 2)
        whole = model.posterior(X)
        assert whole.mean.shape == whole.variance.shape == (*shape, 1)
        assert whole.rsample(torch.Size([5])).shape == (5, *shape, 1)
        torch.testing.assert_close(whole.mean[1, 2], model.posterior(X[1, 2]).mean)
    few = torch.rand(2, 3, 4, 2)
    torch.testing.assert_close(
        model.posterior(few).variance[1, 2], model.posterior(few[1, 2]).variance, rtol=0.0, atol=1e-6
    )


@pytest.mark.parametrize("q", [2, 70], ids=["exact", "by functions"])
def test_the_posterior_is_differentiable_in_the_points(q):
    model = model_of(tolerance=1e-9)
    X = torch.rand(q, 2).requires_grad_()

    def value(X):
        posterior = model.posterior(X)
        return posterior.mean.sum() + posterior.variance.sum()

    (gradient,) = torch.autograd.grad(value(X), X)
    step = 1e-5 * torch.randn(q, 2)
    with torch.no_grad():
        slope = (value(X + step) - value(X - step)) / 2
    # central differences of a function of size 1e3 in steps of 1e-5
    torch.testing.assert_close((gradient * step).sum(), slope, rtol=1e-3, atol=1e-9)


@pytest.mark.slow
def test_paths_have_the_exact_mean_and_variance_within_four_standard_errors():
    model = model_of()
    paths = model.draw_paths(4096, torch.Generator().manual_seed(1))
    X = torch.rand(3, 5, 2)
    values = paths(X)
    assert values.shape == (4096, 3, 5)
    mean, covariance = dense(model, X.reshape(-1, 2))
    variance = covariance.diagonal()
    values = values.detach().reshape(4096, -1)
    assert ((values.mean(0) - mean[:, 0]).abs() < 4 * (variance / 4096).sqrt()).all()
    # functions that share their features are one draw of the variance
    draws = (values - mean[:, 0]).square().reshape(-1, SHARED_BY, len(mean)).mean(1)
    assert ((draws.mean(0) - variance).abs() < 4 * draws.std(0) / math.sqrt(len(draws))).all()
    own = torch.rand(4096, 2, 2)
    some = [0, 17, 4095]
    torch.testing.assert_close(paths.each(own)[some], torch.stack([paths(own[s])[s] for s in some]))


def test_paths_depend_on_their_generator_alone():
    model, X = model_of(), torch.rand(3, 2)
    before = torch.get_rng_state()
    a, b, c = (model.draw_paths(2, torch.Generator().manual_seed(seed))(X) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(a, b) and not torch.equal(a, c)


@pytest.mark.parametrize("solver", SOLVERS)
def test_further_observations_give_the_model_that_had_them_from_the_start(solver):
    model = model_of(solver=solver)
    X, Y = data(20)
    after = model.condition_on_observations(X, Y)
    T = torch.rand(5, 2)
    mean, _ = dense(model, T)
    whole = IterativeGP(torch.cat([model.train_X, X]), torch.cat([model.train_Y, Y]), noise=1.0)
    whole.kernel = model.kernel
    whole.offset, whole.scale, whole.likelihood = model.offset, model.scale, model.likelihood
    whole.passes, whole.tolerance = 3000, 1e-6
    torch.testing.assert_close(after.posterior(T).mean, whole.posterior(T).mean, rtol=0.0, atol=1e-3)
    torch.testing.assert_close(after.posterior(T).variance, whole.posterior(T).variance, rtol=0.0, atol=1e-5)
    torch.testing.assert_close(model.posterior(T).mean, mean, rtol=0.0, atol=1e-3)  # left alone
    assert len(after.train_X) == 140 and len(model.train_X) == 120


def test_further_observations_have_the_noise_that_is_said():
    model = model_of()
    X, Y = data(10)
    after = model.condition_on_observations(X, Y, torch.full_like(Y, 4.0))
    floor = module.NOISE_FLOOR * model.scale**2
    torch.testing.assert_close(after.noise_variances[-10:], torch.full_like(Y, 4.0) + floor)
    torch.testing.assert_close(after.noise_variances[:-10], model.noise_variances)


@pytest.mark.slow
def test_a_hundred_further_rows_take_less_than_a_third_of_the_passes_of_a_cold_start():
    X = torch.rand(2100, 8)
    Y = 3.0 * torch.sin(5 * X).sum(1, keepdim=True) + torch.randn(2100, 1)
    kernel = MaternKernel(nu=1.5)
    kernel.lengthscale = 0.5
    options = {"kernel": kernel, "noise": 1.0, "passes": 1000, "n_paths": 1}
    after = IterativeGP(X[:2000], Y[:2000], **options).condition_on_observations(X[2000:], Y[2000:])
    cold = IterativeGP(X, Y, **options)
    assert after.solution.converged and cold.solution.converged
    assert after.solution.passes < cold.solution.passes / 3


@pytest.mark.slow
@pytest.mark.parametrize("solver", SOLVERS)
def test_fit_finds_the_hyperparameters_of_greatest_evidence(solver):
    X, Y = data(200)
    model = IterativeGP(X, Y, solver=solver, seed=3)

    y = ((Y - Y.mean()) / Y.std(correction=0))[:, 0]

    def evidence():
        A = model.kernel(X).to_dense() + model.likelihood.noise * torch.eye(200)
        return torch.distributions.MultivariateNormal(torch.zeros(200), A).log_prob(y)

    before = float(evidence().detach())
    # of so few points the descent's step alone takes 15 passes
    report = model.fit(n_steps=60, passes=400.0 if solver == "sdd" else 40.0)
    assert report.iterations == 60 and report.converged
    reached = float(evidence().detach())
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = -evidence()
        value.backward()
        return value

    optimizer.step(loss)
    best = float(evidence().detach())
    assert best - before > 100.0
    assert reached > best - 0.1 * (best - before)  # sixty steps of a gradient by 16 functions leave a tenth, at most


def test_a_known_noise_is_not_learned():
    model = model_of()
    noise = model.noise_variances.clone()
    model.fit(n_steps=2)
    assert torch.equal(model.noise_variances, noise)
    torch.testing.assert_close(noise, torch.full_like(noise, 1.0) + 1.01e-5 * model.scale**2)


def test_noise_is_known_of_some_rows_and_learned_of_others():
    X, Y = data(50)
    Yvar = torch.where(torch.arange(50)[:, None] < 25, 0.5, math.nan)
    model = IterativeGP(X, Y, Yvar)
    model.likelihood.noise = 0.2
    floor = module.NOISE_FLOOR * model.scale**2
    torch.testing.assert_close(model.noise_variances[:25], torch.full((25, 1), 0.5) + floor)
    torch.testing.assert_close(model.noise_variances[25:], (0.2 * model.scale**2).expand(25, 1))
    model.fit(n_steps=2)
    assert model.likelihood.noise.item() != pytest.approx(0.2)


def test_a_reloaded_model_predicts_the_same():
    model = model_of(noise=None)
    model.fit(n_steps=3)
    again = IterativeGP(model.train_X, model.train_Y, passes=3000, tolerance=1e-6)
    again.load_state_dict(model.state_dict())
    X = torch.rand(80, 2)
    torch.testing.assert_close(again.posterior(X).mean, model.posterior(X).mean, rtol=0.0, atol=1e-3)
    torch.testing.assert_close(again.posterior(X).variance, model.posterior(X).variance, rtol=1e-3, atol=1e-6)


def test_new_hyperparameters_are_noticed():
    model, X = model_of(), torch.rand(3, 2)
    model.posterior(X)
    model.kernel.outputscale = 0.1
    torch.testing.assert_close(model.posterior(X).mean, dense(model, X)[0], rtol=0.0, atol=1e-3)


def test_a_budget_that_is_too_small_is_warned_of():
    model = IterativeGP(*data(1100), noise=0.0, passes=2.0)
    with pytest.warns(UserWarning, match=r"passes of 'ap' left a relative residual of .*Raise `passes`"):
        model.posterior(torch.rand(65, 2))


@pytest.mark.parametrize("solver", SOLVERS)
def test_one_observation_a_constant_and_duplicates_are_data(solver):
    one = IterativeGP(torch.rand(1, 2), torch.tensor([[5.0]]), solver=solver, noise=0.1)
    torch.testing.assert_close(one.posterior(torch.rand(3, 2)).mean, torch.full((3, 1), 5.0))
    constant = IterativeGP(torch.rand(20, 2), torch.full((20, 1), 7.0), solver=solver, noise=1.0)
    torch.testing.assert_close(constant.posterior(torch.rand(70, 2)).mean, torch.full((70, 1), 7.0))
    X, Y = data(30)
    twice = IterativeGP(X.repeat(2, 1), Y.repeat(2, 1), solver=solver, noise=1.0, passes=3000, tolerance=1e-6)
    once = IterativeGP(X, Y, noise=1.0 / math.sqrt(2), passes=3000, tolerance=1e-6)
    # the floor that comes on top of a known noise is not halved by a second observation
    torch.testing.assert_close(twice.posterior(X).mean, once.posterior(X).mean, rtol=0.0, atol=1e-2)


def test_single_precision_is_warned_of_and_stays():
    X, Y = data(100)
    with pytest.warns(UserWarning, match="IterativeGP: float32"):
        model = IterativeGP(X.float(), Y.float(), noise=0.3)
    exact = IterativeGP(X, Y, noise=0.3, passes=3000, tolerance=1e-6)
    T = torch.rand(5, 2)
    found = model.posterior(T.float())
    assert found.mean.dtype == torch.float32
    # tolerance 1e-2 of the residual, which the noise of 0.3 divides and the scale of 2 multiplies
    torch.testing.assert_close(found.mean.double(), exact.posterior(T).mean, rtol=0.0, atol=0.1)


def test_monte_carlo_acquisition_functions_run_unchanged():
    model = model_of(n_paths=16)
    acquisition = qLogExpectedImprovement(model, best_f=float(model.train_Y.max()))
    bounds = torch.stack([torch.zeros(2), torch.ones(2)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # BoTorch's own about a line search
        candidate, value = optimize_acqf(acquisition, bounds, q=2, num_restarts=2, raw_samples=8)
    assert candidate.shape == (2, 2) and torch.isfinite(value)
    assert torch.isfinite(acquisition(torch.rand(70, 1, 2))).all()  # by functions


X1, Y1 = torch.zeros(3, 2, dtype=torch.float64), torch.arange(3.0, dtype=torch.float64)[:, None]
BAD = {
    "one-dimensional Y": ({"train_Y": Y1[:, 0]}, r"Y: expected `n x 1` with n=3.*got \(3,\)"),
    "nan in Y": ({"train_Y": Y1 * torch.nan}, "Y: expected finite values"),
    "infinite X": ({"train_X": X1 / 0.0}, "X: expected finite values"),
    "integers": ({"train_X": X1.long()}, "X: expected float64 or float32"),
    "no rows": ({"train_X": X1[:0], "train_Y": Y1[:0]}, r"X: expected `n x d` with n, d >= 1, got \(0, 2\)"),
    "negative variance": ({"train_Yvar": -Y1}, "Yvar: expected variances >= 0"),
    "unknown solver": ({"solver": "lu"}, "solver: expected one of 'ap', 'sdd', 'cg', got 'lu'"),
    "negative noise": ({"noise": -1.0}, "noise: expected a finite standard deviation >= 0, or None, got -1.0"),
    "no paths": ({"n_paths": 0}, "n_paths, passes, tolerance: expected at least 1"),
    "no tolerance": ({"tolerance": 0.0}, "n_paths, passes, tolerance: .* got 64, 100.0 and 0.0"),
}


@pytest.mark.parametrize(("options", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused(options, message):
    with pytest.raises(InvalidDataError, match=message):
        IterativeGP(**{"train_X": X1, "train_Y": Y1, **options})


def test_impossible_questions_are_refused():
    model = model_of(20)
    with pytest.raises(InvalidDataError, match=r"X: expected `... x q x d` with d=2, got \(3, 1\)"):
        model.posterior(torch.rand(3, 1))
    with pytest.raises(InvalidDataError, match=r"output_indices: there is one output.*got \[1\]"):
        model.posterior(torch.rand(3, 2), output_indices=[1])
    with pytest.raises(InvalidDataError, match=r"idcs: there is one output"):
        model.subset_output([1])
    with pytest.raises(InvalidDataError, match="n_paths: expected at least 1, got 0"):
        model.draw_paths(0)
    with pytest.raises(InvalidDataError, match=r"n_probes: expected 1 .. n_paths = 64, got 65"):
        model.fit(n_probes=65)
    with pytest.raises(InvalidDataError, match=r"X: expected `S x q x d` with S=2, d=2, got \(3, 1, 2\)"):
        model.draw_paths(2).each(torch.rand(3, 1, 2))
    with pytest.raises(InvalidDataError, match="no random features are known of PeriodicKernel"):
        model_of(20, kernel=PeriodicKernel()).posterior(torch.rand(1, 2))
    assert model.subset_output([0]) is model


@pytest.mark.gpu
@pytest.mark.parametrize("solver", SOLVERS)
def test_runs_where_its_data_are(solver):
    X, Y = data(150)
    kernel = ScaleKernel(MaternKernel(nu=1.5)).cuda()
    model = IterativeGP(X.cuda(), Y.cuda(), solver=solver, kernel=kernel, noise=0.3, passes=3000, tolerance=1e-6)
    model.fit(n_steps=2)
    after = model.condition_on_observations(X[:3].cuda(), Y[:3].cuda())
    for q in (3, 70):
        posterior = after.posterior(torch.rand(q, 2, device="cuda"))
        assert posterior.mean.is_cuda and torch.isfinite(posterior.variance).all()
    assert after.draw_paths(2)(X.cuda()).is_cuda
