"""The tuner of solvers: what it finds, what it answers, what it refuses."""

import json

import numpy as np
import pytest

import bayesopt as bo
from bayesopt.errors import InvalidInputError, InvalidParamsError
from bayesopt.tuners.arms import MOST
from bayesopt.tuners.chebyshev_bandit import ChebyshevBandit
from bayesopt.tuners.picking import ThompsonSampling
from bayesopt.tuners.tsallis_inf import TsallisINF

OMEGA = bo.Space({"omega": bo.Float(1.0, 1.95)})
MIXED = bo.Space({
    "drop_tol": bo.Float(1e-6, 1e-1, log=True),
    "restart": bo.Int(10, 100, log=True),
    "order": bo.Choice(["a", "b", "c"]),
})


def iterations(omega, context):
    return round(20 + 200 * (omega - 1.2 - 0.5 * context) ** 2)


def run(tuner, n, seed=0):
    rng, paid = np.random.default_rng(seed), []
    for _ in range(n):
        context = rng.random()
        theta = tuner.ask(context)
        cost = iterations(theta["omega"], context)
        tuner.tell(theta, context, cost)
        paid.append(cost - min(iterations(w, context) for w in np.linspace(1.0, 1.95, 20)))
    return np.array(paid)


@pytest.mark.parametrize(
    "strategy",
    [ThompsonSampling, lambda: ChebyshevBandit((0.0, 1.0), (20.0, 140.0)), TsallisINF],
    ids=["thompson", "chebyshev", "tsallis"],
)
def test_pays_less_and_less(strategy):
    paid = run(bo.SolverTuner(OMEGA, 1, seed=3, strategy=strategy()), 400)
    assert paid[-100:].mean() < 0.8 * paid[:100].mean()


def test_follows_the_context_to_within_an_iteration():
    tuner = bo.SolverTuner(OMEGA, 1, seed=0)
    assert run(tuner, 300)[-100:].mean() < 1.0
    for context in (0.1, 0.5, 0.9):
        assert iterations(tuner.best(context)["omega"], context) <= 21


def test_finds_the_best_of_a_mixed_space_with_a_bounded_number_of_arms():
    tuner = bo.SolverTuner(MIXED, 1, cost=float, seed=1)

    def work(theta, context):
        miss = (np.log10(theta["drop_tol"]) + 3 + context) ** 2 + 4 * (theta["order"] != "b")
        return 100.0 * (1 + miss) * (1 + 0.3 * np.log(theta["restart"] / 30) ** 2)

    rng = np.random.default_rng(0)
    for _ in range(400):
        context = rng.random()
        theta = tuner.ask(context)
        tuner.tell(theta, context, work(theta, context))
    assert len(tuner._arms) <= MOST
    assert work(tuner.best(0.5), 0.5) < 130  # the least is 100, the median of the space 700


def test_options_that_are_numbers_are_in_order():
    tuner = bo.SolverTuner(bo.Space({"m": bo.Choice([8, 2, 4])}), 0)
    assert tuner._arms.Z.shape[1] == 1
    assert [tuner._arms.params(i)["m"] for i in tuner._arms.Z[:, 0].argsort()] == [2, 4, 8]


def test_recommends_the_middle_of_the_arms_that_tie():
    tuner = bo.SolverTuner(OMEGA, 0, seed=0)
    for omega in np.tile(np.linspace(1.0, 1.95, 20), 4):
        tuner.tell({"omega": omega}, (), 10 if 1.2 < omega < 1.62 else 14)
    assert 1.3 < tuner.best()["omega"] < 1.5


def test_the_safe_default_comes_first_and_before_anything_is_told():
    tuner = bo.SolverTuner(OMEGA, 1, default={"omega": 1.1})
    assert tuner.best(0.3) == {"omega": 1.1}
    assert tuner.ask(0.3) == {"omega": 1.1}


def test_answers_the_default_while_its_overhead_is_spent_and_learns_all_the_same():
    tuner = bo.SolverTuner(OMEGA, 1, cost="seconds", default={"omega": 1.1}, overhead=0.01)
    for _ in range(20):
        theta = tuner.ask(0.5)
        tuner.tell(theta, 0.5, 1e-6)
    assert tuner.ask(0.5) == {"omega": 1.1}
    tuner.tell({"omega": 1.1}, 0.5, 1e9)  # one solve that pays for many asks
    assert len({tuner.ask(0.5)["omega"] for _ in range(20)}) > 1
    assert tuner.state_dict()["told"] == 21


def test_answers_what_was_best_when_its_overhead_is_spent_after_it_has_learned():
    tuner = bo.SolverTuner(OMEGA, 1, default={"omega": 1.0}, seed=0)
    for i in range(150):
        context = 0.9 if i % 2 else 0.1
        theta = tuner.ask(context)
        tuner.tell(theta, context, iterations(theta["omega"], context), seconds=10.0)
    tuner.own_seconds = 1e6
    for context in (0.1, 0.9):
        assert iterations(tuner.ask(context)["omega"], context) <= 22


