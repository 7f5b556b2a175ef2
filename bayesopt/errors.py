"""What can go wrong, by name. Each error is also the builtin that a caller would catch."""

from collections.abc import Mapping


class BayesoptError(Exception):
    """Base of every error that this package raises on purpose."""


class InvalidInputError(BayesoptError, ValueError, TypeError):
    """A value that was given is not of an accepted kind; the message names it and says how to mend it."""


class InvalidSpaceError(InvalidInputError):
    """A search space, or one of its parameters, cannot be what was declared."""


class InvalidParamsError(InvalidInputError):
    """A configuration does not belong to the search space."""


class InvalidOutcomeError(InvalidInputError):
    """An outcome that was declared or told cannot be used."""


class InvalidPriorError(InvalidInputError):
    """A belief does not fit the space or the outcomes that it speaks of."""


class InvalidBudgetError(InvalidInputError):
    """A budget, or a cost charged to it, cannot be counted."""


class TrialStateError(InvalidInputError):
    """A trial is not in the state that the call needs: told twice, unknown, or of another study."""


class StudyMismatchError(InvalidInputError):
    """A stored study was declared differently from the one that is being opened."""


class ConfigFileError(InvalidInputError):
    """A configuration file cannot be read as a study."""


class TrialFailed(BayesoptError):
    """An evaluation's own way to say that its trial failed: the text is the trial's reason as it stands.

    Example:
        >>> raise TrialFailed("the loss diverged at step 40", cost=12.0)
        Traceback (most recent call last):
        bayesopt.errors.TrialFailed: the loss diverged at step 40
    """

    def __init__(self, reason: str, *, cost: float | Mapping[str, float] | None = None, killed: bool = False) -> None:
        """A failure.

        Args:
            reason: What happened.
            cost: What the trial cost all the same, in the budget's unit or by meter; None where that is not known.
            killed: Whether it was killed at a limit and would have cost more.
        """
        super().__init__(reason)
        self.cost, self.killed = cost, killed


class StorageError(BayesoptError, RuntimeError):
    """The database cannot be read or written; nothing that was told before is lost."""
