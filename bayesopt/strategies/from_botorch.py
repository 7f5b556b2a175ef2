"""Any acquisition function of BoTorch as a strategy: `Study(..., strategy=FromBoTorch(lambda p: ...))`.

`p` is a `bayesopt.acquisition.BoTorchProblem`: the fitted models, the told and pending trials, the bounds and the
constraints, in BoTorch's types. The one line that each acquisition function needs:

    # noisy expected improvement under constraints
    qLogNoisyExpectedImprovement(p.model, p.X_baseline, objective=p.objective, constraints=p.constraints)

    # expected improvement under constraints
    qLogExpectedImprovement(p.model, p.best_f, objective=p.objective, constraints=p.constraints)

    # knowledge gradient
    qKnowledgeGradient(p.objective_model, num_fantasies=32, current_value=p.best_f)

    # max-value entropy search
    qLowerBoundMaxValueEntropy(p.objective_model, p.candidates)

    # joint entropy search
    qJointEntropySearch(p.objective_model, *get_optimal_samples(p.objective_model, p.bounds, num_optima=16))

    # risk-averse: the mean of the worst 30 % of the outcomes at the point plus `errors`, `w x d` in sides of the cube
    qLogNoisyExpectedImprovement(p.perturbed(errors), p.X_baseline, objective=CVaR(0.7, n_w=len(errors)))

    # risk-averse: the outcome that 70 % of those are better than
    qLogNoisyExpectedImprovement(p.perturbed(errors), p.X_baseline, objective=VaR(0.7, n_w=len(errors)))

    # multi-task: learns from an older study, `old_X` by `space.encode(params)` and `old_Y` in the sense of `p.train_Y`
    qLogNoisyExpectedImprovement(p.multi_task_model(old_X, old_Y), p.X_baseline)

They come from these modules:

    from botorch.acquisition.joint_entropy_search import qJointEntropySearch
    from botorch.acquisition.knowledge_gradient import qKnowledgeGradient
    from botorch.acquisition.logei import qLogExpectedImprovement, qLogNoisyExpectedImprovement
    from botorch.acquisition.max_value_entropy_search import qLowerBoundMaxValueEntropy
    from botorch.acquisition.risk_measures import CVaR, VaR
    from botorch.acquisition.utils import get_optimal_samples
"""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from bayesopt.errors import InvalidInputError
from bayesopt.record.history import History
from bayesopt.strategies.chosen import Chosen
from bayesopt.strategies.model_based import ModelBased

if TYPE_CHECKING:
    from botorch.acquisition.acquisition import AcquisitionFunction

    from bayesopt.acquisition.botorch_problem import BoTorchProblem
    from bayesopt.surrogate import Surrogate

FloatArray = NDArray[np.float64]

_SURROGATES: Final = ("fitted", "fully_bayesian", "spectral_mixture")
"""The last two are methods of `BoTorchProblem`."""


class FromBoTorch(ModelBased):
    """Maximises an acquisition function that the user makes anew for every trial.

    It starts as `ExpectedImprovement` does. Then, for each trial, the models are fitted and converted, the acquisition
    function is made, and it is maximised over the space whatever its kind: only allowed configurations, none twice.
    Where numbers break down, a space-filling point is taken with a warning; a mistake in `make` is raised.

    What this takes into account without a word in `make`: pending trials, those chosen before in the same batch among
    them (`set_X_pending`; an acquisition function without it is made from models that take what is expected for told);
    failed trials, as bringing nothing new, and the chance that a trial survives; beliefs about the optimum's place;
    known and learned noise. Outcome constraints it takes into account where `make` hands them on.

    References: Balandat et al. 2020, "BoTorch: A Framework for Efficient Monte-Carlo Bayesian Optimization".

    Example:
        >>> from botorch.acquisition.analytic import LogExpectedImprovement
        >>> strategy = FromBoTorch(lambda p: LogExpectedImprovement(p.objective_model, p.best_f))
    """

    def __init__(
        self,
        make: "Callable[[BoTorchProblem], AcquisitionFunction]",
        *,
        n_initial: int | None = None,
        surrogate: Literal["fitted", "fully_bayesian", "spectral_mixture"] = "fitted",
    ) -> None:
        """Choose the acquisition function.

        Args:
            make: Makes it from a `BoTorchProblem`. It may draw from torch's global generator, which is seeded for the
                call and then put back, for every thread of the process; it should depend on nothing else that changes,
                so that a resumed study asks what an uninterrupted one would.
            n_initial: Trials of the start; None for `min(2 d, d + 4, 20)`.
            surrogate: "fitted" for the likeliest hyperparameters; "fully_bayesian" for a `gp.FullyBayesianGP` as
                `p.objective_model` and `p.model`, which averages over them: about a second an ask, without outcome
                constraints, and for acquisition functions that make no fantasies; "spectral_mixture" for a
                `gp.SpectralMixtureGP` there, where the objective oscillates: a space of numbers, likewise without
                outcome constraints.

        Raises:
            InvalidInputError: If `make` cannot be called, the surrogate is another, or `n_initial` is negative or no
                whole number.
        """
        super().__init__(n_initial)
        if not callable(make):
            raise InvalidInputError(
                f"make: expected a function from a BoTorchProblem to an acquisition function, got {make!r}."
            )
        if surrogate not in _SURROGATES:
            raise InvalidInputError(
                f"surrogate: expected one of {', '.join(map(repr, _SURROGATES))}, got {surrogate!r}."
            )
        self.make = make
        self.surrogate = surrogate

    @property
    @override
    def takes_law(self) -> bool:
        """Whether its models can hold a law in their mean."""
        return False

    @override
    def _choose(
        self, surrogate: "Surrogate", history: History, n: int, chosen: Chosen, rng: np.random.Generator
    ) -> dict[str, Any]:
        # late: these bring torch, which a study that only stores and shows trials never needs
        from linear_operator.utils.warnings import NumericalWarning

        from bayesopt.acquisition.botorch_utility import NUMERICAL_ERRORS, best_point, make_acquisition
        from inference.seeding import seeded

        def make(problem: "BoTorchProblem") -> "AcquisitionFunction":
            return self.make(problem if self.surrogate == "fitted" else getattr(problem, self.surrogate)())

        with seeded(int(rng.integers(2**31))), warnings.catch_warnings():
            # Joint posteriors of points that nearly coincide are singular in floats; jitter is what they get.
            warnings.simplefilter("ignore", NumericalWarning)
            warnings.filterwarnings("ignore", "Sparse invariant checks")  # multi-task models index that way
            while len(chosen) < n:
                pending = np.vstack([history.pending, *chosen])
                tried = np.vstack([history.tried, *chosen])
                try:
                    acquisition, problem = make_acquisition(make, surrogate, pending, rng)
                    u = best_point(acquisition, problem, surrogate, tried, rng)
                except InvalidInputError:
                    raise
                except NUMERICAL_ERRORS as error:
                    raise ArithmeticError(f"{type(error).__name__}: {error}") from error
                if u is None:
                    break
                chosen.append(u)
        return {}
