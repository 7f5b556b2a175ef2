import numpy as np
import pytest

import bayesopt as bo
from bayesopt.errors import InvalidInputError
from bayesopt.record.curves import Curves, Run
from bayesopt.strategies import ForecastStopping, Hyperband, MedianStopping, SuccessiveHalving

SPACE = bo.Space({"x": bo.Float(0.0, 1.0)})


def value(x, step):
    return 1.0 - (x - 0.6) ** 2 - 0.5 / np.sqrt(step)


def run(x, until, above=0.0):
    return Run({"x": x}, {step: value(x, step) + above for step in range(1, until + 1)})


def curves(mine, others):
    return Curves(SPACE, mine, others)


ENDED = [run(x, 16) for x in (0.05, 0.25, 0.45, 0.65, 0.85, 0.95)]


@pytest.mark.parametrize("rule", [MedianStopping(), ForecastStopping()], ids=lambda rule: type(rule).__name__)
class TestEveryRule:
    def test_goes_on_while_there_is_nothing_to_go_by(self, rule):
        assert not rule.should_stop(curves(Run({"x": 0.5}, {}), ENDED))
        assert not rule.should_stop(curves(run(0.0, 4), ENDED[:4]))

    def test_stops_a_run_that_has_diverged(self, rule):
        assert rule.should_stop(curves(Run({"x": 0.5}, {1: 0.3, 2: np.nan}), []))
        assert rule.should_stop(curves(Run({"x": 0.5}, {1: -np.inf}), ENDED))

    def test_stops_a_bad_run_and_finishes_the_best_one(self, rule):
        assert rule.should_stop(curves(run(0.0, 4, above=-0.2), ENDED))
        assert not rule.should_stop(curves(run(0.6, 4, above=0.1), ENDED))


def test_the_median_is_of_those_that_got_as_far():
    others = [run(0.6, 2)] * 5 + [run(0.1, 16)] * 5
    assert not MedianStopping().should_stop(curves(run(0.2, 4), others))
    assert MedianStopping().should_stop(curves(run(0.2, 2), [*others, run(0.6, 2)]))


def test_a_run_that_is_nearly_over_is_finished_where_one_that_has_just_begun_is_not():
    # A little better than the best that ended: worth one more step, but not fifteen where a new one may be better yet.
    rule = ForecastStopping(last_step=16)
    assert rule.should_stop(curves(run(0.57, 1), ENDED))
    assert not rule.should_stop(curves(run(0.57, 15), ENDED))


def test_at_its_last_step_a_run_is_not_stopped():
    assert not ForecastStopping().should_stop(curves(run(0.0, 16, above=-0.5), ENDED))


def test_runs_that_were_stopped_do_not_count_as_ended():
    stopped = [run(x, 3) for x in (0.1, 0.3, 0.5, 0.7)]
    assert not ForecastStopping(last_step=16).should_stop(curves(run(0.0, 4, above=-0.5), ENDED[:4] + stopped))


def test_the_answer_depends_on_the_curves_alone():
    mine = run(0.2, 4)
    used = ForecastStopping()
    used.should_stop(curves(mine, ENDED[:5]))
    assert used.should_stop(curves(mine, ENDED)) == ForecastStopping().should_stop(curves(mine, ENDED))


@pytest.mark.parametrize("last_step", [0, -1.0, np.nan, np.inf])
def test_a_last_step_is_a_positive_number(last_step):
    with pytest.raises(InvalidInputError, match="last_step: expected a positive number"):
        ForecastStopping(last_step)


def test_a_study_asks_its_rule_with_curves_where_larger_is_better():
    seen = []

    class Rule:
        def should_stop(self, curves):
            seen.append(curves)
            return True

    study = bo.Study(SPACE, minimize="loss", stopping=Rule(), seed=0)
    for loss in (3.0, 2.0):
        trial = study.ask()
        trial.report(1, loss)
        assert trial.should_stop()
        study.tell(trial, loss)
    assert seen[-1].mine == Run(trial.params, {1.0: -2.0})
    assert [one.curve for one in seen[-1].others] == [{1.0: -3.0}]


@pytest.mark.parametrize("rule", ["median", MedianStopping, 3])
def test_what_is_no_rule_is_refused(rule):
    with pytest.raises(InvalidInputError, match="stopping: expected an object with should_stop"):
        bo.Study(SPACE, minimize="loss", stopping=rule)


