"""The feasible region over two parameters: what the models say, and the trials on it."""

import numpy as np
import pytest
from scipy.special import ndtr

import bayesopt as bo
from bayesopt import plot
from bayesopt.errors import InvalidInputError
from tests.bayesopt.plot.studies import drawn, labelled, study_of

PLANE = bo.Space({"x": bo.Float(0.0, 1.0), "lr": bo.Float(1e-4, 1e-1, log=True), "c": bo.Choice(["a", "b"])})


def plane_study(n=14, space=PLANE):
    def outcome(i, params):
        if i % 6 == 4:
            return None
        memory = 5.0 * params["x"] - 2.0 * np.log10(params["lr"])
        return {"loss": params["x"], "memory": memory}

    return study_of(outcome, n, space=space)


def mesh_of(figure):
    (mesh,) = figure.axes[0].collections[:1]
    return mesh


def test_the_surface_is_what_the_models_say_of_each_constraint():
    from bayesopt.surrogate import fit_surrogate  # late: it brings torch

    study = plane_study()
    figure = plot.feasible_region(study, ("x", "lr"))
    surface = mesh_of(figure).get_array()
    surrogate = fit_surrogate(study.history)
    for row, lr in ((0, 1e-4), (-1, 1e-1)):
        for column, x in ((0, 0.0), (-1, 1.0)):
            u = study.space.encode(study.best.params | {"x": x, "lr": lr})[None]
            margin = surrogate.constraints[0].predictor.predict(surrogate.features(u))
            expected = ndtr(-margin.mean[0, 0] / np.sqrt(margin.variance[0]))
            # The same formula at the same point, but by erfc: equal to rounding.
            assert surface[row, column] == pytest.approx(expected, rel=1e-9)


def test_every_trial_that_ended_is_shown_by_its_kind():
    study = plane_study()
    handles = labelled(plot.feasible_region(study, ("x", "lr")).axes[0])
    shown = {kind: len(handles[kind].get_offsets()) for kind in ("feasible", "infeasible", "failed")}
    margins = study.history.constraints[:, 0]
    assert shown == {"feasible": (margins <= 0).sum(), "infeasible": (margins > 0).sum(), "failed": 2}
    star = handles[f"trial {study.best.id}"].get_offsets()[0]
    assert star.tolist() == pytest.approx([study.best.params["x"], study.best.params["lr"]])


def test_the_parameters_that_matter_are_chosen():
    space = bo.Space({"idle": bo.Float(0.0, 1.0), **PLANE})
    ax = plot.feasible_region(plane_study(40, space)).axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x", "lr")


def test_what_is_not_allowed_is_left_white():
    space = bo.Space(
        {"x": bo.Float(0.0, 1.0), "lr": bo.Float(1e-4, 1e-1, log=True)},
        constraints=[bo.LinearConstraint({"x": 1.0}, upper=0.5)],
    )
    figure = plot.feasible_region(plane_study(12, space), ("x", "lr"))
    surface = np.ma.filled(mesh_of(figure).get_array(), np.nan)
    assert np.isnan(surface[:, -1]).all()
    assert np.isfinite(surface[:, 0]).all()


@pytest.mark.parametrize(
    ("study", "says"),
    [
        (lambda: plane_study(0), "two trials"),
        (lambda: study_of(lambda i, p: float(i), 6, subject_to=[]), "no outcome is constrained"),
        (lambda: study_of(lambda i, p: {"loss": i, "memory": i}, 6), "two parameters that are numbers"),
    ],
    ids=["no trial", "no constraint", "one number"],
)
def test_where_there_is_nothing_to_draw_the_picture_says_why(study, says):
    assert any(says in text for text in drawn(plot.feasible_region(study())))


def test_a_usual_study_can_be_drawn(the_usual_study):
    assert "Probability that the constraints hold" in " ".join(drawn(plot.feasible_region(the_usual_study)))


@pytest.mark.parametrize("parameters", [("x",), "x", ("x", "x"), ("x", "c"), ("x", "unknown")])
def test_other_parameters_than_two_numbers_are_refused(parameters):
    with pytest.raises(InvalidInputError, match=r"two different names .* of x, lr"):
        plot.feasible_region(plane_study(3), parameters)
