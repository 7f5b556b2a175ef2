"""How many threads small linear algebra gets: one."""

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import scipy.linalg  # noqa: F401  # loads scipy's BLAS, so that it is found and limited with numpy's
import torch
from threadpoolctl import OpenBLASController, ThreadpoolController

_LOCK: Final = threading.Lock()
_BLOCKS: Final[list[int]] = []
"""For each thread within a block, in the order of their entering, how many threads torch had there before."""
_LIMITS: Final[list[Any]] = []
"""While there are blocks: what puts BLAS back to what the first of them found."""
_HERE: Final = threading.local()


@functools.cache
def _controller() -> Any:
    # Of BLAS alone: to restore sets every library that was selected, and torch's OpenMP is set by torch.
    return ThreadpoolController().select(user_api="blas")


@contextmanager
def single_threaded() -> Iterator[None]:
    """Compute on one thread within the block, then as before.

    With a few hundred trials a matrix product is over before a second thread has woken up, and where something else
    already computes on every core, as a training run beside the tuner does, waiting for each other's threads costs ten
    times the work itself. One thread also adds in one order, so that a result does not depend on the number of cores.

    BLAS has one setting for the process: of blocks that overlap, in several threads, the first sets and the last
    restores. Torch has one for each thread, and a thread that it meets for the first time starts from the one set last.

    Yields:
        Nothing.
    """
    if getattr(_HERE, "inside", False):
        yield
        return
    with _LOCK:
        if not _BLOCKS:
            _LIMITS.append(_controller().limit(limits=1))
            _let_go()
        before = torch.get_num_threads()
        # A thread that torch met while other blocks ran was given their 1.
        before = before if before > 1 or not _BLOCKS else _BLOCKS[0]
        _BLOCKS.append(before)
        torch.set_num_threads(1)
    _HERE.inside = True
    try:
        yield
    finally:
        _HERE.inside = False
        with _LOCK:
            _BLOCKS.remove(before)
            torch.set_num_threads(before)
            if not _BLOCKS:
                _LIMITS.pop().restore_original_limits()
                _let_go()


def _let_go() -> None:
    """Let another thread restore: OpenBLAS' threads obey the one that limited them alone, until that lets go."""
    OpenBLASController.clear_controlling_thread()
