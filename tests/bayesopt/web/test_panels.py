"""What is said: best, budget, verdict, beliefs, and why the last trial was proposed."""

import dataclasses
import time

import numpy as np
import pytest

import bayesopt as bo
from bayesopt.web.adviser import Adviser
from bayesopt.web.beliefs import belief_text
from bayesopt.web.facts import details, facts
from bayesopt.web.proposal import why
from bayesopt.web.snapshot import Snapshot
from bayesopt.web.table import rows_of, table
from tests.bayesopt.web.studies import SPACE, Quick, usual_study

LINE = bo.Space({"x": bo.Float(0.0, 1.0), "y": bo.Float(1e-4, 1.0, log=True)})


def facts_of(study):
    return facts(study, Snapshot.of(study), Adviser(study))


def judged(study, adviser=None):
    """The facts once the model has looked."""
    adviser, snapshot = adviser or Adviser(study), Snapshot.of(study)
    give_up_at = time.monotonic() + 120
    while not adviser.opinion(snapshot)[1]:
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
    return facts(study, snapshot, adviser)


def test_the_best_is_what_the_study_says():
    study = usual_study()
    best = facts_of(study)["best"]
    assert best["id"] == study.best.id == study.best_observed.id
    assert best["value"] == f"{study.best.values['val_loss']:.6g}"
    assert best["note"] is None
    assert ("memory_gb", f"{study.best.values['memory_gb']:.6g}", "≤ 16") in best["values"]


def test_under_noise_the_best_is_the_models_where_it_has_judged():
    study = bo.Study(LINE, minimize="loss", seed=0, strategy=bo.strategies.RandomSearch())
    for value in (3.0, 1.0, 2.0):
        study.tell(study.ask(), value)
    assert (facts_of(study)["best"]["id"], facts_of(study)["best"]["note"]) == (1, "as measured, luck included")
    study._store.recommend({"told": 3, "trial": 2})
    best = facts_of(study)["best"]
    assert (best["id"], best["value"]) == (2, "2")
    assert "takes the better value of trial 1 for luck" in best["note"]


def test_the_budget_is_what_the_study_says():
    study = usual_study()
    budget = facts_of(study)["budget"]
    assert budget["trials"] == {"spent": 32, "pending": 2, "limit": 48, "left": 14}
    assert budget["cost"]["left"] == pytest.approx(study.budget.remaining_cost)
    assert budget["cost"]["spent"] == pytest.approx(sum(t.cost for t in study.trials if t.cost))
    unlimited = facts_of(bo.Study(LINE, minimize="loss"))["budget"]
    assert not unlimited["is_known"]
    assert unlimited["trials"]["left"] is None


def test_every_kind_of_trial_is_counted():
    study = usual_study()
    counts = dict(facts_of(study)["counts"])
    assert counts["pending"] == 2
    assert counts["queued"] == counts["unmeasured"] == 1
    assert counts["failed"] == sum(trial.state == "failed" for trial in study.trials)
    assert sum(counts.values()) == len(study.trials)
    study.abandon(next(trial for trial in study.trials if trial.state == "pending"))
    assert dict(facts_of(study)["counts"])["lost"] == 1


@pytest.mark.slow
def test_a_verdict_that_needs_a_model_comes_when_it_has_looked_and_is_the_studys():
    study = bo.Study(
        LINE, minimize="loss", subject_to=[bo.AtMost("c", 0.0)], seed=0, strategy=bo.strategies.RandomSearch()
    )
    for _ in range(24):
        trial = study.ask()
        study.tell(trial, {"loss": trial.params["x"], "c": 5.0 + trial.params["x"]})
    adviser = Adviser(study)
    first = facts(study, Snapshot.of(study), adviser)["verdict"]
    assert first == {"status": "undecided", "evidence": "a model is looking at it", "is_current": False}
    verdict = judged(study, adviser)["verdict"]
    assert verdict["status"] == study.verdict
    assert verdict["evidence"][:80] == study.verdict.evidence[:80]
    assert verdict["is_current"]


@pytest.mark.slow
def test_beliefs_are_judged_as_the_study_judges_them():
    study = bo.Study(LINE, minimize="loss", noise=0.0, seed=0, priors=[bo.OptimumPrior({"x": (0.2, 0.1)})])
    for x in np.linspace(0.0, 1.0, 6).tolist():
        study.tell_external({"x": x, "y": 0.1}, (x - 0.8) ** 2)
    beliefs = judged(study)["beliefs"]
    assert beliefs["n_told"] == 6
    assert beliefs["each"][0]["probability"] == pytest.approx(
        study.beliefs.probability, rel=1e-2
    )  # three digits are sent
    assert beliefs["all"] is None
    assert facts_of(bo.Study(LINE, minimize="loss"))["beliefs"] is None


def test_a_model_that_breaks_is_said_and_the_page_goes_on(monkeypatch):
    study = usual_study()
    monkeypatch.setattr(bo.Study, "beliefs", property(lambda self: 1 / 0))
    beliefs = judged(study)["beliefs"]
    assert beliefs["error"] == "ZeroDivisionError: division by zero"
    assert [belief["probability"] for belief in beliefs["each"]] == [None, None]


