"""Mixing while a model trains, on simulated training whose interactions are known."""

import json

import numpy as np
import pytest

import bayesopt as bo
from bayesopt.errors import InvalidInputError


class LinearTraining:
    """Losses that fall by `A p` a step."""

    def __init__(self, A, start):
        self.A, self.losses = np.array(A), np.array(start, dtype=float)

    def train(self, p, n_steps):
        self.losses = self.losses - n_steps * self.A @ p

    def run(self, mixer, n_rounds):
        for _ in range(n_rounds):
            for p, n_steps in mixer.plan():
                self.train(p, n_steps)
                mixer.observe(self.losses)
        return self.losses


A3 = np.array([[3.0, 0.5, 0.0], [1.0, 1.0, 0.2], [0.5, 0.0, 0.4]]) * 1e-4


def test_aioli_solves_for_the_interactions():
    mixer = bo.OnlineMixer(3, eta=0.5, ema=0.0, h=0.6, rounds=2, steps=3, update_steps=100)
    LinearTraining(A3, [3.0, 3.0, 3.0]).run(mixer, 1)
    # sweeps of an exactly linear training determine A up to the factor that makes it sum to 1
    np.testing.assert_allclose(mixer.interactions, A3 / A3.sum(), atol=1e-9)
    expected = np.exp(0.5 * (A3 / A3.sum()).sum(0))
    np.testing.assert_allclose(mixer.proportions, expected / expected.sum(), atol=1e-9)


def test_the_target_weighs_the_rows():
    mixer = bo.OnlineMixer(3, eta=0.5, ema=0.0, h=0.6, rounds=1, steps=3, update_steps=100, target=[0, 0, 2])
    LinearTraining(A3, [3.0, 3.0, 3.0]).run(mixer, 1)
    expected = np.exp(0.5 * 3 * A3[2] / A3.sum())
    np.testing.assert_allclose(mixer.proportions, expected / expected.sum(), atol=1e-9)


def test_smoothing_is_the_weighted_mean_of_what_was_measured_and_starts_from_equal_shares():
    mixer = bo.OnlineMixer(2, eta=1.0, ema=0.25, h=0.75, rounds=1, steps=1, update_steps=10)
    first, second = np.array([[4.0, 1.0], [0.0, 1.0]]) * 1e-3, np.array([[1.0, 0.0], [2.0, 5.0]]) * 1e-3
    world = LinearTraining(first, [2.0, 2.0])
    world.run(mixer, 1)
    world.A = second
    world.run(mixer, 1)
    smoothed = 0.75 * second / second.sum() + 0.25 * first / first.sum()
    np.testing.assert_allclose(mixer.interactions, smoothed, atol=1e-9)
    expected = np.exp(smoothed.sum(0))
    np.testing.assert_allclose(mixer.proportions, expected / expected.sum(), atol=1e-9)


def test_no_group_ever_gets_more_than_the_bound_times_another():
    mixer = bo.OnlineMixer(3, eta=0.2, ema=0.5, h=0.5, rounds=1, steps=1, update_steps=10)
    world = LinearTraining([[1.0, 0, 0], [0, 0, 0], [0, 0, 0]], [9.0, 9.0, 9.0])
    world.run(mixer, 20)
    p = mixer.proportions
    assert p.max() / p.min() == pytest.approx(np.exp(0.2))


def test_training_ends_lower_than_on_equal_shares_where_one_group_teaches_most():
    mixer = bo.OnlineMixer(3, eta=3.0, ema=0.5, h=0.5, rounds=1, steps=5, update_steps=100)
    mixed, equal = LinearTraining(A3, [3.0, 3.0, 3.0]), LinearTraining(A3, [3.0, 3.0, 3.0])
    mixed.run(mixer, 20)
    equal.train(np.full(3, 1 / 3), 20 * 100)
    # shares tend to softmax(3 colsum(A) / sum(A)), and only 15 of 100 steps go into sweeps, which are equal on average
    p = np.exp(3.0 * A3.sum(0) / A3.sum())
    expected = 2000 * A3.sum(0) @ (0.85 * (p / p.sum() - 1 / 3))
    assert equal.losses.sum() - mixed.losses.sum() == pytest.approx(expected, rel=1e-6)
    assert expected > 0.1


