"""The best so far: a curve over trials and cost, and what lies beside it."""

import bayesopt as bo
from bayesopt import plot
from tests.bayesopt.plot.studies import FREE, SPACE, labelled, study_of, usual


def test_the_curve_is_the_best_feasible_value_so_far():
    losses, memory = [5.0, 4.0, 1.0, 3.0, 3.5], [1.0, 1.0, 9.0, 1.0, 1.0]  # the third is infeasible
    study = study_of(
        lambda i, p: {"loss": losses[i], "memory": memory[i]}, 5, cost=2.0, budget=bo.Budget(trials=8, cost=99.0)
    )
    by_trials, by_cost = plot.best_so_far(study).axes
    for ax, x in ((by_trials, [1, 2, 3, 4, 5]), (by_cost, [2, 4, 6, 8, 10])):
        curve = labelled(ax)["best so far"]
        assert list(curve.get_xdata()) == x
        assert list(curve.get_ydata()) == [5.0, 4.0, 4.0, 3.0, 3.0]
        assert labelled(ax)["infeasible"].get_offsets().tolist() == [[x[2], 1.0]]
    assert [text.get_text() for ax in (by_trials, by_cost) for text in ax.texts] == ["budget 8", "budget 99"]


def test_a_maximum_goes_up():
    study = study_of(lambda i, p: [1.0, 3.0, 2.0][i], 3, maximize="gain", minimize=None, **FREE)
    assert list(labelled(plot.best_so_far(study).axes[0])["best so far"].get_ydata()) == [1.0, 3.0, 3.0]


def test_failed_trials_are_marked_and_lost_ones_are_not():
    study = study_of(usual, 5, space=SPACE)  # the fourth fails
    study.abandon(study.ask())
    assert labelled(plot.best_so_far(study).axes[0])["failed"].get_offsets()[:, 0].tolist() == [4]


def test_an_outlier_is_drawn_at_the_edge_and_flattens_nothing():
    ax = plot.best_so_far(study_of(lambda i, p: {"loss": 1e9 if i == 2 else i, "memory": 1.0}, 9)).axes[0]
    assert ax.get_ylim()[1] < 100
    assert labelled(ax)["off the scale"].get_offsets()[:, 0].tolist() == [3]
