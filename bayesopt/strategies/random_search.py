"""Uniform sampling: the baseline that everything else must beat."""

from typing import Any

import numpy as np

from bayesopt.acquisition.maximize import any_untried
from bayesopt.record.history import History


class RandomSearch:
    """Independent draws from the space, each parameter uniform on its own scale; never the same one twice."""

    def suggest(self, history: History, n: int, rng: np.random.Generator) -> list[dict[str, Any]]:
        """Configurations to try next, as in `Strategy.suggest`."""
        tried, chosen = history.tried, []
        for _ in range(n):
            u = any_untried(history.space, tried, rng)
            if u is None:
                break
            tried = np.vstack([tried, u])
            chosen.append(history.space.decode(u))
        return chosen
