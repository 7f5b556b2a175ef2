"""A posterior that is known by its mean, its variance and the whole functions drawn from it.

Alphabet. b: batch of test inputs. q: joint test points. m: outputs. s: shape of a sample. w: standard normal numbers
that make one function.
"""

from collections.abc import Callable

import torch
from botorch.posteriors.posterior import Posterior
from botorch.sampling.base import MCSampler
from botorch.sampling.get_sampler import GetSampler
from botorch.sampling.normal import IIDNormalSampler, SobolQMCNormalSampler
from torch import Tensor
from torch.quasirandom import SobolEngine
from typing_extensions import override


class PathPosterior(Posterior):
    """The posterior of a structured model at test points: nothing of it needs their joint covariance matrix.

    Mean, variance and samples are of the same process in the same units. A sample is a fixed function of its normal
    numbers, differentiable in the test points, so that Monte Carlo acquisition functions of BoTorch optimise over
    common random numbers as they do with a Gaussian posterior.

    Example:
        >>> mean = torch.zeros(3, 1, dtype=torch.float64)
        >>> coin = PathPosterior(mean, lambda: torch.ones_like(mean), lambda w: w[..., :, None].expand(-1, 3, 1), 1)
        >>> coin.rsample(torch.Size([2])).shape
        torch.Size([2, 3, 1])
    """

    def __init__(
        self, mean: Tensor, variance: Callable[[], Tensor], paths: Callable[[Tensor], Tensor], n_normals: int
    ) -> None:
        """Keep the parts; nothing is computed that is not asked for.

        Args:
            mean: `b x q x m`.
            variance: Computes the variances, `b x q x m`; called once, when they are first needed.
            paths: Takes normal numbers `s x b x w`, where dimensions of b may be expanded ones, and returns the
                functions that they make at the test points, `s x b x q x m`.
            n_normals: How many make one function, w.
        """
        self._mean, self._get_variance, self._paths, self._n_normals = mean, variance, paths, n_normals
        self._variance: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        """Means, `b x q x m`."""
        return self._mean

    @property
    def variance(self) -> Tensor:
        """Marginal variances, `b x q x m`."""
        if self._variance is None:
            self._variance = self._get_variance()
        return self._variance

    @property
    @override
    def device(self) -> torch.device:
        """Where the samples are."""
        return self._mean.device

    @property
    @override
    def dtype(self) -> torch.dtype:
        """Of the samples."""
        return self._mean.dtype

    @property
    @override
    def base_sample_shape(self) -> torch.Size:
        """`b x w`: of the normal numbers of one sample."""
        return torch.Size([*self._mean.shape[:-2], self._n_normals])

    @property
    @override
    def batch_range(self) -> tuple[int, int]:
        """All but the last dimension of `base_sample_shape`: every member of a batch sees the same functions."""
        return (0, -1)

    @override
    def _extended_shape(self, sample_shape: torch.Size = torch.Size()) -> torch.Size:  # noqa: B008  # BoTorch's own
        return sample_shape + self._mean.shape

    @override
    def rsample_from_base_samples(self, sample_shape: torch.Size, base_samples: Tensor) -> Tensor:
        """The functions that given normal numbers make.

        Args:
            sample_shape: The s of the result.
            base_samples: `s x b x w`.

        Returns:
            `s x b x q x m`.

        Raises:
            RuntimeError: If the normal numbers are of another shape.
        """
        expected = sample_shape + self.base_sample_shape
        if base_samples.shape != expected:
            raise RuntimeError(f"base_samples: expected shape {tuple(expected)}, got {tuple(base_samples.shape)}.")
        return self._paths(base_samples)

    @override
    def rsample(self, sample_shape: torch.Size | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Independent functions at the test points.

        Args:
            sample_shape: How many, as a shape s; None for one.
            generator: Draws them; None for torch's own, as every posterior of BoTorch.

        Returns:
            `s x b x q x m`, s being 1 where no shape was given.
        """
        shape = torch.Size([1]) if sample_shape is None else sample_shape
        one = shape + torch.Size([1] * (self._mean.dim() - 2)) + self.base_sample_shape[-1:]
        normals = torch.randn(one, dtype=self.dtype, device=self.device, generator=generator)
        return self.rsample_from_base_samples(shape, normals.expand(shape + self.base_sample_shape))


def unexpanded(normals: Tensor) -> Tensor:
    """Normal numbers without the copies along expanded dimensions, so that what depends on them is computed once.

    Args:
        normals: `... x w`; a sampler expands those of one sample over the batch.

    Returns:
        The same with size 1 where a dimension was expanded.
    """
    for dim in range(normals.dim() - 1):
        if normals.stride(dim) == 0:
            normals = normals.narrow(dim, 0, 1)
    return normals


@GetSampler.register(PathPosterior)  # type: ignore[untyped-decorator]  # BoTorch's own
def _sampler(posterior: PathPosterior, sample_shape: torch.Size, *, seed: int | None = None) -> MCSampler:
    """Quasi-random numbers, or independent ones where a function takes more of them than Sobol has dimensions."""
    few = posterior.base_sample_shape[-1] <= SobolEngine.MAXDIM
    kind = SobolQMCNormalSampler if few else IIDNormalSampler
    return kind(sample_shape=sample_shape, seed=seed)
