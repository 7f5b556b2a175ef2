"""A folder with a command to tune and the file that declares it, or with a study that was tuned."""

import json
import sys
from pathlib import Path

import pytest

import bayesopt as bo
from bayesopt.cli.study_file import read_study_file

ROOT = Path(__file__).parents[3]

TRAIN = """\
import json, sys, time
x, y, seconds = float(sys.argv[1]), sys.argv[2], float(sys.argv[3])
open("started", "a").write("x")
time.sleep(seconds)
print(json.dumps({"loss": (x - 0.3) ** 2 + (y == "b"), "memory": 10 * x, "note": "text", "tokens": 100}))
"""

YAML = """\
space:
  x: {type: float, low: 0, high: 1}
  y: {type: choice, options: [a, b]}
minimize: loss
subject_to:
  memory: {at_most: 9}
budget: {trials: 4}
noise: 0
seed: 1
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(TRAIN)
    return tmp_path


@pytest.fixture
def write(folder):
    def write(more="", *, seconds=0.0, code=None, program=sys.executable):
        command = [program, "train.py", "{x}", "{y}", str(seconds)]
        if code is not None:
            (folder / "other.py").write_text(code)
            command = [program, "other.py", "{trial}", "{params}"]
        (folder / "tune.yaml").write_text(f"{YAML}command: {json.dumps(command)}\n{more}")

    return write


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "tune.yaml"
        path.write_text(text, encoding="utf-8")
        return read_study_file(path)

    return read


@pytest.fixture
def python():
    """The command that runs code as a program of its own, in which Ctrl-C is what it is at a terminal."""

    def python(code):
        # Ctrl-C reaches a program as SIGINT, which runners that start in the background have set to be ignored.
        first = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        return [sys.executable, "-c", f"{first}sys.path.insert(0, {str(ROOT)!r}); {code}"]

    return python


@pytest.fixture
def trials(folder):
    """The trials of the study that the file declares, as its storage has them now."""

    def trials():
        with bo.Study.open("tune.db") as study:
            return study.trials

    return trials


@pytest.fixture
def make_study(folder):
    def make_study(n=3, **options):
        space = bo.Space({"lr": bo.Float(1e-5, 1e-1, log=True), "mix": bo.Simplex(["web", "code"])})
        declared = {"minimize": "loss", "subject_to": [bo.AtMost("memory", 9.0)], "storage": "study.db", "seed": 0}
        with bo.Study(space, **(declared | options)) as study:
            for i in range(n):
                study.tell(study.ask(), {"loss": 3.0 - i, "memory": 5.0 * i}, cost=1.5)
        return study

    return make_study
