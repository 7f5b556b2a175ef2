"""Studies carried over to Optuna and back."""

import math

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

import bayesopt as bo
from bayesopt.errors import InvalidInputError, InvalidParamsError, InvalidSpaceError, StudyMismatchError
from bayesopt.integrations.optuna import from_optuna, to_optuna

X = {"x": FloatDistribution(0.0, 1.0)}


@pytest.fixture(autouse=True)
def _quiet(quiet_optuna): ...


def our_study(**options):
    space = bo.Space({
        "lr": bo.Float(1e-5, 1e-1, log=True),
        "kind": bo.Choice(["adamw", "sgd"]),
        "momentum": bo.Float(0.0, 1.0, active_if={"kind": "sgd"}),
        "mix": bo.Simplex(["web", "code"]),
    })
    constraints = [bo.AtMost("memory", 24.0), bo.AtLeast("accuracy", 0.9)]
    study = bo.Study(space, minimize="loss", subject_to=constraints, seed=0, name="ours", **options)
    mix = {"web": 0.25, "code": 0.75}
    study.enqueue({"lr": 1e-3, "kind": "sgd", "momentum": 0.5, "mix": mix})
    study.tell(study.ask(), {"loss": 2.5, "memory": 20.0, "accuracy": None, "tokens": 7}, cost=3.0)
    study.enqueue({"lr": 1e-2, "kind": "adamw", "mix": mix})
    study.fail(study.ask(), "diverged")
    study.ask()
    return study


def test_a_study_of_ours_reads_as_one_of_optunas(tmp_path):
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    to_optuna(our_study(), url)
    told, failed = optuna.load_study(study_name="ours", storage=url).trials  # the pending one is left out
    assert (told.state, told.value) == (TrialState.COMPLETE, 2.5)
    assert told.params == {"lr": 1e-3, "kind": "sgd", "momentum": 0.5, "mix.web": 0.25, "mix.code": 0.75}
    assert told.distributions["lr"] == FloatDistribution(1e-5, 1e-1, log=True)
    assert told.constraints == {"memory <= 24": -4.0}  # the accuracy was not measured
    assert told.user_attrs == {"priorwise id": 0, "cost": 3.0, "memory": 20.0, "tokens": 7.0}
    assert told.datetime_start <= told.datetime_complete
    assert (failed.state, failed.user_attrs["reason"]) == (TrialState.FAIL, "diverged")
    assert failed.params.keys() == {"lr", "kind", "mix.web", "mix.code"}


def test_written_again_a_study_adds_what_has_ended_since():
    study, storage = our_study(), optuna.storages.InMemoryStorage()
    to_optuna(study, storage)
    study.tell(2, {"loss": 1.0, "memory": 1.0, "accuracy": 1.0})
    for _ in range(2):
        exported = to_optuna(study, storage)
        assert [trial.user_attrs["priorwise id"] for trial in exported.trials] == [0, 1, 2]
    assert exported.best_value == 1.0


def test_another_study_of_that_name_is_left_alone():
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(study_name="ours", storage=storage, direction="maximize")
    with pytest.raises(StudyMismatchError, match="another name"):
        to_optuna(our_study(), storage)
    assert to_optuna(our_study(), storage, name="theirs").study_name == "theirs"


def test_there_and_back_again_a_study_knows_the_same():
    ours = our_study()
    back = from_optuna(to_optuna(ours, optuna.storages.InMemoryStorage()), ours.space, minimize="loss")
    assert [trial.params for trial in back.trials] == [trial.params for trial in ours.trials[:2]]
    assert [trial.state for trial in back.trials] == ["complete", "failed"]
    assert back.trials[0].values == {"loss": 2.5, "memory <= 24": -4.0}
    assert back.budget.spent_trials == 0


def test_a_study_of_optunas_goes_on_here():
    source = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))

    def objective(trial):
        x = trial.suggest_float("x", -1.0, 1.0)
        steps, by_two = trial.suggest_float("steps", 0.0, 1.0, step=0.1), trial.suggest_int("by_two", 2, 8, step=2)
        trial.suggest_categorical("kind", ["a", None]), trial.suggest_int("constant", 3, 3)
        if trial.number == 4:
            raise optuna.TrialPruned
        return -(x**2) - steps - by_two

    source.optimize(objective, n_trials=8)
    study = from_optuna(source, budget=bo.Budget(trials=2), seed=0)
    assert study.space["by_two"] == bo.Choice([2, 4, 6, 8], ordered=True)
    assert study.space["kind"] == bo.Choice(["a", None])
    assert len(study.space["steps"].options) == 11
    assert "constant" not in study.space
    assert study.best_observed.values["value"] == source.best_value
    assert [trial.state for trial in study.trials].count("failed") == 1
    assert len(study.ask(5)) == 2


def test_too_many_steps_become_a_range():
    source = optuna.create_study()
    distributions = {"x": FloatDistribution(0.0, 1.0, step=1e-4), "k": IntDistribution(0, 10**6, step=5)}
    source.add_trial(create_trial(value=1.0, params={"x": 0.5, "k": 25}, distributions=distributions))
    assert dict(from_optuna(source).space) == {"x": bo.Float(0.0, 1.0), "k": bo.Int(0, 10**6)}


def test_trials_that_do_not_agree_on_a_space_need_one():
    source = optuna.create_study()
    with pytest.raises(InvalidSpaceError, match="no trial has ended"):
        from_optuna(source)
    kind = CategoricalDistribution(["a", "b"])
    source.add_trial(create_trial(value=1.0, params={"kind": "a"}, distributions={"kind": kind}))
    source.add_trial(create_trial(value=2.0, params={"kind": "b", "x": 0.5}, distributions={"kind": kind} | X))
    with pytest.raises(InvalidSpaceError, match=r"'x' is None in trial 0 .* in trial 1; give space="):
        from_optuna(source)
    space = bo.Space({"kind": bo.Choice(["a", "b"]), "x": bo.Float(0.0, 1.0, active_if={"kind": "b"})})
    assert [trial.params for trial in from_optuna(source, space).trials] == [{"kind": "a"}, {"kind": "b", "x": 0.5}]
    with pytest.raises(InvalidParamsError, match=r"trial 0: .*x. is missing"):
        from_optuna(source, bo.Space({"kind": bo.Choice(["a", "b"]), "x": bo.Float(0.6, 1.0)}))


def test_a_value_that_is_not_finite_is_a_failure_here_too():
    source = optuna.create_study()
    source.add_trial(create_trial(value=math.inf, params={"x": 0.5}, distributions=X))
    assert [trial.state for trial in from_optuna(source).trials] == ["failed"]


def test_what_cannot_be_carried_over_is_named():
    with pytest.raises(InvalidInputError, match="has 2 objectives"):
        from_optuna(optuna.create_study(directions=["minimize"] * 2))
    with pytest.raises(InvalidInputError, match=r"maximize: .* is to minimize"):
        from_optuna(optuna.create_study(), maximize="accuracy")
