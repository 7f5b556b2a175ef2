"""Asks the default strategy with a memory, for a test that compares what another process answers."""

import json

import numpy as np

from bayesopt.problem.outcomes import Objective, Outcomes
from bayesopt.problem.parameters import Float
from bayesopt.problem.space import Space
from bayesopt.record.history import History
from bayesopt.strategies import ExpectedImprovement
from bayesopt.strategies.base import Suggestion

FIRST, LATER = 20, 21
"""Told trials without a memory, and with the one of that ask."""


def suggest(seed, memory, n=None):
    """The suggestion after `FIRST` trials, or after `LATER` ones with a memory."""
    rng = np.random.default_rng(seed)
    d = 2 + seed % 3
    X = rng.random((LATER, d))
    additive, interacting = np.cos(6.0 * X).sum(1), -np.square(X - 0.4).sum(1) + np.prod(3.0 * X - 1.5, axis=1)
    noise = rng.standard_normal(LATER) * (0.2 if seed % 4 > 1 else 0.0)
    n = n or (FIRST if memory is None else LATER)
    none, nan = np.zeros((0, d)), np.full(n, np.nan)
    history = History(
        space=Space({f"x{i}": Float(0.0, 1.0) for i in range(d)}),
        outcomes=Outcomes(Objective("y")),
        ids=np.arange(n),
        X=X[:n],
        objective=((additive if seed % 2 else interacting) + noise)[:n],
        objective_sd=nan,
        constraints=np.zeros((n, 0)),
        constraints_sd=np.zeros((n, 0)),
        costs=nan,
        pending=none,
        failed=none,
        n_asked=n,
        seed=seed,
        memory=memory or {},
    )
    (suggestion,) = ExpectedImprovement().suggest(history, 1, np.random.default_rng(seed))
    assert isinstance(suggestion, Suggestion)
    return suggestion


def main(cases):
    """Print what is suggested, and what is to be remembered, for each seed and memory of a JSON list."""
    for seed, memory in json.loads(cases):
        suggestion = suggest(seed, memory)
        print(repr(suggestion), repr(suggestion.memory), sep=" | ")
