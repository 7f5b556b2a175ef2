"""Where the constraints hold, as believed now, over two parameters."""

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bayesopt.errors import InvalidInputError
from bayesopt.plot.cuts import place, places, probability_feasible, ranked_trials
from bayesopt.plot.drawing import BLUE, FILLED, HOLLOW, INK, RED, new_figure, plain, say, tidy, title
from bayesopt.plot.ended import FloatArray, ended_trials
from bayesopt.plot.ticks import log_ticks
from bayesopt.problem.parameters import Float, Int
from bayesopt.record.trial import Trial
from bayesopt.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesopt.surrogate import Surrogate

_GRID: Final = 61
"""Points along each side."""
_COLOURS: Final = LinearSegmentedColormap.from_list("feasible", ["#FFFFFF", "#7FCEB9"])
"""From white to a pale GREEN, on which trials stand out."""


def feasible_region(study: Study, parameters: tuple[str, str] | None = None) -> Figure:
    """The probability that every constraint holds, over two parameters, with the trials that were told and that failed.

    Everything else is held at the best trial, or while nothing is feasible at the one nearest to it; so trials lie
    elsewhere in the other parameters, and may disagree with the colour beneath them.

    Args:
        study: The study; its model is fitted, which loads torch.
        parameters: Names of two `Float` or `Int` parameters, across and up; None for those along which the probability
            varies most.

    Returns:
        The figure.

    Raises:
        InvalidInputError: If `parameters` are no two different names of that kind.
    """
    numbers = [name for name, parameter in study.space.items() if isinstance(parameter, Float | Int)]
    if parameters is not None:
        parameters = _checked(parameters, numbers)
    figure = new_figure(6.6, 5.4)
    ax = figure.subplots()
    history = study.history
    if not study.outcomes.constraints:
        say(ax, "no outcome is constrained")
        return figure
    if len(history.ids) < 2:
        say(ax, "the model needs two trials that were told")
        return figure
    from bayesopt.surrogate import fit_surrogate  # late: it brings torch

    surrogate = fit_surrogate(history)
    anchor = ranked_trials(study, history)[0]
    if parameters is None:
        there = [name for name in numbers if name in anchor.params]
        if len(there) < 2:
            say(ax, "the picture needs two parameters that are numbers")
            return figure
        reach = {name: float(np.nanstd(_along(study, surrogate, anchor, [name])[1])) for name in there}
        chosen = sorted(there, key=lambda name: -reach[name])[:2]
        parameters = (first for first in there if first in chosen)  # type: ignore[assignment]
    across, up = parameters  # type: ignore[misc]
    title(figure, f"Probability that the constraints hold, through trial {anchor.id}")
    _draw(ax, study, _along(study, surrogate, anchor, [across, up]), anchor, across, up)
    return figure


def _checked(parameters: Any, numbers: list[str]) -> tuple[str, str]:
    names = (parameters,) if isinstance(parameters, str) else tuple(parameters)
    if len(names) != 2 or len(set(names)) != 2 or not set(names) <= set(numbers):
        raise InvalidInputError(
            f"parameters: expected two different names of Float or Int parameters, of {', '.join(numbers) or 'none'}; "
            f"got {parameters!r}."
        )
    return names


def _along(
    study: Study, surrogate: "Surrogate", anchor: Trial, names: list[str]
) -> tuple[list[FloatArray], FloatArray]:
    """Values along parameters, and the probability on the grid of them, nan where that is not allowed."""
    space = study.space
    axes = [places(space[name], None, anchor.params.get(name), _GRID) for name in names]
    grid = np.meshgrid(*(np.arange(len(x)) for x, _ in axes), indexing="ij")
    U = np.tile(space.encode(anchor.params), (grid[0].size, 1))
    for name, (_, at), rows in zip(names, axes, grid, strict=True):
        columns = [i for i, column in enumerate(space.columns) if column.parameter == name]
        U[:, columns] = at[rows.ravel()]
    U = space.snap(U)
    probability = np.where(space.is_allowed(U), probability_feasible(surrogate, U), np.nan)
    return [x for x, _ in axes], probability.reshape(grid[0].shape)


def _draw(
    ax: "Axes", study: Study, surface: tuple[list[FloatArray], FloatArray], anchor: Trial, across: str, up: str
) -> None:
    (x, y), probability = surface
    tidy(ax)
    for name, axis, values in ((across, ax.xaxis, x), (up, ax.yaxis, y)):
        parameter = study.space[name]
        if getattr(parameter, "log", False):
            (ax.set_xscale if axis is ax.xaxis else ax.set_yscale)("log")
            log_ticks(axis, float(values[0]), float(values[-1]))
        else:
            axis.set_major_locator(MaxNLocator(5, integer=isinstance(parameter, Int), min_n_ticks=2))
    mesh = ax.pcolormesh(x, y, probability.T, cmap=_COLOURS, vmin=0.0, vmax=1.0, shading="nearest", zorder=0)
    ax.figure.colorbar(mesh, ax=ax, ticks=[0, 0.5, 1], shrink=0.8)
    shown = probability[np.isfinite(probability)]
    if min(len(x), len(y)) > 1 and len(shown) and shown.min() < 0.5 < shown.max():
        ax.contour(x, y, probability.T, levels=[0.5], colors=INK, linewidths=1.2)
    ended = ended_trials(study)
    at = np.array([
        [place(study.space[name], None, trial.params.get(name)) for name in (across, up)] for trial in ended.trials
    ])
    styles = (
        ("infeasible", HOLLOW),
        ("feasible", FILLED | {"alpha": 0.9}),
        ("failed", {"marker": "x", "color": RED, "s": 26, "linewidths": 1.4}),
    )
    for kind, style in styles:
        rows = (ended.kinds == kind) & np.isfinite(at).all(1)
        if rows.any():
            ax.scatter(at[rows, 0], at[rows, 1], label=kind, zorder=3, **style)
    star = [place(study.space[name], None, anchor.params[name]) for name in (across, up)]
    ax.scatter(
        star[0], star[1], marker="*", s=150, color=BLUE, edgecolors="white", zorder=4, label=f"trial {anchor.id}"
    )
    ax.set_xlabel(plain(across))
    ax.set_ylabel(plain(up))
    ax.figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8.5)
