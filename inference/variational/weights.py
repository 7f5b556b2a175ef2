"""What an objective sees: the log densities of the particles.

Alphabet. K: particles. B: members of the independent plate, 1 where there is none. w: importance weights, p over q.
"""

from collections.abc import Callable

from torch import Tensor


class Weights:
    """Log densities of K draws of a guide, under the model (with the data) and under the guide itself.

    Example:
        >>> import torch
        >>> weights = Weights(torch.tensor([[-1.0], [-2.0]]), torch.tensor([[-0.5], [-0.5]]))
        >>> weights.log_w[:, 0]
        tensor([-0.5000, -1.5000])
    """

    def __init__(
        self,
        log_p: Tensor,
        log_q: Tensor,
        *,
        held: Callable[[], Tensor] | None = None,
        scale_paths: Callable[[Tensor], None] | None = None,
    ) -> None:
        """Keep the parts.

        Args:
            log_p: Log joint density of draws and data, `K x B`.
            log_q: Log density of the draws under the guide, `K x B`.
            held: Computes the latter once more with the guide's parameters held fixed; None where they do not matter.
            scale_paths: Takes the factors of `scale_paths`; None where no gradient runs through the draws.
        """
        self.log_p, self.log_q = log_p, log_q
        self._held, self._scale_paths = held, scale_paths

    @property
    def log_w(self) -> Tensor:
        """Log importance weights, `K x B`."""
        return self.log_p - self.log_q

    @property
    def log_q_held(self) -> Tensor:
        """`log_q` with the guide's parameters held fixed: its gradient runs through the draws alone, `K x B`."""
        return self.log_q if self._held is None else self._held()

    def scale_paths(self, factors: Tensor) -> None:
        """Multiply what later flows back through each particle's draws, and nothing else.

        Args:
            factors: `K x B`, without a graph.
        """
        if self._scale_paths is not None:
            self._scale_paths(factors)

    def particles_apart(self) -> "Weights":
        """The same as K B members of one particle each, `1 x K B`."""
        held = self._held
        return Weights(
            self.log_p.reshape(1, -1),
            self.log_q.reshape(1, -1),
            held=None if held is None else lambda: held().broadcast_to(self.log_p.shape).reshape(1, -1),
        )
