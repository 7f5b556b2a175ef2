"""A sign of life for the trials that this process works on, so that others can tell a slow worker from a dead one."""

import contextlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable

from bayesopt.errors import StorageError
from bayesopt.record.storage import StudyStore

_PROCESS: dict[int, str] = {}
"""This process's name by its number, so that a forked child makes one of its own."""


def this_process() -> str:
    """This process as `host:pid:token`; a restarted container has the old host and pid, but another token."""
    pid = os.getpid()
    return _PROCESS.setdefault(pid, f"{socket.gethostname()}:{pid}:{secrets.token_hex(4)}")


def is_dead(owner: str) -> bool:
    """Whether the process of that name surely runs no more; one on another machine may always be alive."""
    host, pid, _ = owner.rsplit(":", 2)
    if host != socket.gethostname():
        return False
    if int(pid) == os.getpid():
        return owner != this_process()
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


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
