"""Why a point was proposed: the numbers against the surrogate that an ask fits, and what becomes of them."""

import math

import numpy as np
import pytest
from scipy.special import ndtr

import bayesopt as bo
from bayesopt.explain.expectations import expectations
from bayesopt.record.history import History
from bayesopt.strategies import ExpectedImprovement, RandomSearch, Suggestion
from bayesopt.surrogate import fit_surrogate

pytestmark = pytest.mark.usefixtures("one_thread")

SPACE = bo.Space({"x": bo.Float(0.0, 1.0), "y": bo.Float(0.0, 1.0)})


def tell(study, trial):
    x, y = trial.params["x"], trial.params["y"]
    if x > 0.85:
        return study.fail(trial, "broke")
    return study.tell(trial, {"gain": math.sin(5 * x) + 10.0 + y, "memory": 3.0 * x + y})


def make_study(n=0, **options):
    declared = {"maximize": "gain", "subject_to": [bo.AtMost("memory", 2.5)], "seed": 4} | options
    study = bo.Study(SPACE, **declared)
    for _ in range(n):
        tell(study, study.ask())
    return study


def test_the_numbers_are_those_of_the_joint_posterior():
    history = make_study(14, strategy=RandomSearch()).history
    surrogate = fit_surrogate(history)
    U = np.array([[0.3, 0.8], [0.6, 0.1]])
    model = surrogate.objective
    feasible = np.flatnonzero(surrogate.told_probability_feasible >= 0.5)
    row = feasible[np.argmax(surrogate.told_mean_sd[0][feasible])]
    for u, grounds in zip(U, expectations(surrogate, U), strict=True):
        mean, covariance, _ = model.predictor.joint(surrogate.features(np.array([u, history.X[row]])))
        mean, covariance = model.offset + model.scale * mean[:, 0], model.scale**2 * covariance
        sd = math.sqrt(covariance[0, 0])
        units = surrogate.scale.to_units(mean[0] + sd * np.array([-1.959964, 0.0, 1.959964]))
        expects = grounds["expects"]
        # the same numbers by other orders of summation
        assert [expects[part] for part in ("low", "median", "high")] == pytest.approx(units.tolist(), rel=1e-8)
        gap = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
        assert grounds["improves"] == pytest.approx(float(ndtr((mean[0] - mean[1]) / gap)), abs=1e-5)
        assert grounds["best"]["trial"] == history.ids[row]
        # noise-free as far as the data can tell: what is believed there is what was told, but for the learned noise
        assert grounds["best"]["median"] == pytest.approx(history.objective[row], abs=0.05)
        holds = np.exp(surrogate.log_probability_feasible(surrogate.features(u[None])))[0]
        assert grounds["holds"] == {"memory <= 2.5": pytest.approx(holds)}
        assert 0.0 < grounds["survives"] < 1.0


def test_every_trial_of_a_study_says_why_and_says_the_same_after_reopening(tmp_path):
    path = tmp_path / "study.db"
    with make_study(12, storage=path, name="s", budget=bo.Budget(trials=13, confirm=1)) as study:
        study.enqueue({"x": 0.5, "y": 0.5})
        study.tell_external({"x": 0.25, "y": 0.5}, {"gain": 10.0, "memory": 1.0})
        why = [trial.why for trial in study.trials]
    assert why[0] == "Start, trial 1 of 4: the middle of the space, before any model."
    assert why[3] == "Start, trial 4 of 4: a point that fills the space evenly, before any model."
    assert all(one.startswith(("Exploiting", "Exploring")) and "gain 1" in one for one in why[4:12])
    assert all("memory <= 2.5 holds with" in one for one in why[4:12])
    assert why[12:] == ["Queued by you.", "Evaluated elsewhere and told."]
    with bo.Study.open(path, budget=bo.Budget(trials=14, confirm=1)) as reopened:
        assert [trial.why for trial in reopened.trials] == why
        assert reopened.ask().id == 12  # the queued one
        assert reopened.ask().why.startswith("Repeats trial ")


def test_a_search_that_stands_still_says_that_it_stays_close():
    study = make_study(0, subject_to=[], noise=0.0)
    for k in range(16):
        trial = study.ask()
        study.tell(trial, {"gain": 5.0 if k == 0 else -trial.params["x"]})
    assert any(
        trial.why.startswith(("Exploring around trial 0: ", "Exploiting around trial 0: ")) for trial in study.trials
    )


def test_beliefs_are_named_with_their_probabilities():
    study = make_study(6, subject_to=[], priors=[bo.OptimumPrior({"x": (0.3, 0.2)})])
    assert study.trials[0].why == "Start, trial 1 of 3: where your beliefs put the optimum, before any model."
    told = [trial for trial in study.trials if "your belief is taken to be right with" in trial.why]
    assert len(told) >= 2
    (probability,) = told[-1].grounds["beliefs"]
    assert 0.0 < probability < 1.0


def test_trials_of_one_batch_have_their_own_grounds():
    study = make_study(8)
    batch = study.ask(3)
    assert len({trial.why for trial in batch}) == 3


def test_no_reason_is_invented_for_a_strategy_that_gives_none_and_its_own_is_kept():
    class Mine:
        def suggest(self, history, n, rng):
            return [Suggestion({"x": 0.5, "y": rng.random()}, grounds={"text": "I like the middle."})]

    assert make_study(strategy=Mine()).ask().why == "I like the middle."
    assert make_study(strategy=RandomSearch()).ask().why == "No reason is on record."


def test_grounds_that_are_no_json_are_refused_with_the_name_of_the_strategy():
    class Wrong:
        def suggest(self, history, n, rng):
            return [Suggestion({"x": 0.5, "y": 0.5}, grounds={"array": np.ones(2)})]

    with pytest.raises(bo.errors.InvalidInputError, match="the reason of the strategy Wrong is kept as JSON"):
        make_study(strategy=Wrong()).ask()


def test_the_point_does_not_depend_on_its_explanation(monkeypatch):
    from bayesopt.strategies import model_based

    def asked():
        return [trial.params for trial in make_study(10).trials]

    explained = asked()
    monkeypatch.setattr(model_based, "expectations", lambda surrogate, U: [{} for _ in U])
    assert asked() == explained


def test_a_model_that_breaks_down_is_said(monkeypatch):
    history: History = make_study(8).history

    def breaks(*_):
        raise ArithmeticError("on purpose")

    monkeypatch.setattr(ExpectedImprovement, "_choose", breaks)
    with pytest.warns(RuntimeWarning, match="broke down"):
        (suggestion,) = ExpectedImprovement().suggest(history, 1, np.random.default_rng(0))
    assert suggestion.grounds["start"]["point"] == "fallback"
