"""BoTorch's acquisition functions in the loop: the documented lines, every kind of space, what must not stop it."""

import subprocess
import sys
import textwrap
import types

import numpy as np
import pytest
import torch
from botorch.acquisition.analytic import LogExpectedImprovement
from botorch.acquisition.logei import qLogExpectedImprovement, qLogNoisyExpectedImprovement
from botorch.acquisition.risk_measures import CVaR

import bayesopt as bo
import gp
from bayesopt.acquisition.maximize import is_untried
from bayesopt.errors import InvalidInputError
from bayesopt.problem.parameters import Choice, Float, Int, Simplex
from bayesopt.problem.space import LinearConstraint, Space
from bayesopt.strategies import ExpectedImprovement, FromBoTorch, from_botorch

SQUARE = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
SPACES = {
    "numbers": SQUARE,
    "mixed": Space({"x": Float(1e-4, 1.0, log=True), "k": Int(1, 9), "c": Choice(["a", "b"]), "d": Choice([3])}),
    "mixture": Space({"m": Simplex(["p", "q", "r"])}),
    "conditional": Space({"c": Choice(["a", "b"]), "x": Float(0.0, 1.0, active_if={"c": "a"}), "y": Float(0.0, 1.0)}),
    "linear constraint": Space(SQUARE, constraints=[LinearConstraint({"x": 1.0, "y": 1.0}, upper=0.7)]),
    "predicate": Space(SQUARE, allowed=lambda params: abs(params["x"] - params["y"]) > 0.1),
}


def noisy_ei(p):
    return qLogNoisyExpectedImprovement(p.model, p.X_baseline, p.sampler(32), p.objective, constraints=p.constraints)


def drawing(p):
    """Draws from torch's global generator, as much of BoTorch does."""
    errors = 0.05 * torch.randn(4, 2)
    return qLogNoisyExpectedImprovement(p.perturbed(errors), p.X_baseline, p.sampler(32), CVaR(0.5, n_w=4))


def smooth(X):
    return -((X - 0.4) ** 2).sum(1)


def history_of(make_history, space=SQUARE, n=10, **fields):
    X = space.sample(n, np.random.default_rng(0))
    return make_history(space, X, smooth(X), **fields)


def suggest(history, make=noisy_ei, n=1, seed=0, **options):
    return FromBoTorch(make, **options).suggest(history, n, np.random.default_rng(seed))


def encoded(space, suggestions):
    return np.array([space.encode(params) for params in suggestions])


# -- the documented lines ---------------------------------------------------------------------------------------------


def documented():
    """The bodies of the docstring's lambdas, and the names that its imports define."""
    paragraphs = [textwrap.dedent(part) for part in from_botorch.__doc__.split("\n\n") if part.startswith("    ")]
    names = {}
    exec(paragraphs.pop(), names)
    return [part.splitlines()[-1] for part in paragraphs], names


LINES, NAMES = documented()


def test_the_documentation_names_what_was_promised():
    told = " ".join(LINES)
    for name in (
        "LogNoisyExpected",
        "LogExpected",
        "Knowledge",
        "MaxValueEntropy",
        "JointEntropy",
        "CVaR",
        "multi_task",
    ):
        assert name in told


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[:60])
def test_a_documented_line_finds_the_region_of_the_optimum(line, make_history):
    old_X = SQUARE.sample(20, np.random.default_rng(1))
    given = {
        "errors": 0.05 * torch.randn(8, 2),
        "old_X": old_X,
        "old_Y": 100 - 50 * ((old_X - 0.45) ** 2).sum(1),
    }
    history = history_of(make_history)
    (params,) = suggest(history, eval(f"lambda p: {line}", NAMES | given))
    u = SQUARE.encode(params)
    assert is_untried(u, history.tried)
    assert np.linalg.norm(u - 0.4) < 0.35  # a random point is that near with probability 0.35


