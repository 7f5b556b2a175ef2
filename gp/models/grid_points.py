"""A grid's posterior at single points of all axes together, as the model of one output.

Alphabet. m: axes. d_i: features of axis i, d: all of them. q: joint test points, b: batch of them. N: cells.
"""

import math
from typing import Final

import torch
from botorch.acquisition.objective import PosteriorTransform
from botorch.posteriors.gpytorch import GPyTorchPosterior
from botorch.posteriors.posterior import Posterior
from gpytorch.distributions.multivariate_normal import MultivariateNormal
from torch import Tensor
from typing_extensions import override

from gp.models.base import SingleOutputModel, check_output_indices, check_test_inputs
from gp.models.kronecker import KroneckerGP

_CHUNK: Final = 50_000_000
"""Covariances of test points with the grid's cells that are held at once: 400 MB."""


class GridPointsGP(SingleOutputModel):
    """A `KroneckerGP` whose inputs are points of all its axes side by side, for a search over all of them.

    It shares the hyperparameters and the data of the model that it looks at. Each test point costs a solution on the
    grid, `O(N sum n_i)`.

    Example:
        >>> x = torch.linspace(0, 1, 9).double()
        >>> grid = KroneckerGP([x, x], -(x[:, None] - 0.3) ** 2 - (x - 0.7) ** 2)
        >>> report = grid.fit()
        >>> bool(GridPointsGP(grid).posterior(torch.tensor([[0.3, 0.7]]).double()).mean.abs() < 1e-3)
        True
    """

    def __init__(self, grid: KroneckerGP) -> None:
        """Look at a model.

        Args:
            grid: It, fitted or not.
        """
        super().__init__()
        self.grid = grid

    @override
    def posterior(
        self,
        X: Tensor,
        output_indices: list[int] | None = None,
        observation_noise: bool | Tensor = False,
        posterior_transform: PosteriorTransform | None = None,
    ) -> Posterior:
        """Joint posterior at q points, differentiable with respect to them.

        Args:
            X: Points, `b x q x d`: the features of the first axis, then those of the second, and so on.
            output_indices: None or `[0]`.
            observation_noise: True for the posterior of observations (where noise is known, with the mean noise of the
                observed cells); a tensor gives noise variances in units of Y squared, broadcast to `b x q`.
            posterior_transform: Applied to the result.

        Returns:
            A `GPyTorchPosterior` in units of Y, mean `b x q x 1`.

        Raises:
            InvalidDataError: If X has another number of features, or another output is asked for.
        """
        grid = self.grid
        widths = [axis.shape[-1] for axis in grid.axes]
        check_test_inputs(X, sum(widths))
        check_output_indices(output_indices)
        parts = X.reshape(-1, *X.shape[-2:]).split(widths, -1)
        n_batches = max(1, _CHUNK // (X.shape[-2] * grid.Y.numel()))
        moments = [self._moments(list(chunk)) for chunk in zip(*(p.split(n_batches) for p in parts), strict=True)]
        scale = grid.outcome_scale
        mean = scale.restore(torch.cat([mean for mean, _ in moments]).to(X)).reshape(X.shape[:-1])
        covariance = scale.restore_variance(torch.cat([covariance for _, covariance in moments]).to(X))
        covariance = covariance.reshape(*X.shape[:-1], X.shape[-2])
        if isinstance(observation_noise, Tensor):
            covariance = covariance + torch.diag_embed(observation_noise.to(X).expand(mean.shape))
        elif observation_noise:
            noise = grid.noise.detach()
            typical = noise if noise.dim() == 0 else noise[grid.observed].mean()
            covariance = covariance + scale.restore_variance(typical).to(X) * torch.eye(X.shape[-2]).to(X)
        posterior = GPyTorchPosterior(MultivariateNormal(mean, covariance))
        return posterior if posterior_transform is None else posterior_transform(posterior)

    def _moments(self, parts: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Means and covariances of y, `b x q` and `b x q x q`, at points given axis by axis."""
        solution = self.grid.solution()
        lead = parts[0].shape[:-1]
        fields = torch.ones(*lead, *[1] * len(parts), dtype=torch.float64, device=parts[0].device)
        prior = torch.ones((), dtype=torch.float64, device=parts[0].device)
        for axis, (kernel, part) in enumerate(zip(solution.kernels, parts, strict=True)):
            prior = prior * kernel(part).to_dense().double()
            cross = kernel(part, solution.axes[axis]).to_dense().double()
            fields = fields * cross.reshape(*lead, *[-1 if other == axis else 1 for other in range(len(parts))])
        flat = fields.reshape(math.prod(lead), *solution.y.shape)
        solved = solution.system.solve(flat.detach()).reshape(*lead, -1)
        rows = fields.flatten(len(lead))
        product = rows @ solved.mT
        # the solutions are constants, and show half of the derivative from either side
        explained = product + product.mT - product.detach()
        return rows @ solution.weights.reshape(-1), prior - explained
