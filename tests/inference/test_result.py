"""What every method returns."""

import importlib.util

import pytest
import torch

import inference
from inference.errors import InvalidInputError


@pytest.fixture
def draws():
    density = inference.from_callable(
        lambda z: -0.5 * z.square().sum(1), 2, constrain=lambda z: {"scale": z[:, 0].exp(), "both": z}
    )
    return inference.ensemble_hmc(density, n_draws=8, max_rhat=9.0)


@pytest.mark.parametrize("n", [5, 128, 200])
def test_a_sample_repeats_draws_only_where_there_are_too_few(draws, n):
    some = draws.sample(n, torch.Generator().manual_seed(0))
    assert some.shape == (n, 2)
    distinct = len(some.unique(dim=0))
    assert distinct == n if n <= len(draws.z.flatten(0, 1).unique(dim=0)) // 2 else distinct < 129


@pytest.mark.parametrize("method", ["laplace", "ensemble_hmc"])
def test_every_method_has_the_same_verbs(draws, method):
    result = inference.laplace(draws.density) if method == "laplace" else draws
    z = result.sample(4, torch.Generator().manual_seed(1))
    assert result.log_prob(z).shape == (4,)
    assert torch.equal(result.to("cpu").sample(4, torch.Generator().manual_seed(1)), z)
    assert result.diagnostics


def test_draws_have_the_names_and_the_order_of_arviz(draws):
    named = draws.to_dict()
    assert named["both"].shape == (16, 8, 2)
    assert torch.equal(named["scale"], draws.z[..., 0].exp().T)
    assert torch.allclose(draws.log_density, -0.5 * draws.z.square().sum(2))


@pytest.mark.skipif(importlib.util.find_spec("arviz") is not None, reason="ArviZ is installed")
def test_without_arviz_the_way_to_get_it_is_said(draws):
    with pytest.raises(InvalidInputError, match="pip install"):
        draws.to_arviz()


@pytest.mark.gpu
def test_runs_on_a_gpu_and_gives_what_the_cpu_gives():
    def density(device):
        return inference.from_callable(lambda z: -0.5 * z.square().sum(1), 2, device=device)

    cpu, gpu = (inference.ensemble_hmc(density(device), n_warmup=8, n_draws=4, seed=0) for device in ("cpu", "cuda"))
    assert gpu.z.device.type == "cuda"
    assert torch.allclose(gpu.z.cpu(), cpu.z, atol=1e-8)  # the same random numbers; sums in another order
