"""Every gradient strategy against the exact gradient, and its noise against what theory says.

A plate of N members, each with parameters of its own, gives N independent estimates in one run.
"""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from inference.errors import InvalidInputError
from inference.variational import ELBO, IWELBO, STL, DReG, Objective, marginal
from inference.variational.estimator import Estimator

pytestmark = pytest.mark.usefixtures("one_thread")

N = 40_000
LOG_P = Objective(lambda weights: weights.log_p.mean(0), additive=True, name="E log p")


def gradients(model, guide, objective, *, n_particles=1, n_estimates=1, independent="n"):
    """Estimates of the gradient by parameter, estimates first."""
    estimator = Estimator(model, guide, objective, n_particles=n_particles, independent=independent)
    found = []
    with estimator.open():
        estimator.prepare()
        leaves = estimator.parameters.leaves
        for _ in range(n_estimates):
            surrogate, _ = estimator.surrogate()
            found.append(torch.autograd.grad(surrogate, list(leaves.values()), allow_unused=True))
    return {name: torch.stack([row[i] for row in found]).squeeze(0) for i, name in enumerate(leaves)}


def assert_mean(estimates, exact):
    """Within four standard errors, or rounding where there is no noise."""
    se = estimates.std(0) / len(estimates) ** 0.5
    assert ((estimates.mean(0) - exact).abs() <= 4 * se + 1e-12).all(), (estimates.mean(0), exact, se)


def normal_site(strategy, function):
    def model():
        with pyro.plate("n", N):
            x = pyro.sample("x", dist.Normal(torch.zeros(()), 1.0).mask(False))
            pyro.factor("f", function(x))

    def guide():
        with pyro.plate("n", N):
            mu, sigma = pyro.param("mu", torch.full((N,), 0.3)), pyro.param("sigma", torch.ones(N))
            pyro.sample("x", dist.Normal(mu, sigma), infer={"grad": strategy})

    return model, guide


def bernoulli_site(strategy):
    def model():
        with pyro.plate("n", N):
            b = pyro.sample("b", dist.Bernoulli(torch.tensor(0.5)).mask(False))
            pyro.factor("f", (b - 0.45) ** 2)

    def guide():
        with pyro.plate("n", N):
            logit = pyro.param("logit", torch.zeros(N))
            pyro.sample("b", dist.Bernoulli(logits=logit), infer={"grad": strategy})

    return model, guide


@pytest.mark.parametrize(
    ("strategy", "variance"),
    # of 2 mu + ... by hand: E[x^4 (x - mu)^2] - 0.6^2; 4 sigma^2; 16 mu^2 (2 - pi / 2) / (2 pi)
    [("score", 16.27), ("reparam", 4.0), ("mvd", 0.0984)],
)
def test_the_mean_of_a_square_has_its_gradient_and_the_noise_that_theory_gives(strategy, variance):
    found = gradients(*normal_site(strategy, lambda x: x.square()), LOG_P)
    assert_mean(found["mu"], torch.tensor(0.6))
    assert_mean(found["sigma"], torch.tensor(2.0))
    # the score's estimate has heavy tails: the standard error of its variance is about 4 % here
    assert found["mu"].var() == pytest.approx(variance, rel=0.2)


def test_a_step_is_beyond_reparameterisation_but_not_beyond_the_others():
    exact = math.exp(-0.5 * 0.3**2) / math.sqrt(2 * math.pi)  # the density at the step
    by = {s: gradients(*normal_site(s, lambda x: (x > 0).to(x)), LOG_P)["mu"] for s in ("score", "mvd")}
    for found in by.values():
        assert_mean(found, torch.tensor(exact))
    assert by["score"].var() == pytest.approx(0.36, rel=0.3)  # both measured by another program
    assert by["mvd"].var() == pytest.approx(0.0067, rel=0.3)
    biased = gradients(*normal_site("reparam", lambda x: (x > 0).to(x) + 0 * x), LOG_P)["mu"]
    assert (biased == 0).all()


def test_of_a_coin_leaving_one_out_has_a_tenth_of_the_noise_and_summing_none():
    by = {
        strategy: gradients(*bernoulli_site(strategy), LOG_P, n_particles=2 if strategy == "loo" else 1)["logit"]
        for strategy in ("score", "loo", "enum", "mvd")
    }
    for found in by.values():
        assert_mean(found, torch.tensor(0.025))
    assert by["score"].var() == pytest.approx(1.59e-2, rel=0.1)  # ((0.3025 + 0.2025) / 4)^2
    assert by["loo"].var() == pytest.approx(6.25e-4, rel=0.1)  # 0.05 or 0, each half the time
    assert by["loo"].var() < by["score"].var() / 10
    assert by["enum"].var() < 1e-30
    assert by["mvd"].var() < 1e-30


