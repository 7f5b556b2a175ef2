"""Spike-and-slab networks: the bound is a bound, and architectures are chosen by it."""

import math

import pytest
import torch

from inference.errors import InvalidInputError
from inference.variational.spike_and_slab import _divergence, fit_spike_and_slab, select_architecture

pytestmark = pytest.mark.usefixtures("one_thread")


def data(n=200, seed=21):
    generator = torch.Generator().manual_seed(seed)
    X = 2 * torch.rand(n, 1, generator=generator, dtype=torch.float64) - 1
    f = torch.sin(3 * X[:, 0])
    return X, f + 0.2 * torch.randn(n, generator=generator, dtype=torch.float64), f


def test_the_divergence_is_the_mean_log_ratio_of_draws():
    """Of the zeros the ratio is that of their probabilities, of the others that of the densities too."""
    m, s, l, l_0 = 0.7, 0.4, 0.8, 0.3
    found = _divergence(
        [torch.full((1, 1, 1), m)],
        [torch.full((1, 1, 1), math.log(s))],
        [torch.full((1, 1, 1), math.log(l / (1 - l)))],
        l_0,
    )
    draws = m + s * torch.randn(200_000)
    normal = torch.distributions.Normal
    slab = normal(m, s).log_prob(draws) - normal(0.0, 1.0).log_prob(draws) + math.log(l / l_0)
    ratio = torch.where(torch.rand(200_000) < l, slab, math.log((1 - l) / (1 - l_0)))
    assert found == pytest.approx(float(ratio.mean()), abs=4 * float(ratio.std()) / 200_000**0.5)


def test_a_small_network_fits_and_forgets_nothing_of_the_seed():
    X, y, f = data()
    state = torch.random.get_rng_state()
    first, second = (fit_spike_and_slab(X, y, (4,), noise_sd=0.2, n_steps=500, seed=5) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert first.elbo == second.elbo
    mean = first.draw(X, 200, torch.Generator().manual_seed(0)).mean(0)
    assert (mean - f).square().mean().sqrt() < f.std() / 2  # 500 steps are a start, the slow test goes on
    # a bound lies below the log likelihood of the truth, by about what the weights cost
    assert first.elbo < float(torch.distributions.Normal(f, 0.2).log_prob(y).sum())


@pytest.mark.slow
def test_the_bound_chooses_a_network_of_the_right_size():
    X, y, f = data()
    selection = select_architecture(X, y, [(w,) for w in (1, 2, 4, 8, 32)], noise_sd=0.2, seed=1)
    assert selection.best.widths in [(2,), (4,), (8,)]
    assert selection.nets[(32,)].elbo < selection.best.elbo - 40
    mean = selection.best.draw(X, 200, torch.Generator().manual_seed(0)).mean(0)
    assert (mean - f).square().mean().sqrt() < 0.15


def test_a_prior_over_architectures_counts():
    X, y, _ = data(30)
    candidates = [(1,), (2,)]
    for wanted in candidates:
        prior = {wanted: 1e6}
        chosen = select_architecture(X, y, candidates, noise_sd=0.2, n_steps=5, log_prior=prior)
        assert chosen.best.widths == wanted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widths": ()}, "widths"),
        ({"noise_sd": 0.0}, "noise_sd"),
        ({"prior_inclusion": 1.0}, "prior_inclusion"),
        ({"n_steps": 0}, "n_steps"),
        ({"y": torch.ones(3, 1)}, "one floating dtype"),
        ({"y": torch.full((3,), torch.nan, dtype=torch.float64)}, "finite"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_refused(change, message):
    with pytest.raises(InvalidInputError, match=message):
        fit_spike_and_slab(**({"X": torch.rand(3, 1), "y": torch.rand(3), "widths": (2,), "noise_sd": 0.1} | change))
    with pytest.raises(InvalidInputError, match="candidates"):
        select_architecture(torch.rand(3, 1), torch.rand(3), [], noise_sd=0.1)
