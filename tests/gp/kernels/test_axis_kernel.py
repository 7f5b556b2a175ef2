"""The default kernel of an axis knows the units of the axis."""

import math

import pytest
import torch

from gp.kernels.axis_kernel import axis_kernel

AXIS = torch.tensor([[0.0, 5.0], [1.0, 105.0], [2.0, 5.0]], dtype=torch.float64)


def test_priors_are_relative_to_the_range_of_each_feature():
    kernel = axis_kernel(AXIS, of_inputs=True).base_kernel
    prior = kernel.lengthscale_prior
    assert torch.allclose(prior.loc, torch.tensor([2.0, 100.0]).log() + math.sqrt(2) + 0.5 * math.log(2))
    assert torch.allclose(prior.scale, torch.tensor(math.sqrt(3)))
    assert torch.allclose(kernel.lengthscale, torch.tensor([[1.0, 50.0]]))
    time = axis_kernel(AXIS[:, :1], of_inputs=False)
    assert time.lengthscale_prior.loc.item() == pytest.approx(math.log(1.0))


def test_lengthscales_stay_above_a_fortieth_of_the_range():
    kernel = axis_kernel(AXIS, of_inputs=True).base_kernel
    kernel.raw_lengthscale.data.fill_(-50.0)
    assert torch.allclose(kernel.lengthscale, torch.tensor([[0.05, 2.5]]))


def test_a_feature_that_is_constant_has_the_range_one():
    kernel = axis_kernel(torch.full((3, 1), 7.0), of_inputs=False)
    assert kernel.lengthscale.item() == 0.5
    assert torch.isfinite(kernel(torch.full((3, 1), 7.0)).to_dense()).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_is_of_the_dtype_of_the_axis(dtype):
    kernel = axis_kernel(AXIS.to(dtype), of_inputs=True)
    assert kernel(AXIS.to(dtype)).to_dense().dtype == dtype
