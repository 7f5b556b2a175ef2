"""A sign of life for the trials that this process works on, so that others can tell a slow worker from a dead one."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable

from bayesopt.errors import StorageError
from bayesopt.record.storage import StudyStore


class Heartbeat:
    """Beats for a study's own pending trials from a daemon thread, which dies with the process, as it must."""

    def __init__(self, store: StudyStore, own_pending: Callable[[], Iterable[int]], *, interval: float) -> None:
        """Start beating.

        Args:
            store: Where the beats go.
            own_pending: The ids of the trials that this process works on; called from the thread.
            interval: Seconds between two beats.
        """
        self._stop = threading.Event()

        def beat() -> None:
            while not self._stop.wait(interval):
                # A beat that cannot be written is no reason to disturb the evaluation; the next one may be.
                with contextlib.suppress(StorageError):
                    if ids := list(own_pending()):
                        store.beat(ids, time.time())

        threading.Thread(target=beat, name=f"heartbeat of {store.name}", daemon=True).start()

    def stop(self) -> None:
        """Stop beating; trials that are still pending time out."""
        self._stop.set()
