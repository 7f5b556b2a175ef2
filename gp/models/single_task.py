"""A fitted `ExactGP` as BoTorch's `SingleTaskGP`, which also makes fantasies, takes batches and draws sample paths."""

import math

import torch
from botorch.models.gp_regression import SingleTaskGP
from gpytorch.constraints.constraints import Positive
from gpytorch.kernels.kernel import Kernel
from gpytorch.kernels.matern_kernel import MaternKernel
from gpytorch.kernels.scale_kernel import ScaleKernel
from gpytorch.likelihoods.gaussian_likelihood import FixedNoiseGaussianLikelihood, GaussianLikelihood
from gpytorch.likelihoods.likelihood import Likelihood
from gpytorch.means.constant_mean import ConstantMean
from gpytorch.settings import min_fixed_noise
from torch import Tensor

from gp.array_kernels import Anova
from gp.errors import InvalidDataError
from gp.kernels.anova import AnovaKernel
from gp.kernels.mapped import MappedKernel, Mapping
from gp.models.exact import ExactGP


def to_single_task_gp(model: ExactGP, *, train_X: Tensor | None = None, mapping: Mapping | None = None) -> SingleTaskGP:
    """The same posterior in BoTorch's own class.

    `ExactGP` predicts and is fitted faster; a `SingleTaskGP` also makes fantasies for the knowledge gradient, takes
    batches of observations and draws whole functions for entropy search. Its hyperparameters stay where the fit put
    them and need no gradient. Observations keep their own noise variances where these differ; a further one then has
    their mean, and otherwise the common one.

    Args:
        model: Fitted, or at its prior's modes.
        train_X: Points, `n x d`, where the model's features came from by `mapping`; None without one.
        mapping: From points `... x d` to features, differentiable: the result takes points. None if it shall take
            features, as the model does.

    Returns:
        A model in evaluation mode, in units of Y, on the device of its training points.

    Raises:
        InvalidDataError: If just one of `train_X` and `mapping` is given, they do not give the model's features, or the
            model has a trend.

    Example:
        >>> X = torch.rand(8, 2, dtype=torch.float64)
        >>> model = ExactGP(X, X.sum(1, keepdim=True)).fit()
        >>> bool(torch.allclose(to_single_task_gp(model).posterior(X).mean, model.posterior(X).mean))
        True
    """
    if model.regression.trend is not None:
        raise InvalidDataError("model: one with a trend in its mean cannot be converted; fit it without trend=.")
    points = _checked_points(model, train_X, mapping)
    unscaled = _unscaled(model)
    kernel = ScaleKernel(
        unscaled if mapping is None else MappedKernel(unscaled, mapping), outputscale_constraint=Positive()
    )
    kernel.outputscale = torch.as_tensor(model.scale**2)
    mean = ConstantMean()
    mean.constant = torch.as_tensor(model.offset + model.scale * model.predictor.mean)
    converted = SingleTaskGP(
        points,
        model.train_Y.to(points),
        likelihood=_likelihood(model.noise_variances[:, 0].to(points)),
        covar_module=kernel,
        mean_module=mean,
        outcome_transform=None,
    )
    converted.requires_grad_(False)
    return converted.eval()


def _unscaled(model: ExactGP) -> Kernel:
    """The model's kernel of variance 1 on features."""
    if isinstance(model.regression.kernel, Anova):
        share = 1.0 / (1.0 + math.exp(-model.predictor.theta[-1]))
        return AnovaKernel(model.lengthscales, model.groups, share)
    matern = MaternKernel(nu=2.5, ard_num_dims=len(model.lengthscales), lengthscale_constraint=Positive())
    matern.lengthscale = model.lengthscales
    return matern


def _checked_points(model: ExactGP, train_X: Tensor | None, mapping: Mapping | None) -> Tensor:
    if train_X is None and mapping is None:
        return model.train_X
    if train_X is None or mapping is None:
        missing = "train_X" if train_X is None else "mapping"
        raise InvalidDataError(f"{missing}: expected both train_X and mapping, or neither; it is None.")
    features = mapping(train_X)
    if features.shape != model.train_X.shape or not torch.allclose(features, model.train_X.to(features)):
        raise InvalidDataError(
            f"train_X: what mapping makes of it, {tuple(features.shape)}, is not what the model was fitted to, "
            f"{tuple(model.train_X.shape)}. Give the points of the model's own rows, in their order."
        )
    return train_X


def _likelihood(variances: Tensor) -> Likelihood:
    """One noise for all where all have the same, which a further observation then has too."""
    if bool((variances == variances[0]).all()):
        common = GaussianLikelihood(noise_constraint=Positive())  # the default would raise it to 1e-4
        common.noise = variances[0]
        return common
    with min_fixed_noise(float_value=0.0, double_value=0.0):  # the default, 1e-6, supposes values of variance 1
        return FixedNoiseGaussianLikelihood(noise=variances)
