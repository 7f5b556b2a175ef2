"""A trial as a child process: no shell, a process group of its own, a log file that grows while it runs."""

import contextlib
import json
import os
import selectors
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from bayesopt.errors import TrialFailed

_GRACE_SECONDS: Final = 3.0
"""Between asking a process group to end and killing it: enough to write a checkpoint."""

_POLL_SECONDS: Final = 0.2
"""How often the loop looks whether the child ended although somebody else holds its output open."""

_DRAIN_SECONDS: Final = 2.0
"""How long output that is still on its way is read after the child has ended."""

_CHUNK_BYTES: Final = 1 << 16
"""How much output is read at once: the size of a pipe on Linux."""

_LONGEST_LINE: Final = 1 << 20
"""Bytes. A longer line is no report of outcomes and is not kept in memory; the log has it."""

_TAIL_LINES: Final = 5
"""How many of the log's last lines tell why a trial failed."""

_TAIL_BYTES: Final = 4096
"""How far from its end the log is read for them."""

_TAIL_WIDTH: Final = 200
"""Characters kept of each of them."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to start, and where."""

    arguments: Sequence[str]
    """The program and its arguments."""
    folder: Path
    """Working directory."""
    environment: Mapping[str, str]
    """Variables beside those that this process has."""
    log: Path
    """File for everything that it prints."""
    time_limit: float | None = None
    """Seconds after which its process group is ended."""


class Children:
    """The child processes of one run, so that all of them can be ended at once from another thread."""

    def __init__(self) -> None:
        """Start with none."""
        self._lock = threading.Lock()
        self._alive: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def run(self, command: Command, stop_at: Callable[[dict[str, Any]], bool] | None = None) -> dict[str, Any]:
        """Run a command to its end.

        Args:
            command: What to run.
            stop_at: Called with every JSON object that the command prints; when it returns True the command is ended
                and that object is the result.

        Returns:
            The last JSON object that stood on a line of its own on standard output.

        Raises:
            TrialFailed: If it could not be started, ran out of time, ended with an error or printed no JSON object.
            KeyboardInterrupt: If `end_all` was called.
        """
        command.log.parent.mkdir(parents=True, exist_ok=True)
        with open(command.log, "wb", buffering=0) as log:
            log.write(f"$ {shlex.join(command.arguments)}\n".encode("utf-8", "replace"))
            with self._started(command) as process:
                printed = _JsonLines(stop_at)
                timed_out = _follow(process, log, printed, command.time_limit)
        if self._closed:
            raise KeyboardInterrupt
        if printed.stopped:
            return printed.last or {}
        if timed_out:
            raise TrialFailed(f"ended at its time limit of {command.time_limit:g} s{_tail(command.log)}")
        if process.returncode:
            raise TrialFailed(_how_it_ended(process.returncode) + _tail(command.log))
        if printed.last is None:
            raise TrialFailed(
                'printed no JSON object; the last line of its standard output must be one, such as {"loss": 1.5}'
                + _tail(command.log)
            )
        return printed.last

    def end_all(self) -> None:
        """Kill every process group that is still running, and start no other."""
        with self._lock:
            self._closed = True
            for process in self._alive:
                _signal_group(process, signal.SIGKILL)

    @contextmanager
    def _started(self, command: Command) -> Iterator[subprocess.Popen[bytes]]:
        # Python holds back what it prints to a pipe; a log that is watched needs it at once.
        environment = {"PYTHONUNBUFFERED": "1", **os.environ, **command.environment}
        with self._lock:
            if self._closed:
                raise KeyboardInterrupt
            try:
                process = subprocess.Popen(
                    command.arguments,
                    cwd=command.folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    start_new_session=True,  # the terminal's Ctrl-C is for us, not for the trial
                )
            except OSError as error:
                raise TrialFailed(f"{command.arguments[0]!r} could not be started: {error.strerror}") from error
            self._alive.add(process)
        try:
            yield process
        finally:
            _signal_group(process, signal.SIGKILL)
            process.wait()
            with self._lock:
                self._alive.discard(process)
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


