"""`bayesopt serve` as a program: it says where it is, ends by Ctrl-C, and explains what it cannot do."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import bayesopt as bo
from bayesopt.cli import main
from bayesopt.errors import InvalidInputError
from bayesopt.web import serve
from tests.bayesopt.web.serving import ask, ask_json

ROOT = Path(__file__).parents[3]


@pytest.fixture
def stored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with bo.Study(
        bo.Space({"x": bo.Float(0.0, 1.0)}), minimize="loss", storage="tune.db", name="mine", seed=0
    ) as study:
        study.tell(study.ask(), 1.0)
    return study


def test_the_command_serves_a_stored_study_until_ctrl_c(stored, tmp_path):
    # runners that start in the background have set SIGINT to be ignored
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        f"sys.path.insert(0, {str(ROOT)!r}); from bayesopt.cli import main; "
        "status = main(['serve', 'tune.db', '--port', '0']); print('torch' in sys.modules); sys.exit(status)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        line = process.stdout.readline()
        assert line.startswith("Watching 'mine' at http://127.0.0.1:")
        address = line.split(" at ")[1].split()[0]
        assert ask(address)[0] == 200
        assert ask_json(address, "/study.json")["name"] == "mine"
        with bo.Study.open("tune.db") as study:  # nobody's way is blocked
            study.tell(study.ask(), 0.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert out == "False\n"  # a page without beliefs needs no torch


def test_a_port_that_is_taken_is_said(stored, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    assert f"host '127.0.0.1', port {port}: cannot listen there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": -1}, "port: expected a whole number of at least 0"),
        ({"port": 70_000}, "port: expected a whole number of at most 65535"),
        ({"port": 8.5}, "port: expected a whole number"),
        ({"host": "no such host"}, "host 'no such host', port 8080: cannot listen there"),
        ({"host": "a" * 300}, "cannot listen there"),
    ],
    ids=str,
)
def test_an_address_that_cannot_be_used_is_refused(options, message):
    study = bo.Study(bo.Space({"x": bo.Float(0.0, 1.0)}), minimize="loss")
    with pytest.raises(InvalidInputError, match=message):
        serve(study, **options)


def test_a_study_that_is_not_there_is_said_before_anything_is_served(stored, capsys):
    assert main(["serve", "tune.db", "--name", "other"]) == 2
    assert "holds no study 'other'" in capsys.readouterr().err


def test_without_the_extra_the_command_says_how_to_get_it(stored, tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.modules['starlette'] = None; "
        "from bayesopt.cli import main; sys.exit(main(['serve', 'tune.db']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "bayesopt: bayesopt.web needs starlette and uvicorn: pip install 'priorwise[web]'.\n"
