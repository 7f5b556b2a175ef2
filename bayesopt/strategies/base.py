"""What a strategy is."""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from typing_extensions import override

from bayesopt.record.curves import Curves
from bayesopt.record.history import History


class Suggestion(dict[str, Any]):
    """A configuration to try, what its strategy wants to read again at its next call, and why it is proposed.

    Example:
        >>> suggestion = Suggestion({"lr": 0.1}, memory={"n_fits": 3})
        >>> suggestion, suggestion.memory
        ({'lr': 0.1}, {'n_fits': 3})
    """

    def __init__(
        self,
        params: Mapping[str, Any],
        memory: dict[str, Any] | None = None,
        grounds: Mapping[str, Any] | None = None,
    ) -> None:
        """A configuration with a memory and its grounds.

        Args:
            params: A value for every active parameter.
            memory: JSON: strings, numbers, booleans, None, and lists and dicts of them. Floats come back bit for bit,
                nan and infinities too; keys come back as strings and tuples as lists. None remembers nothing, and the
                memory of an earlier trial then stays the one to be read.
            grounds: Why it is proposed, JSON: `{"text": "a sentence"}`, which `trial.why` then is, or the parts that
                `bayesopt.record.grounds` names. None gives no reason.
        """
        super().__init__(params)
        self.memory, self.grounds = memory, grounds


class Strategy(Protocol):
    """Proposes configurations; keeps no state, so that a resumed study asks what an uninterrupted one would.

    What one call learned and the next one could use, such as where a fit ended, goes into a `Suggestion`'s memory. It
    is kept with the trial and comes back as `history.memory`, in this process or another.
    """

    def suggest(self, history: History, n: int, rng: np.random.Generator) -> Sequence[dict[str, Any]]:
        """Configurations to try next.

        Args:
            history: What was told, what is pending, what broke, and what was remembered.
            n: How many to propose; they are evaluated side by side, so they should suit one another.
            rng: The only source of randomness besides `history.seed`.

        Returns:
            Up to n different allowed configurations, none of which was tried; fewer when a finite space has no more.
            Each is a plain dict or a `Suggestion`, which carries a memory and says why; the last memory is the one read
            next.
        """
        ...


class EndingRule(Protocol):
    """Says of a study whether going on is worth it; a `StoppingRule` says that of one run."""

    def why_end(self, history: History, rng: np.random.Generator) -> str | None:
        """Why to end the search.

        Args:
            history: What was told, is pending, broke and was paid. The same history must give the same answer, in this
                process or another.
            rng: The only source of randomness.

        Returns:
            The reason in words, or None to go on.
        """
        ...


class StoppingRule(Protocol):
    """Says of a run that is under way whether it is worth finishing; an `EndingRule` says that of a study."""

    def should_stop(self, curves: Curves) -> bool:
        """Whether to stop a run.

        Args:
            curves: What was reported of it, and the curves of the trials that are complete. The same curves must give
                the same answer, in this process or another.

        Returns:
            True to stop.
        """
        ...


class CurveRule(StoppingRule):
    """What the rules that judge a curve share: nothing is known of an empty one, and one that is not finite is over."""

    @override
    def should_stop(self, curves: Curves) -> bool:
        """Whether to stop a run, as in `StoppingRule.should_stop`.

        Args:
            curves: Its curve and those that it is compared with.

        Returns:
            Whether its curve holds a value that is not finite, or is judged to be not worth finishing.
        """
        curve = curves.mine.curve
        if not curve:
            return False
        return not all(map(math.isfinite, curve.values())) or self._is_hopeless(curves)

    @abstractmethod
    def _is_hopeless(self, curves: Curves) -> bool:
        """Whether a run whose curve is finite and not empty is to be stopped."""
