"""The mode: found, bounded, and honest about not having been found."""

import pytest
import torch

import inference
from inference.errors import InvalidInputError


def rosenbrock(z):
    return -((1 - z[:, 0]) ** 2 + 100 * (z[:, 1] - z[:, 0] ** 2) ** 2)


def test_finds_the_maximum_at_the_end_of_a_curved_valley():
    found = inference.find_map(inference.from_callable(rosenbrock, 2), torch.tensor([[-1.2, 1.0]]))
    assert found.converged
    assert torch.allclose(found.z, torch.ones(2), atol=1e-4)  # L-BFGS stops at decreases of 1e-9
    assert found.value == pytest.approx(0.0, abs=1e-8)


def test_takes_the_best_of_its_starts():
    two = inference.from_callable(lambda z: torch.logaddexp(-50 * (z[:, 0] + 1) ** 2, 1 - 50 * (z[:, 0] - 1) ** 2), 1)
    starts = torch.tensor([[-1.1], [1.1]])
    assert inference.find_map(two, starts[:1]).z.item() == pytest.approx(-1.0, abs=1e-4)
    assert inference.find_map(two, starts).z.item() == pytest.approx(1.0, abs=1e-4)


def test_a_bound_that_holds_the_maximum_back_is_no_slope_left():
    bowl = inference.from_callable(lambda z: -(z - 3).square().sum(1), 2)
    found = inference.find_map(bowl, torch.zeros(1, 2), bounds=torch.tensor([[-1.0, -1.0], [1.0, 5.0]]))
    assert found.z.tolist() == pytest.approx([1.0, 3.0], abs=1e-6)
    assert found.grad_norm < 1e-5


def test_a_search_that_ran_out_says_so():
    found = inference.find_map(inference.from_callable(rosenbrock, 2), torch.tensor([[-1.2, 1.0]]), max_iterations=2)
    assert not found.converged


def test_impossible_points_are_stepped_back_from_and_impossible_starts_refused():
    log = inference.from_callable(lambda z: z[:, 0].log() - z[:, 0], 1)  # a gamma density: nan where z < 0
    assert inference.find_map(log, torch.tensor([[8.0]])).z.item() == pytest.approx(1.0, abs=1e-4)
    with pytest.raises(InvalidInputError, match="all 1 of them"):
        inference.find_map(log, torch.tensor([[-1.0]]))
    with pytest.raises(InvalidInputError, match="dim=1"):
        inference.find_map(log, torch.zeros(1, 3))