def test_a_count_has_its_measure_valued_derivative():
    def model():
        with pyro.plate("n", N):
            count = pyro.sample("count", dist.Poisson(torch.tensor(1.0)).mask(False))
            pyro.factor("f", count**2)

    def guide():
        with pyro.plate("n", N):
            pyro.sample("count", dist.Poisson(pyro.param("rate", torch.full((N,), 2.0))), infer={"grad": "mvd"})

    assert_mean(gradients(model, guide, LOG_P)["rate"], torch.tensor(5.0))  # of rate + rate^2


@pytest.mark.parametrize("strategy", ["score", "loo", "ema"])
@pytest.mark.parametrize("objective", [IWELBO(3), Objective(lambda w: w.log_w.max(0).values)], ids=["iw", "own"])
def test_interacting_particles_have_the_gradient_of_all_their_outcomes(strategy, objective):
    log_p = torch.tensor([-1.0, -2.5])  # of b = 0 and 1

    def model():
        with pyro.plate("n", N):
            b = pyro.sample("b", dist.Bernoulli(torch.tensor(0.5)).mask(False))
            pyro.factor("f", log_p[0] + b * (log_p[1] - log_p[0]))

    def guide():
        with pyro.plate("n", N):
            pyro.sample(
                "b", dist.Bernoulli(logits=pyro.param("logit", torch.full((N,), 0.4))), infer={"grad": strategy}
            )

    logit = torch.tensor(0.4, requires_grad=True)
    log_q = torch.stack([-torch.nn.functional.softplus(logit), -torch.nn.functional.softplus(-logit)])
    exact = torch.zeros(())
    for outcome in torch.cartesian_prod(*[torch.arange(2)] * 3):
        log_w = (log_p - log_q)[outcome]
        value = log_w.logsumexp(0) - math.log(3) if objective.group == 3 else log_w.max()
        exact = exact + log_q[outcome].sum().exp() * value
    (wanted,) = torch.autograd.grad(exact, logit)
    assert_mean(gradients(model, guide, objective, n_particles=3)["logit"], wanted)


def chain(strategies):
    """a coin, a normal that depends on it, a coin that depends on that."""

    def model():
        with pyro.plate("n", N):
            a = pyro.sample("a", dist.Bernoulli(torch.tensor(0.3)))
            x = pyro.sample("x", dist.Normal(a, 1.0))
            b = pyro.sample("b", dist.Bernoulli(logits=x))
            pyro.sample("y", dist.Normal(x + b - a, 1.0), obs=torch.full((N,), 0.7))

    def guide():
        with pyro.plate("n", N):
            one = torch.ones(N)
            a = pyro.sample("a", dist.Bernoulli(logits=pyro.param("la", 0.2 * one)), infer={"grad": strategies[0]})
            x = pyro.sample(
                "x",
                dist.Normal(pyro.param("m", 0.1 * one) + 0.5 * a, pyro.param("s", 0.8 * one)),
                infer={"grad": strategies[1]},
            )
            logits = pyro.param("lb", 0.3 * one) + 0.4 * x
            pyro.sample("b", dist.Bernoulli(logits=logits), infer={"grad": strategies[2]})

    return model, guide


def exact_chain():
    """The gradient of the bound by summing over the coins and Gauss-Hermite quadrature."""
    la, m, s, lb = (torch.tensor(v, requires_grad=True) for v in (0.2, 0.1, 0.8, 0.3))
    nodes, weights = (torch.tensor(v) for v in __import__("numpy").polynomial.hermite_e.hermegauss(60))
    weights = weights / math.sqrt(2 * math.pi)
    total = torch.zeros(())
    for a in (0.0, 1.0):
        qa = dist.Bernoulli(logits=la).log_prob(torch.tensor(a))
        x = m + 0.5 * a + s * nodes
        qx = dist.Normal(m + 0.5 * a, s).log_prob(x)
        for b in torch.tensor([0.0, 1.0]):
            qb = dist.Bernoulli(logits=lb + 0.4 * x).log_prob(b)
            log_p = dist.Bernoulli(torch.tensor(0.3)).log_prob(torch.tensor(a)) + dist.Normal(a, 1.0).log_prob(x)
            log_p = log_p + dist.Bernoulli(logits=x).log_prob(b)
            log_p = log_p + dist.Normal(x + b - a, 1.0).log_prob(torch.tensor(0.7))
            total = total + (weights * (qa + qb).exp() * (log_p - qa - qx - qb)).sum()
    return dict(zip(("la", "m", "s", "lb"), torch.autograd.grad(total, (la, m, s, lb)), strict=True))


