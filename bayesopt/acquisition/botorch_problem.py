"""What a BoTorch acquisition function is built from: a study's models and data, in BoTorch's types and conventions.

Alphabet. X: `... x q x d` points of the unit cube. Z: their features. n: told trials. p: pending ones. K: outcome
constraints; those never measured have no model and no output. Outputs: the objective first, to be maximised, then the
margins, feasible when `<= 0`.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from botorch.acquisition.objective import GenericMCObjective
from botorch.fit import fit_gpytorch_mll
from botorch.models.gp_regression import SingleTaskGP
from botorch.models.model_list_gp_regression import ModelListGP
from botorch.models.multitask import MultiTaskGP
from botorch.models.transforms.input import InputPerturbation
from botorch.sampling.normal import SobolQMCNormalSampler
from gpytorch.kernels.matern_kernel import MaternKernel
from gpytorch.likelihoods.gaussian_likelihood import FixedNoiseGaussianLikelihood
from gpytorch.mlls.exact_marginal_log_likelihood import ExactMarginalLogLikelihood
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad
from typing_extensions import override

from bayesopt.acquisition.base import without_hope_at_failures
from bayesopt.acquisition.maximize import N_INCUMBENTS
from bayesopt.acquisition.pool import draw_pool
from bayesopt.errors import InvalidInputError
from bayesopt.surrogate import FeatureMap, Surrogate
from gp.kernels.mapped import MappedKernel, Mapping
from gp.models.exact import ExactGP
from gp.models.fully_bayesian import FullyBayesianGP
from gp.models.single_task import to_single_task_gp
from gp.models.spectral_mixture import SpectralMixtureGP

FloatArray = NDArray[np.float64]

MAX_BASELINE: Final = 100
"""Most told trials among which noisy expected improvement looks for the best: it factors their joint covariance."""
_SPECTRAL_ITERATIONS: Final = 50
"""Of the fit of a spectral mixture, whose start is what decides."""
_LEAST_SPREAD: Final = 1e-12
"""What the spread of an objective that was the same in every trial counts for."""


@dataclass(frozen=True)
class BoTorchProblem:
    """A study at one moment as BoTorch sees it: double precision, and every point in the unit cube.

    The models are fitted and frozen, and take points of any space, mixed ones included. Where trials failed, they are
    taken to have brought what was expected and no improvement.
    """

    model: SingleTaskGP | ModelListGP | FullyBayesianGP
    """Objective and margins, `1 + K` outputs, each on the scale of its model; `objective_model` without constraints."""
    objective_model: SingleTaskGP | FullyBayesianGP
    """The objective alone, for the acquisition functions that take one output."""
    train_X: Tensor
    """Told trials, `n x d`; of a long history those that the models are fitted to."""
    train_Y: Tensor
    """What they told in the study's units, `n x (1 + K)`, for models of one's own: the objective turned so that larger
    is better, then every declared margin, nan where it was not measured."""
    X_baseline: Tensor
    """Told trials with the best chances of being the optimum, up to 100 of them."""
    X_pending: Tensor | None
    """Trials without an outcome, `p x d`, those chosen before in the same batch among them; None without any."""
    bounds: Tensor
    """Of the unit cube, `2 x d`."""
    candidates: Tensor
    """Allowed configurations, `c x d`: all of a small space, else spread over it and dense around the best trials."""
    objective: GenericMCObjective
    """Picks the objective from samples of `model`."""
    constraints: list[Callable[[Tensor], Tensor]] | None
    """Pick one margin each from samples of `model`; None where there are none, as BoTorch wants it."""
    best_f: float
    """Best posterior mean of the objective at a told trial that is probably feasible; the worst of all told trials
    where none is. On the scale of `objective_model`."""
    seed: int
    """What the samplers depend on."""
    features: Mapping
    """From points, `... x d`, to what the models compare, `... x F`, where distances are Euclidean; differentiable."""

    def sampler(self, n: int) -> SobolQMCNormalSampler:
        """A quasi-Monte Carlo sampler of n draws, the same ones at every call."""
        return SobolQMCNormalSampler(torch.Size([n]), seed=self.seed)

    def perturbed(self, perturbations: Tensor | FloatArray) -> SingleTaskGP:
        """The objective's model where a point stands for all those around it, which is what risk measures take.

        Args:
            perturbations: What is added to a point, `w x d`, in sides of the cube; the sums stay within it. Leave the
                columns of unordered options at 0.

        Returns:
            A model that has `w` outcomes at each point.

        Raises:
            InvalidInputError: If the objective's model is fully Bayesian.
        """
        if isinstance(self.objective_model, FullyBayesianGP):
            raise InvalidInputError("surrogate: risk measures need the 'fitted' one.")
        model = copy.deepcopy(self.objective_model)
        added = torch.as_tensor(perturbations).to(self.bounds)
        model.input_transform = InputPerturbation(added, bounds=self.bounds)
        return model.eval()

    def fully_bayesian(self) -> "BoTorchProblem":
        """The same problem, whose objective model averages over its hyperparameters instead of taking the likeliest.

        Returns:
            A problem with a `FullyBayesianGP` of the same data, on the same scale, as `objective_model` and `model`.

        Raises:
            InvalidInputError: If there are outcome constraints, whose models would have to be averaged with it.
        """
        X, Y = self._data_for("fully_bayesian")
        likelihood = self.objective_model.likelihood
        # A common noise was learned, or is known to be all but none; noise of their own that values have is known.
        known = likelihood.noise[:, None] if isinstance(likelihood, FixedNoiseGaussianLikelihood) else None
        model = FullyBayesianGP(X, Y, known, mapping=self.features).fit(seed=self.seed)
        return replace(self, model=model, objective_model=model)

    def spectral_mixture(self) -> "BoTorchProblem":
        """The same problem, whose objective model looks for tones: for a response that oscillates.

        It learns its noise, also where that is known.

        Returns:
            A problem with a `SpectralMixtureGP` of the same data, on the same scale, as `objective_model` and `model`,
            and with `best_f` by that model.

        Raises:
            InvalidInputError: If there are outcome constraints, or parameters that are no numbers.
        """
        X, Y = self._data_for("spectral_mixture")
        if not torch.equal(self.features(X), X):
            raise InvalidInputError(
                "surrogate: 'spectral_mixture' knows Float and Int parameters of at least two values only; fix the "
                "others, or leave it out."
            )
        model = SpectralMixtureGP(X, Y)
        model.fit(max_iterations=_SPECTRAL_ITERATIONS)
        model.requires_grad_(False)
        best_f = float(model.posterior(self.X_baseline).mean.max())
        return replace(self, model=model, objective_model=model, best_f=best_f)

    def _data_for(self, surrogate: str) -> tuple[Tensor, Tensor]:
        """What the objective's model is fitted to, `n x d` and `n x 1`, for a surrogate without constraints."""
        if self.constraints is not None:
            raise InvalidInputError(
                f"surrogate: {surrogate!r} knows no outcome constraints; leave it out, or leave subject_to= out."
            )
        fitted = self.objective_model
        if isinstance(fitted, FullyBayesianGP):
            raise InvalidInputError(f"surrogate: {surrogate!r} takes a fitted model's place, not another's.")
        (X,) = fitted.train_inputs
        return X, fitted.train_targets[:, None]

    def multi_task_model(self, old_X: Tensor | FloatArray, old_Y: Tensor | FloatArray) -> MultiTaskGP:
        """A model of this study's objective that learns from an older one as far as the two go together.

        Lengthscales come from whichever study has more trials and noise from each; only the covariance between the two
        objectives is fitted to both. Where they agree, three trials and 40 old ones predicted a quadratic bowl with 3
        to 40 times less error than the three alone; an old study that has nothing to do with this one misleads.

        Args:
            old_X: The older study's trials in this study's unit cube, `o x d`, by `space.encode(params)`.
            old_Y: Their objective, `o` or `o x 1`, in any unit, turned so that larger is better.

        Returns:
            A model at this study's task, on a scale where its objective has mean 0 and standard deviation 1.
        """
        X = (self.train_X, torch.as_tensor(old_X).to(self.train_X))
        Y = (self.train_Y[:, :1], torch.as_tensor(old_Y).to(self.train_Y).reshape(-1, 1))
        y = [(values - values.mean()) / values.std(correction=0).clamp_min(_LEAST_SPREAD) for values in Y]
        alone = [ExactGP(self.features(points), values).fit() for points, values in zip(X, y, strict=True)]
        shape = alone[int(len(X[1]) > len(X[0]))].lengthscales
        matern = MaternKernel(nu=2.5, ard_num_dims=len(shape))
        matern.lengthscale = shape
        model = MultiTaskGP(
            torch.cat([pad(points, (0, 1), value=float(task)) for task, points in enumerate(X)]),
            torch.cat(y),
            train_Yvar=torch.cat([single.noise_variances for single in alone]),
            task_feature=-1,
            output_tasks=[0],
            covar_module=MappedKernel(matern.requires_grad_(False), self.features),
            outcome_transform=None,
        )
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        return model.requires_grad_(False).eval()


