"""Are predictions as sure as they should be? Scores and calibration of classes and of real values.

Alphabet. p: probabilities. y: what came. k: components of an equally weighted Gaussian mixture, along the first axis of
its means and standard deviations, `k x n`; one Gaussian a case is `n`.
"""

import math
from typing import Final

import torch
from torch import Tensor

from inference.errors import InvalidInputError

_SQRT_2_OVER_PI: Final = math.sqrt(2.0 / math.pi)


def ece(probabilities: Tensor, labels: Tensor, n_bins: int = 15) -> float:
    """Expected calibration error: how far confidence and accuracy are apart, over bins of equal width.

    `sum_b n_b / n |accuracy_b - confidence_b|`.

    Args:
        probabilities: Of each class, `n x C`: the confidence is that of the likeliest class. Or of the class 1, `n`.
        labels: The class that came, `n`, whole numbers or booleans.
        n_bins: Bins of [0, 1].

    Returns:
        A number in [0, 1].

    Raises:
        InvalidInputError: If shapes do not fit or a probability lies outside [0, 1].

    Reference: Guo, Pleiss, Sun and Weinberger 2017, "On Calibration of Modern Neural Networks".

    Example:
        >>> round(ece(torch.tensor([0.9, 0.9]), torch.tensor([1, 0])), 6)
        0.4
    """
    _check_classes(probabilities, labels)
    if probabilities.dim() == 2:
        confidence, predicted = probabilities.max(1)
        correct = (predicted == labels).to(confidence.dtype)
    else:
        confidence, correct = probabilities, labels.to(probabilities.dtype)
    bins = (confidence * n_bins).ceil().long().clamp(1, n_bins) - 1  # bins are closed on the right
    gap = torch.zeros(n_bins, dtype=confidence.dtype, device=confidence.device).index_add(0, bins, correct - confidence)
    return float(gap.abs().sum() / len(confidence))


def brier(probabilities: Tensor, labels: Tensor) -> float:
    """Mean squared distance between the probabilities and what came, `mean_i sum_c (p_ic - [y_i = c])^2`.

    Args:
        probabilities: Of each class, `n x C`; or of the class 1, `n`, and then `mean_i (p_i - y_i)^2`.
        labels: The class that came, `n`.

    Returns:
        A number in [0, 2], or in [0, 1] of one probability a case.

    Raises:
        InvalidInputError: If shapes do not fit or a probability lies outside [0, 1].

    Reference: Brier 1950, "Verification of Forecasts Expressed in Terms of Probability".

    Example:
        >>> brier(torch.tensor([[0.5, 0.5]]), torch.tensor([0]))
        0.5
    """
    _check_classes(probabilities, labels)
    if probabilities.dim() == 1:
        return float((probabilities - labels.to(probabilities.dtype)).square().mean())
    came = torch.nn.functional.one_hot(labels.long(), probabilities.shape[1])
    return float((probabilities - came).square().sum(1).mean())


def pit(y: Tensor, mean: Tensor, sd: Tensor) -> Tensor:
    """Probability integral transform: the predicted probability of less than what came; uniform if calibrated.

    Args:
        y: What came, `n`.
        mean: Of the prediction, `n`, or of its components, `k x n`.
        sd: Standard deviations, likewise.

    Returns:
        `n` numbers in [0, 1].

    Raises:
        InvalidInputError: If shapes do not fit or a standard deviation is not positive.

    Example:
        >>> pit(torch.zeros(1), torch.zeros(1), torch.ones(1))
        tensor([0.5000])
    """
    mean, sd = _components(y, mean, sd)
    return torch.special.ndtr((y - mean) / sd).mean(0)


def coverage(y: Tensor, mean: Tensor, sd: Tensor, level: float) -> float:
    """Share of the cases within the central interval that should hold `level` of them.

    Args:
        y: What came, `n`.
        mean: Of the prediction, `n`, or of its components, `k x n`.
        sd: Standard deviations, likewise.
        level: In (0, 1), such as 0.95.

    Returns:
        A number in [0, 1].

    Raises:
        InvalidInputError: If shapes do not fit, a standard deviation is not positive, or the level is no probability.

    Example:
        >>> coverage(torch.tensor([0.0, 3.0]), torch.zeros(2), torch.ones(2), level=0.95)
        0.5
    """
    if not 0.0 < level < 1.0:
        raise InvalidInputError(f"level: expected a probability between 0 and 1, got {level!r}.")
    # The interval between two quantiles holds y where its predicted probability lies between theirs.
    return float(((pit(y, mean, sd) - 0.5).abs() <= 0.5 * level).double().mean())


def crps(y: Tensor, mean: Tensor, sd: Tensor) -> Tensor:
    """Continuous ranked probability score, `E|X - y| - E|X - X'| / 2` for X, X' as predicted; smaller is better.

    Args:
        y: What came, `n`.
        mean: Of the prediction, `n`, or of its components, `k x n`.
        sd: Standard deviations, likewise.

    Returns:
        `n` scores in the units of y.

    Raises:
        InvalidInputError: If shapes do not fit or a standard deviation is not positive.

    References: Gneiting and Raftery 2007, "Strictly Proper Scoring Rules, Prediction, and Estimation"; Grimit et al.
    2006, "The Continuous Ranked Probability Score for Circular Variables and its Application to Mesoscale Forecast
    Ensemble Verification", for mixtures.

    Example:
        >>> crps(torch.zeros(1), torch.zeros(1), torch.ones(1))  # (sqrt(2) - 1) / sqrt(pi)
        tensor([0.2337])
    """
    mean, sd = _components(y, mean, sd)
    to_y = _mean_absolute(y - mean, sd).mean(0)
    spread = (sd[:, None].square() + sd[None].square()).sqrt()
    return to_y - 0.5 * _mean_absolute(mean[:, None] - mean[None], spread).mean((0, 1))


def _mean_absolute(mean: Tensor, sd: Tensor) -> Tensor:
    """E|Z| of Gaussians Z."""
    u = mean / sd
    return sd * _SQRT_2_OVER_PI * torch.exp(-0.5 * u.square()) + mean * torch.erf(u / math.sqrt(2.0))


def _components(y: Tensor, mean: Tensor, sd: Tensor) -> tuple[Tensor, Tensor]:
    """Means and standard deviations as `k x n`."""
    if y.dim() != 1 or mean.shape != sd.shape or mean.dim() not in (1, 2) or mean.shape[-1:] != y.shape:
        raise InvalidInputError(
            f"expected y `n`, mean and sd `n` or `k x n`, got {tuple(y.shape)}, {tuple(mean.shape)}, {tuple(sd.shape)}."
        )
    if not bool((sd > 0).all()):
        raise InvalidInputError(f"sd: expected positive standard deviations, the least is {float(sd.min())}.")
    return mean.reshape(-1, len(y)), sd.reshape(-1, len(y))


def _check_classes(p: Tensor, labels: Tensor) -> None:
    if p.dim() not in (1, 2) or labels.shape != p.shape[:1] or len(p) == 0:
        raise InvalidInputError(
            f"expected probabilities `n` or `n x C` and labels `n`, got {tuple(p.shape)} and {tuple(labels.shape)}."
        )
    if not bool(((p >= 0) & (p <= 1 + 1e-6)).all()):
        raise InvalidInputError("probabilities: expected numbers in [0, 1]; logits become such by a softmax.")
