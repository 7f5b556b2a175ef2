"""CONFIG as a strategy: what it asks, when it stands still, what it accounts for, and what it refuses."""

import numpy as np
import pytest

import bayesopt as bo
from bayesopt.acquisition.maximize import is_untried
from bayesopt.errors import InvalidInputError
from bayesopt.strategies import OptimisticConstrained
from bayesopt.strategies.optimistic_constrained import KNOWN, violations

pytestmark = pytest.mark.usefixtures("one_thread")

PLANE = bo.Space({"x": bo.Float(0.0, 1.0), "y": bo.Float(0.0, 1.0)})
MIXED = bo.Space({"x": bo.Float(0.0, 1.0), "k": bo.Int(1, 9), "c": bo.Choice(["a", "b"])})


def gramacy(params):
    x, y = params["x"], params["y"]
    wave = 1.5 - x - 2 * y - 0.5 * np.sin(2 * np.pi * (x * x - 2 * y))
    return {"f": x + y, "wave": float(wave), "disc": x * x + y * y - 1.5}


def gramacy_study(strategy, seed=100, **options):
    return bo.Study(
        PLANE,
        minimize="f",
        subject_to=[bo.AtMost("wave", 0.0), bo.AtMost("disc", 0.0)],
        strategy=strategy,
        seed=seed,
        **options,
    )


def spend(study, n):
    for _ in range(n):
        trial = study.ask()
        study.tell(trial, gramacy(trial.params))
    return study


@pytest.mark.parametrize("options", [{}, {"beta": "theory", "norm_bound": {"f": 2.0, "wave": 2.0, "disc": 2.0}}])
def test_gramacy_is_solved(options):
    study = spend(gramacy_study(OptimisticConstrained(**options)), 25)
    assert study.best_observed.values["f"] < 0.605  # the minimum is 0.59979


@pytest.mark.parametrize("on_stagnation", ["improvement", "next"])
def test_a_known_configuration_is_never_asked_again(on_stagnation):
    study = spend(gramacy_study(OptimisticConstrained(on_stagnation=on_stagnation)), 30)
    X = study.history.X
    same = (np.abs(X[:, None] - X[None]) <= 1e-9).all(-1)
    assert same.sum() == len(X)


def test_when_it_stands_still_it_asks_what_the_default_would(make_history, monkeypatch):
    from bayesopt.acquisition import optimistic_constrained as problems

    X = np.random.default_rng(0).random((12, 2))
    values = [gramacy({"x": x, "y": y}) for x, y in X]
    margins = np.array([[v["wave"], v["disc"]] for v in values])
    history = make_history(PLANE, X, -X.sum(1), constraints=margins)
    known = problems.Solution(X[3] + 0.5 * KNOWN, lowest=-1.0, violation=0.0)
    monkeypatch.setattr(problems, "solve", lambda *_: known)
    asked = OptimisticConstrained().suggest(history, 1, np.random.default_rng(5))
    assert asked == bo.strategies.ExpectedImprovement().suggest(history, 1, np.random.default_rng(5))


@pytest.mark.parametrize("fields", [{}, {"failed": 3}, {"pending": 2}], ids=["told", "failed", "pending"])
def test_points_asked_together_are_different_and_untried(make_history, fields):
    X = MIXED.snap(np.random.default_rng(0).random((12, MIXED.dim)))
    others = {name: MIXED.snap(np.random.default_rng(1).random((n, MIXED.dim))) for name, n in fields.items()}
    history = make_history(MIXED, X, X[:, 0], constraints=X[:, 1:2] - 0.5, **others)
    asked = OptimisticConstrained().suggest(history, 3, np.random.default_rng(0))
    U = np.array([MIXED.encode(params) for params in asked])
    assert len(np.unique(U, axis=0)) == 3
    assert all(is_untried(u, history.tried) for u in U)


def test_a_finite_space_is_asked_to_its_end():
    space = bo.Space({"k": bo.Int(1, 4), "c": bo.Choice(["a", "b"])})
    study = bo.Study(space, minimize="f", subject_to=[bo.AtMost("g", 2.0)], strategy=OptimisticConstrained(), seed=100)
    while (trial := study.ask()) is not None:
        study.tell(trial, {"f": -trial.params["k"], "g": trial.params["k"]})
    assert len(study.trials) == 8


def test_a_reopened_study_asks_the_same(tmp_path):
    def study(name):
        return gramacy_study(OptimisticConstrained(), storage=tmp_path / f"{name}.db")

    with study("whole") as whole:
        spend(whole, 12)
        asked = [trial.params for trial in whole.trials]
    with study("parts") as parts:
        spend(parts, 7)
    with study("parts") as parts:
        spend(parts, 5)
        assert [trial.params for trial in parts.trials] == asked


