"""Histories without a study: what the model-based tests start from."""

from collections.abc import Callable

import numpy as np
import pytest

from bayesopt.problem.outcomes import AtMost, Objective, Outcomes
from bayesopt.problem.space import Space
from bayesopt.record.history import History


@pytest.fixture
def make_history() -> Callable[..., History]:
    """Builds a history from points of the cube and a function of them; every other field can be given."""

    def build(space: Space, X=(), objective=(), **fields) -> History:
        X = np.reshape(np.asarray(X, dtype=np.float64), (-1, space.dim))
        n = len(X)
        margins = np.asarray(fields.pop("constraints", np.zeros((n, 0))), dtype=np.float64)
        n_constraints = margins.shape[1]
        none = np.zeros((0, space.dim))
        defaults = {
            "ids": np.arange(n),
            "objective_sd": np.full(n, np.nan),
            "constraints": margins,
            "constraints_sd": np.full((n, n_constraints), np.nan),
            "costs": np.full(n, np.nan),
            "pending": none,
            "failed": none,
            "n_asked": n + len(fields.get("pending", none)) + len(fields.get("failed", none)),
            "seed": 0,
            "outcomes": Outcomes(Objective("y"), tuple(AtMost(f"c{k}", 0.0) for k in range(n_constraints))),
        }
        return History(space=space, X=X, objective=np.asarray(objective, dtype=np.float64), **(defaults | fields))

    return build
