"""Leave-one-out predictions against leaving one out."""

import pytest
import torch

from inference.diagnostics import loo_gaussian
from inference.errors import InvalidInputError


def test_is_what_the_others_predict():
    X, r = torch.rand(12, 2), torch.randn(2, 12)
    K = torch.exp(-torch.cdist(X, X).square()) + 0.1 * torch.eye(12)
    mean, variance = loo_gaussian(K, r)
    for i in range(12):
        rest = [j for j in range(12) if j != i]
        weight = torch.linalg.solve(K[rest][:, rest], K[rest, i])
        assert torch.allclose(mean[:, i], r[:, rest] @ weight, atol=1e-9)
        assert float(variance[i]) == pytest.approx(float(K[i, i] - K[i, rest] @ weight), abs=1e-9)


def test_a_matrix_that_is_no_covariance_is_refused():
    with pytest.raises(InvalidInputError, match="positive definite"):
        loo_gaussian(torch.tensor([[1.0, 2.0], [2.0, 1.0]]), torch.zeros(2))
    with pytest.raises(InvalidInputError, match=r"\(3,\)"):
        loo_gaussian(torch.eye(2), torch.zeros(3))
