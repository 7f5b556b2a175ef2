"""What a strategy is."""

from typing import Any, Protocol

import numpy as np

from bayesopt.record.history import History


class Strategy(Protocol):
    """Proposes configurations; keeps no state, so that a resumed study asks what an uninterrupted one would."""

    def suggest(self, history: History, n: int, rng: np.random.Generator) -> list[dict[str, Any]]:
        """Configurations to try next.

        Args:
            history: What was told, what is pending and what broke.
            n: How many to propose; they are evaluated side by side, so they should suit one another.
            rng: The only source of randomness besides `history.seed`.

        Returns:
            Up to n different allowed configurations, none of which was tried; fewer when a finite space has no more.
        """
        ...
