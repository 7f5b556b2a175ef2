"""The command `bayesopt`, from its arguments to its exit status, and in real processes that are interrupted."""

import csv
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

import bayesopt as bo
from bayesopt.cli import EXAMPLE, main
from bayesopt.study import Study

ROOT = Path(__file__).parents[2]

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


def trials():
    with Study.open("tune.db") as study:
        return study.trials


# -- tune ----------------------------------------------------------------------------------------------------------


def test_tuning_evaluates_the_whole_budget_and_shows_the_best(write, folder, capsys):
    write()
    assert main(["tune", "tune.yaml"]) == 0
    out = capsys.readouterr().out
    assert "Goal      minimize loss, subject to memory <= 9" in out
    assert "State     budget: all 4 trials are used" in out
    assert "Best: trial " in out
    assert [trial.state for trial in trials()] == ["complete"] * 4
    assert trials()[0].values.keys() == {"loss", "memory", "tokens"}
    logs = sorted(path.name for path in (folder / "tune-logs").iterdir())
    assert logs == [f"trial-000{i}.log" for i in range(4)]
    assert '"note": "text"' in (folder / "tune-logs" / "trial-0003.log").read_text()


def test_a_finished_study_is_not_tuned_again(write, folder):
    write()
    assert main(["tune", "tune.yaml"]) == 0
    assert main(["tune", "tune.yaml"]) == 0
    assert (folder / "started").read_text() == "x" * 4


def test_everything_is_found_beside_the_file_wherever_the_command_runs(write, folder, monkeypatch, tmp_path_factory):
    write()
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert main(["tune", str(folder / "tune.yaml")]) == 0
    assert (folder / "tune.db").exists()
    assert not list(Path().iterdir())


def test_workers_run_at_the_same_time(write, folder):
    # Each waits for the other: one worker alone would run into the time limit.
    code = """
import os, sys, time
mine, other = sys.argv[1], str(int(sys.argv[1]) ^ 1)
open(mine, "w").close()
while not os.path.exists(other): time.sleep(0.01)
print('{"loss": 1, "memory": 1}')
"""
    write("time_limit: 60\n", code=code)
    assert main(["tune", "tune.yaml", "--workers", "2"]) == 0
    assert [trial.state for trial in trials()] == ["complete"] * 4


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ValueError('lr is odd')", "ended with exit status 1: ValueError: lr is odd"),
        ("print('hello')", "printed no JSON object; the last line of its standard output must be one"),
        ('print(\'{"los": 1, "memory": 2}\')', "outcomes: 'loss' missing; got 'los', 'memory'"),
        ('print(\'{"loss": "low", "memory": 2}\')', "loss: expected one real number"),
        ('print(\'{"loss": NaN, "memory": 2}\')', "loss is nan"),
        ("import time; time.sleep(60)", "ended at its time limit of 1 s"),
    ],
)
def test_a_trial_that_breaks_is_a_failed_one_that_says_why(write, capsys, code, reason):
    write(
        "time_limit: 1\n".replace("1", "1" if "sleep" in code else "60"),
        code=code,
    )
    assert main(["tune", "tune.yaml", "--workers", "4"]) == 1
    assert [trial.state for trial in trials()] == ["failed"] * 4
    assert reason in trials()[0].reason
    out, err = capsys.readouterr()
    assert "Failed: 4 of 4 trials" in out
    assert "Traceback" not in err
    assert "no trial succeeded; their logs are in" in err


def test_one_failure_among_successes_is_listed(write, capsys):
    code = "import sys; sys.exit('out of memory') if sys.argv[1] == '2' else print('{\"loss\": 1, \"memory\": 1}')"
    write(code=code)
    assert main(["tune", "tune.yaml"]) == 0
    out, err = capsys.readouterr()
    assert "trial 2: CommandFailed: ended with exit status 1: out of memory" in out
    assert err.count("out of memory") == 1


def test_the_cost_is_what_the_file_says(write):
    write("cost: tokens\n")
    main(["tune", "tune.yaml"])
    assert [trial.cost for trial in trials()] == [100.0] * 4


