"""Objectives against closed forms: what they are worth, and where they lead."""

import itertools
import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from inference.errors import InvalidInputError
from inference.variational import CUBO, ELBO, IWELBO, RWS, STL, DReG, Renyi, Weights, marginal
from inference.variational.estimator import Estimator

pytestmark = pytest.mark.usefixtures("one_thread")

MEAN, SD, LOG_Z = 1.0, 0.8, -1.3  # the posterior is normal, with this log evidence


def weights(n, loc=0.9, scale=1.0):
    x = torch.distributions.Normal(loc, scale).sample((n, 1))
    log_p = LOG_Z + torch.distributions.Normal(MEAN, SD).log_prob(x)
    return Weights(log_p, torch.distributions.Normal(loc, scale).log_prob(x))


def log_moment(n, loc, scale):
    """log E_q w^n for normals: an integral of exp of a quadratic."""
    precision = n / SD**2 - (n - 1) / scale**2
    centre = (n * MEAN / SD**2 - (n - 1) * loc / scale**2) / precision
    top = -0.5 * n * MEAN**2 / SD**2 + 0.5 * (n - 1) * loc**2 / scale**2 + 0.5 * precision * centre**2
    return n * (LOG_Z - math.log(SD)) + (n - 1) * math.log(scale) - 0.5 * math.log(precision) + top


@pytest.mark.parametrize(
    ("make", "power"),
    [(IWELBO, 1.0), (lambda k: Renyi(0.5, k), 0.5), (lambda k: Renyi(-1.0, k), 2.0), (CUBO, 2.0)],
    ids=["IWELBO", "Renyi 0.5", "Renyi -1", "CUBO"],
)
def test_of_many_particles_a_bound_is_the_log_moment_of_the_weights(make, power):
    k = 200_000
    wanted = log_moment(power, 0.9, 1.0) / power
    sign = -1.0 if make is CUBO else 1.0
    # relative standard error of the mean of w^power, from the moment of twice the order
    spread = math.exp(log_moment(2 * power, 0.9, 1.0) - 2 * log_moment(power, 0.9, 1.0)) - 1.0
    assert sign * make(k)(weights(k)) == pytest.approx(wanted, abs=4 * math.sqrt(spread / k) / power)


def test_the_bounds_are_in_order_and_meet_at_the_ends():
    w = weights(1000)
    values = [ELBO(w), Renyi(0.5, 1000)(w), IWELBO(1000)(w), -CUBO(1000)(w)]
    assert all(a < b for a, b in itertools.pairwise(values))
    assert torch.allclose(Renyi(0.0, 10)(w), IWELBO(10)(w))
    assert torch.allclose(Renyi(1 - 1e-7, 10)(w), ELBO(w), atol=1e-6)  # to first order in 1 - alpha
    for objective in (IWELBO(1), STL):
        assert torch.allclose(objective(w), ELBO(w))
    for objective in (RWS(10), DReG(10)):
        assert torch.allclose(objective(w), IWELBO(10)(w))


def test_groups_are_averaged():
    w = weights(6)
    halves = [Weights(w.log_p[i : i + 3], w.log_q[i : i + 3]) for i in (0, 3)]
    assert torch.allclose(IWELBO(3)(w), (IWELBO(3)(halves[0]) + IWELBO(3)(halves[1])) / 2)


def test_the_wake_phase_climbs_the_forward_divergence_and_the_model_its_bound():
    def model():
        shift = pyro.param("shift", torch.tensor(0.2))
        x = pyro.sample("x", dist.Normal(shift, 1.0))
        pyro.sample("y", dist.Normal(x, 1.0), obs=torch.tensor(2.0))

    def guide():
        pyro.sample("x", dist.Normal(pyro.param("m", torch.tensor(0.8)), 0.9))

    estimator = Estimator(model, guide, RWS(2000), n_particles=200_000)
    with estimator.open():
        estimator.prepare()
        surrogate, _ = estimator.surrogate()
        found = dict(
            zip(
                estimator.parameters.leaves,
                torch.autograd.grad(surrogate, list(estimator.parameters.leaves.values())),
                strict=True,
            )
        )
    # the posterior mean is 1.1; both are averages of 200,000 numbers of size about 1, biased by about 1 / 2,000
    assert found["m"] == pytest.approx((1.1 - 0.8) / 0.9**2, abs=0.01)
    assert found["shift"] == pytest.approx((2.0 - 0.2) / 2.0, abs=0.01)


