"""What only a fitted model can say of a study, found beside the requests: no reader waits for a fit."""

import threading
import time
from dataclasses import dataclass
from typing import Final

from bayesopt.problem.beliefs import Prior, Standings
from bayesopt.problem.verdict import Verdict
from bayesopt.study import Study
from bayesopt.web.snapshot import Snapshot

_REST: Final = 4.0
"""Times its own processor time that passes after a judgement before the next: the trials need the processor more."""


@dataclass(frozen=True)
class Opinion:
    """A judgement by a model, or why there is none."""

    key: tuple[int, ...]
    """Trials told and failed, of which it is."""
    verdict: Verdict | None = None
    beliefs: Standings | None = None
    error: str | None = None


class Adviser:
    """Judges a study in a thread of its own, whenever asked about trials that it has not judged."""

    def __init__(self, study: Study) -> None:
        """Judge nothing yet.

        Args:
            study: The study; reading its verdict and its beliefs changes nothing.
        """
        self._study = study
        self._lock = threading.Lock()
        self._opinion: Opinion | None = None
        self._worker: threading.Thread | None = None
        self._rests_until = 0.0

    @property
    def is_needed_for_beliefs(self) -> bool:
        """Whether the study declares beliefs that data can speak for or against."""
        return any(isinstance(prior, Prior) for prior in self._study.priors)

    def opinion(self, snapshot: Snapshot) -> tuple[Opinion | None, bool]:
        """The newest judgement, and whether it is of these trials; a newer one is started where it is not.

        Args:
            snapshot: What should be judged.

        Returns:
            The judgement or None before the first, and whether it is current.
        """
        key = (sum(trial.state == "complete" for trial in snapshot.trials), snapshot.counts["failed"])
        with self._lock:
            is_current = self._opinion is not None and self._opinion.key == key
            is_busy = self._worker is not None and self._worker.is_alive()
            if not is_current and not is_busy and time.monotonic() >= self._rests_until:
                # a daemon: whoever ends the server does not wait for a fit
                self._worker = threading.Thread(target=self._judge, args=(key,), daemon=True)
                self._worker.start()
            return self._opinion, is_current

    def _judge(self, key: tuple[int, ...]) -> None:
        started = time.thread_time()
        try:
            beliefs = self._study.beliefs if self.is_needed_for_beliefs else None
            opinion = Opinion(key, self._study.verdict, beliefs)
        except Exception as error:  # whatever a model died of, the page goes on and says so
            opinion = Opinion(key, error=f"{type(error).__name__}: {error}")
        with self._lock:
            self._opinion = opinion
            self._rests_until = time.monotonic() + _REST * (time.thread_time() - started)
