"""Densities: what they are of, that their gradients are right, and that they leave Pyro and torch alone."""

import pyro
import pyro.distributions as dist
import pytest
import torch

import inference
from inference.errors import InvalidInputError


def hierarchical(y):
    top = pyro.sample("top", dist.Uniform(torch.tensor(0.0), torch.tensor(3.0)))
    low = pyro.sample("low", dist.Uniform(torch.tensor(0.0), top))  # its support depends on another site
    with pyro.plate("data", len(y)):
        pyro.sample("y", dist.Normal(low, 1.0), obs=y)
    pyro.deterministic("sum", top + low)


def with_a_branch(y):
    a = pyro.sample("a", dist.Normal(torch.tensor(0.0), 1.0))
    pyro.sample("y", dist.Normal(a if a > 0 else 2 * a, 1.0), obs=y)


def test_a_pyro_model_has_the_density_of_its_sites_times_the_jacobian():
    y = torch.tensor([0.3, -0.2, 1.1])
    density = inference.from_pyro(hierarchical, y)
    z = torch.randn(4, 2)
    values = density.log_prob(z)
    for point, value in zip(z, values, strict=True):
        top, low = 3 * torch.sigmoid(point[0]), 3 * torch.sigmoid(point[0]) * torch.sigmoid(point[1])
        # d top / d z0 = top (1 - top / 3), d low / d z1 = low (1 - low / top)
        jacobian = (top * (1 - top / 3) * low * (1 - low / top)).log()
        by_hand = -torch.tensor(3.0).log() - top.log() + torch.distributions.Normal(low, 1.0).log_prob(y).sum()
        assert value == pytest.approx(float(by_hand + jacobian), abs=1e-12)


def test_a_pyro_model_names_its_parameters_also_the_deterministic_ones():
    named = inference.from_pyro(hierarchical, torch.zeros(2)).constrain(torch.zeros(3, 2))
    assert {name: value.tolist() for name, value in named.items()} == {
        "top": [1.5] * 3,
        "low": [0.75] * 3,
        "sum": [2.25] * 3,
    }


@pytest.mark.parametrize("model", [hierarchical, with_a_branch], ids=lambda model: model.__name__)
def test_gradients_of_many_points_are_those_of_central_differences(model):
    density = inference.from_pyro(model, torch.ones(2))
    z = torch.randn(3, density.dim)
    _, gradient = density.value_and_grad(z)
    for k in range(density.dim):
        h = 1e-5 * torch.eye(density.dim)[k]
        slope = (density.log_prob(z + h) - density.log_prob(z - h)) / 2e-5
        assert torch.allclose(gradient[:, k], slope, atol=1e-8)  # h^2 and the rounding over h are below it


def test_a_pyro_model_leaves_the_parameter_store_and_the_generator_alone():
    def with_a_parameter(y):
        scale = pyro.param("scale", torch.tensor(1.0))
        pyro.sample("y", dist.Normal(pyro.sample("a", dist.Normal(torch.tensor(0.0), scale)), 1.0), obs=y)

    pyro.get_param_store().clear()
    state = torch.random.get_rng_state()
    density = inference.from_pyro(with_a_parameter, torch.ones(()))
    density.value_and_grad(torch.zeros(2, 1))
    assert not list(pyro.get_param_store().keys())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_discrete_site_is_refused_by_name():
    with pytest.raises(InvalidInputError, match="'coin' is discrete"):
        inference.from_pyro(lambda: pyro.sample("coin", dist.Bernoulli(torch.tensor(0.5))))


def test_a_model_without_sites_and_a_function_of_one_point_are_refused():
    with pytest.raises(InvalidInputError, match="no latent site"):
        inference.from_pyro(lambda: None)
    with pytest.raises(InvalidInputError, match=r"torch\.vmap"):
        inference.from_callable(lambda z: z.sum(), dim=2).log_prob(torch.zeros(3, 2))
    with pytest.raises(InvalidInputError, match="at least 1, got 0"):
        inference.from_callable(lambda z: z.sum(1), dim=0)
