"""The overview: the four pictures on one page, with the slices that matter."""

import bayesopt as bo
from bayesopt import plot
from tests.bayesopt.plot.studies import drawn, study_of, usual_study


def test_the_overview_of_many_parameters_shows_only_the_slices_that_matter_most():
    space = bo.Space({f"x{i}": bo.Float(0.0, 1.0) for i in range(12)})
    study = study_of(lambda i, p: {"loss": 10 * p["x7"], "memory": 1.0}, 12, space=space)
    texts = drawn(plot.overview(study))
    assert any("the 8 of 12 parameters that matter most" in text for text in texts)
    assert texts.count("x7") == 2  # its slice and its axis
    assert sum(text.startswith("x") for text in texts) == 8 + 12


def test_a_notebook_shows_a_picture_by_itself():
    assert plot.best_so_far(usual_study())._repr_png_().startswith(b"\x89PNG")
