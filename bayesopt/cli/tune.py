"""`bayesopt tune`: run the study that a YAML file declares."""

import argparse
import logging
import math
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from typing_extensions import override

from bayesopt.cli.child_process import Children
from bayesopt.cli.stored import shown_storage
from bayesopt.cli.summary import cell, first_line, summary
from bayesopt.record.trial import Trial
from bayesopt.study import Study

if TYPE_CHECKING:
    from bayesopt.cli.study_file import StudyFile
    from bayesopt.running import TrialParams

_REPORT_SECONDS: Final = 1.0
"""A learning curve is written down at most this often: each point is a transaction."""


def tune_by_file(arguments: argparse.Namespace) -> int:
    """Run the study that a YAML file declares, or go on with it; the exit status."""
    from bayesopt.cli.study_file import read_study_file  # late: the other commands need no YAML
    from bayesopt.running import run  # late: it brings tqdm

    file = read_study_file(Path(arguments.file))
    file.check_command()
    file.logs.mkdir(parents=True, exist_ok=True)
    workers = arguments.workers or file.workers
    has_bar = not arguments.no_progress and sys.stderr.isatty()
    children = Children()
    with file.open_study() as study, _failures_on_stderr(), _ended_by_signals():
        n_before = sum(trial.state != "queued" for trial in study.trials)
        print(
            f"Study {study.name!r} in {shown_storage(file.storage)}"
            + (f", going on after {n_before} trials" if n_before else "")
        )
        print(f"Logs in {file.logs}", flush=True)
        try:
            # Not Study.run: its model of the best would be fitted before an interrupted trial's command is ended.
            run(study, _Evaluation(study, file, children, says=not has_bar), workers=workers, progress=has_bar)
        finally:
            children.end_all()
        finished = study.done
        if finished:
            _ = study.best  # a model judges now, and every later `show` and `best` reads what it found
        print("\n" + "\n".join(summary(study, shown_storage(file.storage))))
        if not finished:
            print(f"\nInterrupted. To go on: bayesopt tune {arguments.file}")
            return 128 + signal.SIGINT
        if not any(trial.state == "complete" for trial in study.trials):
            print(f"bayesopt: no trial succeeded; their logs are in {file.logs}", file=sys.stderr)
            return 1
    return 0


class _Evaluation:
    """Evaluates a trial by running its command."""

    def __init__(self, study: Study, file: "StudyFile", children: Children, *, says: bool) -> None:
        self._study, self._file, self._children, self._says = study, file, children, says

    def __call__(self, params: "TrialParams") -> dict[str, Any]:
        trial = params.trial
        start = time.perf_counter()
        curve = _Curve(trial, self._study.outcomes.objective.name) if self._file.stop_early else None
        printed = self._children.run(self._file.command(trial), curve)
        seconds = time.perf_counter() - start
        names = self._study.outcomes.names
        # What is called "cost" is for the loop to charge, and only the file says what that is.
        values = {name: v for name, v in printed.items() if name in names or (_is_number(v) and name != "cost")}
        if curve is not None and curve.stopped:
            values = dict.fromkeys(names) | values
        outcomes: dict[str, Any] = dict(self._study.outcomes.parse(values))
        if self._says:
            stopped = ", stopped early" if curve is not None and curve.stopped else ""
            print(f"trial {trial.id}: {_outcomes_of(outcomes, names)} ({seconds:.1f} s{stopped})", flush=True)
        cost = self._file.charge(printed)
        return outcomes if cost is None else outcomes | {"cost": cost}


class _Curve:
    """Reports what a command prints about its steps, and says when to stop it."""

    def __init__(self, trial: Trial, objective: str) -> None:
        self.stopped = False
        self._trial, self._objective = trial, objective
        self._next_at = -math.inf

    def __call__(self, printed: dict[str, Any]) -> bool:
        step, value = printed.get("step"), printed.get(self._objective)
        if not _is_number(step) or not _is_number(value) or step < 0 or time.monotonic() < self._next_at:
            return False
        self._trial.report(step, value)
        self._next_at = time.monotonic() + _REPORT_SECONDS
        self.stopped = self._trial.should_stop()
        return self.stopped


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


@contextmanager
def _failures_on_stderr() -> Iterator[None]:
    """Says on one line what went wrong with a trial; the log file has the rest."""
    from tqdm import tqdm  # late: only `tune` needs it

    class OneLine(logging.Handler):
        @override
        def emit(self, record: logging.LogRecord) -> None:
            tqdm.write(first_line(record.getMessage()), file=sys.stderr)

    logger, handler = logging.getLogger("bayesopt"), OneLine()
    logger.addHandler(handler)
    logger.propagate, before = False, logger.propagate
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Lets a request to end, and a terminal that goes away, unwind the stack, so that no command outlives us."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is signal.SIG_DFL:  # nohup has set SIGHUP to be ignored
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _outcomes_of(outcomes: Mapping[str, Any], names: Sequence[str]) -> str:
    return ", ".join(f"{name} {cell(outcomes[name])}" for name in names)
