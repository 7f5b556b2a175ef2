"""Kernels whose power spectrum is a mixture: oscillations of known frequencies whose phase drifts.

Alphabet. d: input dimensions. Q: components of the mixture along each axis. z: a signed lag, in units of x. w: weights,
the variance of a component. mu: frequencies in cycles a unit of x. rho: bandwidths, the scale of a spectrum, in
cycles a unit of x. g: the envelope of a component, a function of z with `g(0) = 1`; m: `2 pi mu`; p: `2 pi² rho²`;
a: the decay rate `sqrt(5) 2 pi rho`.
"""

import math
from collections.abc import Callable
from typing import Any, Final

import torch
from botorch.sampling.pathwise.features.generators import GenKernelFeatures
from botorch.sampling.pathwise.features.maps import KernelFeatureMap
from botorch.sampling.pathwise.utils import SineCosineTransform
from gpytorch.constraints.constraints import Positive
from gpytorch.kernels.kernel import Kernel
from torch import Tensor
from typing_extensions import override

from gp.errors import InvalidDataError

_NU: Final = 2.5
"""Smoothness of the Student-t envelope, a Matérn-5/2: the least half-integer whose second derivative is continuous."""


def _gaussian_envelope(z: Tensor, rho: Tensor, order: int) -> list[Tensor]:
    """The envelope `exp(-p z²)` and its derivatives up to the order."""
    p = 2.0 * math.pi**2 * rho.square()
    g = torch.exp(-p * z.square())
    slope = -2.0 * p * z
    return [g, slope * g, (slope.square() - 2.0 * p) * g][: order + 1]


def _student_envelope(z: Tensor, rho: Tensor, order: int) -> list[Tensor]:
    """The envelope Matérn-5/2 of lengthscale `1 / (2 pi rho)` and its derivatives up to the order."""
    # in closed form: autograd twice through the absolute value would lose the second derivative at lag 0
    a = math.sqrt(2.0 * _NU) * 2.0 * math.pi * rho
    s = a * z.abs()
    decay = torch.exp(-s)
    third = a.square() / 3.0
    envelope = [(1.0 + s + s.square() / 3.0) * decay]
    if order >= 1:
        envelope.append(-third * z * (1.0 + s) * decay)
    if order >= 2:
        envelope.append(-third * (1.0 + s - s.square()) * decay)
    return envelope


_ENVELOPES: Final[dict[str, Callable[[Tensor, Tensor, int], list[Tensor]]]] = {
    "gaussian": _gaussian_envelope,
    "student": _student_envelope,
}


