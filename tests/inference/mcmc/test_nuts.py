"""Pyro's NUTS through the density protocol."""

import pyro
import pyro.distributions as dist
import pytest
import torch

import inference
from inference.errors import InvalidInputError

pytestmark = pytest.mark.usefixtures("one_thread")


def coin(heads):
    p = pyro.sample("p", dist.Beta(torch.tensor(2.0), 2.0))
    pyro.sample("heads", dist.Binomial(10, p), obs=heads)


@pytest.mark.parametrize("method", ["nuts", "ensemble_hmc"])
def test_a_pyro_model_has_its_conjugate_posterior(method):
    density = inference.from_pyro(coin, torch.tensor(7.0))
    before = torch.random.get_rng_state()
    if method == "nuts":
        draws = inference.nuts(density, torch.zeros(2, 1), n_warmup=40, n_draws=100, seed=4)
    else:
        draws = inference.ensemble_hmc(density, n_draws=60, seed=4)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert draws.diagnostics["rhat"].max() < 1.1
    p = draws.to_dict()["p"].T  # Beta(9, 5): mean 9 / 14, variance 45 / (14^2 15)
    assert abs(p.mean() - 9 / 14) < 4 * (45 / (14**2 * 15) / inference.ess(p, "mean")) ** 0.5


def test_starts_that_cannot_be_used_are_refused():
    density = inference.from_callable(lambda z: z[:, 0].log(), 1)
    with pytest.raises(InvalidInputError, match="dim=1"):
        inference.nuts(density, torch.zeros(1, 2))
    with pytest.raises(InvalidInputError, match="start elsewhere"):
        inference.nuts(density, torch.tensor([[-1.0]]))
