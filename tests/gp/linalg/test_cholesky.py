"""Cholesky factors that survive rounding."""

import pytest
import torch

from gp.errors import GPError, NotPositiveDefiniteError
from gp.linalg.cholesky import JITTER, safe_cholesky


def random_spd(*shape, seed=0):
    A = torch.randn(*shape, shape[-1], dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return A @ A.mT + torch.eye(shape[-1], dtype=torch.float64)


@pytest.mark.parametrize("shape", [(1,), (5,), (2, 3, 4)], ids=str)
def test_a_positive_definite_matrix_is_factored_without_a_shift(shape):
    A = random_spd(*shape)
    L = safe_cholesky(A)
    assert torch.equal(L, torch.linalg.cholesky(A))


def test_a_singular_matrix_is_shifted_relative_to_its_diagonal():
    ones = 1e6 * torch.ones(4, 4, dtype=torch.float64)
    L = safe_cholesky(ones)
    shift = (L @ L.mT - ones).diagonal() / 1e6
    assert (shift - JITTER[torch.float64]).abs().max() < 1e-9  # one rounding of 1e6 is 1e-10


def test_only_the_failing_member_of_a_batch_is_shifted():
    good, bad = random_spd(3), torch.ones(3, 3, dtype=torch.float64)
    L = safe_cholesky(torch.stack([good, bad]))
    assert torch.equal(L[0], torch.linalg.cholesky(good))


def test_an_indefinite_matrix_is_refused_with_causes_and_cures():
    with pytest.raises(
        NotPositiveDefiniteError, match=r"K_XX \(2 x 2\) is not positive definite at jitter 0.0001.*\(a\)"
    ):
        safe_cholesky(torch.diag(torch.tensor([1.0, -1.0], dtype=torch.float64)), "K_XX")


def test_values_that_are_not_finite_are_named_as_the_cause():
    A = torch.eye(2, dtype=torch.float64)
    A[1, 0] = torch.nan
    with pytest.raises(GPError, match="not finite"):
        safe_cholesky(A)


def test_the_factor_can_be_differentiated():
    A = random_spd(3).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda S: safe_cholesky(0.5 * (S + S.mT)), A)
