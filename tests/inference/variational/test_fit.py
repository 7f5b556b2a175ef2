"""Fits reach what can be computed otherwise, and leave nothing behind."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoDiagonalNormal, AutoMultivariateNormal, AutoNormal
from pyro.nn import PyroModule, PyroParam

import inference
from inference.errors import InferenceError, InvalidInputError
from inference.variational import ELBO, IWELBO, STL, DReG, Objective, marginal

pytestmark = pytest.mark.usefixtures("one_thread")

positive = dist.constraints.positive


def regression(X, y, noise=0.5):
    w = pyro.sample("w", dist.Normal(torch.zeros(X.shape[1], dtype=X.dtype, device=X.device), 1.0).to_event(1))
    with pyro.plate("data", len(y)):
        pyro.sample("y", dist.Normal((X * w).sum(-1), noise), obs=y)


@pytest.fixture
def data():
    X = torch.randn(30, 3) @ torch.tensor([[1.0, 0.9, 0.0], [0.0, 0.5, 0.4], [0.0, 0.0, 1.0]])
    return X, X @ torch.tensor([0.5, -1.0, 0.3]) + 0.5 * torch.randn(30)


def exact(X, y, noise=0.5):
    """Mean and covariance of the weights, log evidence."""
    covariance = torch.linalg.inv(X.T @ X / noise**2 + torch.eye(3))
    evidence = torch.distributions.MultivariateNormal(torch.zeros(len(y)), X @ X.T + noise**2 * torch.eye(len(y)))
    return covariance @ X.T @ y / noise**2, covariance, float(evidence.log_prob(y))


@pytest.mark.parametrize("method", ["adam", "lbfgs"])
def test_a_conjugate_model_gets_its_posterior_and_its_evidence(data, method):
    guide = AutoMultivariateNormal(regression, init_scale=0.1)
    # the optimum of a fixed set of draws misses the evidence by about a parameter over twice their number each
    how = {"objective": STL, "rate": 0.05} if method == "adam" else {"n_particles": 2000}
    posterior = inference.fit(regression, guide, args=data, method=method, **how)
    mean, covariance, evidence = exact(*data)
    assert posterior.diagnostics["bound"] == pytest.approx(evidence, abs=1e-2)
    assert posterior.diagnostics["converged"]
    draws = posterior.sample(4000, torch.Generator().manual_seed(1))
    # 4 standard errors of the 4,000 draws, and as much again of the 2,000 fixed ones
    assert ((draws.mean(0) - mean).abs() < 0.15 * covariance.diagonal().sqrt()).all()
    z = draws[:50]
    wanted = torch.distributions.MultivariateNormal(mean, covariance).log_prob(z)
    # 4 standard errors of a variance from 2,000 draws, sqrt(2 / 2000) of it, along each of 3 directions
    distance2 = ((z - mean) @ torch.linalg.inv(covariance) * (z - mean)).sum(1)
    assert ((posterior.log_prob(z) - wanted).abs() < 0.5 * 4 * (2 / 2000) ** 0.5 * (3 + distance2)).all()


def test_khat_tells_a_guide_that_cannot_be_right(data):
    X = data[0][:, :1] + 0.05 * torch.randn(30, 3)  # the weights are nearly exchangeable
    narrow, wide = (
        inference.fit(regression, make(regression, init_scale=0.1), args=(X, data[1]), method="lbfgs", n_particles=200)
        for make in (AutoDiagonalNormal, AutoMultivariateNormal)
    )
    assert narrow.diagnostics["khat"] > 0.7 > wide.diagnostics["khat"]


def test_nothing_is_left_behind_and_the_seed_decides_all(data):
    def guide(X, y):
        pyro.sample("w", dist.Normal(pyro.param("m", torch.zeros(3)), 0.1).to_event(1))

    pyro.clear_param_store()
    pyro.param("m", torch.full((3,), 7.0))
    state = torch.random.get_rng_state()
    first, second, third = (inference.fit(regression, guide, args=data, n_steps=150, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(pyro.get_param_store()["m"], torch.full((3,), 7.0))
    assert list(pyro.get_param_store().keys()) == ["m"]
    pyro.clear_param_store()
    assert torch.equal(first.trace, second.trace)
    assert torch.equal(first.parameters["m"], second.parameters["m"])
    assert not torch.equal(first.trace, third.trace)
    generator = torch.Generator().manual_seed(1)
    assert not torch.equal(first.sample(2, generator), first.sample(2, generator))


def positives():
    rate = pyro.sample("rate", dist.Gamma(torch.tensor(3.0), 2.0))
    share = pyro.sample("share", dist.Uniform(torch.zeros(()), 2.0))
    with pyro.plate("two", 2):
        pyro.sample("x", dist.Normal(rate + share, 1.0), obs=torch.tensor([2.0, 3.0]))


def by_hand():
    logit = dist.Normal(pyro.param("m", torch.tensor(0.0)), 1.5)
    squeeze = [dist.transforms.SigmoidTransform(), dist.transforms.AffineTransform(0.0, 2.0)]
    pyro.sample("share", dist.TransformedDistribution(logit, squeeze))
    pyro.sample("rate", dist.LogNormal(pyro.param("l", torch.tensor(0.5)), 0.5))


@pytest.mark.parametrize("automatic", [AutoNormal, AutoMultivariateNormal, AutoDiagonalNormal, None])
def test_log_densities_are_those_of_the_draws_in_unconstrained_coordinates(automatic):
    """Importance sampling with them finds the evidence, whatever the guide: checked by a grid."""
    guide = by_hand if automatic is None else automatic(positives, init_scale=0.5)
    posterior = inference.fit(positives, guide, method="lbfgs", n_steps=20)
    target = inference.from_pyro(positives)
    z = posterior.sample(20_000, torch.Generator().manual_seed(2))
    ratio = (target.log_prob(z) - posterior.log_prob(z)).exp()
    rate = torch.linspace(1e-3, 9.0, 1501)[:, None]
    share = 2.0 * (torch.arange(400) + 0.5) / 400
    density = (
        torch.distributions.Gamma(3.0, 2.0).log_prob(rate)
        + sum(torch.distributions.Normal(rate + share, 1.0).log_prob(torch.tensor(x)) for x in (2.0, 3.0))
    ).exp()
    grid = density.mean(1).sum() * (rate[1] - rate[0])
    assert ratio.mean() == pytest.approx(float(grid), abs=4 * float(ratio.std()) / 20_000**0.5)
    named = posterior.draw(7, torch.Generator().manual_seed(2))
    assert named["rate"].shape == (7,)
    assert ((named["share"] > 0) & (named["share"] < 2)).all()


def test_the_density_of_a_marginal_guide_is_estimated():
    def model():
        pyro.sample("x", dist.Normal(torch.tensor(0.0), 3.0))

    def guide():
        u = pyro.sample("u", dist.Bernoulli(torch.tensor(0.3)))
        pyro.sample("x", dist.Normal(pyro.param("m", torch.tensor(0.0)) + 2.0 * u, 1.0))

    posterior = inference.fit(model, marginal(guide, ["x"], n=2), n_steps=1)
    z = torch.linspace(-2, 4, 9)[:, None]
    m = posterior.parameters["m"]
    parts = [math.log(p) + dist.Normal(m + 2.0 * u, 1.0).log_prob(z[:, 0]) for p, u in ((0.7, 0), (0.3, 1))]
    # of 256 coins; the two densities differ by a factor of up to e^4
    assert torch.allclose(posterior.log_prob(z), torch.logaddexp(*parts), atol=0.4)


class Encoder(PyroModule):
    def __init__(self):
        super().__init__()
        self.slope = PyroParam(torch.tensor(0.3))
        self.scale = PyroParam(torch.tensor(0.9), constraint=positive)

    def forward(self, y):
        with pyro.plate("data", len(y)):
            pyro.sample("z", dist.Normal(self.slope * y, self.scale))


def latent(y):
    shift = pyro.param("shift", torch.tensor(0.0))
    with pyro.plate("data", len(y)):
        z = pyro.sample("z", dist.Normal(shift, 1.0))
        pyro.sample("y", dist.Normal(z, 1.0), obs=y)


@pytest.mark.parametrize("objective", [ELBO, STL, IWELBO(4), DReG(4)], ids=lambda o: o.name)
def test_a_model_learns_beside_its_amortised_guide(objective):
    y = 1.5 + math.sqrt(2) * torch.randn(60)
    guide = Encoder()
    posterior = inference.fit(
        latent, guide, objective, args=(y,), n_particles=4, independent="data", n_steps=500, rate=0.05
    )
    # y ~ N(shift, 2), z | y ~ N(y / 2 + shift / 2, 1 / 2): a guide without an intercept can only come near
    if objective.group > 1:  # the tighter bound is nearer to the evidence, whose maximum is the mean of y
        assert posterior.parameters["shift"] == pytest.approx(float(y.mean()), abs=0.5)
    assert 0.5 < guide.slope < 1.0
    assert posterior.parameters["slope"] == guide.slope
    evidence = float(torch.distributions.Normal(y.mean(), math.sqrt(2)).log_prob(y).sum())
    assert posterior.diagnostics["bound"] < evidence + 4 * posterior.diagnostics["bound_se"]


def test_members_of_an_independent_plate_are_bounded_one_by_one():
    """One bound of all data together would hardly be tighter than the plain one."""
    y = torch.linspace(-1, 3, 40)

    def model(y):
        with pyro.plate("data", len(y)):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    def guide(y):
        with pyro.plate("data", len(y)):
            pyro.sample("z", dist.Normal(pyro.param("m", torch.zeros(())), 1.0))

    bounds = [
        inference.fit(
            model, guide, IWELBO(500), args=(y,), independent=independent, n_steps=1, rate=1e-9, n_check=20_000
        ).diagnostics["bound"]
        for independent in (None, "data")
    ]
    evidence = float(torch.distributions.Normal(0.0, math.sqrt(2)).log_prob(y).sum())
    assert bounds[1] == pytest.approx(evidence, abs=1.0)
    assert bounds[0] < evidence - 5.0


def test_subsampled_plates_are_scaled_up_and_share_their_members():
    y = torch.linspace(-1, 3, 40)

    def model(y):
        with pyro.plate("data", len(y), subsample_size=10) as rows:
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            pyro.sample("y", dist.Normal(z, 1.0), obs=y[rows])

    def guide(y):
        with pyro.plate("data", len(y), subsample_size=10) as rows:
            scale = pyro.param("s", torch.tensor(math.sqrt(0.5)))
            pyro.sample("z", dist.Normal(y[rows] / 2, scale))

    evidence = float(torch.distributions.Normal(0.0, math.sqrt(2)).log_prob(y).sum())
    for independent in (None, "data"):
        posterior = inference.fit(
            model, guide, args=(y,), n_particles=100, independent=independent, n_steps=1, rate=1e-9, n_check=20_000
        )
        assert posterior.diagnostics["bound"] == pytest.approx(evidence, abs=4 * posterior.diagnostics["bound_se"])


def test_a_written_objective_is_an_objective(data):
    def tempered(weights):
        return (0.25 * weights.log_p - weights.log_q).mean(0)

    guides = [AutoMultivariateNormal(regression, init_scale=0.1) for _ in range(2)]
    plain, own = (
        inference.fit(regression, guide, objective, args=data, method="lbfgs", n_particles=500)
        for guide, objective in zip(guides, (ELBO, tempered), strict=True)
    )
    spreads = [p.sample(4000, torch.Generator().manual_seed(0)).std(0) for p in (plain, own)]
    assert torch.allclose(spreads[1], 2 * spreads[0], rtol=0.1)  # a quarter of the precision


def test_discrete_sites_have_draws_but_no_coordinates():
    def model():
        b = pyro.sample("b", dist.Bernoulli(torch.tensor(0.5)))
        pyro.sample("y", dist.Normal(2.0 * b, 1.0), obs=torch.tensor(1.5))

    def guide():
        pyro.sample("b", dist.Bernoulli(pyro.param("p", torch.tensor(0.5), constraint=dist.constraints.unit_interval)))

    posterior = inference.fit(model, guide, rate=0.1)  # summed over by default
    wanted = 1 / (1 + math.exp((0.5**2 - 1.5**2) / 2))
    assert posterior.parameters["p"] == pytest.approx(wanted, abs=1e-3)
    b = posterior.draw(20_000, torch.Generator().manual_seed(0))["b"]
    assert b.mean() == pytest.approx(wanted, abs=4 * 0.5 / 20_000**0.5)
    for call in (lambda: posterior.sample(2, torch.Generator()), lambda: posterior.log_prob(torch.zeros(1, 1))):
        with pytest.raises(InvalidInputError, match=r"'b' is discrete.*draw"):
            call()


def test_a_search_can_end_as_soon_as_the_guide_covers_the_posterior(data):
    guide = AutoMultivariateNormal(regression, init_scale=0.1)
    posterior = inference.fit(regression, guide, STL, args=data, target_khat=0.5)
    assert posterior.diagnostics["stopped"] == "khat"
    assert posterior.diagnostics["khat"] < 0.7


def test_another_place_has_the_same_density(data):
    def guide(X, y):
        pyro.sample("w", dist.Normal(pyro.param("m", torch.zeros(3)), 0.1).to_event(1))

    posterior = inference.fit(regression, guide, args=data, n_steps=10)
    there = posterior.to("cpu")
    z = torch.randn(3, 3)
    assert torch.equal(there.log_prob(z), posterior.log_prob(z))
    auto = inference.fit(regression, AutoDiagonalNormal(regression), args=data, n_steps=1)
    with pytest.raises(InvalidInputError, match="belongs to a module"):
        auto.to("cpu")


def test_hopeless_searches_end_with_a_reason():
    def model():
        x = pyro.sample("x", dist.Normal(torch.tensor(0.0), 1.0))
        pyro.factor("f", x.log())

    def guide():
        pyro.sample("x", dist.Normal(pyro.param("m", torch.tensor(-9.0)), 0.1))

    for method, message in (("adam", "21 steps in a row"), ("lbfgs", "where the parameters start")):
        with pyro.validation_enabled(False), pytest.raises(InferenceError, match=message):
            inference.fit(model, guide, method=method)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "sgd"}, "'adam' or 'lbfgs', got 'sgd'"),
        ({"n_steps": 0}, "n_steps"),
        ({"rate": 0.0}, "rate"),
        ({"n_check": 1}, "n_check"),
        ({"independent": "data"}, "is not in the plate 'data'"),
        ({"objective": IWELBO(5), "n_particles": 7}, "multiple of 5"),
    ],
    ids=str,
)
def test_options_that_cannot_be_used_are_refused(data, options, message):
    with pytest.raises(InvalidInputError, match=message):
        inference.fit(regression, AutoDiagonalNormal(regression), args=data, **options)


def test_programs_that_do_not_let_particles_be_are_refused_by_the_name_of_the_site(data):
    def model(X, y):
        w = pyro.sample("w", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        with pyro.plate("data", len(y)):
            pyro.sample("y", dist.Normal((X @ w[..., None]).squeeze(-1), 1.0), obs=y)

    with pytest.raises(InvalidInputError, match=r"'y'.*one too many.*count from the right"):
        inference.fit(model, AutoDiagonalNormal(model), args=data)


def test_fixed_draws_are_refused_where_they_cannot_move_or_are_too_many():
    def model(dim=1):
        pyro.sample("x", dist.Normal(torch.zeros(dim), 1.0).to_event(1))

    def guide(dim=1, grad="score"):
        loc = pyro.param("m", torch.zeros(dim))
        pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), infer={"grad": grad})

    with pytest.raises(InvalidInputError, match=r"'x'.*'score' cannot move"):
        inference.fit(model, guide, method="lbfgs")
    with pytest.raises(InvalidInputError, match=r"at most 200.*has 300"):
        inference.fit(lambda: model(300), lambda: guide(300, "reparam"), method="lbfgs")
    with pytest.raises(InvalidInputError, match="nothing to move"):
        inference.fit(model, model)


def cone():
    x, y = (pyro.sample(name, dist.Normal(torch.tensor(0.0), 10.0)) for name in "xy")
    r2 = x.square() + y.square()
    pyro.sample("z", dist.Normal(r2, 0.1 + r2 / 100), obs=torch.tensor(5.0))


def plain_guide():
    for name, start in (("x", 2.0), ("y", 0.3)):
        scale = pyro.param(f"s{name}", torch.tensor(1.0), constraint=positive)
        pyro.sample(name, dist.Normal(pyro.param(f"m{name}", torch.tensor(start)), scale))


def ring_guide():
    angle = 2 * math.pi * pyro.sample("u", dist.Uniform(torch.tensor(0.0), 1.0))
    for name, at in (("x", angle.cos()), ("y", angle.sin())):
        scale = pyro.param(f"s{name}", torch.tensor(1.0), constraint=positive)
        pyro.sample(name, dist.Normal(math.sqrt(5) * at, scale))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("guide", "objective", "published"),
    [
        (plain_guide, ELBO, -8.08),
        (plain_guide, IWELBO(5), None),
        (marginal(ring_guide, ["x", "y"]), ELBO, -9.75),
        (marginal(ring_guide, ["x", "y"], n=5), ELBO, -8.18),
        (marginal(ring_guide, ["x", "y"], n=5), IWELBO(5), -7.33),
    ],
    ids=["ELBO", "IWELBO(5)", "HVI", "IWHVI(5)", "DIWHVI(5, 5)"],
)
def test_the_noisy_cone_has_the_published_bounds(guide, objective, published):
    """Becker et al. 2024, table 4; the log evidence by quadrature in polar coordinates."""
    posterior = inference.fit(cone, guide, objective, n_particles=64 * objective.group, n_check=50_000)
    bound = posterior.diagnostics["bound"]
    r2 = torch.linspace(1e-6, 400.0, 2_000_001)
    prior = torch.exp(-r2 / 200) / 200  # of the squared radius
    density = prior * torch.distributions.Normal(r2, 0.1 + r2 / 100).log_prob(torch.tensor(5.0)).exp()
    assert bound < torch.trapezoid(density, r2).log()
    if published is None:  # -7.79 was printed, of a search that had not ended; any maximum must be above
        assert bound > -7.79 - 0.15
    else:
        assert bound == pytest.approx(published, abs=0.15)


@pytest.mark.gpu
def test_a_fit_runs_where_its_data_are(data):
    X, y = (tensor.cuda() for tensor in data)

    def guide(X, y):
        scale = pyro.param("s", 0.1 * torch.ones(3, device=X.device), constraint=positive)
        pyro.sample("w", dist.Normal(pyro.param("m", torch.zeros(3, device=X.device)), scale).to_event(1))

    posterior = inference.fit(regression, guide, Objective(ELBO.function, additive=True), args=(X, y), n_steps=500)
    draws = posterior.sample(100, torch.Generator().manual_seed(0))
    assert draws.is_cuda
    assert (draws.cpu().mean(0) - exact(*data)[0]).abs().max() < 0.3
