"""What a study may ask next: how many trials, which configurations, and when nothing is left to ask."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from bayesopt.problem.budget import Budget
from bayesopt.problem.costs import KnownCosts, Prices
from bayesopt.problem.space import Space
from bayesopt.purse import LearnedCosts, Purse, account
from bayesopt.record.history import History, TrialRows
from bayesopt.record.ledger import Trials
from bayesopt.record.trial import Trial
from bayesopt.strategies.base import EndingRule

_MAX_ENUMERATED: Final = 100_000
"""Finite spaces up to this size are counted exactly, so that a study knows when nothing is left to try."""


class Admission:
    """Decides by a study's trials alone; what it keeps between calls saves time and changes nothing."""

    def __init__(
        self,
        space: Space,
        limit: Budget,
        rows: TrialRows,
        seed: int,
        history_of: Callable[[Sequence[Trial]], History],
        until: tuple[EndingRule, ...],
    ) -> None:
        """Nothing is spent yet.

        Args:
            space: What can be tried.
            limit: What may be spent.
            rows: Places of trials in the unit cube, computed once.
            seed: The study's.
            history_of: A history of trials, without what their costs say.
            until: What ends the search before the budget does.
        """
        self.space, self.limit = space, limit
        self._rows, self._seed, self._history_of, self._until = rows, seed, history_of, until
        self.known_costs = None if limit.cost_of is None else KnownCosts(space, limit.cost_of, limit)
        """What configurations cost, where the budget knows."""
        self._ran_dry_at: int | None = None
        self._n_configurations: int | None = None
        self._purse: tuple[list[Trial], Purse] | None = None
        self._learned: tuple[list[Trial], LearnedCosts] | None = None
        self._ended: tuple[list[Trial], str | None] | None = None

    # -- what a strategy sees ------------------------------------------------------------------------------------

    def history(self, trials: Trials) -> History:
        """The trials, what configurations cost, and the space as far as it can still be paid."""
        purse = self.purse(trials)
        plain = self._history_of(list(trials.values()))
        return replace(plain, space=purse.affordable, spending=purse.spending, prices=self._prices(trials))

    def purse(self, trials: Trials) -> Purse:
        """What is left for the search, less what pending trials may cost and what is held back to confirm the best."""
        now = list(trials.values())
        if self._purse is None or self._purse[0] != now:
            purse = self._whole_purse(trials)
            best = self._incumbent(trials) if purse.left else None
            if best is not None and (held_back := self._n_unconfirmed(trials)):
                purse = replace(purse.paying(self._rows.points([best] * held_back)), tried=purse.tried)
            self._purse = now, purse
        return self._purse[1]

    # -- what may be asked ---------------------------------------------------------------------------------------

    def admit(self, trials: Trials, n: int) -> tuple[list[int], int]:
        """Which queued trials may be handed out among `n`, and how many others: the search's, or confirmations."""
        remaining = account(self.limit, trials).remaining_trials
        room = n if remaining is None else min(n, max(0, remaining - self._n_held_back(trials)))
        purse = self.purse(trials)
        queued: list[int] = []
        for trial in trials.values():
            if trial.state == "queued" and len(queued) < room and purse.fits(point := self._rows.points([trial]))[0]:
                queued.append(trial.id)
                purse = purse.paying(point)
        more = purse.most(room - len(queued)) if self._why_ended(trials) is None else 0
        if not queued and self._why_search_is_over(trials) is not None:
            more = min(n, self._n_confirmable(trials, self._incumbent(trials)))
        return queued, more

    def paid(self, trials: Trials, configurations: Sequence[np.ndarray]) -> int:
        """How many configurations, from the first on, fit together when they are asked at once."""
        purse = self.purse(trials)
        for n, u in enumerate(configurations):
            if not purse.fits(u[None])[0]:
                return n
            purse = purse.paying(u[None])
        return len(configurations)

    def to_confirm(self, trials: Trials, judged: Callable[[], Trial | None]) -> tuple[Trial, int] | None:
        """What is to be repeated, and how often; None while the search goes on.

        Args:
            trials: Every trial.
            judged: The best trial by a model, which is repeated if it can be paid, and else the best as measured.

        Returns:
            The trial and a number of at least 1.
        """
        if self.limit.confirm == 0 or self._why_search_is_over(trials) is None:
            return None
        for best in (judged(), self._incumbent(trials)):
            if best is not None and (n := self._n_confirmable(trials, best)):
                return best, n
        return None

    def note_asked(self, trials: Trials, found: bool) -> None:
        """Remember of an ask whether it found anything: a finite space may have run dry."""
        self._ran_dry_at = None
        if not found and self._why_search_is_over(trials) is None:
            self._ran_dry_at = _n_held(trials)

    def why_nothing_is_left(self, trials: Trials) -> str | None:
        """Why an ask would return nothing, in words; None while it would return something."""
        reason = self._why_search_is_over(trials)
        return None if reason is not None and self._n_confirmable(trials, self._incumbent(trials)) else reason

    # -- inside --------------------------------------------------------------------------------------------------

    def _prices(self, trials: Trials) -> Prices | None:
        if self.known_costs is not None:
            return self.known_costs
        # What an evaluation elsewhere cost was perhaps counted in another unit.
        charged = [trial for trial in trials.values() if trial.charges and trial.source != "external"]
        if not charged:
            return None
        if self._learned is None or self._learned[0] != charged:
            killed = np.array([trial.killed for trial in charged])
            charges = [trial.charges for trial in charged]
            learned = LearnedCosts(self.space, self._rows.points(charged), charges, killed, self.limit)
            self._learned = charged, learned
        return self._learned[1]

    def _whole_purse(self, trials: Trials) -> Purse:
        """What is left once every pending trial is paid."""
        spending = account(self.limit, trials)
        left = {meter: max(0.0, limit - spending.spent(meter)) for meter, limit in self.limit.limits.items()}
        held = [trial for trial in trials.values() if not trial.lost and trial.state != "queued"]
        prices = self._prices(trials) if left else None
        purse = Purse(self.space, spending, left, prices, self._rows.points(held), self._seed)
        pending = [trial for trial in held if trial.state == "pending"]
        return replace(purse.paying(self._rows.points(pending)), tried=purse.tried)

    def _n_unconfirmed(self, trials: Trials) -> int:
        """How many repetitions of the best configuration are still due."""
        done = sum(trial.source == "confirmation" and not trial.lost for trial in trials.values())
        return max(0, self.limit.confirm - done)

    def _n_held_back(self, trials: Trials) -> int:
        """How many trials the search leaves to them."""
        return self._n_unconfirmed(trials) if self.limit.confirm else 0

    def _incumbent(self, trials: Trials) -> Trial | None:
        """The best trial as measured, where a repetition of it is due."""
        if self.limit.confirm == 0 or self._n_unconfirmed(trials) == 0:
            return None
        history = self._history_of(list(trials.values()))
        row = history.best_observed
        return None if row is None else trials[int(history.ids[row])]

    def _n_confirmable(self, trials: Trials, best: Trial | None) -> int:
        """How many repetitions of a trial that are due fit what is left."""
        if best is None:
            return 0
        purse, point, n = self._whole_purse(trials), self._rows.points([best]), 0
        remaining = purse.spending.remaining_trials
        due = self._n_unconfirmed(trials)
        due = due if remaining is None else min(due, remaining)
        while n < due and purse.fits(point)[0]:
            purse, n = purse.paying(point), n + 1
        return n

    def _why_spent(self, trials: Trials) -> str | None:
        """Which limit of the budget stops the next trial of the search; None while one fits."""
        purse = self.purse(trials)
        if (left := purse.spending.remaining_trials) is not None and left <= (held_back := self._n_held_back(trials)):
            if left == 0 or not held_back:
                return purse.spending.used_up({})
            return f"budget: the last {left} of {self.limit.trials} trials are held back to confirm the best"
        queued = [trial for trial in trials.values() if trial.state == "queued"]
        return None if queued and purse.fits(self._rows.points(queued)).any() else purse.exhausted

    def _why_search_is_over(self, trials: Trials) -> str | None:
        spent = self._why_spent(trials)
        if spent is not None or any(trial.state == "queued" for trial in trials.values()):
            return spent
        held = [trial for trial in trials.values() if not trial.lost]
        if self.space.size is not None and len(held) >= (n := self._count_configurations(self.space.size)):
            n_tried = len({point.tobytes() for point in self._rows.points(held)})
            if n_tried >= n:
                return f"space: all {n_tried} configurations are tried"
        if self._ran_dry_at == len(held):
            return "space: no configuration is left to try"
        return self._why_ended(trials)

    def _why_ended(self, trials: Trials) -> str | None:
        """What the first of the rules says that ends the search; they are asked once after each change."""
        if not self._until:
            return None
        now = list(trials.values())
        if self._ended is None or self._ended[0] != now:
            history = self.history(trials)
            reasons = (
                # Two numbers: the proposals spawn with one.
                rule.why_end(
                    history, np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(len(history.ids), k)))
                )
                for k, rule in enumerate(self._until)
            )
            self._ended = now, next((reason for reason in reasons if reason is not None), None)
        return self._ended[1]

    def _count_configurations(self, size: int) -> int:
        if self._n_configurations is None:
            # An opened study does not know the predicate of its space, which is code, and cannot count without it.
            knows_rules = self.space.allowed is not None or self.space.to_json()["allowed"] is None
            exact = size <= _MAX_ENUMERATED and knows_rules
            self._n_configurations = len(self.space.enumerate(_MAX_ENUMERATED)) if exact else size
        return self._n_configurations


def _n_held(trials: Trials) -> int:
    """How many trials keep their configuration from being proposed: all but the lost ones."""
    return sum(not trial.lost for trial in trials.values())
