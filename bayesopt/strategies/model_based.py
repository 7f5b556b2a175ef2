"""What the strategies with a model share: a space-filling start, one fit an ask, points chosen one after another."""

import importlib
import warnings
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from bayesopt.acquisition.local_search import MAX_EVALUATIONS, Acquisition
from bayesopt.acquisition.maximize import N_INCUMBENTS, is_untried, maximize
from bayesopt.acquisition.pool import N_SAMPLES
from bayesopt.explain.expectations import expectations
from bayesopt.problem.arguments import whole_number
from bayesopt.problem.priors import PriorOnCube
from bayesopt.record.history import History
from bayesopt.strategies.base import Suggestion
from bayesopt.strategies.chosen import Chosen
from bayesopt.strategies.space_filling import sobol_point

if TYPE_CHECKING:
    from bayesopt.surrogate import Surrogate

FloatArray = NDArray[np.float64]

MAX_INITIAL: Final = 20
"""Most points of the start, whatever the dimension: beyond it a rough model learns more from a trial."""
MIN_TOLD: Final = 2
"""Outcomes that a model needs; until they are there, however many trials broke or are pending, the start goes on."""
N_FANTASIES: Final = 16
"""Joint pretended outcomes of the pending trials over which the improvement is averaged."""
REGION_SIDE: Final = 0.3
"""Side of the box around the incumbent that a search which stands still is kept in every second time."""
DENSE: Final = 100
"""Told trials from which on fewer points are looked at before the search, so that an ask's time stays bounded."""
LOOSE: Final = 1e-4, 16
"""Gain in log expected improvement at which the search for the next point ends, and its evaluations at most: four times
as many gained 0.002 on average over 300 asks, nothing that a trial could tell."""
TIGHT: Final = 1e-6, MAX_EVALUATIONS
"""The same where constraints meet in a narrow corner: at 1e-3 the speed reducer was left with 30 times the regret."""


class ModelBased(ABC):
    """A start without a model, then what a subclass chooses by one.

    The first trial is the mode of the user's belief, the best by the user's law, or the middle of the space, which with
    a law comes second. A scrambled Sobol sequence follows up to `n_initial` trials. From then on the models are fitted
    at every ask. Trials asked together are chosen one after another, each knowing the ones before as pending.
    """

    def __init__(self, n_initial: int | None = None) -> None:
        """Choose the length of the start.

        Args:
            n_initial: Trials of the start; None for `min(2 d, d + 4, 20)`.

        Raises:
            InvalidInputError: If it is negative or no whole number.
        """
        self.n_initial = None if n_initial is None else whole_number("n_initial", n_initial, at_least=0)

    def suggest(self, history: History, n: int, rng: np.random.Generator) -> list[Suggestion]:
        """Configurations to try next, as in `Strategy.suggest`.

        Args:
            history: What was told, what is pending and what broke.
            n: How many to propose.
            rng: Draws the candidates and the fantasies.

        Returns:
            Up to n configurations. A model that breaks down warns, and space-filling points stand in.
        """
        chosen = Chosen()
        n_left = max(0, self._n_start(history) - n_started(history))
        n_start = n if len(history.X) < MIN_TOLD else min(n, n_left)
        memory: dict[str, Any] = {}
        if self._fill(history, n_start, chosen, rng) and len(chosen) < n:
            try:
                memory = self._improve(history, n, chosen, rng)
            except ArithmeticError as error:
                message = f"The model broke down; a space-filling point is taken: {error}"
                warnings.warn(message, RuntimeWarning, stacklevel=3)
                self._fill(history, n, chosen, rng, after="fallback")
        return [
            Suggestion(history.space.decode(u), memory or None, chosen.grounds(k) or None) for k, u in enumerate(chosen)
        ]

    def load(self, n_trials: int) -> None:
        """Import what asks need once the start is over: that takes seconds, for which nobody should have to wait.

        Args:
            n_trials: Trials that there are; the first few asks need nothing yet.
        """
        if n_trials >= MIN_TOLD:
            importlib.import_module("bayesopt.surrogate")

    def _n_start(self, history: History) -> int:
        """Trials of the start."""
        d = history.space.dim
        return min(2 * d, d + 4, MAX_INITIAL) if self.n_initial is None else self.n_initial

    def _fill(self, history: History, n: int, chosen: Chosen, rng: np.random.Generator, after: str = "sobol") -> bool:
        """Add points of the start until there are n; False when the space has no more. `after` names the later ones."""
        while len(chosen) < n:
            tried = np.vstack([history.tried, *chosen])
            index = history.n_asked + len(chosen)
            name, u = self._guess(history, index)
            if u is None or not is_untried(u, tried):
                name, u = after, sobol_point(history.space, index, history.seed, tried, rng)
            if u is None:
                return False
            chosen.append(u)
            chosen.note(start={"point": name, "number": index + 1, "of": self._n_start(history)})
        return True

    def _guess(self, history: History, index: int) -> tuple[str, FloatArray | None]:
        """The trial of the start that the Sobol sequence leaves out; None to take the sequence's.

        Args:
            history: What was told, what is pending and what broke.
            index: How many trials were asked before.

        Returns:
            What it is, and the point. At index 0, the most believed one, the best by a law, or the middle of the space,
            `d`; with a law the middle at index 1; None elsewhere, or where it is not allowed.
        """
        if index == 1 and history.law is not None:
            return "middle", middle(history)  # a wrong law then costs one trial
        if index > 0:
            return "sobol", None
        modes = [mode for prior in history.priors if (mode := prior.mode()) is not None]
        if not modes and history.law is not None:
            return "law", history.law.best(history.outcomes.objective.sign)
        return ("mode", likeliest(history, modes)) if modes else ("middle", middle(history))

    def _improve(self, history: History, n: int, chosen: Chosen, rng: np.random.Generator) -> dict[str, Any]:
        """Add points that the models call for until there are n, or the space has no more.

        Args:
            history: What was told, what is pending and what broke.
            n: How many points there shall be.
            chosen: Where they are added.
            rng: Draws whatever is random.

        Returns:
            What the next call starts from.
        """
        # late: these bring torch, which a study that only stores and shows trials never needs
        from bayesopt.surrogate import fit_surrogate
        from gp.threads import single_threaded

        with single_threaded():
            surrogate = fit_surrogate(history)
            first = len(chosen)
            more = self._choose(surrogate, history, n, chosen, rng)
            if len(chosen) > first:
                chosen.expect(first, expectations(surrogate, np.array(chosen[first:])))
        return {"fits": surrogate.memory} | more

    @property
    def takes_every_belief(self) -> bool:
        """Whether beliefs that name no place of the optimum count."""
        return False

    @property
    def takes_law(self) -> bool:
        """Whether its models can hold a law in their mean."""
        return True

    @abstractmethod
    def _choose(
        self, surrogate: "Surrogate", history: History, n: int, chosen: Chosen, rng: np.random.Generator
    ) -> dict[str, Any]:
        """Add points by the fitted models until there are n, or the space has no more.

        Args:
            surrogate: The fitted models; of a long history they know a part.
            history: The whole of it.
            n: How many points there shall be.
            chosen: Where they are added.
            rng: Draws whatever is random.

        Returns:
            What the next call may read besides the fits, JSON values by name.
        """


