"""Every notebook in tutorials/ is a short essay that runs from top to bottom."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "tutorials").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(notebook):
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return [{**cell, "source": "".join(cell["source"])} for cell in cells if cell["cell_type"] == "code"]


@each_notebook
def test_runs_in_a_fresh_process_at_smoke_size(notebook):
    # compiled cell by cell, so that a traceback names the cell
    sources = enumerate((cell["source"] for cell in code_cells(notebook)), start=1)
    program = "\n".join(f"exec(compile({source!r}, 'code cell {n}', 'exec'))" for n, source in sources)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=notebook.parent,
        env={**os.environ, "SMOKE": "1", "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@each_notebook
def test_is_stored_without_outputs(notebook):
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code_cells(notebook))


@each_notebook
def test_shrinks_with_the_flag_and_checks_what_its_text_claims(notebook):
    first, *_, last = (cell["source"] for cell in code_cells(notebook))
    assert "SMOKE" in first
    assert "assert" in last
