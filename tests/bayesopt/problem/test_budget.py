import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesopt.errors import InvalidBudgetError
from bayesopt.problem.budget import Budget, Spending


def spending(limit, *costs, pending=0):
    return Spending(limit, spent_trials=len(costs), pending=pending, costs=costs)


def test_no_limit_admits_whatever_is_asked():
    assert spending(Budget(), 1e300).admits(1000) == 1000
    assert spending(Budget()).exhausted is None
    assert spending(Budget()).remaining_trials is None
    assert spending(Budget()).remaining_cost is None


def test_pending_trials_hold_their_place():
    limited = spending(Budget(trials=5), 1.0, 1.0, pending=2)
    assert limited.remaining_trials == 1
    assert limited.admits(3) == 1
    assert spending(Budget(trials=5), 1.0, pending=4).exhausted == "budget: all 5 trials are used"


def test_a_trial_that_does_not_fit_the_cost_is_refused_before_it_runs():
    assert spending(Budget(cost=10.0), 3.0, 3.0, 3.0).admits(1) == 0
    assert spending(Budget(cost=12.0), 3.0, 3.0, 3.0).admits(2) == 1
    assert spending(Budget(cost=12.0), 3.0, 3.0, pending=2).admits(1) == 0


def test_rounding_does_not_cost_a_trial():
    assert spending(Budget(cost=0.3), 0.1, 0.1).admits(1) == 1  # 0.3 - 0.2 < 0.1 in floats


def test_the_first_trial_is_always_admitted():
    assert spending(Budget(cost=1e-300)).admits(1) == 1


def test_a_budget_of_cost_that_free_trials_do_not_use_up_goes_on():
    assert spending(Budget(cost=1.0), 0.0, 0.0).admits(7) == 7


def test_the_typical_cost_is_a_high_quantile_of_those_seen():
    assert spending(Budget(), *[1.0] * 8, 5.0, 9.0).typical_cost == 9.0  # nine in ten are at or below it
    assert spending(Budget(), *[1.0] * 90, *[5.0] * 10).typical_cost == 5.0
    assert spending(Budget()).typical_cost == 0.0


def test_the_tighter_of_two_limits_counts():
    both = Budget(trials=10, cost=4.0)
    assert spending(both, 1.0, 1.0).admits(5) == 2
    assert spending(Budget(trials=3, cost=100.0), 1.0, 1.0).admits(5) == 1


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (spending(Budget()), "0 trials"),
        (spending(Budget(trials=5), 1.5, 2.0, pending=1), "2 of 5 trials, cost 3.5, 1 pending"),
        (spending(Budget(cost=60.0), 20.0), "1 trials, cost 20 of 60"),
    ],
)
def test_it_reads_as_one_line(state, line):
    assert str(state) == line


def test_costs_at_the_edges_of_a_float_do_not_stop_the_account():
    huge = spending(Budget(cost=10.0), 1.7e308, 1.7e308)
    assert (huge.spent_cost, huge.admits(3), huge.remaining_cost) == (math.inf, 0, 0.0)
    assert "inf of 10 is spent" in huge.exhausted
    tiny = spending(Budget(cost=10.0), 5e-324)
    assert (tiny.admits(3), tiny.exhausted) == (3, None)


def test_the_reason_names_what_is_spent_and_what_is_pending():
    assert spending(Budget(cost=10.0), 4.0, pending=1).exhausted == (
        "budget: 4 of 10 is spent, 1 trials are pending, and a further trial may cost 4"
    )


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ({"trials": 0}, "at least 1, got 0"),
        ({"trials": True}, "got True"),
        ({"trials": 3.0}, r"got 3\.0"),
        ({"cost": 0.0}, "a cost of 0 buys nothing"),
        ({"cost": float("inf")}, "got inf"),
        ({"cost": "1h"}, "got '1h'"),
    ],
)
def test_what_cannot_be_counted_is_refused(limit, message):
    with pytest.raises(InvalidBudgetError, match=message):
        Budget(**limit)


@given(
    costs=st.lists(st.floats(0.0, 1e6), max_size=20),
    pending=st.integers(0, 5),
    limit=st.floats(1e-3, 1e6),
    n=st.integers(1, 10),
)
def test_what_is_admitted_fits_and_one_more_would_not(costs, pending, limit, n):
    state = spending(Budget(cost=limit), *costs, pending=pending)
    admitted = state.admits(n)
    assert 0 <= admitted <= n
    assert (state.exhausted is None) == (state.admits(1) == 1)
    if (typical := state.typical_cost) > 0:
        committed = state.spent_cost + (pending + admitted) * typical
        assert admitted == 0 or committed <= limit + 1e-8 * (limit + committed)
        assert admitted == n or committed + typical > limit
