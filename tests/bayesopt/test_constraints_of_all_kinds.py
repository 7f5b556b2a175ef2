"""The default strategy under constraints that are narrow, many, missing, unknown at first, or known by crashes."""

import numpy as np
import pytest

import bayesopt as bo

pytestmark = pytest.mark.usefixtures("one_thread")

PLANE = {"x": bo.Float(0.0, 1.0), "y": bo.Float(0.0, 1.0)}


def spend(study, outcome, n):
    """Spends n trials; an outcome that is None is a crash."""
    for index in range(n):
        trial = study.ask()
        values = outcome(index, trial.params)
        if values is None:
            study.fail(trial, "broke")
        else:
            study.tell(trial, values)
    return study


def test_a_constraint_that_is_nearly_an_equality_is_met():
    """A strip 0.02 wide about a curve: 2 per cent of the square, with the optimum at its end (1, 0.8)."""
    study = bo.Study(
        bo.Space(PLANE),
        minimize="f",
        subject_to=[bo.AtMost("h", 0.01), bo.AtLeast("h", -0.01)],
        seed=100,
    )

    def outcome(_, p):
        return {"f": -p["x"], "h": p["y"] - 0.5 - 0.3 * p["x"] ** 2}

    spend(study, outcome, 25)
    assert study.best_observed.values["f"] < -0.99


def test_the_size_of_such_a_violation_alone_does_too():
    """The kink of an absolute value, with the feasible strip at its bottom."""
    study = bo.Study(bo.Space(PLANE), minimize="f", subject_to=[bo.AtMost("size", 0.01)], seed=100)

    def outcome(_, p):
        return {"f": -p["x"], "size": abs(p["y"] - 0.5 - 0.3 * p["x"] ** 2)}

    spend(study, outcome, 40)
    assert study.best_observed.values["f"] < -0.9
    assert study.verdict == "feasible"


def test_twelve_constraints_are_met_together():
    """A random polytope of twelve faces in seven dimensions; its volume is found by sampling."""
    rng = np.random.default_rng(7)
    faces = rng.standard_normal((12, 7))
    bounds = faces @ np.full(7, 0.35) + 0.08 * np.linalg.norm(faces, axis=1)
    sampled = (rng.random((20_000, 7)) @ faces.T <= bounds).all(1).mean()
    assert 24 * sampled < 0.2  # so many feasible points would be met by chance
    names = [f"x{j}" for j in range(7)]
    study = bo.Study(
        bo.Space({name: bo.Float(0.0, 1.0) for name in names}),
        minimize="f",
        subject_to=[bo.AtMost(f"c{k}", float(bound)) for k, bound in enumerate(bounds)],
        seed=100,
    )

    def outcome(_, p):
        u = np.array([p[name] for name in names])
        return {"f": float(u.sum())} | {f"c{k}": float(value) for k, value in enumerate(faces @ u)}

    spend(study, outcome, 24)
    assert study.best_observed is not None
    assert study.best_observed.values["f"] < 7 * 0.35


@pytest.mark.parametrize("is_missing", [lambda i: i % 3 == 1, lambda i: i < 8], ids=["now and then", "at first"])
def test_a_constraint_that_is_not_always_measured_is_still_learned(is_missing):
    study = bo.Study(bo.Space(PLANE), minimize="f", subject_to=[bo.AtMost("g", 0.0)], seed=100)

    def outcome(index, p):
        g = 0.8 - p["x"] - 0.5 * p["y"]
        return {"f": p["x"] + p["y"], "g": None if is_missing(index) else g}

    spend(study, outcome, 22)
    assert study.best_observed.values["f"] < 0.85  # the optimum is 0.8, at (0.8, 0)


def test_a_constraint_that_is_never_measured_does_not_stop_the_search():
    study = bo.Study(bo.Space(PLANE), minimize="f", subject_to=[bo.AtMost("g", 0.0)], seed=100)
    spend(study, lambda _, p: {"f": p["x"], "g": None}, 24)
    assert study.verdict == "undecided"
    assert study.best is None
    assert study.history.X[-8:, 0].min() < 0.05


def test_a_region_that_is_known_by_crashes_alone_is_avoided():
    study = bo.Study(bo.Space(PLANE), minimize="f", subject_to=[bo.AtMost("g", 0.0)], seed=100)

    def outcome(_, p):
        if p["x"] + p["y"] < 0.9:  # 40 per cent of the square, and near the optimum at (0.55, 0.5)
            return None
        return {"f": (p["x"] - 0.55) ** 2 + (p["y"] - 0.5) ** 2, "g": p["x"] - 0.9}

    spend(study, outcome, 30)
    assert study.best_observed.values["f"] < 1e-3
    assert sum(trial.state == "failed" for trial in study.trials[-20:]) < 6


def test_where_everything_crashes_the_search_goes_on():
    study = bo.Study(bo.Space(PLANE), minimize="f", subject_to=[bo.AtMost("g", 0.0)], seed=100)
    spend(study, lambda *_: None, 15)
    assert study.ask() is not None
    assert study.verdict == "undecided"
