"""Functions from the prior: their covariance, and that their numbers are their own."""

import math

import pytest
import torch
from gpytorch.kernels import MaternKernel, PeriodicKernel, RBFKernel, ScaleKernel

from gp.errors import InvalidDataError
from gp.random_functions import SHARED_BY, RandomFunctions


@pytest.mark.parametrize("base", [MaternKernel(nu=1.5, ard_num_dims=2), RBFKernel()], ids=["Matern", "RBF"])
def test_their_covariance_is_the_kernel_within_four_standard_errors(base):
    kernel = ScaleKernel(base).double()
    kernel.outputscale = 3.0
    X, n_draws = torch.rand(4, 2), 400
    values = RandomFunctions(kernel, X, n_functions=n_draws * SHARED_BY, seed=0, n_features=64)(X)
    # functions that share their features are one draw
    draws = values.reshape(4, n_draws, SHARED_BY).movedim(0, 1)
    products = (draws @ draws.mT) / SHARED_BY
    error = products.std(0) / math.sqrt(len(draws))
    assert ((products.mean(0) - kernel(X).to_dense()).abs() < 4 * error).all()


def test_each_function_at_its_own_points_is_the_diagonal():
    functions = RandomFunctions(MaternKernel(nu=1.5), torch.rand(1, 2), n_functions=11, seed=0)
    X = torch.rand(11, 5, 2)
    torch.testing.assert_close(functions.each(X), torch.stack([functions(X[s])[:, s] for s in range(11)]))


def test_chunks_and_graphs_change_nothing():
    functions = RandomFunctions(MaternKernel(nu=1.5), torch.rand(1, 2), n_functions=3, seed=0)
    X = torch.rand(2, 1500, 2)  # more rows than are evaluated at once
    torch.testing.assert_close(functions(X), functions(X.clone().requires_grad_()))


def test_the_seed_decides_and_the_global_state_is_left_alone():
    X = torch.rand(4, 2)
    before = torch.get_rng_state()
    a, b, c = (RandomFunctions(RBFKernel(), X, n_functions=2, seed=seed)(X) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_a_kernel_without_known_features_is_refused():
    with pytest.raises(InvalidDataError, match="no random features are known of PeriodicKernel"):
        RandomFunctions(PeriodicKernel(), torch.rand(1, 2), n_functions=1, seed=0)


def test_the_first_functions_do_not_depend_on_how_many_there_are():
    X = torch.rand(4, 2)
    few, many = (RandomFunctions(RBFKernel(), X, n_functions=n, seed=0)(X) for n in (3, 20))
    torch.testing.assert_close(few, many[:, :3])