@pytest.mark.parametrize(
    ("prior", "text"),
    [
        (bo.OptimumPrior({"lr": (3e-4, 3.0)}), "The best place has lr near 0.0003, give or take a factor of 3."),
        (bo.OptimumPrior({"layers": (4, 1.5)}), "The best place has layers near 4 ± 1.5."),
        (
            bo.OptimumPrior({"optimizer": {"adamw": 3, "sgd": 1}}),
            "The best place has optimizer adamw 75 %, sgd 25 %.",
        ),
        (
            bo.OptimumPrior({"mixture": ({"web": 0.5, "code": 0.3, "math": 0.2}, 10.0)}),
            "The best place has mixture near web 0.5, code 0.3, math 0.2.",
        ),
        (bo.OptimumPrior(lambda params: 0.0), "The best place follows a density of your own."),
        (bo.OptimalValuePrior(mean=2.2, sd=0.05), "The best loss is 2.2 ± 0.05."),
        (bo.OptimalValuePrior(at_least=1.0, at_most=2.0), "The best loss is at least 1 and at most 2."),
        (bo.OptimalValuePrior(at_most=2.0, softness=0.1), "The best loss is at most 2, give or take 0.1."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_belief_is_put_in_words(prior, text):
    assert belief_text(prior, SPACE, "loss") == text


def test_preferences_are_counted():
    first, second = ({"x": x, "y": 0.1} for x in (0.1, 0.2))
    one = bo.PreferencePrior([(first, second)])
    assert belief_text(one, LINE, "loss") == "1 configuration is better than another each."


class Scripted:
    """Proposes what it was given, as a strategy with a model would."""

    def __init__(self, *places):
        self.places = places

    def suggest(self, history, n, rng):
        x, memory = self.places[history.n_asked]
        return [bo.strategies.Suggestion({"x": x, "y": 0.1}, memory)]


def last_why(*places, **options):
    study = bo.Study(LINE, minimize="loss", seed=0, strategy=Scripted(*places), **options)
    for _ in places[:-1]:
        trial = study.ask()
        study.tell(trial, (trial.params["x"] - 0.5) ** 2)
    trial = study.ask()
    return why(Snapshot.of(study), trial.id, LINE)


BY_MODEL = {"fits": [1]}


def test_why_tells_a_start_from_a_models_choice():
    assert last_why((0.5, None)).startswith("No model had a say: it spreads over the space")
    assert last_why((0.5, BY_MODEL)) == "A model chose it."


def test_why_tells_refining_from_exploring():
    near = last_why((0.45, None), (0.9, None), (0.5, BY_MODEL))
    assert near == (
        "A model of the 2 trials told by then chose it; it refines trial 0, which is within 5 % of every parameter's "
        "range; its largest step from the best then, trial 0, is in x: 0.45 → 0.5."
    )
    far = last_why((0.6, None), (0.9, None), (0.1, BY_MODEL))
    assert "it looks where little is known: even the nearest, trial 0, is 50 % of a range away" in far
    between = last_why((0.6, None), (0.9, None), (0.4, BY_MODEL))
    assert "it goes on from trial 0, the nearest, 20 % of a range away" in between


def test_why_knows_only_what_was_told_before():
    study = bo.Study(LINE, minimize="loss", seed=0, strategy=Scripted((0.1, None), (0.2, BY_MODEL), (0.9, BY_MODEL)))
    study.tell(study.ask(), 1.0)
    asked = study.ask()
    study.tell(study.ask(), 0.0)  # better, but told later than the second was asked for
    assert "A model of the 1 trials" in why(Snapshot.of(study), asked.id, LINE)
    assert "trial 2" not in why(Snapshot.of(study), asked.id, LINE)


def test_why_of_what_no_strategy_proposed():
    study = bo.Study(LINE, minimize="loss", seed=0, strategy=Quick())
    study.enqueue({"x": 0.5, "y": 0.5})
    study.tell_external({"x": 0.1, "y": 0.5}, 1.0)
    snapshot = Snapshot.of(study)
    assert why(snapshot, 0, LINE) == "You queued this configuration yourself."
    assert why(snapshot, 1, LINE) == "It was evaluated elsewhere and told to the study."


def test_a_trials_own_sentence_comes_first():
    study = usual_study()
    snapshot = Snapshot.of(study)
    trials = [dataclasses.replace(t, grounds={"text": "It may be the best by 0.3."}) for t in snapshot.trials]
    told = dataclasses.replace(snapshot, trials=trials)
    assert details(study, told, 0)["why"] == "It may be the best by 0.3."


def test_the_table_lists_pages_in_every_order():
    study = usual_study()
    snapshot = Snapshot.of(study)
    assert rows_of(snapshot, "newest", "all") == list(range(34, -1, -1))
    assert rows_of(snapshot, "oldest", "all") == list(range(35))
    best = [snapshot.trials[row].values["val_loss"] for row in rows_of(snapshot, "best", "feasible")]
    assert best == sorted(best)
    assert rows_of(snapshot, "best", "all")[0] == study.best.id
    pages = [table(snapshot, SPACE, study.outcomes, page=p, order="oldest", show="all") for p in (1, 2, 99)]
    listed = [[row["id"] for row in page["rows"]] for page in pages]
    assert listed == [list(range(25)), list(range(25, 35)), list(range(25, 35))]
    assert [(page["page"], page["first"]) for page in pages] == [(1, 1), (2, 26), (2, 26)]
    assert all(len(row["cells"]) == len(page["columns"]) for page in pages for row in page["rows"])


def test_cells_say_what_is_missing_and_what_no_number_is():
    study = bo.Study(bo.Space({"x": bo.Float(0.0, 1.0)}), minimize="loss", subject_to=[bo.AtMost("m", 1.0)], seed=0)
    study.tell(study.ask(), {"loss": float("nan"), "m": None})
    snapshot = Snapshot.of(study)
    row = table(snapshot, study.space, study.outcomes, page=1, order="newest", show="all")["rows"][0]
    assert row["kind"] == "failed"
    assert row["cells"][:2] == ["nan", "not measured"]
    assert row["cells"][-1] == "loss is nan"
