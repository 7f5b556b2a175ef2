"""The command `bayesopt`: tune by a YAML file, and look at what a study holds.

Exit status: 0 fine, 1 a failure, 2 bad usage or configuration, 130 interrupted.
"""

import argparse
import contextlib
import csv
import io
import json
import logging
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from typing_extensions import override

from bayesopt.child_process import Children
from bayesopt.errors import BayesoptError, ConfigFileError, InvalidInputError, StorageError
from bayesopt.problem.budget import Budget
from bayesopt.record.trial import Trial
from bayesopt.report import outcomes_text, value_text
from bayesopt.study import Study

if TYPE_CHECKING:
    from bayesopt.config_file import StudyFile
    from bayesopt.running import TrialParams

_TOP: Final = 5
"""How many of the best trials `show` lists."""

_FAILURES_SHOWN: Final = 3
"""How many of the latest failures `show` names."""

_REASON_WIDTH: Final = 160
"""Characters of a failure's reason on one line."""

_REPORT_SECONDS: Final = 1.0
"""A learning curve is written down at most this often: each point is a transaction."""

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
"""Heights of a curve that is drawn in text."""

_CURVE_WIDTH: Final = 40
"""Characters of such a curve."""

EXAMPLE: Final = """\
space:
  lr: {type: float, low: 1e-5, high: 1e-1, log: true}
  batch_size: {type: int, low: 16, high: 512, log: true}
  optimizer: {type: choice, options: [adamw, sgd]}             # ordered: true, where the order means something
  momentum: {type: float, low: 0, high: 0.99, active_if: {optimizer: sgd}}
  mixture: {type: simplex, names: [web, code, math], floors: 0.05, caps: {web: 0.8}}
linear_constraints:                                            # what must not be tried
  - {coefficients: {batch_size: 1, mixture.web: 100}, upper: 500}
minimize: val_loss                                             # or maximize
subject_to:                                                    # outcomes, known only after a trial
  memory_gb: {at_most: 24}                                     # or at_least
priors:                                                        # where you believe the best is
  lr: {center: 3e-4, spread: 3.0}                              # with log: give or take a factor of 3
  optimizer: {weights: {adamw: 3, sgd: 1}}
  mixture: {center: {web: 0.5, code: 0.3, math: 0.2}, concentration: 10}
budget: {trials: 40, cost: 3600}                               # one of them will do
command: >-
  python3 train.py --lr {lr} --batch-size {batch_size} --optimizer {optimizer} --momentum {momentum} --mix {mixture}

# From here on everything has a default.
environment: {OMP_NUM_THREADS: 1}                              # placeholders work here too
time_limit: 600                                                # seconds; then the command is ended, and the trial fails
cost: seconds                                                  # or the name of an outcome that is charged
workers: 1                                                     # trials at the same time
stop_early: false                                              # true: lines with "step" and the objective are a curve
storage: tune.db                                               # or postgresql://user:secret@host/database
name: study                                                    # its name within the storage
logs: tune-logs                                                # one log file a trial
folder: .                                                      # where the command runs; paths start at this file
seed: 0
noise: 0.02                                                    # sd of the objective; 0: deterministic; default: learned
"""
"""A YAML file with everything that may stand in one."""