def test_the_cost_is_the_seconds_by_default_whatever_the_command_prints(write):
    write(code="import json; print(json.dumps({'loss': 1, 'memory': 1, 'cost': 1e9}))")
    main(["tune", "tune.yaml"])
    assert all(0 < trial.cost < 1e6 for trial in trials())


def test_a_curve_worse_than_most_is_stopped_early(write, folder, capsys, monkeypatch):
    monkeypatch.setattr("bayesopt.cli._REPORT_SECONDS", 0.0)
    # Five good curves first: the rule needs them. The sixth is bad and would go on for a minute.
    code = """
import json, sys, time
bad = int(sys.argv[1]) == 5
for step in range(1, 4): print(json.dumps({"step": step, "loss": 9.0 if bad else 1.0 / step, "note": "x"}))
time.sleep(60 * bad)
print(json.dumps({"loss": 0.3, "memory": 1}))
"""
    write("stop_early: true\n", code=code)
    yaml = folder / "tune.yaml"
    yaml.write_text(yaml.read_text().replace("trials: 4", "trials: 6").replace("[a, b]", "[a, b, c, d, e, f]"))
    yaml.write_text(yaml.read_text().replace("  x: {type: float, low: 0, high: 1}\n", ""))  # finite: asks need no model
    assert main(["tune", "tune.yaml"]) == 0
    stopped = trials()[5]
    assert (stopped.state, stopped.values["loss"], stopped.values["memory"]) == ("complete", 9.0, None)
    assert "stopped early" in capsys.readouterr().out


# -- bad usage -----------------------------------------------------------------------------------------------------


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


def test_a_study_that_was_declared_differently_is_not_touched(write, folder, capsys):
    write()
    main(["tune", "tune.yaml"])
    yaml = folder / "tune.yaml"
    yaml.write_text(yaml.read_text().replace("high: 1", "high: 2"))
    capsys.readouterr()
    assert main(["tune", "tune.yaml"]) == 2
    assert "was declared differently" in capsys.readouterr().err
    assert len(trials()) == 4


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
    from bayesopt.config_file import _KEYS, read_study_file

    with pytest.raises(SystemExit):
        main(["tune", "--help"])
    assert EXAMPLE in capsys.readouterr().out
    Path("tune.yaml").write_text(EXAMPLE)
    file = read_study_file(Path("tune.yaml"))
    assert file.space.names == ("lr", "batch_size", "optimizer", "momentum", "mixture")
    shown = {line.split(":")[0] for line in EXAMPLE.splitlines() if line[:1].isalpha()}
    assert shown == set(_KEYS) - {"maximize"}


# -- looking at a study --------------------------------------------------------------------------------------------


def make_study(n=3, **options):
    space = bo.Space({"lr": bo.Float(1e-5, 1e-1, log=True), "mix": bo.Simplex(["web", "code"])})
    declared = {"minimize": "loss", "subject_to": [bo.AtMost("memory", 9.0)], "storage": "study.db", "seed": 0}
    with bo.Study(space, **(declared | options)) as study:
        for i in range(n):
            study.tell(study.ask(), {"loss": 3.0 - i, "memory": 5.0 * i}, cost=1.5)
    return study


def test_show_tells_goal_spending_best_and_failures(folder, capsys):
    make_study()
    with Study.open("study.db") as study:
        study.fail(study.ask(), "exploded\nat line 3")
    assert main(["show"]) == 0
    out = capsys.readouterr().out
    assert "Goal      minimize loss, subject to memory <= 9" in out
    assert "Spent     4 trials, cost 4.5" in out
    assert "Best: trial 1 (as measured; no model has judged these 3 told trials yet)" in out
    assert "  memory  5  (<= 9)" in out
    assert "  trial 3: exploded\n" in out
    assert "trial 2" not in out  # infeasible


def test_show_all_lists_every_trial_and_marks_what_breaks_a_constraint(folder, capsys):
    make_study()
    main(["show", "--all", "study.db"])
    table = capsys.readouterr().out.split("All trials (! breaks a constraint)\n")[1].splitlines()
    assert [line.split()[0] for line in table] == ["trial", "0", "1", "2"]
    assert "!10" in table[3]


