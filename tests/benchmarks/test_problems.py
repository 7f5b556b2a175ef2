"""A problem's stated answer is one: nothing found is better, and something attains it."""

import gzip

import numpy as np
import pytest
from problems import constrained, crashing, mixed, multimodal, noisy, smooth, steplaw
from scipy.optimize import differential_evolution
from scipy.stats import qmc

CONSTRAINED = (*constrained.ALL, constrained.GARDNER, constrained.VESSEL)
KNOWN = (*smooth.ALL, *multimodal.ALL, *noisy.ALL, *mixed.ALL, *CONSTRAINED)


def name(problem):
    return problem.name


def sobol_values(problem):
    points = qmc.Sobol(problem.space.dim, rng=np.random.default_rng(5)).random_base2(12)
    return np.array([problem.true_value(problem.outcomes(problem.space.decode(u))) for u in points])


@pytest.mark.parametrize("problem", KNOWN, ids=name)
def test_no_sobol_point_beats_the_stated_minimum(problem):
    assert sobol_values(problem).min() >= problem.minimum - 1e-9


@pytest.mark.parametrize("problem", KNOWN, ids=name)
def test_the_stated_argmin_is_feasible_and_attains_the_minimum(problem):
    value = problem.true_value(problem.outcomes(problem.argmin))
    # as many digits as the argmin is written with allow
    assert problem.minimum - 1e-9 <= value <= problem.minimum + 1e-5 * max(1.0, abs(problem.minimum))


@pytest.mark.parametrize("problem", KNOWN, ids=name)
def test_the_argmin_belongs_to_the_space(problem):
    assert problem.space.validate(problem.argmin) == problem.argmin


@pytest.mark.parametrize("problem", CONSTRAINED, ids=name)
def test_finding_nothing_feasible_is_charged_more_than_what_is_feasible(problem):
    values = sobol_values(problem)
    feasible = values[np.isfinite(values)]
    assert (feasible - problem.minimum <= problem.infeasible_regret).mean() >= 0.99


def penalised(problem, u):
    """The objective, or far more than it ever is by the violation relative to that of a corner."""
    outcomes = problem.outcomes(problem.space.decode(np.clip(u, 0.0, 1.0)))
    margins = [constraint.margin(outcomes[constraint.name]) for constraint in problem.subject_to]
    worst = sum(max(0.0, margin) for margin in margins)
    return outcomes["y"] if worst == 0.0 else 1e9 * (1.0 + np.log1p(worst))


@pytest.mark.slow
@pytest.mark.parametrize("problem", (*constrained.ALL, constrained.GARDNER), ids=name)
def test_differential_evolution_ends_at_the_stated_minimum(problem):
    ends = [
        differential_evolution(
            lambda u: penalised(problem, u), [(0.0, 1.0)] * problem.space.dim, rng=seed, tol=1e-10, maxiter=1000
        ).fun
        for seed in (0, 1, 2)
    ]
    assert min(ends) >= problem.minimum - 1e-7 * max(1.0, abs(problem.minimum))  # the stated digits
    assert min(ends) <= problem.minimum + 1e-4 * max(1.0, abs(problem.minimum))  # a population ends short of it


def test_no_pair_of_plates_makes_a_cheaper_vessel():
    """At given plates the least cost is on the curve where the volume is just enough: along it the radius decides."""
    cheapest = np.inf
    for shell in range(1, 100):
        for head in range(1, 100):
            most = min(shell / 16 / 0.0193, head / 16 / 0.00954, 200.0)
            radius = np.append(np.linspace(10.0, max(most, 10.0), 501), most)
            length = np.maximum((1_296_000 - 4 / 3 * np.pi * radius**3) / (np.pi * radius**2), 10.0)
            allowed = (length <= 200.0) & (radius <= most)
            cost = (
                0.6224 * shell / 16 * radius * length
                + 1.7781 * head / 16 * radius**2
                + (3.1661 * length + 19.84 * radius) * (shell / 16) ** 2
            )
            cheapest = min(cheapest, cost[allowed].min(initial=np.inf))
    assert cheapest == pytest.approx(constrained.VESSEL.minimum, abs=1e-4)


@pytest.mark.parametrize("problem", crashing.ALL, ids=name)
def test_much_of_a_crashing_space_breaks_and_its_minimum_does_not(problem):
    points = problem.space.sample(1000, np.random.default_rng(0))
    broken = np.mean([problem.breaks(problem.space.decode(u)) for u in points])
    assert 0.5 < broken < 0.92
    assert not problem.breaks(problem.argmin)


# -- replayed tables --------------------------------------------------------------------------------------------------


@pytest.fixture
def surfaces(tmp_path):
    rows = ["surface,lr,bs,loss"]
    for surface, offset in (("a", 2.0), ("b", 3.0)):
        rows += [
            f"{surface},{lr},{bs},{offset + abs(i - 1) + abs(j - 2)}"
            for i, lr in enumerate((0.001, 0.002, 0.004))
            for j, bs in enumerate((32, 64, 128, 256))
        ]
    with gzip.open(tmp_path / "surfaces.csv.gz", "wt") as file:
        file.write("\n".join(rows) + "\n")
    (problem,) = steplaw.load(tmp_path)
    return problem


def test_a_seed_is_a_surface(surfaces):
    assert surfaces.n_seeds == 2
    assert [surfaces.instance(seed).minimum for seed in (0, 1)] == [2.0, 3.0]


def test_a_replayed_run_sees_every_grid_point_once(surfaces):
    surface = surfaces.instance(0)
    evaluate = surface.evaluator()
    losses = [evaluate({"lr": 0.002, "batch_size": 128.0})["y"] for _ in range(12)]
    assert losses[0] == surface.minimum
    assert sorted(losses) == sorted(2.0 + abs(i - 1) + abs(j - 2) for i in range(3) for j in range(4))


def test_without_the_table_there_is_no_such_problem(tmp_path):
    assert steplaw.load(tmp_path) == ()
