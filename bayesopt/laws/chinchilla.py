"""The level of the loss from the size of a model and its tokens, with intervals.

Alphabet. N: parameters. D: tokens. theta: log E, log A, alpha, log B, beta, with A and B at N and D of the data's
geometric means, where they are hardly correlated with the exponents.
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares
from typing_extensions import override

from bayesopt.errors import InvalidInputError
from bayesopt.laws.annealing import HUBER
from bayesopt.problem.arguments import probability, whole_number

FloatArray = NDArray[np.float64]

NAMES: Final = ("E", "A", "alpha", "B", "beta")
"""The constants in order."""
_EXPONENTS: Final = (0.2, 0.35, 0.6)
"""Where alpha and beta start,"""
_FLOORS: Final = (0.3, 0.6, 0.85)
"""and E, as shares of the least loss."""
_BOUNDS: Final = (0.02, 2.0)
"""Where the exponents are searched."""


class ChinchillaLaw:
    """`loss = E + A N^-alpha + B D^-beta`.

    Fitted by the Huber loss of log residuals. Uncertainty is a bootstrap's: the same fit to residuals drawn anew.
    Good for the level of a loss ('this run is 0.1 nats too high'), not for ranking configurations.

    Reference: Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models", arXiv 2203.15556.

    Example:
        >>> law = ChinchillaLaw((1.69, 406.4, 0.34, 410.7, 0.28))
        >>> mean, sd = law.predict(7e10, 1.4e12)
        >>> round(mean, 3)
        1.937
    """

    def __init__(self, constants: ArrayLike | None = None) -> None:
        """A law with known constants, or one to be fitted.

        Args:
            constants: E, A, alpha, B and beta; None to fit them.

        Raises:
            InvalidInputError: If they are not five positive numbers.
        """
        self.constants: tuple[float, ...] | None = None
        """E, A, alpha, B and beta; None before the fit."""
        self.draws = np.zeros((0, 5))
        """The constants of each bootstrap fit, `b x 5`."""
        self.residual_sd = 0.0
        """Root mean square of what the fit left over, nats, for the five constants it cost."""
        if constants is not None:
            values = np.asarray(constants, dtype=np.float64)
            if values.shape != (5,) or not (np.isfinite(values) & (values > 0)).all():
                raise InvalidInputError(
                    f"ChinchillaLaw: expected five positive numbers {', '.join(NAMES)}, got {constants!r}."
                )
            self.constants = tuple(values.tolist())

    def fit(
        self, N: ArrayLike, D: ArrayLike, losses: ArrayLike, *, n_bootstrap: int = 200, seed: int = 0
    ) -> "ChinchillaLaw":
        """Choose the constants, and draw others that the data allow.

        Args:
            N: Parameters of each model, `n`.
            D: Tokens of each run, `n`.
            losses: Its loss, `n`, nats.
            n_bootstrap: Fits to residuals drawn anew; 0 for no intervals.
            seed: Draws them.

        Returns:
            This law.

        Raises:
            InvalidInputError: If there are fewer than six runs, or a number is not positive.
        """
        sizes, tokens, y = (np.asarray(array, dtype=np.float64) for array in (N, D, losses))
        if sizes.ndim != 1 or not sizes.shape == tokens.shape == y.shape or len(y) < 6:
            raise InvalidInputError(
                "ChinchillaLaw.fit: expected three lists of the same length of at least 6, got shapes "
                f"{sizes.shape}, {tokens.shape} and {y.shape}."
            )
        if not all((np.isfinite(array) & (array > 0)).all() for array in (sizes, tokens, y)):
            raise InvalidInputError("ChinchillaLaw.fit: expected positive finite sizes, tokens and losses.")
        whole_number("n_bootstrap", n_bootstrap, at_least=0)
        n, d = np.log(sizes), np.log(tokens)
        centre = float(n.mean()), float(d.mean())
        n, d = n - centre[0], d - centre[1]
        spread = float(np.ptp(y)) or 0.1 * float(y.min())
        starts = [
            np.array([np.log(floor * y.min()), np.log(spread), alpha, np.log(spread), beta])
            for floor in _FLOORS
            for alpha in _EXPONENTS
            for beta in _EXPONENTS
        ]
        theta = min((_fitted(n, d, np.log(y), start) for start in starts), key=lambda one: one[0])[1]
        self.constants = tuple(_constants(theta, *centre).tolist())
        fitted = _log_losses(theta, n, d)
        left = np.log(y) - fitted
        freedom = np.sqrt(len(y) / max(len(y) - 5, 1))
        self.residual_sd = float(np.sqrt(np.mean((y - np.exp(fitted)) ** 2)) * freedom)
        rng = np.random.default_rng(seed)
        again = [fitted + freedom * rng.choice(left - left.mean(), len(y)) for _ in range(n_bootstrap)]
        draws = [_constants(_fitted(n, d, log_y, theta)[1], *centre) for log_y in again]
        self.draws = np.reshape(draws, (-1, 5))
        return self

    def predict(self, N: float, D: float) -> tuple[float, float]:
        """The loss of a run.

        Args:
            N: Parameters.
            D: Tokens.

        Returns:
            Mean, and standard deviation with the scatter of single runs, nats.

        Raises:
            InvalidInputError: If the law has no constants.
        """
        mean = float(_losses(np.array([self._known]), N, D)[0])
        among = float(_losses(self.draws, N, D).std()) if len(self.draws) else 0.0
        return mean, float(np.hypot(among, self.residual_sd))

    def interval(self, name: str, level: float = 0.9) -> tuple[float, float]:
        """Bounds of a constant that the given share of the bootstrap fits respects.

        Args:
            name: 'E', 'A', 'alpha', 'B' or 'beta'.
            level: The share.

        Returns:
            Lower and upper bound.

        Raises:
            InvalidInputError: If there is no such constant, or nothing was drawn.
        """
        if name not in NAMES:
            raise InvalidInputError(f"name: expected one of {', '.join(map(repr, NAMES))}, got {name!r}.")
        if len(self.draws) == 0:
            raise InvalidInputError("ChinchillaLaw.interval: no bootstrap was drawn; call fit with n_bootstrap > 0.")
        tail = 0.5 * (1.0 - probability("level", level))
        low, high = np.quantile(self.draws[:, NAMES.index(name)], [tail, 1.0 - tail])
        return float(low), float(high)

    @property
    def _known(self) -> tuple[float, ...]:
        if self.constants is None:
            raise InvalidInputError("ChinchillaLaw: it has no constants yet; call fit(N, D, losses) first.")
        return self.constants

    @override
    def __repr__(self) -> str:
        """Its constants."""
        return f"ChinchillaLaw({'' if self.constants is None else tuple(float(f'{c:.4g}') for c in self.constants)})"


def _losses(constants: FloatArray, N: float, D: float) -> FloatArray:
    E, A, alpha, B, beta = constants.T
    losses: FloatArray = E + A * N**-alpha + B * D**-beta
    return losses


def _log_losses(theta: FloatArray, n: FloatArray, d: FloatArray) -> FloatArray:
    log_losses: FloatArray = np.log(
        np.exp(theta[0]) + np.exp(theta[1] - theta[2] * n) + np.exp(theta[3] - theta[4] * d)
    )
    return log_losses


def _constants(theta: FloatArray, n_centre: float, d_centre: float) -> FloatArray:
    """The constants for N and D in their own units."""
    log_E, log_A, alpha, log_B, beta = theta
    return np.array([np.exp(log_E), np.exp(log_A + alpha * n_centre), alpha, np.exp(log_B + beta * d_centre), beta])


def _fitted(n: FloatArray, d: FloatArray, log_y: FloatArray, start: FloatArray) -> tuple[float, FloatArray]:
    low, high = _BOUNDS
    least, most = np.array([-20.0, -20.0, low, -20.0, low]), np.array([20.0, 20.0, high, 20.0, high])

    def left_over(theta: FloatArray) -> FloatArray:
        return _log_losses(theta, n, d) - log_y

    start = np.clip(start, least + 1e-6, most - 1e-6)
    found = least_squares(left_over, start, loss="huber", f_scale=HUBER, bounds=(least, most), max_nfev=200)
    return float(found.cost), found.x
