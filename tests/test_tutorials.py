"""Every notebook in tutorials/ is a short essay that runs from top to bottom."""

import importlib.util
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


def run_at_smoke_size(notebook, **environment):
    # compiled cell by cell, so that a traceback names the cell
    sources = enumerate((cell["source"] for cell in code_cells(notebook)), start=1)
    program = "\n".join(f"exec(compile({source!r}, 'code cell {n}', 'exec'))" for n, source in sources)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=notebook.parent,
        env={**os.environ, "SMOKE": "1", "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@each_notebook
def test_runs_in_a_fresh_process_at_smoke_size(notebook):
    run_at_smoke_size(notebook)


@pytest.mark.slow
def test_the_tutorial_on_many_workers_runs_on_postgresql_too(postgresql_url):
    run_at_smoke_size(ROOT / "tutorials" / "13_many_workers_one_study.ipynb", STUDY_URL=postgresql_url)


@each_notebook
def test_is_stored_without_outputs(notebook):
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code_cells(notebook))


@each_notebook
def test_shrinks_with_the_flag_and_checks_what_its_text_claims(notebook):
    first, *_, last = (cell["source"] for cell in code_cells(notebook))
    assert "SMOKE" in first
    assert "assert" in last


@each_notebook
def test_is_in_the_table_of_the_readme(notebook):
    assert f"](tutorials/{notebook.name})" in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.slow
def test_a_page_shows_what_was_computed_and_where_it_stopped(tmp_path):
    """A page of a notebook that fails is written all the same."""
    import nbformat

    spec = importlib.util.spec_from_file_location("render_tutorials", ROOT / "scripts" / "render_tutorials.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    cells = [nbformat.v4.new_code_cell(source) for source in ("print(6 * 7)", "1 / 0", "print(8 * 9)")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "broken.ipynb")
    _, cpu, error = module.render(tmp_path / "broken.ipynb", tmp_path / "broken.html")
    page = (tmp_path / "broken.html").read_text("utf-8")
    assert "ZeroDivisionError" in error
    assert "42" in page
    assert "ZeroDivisionError" in page
    assert "<pre>72" not in page
    assert cpu > 0
