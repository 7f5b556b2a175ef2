"""A search with beliefs: what it takes into account, that it costs little when wrong, and that it pays when right."""

import math
import warnings

import numpy as np
import pytest

import bayesopt as bo
from bayesopt.errors import InvalidInputError, InvalidPriorError
from bayesopt.problem.parameters import Float
from bayesopt.problem.priors import OptimumPrior
from bayesopt.problem.space import Space
from bayesopt.strategies import ExpectedImprovement, FromBoTorch, PriorGuided
from tests.bayesopt.acquisition.cases import MIXED, everything, points, smooth

CUBE = Space({f"x{i}": Float(0.0, 1.0) for i in range(2)})


def suggest(strategy, history, n=1, seed=0):
    return strategy.suggest(history, n, np.random.default_rng(seed))


def bowl(make_history, n=10, at=0.5, **fields):
    X = points(n, 2)
    return make_history(CUBE, X, -((X - at) ** 2).sum(1), **fields)


def prior(centre, sd=0.1, space=CUBE):
    return OptimumPrior({name: (centre, sd) for name in space.names}).on(space)


def test_without_a_belief_it_is_expected_improvement_bitwise(make_history):
    for n in (0, 3, 10):
        history = bowl(make_history, n)
        assert suggest(PriorGuided(), history, 2) == suggest(ExpectedImprovement(), history, 2)


def test_pibo_is_the_decaying_factor_of_expected_improvement(make_history):
    history = bowl(make_history, priors=(prior(0.8),))
    assert suggest(PriorGuided("pibo"), history, 2) == suggest(ExpectedImprovement(), history, 2)
    assert suggest(PriorGuided("paths"), history) != suggest(ExpectedImprovement(), history)


def test_the_start_is_the_belief_then_the_middle(make_history):
    history = make_history(CUBE, priors=(prior(0.8),))
    first, second, third = suggest(PriorGuided(), history, 3)
    assert first == {"x0": 0.8, "x1": 0.8}
    assert second == {"x0": 0.5, "x1": 0.5}
    assert third not in (first, second)


@pytest.mark.parametrize("at", [0.8, 0.1])
def test_the_start_is_short_only_if_the_belief_seems_right(make_history, at):
    space = Space({f"x{i}": Float(0.0, 1.0) for i in range(4)})
    X = np.array([[0.8] * 4, [0.5] * 4, [0.1, 0.3, 0.2, 0.1]])
    history = make_history(space, X, -(np.abs(X - at).sum(1) ** 2), priors=(prior(0.8, space=space),))
    (asked,) = suggest(PriorGuided(), history)
    (sobol,) = suggest(ExpectedImprovement(), make_history(space, X, -X.sum(1)))
    assert (asked == sobol) == (at == 0.1)


def test_a_belief_draws_the_search_to_where_nothing_is_known(make_history):
    X = np.array([[0.1, 0.5], [0.2, 0.1], [0.15, 0.9], [0.25, 0.4]])
    asked = {}
    for centre in (0.8, 0.55):
        history = make_history(CUBE, X, np.array([0.0, 0.1, 0.0, 0.1]), priors=(prior(centre, 0.05),))
        (asked[centre],) = suggest(PriorGuided(n_initial=0), history)
    for centre, params in asked.items():
        assert all(abs(value - centre) < 0.2 for value in params.values()), (centre, params)


