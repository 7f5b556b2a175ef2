"""The benchmark of beliefs: its problems know their answer, its beliefs are as far off as they say, ratios count."""

import beliefs
import numpy as np
import pytest
from problems.believed import HARTMANN4, LEVY5, ROSENBROCK6, belief
from scipy.stats import qmc

OWN = (HARTMANN4, LEVY5, ROSENBROCK6)


def name(problem):
    return problem.name


@pytest.mark.parametrize("problem", OWN, ids=name)
def test_the_stated_argmin_attains_the_minimum_and_no_sobol_point_beats_it(problem):
    # as many digits as the argmin is written with allow
    assert problem.minimum - 1e-9 <= problem.outcomes(problem.argmin)["y"] <= problem.minimum + 1e-8
    points = qmc.Sobol(problem.space.dim, rng=np.random.default_rng(5)).random_base2(12)
    assert min(problem.outcomes(problem.space.decode(u))["y"] for u in points) >= problem.minimum - 1e-9


@pytest.mark.parametrize("problem", OWN, ids=name)
def test_a_good_belief_is_off_by_what_it_says_and_a_wrong_one_lies_in_the_opposite_corner(problem):
    space, d = problem.space, problem.space.dim
    optimum = space.encode(problem.argmin)
    good = belief(problem, "good", 1).on(space).mode()
    inside = (good > 0.0) & (good < 1.0)
    assert np.linalg.norm(good - optimum) <= 0.1 * np.sqrt(d) + 1e-9
    assert not inside.all() or np.linalg.norm(good - optimum) == pytest.approx(0.1 * np.sqrt(d), abs=1e-6)
    wrong = belief(problem, "wrong", 1).on(space).mode()
    assert set(np.abs(wrong).round(9)) <= {0.0, 1.0}
    assert (np.abs(wrong - optimum) >= 0.5).all()
    assert belief(problem, "good", 1) == belief(problem, "good", 1) != belief(problem, "good", 2)


def test_a_ratio_is_of_the_trials_until_the_same_median_regret():
    def run(arm, kind, *regret):
        done = {"regret": list(regret), "probability": None if kind == "none" else 0.9, "cpu": 0.01, "cpu_p95": 0.02}
        return {"key": ["Hartmann-4", arm, kind, 0]} | done

    runs = [
        run("no belief", "none", 8.0, 4.0, 2.0, 2.0, 1.0, 0.5, 0.25, 0.1),
        run("ours", "good", 8.0, 1.5, 1.0, 0.1, 0.1, 0.1, 0.1, 0.1),
        run("ours", "wrong", 9.0, 9.0, 9.0, 2.0, 1.0, 1.0, 1.0, 1.0),
    ]
    rows = [line.split(" | ") for line in beliefs.report(runs).splitlines() if line.startswith("| Hartmann-4")]
    # regret 2 is reached after 3 trials without a belief, after 2 with a good one and after 4 with a wrong one
    assert [row[4] for row in rows] == ["1.00", "0.67", "1.33"]
    assert [row[5] for row in rows] == ["1.00", "0.50", "> 1.00"]
