"""The training tuner on surfaces made of the laws: what it asks, what it is told, and what it makes of wrong laws."""

import json
import math
import warnings

import numpy as np
import pytest

import bayesopt as bo
from bayesopt.errors import InvalidInputError, InvalidOutcomeError, InvalidParamsError, TrialStateError
from bayesopt.laws import Curve, schedules

pytestmark = pytest.mark.usefixtures("one_thread")

SPACE = bo.Space({"lr": bo.Float(2.0**-12, 2.0**-6, log=True), "batch_size": bo.Int(16, 1024, log=True)})
KNOWN = {"N": 2.7e8, "D": 5e9}
BEST = np.log2(bo.StepLaw()(**KNOWN))


def surface(config, shift=(0.3, -0.4), wall=None):
    """A bowl a little off the Step Law's settings, with a wiggle of 0.01 nats; nan beyond a wall."""
    d = np.log2([config["lr"], config["batch_size"]]) - BEST - shift
    if wall is not None and d[0] - 0.3 * d[1] > wall:
        return math.nan
    bowl = 0.5 * (0.018 * d[0] ** 2 + 0.014 * d[1] ** 2 - 2 * 0.006 * d[0] * d[1])
    return 2.4 + bowl + 0.01 * (1.0 - math.cos(1.5 * d[0])) + 0.002 * d[1] ** 4 / 40.0


def search(tuner, n, loss=surface):
    losses = []
    for _ in range(n):
        config = tuner.ask()
        value = loss(config)
        losses.append(value)
        tuner.tell(config, value)
    return losses


def gap(tuner, n, **options):
    return np.nanmin(search(tuner, n, lambda config: surface(config, **options))) - 2.4


def tuner_with(law, **options):
    return bo.TrainingTuner(SPACE, law=law, features=KNOWN, **({"seed": 100} | options))


def test_the_first_run_is_at_the_laws_settings():
    first = tuner_with(bo.StepLaw()).ask()
    assert first["lr"] == pytest.approx(2.0 ** BEST[0])
    assert first["batch_size"] == round(2.0 ** BEST[1])


@pytest.mark.parametrize("form", ["mean", "belief"])
def test_a_right_law_finds_the_optimum_in_five_runs(form):
    # the law alone misses by 0.0036 nats; without it five runs are a start and one step
    assert surface({"lr": 2.0 ** BEST[0], "batch_size": 2.0 ** BEST[1]}) - 2.4 > 0.003
    assert gap(tuner_with(bo.StepLaw(), law_as=form), 5) < 0.0015


def test_without_a_law_it_begins_in_the_middle_and_gets_there():
    tuner = tuner_with(None)
    assert tuner.ask() == SPACE.decode(np.array([0.5, 0.5]))
    assert gap(tuner_with(None), 12) < 0.003


@pytest.mark.parametrize("octaves", [-2.0, 2.0])
def test_a_law_that_is_wrong_by_two_octaves_is_left_behind(octaves):
    law = bo.StepLaw(lr=(1.79 * 2.0**octaves, -0.713, 0.307))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of being contradicted, see below
        tuner = tuner_with(law)
        assert gap(tuner, 10) < 0.003
    settings, sd = tuner.centre()
    moved = math.log2(settings["lr"]) - BEST[0] - octaves
    assert moved * -octaves > 1.0  # more than half an octave in the right direction each
    assert sd["lr"] < 0.55
    assert "octaves away" in tuner.report()


def test_the_centre_is_the_laws_own_before_the_first_loss():
    settings, sd = tuner_with(bo.StepLaw()).centre()
    assert settings["lr"] == pytest.approx(2.0 ** BEST[0])
    assert sd == {"lr": 0.55, "batch_size": 0.55}
    assert tuner_with(None).centre() is None


def test_a_loss_that_contradicts_the_law_is_said():
    tuner = tuner_with(bo.StepLaw())
    first = tuner.ask()
    tuner.tell(first, 2.5)
    with pytest.warns(RuntimeWarning, match="The law expected a loss of"):
        tuner.tell({**first, "lr": first["lr"] * 1.1}, 2.3)


