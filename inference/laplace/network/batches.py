"""Data in batches that can be gone over again and again, on the device of the network."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.errors import InvalidInputError

Batches = Iterable[tuple[Tensor, Tensor]]
"""Batches of points and observations, such as a `DataLoader`."""


def as_batches(X: Tensor | Batches, Y: Tensor | None, size: int, device: torch.device) -> Batches:
    """Points and observations in batches.

    Args:
        X: Points, `n x ...`, or batches of points and observations.
        Y: Observations, n of them; None with batches.
        size: Points of a batch, where X is not in batches.
        device: Where batches of another's are taken to.

    Returns:
        Batches.

    Raises:
        InvalidInputError: If X and Y do not fit, or batches can be gone over only once.
    """
    if not isinstance(X, Tensor):
        if Y is not None:
            raise InvalidInputError("Y: expected None where X is batches of points and observations.")
        if iter(X) is X:
            raise InvalidInputError("X: expected a DataLoader or a list of batches: they are gone over repeatedly.")
        return _Moved(X, device)
    if Y is None or len(Y) != len(X):
        raise InvalidInputError(f"Y: expected {len(X)} observations, got {None if Y is None else len(Y)}.")
    return list(zip(X.split(size), Y.split(size), strict=True))


@dataclass(frozen=True)
class _Moved:
    batches: Batches
    device: torch.device

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for x, y in self.batches:
            yield x.to(self.device), y.to(self.device)