def botorch_problem(
    surrogate: Surrogate, pending: FloatArray, rng: np.random.Generator, *, believe: bool = False
) -> BoTorchProblem:
    """Convert the models of a history.

    Args:
        surrogate: The fitted models; the objective's must exist.
        pending: Trials without an outcome, `p x d`.
        rng: Draws candidates and seed.
        believe: Whether pending trials are taken to bring just what is expected, for acquisition functions that cannot
            be told of them otherwise; none of them is pending then.

    Returns:
        The problem.

    Raises:
        ValueError: If no trial was told, so that there is no objective model.
    """
    if surrogate.objective is None:
        raise ValueError("a BoTorch problem needs the objective's model; tell a trial first.")
    history = surrogate.history
    objective = without_hope_at_failures(surrogate, surrogate.objective)
    margins = [model for model in surrogate.constraints if model is not None]
    mean, feasible = surrogate.told_mean_sd[0], surrogate.told_probability_feasible >= 0.5
    best_f = float(mean[feasible].max()) if feasible.any() else float(mean.min())
    if believe and len(pending):
        Z = surrogate.features(pending)
        believed, *margins_believed = (model.predictor.predict(Z).mean[:, 0] for model in [objective, *margins])
        holds = np.all([np.ones(len(Z), dtype=bool), *(margin <= 0 for margin in margins_believed)], axis=0)
        best_f = float(believed[holds].max(initial=best_f))
        objective = _after(objective, Z, believed)
        margins = [_after(model, Z, margin) for model, margin in zip(margins, margins_believed, strict=True)]
    convert = _Converter(surrogate, np.vstack([history.X, history.failed, pending]))
    models = [convert(model) for model in [objective, *margins]]
    promising = surrogate.promising_rows(MAX_BASELINE)
    candidates = draw_pool(history.space, history.X[promising[:N_INCUMBENTS]], rng)
    d = history.space.dim
    tensor = surrogate.tensor
    return BoTorchProblem(
        model=ModelListGP(*models) if margins else models[0],
        objective_model=models[0],
        train_X=tensor(history.X),
        train_Y=tensor(np.column_stack([history.objective, history.constraints])),
        X_baseline=tensor(history.X[np.sort(promising)]),
        X_pending=tensor(pending) if len(pending) and not believe else None,
        bounds=tensor(np.stack([np.zeros(d), np.ones(d)])),
        candidates=tensor(candidates if len(candidates) else history.X),
        objective=GenericMCObjective(_first_output),
        constraints=[_output(k) for k in range(1, len(models))] or None,
        best_f=best_f,
        seed=int(rng.integers(2**31)),
        features=convert.features,
    )