def test_a_law_of_ones_own_is_a_function_of_features_and_configuration():
    seen = []

    def law(features):
        seen.append(features)
        return {"lr": -9.0 + 0.1 * math.log2(features["batch_size"])}, {"lr": 0.3}

    tuner = bo.TrainingTuner(SPACE, law=law, features={"depth": 12}, seed=100)
    config = tuner.ask()
    middle = SPACE.decode(np.array([0.5, 0.5]))["batch_size"]
    assert config == {"lr": pytest.approx(2.0**-9 * middle**0.1, rel=1e-6), "batch_size": middle}
    assert {"depth", "lr", "batch_size"} <= set(seen[0])
    search(tuner, 3)


def test_batch_transfer_follows_the_batch_size_of_each_configuration():
    search(tuner_with(bo.BatchTransfer(2.0 ** BEST[0], 2.0 ** BEST[1])), 4)


# -- divergence ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("diverge", ["clip", "constraint"])
def test_runs_that_diverge_are_no_outliers(diverge):
    tuner = tuner_with(None, diverge=diverge)
    losses = np.array(search(tuner, 10, lambda config: surface(config, wall=0.8)))
    assert np.nanmin(losses) - 2.4 < 0.006
    assert np.isnan(losses).any()
    assert [trial.state for trial in tuner.study.trials].count("failed") == np.isnan(losses).sum()


def test_the_constraint_knows_where_runs_diverge():
    tuner = tuner_with(None, diverge="constraint")
    search(tuner, 10, lambda config: surface(config, wall=0.8))
    history = tuner.study.history
    held, broke = (tuner.study.strategy._log_survival(history, U) for U in (history.X, history.failed))
    assert np.median(held) > np.log(0.5) > np.median(broke)


@pytest.mark.parametrize("diverge", ["clip", "constraint"])
def test_a_start_of_divergences_alone_goes_on(diverge):
    for law in (None, bo.StepLaw()):
        tuner = tuner_with(law, diverge=diverge)
        asked = []
        for _ in range(4):
            asked.append(tuner.ask())
            tuner.tell(asked[-1], None, status="diverged")
        assert len({tuple(config.values()) for config in asked}) == 4
        assert tuner.best() is None


def test_a_loss_of_eleven_says_no_more_than_one_just_above_the_clip():
    asks = []
    for diverged in (2.71, 11.0, math.inf):
        tuner = tuner_with(None)
        for loss in (2.45, 2.41, diverged):
            tuner.tell(tuner.ask(), loss)
        asks.append(tuner.ask())
    assert asks[0] == asks[1] == asks[2]


# -- grids -----------------------------------------------------------------------------------------------------------


def grid():
    return [{"lr": 2.0**e, "batch_size": b} for e in range(-12, -5) for b in (16, 64, 256, 1024)]


def test_candidates_alone_are_asked_each_once_and_then_nothing():
    tuner = tuner_with(bo.StepLaw(), candidates=grid())
    asked = []
    while (config := tuner.ask()) is not None:
        asked.append((round(math.log2(config["lr"]), 9), config["batch_size"]))
        tuner.tell(config, surface(config))
    assert sorted(asked) == sorted((math.log2(c["lr"]), c["batch_size"]) for c in grid())
    assert tuner.study.why_stopped is not None


def test_the_answer_of_another_point_takes_the_place_of_the_asked_one():
    tuner = tuner_with(bo.StepLaw(), budget=bo.Budget(trials=3))
    free = grid()
    for _ in range(3):
        asked = tuner.ask()
        place = SPACE.encode(asked)
        nearest = min(free, key=lambda config: float(((SPACE.encode(config) - place) ** 2).sum()))
        free.remove(nearest)
        tuner.tell({**nearest, "batch_size": float(nearest["batch_size"])}, surface(nearest))
    assert tuner.ask() is None
    assert "3" in tuner.study.why_stopped
    told = [trial.params for trial in tuner.study.trials if trial.state == "complete"]
    assert len(told) == 3
    assert tuner.best() in told


