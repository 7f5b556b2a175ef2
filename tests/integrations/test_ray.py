"""PriorwiseSearch: what it makes of what Ray tells it, inside a real Tuner on a local cluster, and after a restart."""

import math
import pickle

import pytest
import ray
from ray import tune

import bayesopt as bo
from bayesopt.errors import InvalidInputError, InvalidSpaceError, StudyMismatchError
from bayesopt.integrations.ray import PriorwiseSearch

SPACE = bo.Space({"x": bo.Float(0.0, 1.0), "k": bo.Int(0, 9)})


def search_of(**options):
    return PriorwiseSearch(SPACE, **({"metric": "loss", "mode": "min", "seed": 0, "noise": 0.0} | options))


def states(search):
    return [trial.state for trial in search.study.trials]


def test_trials_end_as_ray_says():
    search = search_of(subject_to=[bo.AtMost("memory", 24.0)])
    ends = {
        "told": ({"loss": 1.0, "memory": 20.0, "training_iteration": 3}, False),
        "unmeasured": ({"loss": 1.0}, False),
        "nan": ({"loss": math.nan, "memory": 20.0}, False),
        "raised": (None, True),
        "silent": ({"training_iteration": 3}, False),
        "text": ({"loss": "much"}, False),
    }
    for trial_id, (result, error) in ends.items():
        search.suggest(trial_id)
        search.on_trial_complete(trial_id, result, error)
    assert states(search) == ["complete"] * 2 + ["failed"] * 4
    assert search.study.trials[1].values == {"loss": 1.0, "memory": None}
    assert [trial.lost for trial in search.study.trials] == [False] * 6
    assert search.study.trials[4].reason == "ended without reporting 'loss'"
    search.suggest("stopped")
    search.on_trial_complete("stopped")
    assert search.study.trials[6].lost


def test_a_search_asks_what_a_study_would_while_others_are_pending():
    search, study = search_of(), bo.Study(SPACE, minimize="loss", seed=0, noise=0.0)
    pending = [("a", search.suggest("a"), study.ask())]
    for trial_id in "bcdefg":
        pending.append((trial_id, search.suggest(trial_id), study.ask()))
        done, params, trial = pending.pop(0)
        assert params == trial.params
        value = (params["x"] - 0.3) ** 2 + params["k"]
        search.on_trial_complete(done, {"loss": value}), study.tell(trial, value)


@pytest.mark.parametrize("way", ["file", "pickle"])
def test_a_restored_search_goes_on_as_if_nothing_had_happened(way, tmp_path):
    search = search_of()
    for trial_id in "abcdef":
        params = search.suggest(trial_id)
        if trial_id != "d":  # which runs on
            search.on_trial_complete(trial_id, {"loss": params["x"] if trial_id != "e" else math.nan})
    if way == "file":
        search.save(str(tmp_path / "search.json"))
        restored = PriorwiseSearch(seed=5, noise=0.0)
        restored.restore(str(tmp_path / "search.json"))
    else:
        restored = pickle.loads(pickle.dumps(search))
    for each in (search, restored):
        each.on_trial_complete("d", {"loss": 0.5})
        each.on_trial_complete("a", {"loss": 9.0})  # told before: a restored run may tell it again
    assert states(restored) == states(search) == ["complete"] * 4 + ["failed", "complete"]
    assert restored.study.trials[0].values == search.study.trials[0].values != {"loss": 9.0}
    assert restored.suggest("g") == search.suggest("g")


def test_what_ended_after_the_checkpoint_is_known_all_the_same():
    search = search_of()
    search.on_trial_complete("unknown", {"loss": 0.25, "config/x": 0.5, "config/k": 3, "config/constant": 7})
    (trial,) = search.study.trials
    assert (trial.params, trial.values, trial.source) == ({"x": 0.5, "k": 3}, {"loss": 0.25}, "external")


def test_a_search_that_was_declared_differently_is_not_restored(tmp_path):
    search_of().save(str(tmp_path / "search.json"))
    other = PriorwiseSearch(bo.Space({"z": bo.Float(0.0, 1.0)}), metric="loss", mode="min")
    with pytest.raises(StudyMismatchError, match="declared differently"):
        other.restore(str(tmp_path / "search.json"))