# -- spaces, batches, constraints -------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_proposes_allowed_untried_configurations_of_every_kind_of_space(space, make_history):
    history = history_of(make_history, space)
    U = encoded(space, suggest(history, n=2))
    assert space.is_allowed(U).all()
    np.testing.assert_allclose(space.snap(U), U, atol=1e-12)
    assert all(is_untried(u, np.vstack([history.tried, U[:i]])) for i, u in enumerate(U))


def test_a_finite_space_is_exhausted_without_a_repetition(make_history):
    space = Space({"c": Choice(["a", "b"]), "k": Int(1, 3)})
    X = space.enumerate(6)
    U = encoded(space, suggest(make_history(space, X[:4], smooth(X[:4]), n_asked=8), n=5))
    assert {u.tobytes() for u in U} == {u.tobytes() for u in X[4:]}
    assert len(U) == 2
    assert suggest(make_history(space, X, smooth(X)), n=2) == []


def test_trials_of_a_batch_keep_away_from_one_another_and_from_pending_ones(make_history):
    history = history_of(make_history, pending=np.array([[0.4, 0.4]]))
    U = np.vstack([history.pending, encoded(SQUARE, suggest(history, n=3))])
    distances = np.linalg.norm(U[:, None] - U[None], axis=2)[np.triu_indices(4, 1)]
    assert distances.min() > 0.02


def test_outcome_constraints_are_kept(make_history):
    X = SQUARE.sample(10, np.random.default_rng(0))
    history = history_of(make_history, constraints=0.6 - X[:, :1], noise=0.0)  # x >= 0.6
    assert SQUARE.encode(suggest(history)[0])[0] > 0.55


def test_trials_keep_away_from_failures(make_history):
    failed = np.column_stack([np.full(8, 0.4) + 0.02 * np.arange(8), np.linspace(0.3, 0.5, 8)])
    u = SQUARE.encode(suggest(history_of(make_history, failed=failed))[0])
    assert np.linalg.norm(failed - u, axis=1).min() > 0.05


# -- the start, purity, breakdowns ------------------------------------------------------------------------------------


def test_starts_as_the_default_does(make_history):
    for n in (0, 2):
        history = history_of(make_history, n=n)
        assert suggest(history, n=2) == ExpectedImprovement().suggest(history, 2, np.random.default_rng(0))


def test_the_same_history_and_generator_give_the_same_suggestion_bitwise(make_history):
    history = history_of(make_history)
    first = suggest(history, drawing)
    torch.rand(3)
    assert suggest(history, drawing) == first
    assert suggest(history, drawing, seed=1) != first


def test_the_global_generators_stay_as_they_were(make_history):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    suggest(history_of(make_history), drawing)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])


def test_a_breakdown_is_named_in_one_warning_and_a_space_filling_point_stands_in(make_history):
    def make(p):
        raise RuntimeError("the Cholesky of that is a poem")

    history = history_of(make_history)
    with pytest.warns(RuntimeWarning, match="space-filling point is taken: RuntimeError: the Cholesky") as caught:
        (params,) = suggest(history, make)
    assert len(caught) == 1
    assert is_untried(SQUARE.encode(params), history.tried)


@pytest.mark.parametrize("make", [lambda p: qLogExpectedImprovement(p.model), lambda p: p.no_such_field, lambda: None])
def test_a_mistake_in_make_is_not_hidden_behind_random_points(make, make_history):
    with pytest.raises((TypeError, AttributeError)):
        suggest(history_of(make_history), make)


def test_make_must_be_a_function():
    with pytest.raises(InvalidInputError, match="make: expected a function from a BoTorchProblem"):
        FromBoTorch("qLogNoisyExpectedImprovement")


def test_the_strategy_loads_without_torch():
    script = "import sys, bayesopt; bayesopt.strategies.FromBoTorch(lambda p: None); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


# -- the whole loop ---------------------------------------------------------------------------------------------------


