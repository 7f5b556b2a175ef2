"""Slices: what the model says along each parameter, and where it may not go."""

import numpy as np
import pytest

import bayesopt as bo
from bayesopt import plot
from tests.bayesopt.plot.studies import labelled, study_of


def test_the_band_is_what_the_surrogate_predicts(the_usual_study):
    from bayesopt.surrogate import fit_surrogate  # late: it brings torch

    study = the_usual_study
    figure = plot.slices(study)
    ax = next(ax for ax in figure.axes if ax.get_xlabel().startswith("lr"))
    curve = labelled(ax)["posterior median"]
    surrogate = fit_surrogate(study.history)
    rows = [study.space.encode(study.best.params | {"lr": lr}) for lr in curve.get_xdata()]
    prediction = surrogate.objective.predictor.predict(surrogate.features(np.array(rows)))
    mean, sd = prediction.mean[:, 0], np.sqrt(prediction.variance)
    median, low, high = (-surrogate.scale.to_units(mean + deviations * sd) for deviations in (0.0, 2.0, -2.0))
    # the same formula on the same rows: equal to rounding
    np.testing.assert_allclose(curve.get_ydata(), median, rtol=1e-9)
    edges = labelled(ax)["± 2 sd"].get_paths()[0].vertices[:, 1]
    assert edges.min() == pytest.approx(low.min())
    assert edges.max() == pytest.approx(high.max())


def test_the_slices_run_through_the_best_trial(the_usual_study):
    study = the_usual_study
    figure = plot.slices(study)
    stars = {ax.get_xlabel(): labelled(ax)["the trial itself"].get_offsets()[0] for ax in figure.axes if ax.axison}
    best = study.best
    assert stars["lr"].tolist() == pytest.approx([best.params["lr"], best.values["loss"]])
    assert stars["mix.code"].tolist() == pytest.approx([best.params["mix"]["code"], best.values["loss"]])


def test_a_forbidden_region_is_shaded_and_without_a_curve():
    space = bo.Space({"x": bo.Float(0.0, 1.0)}, constraints=[bo.LinearConstraint({"x": 1.0}, upper=0.5)])
    (ax,) = plot.slices(study_of(lambda i, p: {"loss": float(i % 4), "memory": 1.0}, 6, space=space)).axes
    assert "not allowed" in labelled(ax)
    curve = labelled(ax)["posterior median"]
    assert np.isnan(curve.get_ydata()[curve.get_xdata() > 0.51]).all()


def test_a_region_that_is_probably_infeasible_is_shaded():
    (ax,) = plot.slices(study_of(lambda i, p: {"loss": i, "memory": 7.0 + i}, 6)).axes
    assert "probably infeasible" in labelled(ax)