@pytest.mark.parametrize("with_proposal", [False, True])
@pytest.mark.parametrize("n", [1, 3])
def test_the_reciprocal_of_an_estimated_density_is_exact_on_average(n, with_proposal):
    """E[exp(-log q^) | x] = 1 / q(x): so the mean of q(x) / q^ is 1."""

    def guide():
        with pyro.plate("n", 100_000):
            u = pyro.sample("u", dist.Bernoulli(torch.tensor(0.3)))
            pyro.sample("x", dist.Normal(2.0 * u, 1.0))

    def proposal(kept):
        with pyro.plate("n", 100_000):
            pyro.sample("u", dist.Bernoulli(logits=0.8 * (kept["x"] - 1.0)))

    def model():
        with pyro.plate("n", 100_000):
            x = pyro.sample("x", dist.Normal(torch.tensor(0.0), 1.0).mask(False))
            log_q = torch.logaddexp(
                math.log(0.7) + dist.Normal(0.0, 1.0).log_prob(x), math.log(0.3) + dist.Normal(2.0, 1.0).log_prob(x)
            )
            pyro.factor("f", log_q)

    given = marginal(guide, ["x"], proposal=proposal if with_proposal else None, n=n)
    estimator = Estimator(model, given, ELBO, n_particles=1, independent="n")
    with estimator.open():
        estimator.prepare()
        ratio = estimator.log_weights(1)[0].exp()  # p is q
    assert ratio.mean() == pytest.approx(1.0, abs=4 * float(ratio.std()) / 100_000**0.5)
    assert ratio.std() > 0.05  # it is an estimate


def test_unusable_options_are_refused():
    with pytest.raises(InvalidInputError, match=r"alpha.*other than 1"):
        Renyi(1.0, 2)
    with pytest.raises(InvalidInputError, match="above 1, got 1"):
        CUBO(2, 1.0)
    with pytest.raises(InvalidInputError, match="at least 1, got 0"):
        IWELBO(0)
    with pytest.raises(InvalidInputError, match="list with at least one"):
        marginal(lambda: None, "x")
    with pytest.raises(InvalidInputError, match="multiple of 5, got 7"):
        Estimator(lambda: None, lambda: None, IWELBO(5), n_particles=7)


def guide_of_two():
    u = pyro.sample("u", dist.Normal(torch.tensor(0.0), 1.0))
    pyro.sample("x", dist.Normal(u, 1.0))


def model_of_one():
    pyro.sample("x", dist.Normal(torch.tensor(0.0), 1.0))


@pytest.mark.parametrize(
    ("guide", "objective", "message"),
    [
        (guide_of_two, ELBO, "'u' of the guide is not in the model"),
        (lambda: None, ELBO, "'x': the guide does not draw it"),
        (marginal(guide_of_two, ["z"]), ELBO, "keep: 'z'"),
        (marginal(guide_of_two, ["x"]), DReG(2), "DReG.*exact density"),
        (marginal(guide_of_two, ["x"], proposal=lambda kept: None), ELBO, r"proposal: it draws the sites \[\]"),
    ],
    ids=["auxiliary", "missing", "keep", "marginal", "proposal"],
)
def test_programs_that_do_not_fit_are_refused_by_the_name_of_the_site(guide, objective, message):
    estimator = Estimator(model_of_one, guide, objective, n_particles=2)
    with estimator.open(), pytest.raises(InvalidInputError, match=message):
        estimator.prepare()


def test_a_held_marginal_guide_is_refused():
    estimator = Estimator(model_of_one, marginal(guide_of_two, ["x"]), STL, n_particles=2)
    with estimator.open():
        estimator.prepare()
        with pytest.raises(InvalidInputError, match=r"STL.*exact density"):
            estimator.surrogate()
