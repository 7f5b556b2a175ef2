"""PriorwiseSampler: what it makes of a study of Optuna, and that processes need nothing but the storage."""

import copy
import math
import pickle
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

import bayesopt as bo
from bayesopt.errors import InvalidInputError, InvalidOutcomeError, InvalidPriorError
from bayesopt.integrations.optuna import PriorwiseSampler
from tests.bayesopt.workers.processes import ROOT

UNIT = {"x": FloatDistribution(0.0, 1.0), "y": FloatDistribution(0.0, 1.0)}


@pytest.fixture(autouse=True)
def _quiet(quiet_optuna): ...


class Spy:
    """A strategy that notes what it is shown, and proposes one place."""

    def __init__(self, place=0.25, before=lambda: None):
        self.place, self.before, self.seen = place, before, []

    def suggest(self, history, n, rng):
        self.seen.append(history)
        self.before()
        return [history.space.decode([self.place] * history.space.dim)] * n


def study_with(spy, trials=(), direction="minimize", **options):
    study = optuna.create_study(sampler=PriorwiseSampler(strategy=spy, seed=0, **options), direction=direction)
    for trial in trials:
        study.add_trial(trial)
    return study


def ended(x, y, value=None, state=TrialState.COMPLETE, **options):
    return create_trial(state=state, value=value, params={"x": x, "y": y}, distributions=UNIT, **options)


def suggest(study):
    trial = study.ask()
    return trial.suggest_float("x", 0.0, 1.0), trial.suggest_float("y", 0.0, 1.0)


def test_completed_trials_are_told_and_broken_ones_are_failures():
    spy = Spy()
    trials = [
        ended(0.1, 0.2, 3.0),
        ended(0.3, 0.4, state=TrialState.FAIL),
        ended(0.5, 0.6, math.inf),
        ended(0.7, 0.8, 2.0, state=TrialState.PRUNED),
        ended(0.9, 1.0, state=TrialState.PRUNED),
    ]
    study = study_with(spy, trials, direction="maximize")
    assert suggest(study) == (0.25, 0.25)
    (history,) = spy.seen
    assert history.X.tolist() == [[0.1, 0.2], [0.7, 0.8]]
    assert history.objective.tolist() == [3.0, 2.0]  # of a pruned trial, the last value that it reported
    assert history.failed.tolist() == [[0.3, 0.4], [0.5, 0.6], [0.9, 1.0]]
    assert history.n_asked == 5


def test_running_trials_are_pending_from_the_first_parameter_on():
    spy = Spy()
    study = study_with(spy, [ended(0.1, 0.2, 3.0)])
    first = study.ask()
    first.suggest_float("x", 0.0, 1.0)  # the objective has not asked for y yet
    spy.place = 0.5
    suggest(study)
    assert spy.seen[-1].pending.tolist() == [[0.25, 0.25]]
    study.tell(first, 1.0, skip_if_finished=True)


def test_a_running_trial_counts_by_what_it_really_runs():
    spy = Spy()
    study = study_with(spy, [ended(0.1, 0.2, 3.0)])
    study.enqueue_trial({"x": 0.9, "y": 0.8})
    suggest(study)
    suggest(study)
    assert spy.seen[-1].pending.tolist() == [[0.9, 0.8]]


@pytest.mark.parametrize(
    ("hours", "timeout", "pending"), [(2, 3600.0, 0), (2, 86400.0, 1), (48, None, 1), (48, 86400.0, 0)]
)
def test_a_trial_that_runs_for_too_long_is_a_ghost(hours, timeout, pending):
    spy = Spy()
    study = study_with(spy, [ended(0.1, 0.2, 3.0)], pending_timeout=timeout)
    study.add_trial(
        FrozenTrial(
            number=-1,
            trial_id=-1,
            state=TrialState.RUNNING,
            value=None,
            datetime_start=datetime.now() - timedelta(hours=hours),
            datetime_complete=None,
            params={"x": 0.5, "y": 0.5},
            distributions=UNIT,
            user_attrs={},
            system_attrs={},
            intermediate_values={},
        )
    )
    suggest(study)
    assert len(spy.seen[-1].pending) == pending


