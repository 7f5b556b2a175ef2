"""Every picture can be drawn of every study."""

import pytest

import bayesopt as bo
from bayesopt import plot
from tests.bayesopt.plot.studies import FREE, drawn, study_of


def named(name):
    return lambda i, params: {name: float(i % 4), "memory": 1.0}


def one_parameter(parameter):
    return bo.Space({"x": parameter})


TWENTY = bo.Space({f"a_parameter_with_a_long_name_{i}": bo.Float(0.0, 1.0) for i in range(20)})
UNICODE = bo.Space({"größe": bo.Float(0.0, 1.0), "$x_1$": bo.Int(1, 3), "a b\t%s{}": bo.Choice(["λ", "$", "^_"])})
LONG_NAME = "a rather long name of an objective (μs²) $"

OUTCOMES = {
    "no trial": lambda: study_of(named("loss"), 0),
    "one trial": lambda: study_of(named("loss"), 1),
    "two trials": lambda: study_of(named("loss"), 2),
    "a maximum": lambda: study_of(lambda i, p: p["x"], 8, maximize="gain", minimize=None, **FREE),
    "failures alone": lambda: study_of(lambda i, p: None, 6, cost=1.0),
    "nothing feasible": lambda: study_of(lambda i, p: {"loss": i, "memory": 7.0 + i}, 6),
    "nothing measured": lambda: study_of(lambda i, p: {"loss": i, "memory": None}, 6),
    "no constraint": lambda: study_of(lambda i, p: float(i), 6, **FREE),
    "equal values": lambda: study_of(lambda i, p: {"loss": 1.0, "memory": 6.0}, 5),
    "huge values": lambda: study_of(lambda i, p: {"loss": (-1.0) ** i * 1e300, "memory": (-1.0) ** i * 1e300}, 6),
    "one outlier": lambda: study_of(lambda i, p: {"loss": 1e9 if i == 2 else i, "memory": 1.0}, 9),
}
"""Studies whose outcomes are unusual: the overview draws every picture of them."""

SPACES = {
    "twenty parameters": TWENTY,
    "a constant": bo.Space({"x": bo.Float(0, 1), "c": bo.Choice(["only"])}),
    "fixed shares": one_parameter(bo.Simplex(["a", "b"], floors={"a": 0.5, "b": 0.499})),
    "many options": one_parameter(bo.Choice([f"option {i}" for i in range(40)])),
    "a forbidden region": bo.Space({"x": bo.Float(0.0, 1.0)}, constraints=[bo.LinearConstraint({"x": 1.0}, upper=0.5)]),
    "a huge range": one_parameter(bo.Float(1e-150, 1e150, log=True)),
    "a tiny range": one_parameter(bo.Float(1.0, 1.000001)),
    "a log range below two": one_parameter(bo.Float(1.0, 1.5, log=True)),
}
"""Spaces that are unusual: the other two pictures do not know the space."""


@pytest.mark.parametrize(
    "picture", [plot.best_so_far, plot.slices, plot.parallel_coordinates, plot.feasibility, plot.importance]
)
def test_every_picture_can_be_drawn_of_a_usual_study(the_usual_study, picture):
    assert drawn(picture(the_usual_study))


@pytest.mark.parametrize("make", OUTCOMES.values(), ids=OUTCOMES)
def test_importance_can_be_drawn_whatever_was_told(make):
    assert drawn(plot.importance(make()), laid_out=False)


@pytest.mark.parametrize("make", OUTCOMES.values(), ids=OUTCOMES)
def test_all_four_pictures_can_be_drawn_whatever_was_told(make):
    study = make()
    texts = "\n".join(drawn(plot.overview(study), laid_out=False))  # what was told changes no name and no panel
    direction = study.outcomes.objective.direction
    titles = {f"so far ({direction})", "along each parameter", "Every trial through all parameters"}
    if study.outcomes.constraints:
        titles.add("Constraints over trials")
    else:
        assert "no outcome is constrained" in drawn(plot.feasibility(study))
    assert not {title for title in titles if title not in texts}


@pytest.mark.parametrize("picture", [plot.best_so_far, plot.slices, plot.parallel_coordinates, plot.overview])
def test_names_of_all_kinds_can_be_drawn(picture):
    assert drawn(picture(study_of(named(LONG_NAME), 6, space=UNICODE, minimize=LONG_NAME)))


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("picture", [plot.slices, plot.parallel_coordinates])
def test_the_parameters_can_be_drawn_whatever_they_are(space, picture):
    assert drawn(picture(study_of(named("loss"), 6, space=space)))
