"""The command as a whole: its usage, its errors, and what it does not load."""

import shlex
import subprocess
from pathlib import Path

import pytest

from bayesopt.cli import main
from bayesopt.cli.help import EXAMPLE
from bayesopt.cli.study_file import _KEYS, read_study_file


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tune", "none.yaml"], "bayesopt: none.yaml: cannot be read: No such file or directory."),
        (["tune", "bad.yaml"], "bayesopt: bad.yaml:1: spaec: unknown key; did you mean 'space'?"),
        (["show"], "bayesopt: say which study file, URL or YAML file; *.db in this folder: none."),
        (["best", "bad.yaml"], "bayesopt: bad.yaml:1: spaec: unknown key; did you mean 'space'?"),
        (["tune", "program.yaml"], "there is no program 'pyton' on the PATH that can be run."),
    ],
)
def test_bad_usage_is_one_line_and_status_2(write, folder, capsys, arguments, message):
    (folder / "bad.yaml").write_text("spaec: {}\n")
    write(program="pyton")
    (folder / "tune.yaml").rename("program.yaml")
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "message"), [(None, "there is no such file"), (b"text" * 999, "not a SQLite file")]
)
def test_a_storage_that_cannot_be_opened_is_status_1(folder, capsys, content, message):
    if content is not None:
        Path("study.db").write_bytes(content)
    assert main(["show", "study.db"]) == 1
    assert message in capsys.readouterr().err


def test_unknown_arguments_are_status_2(capsys):
    for arguments in ([], ["tuna"], ["tune"], ["tune", "f.yaml", "--workers", "0"], ["export", "--format", "xml"]):
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert exit_.value.code == 2
    assert "usage: bayesopt" in capsys.readouterr().err


def test_the_help_shows_a_file_that_can_be_read(folder, capsys):
    with pytest.raises(SystemExit):
        main(["tune", "--help"])
    assert EXAMPLE in capsys.readouterr().out
    Path("tune.yaml").write_text(EXAMPLE)
    file = read_study_file(Path("tune.yaml"))
    assert file.space.names == ("lr", "batch_size", "optimizer", "momentum", "mixture")
    shown = {line.split(":")[0] for line in EXAMPLE.splitlines() if line[:1].isalpha()}
    assert shown == set(_KEYS) - {"maximize"}


@pytest.mark.parametrize("arguments", [["show"], ["best"], ["export"]], ids=lambda arguments: arguments[0])
def test_looking_at_a_study_loads_no_torch(arguments, make_study, python):
    make_study(7)
    code = f"from bayesopt.cli import main; main({arguments}); print('torch' in sys.modules, file=sys.stderr)"
    done = subprocess.run(python(code), capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "False"


def test_a_reader_that_has_seen_enough_is_no_error(make_study, python):
    make_study(3)
    command = shlex.join(python("from bayesopt.cli import main; sys.exit(main(['export']))"))
    done = subprocess.run(["sh", "-c", f"{command} | true"], capture_output=True, text=True, check=False)
    assert done.stderr == ""