def test_what_is_told_before_any_ask_counts():
    tuner = tuner_with(None)
    config = {"lr": 1e-3, "batch_size": 64}
    tuner.tell(config, 2.5)
    assert tuner.best() == config


def test_pending_runs_are_not_asked_again():
    tuner = tuner_with(bo.StepLaw())
    search(tuner, 2)
    waiting = [tuner.ask() for _ in range(4)]
    assert len({tuple(config.values()) for config in waiting}) == 4
    for config in waiting:
        tuner.tell(config, surface(config))
    assert [trial.state for trial in tuner.study.trials] == ["complete"] * 6


# -- length of runs ----------------------------------------------------------------------------------------------------


def test_short_runs_teach_through_the_law_and_asks_are_of_full_length():
    space = bo.Space({**SPACE, "tokens": bo.Float(5e8, 5e9, log=True)})
    tuner = bo.TrainingTuner(space, law=bo.StepLaw(), features={"N": KNOWN["N"]}, seed=100)

    def loss(config):
        law = np.log2(bo.StepLaw()(KNOWN["N"], config["tokens"]))
        d = np.log2([config["lr"], config["batch_size"]]) - law - [0.6, 0.0]
        return 2.4 + 0.5 * (0.018 * d[0] ** 2 + 0.014 * d[1] ** 2) + 0.15 * math.log2(5e9 / config["tokens"])

    for octaves in (-1.5, -0.5, 0.5, 1.5):
        lr, batch = bo.StepLaw()(KNOWN["N"], 5e8)
        config = {"lr": lr * 2.0**octaves, "batch_size": round(batch), "tokens": 5e8}
        tuner.tell(config, loss(config))
    config = tuner.ask()
    assert config["tokens"] == pytest.approx(5e9)
    # the law at full length, moved by the 0.6 octaves that short runs showed
    assert math.log2(config["lr"]) == pytest.approx(BEST[0] + 0.6, abs=0.4)
    tuner.tell(config, loss(config))
    assert tuner.best() == config


# -- curves and stopping ---

LAW = bo.AnnealingLaw(L0=2.3, A=0.3, alpha=0.5, C=0.5)
TOTAL = 4000
SCHEDULE = schedules.wsd(TOTAL, 3e-4, warmup=100)


def rows(schedule, level=0.0, until=TOTAL):
    steps = np.arange(120, until, 40)
    losses = LAW.predict(schedule, steps) + level
    return [(int(s), float(schedule[s]), float(y)) for s, y in zip(steps, losses, strict=True)]