@pytest.mark.parametrize("objective", [ELBO, STL], ids=lambda o: o.name)
@pytest.mark.parametrize(
    "strategies",
    [
        ("enum", "reparam", "enum"),
        ("enum", "score", "loo"),
        ("loo", "reparam", "enum"),
        ("ema", "loo", "score"),
        ("mvd", "reparam", "score"),
        ("loo", "mvd", "mvd"),
        (None, None, None),
    ],
    ids=str,
)
def test_strategies_can_be_mixed_in_one_guide(strategies, objective):
    exact = exact_chain()
    found = gradients(*chain(strategies), objective, n_particles=2)
    for name, wanted in exact.items():
        assert_mean(found[name], wanted)


def layered(n_estimates):
    """Two normals, one on the other, and parameters in the model too."""

    def model():
        with pyro.plate("n", n_estimates):
            one = torch.ones(n_estimates)
            x = pyro.sample("x", dist.Normal(pyro.param("prior", 0.2 * one), 1.0))
            z = pyro.sample("z", dist.Normal(x, 0.5))
            pyro.sample("y", dist.Normal(z.sin(), 0.7), obs=one)

    def guide():
        with pyro.plate("n", n_estimates):
            one = torch.ones(n_estimates)
            x = pyro.sample("x", dist.Normal(pyro.param("m", 0.3 * one), pyro.param("s", 0.6 * one)))
            pyro.sample("z", dist.Normal(pyro.param("slope", 0.9 * one) * x, pyro.param("t", 0.4 * one)))

    return model, guide


def test_doubly_reparameterised_gradients_have_the_mean_of_plain_ones():
    plain, double = (gradients(*layered(N), objective, n_particles=4) for objective in (IWELBO(4), DReG(4)))
    for name in ("prior", "m", "s", "slope", "t"):
        difference = plain[name].mean() - double[name].mean()
        se = ((plain[name].var() + double[name].var()) / N).sqrt()
        assert difference.abs() < 4 * se, name


def test_doubly_reparameterised_gradients_do_not_drown_in_noise_as_particles_grow():
    plain, double = (gradients(*layered(4000), objective, n_particles=64) for objective in (IWELBO(64), DReG(64)))
    for name in ("m", "s", "slope", "t"):  # the plain ones keep theirs, and lose their signal
        assert double[name].var() < plain[name].var() / 2, name


def test_held_guides_leave_no_noise_at_the_posterior():
    def model():
        x = pyro.sample("x", dist.Normal(torch.zeros(()), 1.0))
        pyro.sample("y", dist.Normal(x, 1.0), obs=torch.tensor(2.0))

    net = torch.nn.Linear(1, 2)
    with torch.no_grad():
        net.weight.zero_()
        net.bias.copy_(torch.tensor([1.0, -0.5 * math.log(2.0)]))

    def guide():
        pyro.module("net", net)
        loc, log_scale = net(torch.ones(1))
        pyro.sample("x", dist.Normal(loc, log_scale.exp()))

    for objective, limit in ((STL, 1e-12), (DReG(4), 1e-12)):
        found = gradients(model, guide, objective, n_particles=4, n_estimates=5, independent=None)
        assert all(value.abs().max() < limit for value in found.values())
    plain = gradients(model, guide, ELBO, n_particles=4, n_estimates=5, independent=None)
    assert max(value.abs().max() for value in plain.values()) > 0.01


