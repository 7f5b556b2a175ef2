"""What the outputs of a network mean: how likely an observation is, how much it bends, and what is predicted.

Alphabet. f: outputs, `n x C`. y: observations, n of them. V: covariance of f at a point, `n x C x C`, or its diagonal,
`n x C`. Lam: minus the Hessian of the log likelihood of a point in f. p: probabilities of classes.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import torch
from torch import Tensor
from typing_extensions import override

from inference.errors import InvalidInputError
from inference.seeding import normals

Needs = Literal["variance", "covariance"]

_N_SAMPLES: Final = 256
"""Monte Carlo draws of f: probabilities to about 0.03 a point, and far better averaged over points."""


@dataclass(frozen=True)
class Prediction:
    """At n points."""

    mean: Tensor
    """Of the observation, `n x C`: its value, or the probability of each class."""
    variance: Tensor
    """Of the observation, `n x C`; of a reward, which is never observed, that of the reward itself."""
    f_mean: Tensor
    """Outputs of the network, `n x C`."""
    f_variance: Tensor
    """Their variances, `n x C`: what more data could take away."""


class NetLikelihood(ABC):
    """A likelihood of one's own gives `log_prob` and `response`; its curvature then comes from autograd.

    Example:
        >>> class Poisson(NetLikelihood):
        ...     def log_prob(self, f, y):
        ...         return y * f[:, 0] - f[:, 0].exp() - torch.lgamma(y + 1.0)
        ...     def response(self, f):
        ...         return f.exp()
        >>> Poisson().curvature_root(torch.tensor([[0.0]]), torch.tensor([2.0]))  # the root of exp(f)
        tensor([[[1.]]])
    """

    is_pairs: ClassVar[bool] = False
    """Whether an observation is of two points, `n x 2 x ...`, and f the difference of their outputs."""
    tunes_by: ClassVar[Literal["evidence", "validation"]] = "evidence"
    """What `NetLaplace.tune` goes by unless told."""
    methods: ClassVar[Mapping[str, Needs]] = {"mc": "covariance"}
    """Ways to predict, the default first, with what each needs."""

    @abstractmethod
    def log_prob(self, f: Tensor, y: Tensor) -> Tensor:
        """Log likelihood of each observation, `n`, twice differentiable in f.

        Args:
            f: `n x C`.
            y: `n x ...`.
        """

    @abstractmethod
    def response(self, f: Tensor) -> Tensor:
        """The mean of y given f, `... x C` to `... x k`.

        Args:
            f: Outputs.
        """

    def curvature_root(self, f: Tensor, y: Tensor) -> Tensor:
        """L with `L L^T = Lam`, negative curvature taken for none.

        Args:
            f: `n x C`.
            y: `n x ...`.

        Returns:
            `n x C x C`.
        """
        f = f.detach().requires_grad_(True)
        with torch.enable_grad():
            # points do not depend on one another, so sums over them give each its own derivatives
            (slope,) = torch.autograd.grad(self.log_prob(f, y).sum(), f, create_graph=True)
            rows = [
                torch.autograd.grad(column.sum(), f, retain_graph=True, materialize_grads=True)[0]
                for column in slope.unbind(1)
            ]
        bends = -torch.stack(rows, 1)
        values, vectors = torch.linalg.eigh(bends)
        return vectors * values.clamp_min(0.0).sqrt()[:, None]

    def gradient(self, f: Tensor, y: Tensor) -> Tensor:
        """Of the log likelihood in f.

        Args:
            f: `n x C`.
            y: `n x ...`.

        Returns:
            `n x C`.
        """
        f = f.detach().requires_grad_(True)
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(self.log_prob(f, y).sum(), f)
        return gradient

    def predict(
        self, f: Tensor, V: Tensor, method: str, generator: torch.Generator, scale: float
    ) -> tuple[Tensor, Tensor]:
        """Mean and variance of the response.

        Args:
            f: `n x C`.
            V: As `methods` says.
            method: One of `methods`.
            generator: Of Monte Carlo draws.
            scale: The inverse noise variance of a regression, else 1.

        Returns:
            Both `n x k`.
        """
        drawn = self.response(draw(f, V, generator))
        return drawn.mean(0), drawn.var(0)

    def log_predictive(self, f: Tensor, V: Tensor, y: Tensor, generator: torch.Generator, scale: float) -> Tensor:
        """Log probability of observations under the prediction by the default method.

        Args:
            f: `n x C`.
            V: As `methods` says of the first of them.
            y: `n x ...`.
            generator: Of Monte Carlo draws.
            scale: As in `predict`.

        Returns:
            `n`.
        """
        drawn = draw(f, V, generator)
        each = torch.stack([self.log_prob(one, y) for one in drawn])
        return each.logsumexp(0) - math.log(len(drawn))


class Regression(NetLikelihood):
    """`y ~ N(f, noise_sd^2)`, `n x C`.

    All of it is kept at a noise of 1; `NetLaplace` puts its `scale`, the inverse noise variance, on top.
    """

    methods: ClassVar[Mapping[str, Needs]] = {"glm": "variance"}

    def __init__(self, noise_sd: float | None = None) -> None:
        """The noise, in units of y.

        Args:
            noise_sd: Standard deviation; None to learn it.

        Raises:
            InvalidInputError: If it is not positive.
        """
        if noise_sd is not None and not (math.isfinite(noise_sd) and noise_sd > 0):
            raise InvalidInputError(f"noise_sd: expected a positive number, or None to learn it, got {noise_sd!r}.")
        self.noise_sd = noise_sd

    @override
    def log_prob(self, f: Tensor, y: Tensor) -> Tensor:
        y = y.reshape(f.shape)
        return -0.5 * ((y - f).square() + math.log(2.0 * math.pi)).sum(1)

    @override
    def response(self, f: Tensor) -> Tensor:
        return f

    @override
    def curvature_root(self, f: Tensor, y: Tensor) -> Tensor:
        return torch.eye(f.shape[1], dtype=f.dtype, device=f.device).expand(len(f), -1, -1)

    @override
    def predict(
        self, f: Tensor, V: Tensor, method: str, generator: torch.Generator, scale: float
    ) -> tuple[Tensor, Tensor]:
        return f, V + 1.0 / scale

    @override
    def log_predictive(self, f: Tensor, V: Tensor, y: Tensor, generator: torch.Generator, scale: float) -> Tensor:
        variance = V + 1.0 / scale
        residual = y.reshape(f.shape) - f
        return -0.5 * (residual.square() / variance + (2.0 * math.pi * variance).log()).sum(1)


class Classification(NetLikelihood):
    """One of C >= 2 classes, `y` their indices, f their logits.

    `"probit"` scales the logits down by their variances (MacKay 1992), `"mc"` averages draws, `"bridge"` matches a
    Dirichlet distribution to the Gaussian (Hobbhahn, Kristiadi and Hennig 2022). The bridge expects the variances of a
    Dirichlet distribution, larger where a class is rarer: with nearly equal ones it evens out more than two classes.
    """

    tunes_by: ClassVar[Literal["evidence", "validation"]] = "validation"
    methods: ClassVar[Mapping[str, Needs]] = {"probit": "variance", "mc": "covariance", "bridge": "covariance"}

    @override
    def log_prob(self, f: Tensor, y: Tensor) -> Tensor:
        if f.shape[1] < 2 or y.dtype.is_floating_point or y.shape != f.shape[:1]:
            raise InvalidInputError(
                f"Y: expected the index of one of at least 2 classes a point, of shape ({len(f)},), got "
                f"{tuple(y.shape)} of {y.dtype} for {f.shape[1]} outputs."
            )
        return -torch.nn.functional.cross_entropy(f, y, reduction="none")

    @override
    def response(self, f: Tensor) -> Tensor:
        return f.softmax(-1)

    @override
    def curvature_root(self, f: Tensor, y: Tensor) -> Tensor:
        p = f.softmax(1)
        root = p.sqrt()
        return torch.diag_embed(root) - p[:, :, None] * root[:, None]

    @override
    def predict(
        self, f: Tensor, V: Tensor, method: str, generator: torch.Generator, scale: float
    ) -> tuple[Tensor, Tensor]:
        if method == "probit":
            p = (f / (1.0 + math.pi / 8.0 * V).sqrt()).softmax(1)
        elif method == "bridge":
            p = _bridge(f, V)
        else:
            p = draw(f, V, generator).softmax(-1).mean(0)
        return p, p * (1.0 - p)

    @override
    def log_predictive(self, f: Tensor, V: Tensor, y: Tensor, generator: torch.Generator, scale: float) -> Tensor:
        return self.log_prob(f / (1.0 + math.pi / 8.0 * V).sqrt(), y)


class BradleyTerry(NetLikelihood):
    """Reward modelling: of a pair `n x 2 x ...` the first is better with probability `sigmoid(f_first - f_second)`.

    `y` is 1 where the first was preferred and 0 where the second was. Predictions are of the reward of single points.

    Reference: Bradley and Terry 1952, "Rank Analysis of Incomplete Block Designs".
    """

    is_pairs: ClassVar[bool] = True
    methods: ClassVar[Mapping[str, Needs]] = {"glm": "variance"}

    @override
    def log_prob(self, f: Tensor, y: Tensor) -> Tensor:
        if f.shape[1] != 1 or y.shape != f.shape[:1]:
            raise InvalidInputError(
                f"Y: expected one 0 or 1 a pair, of shape ({len(f)},), and one reward a point, got {tuple(y.shape)} "
                f"and {f.shape[1]} rewards."
            )
        sign = 2.0 * y.to(f.dtype) - 1.0
        return torch.nn.functional.logsigmoid(sign * f[:, 0])

    @override
    def response(self, f: Tensor) -> Tensor:
        return f

    @override
    def curvature_root(self, f: Tensor, y: Tensor) -> Tensor:
        s = f.sigmoid()
        return (s * (1.0 - s)).sqrt()[:, :, None]

    @override
    def predict(
        self, f: Tensor, V: Tensor, method: str, generator: torch.Generator, scale: float
    ) -> tuple[Tensor, Tensor]:
        return f, V

    @override
    def log_predictive(self, f: Tensor, V: Tensor, y: Tensor, generator: torch.Generator, scale: float) -> Tensor:
        return self.log_prob(f / (1.0 + math.pi / 8.0 * V).sqrt(), y)


def draw(f: Tensor, V: Tensor, generator: torch.Generator) -> Tensor:
    """Draws of outputs, in pairs that mirror each other at the mean.

    Args:
        f: Means, `n x C`.
        V: Covariances, `n x C x C`.
        generator: Of the draws.

    Returns:
        `256 x n x C`.
    """
    values, vectors = torch.linalg.eigh(V)
    root = vectors * values.clamp_min(0.0).sqrt()[:, None]
    z = normals((_N_SAMPLES // 2, *f.shape), generator, f)
    away = torch.einsum("nck,snk->snc", root, z)
    return f + torch.cat([away, -away])


def _bridge(f: Tensor, V: Tensor) -> Tensor:
    """Means of Dirichlet distributions whose Laplace approximation in logits is N(f, V)."""
    C = f.shape[1]
    # softmax leaves the sum of the logits open, so the Gaussian is conditioned on a sum of 0
    towards_sum = V.sum(2)
    total = towards_sum.sum(1, keepdim=True)
    f = f - towards_sum * f.sum(1, keepdim=True) / total
    variance = V.diagonal(dim1=1, dim2=2) - towards_sum.square() / total
    inverse_sum = torch.exp(f + torch.logsumexp(-f, 1, keepdim=True)) / C**2
    alpha = (1.0 - 2.0 / C + inverse_sum) / variance
    return alpha / alpha.sum(1, keepdim=True)
