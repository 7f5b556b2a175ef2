"""What can go wrong in an inference, by name. Each error is also the builtin that a caller would catch."""


class InferenceError(Exception):
    """Base of every error that this package raises on purpose."""


class InvalidInputError(InferenceError, ValueError):
    """A density, a start, data or an option is not of an accepted kind."""


class InferenceWarning(UserWarning):
    """An answer was found but should not be trusted blindly; the message says in what respect."""
