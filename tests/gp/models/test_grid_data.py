"""Observations that come into a grid later."""

import pytest
import torch

from gp.errors import InvalidDataError
from gp.models.grid_data import check_noise, with_rows

NAN = torch.nan


def test_two_observations_of_one_new_point_share_a_row_where_they_do_not_meet():
    axis, Y = torch.tensor([[0.0]]), torch.tensor([[1.0, 2.0, 3.0]])
    X = torch.tensor([[5.0], [5.0], [5.0]])
    new = torch.tensor([[4.0, NAN, NAN], [NAN, 5.0, NAN], [6.0, NAN, NAN]])
    grown, (values,) = with_rows(axis, [Y], X, [new])
    assert torch.equal(grown, torch.tensor([[0.0], [5.0], [5.0]]))
    expected = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, NAN], [6.0, NAN, NAN]])
    assert torch.equal(values.nan_to_num(-1.0), expected.nan_to_num(-1.0))


def test_what_goes_with_the_values_goes_the_same_way():
    axis, Y, Yvar = torch.tensor([[0.0]]), torch.tensor([[1.0, NAN]]), torch.tensor([[0.1, NAN]])
    grown, (values, variances) = with_rows(
        axis, [Y, Yvar], torch.zeros(1, 1), [torch.tensor([[NAN, 2.0]]), torch.tensor([[9.0, 0.2]])]
    )
    assert len(grown) == 1
    assert torch.equal(values, torch.tensor([[1.0, 2.0]]))
    assert torch.equal(variances, torch.tensor([[0.1, 0.2]]))
    assert Y.isnan().any()  # what was given is left alone


def test_a_variance_is_needed_only_where_something_was_observed():
    Y = torch.tensor([1.0, NAN])
    check_noise(torch.tensor([0.1, NAN]), Y)
    with pytest.raises(InvalidDataError, match="a finite variance >= 0 for every observed value"):
        check_noise(torch.tensor([NAN, 0.1]), Y)