def test_show_of_a_study_without_trials_and_without_feasible_ones(folder, capsys):
    make_study(0)
    assert main(["show"]) == 0
    assert "No best trial yet: none has been told." in capsys.readouterr().out
    assert main(["best"]) == 1
    assert capsys.readouterr().err == "bayesopt: No best trial yet: none has been told.\n"
    with Study.open("study.db") as study:
        study.tell(study.ask(), {"loss": 1.0, "memory": 99.0})
    assert main(["best"]) == 1
    assert "none of 1 told trials satisfies every constraint" in capsys.readouterr().err


def test_best_is_the_models_where_it_has_judged(folder, capsys):
    make_study()
    with Study.open("study.db") as study:
        study._store.recommend({"told": 3, "trial": 0})
    assert main(["best"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Best: trial 0 (judged by a model; it takes trial 1's loss 2, memory 5 for luck)")
    main(["best", "--json"])
    best = json.loads(capsys.readouterr().out)
    assert best["trial"] == 0
    assert best["values"] == {"loss": 3.0, "memory": 0.0}
    assert best["params"].keys() == {"lr", "mix"}


def test_several_studies_in_one_file_are_listed_and_chosen_by_name(folder, capsys):
    make_study(name="one")
    make_study(1, name="two")
    assert main(["show"]) == 0
    out = capsys.readouterr().out
    assert "study.db holds 2 studies" in out
    assert "  one: 3 trials" in out
    assert main(["best"]) == 2
    assert "study.db holds 'one', 'two'; choose one with --name." in capsys.readouterr().err
    assert main(["best", "--name", "two"]) == 0
    assert main(["best", "--name", "three"]) == 2
    assert "holds no study 'three'; it holds 'one', 'two'" in capsys.readouterr().err


def test_export_writes_every_trial_as_csv(folder, capsys):
    make_study()
    with Study.open("study.db") as study:
        study.fail(study.ask(), 'a "reason", with\na second line')
    assert main(["export"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["id"] for row in rows] == ["0", "1", "2", "3"]
    assert float(rows[0]["mix.web"]) + float(rows[0]["mix.code"]) == pytest.approx(1.0)
    assert rows[3]["reason"] == 'a "reason", with\na second line'
    assert main(["export", "--out", "trials.csv"]) == 0
    with open("trials.csv", newline="") as file:
        assert list(csv.DictReader(file)) == rows


def test_export_writes_strict_json(folder, capsys):
    make_study()
    with Study.open("study.db") as study:
        study.tell(study.ask(), {"loss": float("nan"), "memory": float("inf")})
    assert main(["export", "--format", "json"]) == 0
    exported = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert [trial["state"] for trial in exported["trials"]] == ["complete"] * 3 + ["failed"]
    assert exported["trials"][3]["values"] == {"loss": "nan", "memory": "inf"}
    assert bo.Space.from_json(exported["space"]).names == ("lr", "mix")


def test_an_export_that_cannot_be_written_is_status_1(folder, capsys):
    make_study()
    assert main(["export", "--out", "no/such/folder.csv"]) == 1
    assert "No such file or directory" in capsys.readouterr().err


def test_a_yaml_file_names_its_study(write, capsys):
    write()
    assert main(["show", "tune.yaml"]) == 1
    assert "there is no such file; `bayesopt tune FILE.yaml` makes one" in capsys.readouterr().err
    main(["tune", "tune.yaml"])
    capsys.readouterr()
    assert main(["show", "tune.yaml"]) == 0
    assert "4 of 4 trials" in capsys.readouterr().out
    assert main(["best", "tune.yaml"]) == 0
    assert "as measured" not in capsys.readouterr().out  # noise: 0, nothing is left to judge


def test_plot_writes_a_picture(folder, capsys):
    pytest.importorskip("matplotlib")
    make_study(1)
    assert main(["plot"]) == 0
    assert Path("study.png").read_bytes().startswith(b"\x89PNG")
    assert main(["plot", "--out", "page.svg"]) == 0
    assert Path("page.svg").stat().st_size > 0
    assert main(["plot", "--out", "page.doc"]) == 2
    assert "no picture format ends in 'doc'; take one of" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["show"], ["best"], ["export"]], ids=lambda arguments: arguments[0])
def test_looking_at_a_study_loads_no_torch(folder, arguments):
    make_study(7)
    code = f"from bayesopt.cli import main; main({arguments}); print('torch' in sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", start_code(code)], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "False"


def test_a_reader_that_has_seen_enough_is_no_error(folder):
    make_study(3)
    program = start_code("from bayesopt.cli import main; sys.exit(main(['export']))")
    command = shlex.join([sys.executable, "-c", program])
    done = subprocess.run(["sh", "-c", f"{command} | true"], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_a_study_on_a_server_is_shown_without_its_password(write, folder, postgresql_url, capsys):
    write(f"storage: {postgresql_url}\nname: served\n")
    assert main(["tune", "tune.yaml"]) == 0
    assert (folder / "served-logs" / "trial-0003.log").exists()
    assert main(["show", postgresql_url]) == 0
    assert main(["best", "tune.yaml"]) == 0
    out = capsys.readouterr().out
    assert "Study 'served' in postgresql" in out
    password = make_url(postgresql_url).password
    assert password is None or password not in out


def test_logs_that_cannot_be_written_stop_the_study_before_its_first_trial(write, folder, capsys):
    write()
    Path("tune-logs").write_text("in the way")
    assert main(["tune", "tune.yaml"]) == 1
    assert "tune-logs" in capsys.readouterr().err
    assert not Path("tune.db").exists()


# -- interruptions, in processes of their own ----------------------------------------------------------------------


def start_code(code):
    # Ctrl-C reaches a program as SIGINT, which runners that start in the background have set to be ignored.
    return (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        f'sys.path.insert(0, "{ROOT}"); {code}'
    )


@pytest.fixture
def start(folder):
    started = []

    def start(*arguments):
        code = start_code(f"from bayesopt.cli import main; sys.exit(main({list(arguments)!r}))")
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def n_started(folder):
    return len((folder / "started").read_text()) if (folder / "started").exists() else 0


def is_running(marker):
    return marker in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_first_ctrl_c_finishes_the_trial_and_the_same_command_goes_on(write, folder, start, workers):
    write(seconds=1.0)
    process = start("tune", "tune.yaml", "--workers", workers)
    wait_for(lambda: n_started(folder) == int(workers))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "To go on: bayesopt tune tune.yaml" in out
    assert "Traceback" not in err
    assert [trial.state for trial in trials()] == ["complete"] * int(workers)
    write(seconds=0.0)
    assert start("tune", "tune.yaml").wait(timeout=60) == 0
    assert [trial.state for trial in trials()] == ["complete"] * 4


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_second_ctrl_c_kills_the_commands_at_once(write, folder, start, workers):
    seconds = f"{1000 + os.getpid() % 997}.25"  # also the mark by which the commands are found among all processes
    write(seconds=seconds)
    process = start("tune", "tune.yaml", "--workers", workers)
    wait_for(lambda: n_started(folder) == int(workers))
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    assert is_running(seconds)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    wait_for(lambda: not is_running(seconds))
    assert [(trial.state, trial.lost) for trial in trials()] == [("failed", True)] * int(workers)
    write(seconds=0.0)
    assert start("tune", "tune.yaml").wait(timeout=60) == 0
    assert sum(trial.state == "complete" for trial in trials()) == 4


@pytest.mark.slow
def test_a_request_to_end_takes_the_command_along(write, folder, start):
    seconds = f"{2000 + os.getpid() % 997}.25"
    write(seconds=seconds)
    process = start("tune", "tune.yaml")
    wait_for(lambda: n_started(folder) == 1)
    process.terminate()
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    wait_for(lambda: not is_running(seconds))


@pytest.mark.slow
def test_a_command_line_that_was_killed_goes_on_and_repeats_no_trial(write, folder, start):
    write(seconds=0.3)
    process = start("tune", "tune.yaml")
    wait_for(lambda: n_started(folder) == 3)
    process.kill()
    process.wait()
    told = [trial for trial in trials() if trial.state == "complete"]
    assert len(told) == 2
    write(seconds=0.0)
    process = start("tune", "tune.yaml")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "going on after 3 trials" in out
    after = trials()
    assert after[:2] == told
    assert after[2].lost
    assert sum(trial.state == "complete" for trial in after) == 4
    params = [json.dumps(trial.params) for trial in after if not trial.lost]
    assert len(set(params)) == len(params)
