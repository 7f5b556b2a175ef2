"""What can go wrong in a Gaussian process, by name. Each error is also the builtin that a caller would catch."""


class GPError(Exception):
    """Base of every error that this package raises on purpose."""


class InvalidDataError(GPError, ValueError):
    """Training data, a hyperparameter or a test point is not of an accepted kind."""


class NotPositiveDefiniteError(GPError, ArithmeticError):
    """A matrix that must be positive definite is not, even after the largest diagonal shift that is tried."""
