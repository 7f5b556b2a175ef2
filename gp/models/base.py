"""What the structured models share: the scale of their outcomes, and checks of what comes in and is asked for.

Alphabet. Y: outcomes of any shape, nan where nothing was observed. y: Y less its offset, over its scale.
"""

import warnings
from dataclasses import dataclass

import torch
from botorch.models.model import Model
from torch import Tensor
from typing_extensions import override

from gp.errors import InvalidDataError


@dataclass(frozen=True)
class OutcomeScale:
    """The way from outcomes to values of mean 0 and variance 1, and back."""

    offset: Tensor
    """Mean of the observed outcomes, a scalar."""
    scale: Tensor
    """Their standard deviation, a positive scalar; 1 where they are all (nearly) the same."""

    @classmethod
    def of(cls, Y: Tensor) -> "OutcomeScale":
        """From the observed outcomes alone.

        Args:
            Y: Outcomes; nan is no observation.

        Returns:
            Their scale.

        Example:
            >>> scale = OutcomeScale.of(torch.tensor([1.0, torch.nan, 3.0]))
            >>> scale.offset, scale.standardise(torch.tensor([3.0]))
            (tensor(2.), tensor([1.]))
        """
        seen = Y[~Y.isnan()]
        offset = seen.mean()
        scale = (seen - offset).square().mean().sqrt()
        # a spread that is rounding of the values themselves is none
        negligible = 1e3 * torch.finfo(Y.dtype).eps * torch.maximum(offset.abs(), torch.ones_like(offset) * 1e-9)
        return cls(offset, torch.where(scale > negligible, scale, torch.ones_like(scale)))

    def standardise(self, Y: Tensor) -> Tensor:
        """Outcomes as values y.

        Args:
            Y: Of any shape.

        Returns:
            Of the same.
        """
        return (Y - self.offset) / self.scale

    def restore(self, y: Tensor) -> Tensor:
        """Means or samples of y in the units of Y.

        Args:
            y: Of any shape.

        Returns:
            Of the same.
        """
        return self.offset + self.scale * y

    def restore_variance(self, variance: Tensor) -> Tensor:
        """Variances or covariances of y in the units of Y squared.

        Args:
            variance: Of any shape.

        Returns:
            Of the same.
        """
        return self.scale.square() * variance


class SingleOutputModel(Model):
    """One model of one output; BoTorch's `ModelList` takes several of them."""

    @property
    @override
    def num_outputs(self) -> int:
        """Always 1."""
        return 1

    @property
    @override
    def batch_shape(self) -> torch.Size:
        """Empty: one model, not a batch."""
        return torch.Size()


def all_equal(before: list[Tensor], now: list[Tensor]) -> bool:
    """Whether nothing moved: by value, as gpytorch's setters write past every version counter.

    Args:
        before: Parameters and buffers, copies.
        now: The same as they are.

    Returns:
        Whether all are equal, in the same place and of the same dtype.
    """
    return all(
        a.device == b.device and a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(before, now, strict=True)
    )


def reach(X: Tensor) -> Tensor:
    """Range of each feature.

    Args:
        X: `n x d`.

    Returns:
        `d`; 1 where it has none.
    """
    spread = X.amax(0) - X.amin(0)
    return torch.where(spread > 0, spread, torch.ones_like(spread))


def check_output_indices(output_indices: list[int] | None) -> None:
    """Refuse another output of a model that has one.

    Args:
        output_indices: As `posterior` takes them.

    Raises:
        InvalidDataError: Unless they are None or `[0]`.
    """
    if output_indices not in (None, [0]):
        raise InvalidDataError(f"output_indices: there is one output, expected None or [0], got {output_indices}.")


def check_inputs(name: str, X: Tensor, like: Tensor | None = None) -> None:
    """Refuse training inputs that no model can use.

    Args:
        name: What they are, for the message.
        X: `n x d`.
        like: A tensor whose dtype they must have.

    Raises:
        InvalidDataError: If they are not a matrix of finite floats, or of another dtype.
    """
    if X.dim() != 2 or 0 in X.shape:
        raise InvalidDataError(f"{name}: expected `n x d` with n, d >= 1, got {tuple(X.shape)}.")
    if X.dtype not in (torch.float32, torch.float64) or (like is not None and X.dtype != like.dtype):
        wanted = "float64 or float32" if like is None else f"{like.dtype}, as the other data"
        raise InvalidDataError(f"{name}: expected {wanted}, got {X.dtype}. Convert it with `.double()`.")
    if not torch.isfinite(X).all():
        raise InvalidDataError(f"{name}: expected finite values, got some that are nan or infinite.")


def check_test_inputs(X: Tensor, d: int) -> None:
    """Refuse test inputs of another number of features.

    Args:
        X: `b x q x d`.
        d: What their last dimension must be.

    Raises:
        InvalidDataError: If it is not, or X is not at least a matrix.
    """
    if X.dim() < 2 or X.shape[-1] != d:
        raise InvalidDataError(f"X: expected `... x q x d` with d={d}, got {tuple(X.shape)}.")


def warn_of_single_precision(dtype: torch.dtype, model: str) -> None:
    """Say once that single precision costs digits; a model calls it when it is made.

    Args:
        dtype: Of its data.
        model: Its name.
    """
    if dtype == torch.float32:
        warnings.warn(
            f"{model}: float32 data leave about three digits where the noise is 1e-4 of the signal; pass float64 "
            "(`.double()`) unless memory forbids it.",
            stacklevel=3,
        )
