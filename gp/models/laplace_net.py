"""A network with a Laplace posterior as a BoTorch surrogate: an option where no stationary kernel fits.

Alphabet. X: `n x d` points. Y: `n x 1`. y: Y standardised. J: derivatives of the network in its P parameters over the
root of their prior precision, `m x P`. s2: noise variance of y. L: Cholesky factor of `J J^T + s2 I` at the training
points.

The network is trained by the evidence (`inference.laplace.network.train_by_evidence`) and then stands for a Gaussian
process of mean f and kernel `J J^T`, which is what its linearisation is. The kernel is good near the data; far from
them mean and variance grow as the network's shape makes them, so keep the search in a bounded box. It is never the
default.
"""

import copy
from typing import Any, Literal, Self

import torch
from botorch.acquisition.objective import PosteriorTransform
from botorch.posteriors.gpytorch import GPyTorchPosterior
from botorch.posteriors.posterior import Posterior
from gpytorch.distributions.multivariate_normal import MultivariateNormal
from torch import Tensor, nn
from typing_extensions import override

from gp.data import check_data
from gp.errors import InvalidDataError
from gp.linalg.cholesky import safe_cholesky
from gp.models.base import SingleOutputModel, check_output_indices, check_test_inputs
from inference.laplace.network import train_by_evidence
from inference.laplace.network.groups import select
from inference.laplace.network.jacobians import jacobian

_LEAST_VARIANCE = 1e-8
"""Added to every variance of f, in units of y squared: keeps covariances at repeated points positive definite."""


