"""What can be said of a problem's constraints."""

from typing import Any, Final, Self

LEAST_TOLD: Final = 10
"""Told trials a column of the unit cube before which a model is not asked whether the constraints can be met."""


class Verdict(str):
    """Whether the constraints can be met: 'feasible', 'infeasible' or 'undecided', with the evidence.

    What a model says of the whole space, below the sentence, is None unless nothing feasible was told and a model was
    asked.
    """

    evidence: str
    """One sentence that says why."""
    expected: float | None
    """Upper bound on the expected number of feasible regions; below 0.0001 the constraints count as infeasible."""
    chance: float | None
    """Upper bound on the probability that any one configuration is feasible; it must be below 0.01 then, too."""
    point: dict[str, Any] | None
    """The configuration where the constraints may be violated least."""
    binding: str | None
    """The constrained outcome that is worst there."""
    margin: float | None
    """How far above its bound that is at least, two standard deviations below what is expected, in spreads (standard
    deviations, after a sign-keeping transform where there are far outliers) of the outcome's told values."""

    def __new__(
        cls,
        status: str,
        evidence: str,
        *,
        expected: float | None = None,
        chance: float | None = None,
        point: dict[str, Any] | None = None,
        binding: str | None = None,
        margin: float | None = None,
    ) -> Self:
        """A verdict; it equals its status."""
        verdict = super().__new__(cls, status)
        verdict.evidence = evidence
        verdict.expected, verdict.chance = expected, chance
        verdict.point, verdict.binding, verdict.margin = point, binding, margin
        return verdict
