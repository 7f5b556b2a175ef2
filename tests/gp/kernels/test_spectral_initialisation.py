"""The tones that the start of a spectral mixture finds are those of the data."""

import math

import pytest
import torch

from gp.errors import InvalidDataError
from gp.kernels.spectral_initialisation import init_spectral, lomb_scargle

pytestmark = pytest.mark.usefixtures("one_thread")


def tones(t, mus, phases):
    return sum(torch.sin(2 * math.pi * mu * t + phase) for mu, phase in zip(mus, phases, strict=True))


def test_the_power_is_what_least_squares_explains():
    x, y, mus = torch.rand(30), torch.randn(30), torch.tensor([0.3, 2.0, 11.7])
    beside = torch.linalg.qr(torch.stack([torch.ones(30), torch.cos(9 * x)], 1))[0]
    left = y - beside @ (beside.mT @ y)
    for mu, power in zip(mus, lomb_scargle(x, y, mus, beside), strict=True):
        phase = 2 * math.pi * mu * x
        A = torch.cat([beside, torch.stack([phase.cos(), phase.sin()], 1)], 1)
        remains = y - A @ torch.linalg.lstsq(A, y[:, None]).solution[:, 0]
        torch.testing.assert_close(power, left.square().sum() - remains.square().sum())


@pytest.mark.parametrize("grid", [True, False], ids=["on a grid", "at random"])
@pytest.mark.parametrize("seed", range(3))
def test_finds_three_tones_in_noise_to_six_standard_errors(grid, seed):
    mus = [7.3, 23.1, 2.1]
    x = torch.linspace(0, 1, 160) if grid else torch.rand(160)
    Y = 5.0 + tones(x, mus, 6 * torch.rand(3)) + 0.2 * torch.randn(160)
    start = init_spectral(x[:, None], Y)
    # Rife and Boorstyn's bound for one tone of amplitude 1 in 160 values; neighbours and a level make it a little more
    error = math.sqrt(6 / 160) * 0.2 / math.pi
    for mu in mus:
        assert (start.frequencies - mu).abs().min() < 6 * error
    assert start.noise < 2 * 0.2**2
    assert abs(start.mean - 5.0) < 0.2


def test_the_criterion_finds_as_many_tones_as_there_are_and_a_number_as_many_as_it_says():
    x = torch.linspace(0, 4, 200)
    Y = tones(x, [3.0, 5.5], [0.4, 1.0]) + 0.1 * torch.randn(200)
    assert init_spectral(x[:, None], Y).frequencies.shape == (1, 2)
    assert init_spectral(x[:, None], Y, n_components=5).frequencies.shape == (1, 5)


def test_along_two_axes_finds_the_tones_of_each():
    X = torch.rand(300, 2) * torch.tensor([1.0, 10.0])
    start = init_spectral(X, tones(X[:, 0], [6.0], [0.0]) + tones(X[:, 1], [0.9], [1.0]))
    assert (start.frequencies[0] - 6.0).abs().min() < 0.05
    assert (start.frequencies[1] - 0.9).abs().min() < 0.005
    assert (start.frequencies == 0).any(1).all()  # what leaves the other axis as it is


def test_a_constant_is_no_tone_and_still_a_start():
    start = init_spectral(torch.rand(9, 1), torch.ones(9))
    assert (start.weights > 0).all()
    assert start.noise > 0


def test_refuses_data_without_frequencies():
    with pytest.raises(InvalidDataError, match="n >= 4"):
        init_spectral(torch.rand(3, 1), torch.rand(3))
    with pytest.raises(InvalidDataError, match="more than one value along each axis"):
        init_spectral(torch.ones(5, 1), torch.rand(5))
    with pytest.raises(InvalidDataError, match="finite"):
        init_spectral(torch.rand(5, 1), torch.full((5,), torch.nan))
    with pytest.raises(InvalidDataError, match="n_components: expected at least 1"):
        init_spectral(torch.rand(5, 1), torch.rand(5), n_components=0)
