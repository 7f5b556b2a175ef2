"""The tuner of data mixtures."""

import json

import numpy as np
import pytest

import bayesopt as bo
from bayesopt.errors import InvalidInputError
from bayesopt.problem.parameters import Simplex
from bayesopt.tuners.mixture_belief import MixtureBelief
from bayesopt.tuners.mixture_candidates import MixtureCandidates

GROUPS = ["web", "code", "math", "books"]


def losses(mixture):
    """Two losses by mixing laws; that of their mean is least well inside the simplex."""
    p = np.array([mixture[group] for group in GROUPS])
    return {
        "prose": float(2.0 + np.exp(0.2 - 3.0 * p[0] - 1.5 * p[3])),
        "code": float(1.0 + np.exp(0.4 - 4.0 * p[1] - 0.5 * p[2])),
    }


def tuned(n, **options):
    tuner = bo.MixtureTuner(GROUPS, **options)
    for _ in range(n):
        mixture = tuner.ask()
        tuner.tell(mixture, losses(mixture))
    return tuner


def test_comes_close_to_the_best_mixture_of_a_mean_of_two_losses():
    tuner = tuned(20)
    shares = np.random.default_rng(0).dirichlet(np.full(4, 0.5), 20_000)
    least = min(np.mean(list(losses(dict(zip(GROUPS, p, strict=True))).values())) for p in shares)
    # the least of 20,000 random mixtures is itself 0.001 to 0.01 above the optimum; the spread of the target is 0.2
    assert tuner.best().observed < least + 0.005


def test_one_loss_with_its_law_needs_few_runs():
    tuner = tuned(12, target="code")
    least = 1.0 + np.exp(0.4 - 4.0)
    assert tuner.best().observed < least + 0.01


def test_weighing_the_losses_anew_needs_no_new_run():
    tuner = tuned(16)
    for target, best_group in (("prose", "web"), ("code", "code"), ({"prose": 1.0, "code": 9.0}, "code")):
        tuner.target = target
        mixture = tuner.best(among_runs=False).mixture
        assert max(mixture, key=mixture.get) == best_group
    assert len(tuner.state_dict()["runs"]) == 16


def test_every_ask_keeps_to_the_caps_of_the_token_counts():
    counts = {"web": 8e9, "code": 1e9, "math": 0.5e9, "books": 0.5e9}
    tuner = bo.MixtureTuner(GROUPS, counts, repeats=2, run_tokens=10e9)
    assert tuner.caps == pytest.approx({"web": 1.0, "code": 0.2, "math": 0.1, "books": 0.1})
    for _ in range(10):
        mixture = tuner.ask()
        assert sum(mixture.values()) == pytest.approx(1.0, abs=1e-12)
        assert all(-1e-12 <= mixture[g] <= tuner.caps[g] + 1e-9 for g in GROUPS)
        tuner.tell(mixture, losses(mixture))


def test_asks_before_a_tell_do_not_repeat_one_another():
    tuner = tuned(8)
    asked = np.array([list(tuner.ask().values()) for _ in range(4)])
    distances = np.abs(asked[:, None] - asked[None]).max(2) + np.eye(4)
    assert distances.min() > 1e-3


def test_a_table_is_asked_row_by_row_until_it_is_used_up():
    table = np.random.default_rng(1).dirichlet(np.ones(4), 12)
    tuner = bo.MixtureTuner(GROUPS, candidates=table)
    seen = []
    while (mixture := tuner.ask()) is not None:
        seen.append(list(mixture.values()))
        tuner.tell(mixture, losses(mixture))
    np.testing.assert_allclose(sorted(seen), sorted(table.tolist()), atol=1e-9)


@pytest.mark.parametrize("target", ["code", None])
def test_the_state_goes_through_json_and_another_tuner_goes_on(target):
    one = tuned(9, target=target, seed=3)
    one.ask()  # pending
    other = bo.MixtureTuner(GROUPS, target=target, seed=3)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert other.ask() == one.ask()
    assert other.best() == one.best()


