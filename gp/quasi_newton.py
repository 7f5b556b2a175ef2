"""Bounded minimisation of many smooth functions at once, by projected BFGS.

One call of the objective serves every problem of the batch, which is what makes small problems fast: forty calls on a
stack of four starts cost what forty calls on one do. Problems do not influence one another.

Alphabet. b: problems in the batch. d: variables of each. H: approximate inverse Hessians, `b x d x d`.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Objective = Callable[[FloatArray], tuple[FloatArray, FloatArray]]

_SUFFICIENT_DECREASE: Final = 1e-4
"""Armijo's constant: the share of the decrease promised by the slope that a step must deliver."""
_FIRST_STEP: Final = 0.1
"""Longest first move of any variable, as a share of its range or of 1 where the range is longer."""
_CURVATURE: Final = 1e-10
"""Least cosine between step and gradient change for which the pair updates H; keeps H positive definite."""
_SHORTEST_STEP: Final = 1e-10
"""Backtracking below this share of the quasi-Newton step ends a problem: it stands still."""


def minimize(
    objective: Objective,
    starts: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    *,
    max_evaluations: int = 60,
    gradient_tolerance: float = 1e-5,
    decrease_tolerance: float = 1e-9,
) -> tuple[FloatArray, FloatArray]:
    """Local minima of independent problems inside a box.

    Two-metric projection (Bertsekas 1982) with a dense BFGS matrix: variables that sit on a bound and are pushed
    outwards are held, the others take the quasi-Newton step, the result is clipped to the box, and the step is halved
    by interpolation until it decreases enough. Every evaluation either accepts or shortens a problem's own step, so
    that problems in different phases share each evaluation.

    Args:
        objective: Takes points `k x d` (`k <= b`, any subset of the problems) and returns values `k` and gradients
            `k x d`. A value that is not finite counts as too large.
        starts: Where each problem starts, `b x d`; clipped to the box.
        lower: Lower bounds, `d`, or `b x d` where the problems differ; a variable with equal bounds stays put.
        upper: Upper bounds, likewise.
        max_evaluations: Calls of the objective, at most.
        gradient_tolerance: A problem ends when no entry of its projected gradient is larger.
        decrease_tolerance: A problem ends when a step decreases it by less than this times `max(1, |value|)`.

    Returns:
        The best points found, `b x d`, and their values, `b`.

    Example:
        >>> minimize(lambda x: (((x - 2.0) ** 2).sum(1), 2 * (x - 2.0)), np.zeros((1, 1)), np.zeros(1), np.ones(1))[0]
        array([[1.]])
    """
    lower, upper = np.broadcast_to(lower, starts.shape), np.broadcast_to(upper, starts.shape)
    x = np.clip(starts, lower, upper)
    b, d = x.shape
    value, gradient = objective(x)
    value, gradient = np.where(np.isfinite(value), value, np.inf), np.where(np.isfinite(gradient), gradient, 0.0)
    H = np.tile(np.eye(d), (b, 1, 1))
    fresh = np.ones(b, dtype=bool)
    running = np.isfinite(value) & (_projected(x, gradient, lower, upper) > gradient_tolerance)
    live = np.flatnonzero(running)
    direction, step = np.zeros_like(x), np.ones(b)
    direction[live] = _directions(x[live], gradient[live], H[live], lower[live], upper[live], fresh[live])
    for _ in range(max_evaluations - 1):
        if live.size == 0:
            break
        trial = np.clip(x[live] + step[live, None] * direction[live], lower[live], upper[live])
        new_value, new_gradient = objective(trial)
        move = trial - x[live]
        slope = (gradient[live] * move).sum(1)
        usable = np.isfinite(new_value) & np.isfinite(new_gradient).all(1)
        accepted = usable & (new_value <= value[live] + _SUFFICIENT_DECREASE * slope) & (slope < 0)

        rejected = live[~accepted]
        if rejected.size:
            # Minimum of the parabola through value, slope and new value, kept within [0.1, 0.5] of the last step.
            with np.errstate(all="ignore"):
                parabola = -0.5 * slope / (new_value - value[live] - slope)
            shorten = np.where(np.isfinite(parabola) & usable, np.clip(parabola, 0.1, 0.5), 0.1)
            step[rejected] *= shorten[~accepted]

        moved = live[accepted]
        if moved.size:
            s, y = move[accepted], new_gradient[accepted] - gradient[moved]
            decrease = value[moved] - new_value[accepted]
            _update(H, moved, s, y, fresh)
            x[moved], value[moved], gradient[moved] = trial[accepted], new_value[accepted], new_gradient[accepted]
            step[moved] = 1.0
            box = lower[moved], upper[moved]
            direction[moved] = _directions(x[moved], gradient[moved], H[moved], *box, fresh[moved])
            stalled = decrease <= decrease_tolerance * np.maximum(1.0, np.abs(value[moved]))
            flat = _projected(x[moved], gradient[moved], *box) <= gradient_tolerance
            running[moved[stalled | flat]] = False
        live = np.flatnonzero(running & (step > _SHORTEST_STEP))
    return x, value


def _projected(x: FloatArray, gradient: FloatArray, lower: FloatArray, upper: FloatArray) -> FloatArray:
    """Largest entry of the projected gradient, `b`."""
    largest: FloatArray = np.abs(np.clip(x - gradient, lower, upper) - x).max(axis=1, initial=0.0)
    return largest


def _directions(
    x: FloatArray, gradient: FloatArray, H: FloatArray, lower: FloatArray, upper: FloatArray, fresh: NDArray[np.bool_]
) -> FloatArray:
    """Descent directions in the variables that no bound holds, `b x d`."""
    held = ((x <= lower) & (gradient >= 0)) | ((x >= upper) & (gradient <= 0))
    free_gradient = np.where(held, 0.0, gradient)
    direction = -np.where(held, 0.0, (H @ free_gradient[:, :, None])[:, :, 0])
    uphill = (direction * free_gradient).sum(1) >= 0
    direction[uphill] = -free_gradient[uphill]
    # Without curvature the gradient's length says nothing about the distance to go.
    cautious = fresh | uphill
    if cautious.any():
        # A variable without range is held, so its direction is 0 whatever it is divided by.
        reach = np.where(upper > lower, np.minimum(upper - lower, 1.0), 1.0)[cautious]
        longest = np.abs(direction[cautious] / reach).max(axis=1, keepdims=True)
        direction[cautious] *= _FIRST_STEP / np.maximum(longest, 1e-300)
    return direction


def _update(H: FloatArray, rows: NDArray[np.intp], s: FloatArray, y: FloatArray, fresh: NDArray[np.bool_]) -> None:
    """BFGS update of the inverse Hessians of `rows`, in place; pairs without positive curvature are left out."""
    sy = (s * y).sum(1)
    yy = (y * y).sum(1)
    good = sy > _CURVATURE * np.sqrt((s * s).sum(1) * yy)
    rows, s, y, sy, yy = rows[good], s[good], y[good], sy[good], yy[good]
    if rows.size == 0:
        return
    first = fresh[rows]
    H[rows[first]] *= (sy / yy)[first, None, None]  # Shanno and Phua's scaling of the first matrix
    fresh[rows] = False
    old = H[rows]
    Hy = (old @ y[:, :, None])[:, :, 0]
    rho = 1.0 / sy
    factor = rho * (1.0 + rho * (y * Hy).sum(1))
    cross = Hy[:, :, None] * s[:, None, :]
    H[rows] = (
        old
        - rho[:, None, None] * (cross + cross.transpose(0, 2, 1))
        + factor[:, None, None] * s[:, :, None] * s[:, None]
    )
