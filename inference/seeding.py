"""Where randomness comes from: generators of our own, and a seed for a while for code that draws globally."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


def as_generator(seed: int | torch.Generator) -> torch.Generator:
    """A generator as it is, or a new one of the CPU that starts at a seed."""
    return seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)


def normals(shape: Sequence[int], generator: torch.Generator, like: Tensor) -> Tensor:
    """Standard normal numbers, drawn where the generator lives: one of the CPU gives the same numbers on any device.

    Args:
        shape: How many.
        generator: What they are drawn from.
        like: Of the dtype and on the device that they are wanted.

    Returns:
        Of the given shape.
    """
    return torch.randn(*shape, generator=generator, dtype=like.dtype, device=generator.device).to(like.device)


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