def test_intervals_hold_what_they_claim():
    """Of 200 unseen mixtures, a 90 % interval from 25 noisy runs must hold most: a model may be 15 % off."""
    rng = np.random.default_rng(5)
    tuner = bo.MixtureTuner(GROUPS)
    for p in rng.dirichlet(np.ones(4), 25):
        mixture = dict(zip(GROUPS, p.tolist(), strict=True))
        tuner.tell(mixture, {name: loss + 0.01 * rng.standard_normal() for name, loss in losses(mixture).items()})
    held = 0
    for p in rng.dirichlet(np.ones(4), 200):
        mixture = dict(zip(GROUPS, p.tolist(), strict=True))
        interval = tuner.predict(mixture).target
        held += interval.low <= np.mean(list(losses(mixture).values())) <= interval.high
    assert held >= 150


def test_proxy_runs_alone_give_a_mixture_and_a_report_of_none_observed():
    tuner = bo.MixtureTuner(GROUPS, scales=["small", "large"], target="code")
    for p in np.random.default_rng(6).dirichlet(np.ones(4), 30):
        mixture = dict(zip(GROUPS, p.tolist(), strict=True))
        tuner.tell(mixture, losses(mixture), scale="small")
    best = tuner.best(among_runs=False)
    assert best.mixture["code"] > 0.8
    assert best.observed is None


def test_csv_in_json_out(tmp_path):
    rows = np.random.default_rng(7).dirichlet(np.ones(4), 15).round(3)
    header = [*(f"w_{g}" for g in GROUPS), "loss_prose", "loss_code", "size"]
    lines = [",".join(header)]
    for p in rows:
        told = losses(dict(zip(GROUPS, p / p.sum(), strict=True)))
        lines.append(",".join(map(str, [*p, *told.values(), "small"])))
    (tmp_path / "runs.csv").write_text("\n".join(lines) + "\n")
    tuner = bo.MixtureTuner(GROUPS, scales=["small", "large"])
    assert tuner.read_csv(tmp_path / "runs.csv", scale="size") == 15
    tuner.write_json(tmp_path / "best.json")
    written = json.loads((tmp_path / "best.json").read_text())
    assert set(written["mixture"]) == set(GROUPS)
    assert written["target"]["low"] < written["target"]["mean"] < written["target"]["high"]


def test_a_table_with_a_bad_row_tells_nothing(tmp_path):
    (tmp_path / "runs.csv").write_text("w_web,w_code,w_math,w_books,loss_a\n1,0,0,0,2.0\n1,1,0,0,2.0\n")
    tuner = bo.MixtureTuner(GROUPS)
    with pytest.raises(InvalidInputError, match="no mixture"):
        tuner.read_csv(tmp_path / "runs.csv")
    assert tuner.losses == ()
    with pytest.raises(InvalidInputError, match="no column size"):
        tuner.read_csv(tmp_path / "runs.csv", scale="size")


def test_slopes_of_the_acquisition_are_those_of_finite_differences():
    rng = np.random.default_rng(8)
    P = rng.dirichlet(np.ones(4), 12)
    Y = np.array([list(losses(dict(zip(GROUPS, p, strict=True))).values()) for p in P])
    Q = 0.8 * rng.dirichlet(np.ones(4), 5) + 0.05
    for weights, pending in (([0.5, 0.5], P[:0]), ([0.0, 1.0], P[:0]), ([0.3, 0.7], Q[:1] * 0.5 + 0.125)):
        belief = MixtureBelief(P, Y, np.array(weights), [0] * 12, pending, law=True)
        best = float((Y @ weights).min()) + 0.1
        step, direction = 1e-5, np.array([1.0, -1.0, 0.0, 0.0])
        for function in (lambda R, b=belief, least=best: b.log_expected_improvement(R, least), belief.negative_mean):
            up, down = (function(Q + s * step * direction)[0] for s in (1, -1))
            slopes = function(Q)[1]
            # `pullback` takes the process on all twelve runs; a step of 1e-5 leaves about six digits
            np.testing.assert_allclose(slopes @ direction, (up - down) / (2 * step), rtol=1e-3, atol=1e-4)


def test_expected_improvement_is_that_of_simulation():
    rng = np.random.default_rng(9)
    P = rng.dirichlet(np.ones(4), 10)
    Y = np.array([list(losses(dict(zip(GROUPS, p, strict=True))).values()) for p in P])
    belief = MixtureBelief(P, Y, np.array([0.5, 0.5]), [0] * 10, P[:0], law=False)
    Q, best = rng.dirichlet(np.ones(4), 4), float(Y.mean(1).min()) + 0.05
    mean, sd = belief.target(Q)
    draws = np.maximum(best - (mean + sd * rng.standard_normal((200_000, 4))), 0.0)
    error = draws.std(0) / np.sqrt(len(draws))
    expected = np.exp(belief.log_expected_improvement(Q, best)[0])
    assert (np.abs(expected - draws.mean(0)) < 4 * error + 1e-12).all()