def test_constraints_are_met_when_not_positive_and_unknown_where_a_trial_lacks_them():
    spy = Spy()
    trials = [
        ended(0.1, 0.2, 3.0, constraints={"memory": -1.0, "value": 2.0}),  # one that is called as the objective is
        ended(0.3, 0.4, 2.0, constraints={"memory": 0.5}),
        ended(0.5, 0.6, 1.0),
        ended(0.7, 0.8, 1.0, constraints={"memory": math.inf}),
    ]
    suggest(study_with(spy, trials))
    (history,) = spy.seen
    # repr, since nan is not equal to itself
    assert repr(history.constraints.tolist()) == "[[-1.0, 2.0], [0.5, nan], [nan, nan]]"
    assert history.failed.tolist() == [[0.7, 0.8]]


def test_constraints_func_serves_as_it_does_with_the_samplers_of_optuna():
    spy = Spy()
    study = study_with(spy, constraints_func=lambda trial: [trial.params["x"] - 0.4, -1])
    study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=2)
    assert study.trials[0].constraints == pytest.approx({"0": 0.1, "1": -1.0})
    assert spy.seen[-1].constraints.tolist() == [pytest.approx([0.1, -1.0])]


@pytest.mark.parametrize("told", [[math.nan], 0.5, ["much"]])
def test_constraints_that_are_no_numbers_are_refused(told):
    study = study_with(Spy(), constraints_func=lambda trial: told)
    with pytest.raises(InvalidOutcomeError, match="expected a list of numbers for trial 0"):
        study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=1)


def test_steps_and_categories_come_back_as_what_they_were():
    choices = [True, 1, "1", None]  # the first two are equal in Python
    study = study_with(Spy(place=0.99))
    for _ in range(2):
        trial = study.ask()
        stepped = trial.suggest_float("stepped", 0.1, 0.7, step=0.1), trial.suggest_int("by_three", 1, 10, step=3)
        chosen = trial.suggest_categorical("chosen", choices)
        study.tell(trial, 1.0)
    assert stepped == (pytest.approx(0.7), 10)
    assert chosen is None


def test_parameters_whose_range_changes_or_that_some_trials_lack_are_drawn_alone():
    spy = Spy()
    study = study_with(spy)
    for width in (1.0, 2.0):
        trial = study.ask()
        trial.suggest_float("x", 0.0, 1.0), trial.suggest_float("changes", 0.0, width)
        if width == 2.0:
            trial.suggest_int("late", 0, 9)
        study.tell(trial, 1.0)
    trial = study.ask()
    drawn = [trial.suggest_float("changes", 0.0, 2.0), trial.suggest_int("late", 0, 9)]
    assert trial.suggest_float("x", 0.0, 1.0) == 0.25
    assert list(spy.seen[-1].space) == ["x"]
    assert 0 <= drawn[0] <= 2
    assert 0 <= drawn[1] <= 9


def test_the_same_seed_samples_the_same_in_whatever_process(tmp_path):
    """One process runs ten trials; ten processes run one each, with a sampler of their own."""

    def objective(trial):
        return (trial.suggest_float("x", 0.0, 1.0) - 0.3) ** 2 + 0.1 * trial.suggest_int("k", 0, 5)

    whole = optuna.create_study(sampler=PriorwiseSampler(seed=4))
    whole.optimize(objective, n_trials=8)
    url = f"sqlite:///{tmp_path / 'parts.db'}"
    for _ in range(8):
        sampler = pickle.loads(pickle.dumps(copy.deepcopy(PriorwiseSampler(seed=4))))
        part = optuna.create_study(sampler=sampler, storage=url, study_name="parts", load_if_exists=True)
        part.optimize(objective, n_trials=1)
    assert [trial.params for trial in part.trials] == [trial.params for trial in whole.trials]


def test_a_declared_space_makes_the_study_ask_what_ours_would():
    space = bo.Space({"x": bo.Float(0.0, 1.0), "k": bo.Int(0, 5)})
    ours = bo.Study(space, minimize="value", seed=4, noise=0.0)
    study = optuna.create_study(sampler=PriorwiseSampler(space, seed=4, noise=0.0))
    for _ in range(8):
        trial, asked = study.ask(), ours.ask()
        params = {"x": trial.suggest_float("x", 0.0, 1.0), "k": trial.suggest_int("k", 0, 5)}
        assert params == asked.params
        value = (params["x"] - 0.3) ** 2 + params["k"]
        study.tell(trial, value), ours.tell(asked, value)