def test_what_is_told_at_once_counts_as_what_is_told_in_turn():
    space = bo.Space({"omega": bo.Float(1.0, 1.95)})
    in_turn, at_once = (bo.SolverTuner(space, 1, seed=0) for _ in range(2))
    rng = np.random.default_rng(0)
    for i in range(60):
        context, omega = rng.random(), 1.0 + 0.05 * rng.integers(20)
        in_turn.tell({"omega": omega}, context, iterations(omega, context))
        # with seconds known, what is told waits for the next ask
        at_once.tell({"omega": omega}, context, iterations(omega, context), seconds=1.0 if i == 0 else None)
    for context in (0.2, 0.8):
        assert abs(in_turn.best(context)["omega"] - at_once.best(context)["omega"]) <= 0.051  # an arm apart


def test_without_an_overhead_it_is_the_default_for_ever():
    tuner = bo.SolverTuner(OMEGA, 1, default={"omega": 1.1}, overhead=0.0)
    assert {tuner.ask(0.1 * i)["omega"] for i in range(5)} == {1.1}


@pytest.mark.parametrize("status", ["breakdown", "error", "maxiter"])
def test_learns_to_avoid_what_does_not_converge(status):
    tuner = bo.SolverTuner(OMEGA, 0, seed=0)
    wrong = []
    for _ in range(150):
        theta = tuner.ask()
        fails = theta["omega"] > 1.4  # where the solve would be quickest if it went well
        wrong.append(fails)
        tuner.tell(theta, (), 60 if fails else 50 - 10 * theta["omega"], status if fails else "ok")
    assert sum(wrong[-50:]) <= 5
    assert tuner.best()["omega"] <= 1.41


def test_a_with_block_asks_and_tells():
    tuner = bo.SolverTuner(OMEGA, 1, seed=0)
    with tuner.solving(0.2) as solve:
        solve.cost = iterations(solve.params["omega"], 0.2)
    with pytest.raises(RuntimeError, match="diverged"), tuner.solving(0.2):
        raise RuntimeError("diverged")
    assert tuner.state_dict()["told"] == 2
    assert tuner.solve_seconds > 0


def test_measures_seconds_where_the_block_sets_no_cost():
    tuner = bo.SolverTuner(OMEGA, 1, cost="seconds")
    with tuner.solving(0.2):
        pass
    assert tuner.solve_seconds > 0
    counted = bo.SolverTuner(OMEGA, 1)
    with pytest.raises(InvalidInputError, match="cost: expected one real number"), counted.solving(0.2):
        pass


@pytest.mark.parametrize(
    "strategy",
    [ThompsonSampling, lambda: ChebyshevBandit((0.0, 1.0), (20.0, 140.0)), TsallisINF],
    ids=["thompson", "chebyshev", "tsallis"],
)
def test_goes_on_from_its_state_as_if_nothing_had_happened(strategy):
    first = bo.SolverTuner(OMEGA, 1, seed=5, strategy=strategy())
    run(first, 80)
    second = bo.SolverTuner(OMEGA, 1, seed=9, strategy=strategy())
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for i in range(30):
        theta = first.ask(0.03 * i)
        assert second.ask(0.03 * i) == theta
        for tuner in (first, second):
            tuner.tell(theta, 0.03 * i, iterations(theta["omega"], 0.03 * i))


def test_a_state_of_another_tuner_is_refused():
    state = bo.SolverTuner(OMEGA, 2).state_dict()
    with pytest.raises(InvalidInputError, match="its context_dim is 2, but this tuner's is 1"):
        bo.SolverTuner(OMEGA, 1).load_state_dict(state)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"space": {"omega": 1}}, "space: expected a bo.Space"),
        ({"cost": "joules"}, 'cost: expected "iterations", "seconds" or a function'),
        ({"context_dim": -1}, "context_dim: expected a whole number"),
        ({"overhead": -0.1}, "overhead: expected a finite number of at least 0"),
        ({"strategy": ChebyshevBandit((0.0, 1.0), (1.0, 2.0)), "context_dim": 2}, "expected context_dim=1, got 2"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        bo.SolverTuner(**{"space": OMEGA, "context_dim": 1} | arguments)


def test_bad_tells_are_refused():
    tuner = bo.SolverTuner(OMEGA, 1)
    with pytest.raises(InvalidInputError, match="context: expected 1 finite numbers"):
        tuner.ask([1.0, 2.0])
    with pytest.raises(InvalidInputError, match="context: expected 1 finite numbers"):
        tuner.ask("warm")
    with pytest.raises(InvalidInputError, match="cost: expected a positive finite number, got 0"):
        tuner.tell({"omega": 1.5}, 0.1, 0)
    with pytest.raises(InvalidInputError, match="status: expected one of 'ok'"):
        tuner.tell({"omega": 1.5}, 0.1, 3, "late")
    with pytest.raises(InvalidParamsError, match="omega"):
        tuner.tell({"omega": 3.0}, 0.1, 3)
