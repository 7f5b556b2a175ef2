"""DeepSeek's rule: learning rate and batch size from the compute alone."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from typing_extensions import override

from bayesopt.errors import InvalidInputError
from bayesopt.laws.base import Law, Octaves, feature
from bayesopt.laws.step_law import Settings

_SD: Final = 1.5
"""Octaves that it is trusted to: on surfaces of other models its settings cost 0.03 nats, which is some two octaves."""


class DeepSeekRule(Law):
    """`lr = 0.3118 C^-0.125` and `0.2920 C^0.3271` tokens a batch, with `C = 6 N D` operations.

    Reference: Bi et al. 2024, "DeepSeek LLM", arXiv 2401.02954; the constants as they are quoted elsewhere.

    Example:
        >>> lr, batch_size = DeepSeekRule()(N=2.7e8, D=5e9)
        >>> f"{lr:.2e}, {batch_size:.0f} sequences"
        '1.35e-03, 218 sequences'
    """

    def __init__(self, *, sequence_length: float = 2048, sd: float = _SD) -> None:
        """Choose the units.

        Args:
            sequence_length: Tokens of a sequence; the batch size is given in sequences.
            sd: How far from the optimum it is believed to be, octaves.

        Raises:
            InvalidInputError: If one is not positive.
        """
        if not (sequence_length > 0 and sd > 0):
            raise InvalidInputError(
                f"DeepSeekRule: expected a positive sequence_length and sd, got {sequence_length!r} and {sd!r}."
            )
        self.sequence_length, self.sd = sequence_length, sd

    def __call__(self, N: float, D: float) -> Settings:
        """The settings in users' units, for N parameters and D tokens."""
        mean, _ = self.predict({"N": N, "D": D})
        return Settings(2.0 ** mean["lr"], 2.0 ** mean["batch_size"])

    @override
    def predict(self, features: Mapping[str, Any]) -> Octaves:
        """The settings in log2, as in `StepLaw.predict`."""
        N = feature(features, "N", "parameters without embeddings")
        compute = np.log2(6.0 * N * feature(features, "D", "training tokens"))
        lr = np.log2(0.3118) - 0.125 * compute
        batch = np.log2(0.2920 / self.sequence_length) + 0.3271 * compute
        return {"lr": float(lr), "batch_size": float(batch)}, {"lr": self.sd, "batch_size": self.sd}