def test_a_curve_is_told_by_its_last_loss_and_teaches_how_others_end():
    tuner = tuner_with(None)
    tuner.tell(tuner.ask(), rows(SCHEDULE))
    half = rows(SCHEDULE, level=0.02, until=TOTAL // 2)
    mean, sd = tuner.forecast(half, SCHEDULE)
    assert mean == pytest.approx(LAW.predict(SCHEDULE, [TOTAL - 1])[0] + 0.02, abs=2.0 * sd)
    assert tuner.best() is not None


def test_hopeless_runs_should_stop_and_good_ones_not_nor_within_the_warm_up():
    tuner = tuner_with(None)
    assert not tuner.should_stop(rows(SCHEDULE, until=2000), SCHEDULE)  # nothing to compare with
    tuner.tell(tuner.ask(), rows(SCHEDULE))
    assert tuner.should_stop(rows(SCHEDULE, level=0.1, until=2000), SCHEDULE)
    assert not tuner.should_stop(rows(SCHEDULE, level=-0.05, until=2000), SCHEDULE)
    assert not tuner.should_stop([(50, 1e-3, 9.0)], SCHEDULE)


def test_a_killed_run_is_told_as_its_forecast_and_is_never_the_best():
    tuner = tuner_with(None)
    first = tuner.ask()
    tuner.tell(first, rows(SCHEDULE))
    tuner.tell(tuner.ask(), rows(SCHEDULE, level=-0.05, until=2000), status="killed", schedule=SCHEDULE)
    killed = tuner.study.trials[-1]
    end = LAW.predict(SCHEDULE, [TOTAL - 1])[0] - 0.05
    assert killed.values["loss"] == pytest.approx(end, abs=2.0 * killed.sd["loss"])
    assert 0.01 <= killed.sd["loss"] < 0.05
    assert tuner.best() == first
    tuner.tell(tuner.ask(), 2.7, status="killed")
    assert tuner.study.trials[-1].values["loss"] == 2.7
    assert Curve.from_rows(rows(SCHEDULE)).steps[0] == 120


# -- state ---


def test_a_state_goes_on_with_the_same_asks():
    tuner = tuner_with(bo.StepLaw())
    search(tuner, 3)
    tuner.tell(tuner.ask(), None, status="diverged")
    with pytest.warns(RuntimeWarning, match="The law expected"):
        tuner.tell({"lr": 1e-3, "batch_size": 100}, 2.5)  # another than asked
    tuner.ask()
    state = json.loads(json.dumps(tuner.state_dict()))
    again = tuner_with(bo.StepLaw())
    again.load_state_dict(state)
    assert [trial.params for trial in again.study.trials] == [trial.params for trial in tuner.study.trials]
    assert again.ask() == tuner.ask()
    with pytest.raises(TrialStateError, match="used already"):
        again.load_state_dict(state)


def test_a_stored_tuner_goes_on_where_it_stopped(tmp_path):
    whole = tuner_with(bo.StepLaw())
    search(whole, 6)
    first = tuner_with(bo.StepLaw(), storage=tmp_path / "tune.db")
    search(first, 4)
    first.study.close()
    second = tuner_with(bo.StepLaw(), storage=tmp_path / "tune.db")
    search(second, 2)
    assert [trial.params for trial in second.study.trials] == [trial.params for trial in whole.study.trials]
    second.study.close()


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: bo.TrainingTuner({"lr": 1}), InvalidInputError, "expected a Space"),
        (lambda: tuner_with(None, diverge="ignore"), InvalidInputError, "'clip' or 'constraint'"),
        (lambda: tuner_with(None, law_as="weight"), InvalidInputError, "'mean' or 'belief'"),
        (lambda: tuner_with(None, clip=0.0), InvalidInputError, "positive finite number of nats"),
        (lambda: tuner_with(None, candidates=[]), InvalidInputError, "at least one configuration"),
        (lambda: tuner_with(3.0), InvalidInputError, "a function from features"),
        (lambda: tuner_with(lambda f: ({"lr": math.nan}, {"lr": 1.0})), InvalidInputError, "finite log2 settings"),
        (lambda: tuner_with(lambda f: ({"depth": 3.0}, {"depth": 1.0})), InvalidInputError, "speaks of 'depth'"),
        (lambda: bo.TrainingTuner(SPACE, law=bo.StepLaw()), InvalidInputError, "'N' is missing"),
        (
            lambda: bo.TrainingTuner(bo.Space({"tokens": bo.Choice([1, 2])})),
            InvalidInputError,
            "must be a Float or an Int",
        ),
        (lambda: tuner_with(None).tell({"lr": 1e-3}, 2.0), InvalidParamsError, "batch_size"),
        (lambda: tuner_with(None).tell(3, 2.0), InvalidParamsError, "expected a dict"),
        (lambda: tell("ok", None), InvalidOutcomeError, "finite number or a curve"),
        (lambda: tell("killed", math.nan), InvalidOutcomeError, "finite number or a curve"),
        (lambda: tell("stopped", 2.0), InvalidInputError, "one of 'ok', 'diverged', 'killed'"),
    ],
)
def test_bad_input_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()


def tell(status, loss):
    tuner = tuner_with(None)
    tuner.tell(tuner.ask(), loss, status=status)
