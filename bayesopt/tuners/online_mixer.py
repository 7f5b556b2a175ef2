"""Mixtures that change while one model trains: Aioli, and the methods that are special cases of its update.

Alphabet. m: groups. p: proportions, `m`. L: the groups' validation losses, `m`. w: their weights in the target, `m`,
which sum to 1. A: interactions, `m x m`; over a stretch of training the linear dynamic law says

    L_i(after) = L_i(before) - sum_j A_ij p_j.

Every method estimates A in its own way and then moves by an exponentiated gradient,

    p_j proportional to base_j exp(eta sum_i m w_i A_ij),

whose base is p itself or, where A is smoothed or summed over time already, equal shares.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesopt.errors import InvalidInputError
from bayesopt.problem.arguments import non_negative, whole_number

FloatArray = NDArray[np.float64]

_DOREMI_FLOOR: Final = 1e-3
"""Share of equal proportions that DoReMi mixes in."""


class OnlineMixer:
    """Says how to mix the groups next, from losses that you measure; it owns no model and trains nothing.

    The constructor is Aioli: a round of `update_steps` training steps begins with sweeps over the groups that train a
    few steps with more of one group each, which is part of the training, and solves for A from what that did to every
    loss. `doremi`, `skill_it` and `doge` estimate A otherwise and need no sweeps.

    A sums to 1 here, so that the shares of two groups never differ by more than a factor `exp(eta m max(w))`: safe, and
    why gains are small. None of these methods beats equal shares always; run those beside it.

    Reference: Chen et al., "Aioli: A Unified Optimization Framework for Language Model Data Mixing"; Xie et al.,
    "DoReMi"; Chen et al., "Skill-it!"; Fan et al., "DoGE".

    Example:
        >>> losses = np.array([3.0, 3.0])
        >>> A = np.array([[0.02, 0.0], [0.01, 0.001]])       # in 5 steps; group 0 teaches both
        >>> mixer = OnlineMixer(2, eta=1.0, ema=0.0, h=0.75, rounds=1, steps=5, update_steps=100)
        >>> for p, n_steps in mixer.plan():                  # train n_steps on p, then tell the losses
        ...     losses = losses - n_steps / 5 * A @ p
        ...     mixer.observe(losses)
        >>> mixer.proportions.round(3)
        array([0.718, 0.282])
    """

    def __init__(
        self,
        m: int,
        eta: float = 0.1,
        ema: float = 0.5,
        h: float = 0.5,
        rounds: int = 4,
        steps: int = 6,
        *,
        update_steps: int = 250,
        target: ArrayLike | None = None,
        seed: int = 0,
    ) -> None:
        """Aioli; the defaults are its authors' for three groups.

        Args:
            m: How many groups there are.
            eta: Step of the exponentiated gradient; 0.1 to 0.5, more for more groups.
            ema: What A keeps of its last value, from 0 to below 1.
            h: Share of the group whose turn it is in a sweep, above 1/m and below 1.
            rounds: Sweeps over all groups before each update.
            steps: Training steps of each turn.
            update_steps: Training steps from one update to the next, sweeps included.
            target: Weights of the groups' losses; None for equal ones.
            seed: Of the order of the turns.

        Raises:
            InvalidInputError: If a number cannot be used, or the sweeps take more than `update_steps`.
        """
        self.m = whole_number("OnlineMixer(m)", m, at_least=2)
        self._eta = non_negative("OnlineMixer(eta)", eta)
        self._ema = non_negative("OnlineMixer(ema)", ema)
        self._h = non_negative("OnlineMixer(h)", h)
        self._rounds = whole_number("OnlineMixer(rounds)", rounds, at_least=0)
        self._steps = whole_number("OnlineMixer(steps)", steps, at_least=1)
        self._update_steps = whole_number("OnlineMixer(update_steps)", update_steps, at_least=1)
        self._seed = whole_number("OnlineMixer(seed)", seed, at_least=0)
        if self._ema >= 1:
            raise InvalidInputError(f"OnlineMixer(ema): expected a number below 1, got {ema!r}.")
        if not 1 / self.m < self._h < 1:
            raise InvalidInputError(
                f"OnlineMixer(h): expected a share above 1/m = {1 / self.m:g}, at which all turns are the same, and "
                f"below 1, got {h!r}."
            )
        spare = self._update_steps - self._rounds * self.m * self._steps
        if spare < 0:
            raise InvalidInputError(
                f"OnlineMixer: {rounds} sweeps of {m} turns of {steps} steps do not fit update_steps={update_steps}; "
                "sweep less, or update more rarely."
            )
        weights = np.ones(self.m) if target is None else self._vector("OnlineMixer(target)", target)
        if not ((weights >= 0).all() and weights.sum() > 0):
            raise InvalidInputError(f"OnlineMixer(target): expected weights of at least 0, not all 0, got {target!r}.")
        self._weights = weights * self.m / weights.sum()
        self._spare = spare
        self._matrix: Callable[[FloatArray], FloatArray] | None = None  # of the losses; None measures A by sweeps
        self._keeps_base, self._floor = self._ema == 0, 0.0
        self._window: deque[FloatArray] = deque(maxlen=1)
        self._p = np.full(self.m, 1.0 / self.m)
        self._smoothed: FloatArray | None = None
        self._losses: FloatArray | None = None
        self._alignment: FloatArray | None = None
        self._is_stale = False
        self._n_rounds = 0

    @classmethod
    def doremi(cls, m: int, reference: ArrayLike, eta: float = 1.0, *, update_steps: int = 250) -> "OnlineMixer":
        """DoReMi: `A = diag(max(L - reference, 0))`, what a group could still learn teaches that group alone.

        Args:
            m: How many groups there are.
            reference: Losses of a reference model, `m`.
            eta: Step of the exponentiated gradient.
            update_steps: Training steps from one update to the next.

        Returns:
            A mixer.
        """
        mixer = cls(m, eta, 0.0, 0.75, rounds=0, update_steps=update_steps)
        excess_over = mixer._vector("OnlineMixer.doremi(reference)", reference)
        mixer._matrix = lambda losses: np.diag(np.maximum(losses - excess_over, 0.0))
        mixer._floor = _DOREMI_FLOOR
        return mixer

    @classmethod
    def skill_it(
        cls, m: int, graph: ArrayLike, eta: float = 0.2, *, window: int = 3, update_steps: int = 250
    ) -> "OnlineMixer":
        """Skill-it: `A_ij = graph_ij L_i`, summed over the last updates; the graph never changes.

        Args:
            m: How many groups there are.
            graph: `m x m`; [i, j] is what part of loss i training on group j alone took away.
            eta: Step of the exponentiated gradient.
            window: Updates that count.
            update_steps: Training steps from one update to the next.

        Returns:
            A mixer.

        Raises:
            InvalidInputError: If the graph is no such matrix.
        """
        mixer = cls(m, eta, 0.0, 0.75, rounds=0, update_steps=update_steps)
        edges = mixer._square("OnlineMixer.skill_it(graph)", graph)
        mixer._matrix = lambda losses: edges * losses[:, None]
        mixer._keeps_base = False
        mixer._window = deque(maxlen=whole_number("OnlineMixer.skill_it(window)", window, at_least=1))
        return mixer

    @classmethod
    def doge(cls, m: int, mu: float = 1.0, *, update_steps: int = 250) -> "OnlineMixer":
        """DoGE: `A_ij = <gradient of L_i, gradient of the training loss of group j>`, told with the losses.

        Args:
            m: How many groups there are.
            mu: What the inner products are divided by.
            update_steps: Training steps from one update to the next.

        Returns:
            A mixer; tell it `observe(losses, alignment=...)`.

        Raises:
            InvalidInputError: If `mu` is not positive.
        """
        if not non_negative("OnlineMixer.doge(mu)", mu) > 0:
            raise InvalidInputError(f"OnlineMixer.doge(mu): expected a positive number, got {mu!r}.")
        mixer = cls(m, 1.0 / mu, 0.0, 0.75, rounds=0, update_steps=update_steps)

        def told(losses: FloatArray) -> FloatArray:
            if mixer._alignment is None:
                raise InvalidInputError(
                    "OnlineMixer.doge: no inner products of gradients were told; call observe(losses, alignment=...)."
                )
            return mixer._alignment

        mixer._matrix = told
        return mixer

    @property
    def proportions(self) -> FloatArray:
        """The present mixture, `m`."""
        return self._p.copy()

    @property
    def interactions(self) -> FloatArray | None:
        """The A behind it, `m x m`; None before the first update."""
        return None if self._smoothed is None else self._smoothed.copy()

    def plan(self) -> Iterator[tuple[FloatArray, int]]:
        """One round: the stretches of training up to the next update, and from there the first with new proportions.

        Train each stretch and then call `observe`. If nothing has been observed yet, the first one has no step: it
        asks for the losses before training.

        Yields:
            Proportions, `m`, and how many steps to train on them.

        Raises:
            InvalidInputError: If a stretch was trained and not observed.
        """
        if self._losses is None:
            yield self._p.copy(), 0
        before = self._observed()
        if self._matrix is not None:
            self._update(self._matrix(before))
        elif self._rounds:
            rng = np.random.default_rng([self._seed, self._n_rounds])
            turns = np.full((self.m, self.m), (1.0 - self._h) / (self.m - 1))
            np.fill_diagonal(turns, self._h)
            gained = np.zeros((self.m, self.m))
            for _ in range(self._rounds):
                for j in rng.permutation(self.m):
                    self._is_stale = True
                    yield turns[j].copy(), self._steps
                    after = self._observed()
                    gained[:, j] += before - after
                    before = after
            self._update(_normalised(np.linalg.solve(turns, gained.T / self._rounds).T))
        self._n_rounds += 1
        if self._spare:
            self._is_stale = True
            yield self._p.copy(), self._spare

    def observe(self, losses: ArrayLike, *, alignment: ArrayLike | None = None) -> None:
        """Tell the validation losses as they are now.

        Args:
            losses: Of the groups, `m`.
            alignment: For DoGE, inner products of gradients, `m x m`: of loss i with the training loss of group j.

        Raises:
            InvalidInputError: If a number is missing or not finite.
        """
        told = self._vector("observe(losses)", losses)
        self._alignment = None if alignment is None else self._square("observe(alignment)", alignment)
        self._losses, self._is_stale = told, False

    def state_dict(self) -> dict[str, Any]:
        """What was learned, in JSON values; take it between rounds."""
        return {
            "proportions": self._p.tolist(),
            "interactions": None if self._smoothed is None else self._smoothed.tolist(),
            "window": [A.tolist() for A in self._window],
            "losses": None if self._losses is None else self._losses.tolist(),
            "n_rounds": self._n_rounds,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another mixer of the same declaration stopped.

        Args:
            state: What `state_dict` gave.

        Raises:
            InvalidInputError: If it is no such state; then nothing is changed.
        """
        try:
            p = self._vector("proportions", state["proportions"])
            smoothed = None if state["interactions"] is None else self._square("interactions", state["interactions"])
            window = [self._square("window", A) for A in state["window"]]
            losses = None if state["losses"] is None else self._vector("losses", state["losses"])
            n_rounds = int(state["n_rounds"])
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInputError(f"load_state_dict: this is no state of an OnlineMixer ({error}).") from None
        self._p, self._smoothed, self._losses, self._n_rounds = p, smoothed, losses, n_rounds
        self._window = deque(window, maxlen=self._window.maxlen)
        self._is_stale = False

    def _observed(self) -> FloatArray:
        if self._losses is None or self._is_stale:
            raise InvalidInputError(
                "OnlineMixer.plan: the last stretch was not observed; call observe(losses) after training each."
            )
        return self._losses

    def _update(self, A: FloatArray) -> None:
        """The step that all methods share."""
        self._smoothed = A if self._smoothed is None else (1.0 - self._ema) * A + self._ema * self._smoothed
        self._window.append(self._smoothed)
        exponent = self._eta * (self._weights @ sum(self._window))
        base = self._p if self._keeps_base else np.full(self.m, 1.0 / self.m)
        moved = base * np.exp(exponent - exponent.max())
        self._p = (1.0 - self._floor) * moved / moved.sum() + self._floor / self.m

    def _vector(self, what: str, value: ArrayLike) -> FloatArray:
        return self._array(what, value, (self.m,))

    def _square(self, what: str, value: ArrayLike) -> FloatArray:
        return self._array(what, value, (self.m, self.m))

    def _array(self, what: str, value: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
        try:
            array = np.array(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise InvalidInputError(f"{what}: expected numbers, got {value!r}.") from None
        if array.shape != shape or not np.isfinite(array).all():
            raise InvalidInputError(f"{what}: expected finite numbers of shape {shape}, got {value!r}.")
        return array


def _normalised(A: FloatArray) -> FloatArray:
    """A without negative entries, which sums to 1."""
    shifted: FloatArray = A - min(A.min(), 0.0)
    total = shifted.sum()
    return shifted / total if total > 0 else np.full_like(A, 1.0 / A.size)