_TUNE_HELP: Final = """\
The command runs once a trial, without a shell, and prints its outcomes as a JSON object on the last line:

  {"val_loss": 2.31, "memory_gb": 18.2}

Its placeholders: {lr} is a parameter, {mixture.web} a share, {mixture} all shares as JSON, {params} everything as
JSON, {trial} the trial's number; {{ and }} are braces. PRIORWISE_TRIAL and PRIORWISE_PARAMS are set, too. An
argument with an inactive parameter is left out, together with a bare --option before it.

The first Ctrl-C lets running trials finish, the second ends them; the same command goes on from there.

A file with everything:

"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments; None takes the program's.

    Returns:
        The exit status.
    """
    arguments = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a name that the terminal cannot spell is no reason to stop
    try:
        status: int = arguments.act(arguments)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader has seen enough; nothing may be flushed into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (BayesoptError, OSError) as error:
        print(f"bayesopt: {error}", file=sys.stderr)
        return 2 if isinstance(error, InvalidInputError) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bayesopt", description="Find good parameters with few evaluations, each of which runs your command."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    tune = commands.add_parser(
        "tune",
        help="run the study that a YAML file declares, or go on with it",
        description="Run the study that a YAML file declares, or go on with it.",
        epilog=_TUNE_HELP + EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    tune.add_argument("file", metavar="FILE.yaml", help="what to tune, and the command that evaluates a trial")
    tune.add_argument(
        "--workers", type=_positive, metavar="N", help="trials at the same time (default: as in the file)"
    )
    tune.add_argument("--no-progress", action="store_true", help="print a line a trial instead of a progress bar")
    tune.set_defaults(act=_tune)

    def reader(name: str, act: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text)
        command.add_argument(
            "study",
            nargs="?",
            metavar="STUDY",
            help="a study file, a postgresql:// URL, or the YAML file that names it (default: the only *.db here)",
        )
        command.add_argument("--name", help="which study, where the storage holds several")
        command.set_defaults(act=act)
        return command

    show = reader("show", _show, "how far a study is, its best trials and its failures")
    show.add_argument("--all", action="store_true", help="list every trial")
    best = reader("best", _best, "the best trial")
    best.add_argument("--json", action="store_true", help="for programs to read")
    export = reader("export", _export, "every trial as a table")
    export.add_argument("--format", choices=["csv", "json"], default="csv", help="(default: %(default)s)")
    export.add_argument("--out", type=Path, metavar="FILE", help="where to (default: standard output)")
    plot = reader("plot", _plot, "draw progress, slices, parameters and constraints on one page")
    plot.add_argument("--out", type=Path, metavar="FILE", help="PNG, PDF or SVG (default: the study's name .png)")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text}")
    return number


# -- tune ----------------------------------------------------------------------------------------------------------


