"""Values on a grid: what is refused of them, and how further ones come in.

Alphabet. n_i: size of axis i. Y: values, `n_1 x ... x n_m`, nan where none was observed. k: rows that come in.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gp.errors import InvalidDataError
from gp.models.base import check_inputs


def check_grid(axes: Sequence[Tensor], Y: Tensor, Yvar: Tensor | None) -> None:
    """Refuse data that are not those of a grid.

    Args:
        axes: Points of each axis.
        Y: Values.
        Yvar: Their noise variances, or None.

    Raises:
        InvalidDataError: If a shape, a dtype or a value cannot be used.
    """
    if not axes:
        raise InvalidDataError("axes: expected at least one axis, got none.")
    for index, axis in enumerate(axes):
        check_inputs(f"axes[{index}]", axis, like=Y)
    sizes = tuple(len(axis) for axis in axes)
    if Y.shape != sizes:
        raise InvalidDataError(f"Y: expected a value a cell, of shape {sizes}, got {tuple(Y.shape)}.")
    if Y.isinf().any() or Y.isnan().all():
        raise InvalidDataError("Y: expected finite values, nan where there is none, and at least one value.")
    if Yvar is not None:
        check_noise(Yvar, Y)


def check_noise(Yvar: Tensor, Y: Tensor) -> None:
    """Refuse noise variances that do not go with the values.

    Args:
        Yvar: Variances, broadcast to Y.
        Y: Values.

    Raises:
        InvalidDataError: If the shape is another, or an observed value has no finite variance >= 0.
    """
    try:
        variances = Yvar.expand(Y.shape)
    except RuntimeError as error:
        raise InvalidDataError(
            f"Yvar: expected a shape that broadcasts to {tuple(Y.shape)}, got {tuple(Yvar.shape)}."
        ) from error
    if not (Y.isnan() | ((variances >= 0) & variances.isfinite())).all():
        raise InvalidDataError("Yvar: expected a finite variance >= 0 for every observed value; it is not so for all.")


def with_rows(
    axis: Tensor, fields: Sequence[Tensor], X: Tensor, new_fields: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Put further observations into a grid: into missing cells of a point that it has, else into new rows.

    Args:
        axis: Points of the first axis, `n_1 x d`.
        fields: Y, and what else goes with its cells, each `n_1 x ... x n_m`.
        X: Points of the observations, `k x d`.
        new_fields: The same for them, each `k x n_2 x ... x n_m`; their Y is nan where there is none.

    Returns:
        Points and fields of the grid with them.

    Example:
        >>> at, Y = torch.tensor([[0.0]]), torch.tensor([[1.0, torch.nan]])
        >>> with_rows(at, [Y], torch.tensor([[0.0], [2.0]]), [torch.tensor([[torch.nan, 3.0], [4.0, 5.0]])])
        (tensor([[0.],
                [2.]]), [tensor([[1., 3.],
                [4., 5.]])])
    """
    grown = [field.clone() for field in fields]
    for row, x in enumerate(X):
        seen = ~new_fields[0][row].isnan()
        taken = (~grown[0].isnan() & seen).flatten(1).any(1)
        free = (axis == x).all(-1) & ~taken
        if bool(free.any()):
            at = int(free.nonzero()[0])
            for field, new in zip(grown, new_fields, strict=True):
                field[at] = torch.where(seen, new[row], field[at])
        else:
            axis = torch.cat([axis, x[None]])
            grown = [torch.cat([field, new[row : row + 1]]) for field, new in zip(grown, new_fields, strict=True)]
    return axis, grown