def test_everything_at_once_is_asked_without_an_error_and_again_bitwise(make_history):
    beliefs = (
        OptimumPrior({"c": {"p": 3.0, "q": 1.0, "r": 1.0}, "m": ({"a": 0.6, "b": 0.3, "c": 0.1}, 5.0)}).on(MIXED),
        bo.OptimalValuePrior(at_least=-5.0, softness=1.0).on(MIXED),
        bo.PreferencePrior([(MIXED.decode([0.2, 0.5, 0.5, 0.1]), MIXED.decode([0.9, 0.5, 0.5, 0.9]))], 0.1).on(MIXED),
    )
    history = everything(make_history, MIXED, priors=beliefs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asked = suggest(PriorGuided(), history, 3)
    assert len({tuple(MIXED.encode(params)) for params in asked}) == 3
    assert suggest(PriorGuided(), history, 3) == asked


def test_a_belief_that_is_refuted_is_told_once_and_no_longer_steers(make_history):
    history = bowl(make_history, 16, at=0.1, priors=(prior(0.9, 0.05),), noise=0.0)
    with pytest.warns(RuntimeWarning, match=r"at odds with belief 1 of 1: .* right is .* after 16 trials"):
        (asked,) = suggest(PriorGuided(), history)
    assert asked.memory["at_odds"] == [0]
    plain = bowl(make_history, 16, at=0.1, noise=0.0)
    assert asked == suggest(ExpectedImprovement(), plain)[0]
    again = bowl(make_history, 16, at=0.1, priors=(prior(0.9, 0.05),), noise=0.0, memory=dict(asked.memory))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert suggest(PriorGuided(), again)[0].memory["at_odds"] == [0]


def test_a_refuted_belief_leaves_the_other_one_in_charge(make_history):
    right, wrong = prior(0.15, 0.1), prior(0.9, 0.05)
    both = bowl(make_history, 16, at=0.1, priors=(right, wrong), noise=0.0, memory={"at_odds": [1]})
    alone = bowl(make_history, 16, at=0.1, priors=(right,), noise=0.0)
    np.testing.assert_allclose(
        CUBE.encode(suggest(PriorGuided(), both)[0]), CUBE.encode(suggest(PriorGuided(), alone)[0]), atol=0.02
    )


def test_an_acquisition_function_of_botorch_is_guided_too(make_history):
    from botorch.acquisition.logei import qLogNoisyExpectedImprovement

    def make(p):
        return qLogNoisyExpectedImprovement(p.model, p.X_baseline, sampler=p.sampler(64))

    X = np.array([[0.1, 0.5], [0.2, 0.1], [0.15, 0.9], [0.25, 0.4]])
    y = np.array([0.0, 0.1, 0.0, 0.1])
    history = make_history(CUBE, X, y, priors=(prior(0.8, 0.05),), pending=np.array([[0.4, 0.4]]))
    (asked,) = suggest(PriorGuided(make=make, n_initial=0), history)
    assert all(abs(value - 0.8) < 0.2 for value in asked.values())
    without = make_history(CUBE, X, y, pending=np.array([[0.4, 0.4]]))
    assert suggest(PriorGuided(make=make, n_initial=0), without) == suggest(FromBoTorch(make, n_initial=0), without)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "bopro"}, "method: expected one of paths, colabo, pibo, got 'bopro'"),
        ({"doubt": 0.0}, "doubt: expected a probability between 0 and 1"),
        ({"doubt": 1.0}, "doubt: expected a probability between 0 and 1"),
        ({"doubt": "much"}, "doubt: expected one real number"),
        ({"make": 3}, "make: expected a function"),
        ({"n_initial": -1}, "n_initial"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(options, message):
    with pytest.raises(InvalidInputError, match=message):
        PriorGuided(**options)


# -- in a study ------------------------------------------------------------------------------------------------------


def study_of(priors, **options):
    return bo.Study(CUBE, minimize="loss", priors=priors, seed=0, **{"noise": 0.0} | options)


def spend(study, n, at=0.15):
    for _ in range(n):
        trial = study.ask()
        study.tell(trial, sum((value - at) ** 2 for value in trial.params.values()))


RIGHT, WRONG = (bo.OptimumPrior({name: (centre, 0.1) for name in CUBE.names}) for centre in (0.2, 0.9))


def test_the_default_strategy_follows_from_what_is_believed():
    assert isinstance(study_of([]).strategy, ExpectedImprovement)
    study = study_of([RIGHT])
    assert isinstance(study.strategy, PriorGuided)
    assert isinstance(study_of([RIGHT], strategy=ExpectedImprovement()).strategy, ExpectedImprovement)
    late = study_of([])
    late.add_prior(RIGHT)
    assert isinstance(late.strategy, PriorGuided) and late.priors == (RIGHT,)


def test_a_study_tells_what_is_left_of_each_belief():
    study = study_of([RIGHT, WRONG, bo.OptimalValuePrior(at_most=0.01, softness=0.01)])
    assert [belief.probability for belief in study.beliefs] == pytest.approx([0.8] * 3)
    assert study.beliefs.probability == pytest.approx(0.8**3)
    with pytest.warns(RuntimeWarning, match="at odds with belief 2 of 3"):
        spend(study, 9)
    right, wrong, value = study.beliefs
    assert right.prior is RIGHT and right.probability > 0.8 and right.log_bayes_factor > 0
    assert wrong.probability < 0.05 and wrong.log_bayes_factor < 0
    assert value.probability > 0.8
    assert study.beliefs.probability <= wrong.probability
    assert study.beliefs.n_told == 9
    report = study.report()
    assert "Beliefs, after 9 told trials:" in report
    assert report.count("at odds with the data") == 1
    assert "all of them" in report
    assert not study_of([]).beliefs and "Beliefs" not in study_of([]).report()


def test_a_belief_added_late_is_judged_by_what_was_told_before():
    study = study_of([])
    spend(study, 10)
    study.add_prior(WRONG)
    assert study.beliefs[0].probability < 0.05
    with pytest.warns(RuntimeWarning, match="at odds"):
        assert study.ask() is not None
    with pytest.raises(InvalidPriorError, match="unknown parameter"):
        study.add_prior(bo.OptimumPrior({"z": (0.1, 0.1)}))
    assert study.priors == (WRONG,)


def test_a_strategy_that_would_ignore_a_belief_refuses_it():
    value = bo.OptimalValuePrior(at_most=0.0)
    for strategy in (ExpectedImprovement(), PriorGuided("pibo")):
        with pytest.raises(InvalidPriorError, match=r"weighs places of the optimum alone and would ignore Optimal"):
            study_of([value], strategy=strategy)
    assert study_of([value], strategy=PriorGuided("colabo")).ask() is not None
    with pytest.raises(InvalidPriorError, match="9 beliefs are more than the 8"):
        study_of([RIGHT] * 9)


def test_a_reopened_study_asks_what_it_would_have_asked(tmp_path):
    straight = study_of([RIGHT])
    spend(straight, 8)
    for _ in range(8):
        with study_of([RIGHT], storage=tmp_path / "study.db") as resumed:
            spend(resumed, 1)
    with study_of([RIGHT], storage=tmp_path / "study.db") as resumed:
        assert [trial.params for trial in resumed.trials] == [trial.params for trial in straight.trials]
        assert resumed.beliefs.log_bayes_factor == straight.beliefs.log_bayes_factor


FEW = bo.Space({"k": bo.Int(1, 3), "c": bo.Choice(["a", "b"])})
NARROW = bo.Space({"x": bo.Float(0.0, 1.0), "y": bo.Float(0.0, 1.0)}, allowed=lambda params: params["x"] < params["y"])
NESTED = bo.Space({"c": bo.Choice(["a", "b"]), "x": bo.Float(1e-3, 1.0, log=True, active_if={"c": "a"})})
AWKWARD = {
    "a space that ends": (FEW, [bo.OptimumPrior({"k": (2, 1.0)})], lambda p: float(p["k"])),
    "a mode that is not allowed": (NARROW, [bo.OptimumPrior({"x": (0.9, 0.1), "y": (0.1, 0.1)})], lambda p: p["x"]),
    "a parameter that may be absent": (NESTED, [bo.OptimumPrior({"x": (0.01, 3.0)})], lambda p: p.get("x", 0.5)),
    "one value throughout": (NARROW, [bo.OptimalValuePrior(at_most=0.0)], lambda p: 1.0),
    "values of every size": (NARROW, [bo.OptimalValuePrior(mean=0.0, sd=1.0)], lambda p: 1e300 * (p["x"] - 0.5)),
    "what cannot be": (NARROW, [bo.OptimalValuePrior(at_most=-1e9)], lambda p: p["y"]),
    "a density that rules most out": (
        NARROW,
        [bo.OptimumPrior(lambda p: 0.0 if p["x"] > 0.6 else -math.inf)],
        lambda p: p["x"] - p["y"],
    ),
    "a preference for what was told": (
        FEW,
        [bo.PreferencePrior([({"k": 1, "c": "a"}, {"k": 3, "c": "b"})])],
        lambda p: p["k"] + (p["c"] == "b"),
    ),
}


@pytest.mark.parametrize(("space", "priors", "evaluate"), AWKWARD.values(), ids=AWKWARD)
def test_a_study_with_awkward_beliefs_goes_on(space, priors, evaluate):
    study = bo.Study(space, minimize="loss", subject_to=[bo.AtMost("memory", 0.7)], priors=priors, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "The data are at odds")
        for i in range(8):
            trials = study.ask(2)
            for trial in trials:
                if trial.id % 5 == 4:
                    study.fail(trial)
                else:
                    study.tell(trial, {"loss": evaluate(trial.params), "memory": None if i == 0 else 0.1 * i})
        assert len(study.trials) == (16 if study.space.size is None else 6)
        assert all(0.0 <= belief.probability <= 1.0 for belief in study.beliefs)
        assert "Beliefs, after" in study.report()


# -- how good it is --------------------------------------------------------------------------------------------------

HARTMANN = Space({f"x{i}": Float(0.0, 1.0) for i in range(4)})
WEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
WIDTHS = np.array([[10, 3, 17, 3.5], [0.05, 10, 17, 0.1], [3, 3.5, 1.7, 10], [17, 8, 0.05, 10]])
CENTRES = np.array([
    [0.1312, 0.1696, 0.5569, 0.0124],
    [0.2329, 0.4135, 0.8307, 0.3736],
    [0.2348, 0.1451, 0.3522, 0.2883],
    [0.4047, 0.8828, 0.8732, 0.5743],
])
ARGMIN, MINIMUM = np.array([0.1873953, 0.1941515, 0.5579178, 0.2647796]), -3.7298405845


def hartmann(params):
    x = np.array(list(params.values()))
    return -float(WEIGHTS @ np.exp(-(WIDTHS * (x - CENTRES) ** 2).sum(1)))


def run(seed, centre, trials):
    """Least regret after each trial, and the probability left to the belief after 22; without a belief it is None."""
    priors = [] if centre is None else [bo.OptimumPrior({f"x{i}": (c, 0.2) for i, c in enumerate(centre)})]
    study = bo.Study(HARTMANN, minimize="y", priors=priors, seed=seed)
    regret, left = [], None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for n in range(1, trials + 1):
            trial = study.ask()
            regret.append(hartmann(trial.params) - MINIMUM)
            study.tell(trial, hartmann(trial.params))
            if n == 22 and priors:
                left = study.beliefs.probability
    return np.minimum.accumulate(regret), left


def off(seed):
    """A belief's centre that is off by 0.1 sqrt(d) of the range in a random direction."""
    direction = np.random.default_rng([seed, 3]).standard_normal(4)
    return np.clip(ARGMIN + 0.2 * direction / np.linalg.norm(direction), 0.0, 1.0)


OPPOSITE = np.where(ARGMIN < 0.5, 1.0, 0.0)
SEEDS = range(100, 108)


@pytest.mark.slow
def test_a_belief_in_the_opposite_corner_is_found_out_and_costs_no_more_than_a_tenth():
    assert hartmann(dict(enumerate(ARGMIN))) == pytest.approx(MINIMUM, abs=1e-8)
    plain = np.median([run(seed, None, 40)[0] for seed in SEEDS], axis=0)
    regrets, left = zip(*(run(seed, OPPOSITE, 40) for seed in SEEDS), strict=True)
    wrong = np.median(regrets, axis=0)
    assert wrong[-1] <= 0.01
    assert max(left) < 0.05
    assert np.argmax(wrong <= plain[19]) + 1 <= math.ceil(1.1 * (np.argmax(plain <= plain[19]) + 1))


@pytest.mark.slow
def test_a_good_belief_saves_two_fifths_of_the_trials():
    plain = np.median([run(seed, None, 20)[0] for seed in SEEDS], axis=0)
    good = np.median([run(seed, off(seed), 20)[0] for seed in SEEDS], axis=0)
    assert np.argmax(good <= plain[-1]) + 1 <= 0.6 * (np.argmax(plain <= plain[-1]) + 1)


def test_the_functions_of_an_ask_are_few_enough_to_be_quick(make_history):
    """Not a time, which the machine decides: the sizes on which the time depends."""
    from bayesopt.acquisition.believed_paths import N_PATHS, draw_believed_paths
    from bayesopt.surrogate import fit_surrogate

    space = Space({f"x{i}": Float(0.0, 1.0) for i in range(6)})
    X = points(60, 6)
    history = make_history(space, X, smooth(X), priors=(prior(0.5, space=space),))
    paths = draw_believed_paths(fit_surrogate(history), history.priors, history.pending)
    assert paths.objective.posterior.shape[1] == N_PATHS == 512
    assert len(paths.Z) <= 60 + 256
