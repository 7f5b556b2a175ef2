"""Where learning curves will end: a Gaussian process over configurations times steps, most of it not observed yet.

Alphabet. Z: features of configurations, `m x F`. g: steps of the grid. n: runs that are complete. T: the last step.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from gpytorch.kernels.constant_kernel import ConstantKernel
from numpy.typing import NDArray

from bayesopt.acquisition.loop_terms import log_h_and_slope
from bayesopt.problem.space import Space
from bayesopt.record.curves import Curve, Run
from bayesopt.surrogate import FeatureMap
from gp.kernels.axis_kernel import axis_kernel
from gp.models.latent_kronecker import LatentKroneckerGP
from gp.threads import single_threaded

FloatArray = NDArray[np.float64]

MOST_STEPS: Final = 12
"""Steps of the grid, spread evenly over the logarithm of the steps: in between, a curve tells little more."""
MOST_RUNS: Final = 200
"""Complete runs that the model knows, the newest: its cost grows with the cube of the values observed."""
_LEAST_VARIANCE: Final = 1e-12
"""Of a forecast, in units of the variance of the values: below it the difference of ones holds no digit."""
_MOST_ITERATIONS: Final = 50
"""Of the search for hyperparameters; 20 to 40 are normal."""


@dataclass(frozen=True)
class CurveForecast:
    """What complete runs say of how runs end."""

    space: Space
    """Where the configurations are from."""
    features: FeatureMap
    """What the model sees of them."""
    steps: FloatArray
    """The grid, ascending, `g`; the last one is T."""
    model: LatentKroneckerGP
    """Of values on the grid, larger being better."""

    @classmethod
    def fit(cls, space: Space, runs: Sequence[Run], last_step: float) -> "CurveForecast":
        """Fit the model to complete runs: the same runs give the same model.

        Configurations have curves of a common shape, which they differ from smoothly; steps count by their logarithm.

        Args:
            space: Where the configurations are from.
            runs: The runs, each with a finite value at some step up to the last one.
            last_step: T.

        Returns:
            The forecast.

        Raises:
            GPError: If the evidence cannot be computed.
        """
        runs = runs[-MOST_RUNS:]
        features = FeatureMap(space)
        steps = _grid([run.curve for run in runs], last_step)
        Z = torch.as_tensor(features(np.array([space.encode(run.params) for run in runs])))
        begun = steps[steps > 0][0]
        T = torch.as_tensor(np.log(np.maximum(steps / begun, 0.5)))[:, None]  # 0 has no logarithm
        Y = torch.as_tensor(np.array([on_grid(run.curve, steps) for run in runs]))
        of_runs = axis_kernel(Z, of_inputs=True) + ConstantKernel().to(Z)
        with single_threaded(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the optimiser: a fit that is nearly done is as good
            model = LatentKroneckerGP(Z, T, Y, kernel_X=of_runs)
            model.fit(max_iterations=_MOST_ITERATIONS)
        return cls(space, features, steps, model)

    def after(self, run: Run) -> "CurveForecast":
        """The forecast that knows what was seen of one more run; the hyperparameters stay.

        Args:
            run: The run, perhaps one that the forecast knows the beginning of; values not finite are left out.

        Returns:
            The new forecast.
        """
        seen = on_grid(run.curve, self.steps)
        Z = torch.as_tensor(self.features(self.space.encode(run.params)[None]))
        before = self.model.observed[(self.model.axes[0] == Z).all(1)].any(0).numpy()
        seen[before] = np.nan  # told again, a value would count as another observation
        if np.isnan(seen).all():
            return self
        model = self.model.condition_on_observations(Z, torch.as_tensor(seen)[None])
        return CurveForecast(self.space, self.features, self.steps, model)

    def last(self, params: Sequence[Mapping[str, Any]] | FloatArray) -> tuple[FloatArray, FloatArray]:
        """Where runs will end.

        Args:
            params: Their configurations, or points of the unit cube, `m x d`.

        Returns:
            Means and standard deviations of the noise-free value at step T, `m` each.
        """
        U = params if isinstance(params, np.ndarray) else np.array([self.space.encode(one) for one in params])
        Z = torch.as_tensor(self.features(U))
        with single_threaded(), torch.no_grad():
            posterior: Any = self.model.posterior(Z, output_indices=[len(self.steps) - 1])
            mean, variance = posterior.mean[:, 0].numpy(), posterior.variance[:, 0].numpy()
        return mean, np.sqrt(np.maximum(variance, _LEAST_VARIANCE * float(self.model.scale) ** 2))


def log_gain(mean: FloatArray, sd: FloatArray, best: float) -> FloatArray:
    """Log of the expected improvement of the values at the last step over the best one known.

    Args:
        mean: Means, `m`.
        sd: Standard deviations, `m`.
        best: The best value that a run has ended with.

    Returns:
        Logs, `m`.
    """
    gain: FloatArray = np.log(sd) + log_h_and_slope((mean - best) / sd)[0]
    return gain


def on_grid(curve: Curve, steps: FloatArray) -> FloatArray:
    """A curve on a grid of steps.

    Args:
        curve: Step to value.
        steps: Ascending, `g`.

    Returns:
        At each step of the grid the finite value reported last since the step before, `g`; nan where there is none.
    """
    values = np.full(len(steps), np.nan)
    for step in sorted(curve):
        place = int(np.searchsorted(steps, step))
        if place < len(steps) and np.isfinite(curve[step]):
            values[place] = curve[step]
    return values


def _grid(curves: Sequence[Curve], last_step: float) -> FloatArray:
    """Steps at which something was reported, few of them, and the last one."""
    reported = np.unique([step for curve in curves for step in curve if step <= last_step])
    reported = np.append(reported[reported < last_step], last_step)
    if len(reported) <= MOST_STEPS:
        return reported
    positive = reported[reported > 0]
    wanted = np.geomspace(positive[0], last_step, MOST_STEPS)
    return np.unique(positive[np.abs(positive[:, None] - wanted).argmin(0)])
