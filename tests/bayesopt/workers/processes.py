"""Starts and kills the child processes of the tests."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[3]


class Nursery:
    """A process that forks children on demand; see `nursery.py`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bayesopt.workers.nursery"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, task: str, **arguments: Any) -> int:
        """Fork a child that does a task of `tasks.py`; its pid."""
        return self._order({"task": task} | arguments)

    def wait(self, child: int) -> int:
        """The exit status of a child once it has ended, negative for a signal."""
        return self._order({"wait": child})

    def _order(self, order: dict[str, Any]) -> int:
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
