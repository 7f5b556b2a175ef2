"""Feasibility: what holds, what is broken, and what nobody measured."""

from bayesopt import plot
from tests.bayesopt.plot.studies import labelled, panel, study_of


def test_the_constraint_panels_tell_held_from_broken():
    study = study_of(lambda i, p: {"loss": 1.0, "memory": [1.0, 6.0, 6.5, None][i]}, 4)
    figure = plot.feasibility(study)
    marks = labelled(panel(figure, "memory ≤ 6"))
    assert marks["holds"].get_offsets()[:, 0].tolist() == [1, 2]
    assert marks["is broken"].get_offsets()[:, 0].tolist() == [3]
    assert marks["not measured"].get_offsets()[:, 0].tolist() == [4]
    assert panel(figure, "share feasible so far: 2 of 4")
