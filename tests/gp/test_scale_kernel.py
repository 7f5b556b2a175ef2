"""The kernel across scales."""

import math

import numpy as np
import pytest

from gp.scale_kernel import AcrossScales

GROUPS = np.array([0, 0, 1, 2])  # two features of one lengthscale, two scales
KERNEL = AcrossScales(GROUPS, n_scales=2, median=1.5)
THETA = np.log([0.7, 2.0, 3.0])


def points(seed, n):
    rng = np.random.default_rng(seed)
    return np.hstack([rng.random((n, 2)), np.eye(2)[rng.integers(2, size=n)]])


def by_hand(a, b):
    s = math.sqrt(5) * math.dist(a[:2], b[:2]) / 0.7
    shared = math.exp(-1 / 2.0**2) * math.exp(-1 / 3.0**2) if tuple(a[2:]) != tuple(b[2:]) else 1.0
    return (1 + s + s * s / 3) * math.exp(-s) * shared


def test_is_the_matern_times_a_correlation_of_rank_one():
    A, B = points(0, 6), points(1, 5)
    lengthscales = KERNEL.lengthscales(THETA)
    expected = [[by_hand(a, b) for b in B] for a in A]
    np.testing.assert_allclose(KERNEL.values(THETA, A / lengthscales, B / lengthscales), expected, rtol=1e-10)


def test_pairs_agree_with_matrices_and_their_gradient_with_differences():
    A = points(2, 8)
    rows, columns = np.tril_indices(8, -1)
    distances = np.zeros((3, len(rows)))
    for feature, group in zip(A.T, GROUPS, strict=True):
        distances[group] += np.square(feature[rows] - feature[columns])
    k, contract = KERNEL.of_pairs(THETA, distances)
    lengthscales = KERNEL.lengthscales(THETA)
    np.testing.assert_allclose(k, KERNEL.values(THETA, A / lengthscales, A / lengthscales)[rows, columns], rtol=1e-10)
    W = np.random.default_rng(3).standard_normal(len(k))
    step = 1e-6
    for i, slope in enumerate(contract(W)):
        up, down = THETA.copy(), THETA.copy()
        up[i] += step
        down[i] -= step
        numeric = W @ (KERNEL.of_pairs(up, distances)[0] - KERNEL.of_pairs(down, distances)[0]) / (2 * step)
        assert slope == pytest.approx(numeric, abs=1e-8)  # central differences lose about step²


def test_the_way_back_to_the_points_agrees_with_differences_and_moves_none_between_scales():
    A, B = points(4, 3), points(5, 6)
    lengthscales = KERNEL.lengthscales(THETA)
    W = np.random.default_rng(6).standard_normal((3, 6))
    gradient = KERNEL.between(THETA, A / lengthscales, B / lengthscales).pullback(W)
    step = 1e-6
    for column in range(2):
        moved = np.zeros_like(A)
        moved[:, column] = step
        up, down = (KERNEL.values(THETA, (A + s * moved) / lengthscales, B / lengthscales) for s in (1, -1))
        np.testing.assert_allclose(gradient[:, column], (W * (up - down)).sum(1) / (2 * step), atol=1e-7)
    assert not gradient[:, 2:].any()


def test_is_positive_definite_even_where_scales_share_nothing_or_everything():
    A = points(7, 30)
    for shared in (0.1, 50.0):
        theta = np.log([0.7, shared, shared])
        lengthscales = KERNEL.lengthscales(theta)
        K = KERNEL.values(theta, A / lengthscales, A / lengthscales)
        assert np.linalg.eigvalsh(K).min() > -1e-10
