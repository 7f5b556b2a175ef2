"""The chance that a point is feasible: tails, joint bounds and numbers of regions against formulas and integrals."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm
from scipy.stats import t as student

from bayesopt.acquisition.log_chance import LogChance, Tail, largest_eigenvalue
from bayesopt.problem.parameters import Choice, Float
from bayesopt.problem.space import Space
from bayesopt.surrogate import FeatureMap
from gp.models.exact import ExactGP

pytestmark = pytest.mark.usefixtures("one_thread")

PLANE = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})


def model_of(n=9, seed=0, noise=0.0):
    rng = np.random.default_rng(seed)
    X = rng.random((n, 2))
    Y = 1.0 + np.sin(5.0 * X[:, :1]) + X[:, 1:] ** 2
    return ExactGP(torch.as_tensor(X), torch.as_tensor(Y), noise=noise)


def test_a_tail_is_universal_kriging_with_students_distribution():
    model, Z = model_of(), np.random.default_rng(1).random((6, 2))
    regression, theta = model.regression, model.hyperparameters
    lengthscales = np.exp(theta)
    X, y, n = regression.X, regression.y, len(regression.y)
    K = regression.kernel.values(theta, X / lengthscales, X / lengthscales) + np.diag(regression.diagonal(theta))
    k = regression.kernel.values(theta, Z / lengthscales, X / lengthscales)
    inverse, ones = np.linalg.inv(K), np.ones(n)
    mean = (ones @ inverse @ y) / (ones @ inverse @ ones)
    residual = y - mean
    spread = max(1.0, residual @ inverse @ residual / (n - 1))
    short = 1.0 - k @ inverse @ ones
    variance = spread * (1.0 - np.einsum("ij,jk,ik->i", k, inverse, k) + short**2 / (ones @ inverse @ ones))
    above = 0.3
    expected = mean + k @ inverse @ residual + (model.offset - above) / model.scale
    at = Tail(model, above=above).at(Z)
    # The condition number of K is about 1e5.
    assert at.mean == pytest.approx(expected, rel=1e-6)
    assert at.sd == pytest.approx(np.sqrt(variance), rel=1e-6)
    u = expected / np.sqrt(variance)
    # At 8 degrees of freedom, and so far out, Wallace's approximation of a quantile is good to about a hundredth.
    assert u.max() > 10
    assert at.z == pytest.approx(norm.isf(student.sf(u, n - 1)), rel=1.5e-2, abs=2e-3)


def test_learned_noise_counts_as_variation():
    model = model_of(noise=None)
    quiet, loud = model.hyperparameters.copy(), model.hyperparameters.copy()
    quiet[-1], loud[-1] = math.log(1e-7), math.log(0.04)
    Z = model.regression.X[:1]
    assert Tail(model, quiet).at(Z).sd[0] < 0.01
    assert Tail(model, loud).at(Z).sd[0] > 0.2


@pytest.mark.parametrize("eigenvalue", [1.0, 1.7, 2.0])
def test_gradients_agree_with_finite_differences(eigenvalue):
    chance = LogChance([Tail(model_of(seed=0)), Tail(model_of(seed=1), above=0.8)], FeatureMap(PLANE), eigenvalue)
    U = np.random.default_rng(2).random((8, 2))
    value, gradient = chance.value_and_gradient(U)
    assert value == pytest.approx(chance.values(U))
    step = 1e-6
    for j in range(2):
        up, down = (chance.values(U + move * np.eye(2)[j]) for move in (step, -step))
        # Values of some tens, rounded at 1e-15, over a step of 1e-6; curvature times step² is less.
        assert gradient[:, j] == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.7, 0.95])
@pytest.mark.parametrize("levels", [(0.5, 0.5), (1.0, 2.0), (2.5, 2.5)], ids=str)
def test_the_bound_holds_for_correlated_normals_and_is_exact_for_independent_ones(correlation, levels):
    covariance = np.array([[1.0, correlation], [correlation, 1.0]])
    truth = multivariate_normal(cov=covariance, allow_singular=True).cdf(-np.array(levels))
    stub = LogChance([], FeatureMap(PLANE), float(np.linalg.eigvalsh(covariance)[-1]))
    bound = math.exp(stub._combined(norm.logcdf(-np.array([levels])))[0][0])
    assert bound >= truth * (1 - 1e-4)  # the integral's own error
    if correlation == 0.0:
        assert bound == pytest.approx(truth, rel=1e-4)


def test_constraints_that_are_one_and_the_same_count_once():
    rng = np.random.default_rng(0)
    white = rng.standard_normal((200, 2))
    margins = np.ones((200, 2))

    def eigenvalue(a, b, margins=margins):
        return largest_eigenvalue(margins, [SimpleNamespace(white=a), SimpleNamespace(white=b)])

    assert eigenvalue(white[:, 0], white[:, 0]) == pytest.approx(2.0)
    # The correlation of 200 independent pairs has standard error 0.07.
    assert 1.0 <= eigenvalue(white[:, 0], white[:, 1]) < 1.0 + 4 * 0.07
    few = np.full((200, 2), np.nan)
    few[:, 0], few[:4, 1] = 1.0, 1.0
    assert eigenvalue(white[:, 0], white[:4, 1], few) == 2.0


class FlatTail:
    """A process that no trial was near: the same level everywhere."""

    def __init__(self, level, lengthscales):
        self.level, self.lengthscales = level, np.array(lengthscales)

    def at(self, Z):
        return SimpleNamespace(z=np.full(len(Z), self.level))


@pytest.mark.parametrize("level", [2.5, 3.0, 4.0])
def test_on_a_line_the_regions_are_as_many_as_rices_formula_counts(level):
    line, lengthscale = Space({"x": Float(0.0, 1.0)}), 0.02
    chance = LogChance([FlatTail(level, [lengthscale])], FeatureMap(line), 1.0)
    log_chance, n_regions = chance.log_chance_and_regions(np.zeros((1, 1)))
    crossings = math.sqrt(5.0 / 3.0) / lengthscale / (2.0 * math.pi) * math.exp(-0.5 * level**2)
    expected = norm.sf(level) + crossings  # it starts above the level, or crosses it upwards
    # phi / u stands for the tail probability, which is 1 / u² less; so much the bound may be short.
    assert math.exp(log_chance[0]) * n_regions[0] == pytest.approx(expected, rel=1.2 / level**2)


def test_options_make_no_more_regions_than_there_are_options():
    space = Space({"c": Choice([*"abcde"]), "x": Float(0.0, 1.0)})
    features = FeatureMap(space)
    chance = LogChance([FlatTail(3.0, [0.01] * 5 + [1e6])], features, 1.0)
    _, n_regions = chance.log_chance_and_regions(np.full((1, 2), 0.5))
    assert n_regions[0] == pytest.approx(5.0, rel=1e-4)


def test_a_tail_reads_other_hyperparameters_and_leaves_the_model_alone():
    model = model_of()
    before = model.hyperparameters.copy()
    shorter = Tail(model, before - 1.0)
    assert np.array_equal(model.hyperparameters, before)
    assert shorter.lengthscales == pytest.approx(Tail(model).lengthscales / math.e)
