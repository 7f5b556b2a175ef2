"""A Gaussian over the parameters of a trained network, and what it says of the network's predictions.

Alphabet. n: points. C: outputs f of the network. P: uncertain parameters. H: curvature of the log likelihood in them,
at scale 1. s: its scale. tau R: prior precision, R one number a module. V: covariance of f at a point, `n x C x C`.

The network is linearised in its parameters: `f(x) ~ N(f*(x), J (s H + tau R)^-1 J^T)`. Parameters are never drawn to
predict, as drawn weights of a network that was trained to a point predict far worse than it does.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from tqdm import tqdm

from inference.errors import InvalidInputError
from inference.laplace.network.batches import Batches, as_batches
from inference.laplace.network.groups import select, split_precision
from inference.laplace.network.hyperparameters import grid_maximum, log_volume_ratio
from inference.laplace.network.jacobians import Cotangents, Piece, linearise
from inference.laplace.network.likelihoods import NetLikelihood, Prediction, Regression
from inference.laplace.network.structures import Diagonal, Full, FunctionSpace, Kron, LastLayerFull, LowRank, Structure
from inference.laplace.network.structures.low_rank import DEFAULT_RANK
from inference.laplace.network.structures.structure import Projection
from inference.seeding import as_generator, normals

_STRUCTURES: Final[Mapping[str, type[Structure]]] = {
    "full": Full,
    "kron": Kron,
    "diag": Diagonal,
    "function_space": FunctionSpace,
    "low_rank": LowRank,
}
_LOG_2PI: Final = math.log(2.0 * math.pi)
_LOG10_TAU: Final = (-4.0, 6.0)
"""Where tau is looked for: from hardly any prior to one that leaves the weights no freedom."""
_LOG10_SCALE: Final = (-6.0, 6.0)
_LEAST_NOISE: Final = 1e-8
"""Least mean squared residual that a learned noise starts from."""
_MOST_DOUBLES: Final = 2**25
"""Entries of V held at once: 256 MB."""


class NetLaplace:
    """The Laplace approximation of a network's posterior.

    The network keeps its weights, which should be those of a mode of the posterior, and its training flags.

    References: MacKay 1992, "A Practical Bayesian Framework for Backpropagation Networks"; Daxberger et al. 2021,
    "Laplace Redux: Effortless Bayesian Deep Learning"; Immer, Korzepa and Bauer 2021, "Improving Predictions of
    Bayesian Neural Nets via Local Linearization".

    Example:
        >>> net = nn.Linear(1, 1).double()
        >>> X = torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None]
        >>> with torch.no_grad():
        ...     _ = net.weight.fill_(2.0), net.bias.zero_()
        >>> posterior = NetLaplace(net, Regression(noise_sd=0.1), "full").fit(X, 2.0 * X)
        >>> sd = posterior.predict(torch.tensor([[0.0], [9.0]], dtype=torch.float64)).f_variance.sqrt()
        >>> bool(sd[1] > 5 * sd[0])  # far from the data it knows less
        True
    """

    def __init__(
        self,
        net: nn.Module,
        likelihood: NetLikelihood,
        structure: Literal["full", "kron", "diag", "function_space", "low_rank"] = "kron",
        params: Literal["all", "last_layer"] | Sequence[str] = "all",
        *,
        fisher: Literal["ggn", "empirical"] = "ggn",
        prior_precision: float | Mapping[str, float] = 1.0,
        rank: int = DEFAULT_RANK,
        chunk: int = 256,
    ) -> None:
        """Say what is uncertain and how its curvature is kept.

        Args:
            net: From `n x ...` to `n x C`, batch first, trained; the device and dtype are those of its parameters.
            likelihood: Of the observations.
            structure: `"full"` for up to 10,000 parameters; `"kron"` a Kronecker product a layer and a dense block for
                other modules; `"diag"`; `"function_space"`, as full for few data; `"low_rank"`.
            params: Those that need a gradient, the last `nn.Linear`, or names as in `net.named_parameters()`.
            fisher: The generalised Gauss-Newton matrix, or the sum of squared gradients of the log likelihood.
            prior_precision: Inverse variance of each parameter about 0, or one a module by its name; `tune` keeps their
                ratios.
            rank: Eigenvectors of the structure `"low_rank"`.
            chunk: Points whose Jacobians are held at once: memory does not grow with the number of test points.

        Raises:
            InvalidInputError: If an option is unknown or does not fit the network.
        """
        if structure not in _STRUCTURES or fisher not in ("ggn", "empirical"):
            raise InvalidInputError(
                f"structure, fisher: expected one of {sorted(_STRUCTURES)} and of ['empirical', 'ggn'], got "
                f"{structure!r} and {fisher!r}."
            )
        if chunk < 1 or rank < 1:
            raise InvalidInputError(f"chunk, rank: expected at least 1, got {chunk} and {rank}.")
        self.net, self.likelihood, self.structure, self.fisher = net, likelihood, structure, fisher
        self.groups = select(net, params)
        self._is_last_layer = params == "last_layer"
        self._rank, self._chunk = rank, chunk
        self.tau, self._ratios = split_precision(self.groups, prior_precision)
        known = likelihood.noise_sd if isinstance(likelihood, Regression) else 1.0
        self.scale = 1.0 if known is None else known**-2
        self._learns_scale = known is None
        self._curvature: Structure | None = None
        self._sum_log_prob, self._n_values, self._n_points = 0.0, 0, 0

    # -- fitting --------------------------------------------------------------------------------------------------

    def fit(self, X: Tensor | Batches, Y: Tensor | None = None, *, progress: bool = False) -> "NetLaplace":
        """Collect the curvature.

        Args:
            X: Points, `n x ...`, or pairs of them for rewards, `n x 2 x ...`; or batches of points and observations.
            Y: Observations, as the likelihood says; None with batches.
            progress: Whether to show a bar over the batches.

        Returns:
            This object.

        Raises:
            InvalidInputError: If there are no data, the data cannot be used, or the structure cannot hold them.
        """
        batches = as_batches(X, Y, self._chunk, self._theta().device)
        self._curvature = None
        self._sum_log_prob, self._n_values, self._n_points = 0.0, 0, 0
        for x, y in batches:
            f, _ = self._linearise(x, [])
            self._sum_log_prob += float(self.likelihood.log_prob(f, y).sum())
            self._n_values, self._n_points = self._n_values + f.numel(), self._n_points + len(f)
        if self._n_values == 0:
            raise InvalidInputError("X: expected at least one point, got none.")
        if not torch.isfinite(torch.tensor(self._sum_log_prob)):
            raise InvalidInputError("X, Y: the log likelihood is not finite; look for nan in the data or the network.")
        if self._learns_scale:
            self.scale = self._n_values / max(self._squares(), _LEAST_NOISE * self._n_values)

        def passes() -> Iterator[list[Piece]]:
            for x, y in tqdm(batches, desc="curvature", disable=not progress):
                yield self._linearise(x, self.groups, self._root(y))[1]

        if self.structure == "low_rank":
            self._curvature = LowRank.fit(self.groups, self._ratios, passes, self._rank)
        else:
            self._curvature = self._structure_class.fit(self.groups, self._ratios, passes)
        return self

    def _root(self, y: Tensor) -> Cotangents:
        if self.fisher == "ggn":
            return lambda f: self.likelihood.curvature_root(f, y)
        return lambda f: self.likelihood.gradient(f, y)[:, :, None]

    def _linearise(
        self, x: Tensor, groups: Sequence[Any], cotangents: Cotangents | None = None, *, is_pairs: bool | None = None
    ) -> tuple[Tensor, list[Piece]]:
        is_pairs = self.likelihood.is_pairs if is_pairs is None else is_pairs
        direct = self._is_last_layer and not is_pairs and bool(groups)
        return linearise(self.net, groups, x, cotangents, is_pairs=is_pairs, is_last_layer=direct)

    def _squares(self) -> float:
        """Squared residuals of a regression, summed."""
        return -2.0 * self._sum_log_prob - self._n_values * _LOG_2PI

    # -- hyperparameters ------------------------------------------------------------------------------------------

    @property
    def prior_precision(self) -> dict[str, float]:
        """Inverse prior variance of the parameters of each module."""
        return {group.name: self.tau * r for group, r in zip(self.groups, self._ratios, strict=True)}

    @property
    def noise_variance(self) -> float:
        """Of a regression, in units of y squared; 1 for any other likelihood."""
        return 1.0 / self.scale

    @property
    def log_evidence(self) -> float:
        """Log probability of the data, by Laplace's approximation, at the present hyperparameters."""
        at = [torch.tensor([value], dtype=torch.float64) for value in (self.scale, self.tau)]
        return float(self._log_evidence(*at))

    def _log_evidence(self, scale: Tensor, tau: Tensor) -> Tensor:
        """Of `m` pairs of hyperparameters, `m`."""
        theta = self._theta() * self._fitted.root_ratios
        prior = -0.5 * tau * float(theta.square().sum())
        curvature_scale = scale if self.fisher == "ggn" else scale.square()
        volume = log_volume_ratio(self._fitted.spectrum, curvature_scale, tau).to(prior)
        return self._log_likelihood(scale) + prior + volume

    def _log_likelihood(self, scale: Tensor) -> Tensor:
        """Of all the data, at their mode."""
        if not isinstance(self.likelihood, Regression):
            return torch.full_like(scale, self._sum_log_prob)
        return 0.5 * (self._n_values * (scale.log() - _LOG_2PI) - scale * self._squares())

    def tune(
        self,
        method: Literal["evidence", "validation"] | None = None,
        validation: tuple[Tensor, Tensor] | None = None,
    ) -> "NetLaplace":
        """Choose the prior's width, and the noise of a regression that was not given one.

        The evidence needs no further data and tells strange inputs from familiar ones; validation makes probabilities
        of familiar ones calibrated. The curvature is not computed again.

        Args:
            method: None for the likelihood's own: validation for classes, evidence for the rest.
            validation: Points and observations that the network was not trained on; for `"validation"` only.

        Returns:
            This object.

        Raises:
            InvalidInputError: If `validation` is missing, or given and not used.
        """
        method = self.likelihood.tunes_by if method is None else method
        if method not in ("evidence", "validation") or (method == "validation") != (validation is not None):
            raise InvalidInputError(
                f"method: {method!r} with{'' if validation else 'out'} validation data. Give 'validation' with "
                "validation=(X, Y), or 'evidence' without; classification needs one of them by name or data."
            )
        fixed = torch.tensor(self.scale, dtype=torch.float64)
        bounds, sizes = [_LOG10_TAU], [81]
        if self._learns_scale:
            bounds, sizes = [_LOG10_TAU, _LOG10_SCALE], [41, 41]

        def at(point: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
            return (10.0 ** point[1] if self._learns_scale else fixed.expand(len(point[0]))), 10.0 ** point[0]

        if validation is None:
            best = grid_maximum(lambda point: self._log_evidence(*at(point)), bounds, sizes)
        else:
            score = self._validated(*validation)
            sizes = [21] if len(sizes) == 1 else [13, 13]
            best = grid_maximum(lambda point: score(*at(point)), bounds, sizes)
        self.tau = 10.0 ** best[0]
        if self._learns_scale:
            self.scale = 10.0 ** best[1]
        return self

    def _validated(self, X: Tensor, Y: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """The log probability that is predicted for data, as a function of the hyperparameters."""
        # projected once: a value then costs no pass through the network
        kept = [(f, projection, y) for (f, projection), y in zip(self._projected(X), Y.split(self._rows), strict=True)]
        method = next(iter(self.likelihood.methods))

        def total(scale: float, tau: float) -> float:
            generator = as_generator(0)  # the same draws everywhere: they are compared
            spread = [self._spread(projection, method, scale, tau) for _, projection, _ in kept]
            scores = [
                self.likelihood.log_predictive(f, V, y, generator, scale).sum()
                for (f, _, y), V in zip(kept, spread, strict=True)
            ]
            return float(torch.stack(scores).sum())

        def score(scales: Tensor, taus: Tensor) -> Tensor:
            values = [total(*pair) for pair in zip(scales.tolist(), taus.tolist(), strict=True)]
            return torch.tensor(values, dtype=torch.float64)

        return score

    # -- prediction -----------------------------------------------------------------------------------------------

    def predict(self, X: Tensor, method: str | None = None, *, seed: int | torch.Generator = 0) -> Prediction:
        """What will be observed, and how surely.

        Args:
            X: Points, `n x ...`; single ones also for rewards.
            method: `"glm"` for regressions and rewards; `"probit"`, `"bridge"` or `"mc"` for classes; `"mc"` for a
                likelihood of one's own; None for the first of these.
            seed: Of Monte Carlo draws.

        Returns:
            Means and variances, without a graph.

        Raises:
            InvalidInputError: If the likelihood has no such method, or `fit` was not called.
        """
        methods = self.likelihood.methods
        method = next(iter(methods)) if method is None else method
        if method not in methods:
            raise InvalidInputError(f"method: expected one of {list(methods)}, got {method!r}.")
        generator = as_generator(seed)
        parts = []
        for f, projection in self._projected(X, is_pairs=False):
            V = self._spread(projection, method, self.scale, self.tau)
            own = V if V.dim() == 2 else V.diagonal(dim1=1, dim2=2)
            parts.append((*self.likelihood.predict(f, V, method, generator, self.scale), f, own))
        return Prediction(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def covariance(self, X: Tensor) -> Tensor:
        """V, the covariance of the network's outputs at each point.

        Args:
            X: Points, `n x ...`.

        Returns:
            `n x C x C`.
        """
        at = self._curvature_scale(self.scale), self.tau
        return torch.cat([projection.covariance(*at) for _, projection in self._projected(X, is_pairs=False)])

    def _projected(self, X: Tensor, *, is_pairs: bool | None = None) -> Iterator[tuple[Tensor, Projection]]:
        """Outputs and ready test points, a chunk at a time."""
        if len(X) == 0:
            raise InvalidInputError("X: expected at least one point, got none.")
        curvature = self._fitted
        for x in X.split(self._rows):
            f, pieces = self._linearise(x, self.groups, is_pairs=is_pairs)
            yield f, curvature.project(pieces)

    @property
    def _rows(self) -> int:
        """Points at once: fewer where they have so many outputs that their covariances fill the memory."""
        n_outputs = self._n_values // max(self._n_points, 1)
        return max(1, min(self._chunk, _MOST_DOUBLES // n_outputs**2))

    def _spread(self, projection: Projection, method: str, scale: float, tau: float) -> Tensor:
        at = self._curvature_scale(scale), tau
        if self.likelihood.methods[method] == "variance":
            return projection.variance(*at)
        return projection.covariance(*at)

    def _curvature_scale(self, scale: float) -> float:
        """What H is multiplied by: squared gradients grow with the square of the scale."""
        return scale if self.fisher == "ggn" else scale**2

    @property
    def _fitted(self) -> Structure:
        if self._curvature is None:
            raise InvalidInputError("NetLaplace: call fit(X, Y) or load_state_dict(...) first.")
        return self._curvature

    # -- the posterior of the parameters --------------------------------------------------------------------------

    def _theta(self) -> Tensor:
        """Uncertain parameters, `P`: the posterior's mean."""
        known = {name: parameter.detach() for name, parameter in self.net.named_parameters()}
        return torch.cat([group.flatten(known) for group in self.groups])

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draws of the uncertain parameters, as rows that `parameters` names.

        Args:
            n: How many.
            generator: Of the draws.

        Returns:
            `n x P`.
        """
        theta = self._theta()
        z = normals((n, len(theta)), generator, theta)
        return theta + self._fitted.deviations(z, self._curvature_scale(self.scale), self.tau)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log densities of the Gaussian, normalised.

        Args:
            z: Rows of parameters, `m x P`.

        Returns:
            `m`.
        """
        at = self._curvature_scale(self.scale), self.tau
        return self._fitted.log_density(z - self._theta(), *at)

    def parameters(self, rows: Tensor) -> dict[str, Tensor]:
        """Rows of parameters by name, for `torch.func.functional_call`.

        Args:
            rows: `... x P`.

        Returns:
            `... x shape` by parameter's name.
        """
        like = dict(self.net.named_parameters())
        parts = rows.split([group.size for group in self.groups], -1)
        return {
            name: tensor
            for group, part in zip(self.groups, parts, strict=True)
            for name, tensor in group.unflatten(part, like).items()
        }

    @property
    def diagnostics(self) -> dict[str, Any]:
        """`log_evidence`, `n_parameters`, and `n_effective`: how many of them the data determine."""
        e = self._curvature_scale(self.scale) * self._fitted.spectrum
        return {
            "log_evidence": self.log_evidence,
            "n_parameters": len(self._theta()),
            "n_effective": float((e / (e + self.tau)).sum()),
        }

    # -- storage --------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All but the network: tensors, numbers and names, which `torch.load(..., weights_only=True)` reads."""
        return {
            "structure": self.structure,
            "fisher": self.fisher,
            "likelihood": type(self.likelihood).__name__,
            "parameters": [list(group.parameters) for group in self.groups],
            "theta": self._theta().clone(),
            "tau": self.tau,
            "ratios": list(self._ratios),
            "scale": self.scale,
            "sum_log_prob": self._sum_log_prob,
            "n_values": self._n_values,
            "n_points": self._n_points,
            "tensors": {name: tensor.clone() for name, tensor in self._fitted.tensors.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what was fitted earlier, to the bit.

        Args:
            state: Of an object with the same structure, likelihood and parameters, over a network with the same
                weights.

        Raises:
            InvalidInputError: If one of these differs; nothing is changed then.
        """
        for name, own in (
            ("structure", self.structure),
            ("fisher", self.fisher),
            ("likelihood", type(self.likelihood).__name__),
            ("parameters", [list(group.parameters) for group in self.groups]),
        ):
            if state[name] != own:
                raise InvalidInputError(f"state: its {name} is {state[name]!r}, that of this object is {own!r}.")
        theta = self._theta()
        if state["theta"].shape != theta.shape or not torch.equal(state["theta"].to(theta), theta):
            raise InvalidInputError("state: was fitted to other weights; load those into the network first.")
        self.tau, self._ratios, self.scale = state["tau"], list(state["ratios"]), state["scale"]
        self._sum_log_prob, self._n_values = state["sum_log_prob"], state["n_values"]
        self._n_points = state["n_points"]
        tensors = {name: tensor.to(theta).clone() for name, tensor in state["tensors"].items()}
        self._curvature = self._structure_class(self.groups, self._ratios, tensors)

    def to(self, device: torch.device | str) -> "NetLaplace":
        """The same elsewhere, over a copy of the network.

        Args:
            device: Where to.

        Returns:
            A new object.
        """
        moved = copy.copy(self)
        moved.net = copy.deepcopy(self.net).to(device)
        tensors = {name: tensor.to(device) for name, tensor in self._fitted.tensors.items()}
        moved._curvature = self._structure_class(self.groups, self._ratios, tensors)
        return moved

    @property
    def _structure_class(self) -> type[Structure]:
        if self._is_last_layer and self.structure == "full" and not self.likelihood.is_pairs:
            return LastLayerFull
        return _STRUCTURES[self.structure]
