"""A random state of one's own leaves the global one as it was."""

import pytest
import torch

from inference.seeding import seeded


def test_a_block_draws_what_its_seed_says_whatever_came_before():
    draws = []
    for _ in range(2):
        torch.rand(3)
        with seeded(7):
            draws.append(torch.rand(5))
    assert torch.equal(*draws)


def test_the_state_before_comes_back_even_after_an_error():
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), seeded(0):
        torch.rand(3)
        1 / 0  # noqa: B018
    assert torch.equal(torch.get_rng_state(), before)
