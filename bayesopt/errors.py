"""What can go wrong, by name. Each error is also the builtin that a caller would catch."""


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


class StorageError(BayesoptError, RuntimeError):
    """The database cannot be read or written; nothing that was told before is lost."""
