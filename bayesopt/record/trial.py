"""One configuration and what became of it."""

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from typing_extensions import override

from bayesopt.record.grounds import sentence

State = Literal["queued", "pending", "complete", "failed"]
Source = Literal["asked", "enqueued", "external", "confirmation"]


class Home(Protocol):
    """Where a trial belongs: it takes the trial's learning curve and says whether going on is worth it."""

    @property
    def name(self) -> str:
        """The study's name."""
        ...

    @property
    def uid(self) -> str:
        """What tells the study from every other one."""
        ...

    def _report(self, trial_id: int, step: float, value: Any) -> None: ...

    def _should_stop(self, trial_id: int) -> bool: ...


@dataclass(frozen=True, eq=False)
class Trial:
    """A configuration, its state and its outcomes.

    A trial is a snapshot: `Study.tell` returns the next one. Two snapshots are equal when everything in them is.
    """

    id: int
    """Number within its study, from 0, never used twice."""
    params: dict[str, Any]
    """The configuration, as plain Python values."""
    state: State = "pending"
    """`queued` (enqueued, not asked for yet), `pending`, `complete` or `failed`."""
    values: dict[str, float | None] = field(default_factory=dict)
    """Outcomes told, by name; None where a constrained outcome could not be measured."""
    sd: dict[str, float] = field(default_factory=dict)
    """Known standard deviations of the outcomes' noise, by name, in the outcomes' units."""
    cost: float | None = None
    """What it cost, in the user's unit."""
    meters: dict[str, float] = field(default_factory=dict)
    """What it cost on meters with a name of their own: `money`, `seconds`, `tokens`."""
    killed: bool = False
    """Whether it was killed at a limit, so that it would have cost more."""
    reason: str | None = None
    """Why it failed."""
    source: Source = "asked"
    """Whether a strategy proposed it, the user enqueued it, it was evaluated elsewhere, or repeats the best one."""
    lost: bool = False
    """True when it failed because nobody evaluates it any more: its outcome can still be told."""
    created_at: float | None = None
    """When it was proposed, enqueued or told from elsewhere, in seconds since 1970."""
    asked_at: float | None = None
    """When it was handed out, in seconds since 1970."""
    told_at: float | None = None
    """When its outcome or failure was recorded, in seconds since 1970."""
    owner: str | None = None
    """Which process asked for it: `host:pid:token`; the token tells it from a later process with the same number."""
    memory: dict[str, Any] | None = field(default=None, repr=False)
    """What its strategy remembered when it proposed it; JSON."""
    grounds: dict[str, Any] | None = field(default=None, repr=False)
    """What was known when it was proposed, JSON as `bayesopt.record.grounds` describes it; None where none was."""
    _study: Home | None = field(default=None, repr=False)

    @property
    def why(self) -> str:
        """Why it was proposed, in one sentence; the numbers are those of that moment, in the outcomes' units."""
        return sentence(self.source, self.grounds)

    @property
    def charges(self) -> dict[str, float]:
        """What it cost, by meter."""
        return self.meters if self.cost is None else {"cost": self.cost} | self.meters

    def report(self, step: float, value: Any) -> None:
        """Record one point of the learning curve of the objective.

        Args:
            step: How far the run is: epochs, tokens, iterations; not negative. Reported twice, it keeps the last value.
            value: The objective at that step, in its own units.
        """
        self._monitor._report(self.id, step, value)

    def should_stop(self) -> bool:
        """Whether the curve reported so far says that the run is not worth finishing.

        Returns:
            True to stop; tell the trial's last value then.
        """
        return self._monitor._should_stop(self.id)

    @property
    def _monitor(self) -> Home:
        if self._study is None:
            raise RuntimeError(f"trial {self.id} does not belong to an open study; take it from Study.ask or .trials.")
        return self._study

    @override
    def __eq__(self, other: object) -> bool:
        """Whether both are the same snapshot of the same trial."""
        if not isinstance(other, Trial):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in _COMPARED)

    @override
    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: everything but the open study, which stays in its process."""
        return self.__dict__ | {"_study": None}

    @override
    def __hash__(self) -> int:
        """Hash of the id."""
        return hash(self.id)


def copied(value: Any) -> Any:
    """A value of JSON whose dicts and lists may be changed without changing the original's."""
    if isinstance(value, dict):
        return {name: copied(part) if isinstance(part, _CONTAINERS) else part for name, part in value.items()}
    if isinstance(value, list):
        return [copied(part) if isinstance(part, _CONTAINERS) else part for part in value]
    return value


_CONTAINERS = (dict, list)


_COMPARED = tuple(name for name in Trial.__dataclass_fields__ if not name.startswith("_"))
