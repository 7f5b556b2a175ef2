"""Schedules: their formulas at hand-computed steps, and torch's scheduler that follows them."""

import numpy as np
import pytest
import torch

from bayesopt.errors import InvalidInputError
from bayesopt.laws import schedules

ALL = {
    "cosine": schedules.cosine,
    "linear": schedules.linear,
    "wsd": schedules.wsd,
    "rex": schedules.rex,
    "rex flat": lambda n, peak, **o: schedules.rex(n, peak, variant="flat", **o),
    "power": lambda n, peak, **o: schedules.power(n, peak, tokens_per_step=1e3, amplitude=0.5, **o),
    "two_stage": lambda n, peak, **o: schedules.two_stage(n, peak, switch=0.5, second=0.3, **o),
}


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
@pytest.mark.parametrize("warmup", [0, 1, 7])
def test_it_rises_to_the_peak_and_has_its_length(make, warmup):
    lr = np.asarray(make(40, 1e-3, warmup=warmup))
    assert lr.shape == (40,)
    assert lr.max() == pytest.approx(1e-3)
    assert (np.diff(lr[: warmup + 1]) > 0).all()
    assert (np.diff(lr[warmup:]) <= 1e-18).all()
    assert (lr[:-1] > 0).all()


def test_values_by_hand():
    # s = 1/4 at the first step of four after the start
    s = 0.25
    assert schedules.cosine(5, 2.0, final=0.1)[1] == pytest.approx(2.0 * (0.1 + 0.45 * (1 + np.cos(np.pi * s))))
    assert schedules.rex(5, 2.0)[1] == pytest.approx(2.0 * 2 * (1 - s) / (2 - s))
    assert schedules.rex(5, 2.0, variant="flat")[1] == pytest.approx(2.0 * 0.75 / (0.1 + 0.9 * 0.75))
    assert schedules.linear(5, 2.0, final=0.5)[1] == pytest.approx(2.0 * (1 - 0.5 * s))
    assert schedules.wsd(5, 2.0, decay=1.0, power=0.5)[1] == pytest.approx(2.0 * (1 - np.sqrt(s)))
    long = schedules.power(1000, 1.0, tokens_per_step=10.0, amplitude=20.0, exponent=-0.5, decay=0.0)
    assert long[499] == pytest.approx(20.0 * 5000.0**-0.5)
    assert long[0] == 1.0
    assert schedules.cyclical(9, 3.0, low=1.0, half_cycle=4).tolist() == [1.0, 1.5, 2.0, 2.5, 3.0, 2.5, 2.0, 1.5, 1.0]


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_torch_follows_it(make):
    schedule = make(12, 0.01, warmup=3)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.01)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    followed = []
    for _ in range(14):
        followed.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    expected = np.append(schedule, [schedule[-1]] * 2)  # after the end it stays
    np.testing.assert_allclose(followed, expected, rtol=1e-12, atol=1e-18)


def test_what_is_computed_from_a_schedule_is_a_plain_array():
    assert type(2.0 * schedules.linear(4, 1.0)) is np.ndarray
    assert isinstance(schedules.linear(4, 1.0).max(), float)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: schedules.cosine(1, 1.0), "total"),
        (lambda: schedules.cosine(10, 0.0), "positive finite learning rate"),
        (lambda: schedules.cosine(10, 1.0, warmup=9), "at most 8 of 10 steps"),
        (lambda: schedules.cosine(10, 1.0, final=1.5), "share of the peak"),
        (lambda: schedules.wsd(10, 1.0, decay=0.0), "decay in"),
        (lambda: schedules.rex(10, 1.0, variant="steep"), "'paper' or 'flat'"),
        (lambda: schedules.cyclical(10, 1.0, low=2.0, half_cycle=2), "below the peak"),
        (lambda: schedules.power(10, 1.0, tokens_per_step=1.0, amplitude=1.0, exponent=0.5), "exponent < 0"),
        (lambda: schedules.two_stage(10, 1.0, switch=2.0, second=0.5), "share in"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(InvalidInputError, match=match):
        call()
