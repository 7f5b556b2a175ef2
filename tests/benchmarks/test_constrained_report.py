"""The arithmetic of the table of constrained optimizers, on runs made up for it."""

import numpy as np
import pytest
from constrained_report import write_report
from problems.constrained import GARDNER, GRAMACY


def runs(problem, optimizer, series):
    """One run a seed from the best values after each trial."""
    return [
        {
            "problem": problem.name,
            "optimizer": optimizer,
            "seed": seed,
            "best": best,
            "cpu": 0.01,
            "error": None,
            "version": "numpy 2",
        }
        for seed, best in enumerate(series)
    ]


@pytest.fixture
def report(tmp_path):
    def write(several):
        return write_report(several, [GARDNER, GRAMACY], np.array([40.0, 60.0]), tmp_path).read_text()

    return write


def rows(text, problem):
    """The cells of a problem's rows, one list a table: ends, first feasible trials, seeds, seconds."""
    lines = [line for line in text.splitlines() if line.startswith(f"| {problem.name}")]
    return [[cell.strip() for cell in line.strip("|").split("|")[1:]] for line in lines]


def test_medians_shares_and_the_first_feasible_trial(report):
    ours = runs(GARDNER, "priorwise", [[None, -1.0, -1.5], [-0.5, -0.5, -1.7], [None, None, -1.2]])
    theirs = runs(GARDNER, "scbo", [[None, None, -1.6], [None, None, None]])
    ends, firsts, seeds, _ = rows(report(ours + theirs), GARDNER)
    assert ends == ["-1.88875", "**-1.5 (3)**", "none (2, 50% feasible)"]
    assert firsts == ["**2**", "none"]
    assert seeds == ["1 of 2"]  # -1.5 against -1.6, and -1.7 against nothing feasible


def test_a_tie_is_won_but_not_alone(report):
    text = report([
        *runs(GARDNER, "priorwise", [[-1.8]]),
        *runs(GARDNER, "log-cei", [[-1.8 - 1e-8]]),
        *runs(GRAMACY, "priorwise", [[0.7]]),
        *runs(GRAMACY, "log-cei", [[0.8]]),
    ])
    assert "Of the 2 problems of 2" in text
    assert "best or tied for it on 2 and best alone on 1," in text


def test_a_lost_problem_stays_in_the_table(report):
    text = report([*runs(GARDNER, "priorwise", [[-1.0]]), *runs(GARDNER, "log-cei", [[-1.2]])])
    assert rows(text, GARDNER)[0] == ["-1.88875", "-1 (1)", "**-1.2 (1)**"]
    assert "Of the 1 problems of 2" in text
    assert "best or tied for it on 0 and best alone on 0," in text


def test_the_verdict_compares_on_shared_seeds(report):
    ours = runs(GARDNER, "priorwise", [[-1.5], [-1.0], [-1.0]])
    text = report(ours + runs(GARDNER, "log-cei", [[-1.4]]))  # better than our median, worse on its own seed
    assert (
        "best or tied for it on 1 and best alone on 1, against each peer on the seeds that both have run, the" in text
    )


def test_the_last_run_of_a_seed_counts(report):
    text = report([*runs(GARDNER, "priorwise", [[-1.0]]), *runs(GARDNER, "priorwise", [[-1.1]])])
    assert rows(text, GARDNER)[0][1] == "**-1.1 (1)**"
