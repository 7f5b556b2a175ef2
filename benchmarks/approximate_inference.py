"""Claims of the package `inference`, one section each, beside the peers in one process.

Each module of `inference_sections/` states its claim in its docstring and has `measure(n_seeds)`, which yields its
text, table included, again after each seed; the last one counts. A peer that is not installed is said to be missing.
"""

import argparse
from importlib import import_module
from pathlib import Path

from one_thread import restart_with_one_thread
from tables import machine

SECTIONS = ("full_bayes", "crashes", "networks", "variational")
"""Modules of `inference_sections/`, in the order of the report."""
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Measure, print and write each section; what other sections wrote before stays."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", nargs="*", default=SECTIONS, choices=SECTIONS, metavar="NAME")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    for name in options.sections:
        section = import_module(f"inference_sections.{name}")
        for text in section.measure(options.seeds):
            part = RESULTS / f"inference_{name}.md"
            part.write_text(f"{machine(section.versions())}\n\n{text}\n")
    written = [RESULTS / f"inference_{name}.md" for name in SECTIONS]
    whole = [
        "# Approximate inference: `benchmarks/approximate_inference.py`",
        *(p.read_text() for p in written if p.exists()),
    ]
    (RESULTS / "inference.md").write_text("\n\n".join(text.strip() for text in whole) + "\n")


if __name__ == "__main__":
    restart_with_one_thread()
    main()
