"""The Step Law: learning rate and batch size of a language model from its size and its tokens."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from typing_extensions import override

from bayesopt.errors import InvalidInputError
from bayesopt.laws.base import Law, Octaves, feature

_SD: Final = 0.55
"""Octaves between the formula and the best grid point, bias included, on twelve dense language models."""


class Settings(NamedTuple):
    """Settings in users' units."""

    lr: float
    """Peak learning rate."""
    batch_size: float
    """Sequences."""


class StepLaw(Law):
    """`lr = 1.79 N^-0.713 D^0.307` and `0.58 D^0.571` tokens a batch.

    For AdamW, a warm-up, then a decay to a fixed final learning rate of 1e-5; seen to hold for 215M to 1.07B dense
    parameters and 2 to 100 billion tokens, within about half an octave. Of a mixture of experts take all parameters.

    Reference: Li et al. 2025, "Predictable Scale: Part I", arXiv 2503.04715.

    Example:
        >>> lr, batch_size = StepLaw()(N=268_304_384, D=5e9)
        >>> f"{lr:.3e}, {batch_size:.1f} sequences"
        '1.663e-03, 97.8 sequences'
    """

    def __init__(
        self,
        *,
        sequence_length: float = 2048,
        lr: tuple[float, float, float] = (1.79, -0.713, 0.307),
        batch: tuple[float, float] = (0.58, 0.571),
        sd: float = _SD,
        curvature: Mapping[tuple[str, str], float] | None = None,
    ) -> None:
        """Take the published constants, or those of another fit.

        Args:
            sequence_length: Tokens of a sequence; the batch size is given in sequences.
            lr: Factor, exponent of N and exponent of D.
            batch: Factor and exponent of D, of the batch in tokens.
            sd: How far from the optimum it is believed to be, octaves.
            curvature: Nats per octave squared by pair of names; None for `laws.bowl.CURVATURE`.

        Raises:
            InvalidInputError: If the sequence length, a factor or the sd is not positive.
        """
        for name, value in (("sequence_length", sequence_length), ("lr", lr[0]), ("batch", batch[0]), ("sd", sd)):
            if not value > 0:
                raise InvalidInputError(f"StepLaw({name}=...): expected a positive number, got {value!r}.")
        self.sequence_length, self.lr, self.batch, self.sd = sequence_length, lr, batch, sd
        if curvature is not None:
            self.curvature = curvature

    def __call__(self, N: float, D: float) -> Settings:
        """The settings in users' units.

        Args:
            N: Parameters without embeddings.
            D: Training tokens.

        Returns:
            Learning rate, and batch size in sequences.
        """
        mean, _ = self.predict({"N": N, "D": D})
        return Settings(2.0 ** mean["lr"], 2.0 ** mean["batch_size"])

    @override
    def predict(self, features: Mapping[str, Any]) -> Octaves:
        """The settings in log2.

        Args:
            features: "N" parameters without embeddings, and "D" training tokens.

        Returns:
            log2 of "lr", and of "batch_size" in sequences, with standard deviations in octaves.
        """
        log_N = np.log2(feature(features, "N", "parameters without embeddings"))
        log_D = np.log2(feature(features, "D", "training tokens"))
        factor, of_N, of_D = self.lr
        lr = np.log2(factor) + of_N * log_N + of_D * log_D
        batch = np.log2(self.batch[0] / self.sequence_length) + self.batch[1] * log_D
        return {"lr": float(lr), "batch_size": float(batch)}, {"lr": self.sd, "batch_size": self.sd}