def test_a_declared_space_brings_conditions_mixtures_and_beliefs():
    space = bo.Space({
        "kind": bo.Choice(["b", "a"]),
        "depth": bo.Int(1, 9, active_if={"kind": "b"}),
        "mix": bo.Simplex(["web", "code"]),
        "lr": bo.Float(1e-5, 1e-1, log=True),
    })
    sampler = PriorwiseSampler(space, priors=[bo.OptimumPrior({"lr": (3e-4, 1.5)})], seed=0)
    study = optuna.create_study(sampler=sampler)
    seen = []

    def objective(trial):
        depth = trial.suggest_int("depth", 1, 9) if trial.suggest_categorical("kind", ["b", "a"]) == "b" else 0
        shares = [trial.suggest_float(f"mix.{name}", 0.0, 1.0) for name in ("web", "code")]
        lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
        seen.append((sum(shares), lr))
        return shares[0] - depth + abs(math.log(lr / 3e-4))

    study.optimize(objective, n_trials=1)
    study.enqueue_trial({"kind": "b", "depth": 5, "mix.web": 0.5, "mix.code": 0.5, "lr": 3e-4})
    study.optimize(objective, n_trials=7)
    assert [total for total, _ in seen] == pytest.approx([1.0] * 8)
    assert seen[0][1] == pytest.approx(3e-4, rel=0.01)  # the mode of the belief comes first
    assert {("depth" in trial.params) == (trial.params["kind"] == "b") for trial in study.trials} == {True}
    assert study.trials[-1].params["kind"] == "b"  # where it is better by far


def test_two_processes_that_choose_at_the_same_time_do_not_choose_the_same():
    study = study_with(Spy(), [ended(0.1, 0.2, 3.0)])
    earlier = study.ask()  # another process, which is still thinking

    def the_other_has_chosen():
        if len(spy.seen) == 1:
            study.sampler = PriorwiseSampler(strategy=Spy(place=0.75), seed=0)
            assert earlier.suggest_float("x", 0.0, 1.0) == 0.75
            study.sampler = sampler

    spy = Spy(before=the_other_has_chosen)
    study.sampler = sampler = PriorwiseSampler(strategy=spy, seed=0)
    suggest(study)
    assert [history.pending.tolist() for history in spy.seen] == [[], [[0.75, 0.75]]]


def test_threads_of_one_process_never_get_the_same_point():
    study = optuna.create_study(sampler=PriorwiseSampler(seed=0))
    study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0) ** 2, n_trials=4)
    trials = [study.ask() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        points = list(pool.map(lambda trial: trial.suggest_float("x", 0.0, 1.0), trials))
    assert len({round(point, 6) for point in points}) == 4


@pytest.mark.slow
def test_processes_share_one_study(tmp_path):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    optuna.create_study(storage=url, study_name="shared")
    program = f"""
        import optuna
        from bayesopt.integrations.optuna import PriorwiseSampler
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.load_study(study_name="shared", storage={url!r}, sampler=PriorwiseSampler(seed=1))
        study.optimize(lambda trial: (trial.suggest_float("x", 0, 1) - 0.3) ** 2, n_trials=5)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    for process in [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]:
        assert process.wait(timeout=240) == 0
    trials = optuna.load_study(study_name="shared", storage=url).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 10
    assert min(trial.value for trial in trials) < 1e-2


def test_what_a_study_would_refuse_is_refused_by_the_sampler():
    with pytest.raises(InvalidPriorError, match="give the sampler the space"):
        PriorwiseSampler(priors=[bo.OptimumPrior({"x": (0.5, 0.1)})])
    with pytest.raises(InvalidInputError, match="strategy: expected an object with suggest"):
        PriorwiseSampler(strategy="best")
    with pytest.raises(InvalidInputError, match="seed"):
        PriorwiseSampler(seed=-1)
    with pytest.raises(InvalidInputError, match="constraints_func: expected a function"):
        PriorwiseSampler(constraints_func=3.0)


def test_several_objectives_are_refused_by_name():
    study = optuna.create_study(directions=["minimize"] * 2, study_name="pareto", sampler=PriorwiseSampler())
    with pytest.raises(ValueError, match="one objective, and the study 'pareto' has 2"):
        study.ask().suggest_float("x", 0.0, 1.0)


def test_every_kind_of_distribution_has_a_place_in_the_cube():
    distributions = {
        "a": FloatDistribution(1e-3, 1.0, log=True),
        "b": IntDistribution(1, 64, log=True),
        "c": CategoricalDistribution(["u", "v"]),
    }
    study = optuna.create_study(sampler=PriorwiseSampler(seed=0))
    for _ in range(6):
        trial = study.ask(distributions)
        study.tell(trial, trial.params["a"] + trial.params["b"])
    for name, distribution in distributions.items():
        assert all(distribution._contains(distribution.to_internal_repr(t.params[name])) for t in study.trials)
