"""How far beliefs are to be trusted: each of them is right with some probability, and data say which.

Alphabet. B: beliefs. S: functions drawn from a model, each before and after the data. rho: what a belief makes of a
function, a density up to a constant. A: a set of beliefs that are right, of which there are 2^B; the others say
nothing.

With probability p(A) the objective is distributed as `p(f) prod_(i in A) rho_i(f) / Z_A`, where `Z_A` is the mean of
the product over functions before the data. So a function after the data has the weight
`sum_A p(A) prod_(i in A) rho_i(f) / Z_A`, and the evidence for A is the mean of the product after the data over that
before.
"""

import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MIN_EFFECTIVE: Final = 32.0
"""Functions that the weights must amount to at least; where they are fewer, every belief is weakened alike."""
_BISECTIONS: Final = 12
"""Halvings by which the weakening is found: to a thousandth of it."""
LEAST_LOG: Final = -1e6
"""What the log of an impossible event counts for: 0 when it is taken to a power, and finite in sums."""

_MOST_NATS: Final = 50.0
"""Evidence beyond this is not told apart: a finite sample of functions knows no certainty."""


@dataclass(frozen=True)
class Verdict:
    """What is left of some beliefs."""

    log_bayes_factors: FloatArray
    """Log evidence for each belief, alone, against saying nothing, `B`."""
    probabilities: FloatArray
    """Probability that each belief is right, `B`."""
    log_bayes_factor: float
    """Log evidence for all of them together,"""
    probability: float
    """and the probability that all of them are right."""
    power: float
    """What rho is raised to in the weights so that enough functions count; 1 leaves it as it is."""
    _members: FloatArray
    _log_shares: FloatArray

    def log_weight(self, log_rho: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Log of the weight of functions, up to a constant that is the same for all.

        Args:
            log_rho: What each belief makes of each of them, `B x s`.

        Returns:
            Log weights, `s`, and their derivatives with respect to `log_rho`, `B x s`.
        """
        terms = self._log_shares[:, None] + self._members @ (self.power * np.maximum(log_rho, LEAST_LOG))
        value = log_sum(terms.T)
        return value, self.power * (self._members.T @ np.exp(terms - value))


def weigh(before: FloatArray, after: FloatArray, doubt: float) -> Verdict:
    """Weigh functions by beliefs that may be wrong.

    Args:
        before: Log rho of each function before the data, `B x S`.
        after: Log rho of the same function after the data, `B x S`.
        doubt: Probability that a belief is wrong, each on its own.

    Returns:
        What is left of each belief, and what weighs functions.

    Reference: Hvarfner, Hutter and Nardi 2024, "A General Framework for User-Guided Bayesian Optimization", for rho;
    the mixture and its confrontation with the data are not theirs.
    """
    before, after = np.maximum(before, LEAST_LOG), np.maximum(after, LEAST_LOG)
    members = np.array(list(itertools.product((0.0, 1.0), repeat=len(before))))
    log_sets = members.sum(1) * np.log1p(-doubt) + (1.0 - members).sum(1) * np.log(doubt)
    log_factors = np.clip(log_mean(members @ after) - log_mean(members @ before), -_MOST_NATS, _MOST_NATS)
    log_posterior = log_sets + log_factors
    log_posterior -= log_sum(log_posterior)
    alone = members.sum(1) == 1
    power = _power(members, log_sets, before, after)
    return Verdict(
        log_bayes_factors=members[alone].T @ log_factors[alone],
        probabilities=members.T @ np.exp(log_posterior),
        log_bayes_factor=float(log_factors[-1]),
        probability=float(np.exp(log_posterior[-1])),
        power=power,
        _members=members,
        _log_shares=log_sets - log_mean(members @ (power * before)),
    )


def n_effective(log_weights: FloatArray) -> float:
    """How many equally weighted functions the weights amount to."""
    return float(np.exp(2.0 * log_sum(log_weights) - log_sum(2.0 * log_weights)))


def _power(members: FloatArray, log_sets: FloatArray, before: FloatArray, after: FloatArray) -> float:
    def is_enough(power: float) -> bool:
        terms = (log_sets - log_mean(members @ (power * before)))[:, None] + members @ (power * after)
        return n_effective(log_sum(terms.T)) >= MIN_EFFECTIVE

    if is_enough(1.0):
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if is_enough(middle) else (low, middle)
    return low


def log_sum(values: FloatArray) -> FloatArray:
    """`log sum exp` over the last axis."""
    largest = values.max(-1, keepdims=True)
    total: FloatArray = np.log(np.exp(values - largest).sum(-1)) + largest[..., 0]
    return total


def log_mean(values: FloatArray) -> FloatArray:
    """`log mean exp` over the last axis."""
    mean: FloatArray = log_sum(values) - np.log(values.shape[-1])
    return mean
