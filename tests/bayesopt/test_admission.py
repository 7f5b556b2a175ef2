"""What a study asks within its budget: never more than fits, and what confirms the best in the end."""

import math

import numpy as np
import pytest

import bayesopt as bo
from bayesopt.errors import InvalidBudgetError
from bayesopt.strategies import NoImprovement, RandomSearch

SPACE = bo.Space({"x": bo.Float(0.0, 1.0), "kind": bo.Choice(["a", "b"])})
GRID = bo.Space({"i": bo.Int(0, 9), "kind": bo.Choice(["a", "b"])})


def loss(params):
    return sum((v - 0.3) ** 2 for v in params.values() if not isinstance(v, str))


def make_study(space=SPACE, **options):
    return bo.Study(space, minimize="loss", **({"seed": 100, "strategy": RandomSearch(), "noise": 0.0} | options))


def spend(study, cost=lambda params: None, at_most=500):
    while (trial := study.ask()) is not None:
        assert len(study.trials) <= at_most
        study.tell(trial, loss(trial.params), cost=cost(trial.params))
    assert study.done
    return study


def known_runs(n):
    rng = np.random.default_rng(103)
    for seed in range(n):
        prices = rng.lognormal(0.0, 1.5, size=(10, 2))
        limit = float(rng.uniform(0.5, 2.0) * prices.mean() * 4)
        yield seed, limit, lambda p, prices=prices: float(prices[p["i"], int(p["kind"] == "b")])


class Wilful:
    """Suggests what it likes, whatever it costs, in threes."""

    def suggest(self, history, n, rng):
        every = bo.Space.enumerate(GRID, 20)
        return [GRID.decode(u) for u in every[rng.permutation(20)][:n]]


