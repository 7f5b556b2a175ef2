"""Kernels on arrays against their formulas, finite differences, and what a kernel must be."""

import itertools
import math

import numpy as np
import pytest

from gp.array_kernels import Anova, Ard, matern, squared_distances

TIED = np.array([0, 1, 0, 2])
KERNELS = {
    "all interactions": Ard(np.arange(4)),
    "all interactions, tied": Ard(TIED),
    "few interactions": Anova(np.arange(4)),
    "few interactions, tied": Anova(TIED),
}
EVERY = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)


def points(n, d=4, seed=0):
    return np.random.default_rng(seed).random((n, d))


def theta_of(kernel, seed=1):
    return np.random.default_rng(seed).normal(-0.3, 0.4, len(kernel.prior()[0]))


def distances(kernel, A, B):
    """Squared distances of the pairs of rows along each group's features, `g x p`."""
    apart = np.square(A - B)
    return np.stack([apart[:, kernel.groups == g].sum(1) for g in range(kernel.n_lengthscales)])


def between(kernel, theta, A, B):
    scales = kernel.lengthscales(theta)
    return kernel.between(theta, A / scales, B / scales)


def by_hand(kernel, theta, a, b):
    """Plain floats; of few interactions, the sum over all sets of groups that the product stands for."""
    squares = [0.0] * kernel.n_lengthscales
    for x, y, group in zip(a, b, kernel.groups, strict=True):
        squares[group] += ((x - y) / math.exp(theta[group])) ** 2

    def k(r):
        return (1 + math.sqrt(5) * r + 5 * r * r / 3) * math.exp(-math.sqrt(5) * r)

    if isinstance(kernel, Ard):
        return k(math.sqrt(sum(squares)))
    g, share = len(squares), 1 / (1 + math.exp(-theta[-1]))
    sets = itertools.chain.from_iterable(itertools.combinations(range(g), size) for size in range(g + 1))
    return sum(
        share ** len(s) * (1 - share) ** (g - len(s)) * math.prod(k(math.sqrt(squares[i])) for i in s) for s in sets
    )


def test_matern_and_its_derivative_are_those_of_the_formula_and_finite_at_zero():
    r2 = np.array([0.0, 1e-8, 0.3, 4.0, 900.0])
    value, slope = matern(r2)
    s = np.sqrt(5.0 * r2)
    assert value == pytest.approx((1 + s + s**2 / 3) * np.exp(-s), rel=1e-14)
    assert slope[0] == -5.0 / 6.0
    step = 1e-6
    differences = (matern(r2[2:] + step)[0] - matern(r2[2:] - step)[0]) / (2 * step)
    assert slope[2:] == pytest.approx(differences, rel=1e-7, abs=1e-12)


@pytest.mark.parametrize("d", [1, 3])
def test_squared_distances_are_never_negative_and_vanish_nearly_at_one_place(d):
    A, B = points(4, d), points(3, d, seed=1)
    assert squared_distances(A, B) == pytest.approx(np.square(A[:, None] - B[None]).sum(2), abs=1e-14)
    far = 1e4 + A
    r2 = squared_distances(far, far)
    assert (r2 >= 0).all()
    assert r2.diagonal() == pytest.approx(np.zeros(4), abs=1e-6)  # 1e8 with sixteen digits


@EVERY
def test_values_are_those_of_the_formula(kernel):
    A, B, theta = points(5), points(3, seed=2), theta_of(kernel)
    expected = [[by_hand(kernel, theta, a, b) for b in B] for a in A]
    assert between(kernel, theta, A, B).k == pytest.approx(np.array(expected), abs=1e-13)


@EVERY
def test_they_are_the_same_alone_and_as_pairs(kernel):
    A, B, theta = points(5), points(3, seed=2), theta_of(kernel)
    K = between(kernel, theta, A, B).k
    scales = kernel.lengthscales(theta)
    assert kernel.values(theta, A / scales, B / scales) == pytest.approx(K, abs=1e-13)
    pairs = np.repeat(A, 3, axis=0), np.tile(B, (5, 1))
    assert kernel.of_pairs(theta, distances(kernel, *pairs))[0] == pytest.approx(K.ravel(), abs=1e-13)


@EVERY
def test_values_between_the_rows_of_one_set_are_a_correlation_matrix(kernel):
    X, theta = points(6), theta_of(kernel)
    K = between(kernel, theta, X, X).k
    assert pytest.approx(K.T, abs=1e-14) == K
    assert K.diagonal() == pytest.approx(np.ones(6), abs=1e-14)
    assert np.linalg.eigvalsh(K).min() > 0


@EVERY
@pytest.mark.parametrize("coincident", [False, True], ids=["apart", "coincident"])
def test_the_gradient_by_hyperparameters_agrees_with_finite_differences(kernel, coincident):
    A, B, theta = points(20), points(20, seed=2), theta_of(kernel)
    W = np.random.default_rng(3).standard_normal(20)
    if coincident:
        A[:3] = B[:3]
    apart = distances(kernel, A, B)
    gradient = kernel.of_pairs(theta, apart)[1](W)
    step = 1e-6
    for j in range(len(theta)):
        move = step * (np.arange(len(theta)) == j)
        up, down = (kernel.of_pairs(theta + sign * move, apart)[0] for sign in (1, -1))
        assert gradient[j] == pytest.approx((W * (up - down)).sum() / (2 * step), abs=1e-8)


@EVERY
@pytest.mark.parametrize("coincident", [False, True], ids=["apart", "coincident"])
def test_the_pullback_to_the_points_agrees_with_finite_differences(kernel, coincident):
    A, B, theta, W = points(3), points(5, seed=2), theta_of(kernel), points(3, 5, seed=3) - 0.5
    if coincident:
        A[0], B[1] = B[0], B[0]
    gradient = between(kernel, theta, A, B).pullback(W)
    step = 1e-6
    for j in range(4):
        move = step * (np.arange(4) == j)
        up, down = (between(kernel, theta, A + sign * move, B).k for sign in (1, -1))
        # At one place the kernel is a parabola, whose central difference is 0 as it should be.
        assert gradient[:, j] == pytest.approx((W * (up - down)).sum(1) / (2 * step), abs=1e-7)


@EVERY
def test_the_prior_lies_within_the_bounds_of_the_search(kernel):
    (mean, sd), (low, high) = kernel.prior(), kernel.bounds()
    assert mean.shape == sd.shape == low.shape == high.shape
    assert ((low < mean) & (mean < high) & (sd > 0)).all()
    assert kernel.lengthscales(mean) == pytest.approx(np.exp(mean)[kernel.groups])


def test_a_kernel_of_few_interactions_becomes_a_sum_and_a_product_at_the_ends_of_its_share():
    kernel, A, B = Anova(np.arange(4)), points(5), points(3, seed=2)
    each = [matern(np.square(A[:, [j]] - B[:, j]))[0] for j in range(4)]
    product = between(kernel, np.array([0.0, 0.0, 0.0, 0.0, 40.0]), A, B).k
    assert product == pytest.approx(np.prod(each, axis=0), abs=1e-12)
    share = 1e-9
    additive = between(kernel, np.array([0.0, 0.0, 0.0, 0.0, math.log(share)]), A, B).k
    assert (additive - 1.0) / share == pytest.approx(np.sum(each, axis=0) - 4, abs=1e-5)
