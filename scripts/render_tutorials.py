"""Execute tutorials at full size, each in a fresh kernel, and render them as HTML; `make tutorials` does it for all.

A page that fails is written all the same, with its traceback where it stopped, and the exit status says so in the end.
The pages load the typesetting of formulas, and nothing else that is seen, from the network.
"""

import argparse
import os
import resource
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

ROOT = Path(__file__).parents[1]
TIMEOUT = 1800
"""Seconds that a cell may take: far more than any should, yet a hung one ends."""


def main() -> int:
    """Render what was named; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of tutorials/")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "tutorials", help="folder of the pages")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    failed, started = [], time.perf_counter()
    print(f"{'':55s}seconds  of CPU")
    for path in options.notebooks or sorted((ROOT / "tutorials").glob("*.ipynb")):
        seconds, cpu, error = render(path, options.out / f"{path.stem}.html")
        print(f"{path.stem:55s}{seconds:7.0f} {cpu:7.0f}{'' if error is None else '  FAILED'}", flush=True)
        if error is not None:
            failed.append(path.name)
            print(error, file=sys.stderr)
    print(f"{'total':55s}{time.perf_counter() - started:7.0f}\nPages in {options.out}")
    return 1 if failed else 0


def render(path: Path, page: Path) -> tuple[float, float, str | None]:
    """Execute a notebook in its own folder and write its page.

    Args:
        path: The notebook, which is left as it is.
        page: The HTML file.

    Returns:
        Wall seconds, CPU seconds of the kernel and what it started, and the traceback of the cell that failed, if any.
    """
    notebook = nbformat.read(path, as_version=4)
    # A page needs no widgets, and no kernel need warn that its sockets, all of this machine, are not encrypted.
    quiet, calm = ["--log-level=ERROR"], {"PYTHONWARNINGS": "ignore:IProgress not found"}
    folder = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(notebook, timeout=TIMEOUT, resources=folder, extra_arguments=quiet)
    started, before, error = time.perf_counter(), _cpu_of_children(), None
    try:
        client.execute(env={**os.environ, **calm})
    except CellExecutionError as failure:
        error = str(failure)
    seconds = time.perf_counter() - started
    body, _ = HTMLExporter().from_notebook_node(notebook, {"metadata": {"name": path.stem}})
    page.write_text(body, "utf-8")
    return seconds, _cpu_of_children() - before, error


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main())
