"""What every optimizer is given: the same start, and a space it understands."""

from dataclasses import replace

import pytest
from optimizers.optimizer import PlainSpace, n_starts, sobol_points
from optimizers.priorwise import Priorwise
from optimizers.search import RandomSearch, SobolSearch
from problems.mixed import MIXTURE, TRAINING
from problems.smooth import BRANIN

import bayesopt as bo


def test_shares_become_weights_and_come_back():
    plain = PlainSpace(MIXTURE)
    assert not any(isinstance(parameter, bo.Simplex) for parameter in plain.parameters.values())
    for params in sobol_points(MIXTURE, 0, 16):
        back = plain.params(plain.values(params))
        assert back["mixture"] == pytest.approx(params["mixture"], abs=2e-3)  # the least weight is 1e-3
        assert {**back, "mixture": None} == {**params, "mixture": None}


def test_without_shares_nothing_changes():
    for params in sobol_points(TRAINING, 0, 8):
        assert PlainSpace(TRAINING).params(PlainSpace(TRAINING).values(params)) == params


def test_the_start_is_the_seeds_and_no_other():
    assert sobol_points(BRANIN, 3, 4) == sobol_points(BRANIN, 3, 25)[:4]
    assert sobol_points(BRANIN, 3, 4) != sobol_points(BRANIN, 4, 4)


def test_sobol_goes_on_after_the_common_start():
    points = sobol_points(BRANIN, 0, BRANIN.trials)
    search = SobolSearch(BRANIN, 0)
    assert search.ask() == points[n_starts(BRANIN)]


@pytest.mark.parametrize("kind", [Priorwise, SobolSearch, RandomSearch])
def test_a_foreign_start_counts_and_the_best_is_recommended(kind):
    problem = replace(BRANIN, trials=6)
    optimizer = kind(problem, 0)
    for params in sobol_points(problem, 0, n_starts(problem)):
        optimizer.tell(params, problem.outcomes(params) | {"y": 5.0})
    optimizer.tell(params := optimizer.ask(), {"y": -1.0})
    assert optimizer.recommend() == params