class SpectralMixtureKernel(Kernel):
    """`prod_j sum_q w_jq g(z_j; rho_jq) cos(2 pi mu_jq z_j)`: along each axis a mixture of Q spectral components.

    By the theorem of Wiener and Khinchin the power spectrum along an axis is a mixture of Gaussian densities about
    `± mu` of standard deviation rho, or of Student-t densities of five degrees of freedom and scale rho. The weights of
    an axis sum to its variance; those of the axes multiply.

    The hyperparameters, `*batch x d x Q`, start at frequencies 0, bandwidths 1 and equal weights that sum to 1 along
    each axis, which says nothing: set them, by `gp.kernels.spectral_initialisation.init_spectral` if not by knowledge,
    before any optimiser moves them, since the likelihood has a local maximum near every frequency.

    References: Wilson and Adams 2013, "Gaussian Process Kernels for Pattern Discovery and Extrapolation"; Fang et al.
    2024, "Solving High Frequency and Multi-Scale PDEs with Gaussian Processes", for the Student-t mixture.

    Example:
        >>> kernel = SpectralMixtureKernel(1).double()
        >>> kernel.frequencies = torch.tensor([[2.0]]).double()
        >>> kernel.bandwidths = torch.tensor([[1e-6]]).double()
        >>> X = torch.tensor([[0.0], [0.25], [0.5]]).double()
        >>> kernel(X[:1], X).to_dense().detach().round(decimals=6)
        tensor([[ 1., -1.,  1.]], dtype=torch.float64)
    """

    is_stationary = True

    def __init__(
        self,
        n_components: int,
        *,
        n_dims: int = 1,
        spectrum: str = "gaussian",
        batch_shape: torch.Size | None = None,
        active_dims: tuple[int, ...] | None = None,
    ) -> None:
        """Make the hyperparameters.

        Args:
            n_components: Components along each axis, Q.
            n_dims: Input dimensions, d.
            spectrum: 'gaussian', whose paths are infinitely smooth, or 'student', whose paths are twice differentiable.
            batch_shape: Of a stack of independent kernels.
            active_dims: The columns of the input that the kernel looks at; None for all.

        Raises:
            InvalidDataError: If a number is not positive or the spectrum is not known.
        """
        super().__init__(batch_shape=batch_shape or torch.Size(), active_dims=active_dims)
        if n_components < 1 or n_dims < 1:
            raise InvalidDataError(
                f"n_components, n_dims: expected at least 1 of each, got {n_components} and {n_dims}."
            )
        if spectrum not in _ENVELOPES:
            raise InvalidDataError(f"spectrum: expected one of {sorted(_ENVELOPES)}, got {spectrum!r}.")
        self.n_components, self.n_dims, self.spectrum = n_components, n_dims, spectrum
        shape = *self.batch_shape, n_dims, n_components
        # the logarithm, so that an optimiser's step is a factor
        on_logs = Positive(transform=torch.exp, inv_transform=torch.log)
        self.register_parameter("raw_weights", torch.nn.Parameter(torch.full(shape, -math.log(n_components))))
        self.register_parameter("raw_bandwidths", torch.nn.Parameter(torch.zeros(shape)))
        self.register_parameter("frequencies_", torch.nn.Parameter(torch.zeros(shape)))
        self.register_constraint("raw_weights", on_logs)
        self.register_constraint("raw_bandwidths", on_logs)

    # -- hyperparameters ------------------------------------------------------------------------------------------

    @property
    def weights(self) -> Tensor:
        """Variance of each component, `*batch x d x Q`, positive."""
        return self.raw_weights_constraint.transform(self.raw_weights)

    @weights.setter
    def weights(self, value: Tensor) -> None:
        self._set("weights", value)

    @property
    def bandwidths(self) -> Tensor:
        """Scale of each component's spectrum in cycles a unit of x, `*batch x d x Q`, positive."""
        return self.raw_bandwidths_constraint.transform(self.raw_bandwidths)

    @bandwidths.setter
    def bandwidths(self, value: Tensor) -> None:
        self._set("bandwidths", value)

    @property
    def frequencies(self) -> Tensor:
        """Centre of each component's spectrum in cycles a unit of x, `*batch x d x Q`; its sign does not matter."""
        return self.frequencies_

    @frequencies.setter
    def frequencies(self, value: Tensor) -> None:
        self.initialize(frequencies_=torch.as_tensor(value).to(self.frequencies_).expand_as(self.frequencies_))

    def _set(self, name: str, value: Tensor) -> None:
        raw: Tensor = getattr(self, f"raw_{name}")
        value = torch.as_tensor(value).to(raw).expand_as(raw)
        if not bool((value > 0).all()):
            raise InvalidDataError(
                f"{name}: expected positive numbers, got {value.min().item():g}; leave a component out by giving the "
                "kernel fewer of them."
            )
        self.initialize(**{f"raw_{name}": value.log()})

    # -- covariances ----------------------------------------------------------------------------------------------

    def along_axis(self, axis: int, z: Tensor, order: int = 0) -> Tensor:
        """The factor of one axis, or a derivative of it with respect to the lag.

        For the covariance of derivatives of the process: differentiating the first argument is differentiating z, the
        second one `-z`.

        Args:
            axis: Which, `0 .. d - 1`.
            z: Signed lags, `... x n`, whose leading dimensions broadcast with the kernel's batch.
            order: Of the derivative: 0, 1 or 2.

        Returns:
            `... x n`.

        Raises:
            InvalidDataError: If the order is not one of these.
        """
        if order not in (0, 1, 2):
            raise InvalidDataError(f"order: derivatives of order 0, 1 and 2 are known, got {order!r}.")
        w, mu, rho = (value[..., axis, None, :] for value in (self.weights, self.frequencies, self.bandwidths))
        lag, m = z[..., None], 2.0 * math.pi * mu
        g = _ENVELOPES[self.spectrum](lag, rho, order)
        cosine = torch.cos(m * lag)
        if order == 0:
            return (w * g[0] * cosine).sum(-1)
        sine = torch.sin(m * lag)
        if order == 1:
            return (w * (g[1] * cosine - m * g[0] * sine)).sum(-1)
        return (w * (g[2] * cosine - 2.0 * m * g[1] * sine - m.square() * g[0] * cosine)).sum(-1)

    @override
    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: Any) -> Tensor:
        """Covariances of `... x n x d` with `... x m x d` points.

        Args:
            x1: The first points.
            x2: The second points.
            diag: Whether only the diagonal is asked for; `n` and `m` are then equal.
            params: None is accepted beyond what GPyTorch always hands over.

        Returns:
            `... x n x m`, or `... x n` of the diagonal.

        Raises:
            InvalidDataError: If the points have another number of dimensions.
        """
        if x1.shape[-1] != self.n_dims:
            raise InvalidDataError(f"x1: expected `... x n x d` with d={self.n_dims}, got {tuple(x1.shape)}.")
        lags = x1 - x2 if diag else (x1[..., :, None, :] - x2[..., None, :, :]).flatten(-3, -2)
        product = self.along_axis(0, lags[..., 0])
        for axis in range(1, self.n_dims):
            product = product * self.along_axis(axis, lags[..., axis])
        return product if diag else product.unflatten(-1, (x1.shape[-2], x2.shape[-2]))

    # -- random features ------------------------------------------------------------------------------------------

    def draw_frequencies(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Angular frequencies from the kernel's normalised power spectrum, the measure that it is the transform of.

        The mean of `cos(omega . z)` over them is `k(z) / k(0)`, for every number of them: components are drawn in
        proportion to their weights, by systematic sampling.

        Args:
            n: How many.
            generator: Draws them; None for torch's own.

        Returns:
            `n x d`, in radians a unit of x.

        Raises:
            InvalidDataError: If the kernel is a batch.
        """
        if self.batch_shape:
            raise InvalidDataError(
                f"draw_frequencies: expected a single kernel, got a batch of {tuple(self.batch_shape)}; index it first."
            )
        like = {"dtype": self.raw_weights.dtype, "device": self.raw_weights.device}
        columns = []
        for axis in range(self.n_dims):
            shares = self.weights[axis].detach().cumsum(0)
            ticks = (torch.arange(n, **like) + torch.rand((), generator=generator, **like)) / n
            # the axes are independent, so each deals its components out in an order of its own
            ticks = ticks[torch.randperm(n, generator=generator, device=like["device"])]
            component = torch.searchsorted(shares / shares[-1], ticks).clamp_max(self.n_components - 1)
            spread = torch.randn(n, generator=generator, **like)
            if self.spectrum == "student":
                # Student's t is a normal over the root of a mean of squares: five normals, so five degrees of freedom
                spread = spread * torch.randn(5, n, generator=generator, **like).square().mean(0).rsqrt()
            sign = 2.0 * torch.randint(0, 2, (n,), generator=generator, device=like["device"]) - 1.0
            mu, rho = self.frequencies[axis].detach(), self.bandwidths[axis].detach()
            columns.append(2.0 * math.pi * (sign * mu[component] + rho[component] * spread))
        return torch.stack(columns, -1)

    @property
    def variance(self) -> Tensor:
        """The kernel at lag 0, `*batch`."""
        return self.weights.sum(-1).prod(-1)


def _random_features(kernel: SpectralMixtureKernel, *, num_inputs: int, num_outputs: int) -> KernelFeatureMap:
    """Pairs of sine and cosine along frequencies of the kernel's own spectrum, for BoTorch's sample paths."""
    n = num_outputs // 2
    return KernelFeatureMap(
        kernel=kernel,
        weight=kernel.draw_frequencies(n),
        output_transform=SineCosineTransform((kernel.variance.detach() / n).sqrt()),
    )


GenKernelFeatures.add((SpectralMixtureKernel,), _random_features)
