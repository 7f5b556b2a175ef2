"""Who wrote, and when: a moment and a process identify what was written, also after a lost connection."""

import math
import os
import secrets
import socket
import threading
import time

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


class _Clock:
    """Seconds since 1970, later at every call.

    A moment and its process identify what was written, while clocks stand still (for 16 ms on some systems) or step
    back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0.0

    def __call__(self) -> float:
        with self._lock:
            self._last = max(time.time(), math.nextafter(self._last, math.inf))
            return self._last


now = _Clock()
"""The clock of this process."""
