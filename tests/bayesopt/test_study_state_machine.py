"""Whatever the order of calls, a study agrees with a plain Python model of what it should hold."""

import math
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import bayesopt as bo
from bayesopt.errors import InvalidOutcomeError, TrialStateError
from tests.bayesopt.workers.tasks import Uniform

SPACE = bo.Space({"x": bo.Float(0.0, 1.0), "k": bo.Int(0, 9), "kind": bo.Choice(["a", "b"])})
MAX_TRIALS = 12

params = st.fixed_dictionaries({
    "x": st.floats(0.0, 1.0),
    "k": st.integers(0, 9),
    "kind": st.sampled_from(["a", "b"]),
}).map(lambda p: SPACE.decode(SPACE.encode(p)))
numbers = st.floats(allow_nan=False, allow_infinity=False)
broken = st.sampled_from([math.nan, math.inf, -math.inf])
costs = st.none() | st.floats(0.0, 1e6)


class StudyAgainstModel(RuleBasedStateMachine):
    """The model: a list of dicts, one a trial, with what the test knows of it."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.model = []
        self.study = None

    @initialize()
    def declare(self):
        self.open()

    def open(self):
        self.study = bo.Study(
            SPACE,
            maximize="score",
            subject_to=[bo.AtMost("memory", 1.0)],
            storage=self.folder / "study.db",
            seed=1,
            strategy=Uniform(),
            budget=bo.Budget(trials=MAX_TRIALS),
        )

    def teardown(self):
        if self.study is not None:
            self.study.close()
        shutil.rmtree(self.folder)

    def charged(self):
        return sum(t["source"] != "external" and t["state"] != "queued" and not t["lost"] for t in self.model)

    def ids(self, *states):
        return [i for i, t in enumerate(self.model) if t["state"] in states]

    def add(self, trial, **facts):
        assert trial.id == len(self.model)
        known = {"params": trial.params, "state": "pending", "values": {}, "cost": None, "lost": False}
        self.model.append(known | {"source": "asked"} | facts)

    def take(self, n):
        """What an ask for n must do to the model; the ids of the queued trials that it hands out, and how many more."""
        admitted = max(0, min(n, MAX_TRIALS - self.charged()))
        queued = self.ids("queued")[:admitted]
        for i in queued:
            self.model[i]["state"] = "pending"
        return queued, admitted - len(queued)

    @rule()
    def ask(self):
        queued, fresh = self.take(1)
        trial = self.study.ask()
        if queued:
            assert (trial.id, trial.params) == (queued[0], self.model[queued[0]]["params"])
        elif fresh:
            self.add(trial)
        else:
            assert trial is None
            assert self.study.why_stopped == f"budget: all {MAX_TRIALS} trials are used"

    @rule(n=st.integers(1, 4))
    def ask_several(self, n):
        queued, fresh = self.take(n)
        trials = self.study.ask(n)
        assert [trial.id for trial in trials[: len(queued)]] == queued
        assert len(trials) == len(queued) + fresh
        for trial in trials[len(queued) :]:
            self.add(trial)

    def endable(self):
        return [i for i, t in enumerate(self.model) if t["state"] == "pending" or t["lost"]]

    @precondition(lambda self: self.endable())
    @rule(data=st.data(), score=numbers, memory=st.none() | numbers, cost=costs)
    def tell(self, data, score, memory, cost):
        i = data.draw(st.sampled_from(self.endable()))
        values = {"memory": memory, "score": score}
        trial = self.study.tell(i, values, cost=cost)
        assert trial.state == "complete" and trial.reason is None
        self.model[i] |= {"state": "complete", "values": values, "cost": cost, "lost": False}

    @precondition(lambda self: self.endable())
    @rule(data=st.data(), value=broken)
    def tell_what_is_not_finite(self, data, value):
        i = data.draw(st.sampled_from(self.endable()))
        values = {"score": value, "memory": 0.5}
        trial = self.study.tell(self.study.trials[i], values)
        assert trial.state == "failed" and "score is" in trial.reason
        self.model[i] |= {"state": "failed", "values": values, "cost": None, "lost": False}

    @precondition(lambda self: self.endable())
    @rule(data=st.data(), reason=st.text(), cost=costs)
    def fail(self, data, reason, cost):
        i = data.draw(st.sampled_from(self.endable()))
        assert self.study.fail(i, reason, cost=cost).state == "failed"
        self.model[i] |= {"state": "failed", "cost": cost, "lost": False}

    @precondition(lambda self: self.endable())
    @rule(data=st.data())
    def abandon(self, data):
        i = data.draw(st.sampled_from(self.endable()))
        assert self.study.abandon(i).lost
        self.model[i] |= {"state": "failed", "lost": True}

    @precondition(lambda self: len(self.endable()) < len(self.model))
    @rule(data=st.data())
    def end_what_has_ended_or_was_not_asked(self, data):
        i = data.draw(st.sampled_from([i for i in range(len(self.model)) if i not in self.endable()]))
        end = data.draw(
            st.sampled_from([lambda: self.study.tell(i, {"score": 1, "memory": 1}), lambda: self.study.fail(i)])
        )
        with pytest.raises(TrialStateError, match=f"trial {i} (has ended already|is queued)"):
            end()

    @rule(id=st.integers(100, 200))
    def tell_an_unknown_trial(self, id):
        with pytest.raises(TrialStateError, match="is unknown"):
            self.study.tell(id, {"score": 1.0, "memory": 1.0})

    @precondition(lambda self: self.endable())
    @rule(data=st.data())
    def tell_half(self, data):
        i = data.draw(st.sampled_from(self.endable()))
        with pytest.raises(InvalidOutcomeError, match="'memory' missing"):
            self.study.tell(i, {"score": 1.0})

    @rule(params=params)
    def enqueue(self, params):
        self.add(self.study.enqueue(params), state="queued", source="enqueued", params=params)

    @rule(params=params, score=numbers | broken)
    def tell_external(self, params, score):
        values = {"score": score, "memory": 1.0}
        state = "complete" if math.isfinite(score) else "failed"
        trial = self.study.tell_external(params, values)
        self.add(trial, state=state, source="external", values=values, params=params)

    @rule()
    def reopen(self):
        self.study.close()
        self.open()

    @rule(params=params)
    def another_process_enqueues(self, params):
        with bo.Study.open(self.folder / "study.db") as other:
            self.add(other.enqueue(params), state="queued", source="enqueued", params=params)

    @invariant()
    def the_study_holds_what_the_model_holds(self):
        if self.study is None:
            return
        trials = self.study.trials
        assert [trial.id for trial in trials] == list(range(len(self.model)))
        for trial, known in zip(trials, self.model, strict=True):
            assert {name: getattr(trial, name) for name in known if name != "values"} == {
                name: fact for name, fact in known.items() if name != "values"
            }
            assert trial.values.keys() == known["values"].keys()
            assert all(_same(trial.values[name], value) for name, value in known["values"].items())

    @invariant()
    def the_summary_follows_from_the_trials(self):
        if self.study is None:
            return
        complete = [t for t in self.model if t["state"] == "complete"]
        feasible = [t["values"]["score"] for t in complete if (m := t["values"]["memory"]) is not None and m <= 1.0]
        best = self.study.best_observed
        assert (best is None) == (not feasible)
        assert best is None or best.values["score"] == max(feasible)
        assert (self.study.verdict == "feasible") == bool(feasible)  # of the others a model may say more
        assert self.study.done == (self.charged() >= MAX_TRIALS)
        assert self.study.budget.pending == sum(t["state"] == "pending" for t in self.model)
        charged_costs = [t["cost"] for t in self.model if t["cost"] is not None and t["source"] != "external"]
        assert math.isclose(self.study.budget.spent_cost, sum(charged_costs), rel_tol=1e-12)
        history = self.study.history
        assert (len(history.ids), len(history.pending), len(history.failed)) == (
            len(complete),
            sum(t["state"] == "pending" for t in self.model),
            sum(t["state"] == "failed" and not t["lost"] for t in self.model),
        )


def _same(a, b):
    if a is None or b is None:
        return a is b
    return math.isnan(a) if math.isnan(b) else a == b


TestStudyAgainstModel = StudyAgainstModel.TestCase
TestStudyAgainstModel.settings = settings(
    max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.mark.slow
class TestStudyAgainstModelAtLength(StudyAgainstModel.TestCase):
    settings = settings(
        max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
