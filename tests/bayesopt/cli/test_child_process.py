"""A trial's command: what it prints is logged and read, and nothing that it started outlives it."""

import os
import sys
import threading
import time

import pytest

from bayesopt.cli.child_process import Children, Command
from bayesopt.errors import TrialFailed

LONG = 60.0
"""Seconds that a command would take if nobody ended it; the tests end long before."""


@pytest.fixture
def run(tmp_path):
    def run(code, stop_at=None, time_limit=LONG, **environment):
        command = Command(
            arguments=[sys.executable, "-c", code],
            folder=tmp_path,
            environment=environment,
            log=tmp_path / "logs" / "trial.log",
            time_limit=time_limit,
        )
        return Children().run(command, stop_at)

    return run


@pytest.fixture
def log(tmp_path):
    return (tmp_path / "logs" / "trial.log").read_text


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # An orphan that ended waits for init to collect it, which some containers' init never does.
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("printed", "outcomes"),
    [
        (r'{"loss": 1.5}\n', {"loss": 1.5}),
        (r'{"loss": 1.5}', {"loss": 1.5}),
        (r'{"loss": 1}\n{"loss": 2}\nbye\n', {"loss": 2}),
        (r'{"loss": 1}\n{"loss": }\n{loss}\n', {"loss": 1}),
        (r'{"loss": 1}\n[1, 2]\n3\n"text"\nnull\n', {"loss": 1}),
        (r' 40%\r100%\r{"loss": 1}\r\n', {"loss": 1}),
        (r'{"loss": Infinity}\n', {"loss": float("inf")}),
        (r'{"größe": 1}\n', {"größe": 1}),
        (r'{"a": {"b": [1]}, "loss": 1}\n', {"a": {"b": [1]}, "loss": 1}),
    ],
)
def test_the_last_json_object_on_a_line_of_its_own_is_the_result(run, printed, outcomes):
    assert run(f"import sys; sys.stdout.buffer.write('{printed}'.encode())") == outcomes


def test_a_line_that_nests_too_deep_for_json_is_no_result(run):
    assert run("print('{\"loss\": 1}'); print('{\"a\":' * 100_000 + '1' + '}' * 100_000)") == {"loss": 1}


def test_json_on_standard_error_is_no_result(run):
    with pytest.raises(TrialFailed, match="printed no JSON object"):
        run("import sys; print('{\"loss\": 1}', file=sys.stderr)")


def test_both_streams_are_in_the_log_below_the_command_line(run, log):
    run("import sys; print('out'); print('err', file=sys.stderr); print('{\"loss\": 1}')")
    first, *rest = log().splitlines()
    assert first.startswith("$ ")
    assert sorted(rest) == ["err", "out", '{"loss": 1}']


def test_the_log_grows_while_the_command_runs(run, tmp_path, log):
    gate = tmp_path / "gate"
    code = f"import os, time\nprint('begun')\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\nprint('{{}}')"
    thread = threading.Thread(target=run, args=(code,))
    thread.start()
    wait_for(lambda: (tmp_path / "logs" / "trial.log").exists() and "begun" in log().splitlines())
    gate.touch()
    thread.join()


def test_output_of_any_size_is_logged_and_not_kept_in_memory(run, tmp_path):
    import tracemalloc

    tracemalloc.start()
    # 40 MB on one line, then 40 MB in short ones
    run("print('{' + 'x' * 40_000_000 + '}'); [print('y' * 99) for _ in range(400_000)]; print('{\"loss\": 1}')")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "logs" / "trial.log").stat().st_size > 80_000_000
    assert peak < 8_000_000  # a line of 1 MiB, a chunk, and what Python needs besides


def test_a_failure_tells_the_exit_status_and_what_was_said_last(run):
    with pytest.raises(TrialFailed, match=r"ended with exit status 1: ValueError: lr is odd\n(.*\n)*.*\| Traceback"):
        run("raise ValueError('lr is odd')")


def test_outcomes_of_a_command_that_failed_do_not_count(run):
    with pytest.raises(TrialFailed, match="exit status 3"):
        run("print('{\"loss\": 1}'); raise SystemExit(3)")


def test_a_kill_from_outside_is_named(run):
    with pytest.raises(TrialFailed, match=r"was killed by SIGKILL .*memory.*; it printed nothing"):
        run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")


def test_a_program_that_does_not_exist_is_named(tmp_path):
    command = Command(arguments=["no-such-program"], folder=tmp_path, environment={}, log=tmp_path / "log")
    with pytest.raises(TrialFailed, match="'no-such-program' could not be started: No such file"):
        Children().run(command)


def test_a_time_limit_ends_the_whole_process_group(run, tmp_path):
    code = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep({LONG})"])
open("child", "w").write(str(child.pid))
time.sleep({LONG})
"""
    start = time.monotonic()
    with pytest.raises(TrialFailed, match=r"ended at its time limit of 1 s"):
        run(code, time_limit=1.0)
    assert time.monotonic() - start < LONG / 2
    wait_for(lambda: not is_alive(int((tmp_path / "child").read_text())))


def test_a_command_that_ignores_the_request_to_end_is_killed(run, monkeypatch):
    monkeypatch.setattr("bayesopt.cli.child_process._GRACE_SECONDS", 0.2)
    with pytest.raises(TrialFailed, match=r"ended at its time limit"):
        run(f"import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep({LONG})", time_limit=1.0)


def test_what_the_command_left_running_neither_delays_the_result_nor_stays(run, tmp_path):
    code = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep({LONG})"])
open("child", "w").write(str(child.pid))
print('{{"loss": 1}}')
"""
    start = time.monotonic()
    assert run(code) == {"loss": 1}
    assert time.monotonic() - start < LONG / 2
    wait_for(lambda: not is_alive(int((tmp_path / "child").read_text())))


def test_a_command_that_closes_its_output_early_is_waited_for(run, tmp_path):
    run(
        "import os, time; print('{\"loss\": 1}', flush=True); os.close(1); os.close(2);"
        "time.sleep(0.3); open('done', 'w').close()"
    )
    assert (tmp_path / "done").exists()


def test_a_watcher_sees_every_object_and_can_end_the_command(run):
    seen = []

    def stop_at(printed):
        seen.append(printed["step"])
        return len(seen) == 3

    code = f"import json, time\nfor step in range(5): print(json.dumps(dict(step=step)))\ntime.sleep({LONG})"
    assert run(code, stop_at) == {"step": 2}
    assert seen == [0, 1, 2]


def test_the_environment_is_handed_on_and_standard_input_is_empty(run):
    code = "import json, os, sys; print(json.dumps({'answer': os.environ['ANSWER'], 'input': sys.stdin.read()}))"
    assert run(code, ANSWER="42") == {"answer": "42", "input": ""}


def test_ending_all_kills_what_runs_and_starts_nothing_more(tmp_path):
    children = Children()
    ended = []

    def work(log):
        with pytest.raises(KeyboardInterrupt):
            children.run(
                Command(
                    arguments=[sys.executable, "-c", f"import time; print('begun'); time.sleep({LONG})"],
                    folder=tmp_path,
                    environment={},
                    log=log,
                )
            )
        ended.append(log)

    logs = [tmp_path / f"{i}.log" for i in range(2)]
    threads = [threading.Thread(target=work, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    wait_for(lambda: all(log.exists() and "begun" in log.read_text().splitlines() for log in logs))
    children.end_all()
    for thread in threads:
        thread.join(timeout=20)
    assert sorted(ended) == logs
    work(tmp_path / "late.log")
