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
    lower, upper = (np.array(np.broadcast_to(bound, starts.shape), dtype=np.float64) for bound in (lower, upper))
    best = _inside(starts, lower, upper)
    value, gradient = objective(best)
    best_value = np.where(np.isfinite(value), value, np.inf)
    gradient = np.where(np.isfinite(gradient), gradient, 0.0)
    finished = ~np.isfinite(best_value) | (_projected(best, gradient, lower, upper) <= gradient_tolerance)
    # The problems still running, without gaps: `rows` says which they are.
    rows = np.flatnonzero(~finished)
    x, value, gradient, lower, upper = best[rows], best_value[rows], gradient[rows], lower[rows], upper[rows]
    b, d = x.shape
    H, fresh, step = np.tile(np.eye(d), (b, 1, 1)), np.ones(b, dtype=bool), np.ones(b)
    direction = _directions(x, gradient, H, lower, upper, fresh)
    for _ in range(max_evaluations - 1):
        if rows.size == 0:
            break
        trial = _inside(x + step[:, None] * direction, lower, upper)
        new_value, new_gradient = objective(trial)
        move = trial - x
        slope = _dot(gradient, move)
        usable = np.isfinite(new_value) & np.isfinite(new_gradient).all(1)
        accepted = usable & (new_value <= value + _SUFFICIENT_DECREASE * slope) & (slope < 0)
        everyone = bool(accepted.all())
        if not everyone:
            # Minimum of the parabola through value, slope and new value, kept within [0.1, 0.5] of the last step.
            with np.errstate(all="ignore"):
                parabola = -0.5 * slope / (new_value - value - slope)
            shorten = np.where(np.isfinite(parabola) & usable, np.clip(parabola, 0.1, 0.5), 0.1)
            step = np.where(accepted, step, step * shorten)
        finished = step <= _SHORTEST_STEP
        if everyone or accepted.any():
            moved = slice(None) if everyone else np.flatnonzero(accepted)
            s, y = move[moved], new_gradient[moved] - gradient[moved]
            decrease = value[moved] - new_value[moved]
            H[moved], fresh[moved] = _updated(H[moved], s, y, fresh[moved])
            x[moved], value[moved], gradient[moved] = trial[moved], new_value[moved], new_gradient[moved]
            step[moved] = 1.0
            box = lower[moved], upper[moved]
            direction[moved] = _directions(x[moved], gradient[moved], H[moved], *box, fresh[moved])
            stalled = decrease <= decrease_tolerance * np.maximum(1.0, np.abs(value[moved]))
            finished[moved] = stalled | (_projected(x[moved], gradient[moved], *box) <= gradient_tolerance)
        if finished.any():
            best[rows[finished]], best_value[rows[finished]] = x[finished], value[finished]
            on = ~finished
            rows, x, value, gradient, lower, upper = rows[on], x[on], value[on], gradient[on], lower[on], upper[on]
            H, fresh, step, direction = H[on], fresh[on], step[on], direction[on]
    best[rows], best_value[rows] = x, value
    return best, best_value


def _inside(x: FloatArray, lower: FloatArray, upper: FloatArray) -> FloatArray:
    clipped: FloatArray = np.minimum(np.maximum(x, lower), upper)
    return clipped


def _dot(a: FloatArray, b: FloatArray) -> FloatArray:
    products: FloatArray = np.einsum("ij,ij->i", a, b)
    return products


def _projected(x: FloatArray, gradient: FloatArray, lower: FloatArray, upper: FloatArray) -> FloatArray:
    """Largest entry of the projected gradient, `b`."""
    largest: FloatArray = np.abs(_inside(x - gradient, lower, upper) - x).max(axis=1, initial=0.0)
    return largest


def _directions(
    x: FloatArray, gradient: FloatArray, H: FloatArray, lower: FloatArray, upper: FloatArray, fresh: NDArray[np.bool_]
) -> FloatArray:
    """Descent directions in the variables that no bound holds, `b x d`."""
    free = ~(((x <= lower) & (gradient >= 0)) | ((x >= upper) & (gradient <= 0)))
    free_gradient = gradient * free
    direction: FloatArray = (H @ free_gradient[:, :, None])[:, :, 0]
    direction *= free
    np.negative(direction, out=direction)
    uphill = _dot(direction, free_gradient) >= 0
    # Without curvature the gradient's length says nothing about the distance to go.
    cautious = fresh | uphill
    if cautious.any():
        direction[uphill] = -free_gradient[uphill]
        # A variable without range is held, so its direction is 0 whatever it is divided by.
        reach = np.where(upper > lower, np.minimum(upper - lower, 1.0), 1.0)[cautious]
        longest = np.abs(direction[cautious] / reach).max(axis=1, keepdims=True)
        direction[cautious] *= _FIRST_STEP / np.maximum(longest, 1e-300)
    return direction


def _updated(
    H: FloatArray, s: FloatArray, y: FloatArray, fresh: NDArray[np.bool_]
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """BFGS update of inverse Hessians after steps s that changed the gradients by y.

    Pairs without positive curvature are left out.

    Args:
        H: Inverse Hessians, `b x d x d`; may be changed in place.
        s: Steps, `b x d`.
        y: Changes, `b x d`.
        fresh: Which matrices no pair has changed yet, `b`.

    Returns:
        The updated matrices, and which are still fresh.
    """
    sy, yy = _dot(s, y), _dot(y, y)
    good = sy > _CURVATURE * np.sqrt(_dot(s, s) * yy)
    if not good.any():
        return H, fresh
    first = fresh & good
    if first.any():
        H[first] *= (sy[first] / yy[first])[:, None, None]  # Shanno and Phua's scaling of the first matrix
    rho = good / np.where(good, sy, 1.0)  # 0 leaves H as it is
    Hy = (H @ y[:, :, None])[:, :, 0]
    scaled_s = s * rho[:, None]
    cross = Hy[:, :, None] * scaled_s[:, None, :]
    H = H - cross
    H -= cross.transpose(0, 2, 1)
    H += (1.0 + rho * _dot(y, Hy))[:, None, None] * (scaled_s[:, :, None] * s[:, None, :])
    return H, fresh & ~good