def _tune(arguments: argparse.Namespace) -> int:
    from bayesopt.config_file import read_study_file  # late: the other commands need no YAML
    from bayesopt.running import run  # late: it brings tqdm

    file = read_study_file(Path(arguments.file))
    file.check_command()
    file.logs.mkdir(parents=True, exist_ok=True)
    workers = arguments.workers or file.workers
    has_bar = not arguments.no_progress and sys.stderr.isatty()
    children = Children()
    with file.open_study() as study, _failures_on_stderr(), _ended_by_signals():
        n_before = len(study.trials)
        print(
            f"Study {study.name!r} in {_shown_storage(file.storage)}"
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
        print("\n" + "\n".join(_summary(study, _shown_storage(file.storage))))
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
        values = {name: value for name, value in printed.items() if name in names or _is_number(value)}
        if curve is not None and curve.stopped:
            values = dict.fromkeys(names) | values
        outcomes: dict[str, Any] = dict(self._study.outcomes.parse(values))
        if self._says:
            stopped = ", stopped early" if curve is not None and curve.stopped else ""
            print(f"trial {trial.id}: {_outcomes_of(outcomes, names)} ({seconds:.1f} s{stopped})", flush=True)
        # Where an outcome is called "cost", the loop itself charges the seconds.
        return outcomes if "cost" in names else outcomes | {"cost": self._file.charge(printed, seconds)}


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
            tqdm.write(_first_line(record.getMessage()), file=sys.stderr)

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


# -- show, best, export, plot --------------------------------------------------------------------------------------


def _show(arguments: argparse.Namespace) -> int:
    storage, name, options = _located(arguments)
    names = _study_names(storage)
    if name is None and len(names) > 1:
        print(f"{_shown_storage(storage)} holds {len(names)} studies; choose one with --name:\n")
        for each in names:
            with Study.open(storage, each) as study:
                best = study.recommended or study.best_observed
                print(f"  {each}: {study.budget}, {'nothing feasible yet' if best is None else outcomes_text(best)}")
        return 0
    with _opened(storage, name, options) as study:
        print("\n".join(_summary(study, _shown_storage(storage))))
        if arguments.all and study.trials:
            print("\nAll trials" + (" (! breaks a constraint)" if study.outcomes.constraints else ""))
            print("\n".join(_table(study, study.trials)))
    return 0


def _best(arguments: argparse.Namespace) -> int:
    with _opened(*_located(arguments)) as study:
        best, note = _judged_best(study)
        if best is None:
            print(f"bayesopt: {_nothing_best(study)}", file=sys.stderr)
            return 1
        if arguments.json:
            print(json.dumps({"trial": best.id, "params": best.params, "values": best.values}, ensure_ascii=False))
        else:
            print("\n".join(_best_lines(study, best, note)))
    return 0


def _export(arguments: argparse.Namespace) -> int:
    with _opened(*_located(arguments)) as study:
        text = _as_csv(study) if arguments.format == "csv" else _as_json(study)
    if arguments.out is None:
        sys.stdout.write(text)
    else:
        arguments.out.write_text(text, encoding="utf-8", newline="")
        print(f"Wrote {arguments.out}", file=sys.stderr)
    return 0


def _plot(arguments: argparse.Namespace) -> int:
    storage, name, options = _located(arguments)
    with _opened(storage, name, options) as study:
        out = arguments.out or Path(f"{study.name if '://' in storage else Path(storage).stem}.png".replace("/", "_"))
        try:
            from bayesopt import plot  # late: it brings matplotlib and torch

            figure = plot.overview(study)
        except ModuleNotFoundError as error:
            if error.name != "matplotlib":
                raise
            raise BayesoptError(str(error)) from None
        if (suffix := out.suffix.lstrip(".").lower()) not in (known := figure.canvas.get_supported_filetypes()):
            raise InvalidInputError(
                f"--out {out}: no picture format ends in {suffix!r}; take one of {', '.join(known)}."
            )
        figure.savefig(out)
    print(f"Wrote {out}", file=sys.stderr)
    return 0


def _located(arguments: argparse.Namespace) -> tuple[str, str | None, dict[str, Any]]:
    """Storage, study name, and what the storage does not remember."""
    target = arguments.study or _only_database()
    if not target.lower().endswith((".yaml", ".yml")):
        return target, arguments.name, {}
    from bayesopt.config_file import read_study_file  # late: a study file needs no YAML

    file = read_study_file(Path(target))
    declared: dict[str, Any] = {"budget": file.budget, "priors": file.priors, "noise": file.noise}
    if arguments.name in (None, file.name):
        return file.storage, file.name or "study", declared
    return file.storage, arguments.name, {}


def _only_database() -> str:
    found = sorted(Path().glob("*.db"))
    if len(found) != 1:
        listed = ", ".join(map(str, found)) or "none"
        raise ConfigFileError(f"say which study file, URL or YAML file; *.db in this folder: {listed}.")
    return str(found[0])


def _study_names(storage: str) -> list[str]:
    from bayesopt.record.sql import Database  # late: SQLAlchemy is slow to import

    if "://" not in storage and not os.path.exists(storage):
        raise StorageError(f"{storage}: there is no such file; `bayesopt tune FILE.yaml` makes one.")
    database = Database(storage)
    names = database.study_names()
    database.close()
    return names


def _opened(storage: str, name: str | None, options: Mapping[str, Any]) -> Study:
    names = _study_names(storage)
    listed = ", ".join(map(repr, names))
    if name is None and len(names) != 1:
        raise ConfigFileError(
            f"{_shown_storage(storage)} holds {listed}; choose one with --name."
            if names
            else f"{_shown_storage(storage)} holds no study yet."
        )
    if name is not None and name not in names:
        raise ConfigFileError(f"{_shown_storage(storage)} holds no study {name!r}; it holds {listed or 'none'}.")
    return Study.open(storage, name, **options)


def _shown_storage(storage: str) -> str:
    """The storage without a password; a file near by as one would type it."""
    if "://" in storage:
        from sqlalchemy.engine import make_url  # late: SQLAlchemy is slow to import

        return make_url(storage).render_as_string(hide_password=True)
    with contextlib.suppress(ValueError):
        return str(Path(storage).relative_to(Path.cwd()))
    return storage


# -- text ----------------------------------------------------------------------------------------------------------


def _summary(study: Study, storage: str) -> list[str]:
    """A study at a glance, without a model."""
    objective, constraints = study.outcomes.objective, study.outcomes.constraints
    goal = f"{objective.direction} {objective.name}"
    if constraints:
        goal += ", subject to " + " and ".join(f"{c.name} {c.symbol} {c.bound:g}" for c in constraints)
    facts = [("Goal", goal), ("Spent", str(study.budget)), ("State", study.why_stopped or _open_state(study))]
    if constraints:
        facts.append(("Verdict", f"{study.verdict}: {study.verdict.evidence}"))
    if curve := _curve_text(study):
        facts.append(("Progress", curve))
    lines = [f"Study {study.name!r} in {storage}", *(f"  {key:<10}{text}" for key, text in facts), ""]
    best, note = _judged_best(study)
    lines += [_nothing_best(study)] if best is None else _best_lines(study, best, note)
    ranked = _ranked(study)
    if len(ranked) > 1:
        lines += ["", f"Best {min(_TOP, len(ranked))} of {len(ranked)} feasible trials, as measured"]
        lines += _table(study, ranked[:_TOP])
    failed = [trial for trial in study.trials if trial.state == "failed"]
    if failed:
        lines += ["", f"Failed: {len(failed)} of {len(study.trials)} trials"]
        lines += [
            f"  trial {trial.id}: {_first_line(trial.reason or 'no reason')}" for trial in failed[-_FAILURES_SHOWN:]
        ]
    return lines


def _open_state(study: Study) -> str:
    return "can go on" if study.budget.limit != Budget() else "can go on; its budget is not stored with it"


def _judged_best(study: Study) -> tuple[Trial | None, str | None]:
    """The best trial as far as it is known without fitting a model, and what there is to say about that."""
    observed = study.best_observed
    if observed is None or study.noise == 0.0:
        return observed, None
    judged = study.recommended
    if judged is None:
        n_told = sum(trial.state == "complete" for trial in study.trials)
        return observed, f"as measured; no model has judged these {n_told} told trials yet" if n_told > 1 else None
    if judged.id != observed.id:
        return judged, f"judged by a model; it takes trial {observed.id}'s {outcomes_text(observed)} for luck"
    return judged, None


def _nothing_best(study: Study) -> str:
    if not any(trial.state == "complete" for trial in study.trials):
        return "No best trial yet: none has been told."
    return f"No best trial yet: {study.verdict.evidence}."


def _best_lines(study: Study, best: Trial, note: str | None) -> list[str]:
    bounds = {c.name: f"  ({c.symbol} {c.bound:g})" for c in study.outcomes.constraints}
    rows = [
        (name, ("unknown" if value is None else f"{value:.6g}") + bounds.get(name, ""))
        for name, value in best.values.items()
    ]
    params = [(name, value_text(value)) for name, value in best.params.items()]
    width = max(len(name) for name, _ in rows + params)
    lines = [f"Best: trial {best.id}" + (f" ({note})" if note else "")]
    return lines + [f"  {name:<{width}}  {text}" for name, text in [*rows, *params]]


def _curve_text(study: Study) -> str:
    """The best feasible objective so far, as a line of blocks from the first to the last trial."""
    history = study.history
    rows = history.feasible.nonzero()[0]
    if len(rows) < 2:
        return ""
    best = [max(history.objective[rows[: i + 1]]) for i in range(len(rows))]
    picked = [best[round(i * (len(best) - 1) / (_CURVE_WIDTH - 1))] for i in range(_CURVE_WIDTH)]
    shown = picked if len(best) > _CURVE_WIDTH else best
    low, high = min(shown), max(shown)
    # A difference that a float cannot hold, as between -1e308 and 1e308, is halved before it is taken.
    span = high / 2 - low / 2
    height = [0 if span == 0 else round((value / 2 - low / 2) / span * (len(_BLOCKS) - 1)) for value in shown]
    sign = study.outcomes.objective.sign
    if sign < 0:
        height = [len(_BLOCKS) - 1 - h for h in height]
    blocks = "".join(_BLOCKS[h] for h in height)
    return f"{sign * best[0]:.4g} {blocks} {sign * best[-1]:.4g}"


def _ranked(study: Study) -> list[Trial]:
    """The feasible trials, the best first."""
    history = study.history
    trials = {trial.id: trial for trial in study.trials}
    rows = sorted(history.feasible.nonzero()[0], key=lambda row: -history.objective[row])
    return [trials[int(history.ids[row])] for row in rows]


def _table(study: Study, trials: Sequence[Trial]) -> list[str]:
    """Trials in aligned columns; those that do not fit the terminal are left out, the last ones first."""
    names = study.outcomes.names
    columns = ["trial", *names, *study.space.names]
    rows = [
        [
            str(trial.id),
            *(_outcome_cell(study, trial, name) for name in names),
            *(_cell(trial.params.get(name)) for name in study.space.names),
        ]
        for trial in trials
    ]
    widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
    room = shutil.get_terminal_size((120, 24)).columns
    kept = len(columns)
    while kept > 1 + len(names) and sum(widths[:kept]) + 2 * kept > room:
        kept -= 1
    left_out = ["  ..."] if kept < len(columns) else [""]
    return [
        ("  " + "  ".join(f"{text:>{width}}" for text, width in zip(row[:kept], widths, strict=False)) + left_out[0])
        for row in [columns, *rows]
    ]


def _outcome_cell(study: Study, trial: Trial, name: str) -> str:
    """An outcome; one that breaks a constraint carries an exclamation mark."""
    value = trial.values.get(name)
    if trial.state != "complete" or value is None:
        return "unknown" if trial.state == "complete" else trial.state
    bounds = [constraint for constraint in study.outcomes.constraints if constraint.name == name]
    return ("!" if any(bound.margin(value) > 0 for bound in bounds) else "") + _cell(value)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return "/".join(f"{share:.2f}" for share in value.values())
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _outcomes_of(outcomes: Mapping[str, Any], names: Sequence[str]) -> str:
    return ", ".join(f"{name} {_cell(outcomes[name])}" for name in names)


def _first_line(text: str) -> str:
    lines = text.strip().splitlines() or [""]
    return lines[0][:_REASON_WIDTH]


def _as_csv(study: Study) -> str:
    records = study.to_records()
    columns = list(dict.fromkeys(name for record in records for name in record))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns or ["id"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _as_json(study: Study) -> str:
    trials = [
        {
            "id": trial.id,
            "state": trial.state,
            "params": trial.params,
            "values": {name: _finite(value) for name, value in trial.values.items()},
            "sd": trial.sd,
            "cost": trial.cost,
            "reason": trial.reason,
            "source": trial.source,
            "lost": trial.lost,
            "asked_at": trial.asked_at,
            "told_at": trial.told_at,
        }
        for trial in study.trials
    ]
    declared = {"name": study.name, "space": study.space.to_json(), "outcomes": study.outcomes.to_json()}
    return json.dumps({**declared, "trials": trials}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: float | None) -> float | str | None:
    """A number as strict JSON, which knows neither nan nor infinities: those are written as text."""
    return value if value is None or math.isfinite(value) else str(value)
