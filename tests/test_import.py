"""Importing the library is quick, brings no heavy package with it, and refuses packages that are not ours."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

TORCH = {"torch", "gpytorch", "linear_operator", "botorch", "pyro"}
DRIVERS = {"sqlalchemy", "psycopg"}
ELSEWHERE = {"scipy.stats", "matplotlib", "pandas", "yaml"}

DECLARE = """
import bayesopt as bo
space = bo.Space({
    "lr": bo.Float(1e-5, 1e-1, log=True),
    "batch_size": bo.Int(16, 512, log=True),
    "optimizer": bo.Choice(["adamw", "sgd"]),
    "mixture": bo.Simplex(["web", "code", "math"]),
})
"""
OPEN = f"""{DECLARE}
study = bo.Study(space, minimize="loss", budget=bo.Budget(trials=99), storage=STORAGE, name="demo", seed=0)
"""
TOLD = """
MIXTURE = {"web": 0.5, "code": 0.25, "math": 0.25}
for k in range(1, 20):
    params = {"lr": 0.005 * k, "batch_size": 16 * k, "optimizer": "sgd", "mixture": MIXTURE}
    study.tell_external(params, {"loss": 1 / k})
"""
LOOK = """
from bayesopt.cli import main
for command in ("show", "best", "export"):
    assert main([command, "tune.db"]) == 0
"""


def in_a_fresh_process(code, folder=ROOT):
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{code}"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_import_needs_numpy_and_nothing_else():
    # the public names load on first use, so the two that every program uses are part of the import;
    # what they cost is what they load, and that can be asserted on a busy machine where seconds cannot
    def packages(code):
        names = in_a_fresh_process(f"{code}\nprint(*sys.modules)").split()
        return {name.partition(".")[0] for name in names} - sys.stdlib_module_names

    ours = packages("import bayesopt; bayesopt.Space, bayesopt.Study")
    assert ours - packages("import numpy, numpy.random, typing_extensions") == {"bayesopt"}


@pytest.mark.parametrize(
    ("code", "late"),
    [
        ("import bayesopt", TORCH | DRIVERS | ELSEWHERE),
        (DECLARE, TORCH | DRIVERS | ELSEWHERE),
        (OPEN.replace("STORAGE", "None"), TORCH | DRIVERS | ELSEWHERE),
        (OPEN.replace("STORAGE", '"tune.db"'), TORCH | ELSEWHERE),
        (OPEN.replace("STORAGE", '"tune.db"') + "study.tell(study.ask(), {'loss': 1.0}); study.best", TORCH),
        (OPEN.replace("STORAGE", '"tune.db"') + TOLD + LOOK, TORCH),
    ],
    ids=[
        "the import",
        "a space",
        "a study in memory",
        "a study in a file",
        "the first ask and tell",
        "show, best and export",
    ],
)
def test_heavy_packages_stay_unloaded_by(code, late, tmp_path):
    loaded = in_a_fresh_process(f"{code}\nprint(*sys.modules)", tmp_path).split()
    assert not late & set(loaded)


@pytest.mark.parametrize("name", ["gp", "inference"])
def test_an_unrelated_package_of_the_same_name_is_refused_by_name(name, tmp_path):
    (tmp_path / f"{name}.py").write_text("answer = 42")
    first_in_line = f"sys.path.insert(0, {str(tmp_path)!r})"
    message = in_a_fresh_process(
        f"{first_in_line}\ntry:\n    import bayesopt\nexcept ImportError as clash:\n    print(clash)"
    )
    assert f"`{name}`" in message
    assert str(tmp_path / f"{name}.py") in message