class LaplaceNetSurrogate(SingleOutputModel):
    """A perceptron of two hidden layers, trained when constructed.

    References: Kristiadi et al. 2023, "Promises and Pitfalls of the Linearized Laplace in Bayesian Optimization"; Li,
    Rudner and Wilson 2024, "A Study of Bayesian Neural Network Surrogates for Bayesian Optimization".

    Example:
        >>> X = torch.linspace(0, 1, 10, dtype=torch.float64)[:, None]
        >>> model = LaplaceNetSurrogate(X, X.square(), epochs=100)
        >>> model.posterior(X.unsqueeze(1)).mean.shape
        torch.Size([10, 1, 1])
    """

    def __init__(
        self,
        train_X: Tensor,
        train_Y: Tensor,
        *,
        bounds: Tensor | None = None,
        width: int = 50,
        activation: Literal["relu", "silu"] = "relu",
        epochs: int = 600,
        seed: int = 0,
        warm_start: "LaplaceNetSurrogate | None" = None,
    ) -> None:
        """Train the network and condition on the data.

        Args:
            train_X: Points, `n x d`.
            train_Y: Observations, `n x 1`, of the same dtype.
            bounds: Lowest and highest value of each coordinate, `2 x d`, which the network sees as -1 and 1; None for
                the unit cube.
            width: Units of each hidden layer.
            activation: `"silu"` for a posterior with continuous derivatives.
            epochs: Of training.
            seed: Of the first weights.
            warm_start: An earlier model of the same d, width and activation, whose weights training starts from.

        Raises:
            InvalidDataError: If a shape, a dtype or a value cannot be used, or `warm_start` is of another network.
        """
        super().__init__()
        check_data(train_X, train_Y, None)
        d = train_X.shape[1]
        if activation not in ("relu", "silu"):
            raise InvalidDataError(f"activation: expected 'relu' or 'silu', got {activation!r}.")
        unit = torch.stack([torch.zeros(d), torch.ones(d)]).to(train_X)
        bounds = unit if bounds is None else bounds.to(train_X)
        if bounds.shape != (2, d) or not bool((bounds[1] > bounds[0]).all()):
            raise InvalidDataError(f"bounds: expected `2 x d` with d={d}, low below high, got {bounds.tolist()}.")
        self.train_X, self.train_Y = train_X, train_Y
        self._bounds = bounds
        self._offset = float(train_Y.mean())
        spread = float((train_Y - self._offset).square().mean().sqrt())
        self._scale = spread if spread > 1e-12 else 1.0
        self.net = _perceptron(d, width, nn.ReLU if activation == "relu" else nn.SiLU, seed).to(train_X)
        if warm_start is not None:
            try:
                self.net.load_state_dict(warm_start.net.state_dict())
            except RuntimeError as error:
                raise InvalidDataError(f"warm_start: has another network than this model; {error}") from error
        y = (train_Y - self._offset) / self._scale
        trained = train_by_evidence(self.net, self._inside(train_X), y, epochs=epochs)
        self.net.requires_grad_(False)
        self.net.eval()
        self.noise_variance = trained.noise_variance * self._scale**2
        self._groups = select(self.net, [name for name, _ in self.net.named_parameters()])
        sizes = [torch.full((g.size,), trained.prior_precision[g.name]) for g in self._groups]
        self._root_precision = torch.cat(sizes).to(train_X).sqrt()
        self._J = self._features(train_X)
        s2 = trained.noise_variance * torch.eye(len(y)).to(y)
        self._L = safe_cholesky(self._J @ self._J.T + s2, "train covariance")
        # the mean of the network's own data is the network; later observations move it through these
        self._white = torch.zeros_like(y[:, 0])

    def _inside(self, X: Tensor) -> Tensor:
        """Points in [-1, 1]^d."""
        low, high = self._bounds.to(X)
        return 2.0 * (X - low) / (high - low) - 1.0

    def _features(self, X: Tensor) -> Tensor:
        """J at `m x d` points, differentiable in them."""
        return jacobian(self.net, self._groups, self._inside(X))[:, 0] / self._root_precision

    @override
    def posterior(
        self,
        X: Tensor,
        output_indices: list[int] | None = None,
        observation_noise: bool | Tensor = False,
        posterior_transform: PosteriorTransform | None = None,
    ) -> Posterior:
        """Joint posterior at q test points, differentiable with respect to them.

        Args:
            X: Points, `... x q x d`.
            output_indices: None or `[0]`.
            observation_noise: True for the posterior of observations; a tensor gives their noise variances in units of
                Y squared, broadcast to `... x q`.
            posterior_transform: Applied to the result.

        Returns:
            A `GPyTorchPosterior` in units of Y, mean `... x q x 1`.

        Raises:
            InvalidDataError: If X has another number of coordinates, or another output is asked for.
        """
        check_test_inputs(X, self.train_X.shape[-1])
        check_output_indices(output_indices)
        flat = X.reshape(-1, X.shape[-1])
        J = self._features(flat)
        half = torch.linalg.solve_triangular(self._L, self._J @ J.T, upper=False).T  # m x n
        mean = (self.net(self._inside(flat))[:, 0] + half @ self._white).reshape(X.shape[:-1])
        J, half = J.reshape(*X.shape[:-1], -1), half.reshape(*X.shape[:-1], -1)
        eye = torch.eye(X.shape[-2]).to(X)
        covariance = self._scale**2 * (J @ J.mT - half @ half.mT + _LEAST_VARIANCE * eye)
        if isinstance(observation_noise, Tensor):
            covariance = covariance + torch.diag_embed(observation_noise.expand(X.shape[:-1]))
        elif observation_noise:
            covariance = covariance + self.noise_variance * eye
        posterior = GPyTorchPosterior(MultivariateNormal(self._offset + self._scale * mean, covariance))
        return posterior if posterior_transform is None else posterior_transform(posterior)

    @override
    def condition_on_observations(self, X: Tensor, Y: Tensor, noise: Tensor | None = None, **_: Any) -> Self:
        """The model after further observations; the network and what was learned with it stay as they are.

        The Cholesky factor grows by k rows, which costs `k n^2` and not a new factorisation.

        Args:
            X: Points, `k x d`.
            Y: Observations, `k x 1`.
            noise: Their noise variances, `k x 1`, in units of Y squared; None for that of this model.

        Returns:
            A new model over the same network; this one is left alone.

        Raises:
            InvalidDataError: If a shape or value cannot be used.
        """
        check_data(X, Y, None)
        if X.shape[-1] != self.train_X.shape[-1]:
            raise InvalidDataError(f"X: expected `k x d` with d={self.train_X.shape[-1]}, got {tuple(X.shape)}.")
        if noise is not None and (noise.shape != Y.shape or not bool((noise >= 0).all())):
            raise InvalidDataError(f"noise: expected variances >= 0 of shape {tuple(Y.shape)}, got {noise.tolist()}.")
        variances = (torch.full_like(Y, self.noise_variance) if noise is None else noise)[:, 0] / self._scale**2
        J = self._features(X).detach()
        cross = torch.linalg.solve_triangular(self._L, self._J @ J.T, upper=False).T
        corner = safe_cholesky(J @ J.T - cross @ cross.T + variances.diag(), "covariance of the new observations")
        residual = (Y[:, 0] - self._offset) / self._scale - self.net(self._inside(X))[:, 0] - cross @ self._white
        white = torch.linalg.solve_triangular(corner, residual[:, None], upper=False)[:, 0]
        after = copy.copy(self)
        # a shallow copy of a module shares its registries; the tensors below belong to no registry
        after.train_X, after.train_Y = torch.cat([self.train_X, X]), torch.cat([self.train_Y, Y])
        after._J = torch.cat([self._J, J])
        top = torch.cat([self._L, self._L.new_zeros(len(self._L), len(X))], 1)
        after._L = torch.cat([top, torch.cat([cross, corner], 1)])
        after._white = torch.cat([self._white, white])
        return after


def _perceptron(d: int, width: int, activation: type[nn.Module], seed: int) -> nn.Sequential:
    """Two hidden layers with weights of variance 2 over the inputs, drawn without the global state."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((d, width), (width, width), (width, 1)):
        # nn.Linear(...) as such would draw from the global state
        layers += [nn.utils.skip_init(nn.Linear, inputs, outputs), activation()]
    net = nn.Sequential(*layers[:-1])
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in net:
            if isinstance(layer, nn.Linear):
                normals = torch.randn(layer.weight.shape, generator=generator, dtype=torch.float64, device="cpu")
                layer.weight.copy_(normals * (2.0 / layer.in_features) ** 0.5)
                layer.bias.zero_()
    return net