class _JsonLines:
    """Finds the JSON objects among the lines of a stream and keeps the last one."""

    def __init__(self, stop_at: Callable[[dict[str, Any]], bool] | None) -> None:
        self.last: dict[str, Any] | None = None
        self.stopped = False
        self._stop_at = stop_at
        self._line = bytearray()
        self._is_too_long = False

    def feed(self, chunk: bytes) -> None:
        *complete, rest = chunk.split(b"\n")
        for part in complete:
            self._append(part)
            self.end_line()
        self._append(rest)

    def end_line(self) -> None:
        line, is_whole = bytes(self._line), not self._is_too_long
        self._line.clear()
        self._is_too_long = False
        # A progress bar that returns to the line's start stands before the last \r.
        text = line.rstrip().rsplit(b"\r", 1)[-1].strip()
        if is_whole and not self.stopped and text.startswith(b"{") and text.endswith(b"}"):
            self._take(text)

    def _append(self, part: bytes) -> None:
        if len(self._line) + len(part) > _LONGEST_LINE:
            self._is_too_long = True
            self._line.clear()
        elif not self._is_too_long:
            self._line += part

    def _take(self, text: bytes) -> None:
        try:
            value = json.loads(text.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return
        self.last = value
        self.stopped = self._stop_at is not None and self._stop_at(value)


def _follow(process: subprocess.Popen[bytes], log: IO[bytes], printed: _JsonLines, time_limit: float | None) -> bool:
    """Copy what a process prints until it has ended; whether it ran out of time."""
    end_at = None if time_limit is None else time.monotonic() + time_limit
    kill_at: float | None = None
    timed_out = False
    with selectors.DefaultSelector() as selector:
        assert process.stdout is not None
        assert process.stderr is not None
        selector.register(process.stdout, selectors.EVENT_READ, printed.feed)
        selector.register(process.stderr, selectors.EVENT_READ)
        while process.poll() is None:
            # Without open streams the end is near, or nothing but the process itself can tell it.
            pause = _POLL_SECONDS if selector.get_map() else _POLL_SECONDS / 20
            if end_at is not None:
                pause = min(pause, max(0.0, end_at - time.monotonic()))
            _copy(selector, log, pause)
            now = time.monotonic()
            if kill_at is None and (printed.stopped or (end_at is not None and now >= end_at)):
                timed_out = not printed.stopped
                _signal_group(process, signal.SIGTERM)
                kill_at, end_at = now + _GRACE_SECONDS, None
            elif kill_at is not None and now >= kill_at:
                _signal_group(process, signal.SIGKILL)
        # What the command started and left behind ends with it; what it printed is still read.
        _signal_group(process, signal.SIGKILL)
        drain_until = time.monotonic() + _DRAIN_SECONDS
        while selector.get_map() and time.monotonic() < drain_until:
            _copy(selector, log, _POLL_SECONDS)
    printed.end_line()
    return timed_out


def _copy(selector: selectors.BaseSelector, log: IO[bytes], pause: float) -> None:
    """Wait for output at most `pause` seconds and copy what has come."""
    for key, _ in selector.select(pause):
        chunk = os.read(key.fd, _CHUNK_BYTES)
        if not chunk:
            selector.unregister(key.fileobj)
            continue
        log.write(chunk)
        if key.data is not None:
            key.data(chunk)


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # The child leads a session, so its id is its group's, also when it has ended and others in the group have not.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _how_it_ended(status: int) -> str:
    if status > 0:
        return f"ended with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = " (often the system, when memory runs out)" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"


def _tail(log: Path) -> str:
    """The end of a log, with its last line first, since that is what a one-line summary shows."""
    with open(log, "rb") as file:
        header = len(file.readline())
        size = file.seek(0, os.SEEK_END)
        file.seek(max(header, size - _TAIL_BYTES))
        text = file.read().decode("utf-8", "replace")
    lines = [line.rstrip() for line in text.splitlines() if line.strip()][-_TAIL_LINES:]
    if not lines:
        return f"; it printed nothing ({log})"
    quoted = "\n".join(f"  | {line[:_TAIL_WIDTH]}" for line in lines)
    return f": {lines[-1].strip()[:_TAIL_WIDTH]}\n{quoted}\n  ({log})"
