"""What every model asks of its training data."""

import torch
from torch import Tensor

from gp.errors import InvalidDataError


def check_data(X: Tensor, Y: Tensor, Yvar: Tensor | None) -> None:
    """Raise unless X is `n x d`, Y `n x 1` and Yvar, if there is any, `n x 1`, of values that can be used."""
    if X.dim() != 2 or Y.shape != (X.shape[0], 1) or X.shape[0] == 0 or X.shape[1] == 0:
        raise InvalidDataError(
            f"expected X `n x d` and Y `n x 1` with n, d >= 1, got {tuple(X.shape)}, {tuple(Y.shape)}."
        )
    if X.dtype not in (torch.float32, torch.float64) or Y.dtype != X.dtype:
        raise InvalidDataError(f"expected X and Y both float64 or both float32, got {X.dtype} and {Y.dtype}.")
    if not (torch.isfinite(X).all() and torch.isfinite(Y).all()):
        raise InvalidDataError("X and Y must be finite; leave failed observations out.")
    if Yvar is not None and (Yvar.shape != Y.shape or not (Yvar.isnan() | (Yvar >= 0)).all()):
        raise InvalidDataError(
            f"Yvar: expected variances >= 0 (nan where unknown) of shape {tuple(Y.shape)}, got {tuple(Yvar.shape)}."
        )
