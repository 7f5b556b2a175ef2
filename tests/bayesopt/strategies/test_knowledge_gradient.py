"""The knowledge gradient as a strategy: what it shares with the default is tested there."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from bayesopt.acquisition.maximize import is_untried
from bayesopt.problem.parameters import Choice, Float, Int
from bayesopt.problem.space import Space
from bayesopt.strategies import KnowledgeGradient

pytestmark = pytest.mark.usefixtures("one_thread")

LINE = Space({"x": Float(0.0, 1.0)})
MIXED = Space({"x": Float(0.0, 1.0), "k": Int(1, 9), "c": Choice(["a", "b"])})


def suggest(history, n=1, seed=0):
    return KnowledgeGradient().suggest(history, n, np.random.default_rng(seed))


def encoded(space, suggestions):
    return np.array([space.encode(params) for params in suggestions])


def wave(X):
    """Two hills, the right one higher by a fifth; its top is at 0.757."""
    return np.sin(12.0 * X[:, 0] - 1.2) * 0.5 + 0.2 * X[:, 0]


def test_finds_the_top_of_a_noisy_wave_by_reading_it_off_the_model(make_history):
    from bayesopt.acquisition.log_knowledge_gradient import likely_optima
    from bayesopt.surrogate import fit_surrogate

    rng = np.random.default_rng(0)
    X, y, memory = np.zeros((0, 1)), np.zeros(0), {}
    for k in range(20):
        history = make_history(LINE, X, y, n_asked=len(X), memory=memory)
        (suggestion,) = suggest(history, seed=k)
        u = encoded(LINE, [suggestion])
        X, y = np.vstack([X, u]), np.append(y, wave(u) + 0.1 * rng.standard_normal(1))
        memory = suggestion.memory or memory
    answer = likely_optima(fit_surrogate(make_history(LINE, X, y)), rng)[:1]
    # The lower hill would be 0.1 off, and a random point 0.5.
    assert wave(answer)[0] > wave(np.linspace(0.0, 1.0, 1001)[:, None]).max() - 0.05


@pytest.mark.parametrize("fields", [{}, {"failed": 3}, {"pending": 2}], ids=["told", "failed", "pending"])
def test_points_asked_together_are_different_and_untried(make_history, fields):
    X = MIXED.snap(np.random.default_rng(0).random((12, MIXED.dim)))
    others = {name: MIXED.snap(np.random.default_rng(1).random((n, MIXED.dim))) for name, n in fields.items()}
    history = make_history(MIXED, X, X[:, 0], constraints=X[:, 1:2] - 0.9, **others)
    U = encoded(MIXED, suggest(history, 3))
    assert len(np.unique(U, axis=0)) == 3
    assert all(is_untried(u, history.tried) for u in U)


def test_the_same_history_and_generator_give_the_same_suggestion_bitwise(make_history):
    X = MIXED.snap(np.random.default_rng(0).random((12, MIXED.dim)))
    history = make_history(MIXED, X, X[:, 0])
    history = dataclasses.replace(history, memory=suggest(history)[0].memory)
    assert suggest(history, 2) == suggest(history, 2)


@pytest.mark.parametrize(
    ("X", "y"),
    [
        (np.repeat([[0.2], [0.7]], 8, axis=0), np.tile([0.0, 1.0], 8)),
        (np.linspace(0.0, 1.0, 9)[:, None], np.ones(9)),
        (np.repeat([[0.5]], 9, axis=0), np.ones(9)),
    ],
    ids=["two places", "equal values", "one place"],
)
def test_an_odd_history_is_answered(make_history, X, y):
    assert is_untried(encoded(LINE, suggest(make_history(LINE, X, y)))[0], X)


def test_nothing_feasible_is_no_obstacle(make_history):
    X = np.linspace(0.0, 1.0, 9)[:, None]
    u = encoded(LINE, suggest(make_history(LINE, X, X[:, 0], constraints=2.0 - X)))[0]
    assert u[0] > 0.9  # towards where the margin falls


def test_choosing_it_does_not_import_torch():
    script = "import sys, bayesopt.strategies as s; s.KnowledgeGradient(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
