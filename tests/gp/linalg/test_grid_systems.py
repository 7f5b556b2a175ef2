"""Each way to solve with the covariance of a grid's observed cells, against the dense matrix of those cells."""

import pytest
import torch

from gp.linalg import grid_systems
from gp.linalg.grid_systems import FewCells, FewHoles, FullGrid, ManyHoles, UnevenNoise, kind_of_system
from gp.linalg.kronecker import observed_covariance

SIZES = pytest.mark.parametrize("sizes", [(8, 7), (4, 3, 5), (12,)], ids=str)
SCALAR = torch.tensor(0.05)


def problem(sizes, missing=0.2, uneven=False):
    generator = torch.Generator().manual_seed(2)
    axes = [torch.rand(n, 1, generator=generator) for n in sizes]
    lengths = torch.full((len(sizes),), 0.4, requires_grad=True)
    covariances = [torch.exp(-(((x - x.mT) / length) ** 2) / 2) for x, length in zip(axes, lengths, strict=True)]
    observed = torch.rand(sizes, generator=generator) >= missing
    noise = 0.02 + torch.rand(sizes, generator=generator) if uneven else SCALAR.clone()
    if uneven:
        noise[~observed] = torch.nan  # nobody knows the noise of what was not observed
    return covariances, noise, observed, lengths, generator


@SIZES
@pytest.mark.parametrize(
    ("kind", "missing", "uneven"),
    [
        (FullGrid, 0.0, False),
        (FewHoles, 0.2, False),
        (ManyHoles, 0.2, False),
        (FewCells, 0.2, False),
        (FewCells, 0.2, True),
        (UnevenNoise, 0.2, True),
    ],
)
def test_solutions_are_those_of_the_dense_matrix(sizes, kind, missing, uneven):
    covariances, noise, observed, _, generator = problem(sizes, missing, uneven)
    variances = noise[observed] if uneven else noise
    A = observed_covariance(covariances, variances, observed.nonzero()).detach()
    R = torch.randn(3, *sizes, generator=generator)
    solution = kind(covariances, noise, observed).solve(R)
    assert not solution[:, ~observed].any()
    expected = torch.linalg.solve(A, R[:, observed].mT).mT
    # conjugate gradients stop at a relative residual of 1e-9; the condition number is below 1e3
    assert torch.allclose(solution[:, observed], expected, rtol=1e-6, atol=1e-6)


@SIZES
@pytest.mark.parametrize(
    ("kind", "missing", "uneven"),
    [
        (FullGrid, 0.0, False),
        (FewHoles, 0.2, False),
        (ManyHoles, 0.2, False),
        (FewCells, 0.2, True),
        (UnevenNoise, 0.2, True),
    ],
)
@pytest.mark.parametrize("chunk", [1, 10**6])
def test_explained_variances_and_their_derivatives_are_those_of_the_dense_matrix(
    sizes, kind, missing, uneven, chunk, monkeypatch
):
    monkeypatch.setattr(grid_systems, "_CHUNK", chunk)
    covariances, noise, observed, _, generator = problem(sizes, missing, uneven)
    A = observed_covariance(covariances, noise[observed] if uneven else noise, observed.nonzero()).detach()
    crosses = [torch.randn(2 + i, n, generator=generator, requires_grad=True) for i, n in enumerate(sizes)]
    rows = crosses[0]
    for C in crosses[1:]:
        rows = torch.kron(rows, C)
    rows = rows[:, observed.flatten()]
    expected = (rows * torch.linalg.solve(A, rows.mT).mT).sum(1).reshape([len(C) for C in crosses])
    explained = kind(covariances, noise, observed).explained(crosses)
    assert torch.allclose(explained, expected, rtol=1e-6)
    weights = torch.rand(expected.shape, generator=generator)
    gradients = (torch.autograd.grad((v * weights).sum(), crosses) for v in (explained, expected))
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kind", "uneven"), [(ManyHoles, False), (UnevenNoise, True)])
def test_the_mean_of_the_estimated_gradients_is_the_gradient(kind, uneven, one_thread):
    covariances, noise, observed, lengths, generator = problem((8, 7), 0.3, uneven)
    noise = noise.requires_grad_() if not uneven else noise
    Y = torch.where(observed, torch.randn(observed.shape, generator=generator), 0.0)
    wanted = [lengths] if uneven else [lengths, noise]

    def gradient(kind, seed):
        value = kind.evidence(covariances, noise, Y, observed, seed)
        return torch.cat([g.reshape(-1) for g in torch.autograd.grad(value, wanted, retain_graph=True)])

    exact = gradient(FewCells, 0)
    estimates = torch.stack([gradient(kind, seed) for seed in range(80)])
    error = (estimates.mean(0) - exact).abs()
    assert (error < 4 * estimates.std(0) / 80**0.5).all()


def test_the_cheapest_exact_method_is_taken_and_an_iterative_one_where_there_is_none(monkeypatch):
    full, holes = torch.ones(10, 10, dtype=torch.bool), torch.ones(10, 10, dtype=torch.bool)
    holes[0, :5] = False
    uneven = torch.ones(10, 10)
    assert kind_of_system(SCALAR, full) is FullGrid
    assert kind_of_system(SCALAR, holes) is FewHoles
    assert kind_of_system(uneven, holes) is FewCells
    monkeypatch.setattr(grid_systems, "FEW_MISSING", 4)
    assert kind_of_system(SCALAR, holes) is FewCells
    monkeypatch.setattr(grid_systems, "FEW_OBSERVED", 50)
    assert kind_of_system(SCALAR, holes) is ManyHoles
    assert kind_of_system(uneven, holes) is UnevenNoise


def test_a_shift_that_was_needed_is_told():
    ones = [torch.ones(4, 4), torch.ones(3, 3)]
    observed = torch.ones(4, 3, dtype=torch.bool)
    assert FewCells(ones, torch.tensor(1e-18), observed).jitter > 0
    assert FewCells(ones, torch.tensor(1e-2), observed).jitter == 0
