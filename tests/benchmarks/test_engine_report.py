"""The arithmetic of the table, on runs made up for it."""

import math

import pytest
from engine_report import write_report
from problems.constrained import GRAMACY
from problems.smooth import BRANIN

pytest.importorskip("matplotlib")


def lines(problem, optimizer, values, offset=None):
    """One run a seed: regrets at half and full budget, None for nothing feasible."""
    base = problem.minimum
    return [
        {
            "problem": problem.name,
            "optimizer": optimizer,
            "seed": seed,
            "half": value and base + 2 * value,
            "full": value and base + value,
            "best": [None, value and base + value],
            "cpu": 0.01,
            "cpu_p95": 0.02,
            "error": None,
            "version": "numpy 2",
        }
        for seed, value in enumerate(values)
    ]


@pytest.fixture
def report(tmp_path):
    def write(runs):
        path = write_report(runs, [BRANIN, GRAMACY], tmp_path)
        assert (tmp_path / "engine.png").stat().st_size > 1000
        return path.read_text()

    return write


def row(text, start):
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {start} |")]
    return [cell.strip().strip("*").split(" ")[0] for cell in line.strip("|").split("|")[1:]]


def test_scores_are_medians_over_sobols_and_averaged_geometrically(report):
    text = report([
        *lines(BRANIN, "sobol", [1.0, 2.0, 9.0]),
        *lines(BRANIN, "priorwise", [0.02, 0.04, 0.01]),
        *lines(BRANIN, "botorch", [0.1, 0.2, 0.4]),
        *lines(GRAMACY, "sobol", [0.4, 0.4, 0.4]),
        *lines(GRAMACY, "priorwise", [0.0016] * 3),
        *lines(GRAMACY, "botorch", [0.004] * 3),
    ])
    ours, sobol, botorch, ratio = row(text, "all, full")
    assert float(sobol) == 1.0
    assert float(ours) == pytest.approx(math.sqrt(0.01 * 0.004), rel=5e-3)
    assert float(botorch) == pytest.approx(math.sqrt(0.1 * 0.01), rel=5e-3)
    assert float(ratio) == pytest.approx(5.0, rel=5e-3)
    assert row(text, "problems won")[0] == "2"
    assert "Lost by priorwise:\n\n- none." in text


def test_nothing_feasible_is_charged_the_largest_feasible_regret(report):
    text = report([*lines(GRAMACY, "sobol", [None, None, 0.4]), *lines(GRAMACY, "priorwise", [0.1, 0.1, None])])
    assert row(text, f"{GRAMACY.name}, {GRAMACY.trials}")[1:] == ["0.1", f"{GRAMACY.infeasible_regret:.3g}"]


def test_the_newest_run_of_a_seed_counts(report):
    runs = [*lines(BRANIN, "sobol", [1.0]), *lines(BRANIN, "priorwise", [0.5]), *lines(BRANIN, "priorwise", [0.25])]
    assert row(report(runs), "smooth, full")[0] == "0.25"


def test_what_is_lost_is_said(report):
    text = report([
        *lines(BRANIN, "sobol", [1.0]),
        *lines(BRANIN, "priorwise", [0.5]),
        *lines(BRANIN, "optuna-gp", [0.1]),
    ])
    assert "- Branin: optuna-gp is 5.00 times closer." in text
