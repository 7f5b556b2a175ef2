"""What README.md shows is true: its Python runs, its YAML parses, its commands and the files it links exist."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
FILES = {name[1]: body for _, body in BLOCKS if (name := re.match(r"# (\S+\.\w+)\n", body))}
"""The blocks that a reader saves: their first line is a comment with the name of the file."""
EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])


def blocks(*languages):
    return [body for language, body in BLOCKS if language in languages and body not in FILES.values()]


def pasted():
    lines = "\n".join(blocks("sh", "bash", "console")).replace("\\\n", " ").splitlines()
    return [line for line in (line.strip().removeprefix("$ ") for line in lines) if line and line[0] != "#"]


def commands():
    return pasted() + re.findall(r"`((?:make|bayesopt) [^`]+)`", TEXT)  # those named in passing, too


def test_every_block_names_a_language_that_is_checked():
    assert {language for language, _ in BLOCKS} <= {"python", "sh", "bash", "console", "yaml", "text"}


def run(command, folder):
    """Runs a command as in an activated .venv; its output."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def test_the_python_blocks_run_in_order_as_one_program_and_end_in_a_figure(tmp_path):
    assert "Best: trial" in run([sys.executable, "-c", "\n".join(blocks("python"))], tmp_path)
    assert [figure.name for figure in tmp_path.glob("*.png")] == ["first.png"]


@pytest.mark.slow
def test_a_newcomer_who_pastes_every_command_gets_a_result_and_a_figure(tmp_path):
    """In the order of the page, without `make` and the activation: they install, from the network, what runs this."""
    for name, body in FILES.items():
        (tmp_path / name).write_text(body, "utf-8")
    steps = [shlex.split(line, comments=True) for line in pasted()]
    outputs = {step[1]: run(step, tmp_path) for step in steps if step[0] == "bayesopt"}
    assert list(outputs) == ["tune", "show", "plot"]
    best = float(re.search(r"^Best: trial \d+\n +val_loss +([\d.]+)$", outputs["show"], flags=re.MULTILINE)[1])
    assert best < 2.1  # what the study file believes can be reached; the minimum of train.py is 2
    assert [figure.name for figure in tmp_path.glob("*.png")] == ["second.png"]


@pytest.mark.parametrize("block", [*blocks("yaml"), *(body for name, body in FILES.items() if name.endswith("yaml"))])
def test_the_yaml_block_is_yaml(block):
    assert isinstance(yaml.safe_load(block), dict)


@pytest.mark.parametrize("link", re.findall(r"\]\(([^):#]+)", TEXT))
def test_the_linked_file_exists(link):
    assert (ROOT / link).exists()


@pytest.mark.parametrize("command", commands())
def test_the_command_exists(command, capsys):
    first, *rest = shlex.split(command, comments=True)
    words = [word for word in rest if not word.startswith("-")]
    if first == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE)
        assert {word for word in words if "=" not in word} <= set(targets)
    elif first == "bayesopt":
        from bayesopt.cli import main

        with pytest.raises(SystemExit) as end:
            main([words[0], "--help"])
        assert end.value.code == 0, capsys.readouterr().err
    elif first == "pip":
        wanted = re.fullmatch(r"(?:priorwise|\.)(?:\[(.*)\])?", words[1])
        assert wanted, f"{command}: installs something else than this project"
        assert set((wanted[1] or "").split(",")) - {""} <= EXTRAS
    elif first.endswith("python"):
        assert (ROOT / words[0]).is_file()
    elif "/" in first:
        assert os.access(ROOT / first, os.X_OK)
    else:
        assert first in {"git", "cd", "."}, f"{command}: teach this test how to tell that it exists"
