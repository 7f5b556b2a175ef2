"""Conjugate gradients against a direct solution."""

import pytest
import torch

from gp.linalg.conjugate_gradients import conjugate_gradients


def system(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    A = torch.randn(n, n, generator=generator)
    return A @ A.mT + 0.1 * torch.eye(n), torch.randn(3, n, generator=generator)


@pytest.mark.parametrize("preconditioned", [False, True])
def test_solves_every_right_hand_side(preconditioned):
    A, right = system(30)
    inverse_diagonal = 1.0 / A.diagonal()
    x = conjugate_gradients(
        lambda v: v @ A, right, precondition=(lambda v: v * inverse_diagonal) if preconditioned else None
    )
    # relative residual 1e-9, and what the condition number of about 1e3 makes of it
    assert torch.allclose(x, torch.linalg.solve(A, right.mT).mT, atol=1e-5)
    assert ((x @ A - right).norm(dim=-1) <= 1.1e-9 * right.norm(dim=-1)).all()


def test_a_right_hand_side_of_zeros_has_the_solution_zero_beside_others():
    A, right = system(10)
    right[1] = 0.0
    x = conjugate_gradients(lambda v: v @ A, right)
    assert torch.equal(x[1], torch.zeros(10))
    assert torch.isfinite(x).all()


def test_running_out_of_products_is_warned_of():
    A, right = system(30)
    with pytest.warns(UserWarning, match="left a relative residual of .* after 3 products"):
        conjugate_gradients(lambda v: v @ A, right, max_iterations=3)