@pytest.mark.parametrize("n", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_runs_of_known_costs_never_overspend(n):
    n_asked = 0
    for seed, limit, cost in known_runs(n):
        strategy = Wilful() if seed % 2 else RandomSearch()
        study = make_study(GRID, budget=bo.Budget(cost=limit, cost_of=cost), seed=seed, strategy=strategy)
        for _ in range(8):
            trials = study.ask(1 + seed % 3)
            # Pending ones are paid for before any of them is told.
            assert study.budget.spent_cost + math.fsum(cost(trial.params) for trial in trials) <= limit
            for trial in trials:
                study.tell(trial, loss(trial.params))
            n_asked += len(trials)
            if not trials:
                break
        assert study.budget.spent_cost <= limit
    assert n_asked > 2 * n  # the rule would hold trivially if nothing were asked


def test_known_costs_are_charged_without_being_told():
    study = spend(make_study(GRID, budget=bo.Budget(tokens=30.0, cost_of=lambda p: {"tokens": 1.0 + p["i"]})))
    assert study.trials[0].meters == {"tokens": 1.0 + study.trials[0].params["i"]}
    assert study.budget.spent("tokens") <= 30.0
    assert "of 30 tokens is spent, and a further trial may cost" in study.why_stopped


def test_a_dear_queued_trial_waits_and_a_cheap_one_does_not():
    study = make_study(GRID, budget=bo.Budget(cost=5.0, cost_of=lambda p: 1.0 + p["i"]))
    dear, cheap = study.enqueue({"i": 9, "kind": "a"}), study.enqueue({"i": 1, "kind": "a"})
    assert study.ask().id == cheap.id
    assert study.trials[dear.id].state == "queued"


def test_learned_costs_lead_the_last_trials_to_where_they_fit():
    def cost(params):
        return math.exp(4.0 * params["x"])

    study = spend(make_study(budget=bo.Budget(cost=150.0)), cost)
    spent = study.budget.spent_cost
    assert 0.9 * 150.0 < spent <= 150.0
    # The dearest would not have fitted any more, and the last were not the dearest.
    assert cost(study.trials[-1].params) < math.exp(2.0)


def test_failed_runs_are_charged_and_killed_ones_teach_that_more_was_due():
    study = make_study(budget=bo.Budget(seconds=100.0))
    for k in range(6):
        trial = study.ask()
        if k % 3 == 2:
            study.fail(trial, "out of time", cost=10.0, killed=True)
        else:
            study.tell(trial, loss(trial.params), cost=5.0 + trial.params["x"])
    assert study.budget.spent("seconds") > 40.0
    assert [trial.killed for trial in study.trials] == [False, False, True] * 2
    killed = study.trials[2]
    bound = study._admission.purse(study._ledger.trials).at_most(SPACE.encode(killed.params)[None])["seconds"][0]
    assert bound > 10.0


def test_the_best_is_confirmed_with_what_was_held_back():
    def noisy(params):
        return loss(params) + 0.05 * rng.standard_normal()

    rng = np.random.default_rng(104)
    study = make_study(budget=bo.Budget(trials=12, cost=200.0, confirm=3), noise=0.05)
    while (trial := study.ask()) is not None:
        study.tell(trial, noisy(trial.params), cost=10.0 + trial.params["x"])
    assert [trial.source for trial in study.trials] == ["asked"] * 9 + ["confirmation"] * 3
    assert len({trial.params["x"] for trial in study.trials}) < 12
    assert study.done and study.why_stopped == "budget: all 12 trials are used"


def test_the_cost_of_confirming_is_held_back_too():
    budget = bo.Budget(cost=20.0, cost_of=lambda p: 2.0 + p["i"] % 3, confirm=2)
    study = make_study(GRID, budget=budget, noise=0.1)
    while (trial := study.ask()) is not None:
        study.tell(trial, loss(trial.params))
    assert study.budget.spent_cost <= 20.0
    assert [trial.source for trial in study.trials][-2:] == ["confirmation"] * 2


def test_a_rule_ends_the_search_and_says_why(tmp_path):
    rule = NoImprovement(4)
    study = spend(make_study(until=rule, storage=tmp_path / "study.db"))
    assert study.why_stopped == "no improvement: the last 4 trials found none"
    n = len(study.trials)
    study.close()
    again = make_study(until=[rule], storage=tmp_path / "study.db")
    assert again.done and again.ask() is None and len(again.trials) == n
    assert again.best is not None
    again.enqueue({"x": 0.3, "kind": "a"})
    assert not again.done and again.ask().source == "enqueued"
    again.close()


def test_run_measures_seconds_and_takes_other_meters_from_the_evaluation():
    study = make_study(budget=bo.Budget(seconds=1000.0, tokens=10.0))
    study.run(lambda params: {"loss": loss(params), "cost": {"tokens": 3.0}}, progress=False)
    assert study.budget.spent("tokens") == 9.0
    assert all(trial.meters["seconds"] >= 0.0 for trial in study.trials)
    assert str(study.budget).endswith("tokens 9 of 10")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bo.Budget(cost_of=3.0), "expected a function"),
        (lambda: bo.Budget(trials=3, confirm=3), "one at least must be left"),
        (lambda: bo.Budget(tokens=0), "a tokens of 0 buys nothing"),
        (lambda: bo.Budget(seconds=1.0, tokens=1.0).charge(3.0), "could be either; tell a dict"),
        (lambda: bo.Budget(seconds=1.0).charge({"hours": 3.0}), "no meter 'hours'"),
        (lambda: bo.Budget(seconds=1.0).charge({"tokens": 3.0}), "limited to a seconds of 1"),
        (lambda: make_study(budget=bo.Budget(cost=1.0, cost_of=lambda p: "dear")).ask(), "must return what every"),
        (lambda: make_study(budget=bo.Budget(cost=1.0, cost_of=lambda p: 1 / 0)).ask(), "failed at"),
    ],
)
def test_what_cannot_be_counted_is_refused(make, message):
    with pytest.raises(InvalidBudgetError, match=message):
        make()
