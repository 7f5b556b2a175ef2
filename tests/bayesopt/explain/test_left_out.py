"""Left-out predictions: against models that are conditioned without the trial, and the warnings that follow."""

import dataclasses
import math

import numpy as np
import pytest
import torch

import bayesopt as bo
from bayesopt.explain.left_out import LEAST_JUDGED, LeftOut, left_out
from gp.models.exact import ExactGP
from gp.regression import Trend

pytestmark = pytest.mark.usefixtures("one_thread")

LINE = bo.Space({"x": bo.Float(0.0, 1.0), "y": bo.Float(0.0, 1.0)})


def data(n=9, d=2, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.random((n, d))
    return X, np.sin(5 * X[:, 0]) + X[:, 1] ** 2 + 0.1 * rng.standard_normal(n)


@pytest.mark.parametrize("additive", [False, True])
@pytest.mark.parametrize("trend", [None, Trend(0.5, 0.7)], ids=["constant", "law"])
def test_each_is_what_a_model_without_it_predicts(additive, trend):
    X, y = data()
    X = np.column_stack([X, X[:, 0] ** 3])
    groups = [0, 1, -1]
    model = ExactGP(
        torch.as_tensor(X), torch.as_tensor(y[:, None]), groups=groups, additive=additive, trend=trend
    ).fit()
    means, sds = left_out(model)
    theta = model.hyperparameters
    for row in range(len(y)):
        others = np.delete(np.arange(len(y)), row)
        without = dataclasses.replace(
            model.regression.subset(others).condition(theta), offset=model.offset, scale=model.scale
        )
        prediction = without.predict(X[row : row + 1])
        variance = prediction.variance + model.noise_variances.numpy()[row, 0]
        # the same algebra by another factorisation of a matrix with a condition number of some 1e6: eight digits
        assert means[row] == pytest.approx(prediction.mean[0, 0], rel=1e-7, abs=1e-8)
        assert sds[row] == pytest.approx(math.sqrt(variance[0]), rel=1e-6)


def test_a_model_without_a_free_mean_is_left_out_too():
    X, y = data()
    model = ExactGP(torch.as_tensor(X), torch.as_tensor(y[:, None]), center=False).fit()
    without = dataclasses.replace(
        model.regression.subset(np.arange(1, len(y))).condition(model.hyperparameters), scale=model.scale
    )
    assert left_out(model)[0][0] == pytest.approx(without.predict(X[:1]).mean[0, 0], rel=1e-7)


def told(loss, n=30, space=LINE, **options):
    study = bo.Study(space, minimize="loss", seed=2, strategy=bo.strategies.SobolSearch(), **options)
    for i in range(n):
        trial = study.ask()
        study.tell(trial, loss(i, trial.params))
    return study


def smooth(i, p):
    return (p["x"] - 0.3) ** 2 + 0.5 * p["y"]


def test_a_model_of_a_smooth_function_is_trusted():
    check = told(smooth).check_model()
    assert check.warnings == ()
    (loss,) = check.outcomes
    assert loss.rank_correlation > 0.95
    assert str(check).startswith("Model of loss, each of 30 trials predicted from the others: rank correlation 1.00, ")


def test_noise_alone_is_not_trusted():
    values = np.random.default_rng(7).standard_normal(30)
    check = told(lambda i, p: float(values[i])).check_model()
    assert "orders trials that it has not seen hardly better than chance" in check.warnings[0]
    assert "  Beware: the model of loss" in str(check)


def test_one_wrong_value_is_named_with_its_units():
    # larger is worse here and is pulled in by the model, so the slip is towards the good side
    study = told(lambda i, p: -40.0 if i == 11 else 10.0 + smooth(i, p), noise=0.0)
    (warning,) = [w for w in study.check_model().warnings if "trial 11" in w]
    assert warning.startswith("trial 11 was told loss -40 where the others lead to expect ")
    assert warning in study.report()


def test_constraints_are_judged_where_they_were_measured():
    def loss(i, p):
        return {"loss": smooth(i, p), "low": None if i % 3 == 0 else p["x"], "high": p["y"]}

    study = told(loss, subject_to=[bo.AtMost("low", 0.5), bo.AtLeast("high", 0.2), bo.AtMost("loss", 9.0)])
    checks = {check.name: check for check in study.check_model().outcomes[:3]}
    assert checks["low"].ids.tolist() == [i for i in range(30) if i % 3]
    assert checks["high"].ids.tolist() == list(range(30))
    assert all(check.rank_correlation > 0.9 for check in checks.values())


def made(z, told=None):
    z = np.asarray(z, dtype=float)
    told = np.arange(len(z), dtype=float) if told is None else np.asarray(told, dtype=float)
    return LeftOut("loss", np.arange(len(z)), told, told - 0.01 * z, np.full(len(z), 0.01))


def test_too_many_values_outside_of_their_intervals_are_told():
    # of 20, 4 or more lie outside by chance with probability 0.016, 5 or more with 0.003
    assert made([3.0] * 4 + [0.5] * 16).warnings == ()
    (warning,) = made([3.0] * 5 + [0.5] * 15).warnings
    assert (
        "too sure of itself: 5 of 20 trials lie outside of their 95 % intervals, where about 1 are expected" in warning
    )


def test_few_trials_are_not_judged():
    few = made([0.0] * (LEAST_JUDGED - 1))
    assert few.warnings == ("7 trials are too few to judge the model of loss by",)
    assert str(few) == "Model of loss: not judged before 8 trials are told, now 7"
    assert made([0.0] * LEAST_JUDGED).warnings == ()


def test_the_rank_correlation_is_spearmans_with_ties():
    from scipy.stats import spearmanr

    told_values, expected = np.array([1.0, 1.0, 2.0, 5.0, 3.0]), np.array([0.0, 2.0, 2.0, 4.0, 9.0])
    check = LeftOut("loss", np.arange(5), told_values, expected, np.ones(5))
    assert check.rank_correlation == pytest.approx(spearmanr(told_values, expected).statistic)
    assert math.isnan(LeftOut("loss", np.arange(5), np.ones(5), expected, np.ones(5)).rank_correlation)


def test_nothing_is_said_before_the_second_told_trial():
    assert told(smooth, n=1).check_model().outcomes == ()
    assert "Model of loss" not in told(smooth, n=1).report()
    assert "Model of loss: not judged before 8 trials are told, now 2" in told(smooth, n=2).report()
