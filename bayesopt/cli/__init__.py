"""The command `bayesopt`: tune by a YAML file, and look at what a study holds.

Exit status: 0 fine, 1 a failure, 2 bad usage or configuration, 130 interrupted.
"""

import argparse
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bayesopt.cli.export import export_trials
from bayesopt.cli.help import EXAMPLE, TUNE_HELP
from bayesopt.cli.picture import draw_overview
from bayesopt.cli.serve import serve_study
from bayesopt.cli.show import show_best, show_study
from bayesopt.cli.tune import tune_by_file
from bayesopt.errors import BayesoptError, InvalidInputError


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
        epilog=TUNE_HELP + EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    tune.add_argument("file", metavar="FILE.yaml", help="what to tune, and the command that evaluates a trial")
    tune.add_argument(
        "--workers", type=_positive, metavar="N", help="trials at the same time (default: as in the file)"
    )
    tune.add_argument("--no-progress", action="store_true", help="print a line a trial instead of a progress bar")
    tune.set_defaults(act=tune_by_file)

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

    show = reader("show", show_study, "how far a study is, its best trials and its failures")
    show.add_argument("--all", action="store_true", help="list every trial")
    best = reader("best", show_best, "the best trial")
    best.add_argument("--json", action="store_true", help="for programs to read")
    export = reader("export", export_trials, "every trial as a table")
    export.add_argument("--format", choices=["csv", "json"], default="csv", help="(default: %(default)s)")
    export.add_argument("--out", type=Path, metavar="FILE", help="where to (default: standard output)")
    plot = reader("plot", draw_overview, "draw progress, slices, parameters and constraints on one page")
    plot.add_argument("--out", type=Path, metavar="FILE", help="PNG, PDF or SVG (default: the study's name .png)")
    serve = reader("serve", serve_study, "watch it in the browser, read-only, until Ctrl-C")
    serve.add_argument(
        "--host", default="127.0.0.1", help="where to listen (default: %(default)s, this machine alone; no password)"
    )
    serve.add_argument("--port", type=int, default=8080, help="0 for any that is free (default: %(default)s)")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text}")
    return number