def test_where_nothing_is_feasible_it_goes_on_and_the_verdict_says_so():
    study = bo.Study(PLANE, minimize="f", subject_to=[bo.AtMost("g", 0.0)], strategy=OptimisticConstrained(), seed=100)
    for _ in range(30):
        trial = study.ask()
        x, y = trial.params["x"], trial.params["y"]
        study.tell(trial, {"f": x, "g": 0.5 + (x - 0.3) ** 2 + (y - 0.6) ** 2 + 0.2 * np.sin(6 * x)})
    assert study.verdict == "infeasible"
    assert study.verdict.binding == "g"


# -- the violation budget ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("budget", [4.0, {"wave": 4.0}], ids=["of all", "of one"])
def test_a_violation_budget_is_kept_to_and_the_optimum_still_reached(budget):
    """The start of eight trials spends 2.1 to 2.9 of it; without a budget 8.5 and more are spent."""
    spent, best = [], []
    for seed in range(100, 106):
        study = spend(gramacy_study(OptimisticConstrained(violation_budget=budget, n_initial=8), seed), 30)
        spent.append(violations(study.history)[0 if isinstance(budget, dict) else slice(None)].sum())
        best.append(study.best_observed.values["f"])
    # Each trial may overdraw with probability 0.05 by the models: some study may, by little.
    assert np.median(spent) <= 4.0
    assert max(spent) <= 4.4
    assert np.median(best) < 0.62


# -- the account ------------------------------------------------------------------------------------------------------


def test_the_report_sums_up_what_was_violated_and_lost():
    study = spend(gramacy_study(OptimisticConstrained()), 14)
    history = study.history
    text = study.report()
    for k, name in enumerate(("wave", "disc")):
        total, n = np.maximum(history.constraints[:, k], 0).sum(), (history.constraints[:, k] > 0).sum()
        assert f"{name} <= 0: by {total:.6g}, in {n} trials" in text
    best = study.best_observed.values["f"]
    regret = sum(max(trial.values["f"] - best, 0.0) for trial in study.trials)
    assert f"{regret:.6g} against the best feasible trial" in text
    bound = float(text.split("at most ")[1].split()[2].rstrip(","))
    assert bound <= best  # what the bound was asked to hold for


def test_other_strategies_report_violations_alone():
    study = spend(gramacy_study(None), 6)
    assert "Violated so far" in study.report()
    assert "Regret" not in study.report()


def test_without_constraints_there_is_nothing_to_account_for():
    study = bo.Study(PLANE, minimize="f", seed=100)
    study.tell(study.ask(), 1.0)
    assert "Violated" not in study.report()


def test_margins_that_were_not_measured_count_nothing_and_are_counted(make_history):
    margins = np.array([[0.5, np.nan], [-1.0, 2.0], [0.25, -1.0]])
    assert violations(make_history(PLANE, np.eye(3, 2), np.zeros(3), constraints=margins)).tolist() == [0.75, 2.0]
    study = gramacy_study(None)
    study.tell(study.ask(), {"f": 1.0, "wave": None, "disc": 0.5})
    assert "wave <= 0: by 0, in 0 trials, 1 not measured" in study.report()


# -- what it refuses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": 0.0}, "beta: expected a finite number above 0"),
        ({"beta": float("inf")}, "beta: expected a finite number above 0"),
        ({"beta": "theory"}, "norm_bound: expected a number"),
        ({"norm_bound": 1.0}, "norm_bound: expected a number"),
        ({"beta": "theory", "norm_bound": {}}, "norm_bound: the dict is empty"),
        ({"beta": "theory", "norm_bound": -1.0}, "norm_bound"),
        ({"beta": "theory", "norm_bound": 1.0, "noise_bound": -1.0}, "noise_bound"),
        ({"delta": 1.0}, "delta: expected a probability"),
        ({"violation_risk": 0.0}, "violation_risk: expected a probability"),
        ({"violation_budget": -1.0}, "violation_budget"),
        ({"violation_budget": {"g": -1.0}}, r"violation_budget\['g'\]"),
        ({"on_stagnation": "stop"}, "on_stagnation: expected 'improvement' or 'next'"),
        ({"n_initial": -1}, "n_initial"),
    ],
)
def test_bad_arguments_are_refused_where_they_enter(options, message):
    with pytest.raises(InvalidInputError, match=message):
        OptimisticConstrained(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"violation_budget": {"heat": 1.0}}, "violation_budget: .* wave, disc; 'heat' is none of them"),
        ({"beta": "theory", "norm_bound": {"f": 1.0}}, "norm_bound: .* 'wave' is missing"),
    ],
)
def test_limits_on_outcomes_that_the_study_lacks_are_refused_at_the_first_ask(options, message):
    with pytest.raises(InvalidInputError, match=message):
        gramacy_study(OptimisticConstrained(**options)).ask()
