"""The command of a trial: its placeholders, without a shell."""

import json
import sys

import pytest

from bayesopt.errors import ConfigFileError
from tests.bayesopt.cli.files import FULL, MIX, PARAMS, SMALL, trial


def test_placeholders_become_values_without_a_shell(read):
    command = read(FULL).command(trial({**PARAMS, "mixture": MIX}))
    assert command.arguments == [
        *["python3", "train.py", "--lr", "0.0003", "--batch=32", "sgd", "--momentum", "0.9"],
        *["--mix", json.dumps(MIX), "7"],
    ]
    assert json.loads(command.environment["CONFIG"]) == {**PARAMS, "mixture": MIX}
    assert json.loads(command.environment["PRIORWISE_PARAMS"]) == {**PARAMS, "mixture": MIX}
    assert command.environment["PRIORWISE_TRIAL"] == "7"
    assert command.environment["OMP_NUM_THREADS"] == "1"
    assert command.time_limit == 600


def test_an_argument_with_an_inactive_parameter_is_left_out_with_its_option(read):
    params = {"lr": 3e-4, "batch_size": 32, "optimizer": "adamw", "mixture": MIX}
    arguments = read(FULL).command(trial(params)).arguments
    assert arguments[:6] == ["python3", "train.py", "--lr", "0.0003", "--batch=32", "adamw"]
    assert arguments[6] == "--mix"


@pytest.mark.parametrize(
    ("template", "arguments"),
    [
        ('["prog", "--m={momentum}", "{opt}"]', ["prog", "adamw"]),
        ('["prog", "{momentum}", "{opt}"]', ["prog", "adamw"]),
        ('["prog", "{opt}", "{momentum}"]', ["prog", "adamw"]),
        ('["prog", "--opt={opt}", "{momentum}"]', ["prog", "--opt=adamw"]),
        ('["prog", "--a", "{momentum}", "{momentum}", "{opt}"]', ["prog", "adamw"]),
    ],
)
def test_what_stands_before_an_inactive_parameter_stays_unless_it_is_an_option_of_its_own(read, template, arguments):
    space = """\
space:
  opt: {type: choice, options: [adamw, sgd]}
  momentum: {type: float, low: 0, high: 1, active_if: {opt: [sgd]}}
"""
    file = read(f"{space}minimize: loss\nbudget: {{trials: 3}}\ncommand: {template}\n")
    assert file.command(trial({"opt": "adamw"})).arguments == arguments


@pytest.mark.parametrize(
    ("template", "arguments"),
    [
        ('"a b{{c}} {x}"', ["a", "b{c}", "0.5"]),
        ("""'"a b" {x}'""", ["a b", "0.5"]),
        ('[a, 3, true, "{params}"]', ["a", "3", "true", '{"x": 0.5}']),
        ('[a, "{{{x}}}"]', ["a", "{0.5}"]),
        ('[a, "{x}{x}-{trial}"]', ["a", "0.50.5-7"]),
        ('[a, "$HOME; rm {x}"]', ["a", "$HOME; rm 0.5"]),
    ],
)
def test_templates_are_filled_as_they_are_written(read, template, arguments):
    file = read(SMALL.replace('[python3, train.py, "{x}"]', template))
    assert file.command(trial({"x": 0.5})).arguments == arguments


def test_a_value_that_looks_like_a_placeholder_is_not_filled_again(read):
    file = read(SMALL.replace("{type: float, low: 0, high: 1}", '{type: choice, options: ["{trial}", b]}'))
    assert file.command(trial({"x": "{trial}"})).arguments[-1] == "{trial}"


def test_other_values_than_text_are_written_as_json(read):
    file = read(SMALL.replace("{type: float, low: 0, high: 1}", "{type: choice, options: [true, null, 2, größe]}"))
    filled = [file.command(trial({"x": option})).arguments[-1] for option in (True, None, 2, "größe")]
    assert filled == ["true", "null", "2", "größe"]


@pytest.mark.parametrize("mention", ["{x.a}", "{x}", "{params}"])
def test_a_mixture_is_mentioned_by_a_share_as_a_whole_or_with_everything(read, mention):
    space = SMALL.replace("{type: float, low: 0, high: 1}", "{type: simplex, names: [a, b]}")
    read(space.replace('"{x}"', f'"{mention}"'))


def test_a_program_is_looked_for_on_the_path_and_in_the_folder(read, tmp_path):
    read(SMALL.replace("python3", json.dumps(sys.executable))).check_command()
    with pytest.raises(ConfigFileError, match=r"command: there is no program 'pyton3' on the PATH"):
        read(SMALL.replace("python3", "pyton3")).check_command()
    with pytest.raises(ConfigFileError, match=r"no program './go' in "):
        read(SMALL.replace("python3", "./go")).check_command()
    (tmp_path / "go").write_text("#!/bin/sh\n")
    (tmp_path / "go").chmod(0o755)
    read(SMALL.replace("python3", "./go")).check_command()
    with pytest.raises(ConfigFileError, match=r"folder: there is no folder"):
        read(SMALL + "folder: nowhere\n").check_command()
