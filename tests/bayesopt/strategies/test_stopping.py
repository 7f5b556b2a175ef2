import numpy as np
import pytest

import bayesopt as bo
from bayesopt.errors import InvalidInputError
from bayesopt.record.curves import Curves, Run
from bayesopt.strategies import ForecastStopping, MedianStopping

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
