"""What can be said of a problem's constraints."""

from typing import Any, Self


class Verdict(str):
    """Whether the constraints can be met: 'feasible', 'infeasible' or 'undecided', with the evidence.

    What a model says of the whole space, below the sentence, is None unless nothing feasible was told and a model was
    asked.
    """

    evidence: str
    """One sentence that says why."""
    expected: float | None
    """Upper bound on the expected number of feasible regions; below 0.001 the constraints count as infeasible."""
    point: dict[str, Any] | None
    """The configuration where a feasible outcome is least unlikely."""
    binding: str | None
    """The constrained outcome that is surest to break its bound there."""
    margin: float | None
    """Its mean there less two standard deviations, above its bound, in spreads (root mean square about the mean, after
    a sign-keeping transform where the outcome has far outliers) of what was told of it."""

    def __new__(
        cls,
        status: str,
        evidence: str,
        *,
        expected: float | None = None,
        point: dict[str, Any] | None = None,
        binding: str | None = None,
        margin: float | None = None,
    ) -> Self:
        """A verdict; it equals its status."""
        verdict = super().__new__(cls, status)
        verdict.evidence = evidence
        verdict.expected, verdict.point, verdict.binding, verdict.margin = expected, point, binding, margin
        return verdict
