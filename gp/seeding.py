"""A random state of our own for code that draws from torch's global one, as much of BoTorch does."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from a global state that starts at a seed within the block, and leave the one that was there before.

    Args:
        seed: What the block's random numbers depend on, and all that they depend on.

    Yields:
        Nothing.
    """
    # A device that was not used yet has no state, and forking would start it.
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also seed devices that start later
        if devices:
            torch.cuda.manual_seed_all(seed)
        yield
