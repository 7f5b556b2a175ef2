"""Processes that are interrupted while they tune: nothing outlives them, and the same command goes on."""

import json
import os
import signal
import subprocess
import time

import pytest


@pytest.fixture
def start(folder, python):
    started = []

    def start(*arguments):
        command = python(f"from bayesopt.cli import main; sys.exit(main({list(arguments)!r}))")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder)
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
def test_the_first_ctrl_c_finishes_the_trial_and_the_same_command_goes_on(write, folder, start, workers, trials):
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
def test_the_second_ctrl_c_kills_the_commands_at_once(write, folder, start, workers, trials):
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
def test_a_command_line_that_was_killed_goes_on_and_repeats_no_trial(write, folder, start, trials):
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
