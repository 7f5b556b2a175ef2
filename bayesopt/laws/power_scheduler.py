"""The power scheduler: a learning rate that falls with the tokens seen, whatever the length of the run."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from typing_extensions import override

from bayesopt.errors import InvalidInputError
from bayesopt.laws.base import Law, Octaves, feature

_SD: Final = 1.0
"""Octaves that it is trusted to; a and b are to be tuned at a small scale."""


class PowerScheduler(Law):
    """`lr(n) = min(lr_max, batch_size a n^b)` after n tokens, with a and b about the same for every size of model.

    Its best constant learning rate for a run of D tokens is the value at D. Made for warm-up, plateau and decay, with
    widths transferred by muP. The defaults are those of a third party's implementation.

    Reference: Shen et al. 2024, "Power Scheduler", arXiv 2408.13359.

    Example:
        >>> PowerScheduler()(tokens=1e10, batch_size=128)
        0.004...
    """

    def __init__(self, a: float = 4.0, b: float = -0.51, lr_max: float = 0.02, *, sd: float = _SD) -> None:
        """Choose its constants.

        Args:
            a: Amplitude for a batch of one sequence.
            b: Exponent, negative.
            lr_max: Largest learning rate.
            sd: How far from the optimum it is believed to be, octaves.

        Raises:
            InvalidInputError: If a sign is wrong.
        """
        if not (a > 0 and b < 0 and lr_max > 0 and sd > 0):
            raise InvalidInputError(
                f"PowerScheduler: expected a > 0, b < 0, lr_max > 0 and sd > 0, got {a!r}, {b!r}, {lr_max!r}, {sd!r}."
            )
        self.a, self.b, self.lr_max, self.sd = a, b, lr_max, sd

    def __call__(self, tokens: float, batch_size: float) -> float:
        """The learning rate.

        Args:
            tokens: Seen so far.
            batch_size: Sequences.

        Returns:
            It.
        """
        return min(self.lr_max, self.a * batch_size * tokens**self.b)

    @override
    def predict(self, features: Mapping[str, Any]) -> Octaves:
        """log2 of "lr" at the end of a run.

        Args:
            features: "D" training tokens, and "batch_size" in sequences.

        Returns:
            It, and its standard deviation in octaves.
        """
        tokens = feature(features, "D", "training tokens")
        lr = self(tokens, feature(features, "batch_size", "sequences in a batch"))
        return {"lr": float(np.log2(lr))}, {"lr": self.sd}
