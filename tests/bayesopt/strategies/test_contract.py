"""Our own strategies keep the contract that others' are held to, and the contract finds those that do not."""

from typing import ClassVar

import numpy as np
import pytest

import bayesopt as bo
from bayesopt import strategies
from bayesopt.testing import StrategyContract
from bayesopt.testing.strategies import Watched

pytestmark = pytest.mark.usefixtures("one_thread")


class TestRandomSearch(StrategyContract):
    def make_strategy(self):
        return strategies.RandomSearch()


class TestSobolSearch(StrategyContract):
    def make_strategy(self):
        return strategies.SobolSearch()


class TestExpectedImprovement(StrategyContract):
    def make_strategy(self):
        return strategies.ExpectedImprovement()


class TestPriorGuided(StrategyContract):
    def make_strategy(self):
        return strategies.PriorGuided()

    def study_options(self):
        return {"priors": [bo.OptimalValuePrior(at_most=0.05, softness=0.05)]}


class TestOptimisticConstrained(StrategyContract):
    def make_strategy(self):
        return strategies.OptimisticConstrained()


class TestKnowledgeGradient(StrategyContract):
    def make_strategy(self):
        return strategies.KnowledgeGradient()


class TestImprovementPerCost(StrategyContract):
    def make_strategy(self):
        return strategies.ImprovementPerCost()


class TestGittinsSearch(StrategyContract):
    def make_strategy(self):
        return strategies.GittinsSearch()

    def study_options(self):
        # It needs to know what trials cost, also before the first was told.
        return {"budget": bo.Budget(cost=1e6, cost_of=lambda params: 1.0)}


class Broken:
    """Random search with a fault."""

    def suggest(self, history, n, rng):
        return strategies.RandomSearch().suggest(history, n, rng)


class Stateful(Broken):
    n: ClassVar[int] = 0

    def suggest(self, history, n, rng):
        Stateful.n += 1
        return strategies.RandomSearch().suggest(history, n, np.random.default_rng(Stateful.n))


class Repeating(Broken):
    def suggest(self, history, n, rng):
        return super().suggest(history, 1, rng) * n


class Global(Broken):
    def suggest(self, history, n, rng):
        return super().suggest(history, n, np.random.default_rng(np.random.randint(2**31)))


class Writing(Broken):
    def suggest(self, history, n, rng):
        history.X[:] = 0.0
        return super().suggest(history, n, rng)


class Frail(Broken):
    def suggest(self, history, n, rng):
        if len(history.failed) > 2:
            raise ZeroDivisionError
        return super().suggest(history, n, rng)


def contract_of(strategy):
    class Contract(StrategyContract):
        def make_strategy(self):
            return strategy()

    return Contract()


def watched(contract):
    """What the fixture `run` gives, in the numbers alone."""
    from bayesopt.testing.strategies import NUMBERS

    run = Watched(contract.make_strategy())
    study = contract.make_study(NUMBERS, run)
    for _ in range(4):
        for trial in study.ask(2):
            contract.tell(study, trial)
    return run


def test_a_strategy_with_a_state_is_found(tmp_path):
    contract = contract_of(Stateful)
    with pytest.raises(AssertionError):
        contract.test_the_same_history_and_generator_give_the_same_suggestions(watched(contract))
    with pytest.raises(AssertionError):
        contract.test_a_resumed_study_asks_what_an_uninterrupted_one_asks(tmp_path)


def test_a_strategy_that_repeats_itself_is_found():
    contract = contract_of(Repeating)
    with pytest.raises(AssertionError):
        contract.test_it_suggests_as_many_as_are_asked_for_and_no_configuration_twice(watched(contract))


def test_a_strategy_that_uses_global_randomness_is_found():
    with pytest.raises(AssertionError):
        contract_of(Global).test_global_randomness_is_neither_read_nor_changed()


def test_a_strategy_that_writes_to_its_history_is_found():
    with pytest.raises(ValueError, match="read-only"):
        watched(contract_of(Writing))


def test_a_strategy_that_breaks_on_failures_is_found():
    with pytest.raises(ZeroDivisionError):
        contract_of(Frail).test_it_goes_on_whatever_was_told(lambda k, values: None)


def test_a_contract_without_a_strategy_says_what_to_give():
    with pytest.raises(NotImplementedError, match="make_strategy"):
        StrategyContract().test_it_goes_on_while_everything_is_pending()
