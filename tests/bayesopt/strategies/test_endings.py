"""The rules that end a study, against closed forms, and the searches that weigh costs."""

import dataclasses
import math

import numpy as np
import pytest

import bayesopt as bo
from bayesopt.acquisition.loop_terms import log_h_and_slope
from bayesopt.errors import InvalidInputError
from bayesopt.strategies import GittinsSearch, ImprovementPerCost, NoImprovement, NotWorthTheCost, RegretBelow
from bayesopt.surrogate import fit_surrogate

pytestmark = pytest.mark.usefixtures("one_thread")

LINE = bo.Space({"i": bo.Int(0, 40)})
SQUARE = bo.Space({"x": bo.Float(0.0, 1.0), "y": bo.Float(0.0, 1.0)})


def cost(params):
    return 100.0 ** params["x"] / 20.0


def loss(params):
    return (params["x"] - 0.3) ** 2 + (params["y"] - 0.6) ** 2


class Fixed:
    """log c = i / 20 on the line."""

    def log_expected(self, U):
        return 2.0 * U[:, 0], np.full_like(U, 2.0)


@pytest.fixture
def told(make_history):
    X = LINE.enumerate(41)[::8]
    return dataclasses.replace(make_history(LINE, X, np.sin(5 * X[:, 0]), noise=0.0), prices=Fixed())


def test_the_worth_of_going_on_is_the_maximum_over_every_configuration(told):
    surrogate = fit_surrogate(told)
    U = np.array([u for u in LINE.enumerate(41) if not (told.X == u).all(1).any()])
    prediction = surrogate.objective.predictor.predict(surrogate.features(U))
    sd = np.sqrt(prediction.variance)
    best = surrogate.told_mean_sd[0].max()
    log_ei = np.log(sd) + log_h_and_slope((prediction.mean[:, 0] - best) / sd)[0]
    # EI is a difference of objective values: a warp's slope at the best one turns it into units.
    y = told.objective.max()
    step = 1e-6 * surrogate.scale.unit
    z = (np.array([y - step, y + step]) - surrogate.scale.offset) / surrogate.scale.unit
    slope = np.diff(surrogate.scale.warp(z))[0] / (2 * step)
    expected = (log_ei - math.log(0.01 * slope) - 2.0 * U[:, 0]).max()
    found = NotWorthTheCost(0.01).log_worth(told, np.random.default_rng(0))
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_higher_price_ends_earlier(told):
    worth = NotWorthTheCost(1.0).log_worth(told, np.random.default_rng(0))
    ends = [NotWorthTheCost(math.exp(worth) * f).why_end(told, np.random.default_rng(0)) for f in (0.9, 1.1)]
    assert ends[0] is None
    assert ends[1].startswith("not worth the cost: the best trial promises 0.91 of what it would cost")


def test_without_costs_nothing_is_too_dear(told):
    free = dataclasses.replace(told, prices=None)
    assert NotWorthTheCost(1e9).why_end(free, np.random.default_rng(0)) is None


def test_the_regret_gap_is_that_of_the_bounds_over_every_configuration(told):
    rule = RegretBelow(0.1)
    surrogate = fit_surrogate(told)
    U = LINE.enumerate(41)
    prediction = surrogate.objective.predictor.predict(surrogate.features(U))
    width = math.sqrt(0.4 * math.log(1000 * len(told.X) ** 2 * math.pi**2 / 0.6))
    upper = (prediction.mean[:, 0] + width * np.sqrt(prediction.variance)).max()
    mean, sd = surrogate.told_mean_sd
    ends = surrogate.scale.to_units(np.array([(mean - width * sd).max(), upper]))
    assert rule.gap(told, np.random.default_rng(0)) == pytest.approx(ends[1] - ends[0], rel=1e-6)


def test_the_regret_must_be_small_twice_in_a_row(told):
    rng = np.random.default_rng(0)
    gap = RegretBelow(1.0).gap(told, rng)
    last = {name: getattr(told, name)[:-1] for name in ("ids", "X", "objective", "objective_sd", "costs")}
    last |= {name: getattr(told, name)[:-1] for name in ("constraints", "constraints_sd")}
    before = RegretBelow(1.0).gap(dataclasses.replace(told, **last), rng)
    low, high = sorted((gap, before))
    assert RegretBelow(0.99 * high).why_end(told, rng) is None
    assert "within the tolerance" in RegretBelow(1.01 * high).why_end(told, rng)
    assert low < high


def test_standing_still_counts_feasible_improvements_alone(make_history):
    X = np.linspace(0.0, 1.0, 6)[:, None]
    values = np.array([0.0, 1.0, 0.5, 5.0, 0.9, 1.0])
    margins = np.array([-1.0, -1.0, -1.0, 1.0, -1.0, -1.0])[:, None]
    history = make_history(LINE, X, values, constraints=margins)
    rng = np.random.default_rng(0)
    assert NoImprovement(4).why_end(history, rng) == "no improvement: the last 4 trials found none"
    assert NoImprovement(5).why_end(history, rng) is None
    assert NoImprovement(5, tolerance=1.0).why_end(history, rng) is not None


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [ImprovementPerCost(), GittinsSearch(0.001)])
def test_what_weighs_costs_gets_more_trials_for_the_money_and_finds_the_best(strategy):
    def n_trials(strategy):
        study = bo.Study(SQUARE, minimize="loss", strategy=strategy, budget=bo.Budget(cost=20.0), noise=0.0, seed=100)
        while len(study.trials) < 60 and (trial := study.ask()) is not None:
            study.tell(trial, loss(trial.params), cost=cost(trial.params))
        return len(study.trials), study.best.values["loss"]

    n, best = n_trials(strategy)
    assert n > n_trials(bo.strategies.ExpectedImprovement())[0]
    assert best < 1e-3  # a quadratic that random search of 60 points brings to 1e-2


def test_a_falling_price_is_remembered_and_a_resumed_study_asks_the_same(tmp_path):
    def run(path, breaks):
        asked = []
        study = None
        for k in range(14):
            if study is None or k in breaks:
                if study is not None:
                    study.close()
                study = bo.Study(SQUARE, minimize="loss", strategy=GittinsSearch(), storage=path, noise=0.0, seed=100)
            trial = study.ask()
            asked.append(trial.params)
            study.tell(trial, loss(trial.params), cost=cost(trial.params))
        prices = [trial.memory["price"] for trial in study.trials if trial.memory]
        study.close()
        return asked, prices

    whole, prices = run(tmp_path / "a.db", ())
    assert run(tmp_path / "b.db", (6, 10)) == (whole, prices)
    assert prices == sorted(prices, reverse=True) and prices[-1] < 0.1


def test_a_gittins_search_without_costs_says_so():
    study = bo.Study(SQUARE, minimize="loss", strategy=GittinsSearch(0.1), seed=100)
    with pytest.raises(InvalidInputError, match="no cost is known"):
        for _ in range(9):
            study.tell(study.ask(), 0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NotWorthTheCost(0.0), "leave it out"),
        (lambda: GittinsSearch(-1.0), "price: expected a finite number"),
        (lambda: RegretBelow(0.0), "no search ends with a regret of 0"),
        (lambda: RegretBelow(0.1, delta=1.0), "delta"),
        (lambda: NoImprovement(0), "trials"),
        (lambda: bo.Study(SQUARE, minimize="loss", until="soon"), "until: expected"),
        (lambda: bo.Study(SQUARE, minimize="loss", until=NoImprovement), "until: expected"),
    ],
)
def test_what_is_no_rule_is_refused(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()