def test_a_param_space_becomes_a_space_and_its_constants_stay():
    search = PriorwiseSearch(seed=0)
    domains = {
        "lr": tune.loguniform(1e-4, 1e-1),
        "layers": tune.randint(1, 5),
        "width": tune.qrandint(32, 128, 32),
        "drop": tune.quniform(0.0, 0.3, 0.1),
        "units": tune.lograndint(1, 65),
        "kind": tune.choice(["a", "b"]),
        "nested": {"x": tune.uniform(0.0, 1.0), "constant": 3},
        "constant": 7,
    }
    assert search.set_search_properties("loss", "max", domains)
    assert dict(search.study.space) == {
        "lr": bo.Float(1e-4, 1e-1, log=True),
        "layers": bo.Int(1, 4),
        "width": bo.Choice([32, 64, 96, 128], ordered=True),
        "drop": bo.Choice([0.0, 0.1, 0.2, 0.1 * 3], ordered=True),
        "units": bo.Int(1, 64, log=True),
        "kind": bo.Choice(["a", "b"]),
        "nested/x": bo.Float(0.0, 1.0),
    }
    assert search.study.outcomes.objective.direction == "maximize"
    assert search.suggest("a")["nested"] == {"x": 0.5}
    assert not search.set_search_properties("loss", "max", domains)


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        (tune.grid_search([1, 2]), "grid_search tries all"),
        (tune.randn(), "no bounds"),
        (tune.sample_from(lambda spec: 1.0), "no bounds"),
        (tune.qloguniform(1e-3, 1.0, 1e-3), "linear scale"),
        (3.0, "constants only"),
    ],
)
def test_what_cannot_be_searched_is_refused(domain, message):
    with pytest.raises(InvalidSpaceError, match=message):
        PriorwiseSearch().set_search_properties("loss", "min", {"x": domain})


def test_what_is_missing_is_named():
    with pytest.raises(InvalidInputError, match="space, metric, mode must be given"):
        PriorwiseSearch().suggest("a")
    with pytest.raises(InvalidInputError, match="expected 'min' or 'max', got 'minimize'"):
        PriorwiseSearch(mode="minimize")
    with pytest.raises(InvalidInputError, match=r"unknown options \['budget'\]"):
        PriorwiseSearch(budget=bo.Budget(trials=3))


def test_nothing_left_to_try_finishes_the_search():
    search = PriorwiseSearch(bo.Space({"k": bo.Int(0, 1)}), metric="loss", mode="min")
    assert {search.suggest("a")["k"], search.suggest("b")["k"]} == {0, 1}
    assert search.suggest("c") == PriorwiseSearch.FINISHED


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")  # no network
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # no token in the home folder
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


# what Ray does within itself: files and processes that it leaves to the garbage collector, and its own old names
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::DeprecationWarning:ray.*", "ignore::FutureWarning:ray.*"
)
def test_a_tuner_on_a_local_cluster_with_failures_and_nan(cluster, tmp_path):
    start = [trial.params["x"] for trial in bo.Study(SPACE, minimize="loss", seed=0).ask(4)]

    def train(config):
        if config["x"] == start[1]:
            raise RuntimeError("diverged")
        if config["x"] == start[2]:
            return {"loss": math.nan}
        return {"loss": (config["x"] - 0.3) ** 2 + 0.1 * config["k"]}

    search = PriorwiseSearch(seed=0, noise=0.0)
    tuner = tune.Tuner(
        train,
        param_space={"x": tune.uniform(0.0, 1.0), "k": tune.randint(0, 10)},
        tune_config=tune.TuneConfig(
            metric="loss", mode="min", search_alg=search, num_samples=6, max_concurrent_trials=2, reuse_actors=True
        ),
        run_config=tune.RunConfig(storage_path=str(tmp_path), name="run", verbose=0),
    )
    results = tuner.fit()
    assert len(results) == 6
    assert states(search) == ["complete", "failed", "failed", "complete", "complete", "complete"]
    assert search.study.trials[1].reason.startswith("Ray reports an error")
    assert search.study.trials[2].reason == "loss is nan"
    restored = PriorwiseSearch(noise=0.0)
    restored.restore_from_dir(results.experiment_path)  # which Ray saved while it ran
    assert repr(restored.study.trials) == repr(search.study.trials)  # repr, since nan is not equal to itself
    assert restored.suggest("next") == search.suggest("next")
