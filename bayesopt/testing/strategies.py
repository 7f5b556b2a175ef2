"""What every strategy must do: a new one subclasses `StrategyContract`, gives `make_strategy`, inherits the rest."""

import copy
import functools
import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import pytest

from bayesopt.problem.constraints import LinearConstraint
from bayesopt.problem.outcomes import AtMost
from bayesopt.problem.parameters import Choice, Float, Int, Simplex
from bayesopt.problem.space import Space
from bayesopt.record.history import History
from bayesopt.record.trial import Trial
from bayesopt.strategies.base import Strategy, Suggestion
from bayesopt.study import Study

NUMBERS: Final = Space({"x": Float(0.0, 1.0), "rate": Float(1e-4, 1.0, log=True)})
SPACES: Final = {
    "numbers": NUMBERS,
    "every kind": Space({
        "x": Float(0.0, 1.0),
        "n": Int(1, 20, log=True),
        "kind": Choice(("a", "b", None)),
        "momentum": Float(0.0, 0.99, active_if={"kind": "b"}),
        "mix": Simplex(("web", "code", "math"), caps={"web": 0.6}),
    }),
    "a forbidden part": Space(
        {"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)}, constraints=[LinearConstraint({"x": 1.0, "y": 1.0}, upper=0.6)]
    ),
}
"""What a run is made in."""
FINITE: Final = Space({"x": Int(0, 2), "kind": Choice(("a", "b"))})
"""Six configurations."""
SEED: Final = 11


@dataclass(frozen=True)
class Call:
    """One call of a strategy."""

    history: History
    """What it was handed,"""
    n: int
    """how many were asked for,"""
    rng: np.random.Generator
    """and the generator as it was then."""
    suggested: list[dict[str, Any]]
    """What it returned."""


@dataclass
class Watched:
    """A strategy whose calls are written down; what it is handed cannot be written to."""

    strategy: Strategy
    """The one that is watched."""
    calls: list[Call] = field(default_factory=list)
    """Its calls so far."""

    def suggest(self, history: History, n: int, rng: np.random.Generator) -> Sequence[dict[str, Any]]:
        """As in `Strategy.suggest`."""
        for value in vars(history).values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
        before = copy.deepcopy(rng)
        suggested = list(self.strategy.suggest(history, n, rng))
        self.calls.append(Call(history, n, before, suggested))
        return suggested


def values_of(space: Space, params: Mapping[str, Any]) -> dict[str, float]:
    """A bowl, and a constraint that half of the space meets."""
    u = space.encode(params)
    return {"loss": float(np.square(u - 0.4).sum()), "memory": float(u[0])}


class StrategyContract:
    """Inherited by a test class of yours, which says how the strategy is made.

    class TestMine(StrategyContract):
        def make_strategy(self):
            return Mine()
    """

    n_trials: ClassVar[int] = 14
    """Trials of a run: more than the strategy's start, so that what comes after it is looked at too."""

    def make_strategy(self) -> Strategy:
        """A new strategy, the same at every call."""
        raise NotImplementedError("give make_strategy, which returns a new strategy at every call")

    def study_options(self) -> dict[str, Any]:
        """Further arguments of the studies that are run, such as `priors` of any space."""
        return {}

    def make_study(self, space: Space, strategy: Strategy, **options: Any) -> Study:
        """A study that this strategy is asked by: it minimises `loss` with `memory` at most 0.5."""
        declared: dict[str, Any] = {"minimize": "loss", "subject_to": [AtMost("memory", 0.5)], "seed": SEED}
        return Study(space, strategy=strategy, **(declared | self.study_options() | options))

    def tell(self, study: Study, trial: Trial) -> None:
        """What comes of a trial: every fifth fails, the others cost 1 to 2."""
        if trial.id % 5 == 3:
            study.fail(trial, "broke", cost=1.0)
        else:
            study.tell(trial, values_of(study.space, trial.params), cost=1.0 + trial.id % 2)

    @pytest.fixture(params=list(SPACES))
    def run(self, request: pytest.FixtureRequest) -> Watched:
        """The calls of a study in one of the spaces: single trials, and batches of three that leave one pending."""
        return _run(type(self), request.param)  # type: ignore[arg-type]  # mypy asks a class for its objects' hash

    def test_every_suggestion_is_an_allowed_configuration(self, run: Watched) -> None:
        for call in run.calls:
            for params in call.suggested:
                assert call.history.space.validate(params) == params
                assert call.history.space.is_allowed(call.history.space.encode(params)[None])[0]

    def test_it_suggests_as_many_as_are_asked_for_and_no_configuration_twice(self, run: Watched) -> None:
        for call in run.calls:
            assert len(call.suggested) == call.n
            known = {point.tobytes() for point in call.history.tried}
            new = {call.history.space.encode(params).tobytes() for params in call.suggested}
            assert len(new) == call.n
            assert not new & known

    @pytest.mark.filterwarnings("ignore::RuntimeWarning")  # what is repeated may warn again
    def test_the_same_history_and_generator_give_the_same_suggestions(self, run: Watched) -> None:
        for call in run.calls[:: max(1, len(run.calls) // 3)] + run.calls[-1:]:
            again = self.make_strategy().suggest(call.history, call.n, copy.deepcopy(call.rng))
            assert list(again) == call.suggested

    def test_memories_and_grounds_are_json(self, run: Watched) -> None:
        for call in run.calls:
            for suggestion in call.suggested:
                if isinstance(suggestion, Suggestion):
                    for note in (suggestion.memory, suggestion.grounds):
                        assert note is None or isinstance(json.loads(json.dumps(dict(note))), dict)

    def test_a_resumed_study_asks_what_an_uninterrupted_one_asks(self, tmp_path: Path) -> None:
        whole = self.make_study(NUMBERS, self.make_strategy())
        for _ in range(self.n_trials):
            self.tell(whole, _one(whole))
        resumed: list[dict[str, Any]] = []
        for _ in range(self.n_trials):
            with self.make_study(NUMBERS, self.make_strategy(), storage=tmp_path / "study.db") as study:
                trial = _one(study)
                resumed.append(trial.params)
                self.tell(study, trial)
        assert resumed == [trial.params for trial in whole.trials]

    def test_global_randomness_is_neither_read_nor_changed(self) -> None:
        asked = []
        for seed in (1, 2):
            random.seed(seed)
            np.random.seed(seed)
            before = random.getstate(), np.random.get_state(legacy=False)
            study = self.make_study(NUMBERS, self.make_strategy())
            for _ in range(self.n_trials):
                self.tell(study, _one(study))
            after = random.getstate(), np.random.get_state(legacy=False)
            assert after[0] == before[0]
            np.testing.assert_equal(after[1], before[1])
            asked.append([trial.params for trial in study.trials])
        assert asked[0] == asked[1]

    def test_a_finite_space_is_searched_to_its_end(self) -> None:
        study = self.make_study(FINITE, self.make_strategy())
        while batch := study.ask(4):
            for trial in batch:
                study.tell(trial, values_of(FINITE, trial.params), cost=1.0)
        found = {FINITE.encode(trial.params).tobytes() for trial in study.trials}
        assert len(found) == len(study.trials) == FINITE.size

    @pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a model may say that it cannot be fitted
    @pytest.mark.parametrize(
        "told",
        [
            lambda k, values: None,
            lambda k, values: {"loss": math.nan, "memory": 0.1},
            lambda k, values: {"loss": 1.0, "memory": 0.25},
            lambda k, values: {"loss": (-1.0) ** k * 1e300, "memory": (-1.0) ** k * 1e300},
            lambda k, values: values | {"memory": None},
            lambda k, values: values | {"memory": 7.0},
        ],
        ids=["failures", "not a number", "equal values", "huge values", "nothing measured", "nothing feasible"],
    )
    def test_it_goes_on_whatever_was_told(self, told: Callable[[int, dict[str, float]], Any]) -> None:
        study = self.make_study(NUMBERS, self.make_strategy())
        for k in range(self.n_trials):
            trial = _one(study)
            values = told(k, values_of(NUMBERS, trial.params))
            if values is None:
                study.fail(trial, "broke", cost=1.0)
            else:
                study.tell(trial, values, cost=1.0)

    def test_it_goes_on_while_everything_is_pending(self) -> None:
        study = self.make_study(NUMBERS, self.make_strategy())
        trials = [_one(study) for _ in range(self.n_trials)]
        assert len({json.dumps(trial.params) for trial in trials}) == self.n_trials

    def test_trials_from_elsewhere_are_taken_for_told_ones(self) -> None:
        study = self.make_study(NUMBERS, self.make_strategy())
        for x in np.linspace(0.1, 0.9, 9).tolist():
            params = {"x": x, "rate": 0.01}
            study.tell_external(params, values_of(NUMBERS, params), cost=1.0)
        self.tell(study, _one(study))
        assert study.ask() is not None


@functools.cache
def _run(contract: type[StrategyContract], space: str) -> Watched:
    """The calls of one study, made once for the tests that look at them."""
    this = contract()
    watched = Watched(this.make_strategy())
    study = this.make_study(SPACES[space], watched)
    while (n := len(study.trials)) < this.n_trials:
        batch = study.ask(3)[:2] if n % 4 == 0 else study.ask(1)
        for trial in batch:
            this.tell(study, trial)
    return watched


def _one(study: Study) -> Trial:
    trial = study.ask()
    assert trial is not None, study.why_stopped
    return trial
