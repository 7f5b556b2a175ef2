"""Beliefs: how they looked before, what is left of them, and where the trials went."""

import numpy as np
import pytest

import bayesopt as bo
from bayesopt import plot
from tests.bayesopt.plot.studies import FREE, SMALL, SPACE, drawn, labelled, study_of


def believed(n, **options):
    return study_of(
        lambda i, p: (p["x"] - 0.3) ** 2, n, priors=[bo.OptimumPrior({"x": (0.6, 0.15)})], **FREE, **options
    )


def test_the_belief_and_what_is_left_of_it_are_distributions_of_the_optimum():
    (ax,) = plot.beliefs(believed(12)).axes
    before, after = (labelled(ax)[label].get_data() for label in ("believed", "left after the data"))
    for shape in (before, after):
        assert shape.values.sum() == pytest.approx(1.0)
    centres = (before.edges[1:] + before.edges[:-1]) / 2
    # a bin is 0.05 wide, and 2048 functions have their optima about the belief's mean, drawn a little to the edges
    assert centres @ before.values == pytest.approx(0.6, abs=0.05)
    assert centres @ after.values == pytest.approx(0.3, abs=0.05)


def test_every_trial_is_marked_the_later_the_darker():
    study = believed(12)
    (ax,) = plot.beliefs(study).axes
    marks = labelled(ax)["trials, the later the darker"]
    np.testing.assert_allclose(marks.get_offsets()[:, 0], [trial.params["x"] for trial in study.trials])
    assert (np.diff(marks.get_facecolors()[:, 3]) > 0).all()


def test_every_kind_of_parameter_has_its_panel():
    priors = [bo.OptimumPrior({"lr": (1e-3, 3.0)}), bo.OptimalValuePrior(at_most=5.0)]
    texts = drawn(plot.beliefs(study_of(lambda i, p: float(p["layers"]), 8, space=SPACE, priors=priors, **FREE)))
    assert {"lr", "layers", "batch", "optimizer", "momentum", "mix.web", "mix.code", "mix.math"} <= set(texts)


def test_what_is_missing_is_said():
    assert "nothing was believed" in drawn(plot.beliefs(study_of(lambda i, p: 1.0, 3, space=SMALL, **FREE)))
    assert "two told trials, and a belief, are needed" in drawn(plot.beliefs(believed(1)))
