"""Optimally weighted MMD: the weights integrate, the distance is the sum it says, and a simulator is found by it."""

import math

import pytest
import torch

from inference.errors import InvalidInputError
from inference.mmd import evidence_lengthscale, fit_mmd, optimal_weights, squared_mmd

pytestmark = pytest.mark.usefixtures("one_thread")


def g_and_k(z, A=3.0, B=1.0, g=0.1, k=0.1):
    skew = 1 + 0.8 * (1 - torch.exp(-g * z)) / (1 + torch.exp(-g * z))
    return A + B * skew * (1 + z**2) ** k * z


def test_the_weights_integrate_smooth_functions():
    z = torch.randn(64, 1)
    assert optimal_weights(z, lengthscale=2.0) @ z[:, 0].cos() == pytest.approx(math.exp(-0.5), abs=1e-3)
    u = torch.rand(64, 2)
    wanted = math.sin(1.0) * (math.e - 1)  # of cos(a) exp(b) over the unit square
    assert optimal_weights(u, lengthscale=1.0, base="uniform") @ (u[:, 0].cos() * u[:, 1].exp()) == pytest.approx(
        wanted, abs=1e-3
    )


def test_the_kernel_means_are_those_of_many_draws():
    from inference.mmd import _embedding, _gaussian

    for base, draws in (("normal", torch.randn(100_000, 2)), ("uniform", torch.rand(100_000, 2))):
        u = draws[:5]
        values = _gaussian(u, draws, 0.7)
        se = values.std(1) / len(draws) ** 0.5
        assert ((_embedding(u, 0.7, base) - values.mean(1)).abs() < 4 * se).all()


def test_the_squared_distance_is_its_double_sum():
    X, Y, w = torch.randn(4, 2), torch.randn(3, 2), torch.rand(4)

    def k(a, b):
        return math.exp(-sum((p - q) ** 2 for p, q in zip(a.tolist(), b.tolist(), strict=True)) / (2 * 0.8**2))

    by_hand = sum(w[i] * w[j] * k(X[i], X[j]) for i in range(4) for j in range(4))
    by_hand += sum(k(a, b) for a in Y for b in Y) / 9 - 2 * sum(w[i] * k(X[i], b) for i in range(4) for b in Y) / 3
    assert squared_mmd(X, Y, lengthscale=0.8, weights=w) == pytest.approx(max(0.0, float(by_hand)), abs=1e-12)


def test_of_256_simulations_optimal_weights_leave_a_seventh_of_the_error():
    ratios = []
    for _ in range(5):
        truth, z = g_and_k(torch.randn(2000, 1)), torch.randn(256, 1)
        exact = g_and_k(torch.distributions.Normal(0.0, 1.0).icdf((torch.arange(2000) + 0.5) / 2000))[:, None]
        X = g_and_k(z)
        w = optimal_weights(z, lengthscale=evidence_lengthscale(z, X, data_lengthscale=1.0))
        # from the distribution itself, so that the noise of the data is no part of it
        plain, weighted = (squared_mmd(X, exact, lengthscale=1.0, weights=v) for v in (None, w))
        ratios.append(float((weighted / plain).sqrt()))
        assert squared_mmd(X, truth, lengthscale=1.0, weights=w) >= 0
    assert sorted(ratios)[2] <= 0.15


def test_a_simulator_is_found_by_its_distance():
    z = torch.distributions.Normal(0.0, 1.0).icdf(
        torch.quasirandom.SobolEngine(1, scramble=True, seed=3).draw(128, dtype=torch.float64)
    )
    Y = g_and_k(torch.randn(3000, 1))
    found = fit_mmd(
        lambda theta, u: g_and_k(u, A=theta[0], B=theta[1].exp()),
        Y,
        z,
        torch.tensor([[1.0, 1.0]]),
        lengthscale=1.0,
        weights=optimal_weights(z, lengthscale=1.5),
    )
    # location and log scale of 3,000 draws are known to about 0.02
    assert found.z[0] == pytest.approx(3.0, abs=0.1)
    assert found.z[1] == pytest.approx(0.0, abs=0.1)
    assert -1e-3 < found.value <= 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: optimal_weights(torch.rand(3), lengthscale=1.0), "`m x s`"),
        (lambda: optimal_weights(torch.rand(3, 1), lengthscale=0.0), "lengthscale"),
        (lambda: optimal_weights(torch.rand(3, 1), lengthscale=1.0, base="beta"), "'beta'"),
        (lambda: optimal_weights(2 + torch.rand(3, 1), lengthscale=1.0, base="uniform"), "between 0 and 1"),
        (lambda: squared_mmd(torch.rand(3, 1), torch.rand(3, 2), lengthscale=1.0), "1 columns"),
        (lambda: squared_mmd(torch.rand(3, 1), torch.rand(3, 1), lengthscale=1.0, weights=torch.ones(2)), "m=3"),
        (lambda: evidence_lengthscale(torch.rand(3, 1), torch.rand(2, 1), data_lengthscale=1.0), "3, got 2"),
        (lambda: optimal_weights(torch.full((3, 1), torch.nan), lengthscale=1.0), "not positive definite"),
    ],
)
def test_what_cannot_be_used_is_refused(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call()
