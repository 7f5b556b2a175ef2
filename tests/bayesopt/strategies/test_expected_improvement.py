"""The default strategy: its purity, its memory, histories that must not stop it; its start is `ModelBased`'s."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from bayesopt.acquisition.maximize import is_untried
from bayesopt.problem.parameters import Choice, Float, Int, Simplex
from bayesopt.problem.space import LinearConstraint, Space
from bayesopt.strategies import ExpectedImprovement
from gp.errors import NotPositiveDefiniteError
from gp.models.exact import ExactGP
from tests.bayesopt.workers import remembered
from tests.bayesopt.workers.processes import ROOT

CUBE = Space({f"x{i}": Float(0.0, 1.0) for i in range(3)})
MIXED = Space({"x": Float(1e-4, 1.0, log=True), "k": Int(1, 9), "c": Choice(["a", "b"]), "m": Simplex(["p", "q", "r"])})


def suggest(history, n=1, seed=0, **options):
    return ExpectedImprovement(**options).suggest(history, n, np.random.default_rng(seed))


def encoded(space, suggestions):
    return np.array([space.encode(params) for params in suggestions])


def points(n, d, seed=0):
    return np.random.default_rng(seed).random((n, d))


def smooth(X):
    return -((X - 0.4) ** 2).sum(1)


# -- purity -----------------------------------------------------------------------------------------------------------


def test_the_same_history_and_generator_give_the_same_suggestion_bitwise(make_history):
    X = MIXED.snap(points(12, MIXED.dim))
    history = make_history(MIXED, X, smooth(X), failed=MIXED.snap(points(2, MIXED.dim, 1)))
    first = suggest(history, 2)
    suggest(make_history(CUBE, points(9, 3), smooth(points(9, 3))), 2)  # what was asked meanwhile must not matter
    assert suggest(history, 2) == first


def test_a_new_process_suggests_the_same_bitwise_from_the_same_history_and_memory():
    """Over additive and interacting functions, clean and noisy ones, so that either kernel is remembered."""
    cases = [[seed, remembered.suggest(seed, None).memory] for seed in range(8)]
    additive = {memory["fits"]["the objective"]["additive"] for _, memory in cases}
    assert additive == {False, True}
    script = "import sys; from tests.bayesopt.workers import remembered; remembered.main(sys.stdin.read())"
    command = [sys.executable, "-W", "ignore", "-c", script]
    fresh = subprocess.run(command, input=json.dumps(cases), capture_output=True, text=True, check=True, cwd=ROOT)
    here = [remembered.suggest(seed, json.loads(json.dumps(memory))) for seed, memory in cases]
    assert [line.split(" | ") for line in fresh.stdout.splitlines()] == [[repr(s), repr(s.memory)] for s in here]
    # The memory matters: without it some fit ends elsewhere in the last digits.
    assert any(remembered.suggest(seed, None, n=remembered.LATER).memory != s.memory for seed, s in enumerate(here))


# -- memory -----------------------------------------------------------------------------------------------------------


def remembering(history, suggestions):
    """The history as a later ask sees it: the memory comes back through JSON."""
    return dataclasses.replace(history, memory=json.loads(json.dumps(suggestions[-1].memory)))


def test_the_start_remembers_nothing(make_history):
    assert [suggestion.memory for suggestion in suggest(make_history(CUBE), 3)] == [None] * 3


def test_what_was_fitted_is_remembered_with_every_trial_and_saves_the_next_fit(make_history, monkeypatch):
    X = points(21, 3)
    asked = suggest(make_history(CUBE, X[:20], smooth(X[:20])), 2)
    assert asked[0].memory == asked[1].memory != None  # noqa: E711  # one of the two may be lost
    sizes = []
    original = ExactGP.fit

    def counted(self, *, starts, max_evaluations, **options):
        sizes.append(len(starts) * max_evaluations)
        return original(self, starts=starts, max_evaluations=max_evaluations, **options)

    monkeypatch.setattr(ExactGP, "fit", counted)
    next_history = make_history(CUBE, X, smooth(X))
    suggest(next_history)
    from_nothing = sum(sizes)
    sizes.clear()
    suggest(remembering(next_history, asked))
    assert 0 < sum(sizes) < 0.2 * from_nothing


def test_the_same_history_with_the_same_memory_gives_the_same_suggestion_bitwise(make_history):
    X = MIXED.snap(points(20, MIXED.dim))
    earlier, later = (make_history(MIXED, X[:n], smooth(X[:n])) for n in (19, 20))
    asked = suggest(earlier)
    first = suggest(remembering(later, asked), 2)
    suggest(later, 2)  # what was asked meanwhile must not matter
    again = suggest(remembering(later, suggest(earlier)), 2)
    assert again == first
    assert again[0].memory == first[0].memory
    # The memory does matter: from it a fit ends elsewhere in the last digits.
    assert suggest(later, 2)[0].memory != first[0].memory


@pytest.mark.parametrize("memory", [{}, {"fits": None}, {"fits": 3}, {"state": [1]}, {"fits": {"the objective": {}}}])
def test_the_memory_of_another_strategy_is_ignored(make_history, memory):
    X = points(12, 3)
    history = make_history(CUBE, X, smooth(X))
    assert suggest(dataclasses.replace(history, memory=memory)) == suggest(history)


def test_neither_reads_nor_moves_the_global_generators(make_history):
    import torch

    X = points(10, 3)
    history = make_history(CUBE, X, smooth(X), pending=points(2, 3, 1))
    np.random.seed(0)
    torch.manual_seed(0)
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    first = suggest(history)
    assert np.array_equal(np.random.get_state()[1], numpy_state)
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.random.seed(1)
    torch.manual_seed(1)
    assert suggest(history) == first


def test_choosing_a_strategy_does_not_import_torch():
    script = "import sys, bayesopt.strategies as s; s.ExpectedImprovement(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


# -- what it proposes -------------------------------------------------------------------------------------------------


def test_closes_in_on_the_top_of_a_smooth_hill(make_history):
    X = points(6, 3)
    for k in range(8):
        X = np.vstack([X, encoded(CUBE, suggest(make_history(CUBE, X, smooth(X)), seed=k))])
    assert smooth(X).max() > -5e-3


def test_points_asked_together_keep_apart(make_history):
    X = points(12, 3)
    U = encoded(CUBE, suggest(make_history(CUBE, X, smooth(X)), 6))
    distances = np.linalg.norm(U[:, None] - U[None], axis=-1)[np.triu_indices(6, 1)]
    assert np.median(distances) > 0.1
    assert distances.min() > 1e-3


def test_a_pending_point_is_not_asked_for_again(make_history):
    X = points(12, 3)
    favourite = encoded(CUBE, suggest(make_history(CUBE, X, smooth(X))))
    other = encoded(CUBE, suggest(make_history(CUBE, X, smooth(X), pending=favourite)))
    assert np.linalg.norm(other - favourite) > 0.02


def test_six_failures_at_the_favourite_point_spread_the_next_asks_out(make_history):
    X = points(15, 3)
    favourite = encoded(CUBE, suggest(make_history(CUBE, X, smooth(X))))
    failed = np.repeat(favourite, 6, axis=0)
    for k in range(6):
        failed = np.vstack([failed, encoded(CUBE, suggest(make_history(CUBE, X, smooth(X), failed=failed), seed=k))])
    asked = failed[6:]
    assert np.linalg.norm(asked - favourite, axis=1).min() > 0.05
    assert np.median(np.linalg.norm(asked[:, None] - asked[None], axis=-1)[np.triu_indices(6, 1)]) > 0.1


def test_a_constraint_keeps_the_next_trial_feasible(make_history):
    X = np.vstack([points(15, 3), [[0.3, 0.5, 0.5]]])
    history = make_history(CUBE, X, X[:, 0], constraints=X[:, :1] - 0.5)
    assert 0.3 < suggest(history)[0]["x0"] < 0.55


# -- histories that must not stop it ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "objective", "fields"),
    [
        (points(8, 3), np.ones(8), {}),
        (np.repeat(points(2, 3), 10, axis=0), np.tile([0.0, 1.0], 10), {}),
        (np.repeat(points(2, 3), 10, axis=0), np.tile([0.0, 1.0], 10), {"noise": 0.0}),
        (points(8, 3), [1e300, -1e300, 0.0, 1.0, 2.0, 3.0, 1e-300, 5.0], {}),
        (points(8, 3), smooth(points(8, 3)), {"constraints": np.full((8, 2), np.nan)}),
        (points(8, 3), smooth(points(8, 3)), {"constraints": np.full((8, 1), 1e300)}),
        (points(8, 3), smooth(points(8, 3)), {"constraints": np.zeros((8, 1))}),
        (points(8, 3), smooth(points(8, 3)), {"constraints": np.array([[10.0**k] for k in range(-300, 301, 80)])}),
        (points(8, 3), smooth(points(8, 3)), {"objective_sd": np.full(8, 1e200)}),
        (points(8, 3), smooth(points(8, 3)), {"noise": 1e6}),
        (np.zeros((0, 3)), [], {"failed": points(100, 3, 1)}),
        (points(1, 3), [1.0], {"failed": points(100, 3, 1)}),
        (points(2, 3), [1.0, 2.0], {"failed": np.repeat(points(1, 3, 1), 100, axis=0)}),
        (np.zeros((0, 3)), [], {"pending": points(40, 3, 1)}),
        (points(6, 3), smooth(points(6, 3)), {"pending": np.repeat(points(1, 3, 1), 20, axis=0)}),
    ],
    ids=[
        "equal values",
        "two places",
        "two places without noise",
        "huge values",
        "constraints never measured",
        "constraints hopeless",
        "constraints on the bound",
        "constraints over all magnitudes",
        "huge known noise",
        "huge noise",
        "nothing but failures",
        "one outcome among failures",
        "failures at one place",
        "nothing but pending",
        "pending at one place",
    ],
)
def test_an_odd_history_is_answered_with_an_untried_configuration(make_history, X, objective, fields):
    history = make_history(CUBE, X, objective, **fields)
    suggestion = suggest(history, 2)
    assert len(suggestion) == 2
    for u in encoded(CUBE, suggestion):
        assert np.isfinite(u).all()
        assert is_untried(u, history.tried)


def test_a_finite_space_is_exhausted_without_repetition(make_history):
    space = Space({"k": Int(1, 4), "c": Choice(["a", "b", "c"])})
    X = np.zeros((0, 2))
    while new := suggest(make_history(space, X, smooth(X)), seed=len(X)):
        X = np.vstack([X, encoded(space, new)])
    assert len(X) == len(np.unique(X, axis=0)) == 12
    assert suggest(make_history(space, X[:10], smooth(X[:10])), 5, seed=1) != []


def test_conditional_parameters_and_constraints_are_respected(make_history):
    space = Space(
        {
            "optimizer": Choice(["adam", "sgd"]),
            "momentum": Float(0.0, 0.99, active_if={"optimizer": "sgd"}),
            "a": Float(0.0, 1.0),
            "b": Float(0.0, 1.0),
        },
        constraints=[LinearConstraint({"a": 1.0, "b": 1.0}, upper=0.8)],
    )
    X = space.sample(12, np.random.default_rng(0))
    for params in suggest(make_history(space, X, X[:, 2] + X[:, 3]), 3):
        assert space.validate(params) == params


def test_a_model_that_breaks_down_is_replaced_by_a_space_filling_point(make_history, monkeypatch):
    def broken(self):
        raise NotPositiveDefiniteError("K_XX is beyond repair")

    monkeypatch.setattr(ExactGP, "predictor", property(broken))
    X = points(10, 3)
    with pytest.warns(RuntimeWarning, match="a space-filling point is taken: K_XX is beyond repair"):
        assert len(suggest(make_history(CUBE, X, smooth(X)), 2)) == 2


def test_fifty_parameters_are_no_obstacle(make_history):
    space = Space({f"x{i}": Float(0.0, 1.0) for i in range(50)})
    X = points(25, 50)
    assert len(suggest(make_history(space, X, smooth(X)))) == 1


@pytest.mark.slow
def test_five_hundred_trials_are_no_obstacle(make_history):
    X = points(500, 3)
    history = make_history(CUBE, X, smooth(X), failed=points(20, 3, 1), pending=points(3, 3, 2))
    assert is_untried(encoded(CUBE, suggest(history))[0], history.tried)