class UtilityBased(ModelBased):
    """Maximises an acquisition function of the loop, which a subclass makes anew for every trial.

    A search that stands still gets every second trial close to home, where a global model may miss what a denser look
    finds; the other half goes on everywhere.
    """

    @override
    def _choose(
        self, surrogate: "Surrogate", history: History, n: int, chosen: Chosen, rng: np.random.Generator
    ) -> dict[str, Any]:
        incumbents = surrogate.history.X[surrogate.promising_rows(N_INCUMBENTS)]
        most_pending = len(history.pending) + n
        n_outcomes = 1 + len(history.outcomes.constraints)
        normals = rng.standard_normal((n_outcomes, most_pending, N_FANTASIES))
        tolerance, max_evaluations = TIGHT if history.outcomes.constraints else LOOSE
        while len(chosen) < n:
            pending = np.vstack([history.pending, *chosen])
            tried = np.vstack([history.tried, *chosen])
            region = trust_region(history, incumbents) if len(tried) % 2 == 0 else None
            exact, guide = self._acquisition(surrogate, pending, normals[:, : len(pending)], rng)
            u = maximize(
                exact,
                history.space,
                incumbents,
                tried,
                rng,
                guide=guide,
                region=region,
                likely=None if surrogate.belief is None else surrogate.belief.likely,
                n_samples=n_samples(len(history.X)),
                tolerance=tolerance,
                max_evaluations=max_evaluations,
                follows=bool(history.outcomes.constraints),
            )
            if u is None:
                break
            chosen.append(u)
            if region is not None:
                chosen.note(around=int(surrogate.history.ids[surrogate.promising_rows(1)[0]]))
        return {}

    @abstractmethod
    def _acquisition(
        self, surrogate: "Surrogate", pending: FloatArray, normals: FloatArray, rng: np.random.Generator
    ) -> tuple[Acquisition, Acquisition | None]:
        """What the next trial maximises, and a cheaper guide to it.

        Args:
            surrogate: The fitted models.
            pending: Trials without an outcome, `p x d`.
            normals: Draw their outcomes, as in `LogUtility`.
            rng: Draws what else is random.

        Returns:
            The acquisition function, and the guide or None, as `maximize` takes them.
        """


def n_samples(n_told: int) -> int:
    """Points that are looked at before a search, fewer once many trials were told."""
    return int(np.clip(N_SAMPLES * DENSE // max(1, n_told), N_SAMPLES // 4, N_SAMPLES))


def trust_region(history: History, incumbents: FloatArray) -> FloatArray | None:
    """A box around the incumbent, `2 x d`, once as many trials as there are dimensions were told without a better one.

    Args:
        history: What was told.
        incumbents: The most promising told trials, `k x d`, the best of them first.

    Returns:
        Lower and upper bounds, or None while the search moves on.
    """
    best = history.best_observed
    if best is None or len(history.X) - 1 - best < history.space.dim:
        return None
    return np.clip(incumbents[0] + 0.5 * REGION_SIDE * np.array([[-1.0], [1.0]]), 0.0, 1.0)


def n_started(history: History) -> int:
    """Trials that count for the start: of every fate, so that failures cannot hold it up, and from elsewhere, too."""
    return max(history.n_asked, len(history.tried))


def likeliest(history: History, modes: list[FloatArray]) -> FloatArray | None:
    """The most believed of some points, `d`; None where none is allowed."""
    allowed = [mode for mode in modes if history.space.is_allowed(mode[None])]
    if not allowed:
        return None
    places = [prior for prior in history.priors if isinstance(prior, PriorOnCube)]
    belief = [sum(float(prior.log_density(mode[None])[0]) for prior in places) for mode in allowed]
    return allowed[int(np.argmax(belief))]


def middle(history: History) -> FloatArray | None:
    """The middle of the space, `d`; None where it is not allowed."""
    space = history.space
    point: FloatArray = space.snap(np.full((1, space.dim), 0.5))
    return point[0] if space.is_allowed(point)[0] else None
