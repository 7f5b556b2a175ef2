"""`bayesopt plot`: a study on one page."""

import argparse
import sys
from pathlib import Path

from bayesopt.cli.stored import located, opened
from bayesopt.errors import BayesoptError, InvalidInputError


def draw_overview(arguments: argparse.Namespace) -> int:
    """Save a study's overview as a picture; the exit status."""
    storage, name, options = located(arguments)
    with opened(storage, name, options) as study:
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
