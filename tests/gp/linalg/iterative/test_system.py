"""Rows of a kernel matrix and products with it."""

import pytest
import torch
from gpytorch.kernels import MaternKernel, PeriodicKernel, RBFKernel

from gp.errors import InvalidDataError
from gp.linalg.iterative import system as module
from gp.linalg.iterative.system import KernelSystem

pytestmark = pytest.mark.usefixtures("one_thread")

KEPT = {"kept": 2**31, "computed anew": 0}


@pytest.mark.parametrize("most_bytes", KEPT.values(), ids=KEPT)
@pytest.mark.parametrize("n", [1, 31, 32, 33, 100])
@pytest.mark.parametrize("kernel", [MaternKernel(nu=2.5), PeriodicKernel()], ids=["Matern", "of GPyTorch"])
def test_products_are_those_of_the_dense_matrix(n, most_bytes, kernel, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 500)  # columns in several chunks
    kernel, X, V, noise = kernel.double(), torch.rand(n, 2), torch.randn(n, 3), torch.rand(n) + 0.1
    order = torch.randperm(n)
    system = KernelSystem(kernel, X, noise, order=order, block_size=32, most_bytes=most_bytes)
    A = (kernel(X).to_dense() + torch.diag(noise)).detach()[order][:, order]
    torch.testing.assert_close(system.product(V), A @ V)
    torch.testing.assert_close(system.diagonal(), A.diagonal() - noise[order])
    rows = torch.zeros(n, dtype=torch.bool)
    for start in system.starts:
        block = system.block(torch.tensor(start))
        assert len(block) == system.block_size
        torch.testing.assert_close(block + torch.diag(noise[order])[start : start + len(block)], A[start : start + 32])
        rows[start : start + len(block)] = True
    assert rows.all()


@pytest.mark.parametrize("most_bytes", KEPT.values(), ids=KEPT)
def test_further_points_come_after_the_others(most_bytes):
    X, noise = torch.rand(50, 2), torch.rand(50) + 0.1
    order = torch.cat([torch.randperm(40), torch.arange(40, 50)])
    options = {"block_size": 32, "most_bytes": most_bytes}
    grown = KernelSystem(RBFKernel(), X[:40], noise[:40], order=order[:40], **options).extended(X[40:], noise[40:])
    whole = KernelSystem(RBFKernel(), X, noise, order=order, **options)
    V = torch.randn(50, 2)
    torch.testing.assert_close(grown.product(V), whole.product(V))
    assert torch.equal(grown.order, order) and torch.equal(grown.inverse_order, whole.inverse_order)
    assert grown.is_kept == whole.is_kept and grown.starts == whole.starts == [0, 18]


def test_a_large_matrix_is_kept_in_single_precision(monkeypatch):
    monkeypatch.setattr(module, "FULL_PRECISION_BYTES", 100)
    X = torch.rand(20, 2)
    system = KernelSystem(RBFKernel(), X, torch.ones(20))
    assert system.row_dtype == torch.float32
    V = torch.randn(20, 2)
    exact = system.kernel(X).to_dense() @ V + V
    assert system.product(V).dtype == torch.float64
    torch.testing.assert_close(system.product(V), exact, rtol=0.0, atol=20 * 6e-8 * 4)  # rounding of 20 sums


def test_the_kernel_is_that_of_the_moment():
    kernel, X = RBFKernel(), torch.rand(10, 1)
    system = KernelSystem(kernel, X, torch.ones(10), most_bytes=0)
    before = system.product(X)
    kernel.lengthscale = 0.01
    assert torch.equal(system.product(X), before)


def test_impossible_systems_are_refused():
    X = torch.rand(3, 1)
    with pytest.raises(InvalidDataError, match="expected positive variances, the least is 0"):
        KernelSystem(RBFKernel(), X, torch.tensor([1.0, 0.0, 1.0]))
    with pytest.raises(InvalidDataError, match=r"expected `n x d` and `n` with n >= 1, got \(3, 1\), \(2,\)"):
        KernelSystem(RBFKernel(), X, torch.ones(2))