def _after(model: ExactGP, Z: FloatArray, values: FloatArray) -> ExactGP:
    """A model after noisy observations of given values."""
    return model.condition_on_observations(
        torch.as_tensor(Z).to(model.train_X), torch.as_tensor(values).to(model.train_Y)[:, None]
    )


def _first_output(samples: Tensor, X: Tensor | None = None) -> Tensor:
    return samples[..., 0]


def _output(k: int) -> Callable[[Tensor], Tensor]:
    return lambda samples: samples[..., k]


class _Converter:
    """Turns a model on features into one on points, by finding the point that each of its rows was made from."""

    def __init__(self, surrogate: Surrogate, points: FloatArray) -> None:
        self._surrogate = surrogate
        self._points = points
        # Of several points with the same features any will do: the kernel cannot tell them apart.
        self._row = {z.tobytes(): row for row, z in enumerate(surrogate.features(points))}
        self.features = torch_features(surrogate.features)

    def __call__(self, model: ExactGP) -> SingleTaskGP:
        rows = [self._row[z.tobytes()] for z in model.train_X.cpu().numpy()]
        return to_single_task_gp(model, train_X=self._surrogate.tensor(self._points[rows]), mapping=self.features)


def torch_features(features: FeatureMap) -> Mapping:
    """A feature map as a differentiable function of tensors, for batches of any shape.

    Args:
        features: From `m x d` points to `m x F` features.

    Returns:
        From `... x d` to `... x F`.
    """

    def mapping(X: Tensor) -> Tensor:
        result: Tensor = _Features.apply(X, features)
        return result

    return mapping


class _Features(torch.autograd.Function):
    @staticmethod
    @override
    def forward(ctx: Any, X: Tensor, features: FeatureMap) -> Tensor:
        ctx.save_for_backward(X)
        ctx.features = features
        Z = features(_flat(X))
        return torch.as_tensor(Z).to(X).reshape(*X.shape[:-1], Z.shape[-1])

    @staticmethod
    @once_differentiable
    @override
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (X,) = ctx.saved_tensors
        grad_X = ctx.features.pullback(_flat(X), _flat(grad_outputs[0]))
        return torch.as_tensor(grad_X).to(X).reshape(X.shape), None


def _flat(X: Tensor) -> FloatArray:
    flat: FloatArray = X.detach().reshape(-1, X.shape[-1]).double().cpu().numpy()
    return flat