@pytest.mark.parametrize("with_proposal", [False, True])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (2, 1), (2, 2)])
def test_a_marginal_guide_has_the_gradient_of_all_its_outcomes(n, k, with_proposal):
    """A coin u behind a coin x, whose draws can all be listed."""
    log_p = torch.tensor([-1.0, -2.0])

    def model():
        with pyro.plate("n", N):
            x = pyro.sample("x", dist.Bernoulli(torch.tensor(0.5)).mask(False))
            pyro.factor("f", log_p[0] + x * (log_p[1] - log_p[0]))

    def guide():
        with pyro.plate("n", N):
            one = torch.ones(N)
            u = pyro.sample("u", dist.Bernoulli(logits=pyro.param("a", 0.3 * one)))
            pyro.sample("x", dist.Bernoulli(logits=pyro.param("b", -0.2 * one) + pyro.param("c", 1.5 * one) * u))

    def proposal(kept):
        with pyro.plate("n", N):
            pyro.sample("u", dist.Bernoulli(logits=pyro.param("r", torch.full((N,), 0.7)) * (kept["x"] - 0.5)))

    a, b, c, r = (torch.tensor(v, requires_grad=True) for v in (0.3, -0.2, 1.5, 0.7))

    def outcome(us, x):
        """Probability of all draws of a particle, and its log weight."""
        x = torch.tensor(float(x))
        us = [torch.tensor(float(u)) for u in us]
        log_u = [dist.Bernoulli(logits=a).log_prob(u) for u in us]
        log_x = [dist.Bernoulli(logits=b + c * u).log_prob(x) for u in us]
        log_r = [dist.Bernoulli(logits=r * (x - 0.5)).log_prob(u) for u in us] if with_proposal else log_u
        ratio = torch.stack([u + xx - rr for u, xx, rr in zip(log_u, log_x, log_r, strict=True)])
        log_w = log_p[int(x)] - (ratio.logsumexp(0) - math.log(len(us)))
        return log_u[0] + log_x[0] + sum(log_r[1:]), log_w

    single = [outcome(row[1:].tolist(), row[0]) for row in torch.cartesian_prod(*[torch.arange(2)] * (n + 1))]
    exact = torch.zeros(())
    for group in __import__("itertools").product(single, repeat=k):
        log_w = torch.stack([one[1] for one in group])
        exact = exact + sum(one[0] for one in group).exp() * (log_w.logsumexp(0) - math.log(k))
    wanted = torch.autograd.grad(exact, (a, b, c, r), allow_unused=True)
    guide = marginal(guide, ["x"], proposal=proposal if with_proposal else None, n=n)
    found = gradients(model, guide, IWELBO(k), n_particles=2)
    for name, value in zip("abcr", wanted, strict=True):
        if value is not None:
            assert_mean(found[name], value)


def test_elements_of_a_vector_are_measured_one_by_one_without_a_plate_of_members():
    target = torch.tensor([1.0, -2.0])

    def model():
        x = pyro.sample("x", dist.Normal(torch.zeros(2), 1.0).to_event(1).mask(False))
        pyro.factor("f", ((x - target) ** 2).sum(-1))

    def guide():
        pyro.sample(
            "x",
            dist.Normal(pyro.param("mu", torch.tensor([0.5, 0.2])), 1.0).to_event(1),
            infer={"grad": "mvd"},
        )

    found = gradients(model, guide, LOG_P, n_particles=200, n_estimates=40, independent=None)
    assert_mean(found["mu"], 2 * (torch.tensor([0.5, 0.2]) - target))


@pytest.mark.parametrize(
    ("make", "strategy", "how", "message"),
    [
        (lambda: dist.Normal(0.0, 1.0), "reinforce", {}, "'x'.*'reinforce'.*reparam, score"),
        (lambda: dist.Poisson(1.0), "reparam", {}, "'x'.*Poisson has no reparameterised"),
        (lambda: dist.Normal(0.0, 1.0), "enum", {}, "'x'.*Normal has no list"),
        (lambda: dist.Normal(0.0, 1.0), "loo", {"n_particles": 1}, "'x'.*at least 2 particles"),
        (lambda: dist.Gamma(1.0, 1.0), "mvd", {}, "'x'.*of Gamma no such"),
        (lambda: dist.Bernoulli(0.5), "enum", {"objective": IWELBO(2)}, "'x'.*particles interact"),
        (lambda: dist.Bernoulli(0.5 * torch.ones(3)), "enum", {}, "'x'.*several elements"),
        (lambda: dist.Bernoulli(0.5), None, {"objective": DReG(2)}, "'x'.*DReG.*needs reparameterised"),
    ],
    ids=["unknown", "reparam", "enum", "loo", "mvd", "together", "several", "dreg"],
)
def test_what_a_site_cannot_have_is_refused_by_its_name(make, strategy, how, message):
    def model():
        pyro.sample("x", make().mask(False))

    def guide():
        pyro.sample("x", make(), infer={} if strategy is None else {"grad": strategy})

    estimator = Estimator(model, guide, how.get("objective", ELBO), n_particles=how.get("n_particles", 2))
    with estimator.open(), pytest.raises(InvalidInputError, match=message):
        estimator.prepare()


def test_too_many_measure_valued_parameters_are_refused():
    def model():
        pyro.sample("x", dist.Normal(torch.zeros(40), 1.0).to_event(1))

    def guide():
        loc, scale = pyro.param("m", torch.zeros(40)), pyro.param("s", torch.ones(40))
        pyro.sample("x", dist.Normal(loc, scale).to_event(1), infer={"grad": "mvd"})

    estimator = Estimator(model, guide, ELBO, n_particles=1)
    with estimator.open(), pytest.raises(InvalidInputError, match=r"'x'.*80 scalar"):
        estimator.prepare()
