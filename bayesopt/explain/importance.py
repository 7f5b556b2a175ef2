"""Which parameters matter: how much of the objective's variation over the space each of them explains.

Alphabet. U: `m x d` points of the unit cube. p: parameters.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from bayesopt.errors import InvalidInputError
from bayesopt.explain.left_out import check_models
from bayesopt.explain.sobol_indices import sobol_indices
from bayesopt.record.history import History

if TYPE_CHECKING:
    from bayesopt.surrogate import Surrogate

FloatArray = NDArray[np.float64]

LEAST_TOLD: Final = 2
"""Told trials that a model needs."""


@dataclass(frozen=True)
class Share:
    """What one parameter explains of the objective's variance."""

    first: float
    """Alone: the first-order Sobol index."""
    first_error: float
    """Standard error of its integration; how wrong the model may be is not in it."""
    total: float
    """Alone and together with others: the total Sobol index; about 0 says that the parameter can be left out."""
    total_error: float
    """Standard error of its integration."""

    @property
    def interactions(self) -> float:
        """What it explains only together with others."""
        return max(0.0, self.total - self.first)


@dataclass(frozen=True)
class Importance:
    """Sobol indices of the objective's model over the space.

    The model's mean is looked at, on the scale it lives on (the bad tail pulled in, perhaps warped), lest one diverged
    corner be all that varies. Parameters vary independently, numbers and options uniformly on their own scales and the
    shares of a mixture together, as one parameter; what constraints forbid is not left out.
    """

    objective: str
    """Name of the outcome that is explained."""
    shares: Mapping[str, Share]
    """By parameter, the largest total first."""
    n_told: int
    """Trials that the model knows."""
    warnings: tuple[str, ...]
    """Why not to trust the model, in plain words; see `LeftOut.warnings`."""

    @override
    def __str__(self) -> str:
        """A table, and what warns."""
        width = max(map(len, self.shares), default=0)
        lines = [f"What explains {self.objective}, by the model of {self.n_told} trials (alone, with interactions):"]
        lines += [
            f"  {name:<{width}}  {share.first:.2f} ± {share.first_error:.2f}  "
            f"{share.total:.2f} ± {share.total_error:.2f}"
            for name, share in self.shares.items()
        ]
        return "\n".join(lines + [f"Beware: {warning}" for warning in self.warnings])


def importance(history: History) -> Importance:
    """Which parameters matter, by a model fitted to a history.

    Args:
        history: What was told.

    Returns:
        The indices; the same history gives the same ones.

    Raises:
        InvalidInputError: If fewer than two trials were told.
    """
    if len(history.ids) < LEAST_TOLD:
        raise InvalidInputError(
            f"importance: {len(history.ids)} trials were told, and a model needs {LEAST_TOLD}; tell more of them."
        )
    from bayesopt.surrogate import fit_surrogate  # late: it brings torch
    from gp.threads import single_threaded

    with single_threaded():
        surrogate = fit_surrogate(history)
        groups = columns_of(history)
        found = sobol_indices(
            lambda U: posterior_mean(surrogate, U), list(groups.values()), history.space.dim, history.seed
        )
        warnings = check_models(surrogate).outcomes[0].warnings
    parts = found.first, found.first_error, found.total, found.total_error
    shares = {
        # The estimates leave [0, 1] by their errors, which says nothing of the parameter.
        name: Share(*(float(np.clip(one[j], 0.0, 1.0)) for one in parts))
        for j, name in enumerate(groups)
    }
    ordered = dict(sorted(shares.items(), key=lambda item: -item[1].total))
    return Importance(history.outcomes.objective.name, ordered, len(surrogate.history.ids), warnings)


def columns_of(history: History) -> dict[str, list[int]]:
    """The columns of the unit cube that belong to each parameter."""
    groups: dict[str, list[int]] = {name: [] for name in history.space.names}
    for index, column in enumerate(history.space.columns):
        groups[column.parameter].append(index)
    return groups


def posterior_mean(surrogate: "Surrogate", U: FloatArray) -> FloatArray:
    """Mean of the objective on the scale of its model, `m`, at the configurations nearest to `m x d` points."""
    assert surrogate.objective is not None  # held by the caller
    p = surrogate.objective.predictor
    scaled = surrogate.features(surrogate.history.space.snap(U)) / p.lengthscales
    mean = p.values(scaled, p.scaled_X) @ p.alpha + p.prior_mean(scaled)
    result: FloatArray = mean[:, 0]
    return result
