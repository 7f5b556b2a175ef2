"""What can be said of a problem's constraints."""

from typing import Self


class Verdict(str):
    """Whether the constraints can be met: 'feasible', 'infeasible' or 'undecided', with the evidence."""

    evidence: str
    """One sentence that says why."""

    def __new__(cls, status: str, evidence: str) -> Self:
        """A verdict; it equals its status."""
        verdict = super().__new__(cls, status)
        verdict.evidence = evidence
        return verdict
