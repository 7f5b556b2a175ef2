"""What the structured models share."""

import pytest
import torch

from gp.errors import InvalidDataError
from gp.models.base import OutcomeScale, check_inputs, check_test_inputs, warn_of_single_precision


def test_only_observed_outcomes_make_the_scale():
    Y = torch.tensor([[1.0, torch.nan], [5.0, torch.nan]])
    scale = OutcomeScale.of(Y)
    assert scale.offset == 3.0 and scale.scale == 2.0
    assert torch.equal(scale.restore(scale.standardise(Y)).nan_to_num(7.0), Y.nan_to_num(7.0))
    assert scale.restore_variance(torch.tensor(0.5)) == 2.0


@pytest.mark.parametrize("value", [0.0, 0.1, 1e12])
def test_equal_outcomes_have_a_scale_of_one(value):
    assert OutcomeScale.of(torch.full((7,), value)).scale == 1.0


def test_tiny_outcomes_keep_their_scale():
    assert OutcomeScale.of(torch.tensor([1e-9, 3e-9])).scale.item() == pytest.approx(1e-9)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (torch.zeros(3), r"train_X: expected `n x d` with n, d >= 1, got \(3,\)"),
        (torch.zeros(0, 2), r"got \(0, 2\)"),
        (torch.zeros(3, 2, dtype=torch.int64), "expected float64 or float32, got torch.int64"),
        (torch.tensor([[torch.inf]]), "expected finite values"),
    ],
)
def test_inputs_that_cannot_be_used_are_refused(X, message):
    with pytest.raises(InvalidDataError, match=message):
        check_inputs("train_X", X)


def test_inputs_of_two_dtypes_are_refused():
    with pytest.raises(InvalidDataError, match=r"expected torch.float64, as the other data, got torch.float32"):
        check_inputs("train_T", torch.zeros(2, 1, dtype=torch.float32), like=torch.zeros(1, dtype=torch.float64))


def test_test_inputs_of_another_width_are_refused():
    with pytest.raises(InvalidDataError, match=r"with d=3, got \(5, 2\)"):
        check_test_inputs(torch.zeros(5, 2), 3)


def test_single_precision_is_warned_of():
    with pytest.warns(UserWarning, match="Some model: float32 data"):
        warn_of_single_precision(torch.float32, "Some model")
    warn_of_single_precision(torch.float64, "Some model")  # warnings are errors here