def test_a_round_takes_exactly_its_steps():
    mixer = bo.OnlineMixer(3, rounds=4, steps=6, update_steps=250)
    mixer.observe([1.0, 1.0, 1.0])
    steps = []
    for _, n_steps in mixer.plan():
        steps.append(n_steps)
        mixer.observe([1.0, 1.0, 1.0])
    assert steps == [6] * 12 + [178]


def test_doremi_moves_to_what_lies_above_its_reference():
    mixer = bo.OnlineMixer.doremi(3, [1.0, 2.0, 3.0], eta=0.5)
    mixer.observe([2.0, 1.0, 3.0])  # 1 above, below, equal
    next(iter(mixer.plan()))
    moved = np.array([np.exp(0.5), 1.0, 1.0])
    expected = (1 - 1e-3) * moved / moved.sum() + 1e-3 / 3
    np.testing.assert_allclose(mixer.proportions, expected, atol=1e-12)


def test_skill_it_sums_its_graph_times_the_losses_over_the_window():
    graph = np.array([[0.5, 0.1], [0.2, 0.4]])
    mixer = bo.OnlineMixer.skill_it(2, graph, eta=0.3, window=2)
    told = [np.array([3.0, 2.0]), np.array([2.0, 2.0]), np.array([1.0, 2.0])]
    for losses in told:
        mixer.observe(losses)
        list(mixer.plan())
    expected = np.exp(0.3 * sum(losses @ graph for losses in told[1:]))
    np.testing.assert_allclose(mixer.proportions, expected / expected.sum(), atol=1e-12)


def test_doge_follows_the_inner_products_of_gradients():
    mixer = bo.OnlineMixer.doge(2, mu=2.0)
    mixer.observe([1.0, 1.0], alignment=[[1.0, 0.5], [0.0, 0.1]])
    list(mixer.plan())
    expected = np.exp(np.array([1.0, 0.6]) / 2.0)
    np.testing.assert_allclose(mixer.proportions, expected / expected.sum(), atol=1e-12)
    mixer.observe([1.0, 1.0])
    with pytest.raises(InvalidInputError, match="alignment"):
        list(mixer.plan())


def test_a_stretch_that_was_not_observed_is_told():
    mixer = bo.OnlineMixer(2, h=0.75)
    mixer.observe([1.0, 1.0])
    with pytest.raises(InvalidInputError, match="call observe"):
        list(mixer.plan())


def test_the_state_goes_through_json():
    one = bo.OnlineMixer(3, h=0.6, rounds=1, steps=3, update_steps=100)
    world = LinearTraining(A3, [3.0, 3.0, 3.0])
    world.run(one, 2)
    other = bo.OnlineMixer(3, h=0.6, rounds=1, steps=3, update_steps=100)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    twin = LinearTraining(A3, world.losses)
    world.run(one, 2)
    twin.run(other, 2)
    np.testing.assert_array_equal(one.proportions, other.proportions)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bo.OnlineMixer(1), "at least 2"),
        (lambda: bo.OnlineMixer(4, h=0.25), "above 1/m = 0.25"),
        (lambda: bo.OnlineMixer(3, ema=1.0), "below 1"),
        (lambda: bo.OnlineMixer(3, update_steps=20), "do not fit"),
        (lambda: bo.OnlineMixer(3, target=[1.0, 1.0]), r"shape \(3,\)"),
        (lambda: bo.OnlineMixer(3, target=[0.0, 0.0, 0.0]), "not all 0"),
        (lambda: bo.OnlineMixer(2, h=0.75).observe([1.0, float("nan")]), "finite numbers"),
        (lambda: bo.OnlineMixer.skill_it(2, [[1.0]]), r"shape \(2, 2\)"),
        (lambda: bo.OnlineMixer.doge(2, mu=0.0), "positive"),
        (lambda: bo.OnlineMixer(2, h=0.75).load_state_dict({}), "no state"),
    ],
)
def test_what_cannot_be_used_is_refused(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()
