"""How many threads small linear algebra gets: one."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def single_threaded() -> Iterator[None]:
    """Compute on one thread within the block, then as before.

    With a few hundred trials a matrix product is over before a second thread has woken up, and where something else
    already computes on every core, as a training run beside the tuner does, waiting for each other's threads costs ten
    times the work itself. One thread also adds in one order, so that a result does not depend on the number of cores.

    Yields:
        Nothing.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
