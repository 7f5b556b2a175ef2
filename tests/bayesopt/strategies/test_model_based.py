"""What the strategies with a model share: the start, and how the search for a point is made by its history."""

import numpy as np
import pytest

from bayesopt.acquisition.pool import N_SAMPLES
from bayesopt.errors import InvalidInputError
from bayesopt.problem.parameters import Float
from bayesopt.problem.priors import OptimumPrior
from bayesopt.problem.space import LinearConstraint, Space
from bayesopt.strategies import ExpectedImprovement, FromBoTorch, KnowledgeGradient, model_based
from bayesopt.strategies.model_based import LOOSE, REGION_SIDE, TIGHT, ModelBased, UtilityBased, trust_region
from gp.models.exact import ExactGP

SQUARE = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
CUBE = Space({f"x{i}": Float(0.0, 1.0) for i in range(3)})


class Spread(ModelBased):
    """Looks at no model: every point of its choice is the next of the sequence that the start takes."""

    def _choose(self, surrogate, history, n, chosen, rng):
        self._fill(history, n, chosen, rng)
        return {}


def suggest(history, n=1, seed=0, **options):
    return Spread(**options).suggest(history, n, np.random.default_rng(seed))


def points(n, d, seed=0):
    return np.random.default_rng(seed).random((n, d))


def smooth(X):
    return -((X - 0.4) ** 2).sum(1)


@pytest.mark.parametrize(("kind", "missing"), [(ModelBased, "_choose"), (UtilityBased, "_acquisition")])
def test_what_does_not_say_how_to_choose_cannot_be_made(kind, missing):
    with pytest.raises(TypeError, match=f"abstract.*{missing}"):
        kind()


def test_no_strategy_is_a_kind_of_another():
    made = ExpectedImprovement(), KnowledgeGradient(), FromBoTorch(lambda p: None)
    for one in made:
        assert isinstance(one, ModelBased)
        assert not any(isinstance(one, type(other)) for other in made if other is not one)


# -- the start --------------------------------------------------------------------------------------------------------


def test_the_first_trial_is_the_middle_of_the_space(make_history):
    assert suggest(make_history(CUBE)) == [{"x0": 0.5, "x1": 0.5, "x2": 0.5}]


def test_the_first_trial_is_what_the_user_believes(make_history):
    prior = OptimumPrior({"x0": (0.2, 0.1)}).on(CUBE)
    assert suggest(make_history(CUBE, priors=(prior,)))[0]["x0"] == pytest.approx(0.2)


def test_a_forbidden_middle_is_passed_over(make_history):
    space = Space({"x": Float(0.0, 1.0)}, constraints=[LinearConstraint({"x": 1.0}, upper=0.3)])
    assert suggest(make_history(space))[0]["x"] <= 0.3


def test_the_start_needs_no_model_and_ends_after_the_stated_number(make_history, monkeypatch):
    fits = []
    original = ExactGP.fit
    monkeypatch.setattr(ExactGP, "fit", lambda self, **options: (fits.append(1), original(self, **options))[1])
    X = points(5, 3)
    suggest(make_history(CUBE, X, smooth(X)))
    assert not fits  # min(2 d, d + 4) = 6
    X = points(6, 3)
    suggest(make_history(CUBE, X, smooth(X)))
    assert fits


def test_trials_told_from_elsewhere_shorten_the_start(make_history, monkeypatch):
    fits = []
    original = ExactGP.fit
    monkeypatch.setattr(ExactGP, "fit", lambda self, **options: (fits.append(1), original(self, **options))[1])
    X = points(6, 3)
    suggest(make_history(CUBE, X, smooth(X), n_asked=0))
    assert fits


@pytest.mark.parametrize("n_initial", [-1, 1.5, "three"])
def test_a_length_of_the_start_that_is_no_count_is_refused(n_initial):
    with pytest.raises(InvalidInputError, match="n_initial: expected a whole number of at least 0"):
        Spread(n_initial)


def test_points_are_chosen_by_the_model_only_after_those_that_the_start_still_lacks(make_history):
    X = points(4, 3)
    asked = suggest(make_history(CUBE, X, smooth(X)), 4)  # min(2 d, d + 4) = 6
    assert [suggestion.memory is not None for suggestion in asked] == [True] * 4  # every one carries what was fitted
    assert suggest(make_history(CUBE, X, smooth(X)), 2)[-1].memory is None  # the start alone fits nothing