def test_a_study_runs_on_it_to_a_good_end():
    strategy = FromBoTorch(lambda p: LogExpectedImprovement(p.objective_model, p.best_f))
    space = bo.Space({"x": bo.Float(-2.0, 2.0), "y": bo.Float(-2.0, 2.0)})
    study = bo.Study(space, minimize="f", strategy=strategy, budget=bo.Budget(trials=12), noise=0.0, seed=0)
    while not study.done:
        trial = study.ask()
        x, y = trial.params["x"], trial.params["y"]
        study.tell(trial, {"f": (x - 0.5) ** 2 + 3 * (y + 0.3 - 0.4 * x) ** 2})
    assert study.best.values["f"] < 1e-2


def test_a_study_of_a_minimum_tells_make_what_is_larger_is_better(make_history):
    seen = types.SimpleNamespace()

    def make(p):
        seen.problem = p
        return noisy_ei(p)

    study = bo.Study(
        bo.Space({"x": bo.Float(0.0, 1.0)}), minimize="f", strategy=FromBoTorch(make, n_initial=3), noise=0.0, seed=0
    )
    for _ in range(4):
        trial = study.ask()
        study.tell(trial, {"f": trial.params["x"]})
    torch.testing.assert_close(seen.problem.train_Y, -seen.problem.train_X)


# -- averaged over hyperparameters ------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", ["numbers", "mixed", "conditional"])
def test_a_fully_bayesian_surrogate_by_one_argument(make_history, space):
    seen = []

    def make(p):
        seen.append(p.objective_model)
        return LogExpectedImprovement(p.objective_model, p.best_f)

    history = history_of(make_history, SPACES[space])
    first, again = (suggest(history, make, surrogate="fully_bayesian")[0] for _ in range(2))
    assert isinstance(seen[0], gp.FullyBayesianGP)
    assert first == again
    assert is_untried(SPACES[space].encode(first), history.X)


def test_a_fully_bayesian_surrogate_refuses_what_it_cannot_do(make_history):
    with pytest.raises(InvalidInputError, match="'bayes'"):
        FromBoTorch(noisy_ei, surrogate="bayes")
    study = bo.Study(
        SQUARE,
        minimize="loss",
        subject_to=[bo.AtMost("size", 1.0)],
        strategy=FromBoTorch(noisy_ei, surrogate="fully_bayesian", n_initial=2),
    )
    for k in (1, 2, 3):
        study.tell_external({"x": k / 4, "y": k / 4}, {"loss": k, "size": 0.5 * k})
    with pytest.raises(InvalidInputError, match="no outcome constraints"):
        study.ask()


# -- tones ------------------------------------------------------------------------------------------------------------


def expected_improvement(p):
    return LogExpectedImprovement(p.objective_model, p.best_f)


def test_a_spectral_mixture_finds_the_top_of_a_response_that_oscillates():
    def response(x):
        return np.sin(2 * np.pi * 11.7 * x + 1.0) + 0.6 * np.sin(2 * np.pi * 3.4 * x)

    def regret(surrogate):
        strategy = FromBoTorch(expected_improvement, n_initial=20, surrogate=surrogate)
        study = bo.Study(Space({"x": Float(0.0, 1.0)}), maximize="y", strategy=strategy, seed=5)
        for _ in range(30):
            trial = study.ask()
            study.tell(trial, {"y": response(trial.params["x"])})
        return response(np.linspace(0.0, 1.0, 10001)).max() - study.best_observed.values["y"]

    assert regret("spectral_mixture") < 1e-3 < regret("fitted")


@pytest.mark.parametrize("space", ["mixed", "mixture"])
def test_a_spectral_mixture_refuses_what_is_no_number(make_history, space):
    with pytest.raises(InvalidInputError, match="Float and Int"):
        suggest(history_of(make_history, SPACES[space]), expected_improvement, surrogate="spectral_mixture")


def test_a_spectral_mixture_keeps_away_from_failures_and_from_what_was_tried(make_history):
    history = history_of(make_history, failed=SQUARE.sample(3, np.random.default_rng(1)))
    (params,) = suggest(history, expected_improvement, surrogate="spectral_mixture")
    assert is_untried(SQUARE.encode(params), history.tried)
