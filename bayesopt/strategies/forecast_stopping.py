"""Stop a run when a new one is worth more for each step that it takes."""

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from typing_extensions import override

from bayesopt.errors import InvalidInputError
from bayesopt.problem.space import Space
from bayesopt.record.curves import Curves, Run
from bayesopt.strategies.base import CurveRule

if TYPE_CHECKING:
    from bayesopt.curve_forecast import CurveForecast

_MIN_ENDED: Final = 5
"""Runs that must have got to the last step before any is stopped; fewer say little of how runs end."""
_N_NEW: Final = 256
"""Configurations among which the best new run is looked for."""


class ForecastStopping(CurveRule):
    """Freeze-thaw: finish a run as long as that promises more, step for step, than to begin another.

    A Gaussian process over configurations times steps, fitted to the complete runs, says where the run will end and
    where one from the beginning would. Each promises the expected improvement over the best end known, at the price of
    the steps to the last one: the run is stopped when its improvement a step is less than that of the best of some new
    configurations. A run is also stopped as soon as its curve holds a value that is not finite.

    Reference: Swersky et al. 2014, "Freeze-Thaw Bayesian Optimization", for the trade; Lin et al. 2025, "Scalable
    Gaussian Processes with Latent Kronecker Structure", for the model.

    Example:
        >>> import bayesopt as bo
        >>> space = bo.Space({"lr": bo.Float(1e-4, 1.0, log=True)})
        >>> rule = bo.strategies.ForecastStopping(last_step=20)
        >>> study = bo.Study(space, maximize="accuracy", stopping=rule)
    """

    def __init__(self, last_step: float | None = None) -> None:
        """A rule for runs of one length.

        Args:
            last_step: Where a run ends that is not stopped, in the unit of the reported steps; None for the furthest
                that a complete run has got.

        Raises:
            InvalidInputError: If it is not a positive number.
        """
        if last_step is not None and not (math.isfinite(last_step) and last_step > 0):
            raise InvalidInputError(f"last_step: expected a positive number or None, got {last_step!r}.")
        self.last_step = last_step
        # The model depends on the complete runs alone, while a run asks again at every step: it is kept between.
        self._fitted: tuple[Any, CurveForecast] | None = None

    @override
    def _is_hopeless(self, curves: Curves) -> bool:
        curve = curves.mine.curve
        others = [run for run in curves.others if any(map(math.isfinite, run.curve.values()))]
        last = self.last_step or max((max(run.curve) for run in others), default=0.0)
        ends = [run.curve[at] for run in others if (at := max(run.curve)) >= last and math.isfinite(run.curve[at])]
        left = last - max(curve)
        if len(ends) < _MIN_ENDED or left <= 0.0:
            return False
        # late: these bring torch, which a study that only stores and shows trials never needs
        from bayesopt.curve_forecast import log_gain
        from gp.errors import GPError

        try:
            forecast = self._forecast(curves.space, others, last).after(curves.mine)
        except GPError:
            return False  # nothing is known of the run, so nothing against it
        new = curves.space.sample(_N_NEW, np.random.default_rng(len(others)))
        mean, sd = forecast.last(np.vstack([curves.space.encode(curves.mine.params), new]))
        gain = log_gain(mean, sd, max(ends))
        return bool(gain[0] - math.log(left) < gain[1:].max() - math.log(last))

    def _forecast(self, space: Space, runs: list[Run], last_step: float) -> "CurveForecast":
        from bayesopt.curve_forecast import CurveForecast

        known = (space, last_step, runs)
        if self._fitted is None or self._fitted[0] != known:
            self._fitted = known, CurveForecast.fit(space, runs, last_step)
        return self._fitted[1]