def test_a_thousand_mixtures_of_thirty_groups_keep_to_their_caps():
    rng = np.random.default_rng(10)
    names = [f"g{i}" for i in range(30)]
    caps = np.concatenate([np.full(10, 0.02), rng.uniform(0.03, 0.2, 20)])
    space = MixtureCandidates(Simplex(names, caps=dict(zip(names, caps, strict=True))), rng.uniform(0.1, 10, 30))
    P = space.sample(1000, rng)
    assert (P >= 0).all()
    assert (P <= caps + 1e-9).all()
    np.testing.assert_allclose(P.sum(1), 1.0, atol=1e-9)
    assert (P == 0).mean() > 0.1  # and some leave groups out
    assert np.unique(P, axis=0).shape[0] == 1000


def test_caps_that_nearly_leave_no_choice_are_met():
    names = ["a", "b", "c"]
    space = MixtureCandidates(Simplex(names, caps={"a": 0.4, "b": 0.31, "c": 0.3}), [1.0, 1.0, 1.0])
    P = space.capped(np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.2, 0.7, 0.1]]))
    np.testing.assert_allclose(P.sum(1), 1.0, atol=1e-12)
    assert (P <= np.array([0.4, 0.31, 0.3]) + 1e-12).all()


def test_climbing_never_loses_and_finds_a_capped_corner():
    space = MixtureCandidates(Simplex(["a", "b", "c"], caps={"a": 0.7}), [1.0, 1.0, 1.0])
    slope = np.array([3.0, 1.0, 0.0])
    ends = space.climb(np.full((1, 3), 1 / 3), lambda P: (P @ slope, np.tile(slope, (len(P), 1))))
    np.testing.assert_allclose(ends[0], [0.7, 0.3, 0.0], atol=0.02)  # 20 steps of at most a factor sqrt(e)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bo.MixtureTuner(GROUPS, [1.0, 1.0]), "expected 4 positive numbers"),
        (lambda: bo.MixtureTuner(GROUPS, [1.0] * 4, repeats=1), "leave no choice"),
        (lambda: bo.MixtureTuner(GROUPS, run_tokens=1e9), "token_counts"),
        (lambda: bo.MixtureTuner(GROUPS, target=3), "the name of a loss"),
        (lambda: bo.MixtureTuner(GROUPS, target={"a": 0.0}), "weights are all 0"),
        (lambda: bo.MixtureTuner(GROUPS, candidates=[[0.5, 0.5]]), "expected 4 columns"),
        (lambda: bo.MixtureTuner(GROUPS, scales=["a", "a"]), "distinct names"),
        (lambda: bo.MixtureTuner(GROUPS).tell({"web": 1.0}, {"a": 1.0}), "expected a dict with the groups"),
        (lambda: bo.MixtureTuner(GROUPS).best(), "at least 2 runs"),
        (lambda: tuned(2).predict(dict.fromkeys(GROUPS, 0.25), level=1.5), "between 0 and 1"),
        (lambda: tuned(1).tell(dict.fromkeys(GROUPS, 0.25), {"other": 1.0}), "expected the losses"),
        (lambda: tuned(1).tell(dict.fromkeys(GROUPS, 0.25), {"prose": np.inf, "code": 1.0}), "a finite number"),
        (lambda: tuned(1).tell(dict.fromkeys(GROUPS, 0.25), losses(dict.fromkeys(GROUPS, 0.25)), "big"), "scale"),
        (lambda: tuned(1, target="prosa"), "no run told a loss 'prosa'"),
        (lambda: bo.MixtureTuner(GROUPS).load_state_dict({}), "no state of a MixtureTuner"),
    ],
)
def test_what_cannot_be_used_is_refused(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()


def test_a_target_that_no_run_told_leaves_the_tuner_as_it_was():
    tuner = tuned(3, target="prose")
    with pytest.raises(InvalidInputError, match="no run told"):
        tuner.target = "prosa"
    assert tuner.target == "prose"