class TestHalving:
    def test_one_in_eta_goes_on_at_a_rung(self):
        rule = SuccessiveHalving(first_step=1, last_step=9)
        assert rule.rungs == (1.0, 3.0)
        others = [Run({"x": 0.5}, {1: 0.1 * k}) for k in range(8)]
        kept = [not rule.should_stop(curves(Run({"x": 0.5}, {1: 0.05 + 0.1 * k}), others)) for k in range(9)]
        assert kept == [False] * 5 + [True] * 4  # the third best of nine has two above it

    def test_a_run_that_has_diverged_is_stopped_between_rungs_too(self):
        assert SuccessiveHalving(first_step=5, last_step=9).should_stop(curves(Run({"x": 0.5}, {1: np.nan}), []))

    def test_a_run_is_judged_once_a_rung_by_its_first_value_there(self):
        rule = SuccessiveHalving(first_step=2, last_step=50)
        others = [Run({"x": 0.5}, {1: 0.0, 3: 1.0}) for _ in range(5)]
        assert not rule.should_stop(curves(Run({"x": 0.5}, {1: -5.0}), others))
        assert rule.should_stop(curves(Run({"x": 0.5}, {1: -5.0, 3: 0.5}), others))
        assert not rule.should_stop(curves(Run({"x": 0.5}, {1: -5.0, 3: 0.5, 4: 0.5}), others))

    def test_running_runs_count(self):
        mine, others = Run({"x": 0.5}, {1: 0.0}), [Run({"x": 0.5}, {1: 1.0})]
        running = [Run({"x": 0.5}, {1: 2.0})]
        rule = SuccessiveHalving(first_step=1, last_step=9)
        assert not rule.should_stop(Curves(SPACE, mine, others))
        assert rule.should_stop(Curves(SPACE, mine, others, running))

    def test_a_prediction_of_the_end_ranks_instead_of_the_value_and_sees_the_objectives_own_units(self):
        seen = []

        def predict(params, curve):
            seen.append(dict(curve))
            return params["x"]  # the loss that a run will end with

        rule = SuccessiveHalving(first_step=1, last_step=9, predict=predict)
        others = [Run({"x": x}, {1: -9.0 + x}) for x in (0.2, 0.4, 0.6, 0.8)]
        late = Run({"x": 0.1}, {1: -99.0})
        assert not rule.should_stop(Curves(SPACE, late, others, sign=-1.0))
        assert rule.should_stop(Curves(SPACE, Run({"x": 0.9}, {1: -1.0}), others, sign=-1.0))
        assert {1: 99.0} in seen

    def test_it_finds_what_is_good_with_a_fraction_of_the_steps(self):
        rng = np.random.default_rng(105)
        study = bo.Study(
            SPACE, minimize="loss", stopping=SuccessiveHalving(first_step=1, last_step=27), seed=105,
            strategy=bo.strategies.RandomSearch(), budget=bo.Budget(trials=40),
        )  # fmt: skip
        n_steps = 0
        while (trial := study.ask()) is not None:
            for step in range(1, 28):
                loss = -value(trial.params["x"], step) + 0.001 * rng.standard_normal()
                trial.report(step, loss)
                n_steps += 1
                if trial.should_stop():
                    break
            study.tell(trial, loss)
        assert n_steps < 0.5 * 40 * 27
        assert abs(study.best_observed.params["x"] - 0.6) < 0.1

    def test_hyperband_gives_each_bracket_its_share_and_judges_within_brackets(self):
        rule = Hyperband(first_step=1, last_step=27)
        counts = np.bincount([rule.bracket(trial) for trial in range(5800)])
        # s_max = 3: ceil(4 / (k + 1) 3^k) runs for k = 3, 2, 1, 0 rungs
        assert counts / 5800 == pytest.approx(np.array([27, 12, 6, 4]) / 49, abs=2e-3)
        patient = next(trial for trial in range(99) if rule.bracket(trial) == 3)
        eager = [trial for trial in range(99) if rule.bracket(trial) == 0]
        others = [Run({"x": 0.5}, {1: 1.0}, trial) for trial in eager[1:9]]
        assert not rule.should_stop(curves(Run({"x": 0.5}, {1: 0.0}, patient), others))
        assert rule.should_stop(curves(Run({"x": 0.5}, {1: 0.0}, eager[0]), others))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"first_step": 0, "last_step": 9}, "first_step, last_step"),
            ({"first_step": 9, "last_step": 9}, "in order"),
            ({"first_step": 1, "last_step": 9, "eta": 1}, "a number above 1"),
            ({"first_step": 1, "last_step": 9, "predict": 3}, "expected a function"),
        ],
    )
    def test_what_makes_no_rungs_is_refused(self, options, message):
        with pytest.raises(InvalidInputError, match=message):
            SuccessiveHalving(**options)
