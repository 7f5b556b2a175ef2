"""`bayesopt tune`: the whole budget is evaluated, and what breaks is a failed trial that says why."""

from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from bayesopt.cli import main


def test_tuning_evaluates_the_whole_budget_and_shows_the_best(write, folder, capsys, trials):
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


def test_workers_run_at_the_same_time(write, trials):
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
def test_a_trial_that_breaks_is_a_failed_one_that_says_why(write, capsys, code, reason, trials):
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
    assert "trial 2: ended with exit status 1: out of memory" in out
    assert err.count("out of memory") == 1


def test_what_the_file_queues_is_tried_first_and_once(write, trials, capsys):
    write("enqueue:\n  - {x: 1e-1, y: b}\n  - {x: 0.25, y: a}\n")
    assert main(["tune", "tune.yaml"]) == 0
    assert "going on" not in capsys.readouterr().out
    assert [(trial.params, trial.source) for trial in trials()[:2]] == [
        ({"x": 0.1, "y": "b"}, "enqueued"),
        ({"x": 0.25, "y": "a"}, "enqueued"),
    ]
    write("enqueue: [{x: 0.5, y: b}]\n")  # the study has begun, so its first trials are past
    assert main(["tune", "tune.yaml"]) == 0
    assert len(trials()) == 4


def test_a_failure_is_charged_its_seconds_whatever_others_cost(write, trials):
    code = "import sys; sys.exit('broke') if sys.argv[1] == '2' else print('{\"loss\": 1, \"memory\": 1}')"
    write(code=code)
    main(["tune", "tune.yaml"])
    assert [trial.state for trial in trials()] == ["complete", "complete", "failed", "complete"]
    assert all(0 < trial.cost < 60 for trial in trials())


def test_the_cost_is_what_the_file_says(write, trials):
    write("cost: tokens\n")
    main(["tune", "tune.yaml"])
    assert [trial.cost for trial in trials()] == [100.0] * 4


def test_the_cost_is_the_seconds_by_default_whatever_the_command_prints(write, trials):
    write(code="import json; print(json.dumps({'loss': 1, 'memory': 1, 'cost': 1e9}))")
    main(["tune", "tune.yaml"])
    assert all(0 < trial.cost < 1e6 for trial in trials())


def test_a_curve_worse_than_most_is_stopped_early(write, folder, trials, capsys, monkeypatch):
    monkeypatch.setattr("bayesopt.cli.tune._REPORT_SECONDS", 0.0)
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


def test_a_study_that_was_declared_differently_is_not_touched(write, folder, capsys, trials):
    write()
    main(["tune", "tune.yaml"])
    yaml = folder / "tune.yaml"
    yaml.write_text(yaml.read_text().replace("high: 1", "high: 2"))
    capsys.readouterr()
    assert main(["tune", "tune.yaml"]) == 2
    assert "was declared differently" in capsys.readouterr().err
    assert len(trials()) == 4


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
