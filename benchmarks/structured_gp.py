"""Structured Gaussian processes beside GPyTorch, linear_operator and BoTorch.

    .venv-bench/bin/python benchmarks/structured_gp.py [SECTION ...]

Each section states its claims in its own module, `benchmarks/structured/SECTION.py`, and writes its tables to
`benchmarks/results/structured_SECTION.md`. Without arguments all of them run.
"""

import argparse
import datetime
import os
import platform
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from one_thread import restart_with_one_thread

RESULTS = Path(__file__).parent / "results"
SECTIONS = ("grids", "learning_curves", "spectral", "iterative")


def main() -> None:
    """Run the sections that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; default: all")
    named = parser.parse_args().sections or SECTIONS
    if unknown := set(named) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}: choose of {', '.join(SECTIONS)}")
    for name in named:
        parts = [f"# `benchmarks/structured_gp.py {name}`", _origin()]
        for part in import_module(f"structured.{name}").section():
            print(part, end="\n\n", flush=True)
            parts.append(part)
            RESULTS.joinpath(f"structured_{name}.md").write_text("\n\n".join(parts) + "\n")


def _origin() -> str:
    packages = ", ".join(
        f"{name} {version(name)}"
        for name in ("priorwise", "torch", "gpytorch", "linear_operator", "botorch", "numpy", "scipy")
    )
    return (
        f"{datetime.date.today()}; {os.cpu_count()} cores ({platform.machine()}, virtual machine, other work beside), "
        f"one thread; Python {platform.python_version()}, {packages}. Seconds are of the processor."
    )


if __name__ == "__main__":
    restart_with_one_thread()
    main()