# -- the region of a search that stands still -------------------------------------------------------------------------


def test_while_the_search_improves_there_is_no_region(make_history):
    X = points(8, 2)
    assert trust_region(make_history(SQUARE, X, np.arange(8.0)), X[-1:]) is None


@pytest.mark.parametrize(("n_since", "stands_still"), [(0, False), (1, False), (2, True), (5, True)])
def test_it_stands_still_after_as_many_trials_without_a_better_one_as_there_are_dimensions(
    make_history, n_since, stands_still
):
    X = points(8, 2)
    objective = np.where(np.arange(8) == 7 - n_since, 1.0, 0.0)
    assert (trust_region(make_history(SQUARE, X, objective), X[:1]) is not None) == stands_still


def test_the_region_is_a_box_around_the_incumbent_cut_off_at_the_cube(make_history):
    X = points(8, 2)
    history = make_history(SQUARE, X, -np.arange(8.0))
    low, high = trust_region(history, np.array([[0.5, 0.95], [0.1, 0.1]]))
    assert low == pytest.approx([0.5 - REGION_SIDE / 2, 0.95 - REGION_SIDE / 2])
    assert high == pytest.approx([0.5 + REGION_SIDE / 2, 1.0])


def test_while_nothing_is_feasible_there_is_no_incumbent_to_stay_close_to(make_history):
    X = points(5, 1)
    history = make_history(Space({"x": Float(0.0, 1.0)}), X, X[:, 0], constraints=np.ones((5, 1)))
    assert trust_region(history, X[:1]) is None


@pytest.fixture
def searches(monkeypatch):
    """What `maximize` is asked for, in its place: each search takes a point of its own."""
    asked = []

    def record(acquisition, space, incumbents, tried, rng, **options):
        asked.append(options | {"incumbents": incumbents, "tried": tried})
        return space.sample(1, rng)[0]

    monkeypatch.setattr(model_based, "maximize", record)
    return asked


@pytest.mark.parametrize("n_pending", [0, 1])
def test_every_second_trial_stays_close_to_the_incumbent_whoever_is_pending(make_history, searches, n_pending):
    X = points(8, 2)
    history = make_history(SQUARE, X, -np.arange(8.0), noise=0.0, pending=points(n_pending, 2, 1))
    ExpectedImprovement(0).suggest(history, 4, np.random.default_rng(0))
    assert [len(search["tried"]) for search in searches] == [8 + n_pending + k for k in range(4)]
    close, anywhere = searches[n_pending::2], searches[1 - n_pending :: 2]
    assert all(search["region"] is None for search in anywhere)
    for search in close:
        assert search["region"] == pytest.approx(np.clip(X[0] + [[-0.15], [0.15]], 0.0, 1.0))


def test_while_the_search_improves_every_trial_may_lie_anywhere(make_history, searches):
    X = points(8, 2)
    ExpectedImprovement(0).suggest(make_history(SQUARE, X, np.arange(8.0)), 4, np.random.default_rng(0))
    assert [search["region"] for search in searches] == [None] * 4


@pytest.mark.parametrize(("n", "n_samples"), [(20, N_SAMPLES), (150, N_SAMPLES * 2 // 3), (500, N_SAMPLES // 4)])
def test_the_longer_the_history_the_fewer_points_are_looked_at(make_history, searches, n, n_samples, monkeypatch):
    monkeypatch.setattr(ExactGP, "fit", lambda self, **_: self)  # at the prior's modes: the fit is not the matter here
    X = points(n, 2)
    ExpectedImprovement(0).suggest(make_history(SQUARE, X, smooth(X)), 1, np.random.default_rng(0))
    assert searches[0]["n_samples"] == n_samples


def test_under_constraints_the_search_ends_later(make_history, searches):
    X = points(8, 2)
    history = make_history(SQUARE, X, smooth(X))
    bounded = make_history(SQUARE, X, smooth(X), constraints=X[:, :1] - 0.7)
    for each in (history, bounded):
        ExpectedImprovement(0).suggest(each, 1, np.random.default_rng(0))
    assert [(search["tolerance"], search["max_evaluations"]) for search in searches] == [LOOSE, TIGHT]
