"""A YAML file becomes a study and a command, or one error that says where it is wrong."""

import json
import sys

import pytest

import bayesopt as bo
from bayesopt.config_file import read_study_file
from bayesopt.errors import ConfigFileError, InvalidBudgetError
from bayesopt.record.trial import Trial

FULL = """\
space:
  lr: {type: float, low: 1e-5, high: 1e-1, log: yes}
  batch_size: {type: int, low: 16, high: 512, log: true}
  optimizer:
    type: choice
    options: [adamw, sgd]
  momentum: {type: float, low: 0, high: .99, active_if: {optimizer: sgd}}
  mixture: {type: simplex, names: [web, code, math], floors: 0.01, caps: {web: 0.8}}
linear_constraints:
  - {coefficients: {batch_size: 1, mixture.web: 100}, upper: 500}
minimize: val_loss
subject_to:
  memory_gb: {at_most: 24}
  accuracy: {at_least: 0.9}
priors:
  lr: {center: 3e-4, spread: 3.0}
  optimizer: {weights: {adamw: 3, sgd: 1}}
  mixture: {center: {web: 0.5, code: 0.3, math: 0.2}, concentration: 10}
budget: {trials: 40, cost: 3600}
storage: runs/tune.db
name: digits
seed: 7
noise: 0.01
workers: 2
time_limit: 600
cost: gpu_seconds
environment: {OMP_NUM_THREADS: 1, CONFIG: "{params}"}
logs: logs
command: python3 train.py --lr {lr} --batch={batch_size} {optimizer} --momentum {momentum} --mix {mixture} {trial}
"""

SMALL = """\
space:
  x: {type: float, low: 0, high: 1}
minimize: loss
budget: {trials: 3}
command: [python3, train.py, "{x}"]
"""


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "tune.yaml"
        path.write_text(text, encoding="utf-8")
        return read_study_file(path)

    return read


def trial(params, number=7):
    return Trial(number, params)


def test_every_key_reaches_the_study(read, tmp_path):
    file = read(FULL)
    expected = bo.Space(
        {
            "lr": bo.Float(1e-5, 1e-1, log=True),
            "batch_size": bo.Int(16, 512, log=True),
            "optimizer": bo.Choice(["adamw", "sgd"]),
            "momentum": bo.Float(0.0, 0.99, active_if={"optimizer": "sgd"}),
            "mixture": bo.Simplex(["web", "code", "math"], floors=0.01, caps={"web": 0.8}),
        },
        constraints=[bo.LinearConstraint({"batch_size": 1.0, "mixture.web": 100.0}, upper=500.0)],
    )
    assert file.space == expected
    assert file.subject_to == (bo.AtMost("memory_gb", 24.0), bo.AtLeast("accuracy", 0.9))
    assert dict(file.priors[0].beliefs) == {
        "lr": (3e-4, 3.0),
        "optimizer": {"adamw": 3, "sgd": 1},
        "mixture": ({"web": 0.5, "code": 0.3, "math": 0.2}, 10),
    }
    assert file.budget == bo.Budget(trials=40, cost=3600.0)
    assert (file.name, file.seed, file.noise, file.workers) == ("digits", 7, 0.01, 2)
    assert (file.time_limit, file.cost, file.stop_early) == (600, "gpu_seconds", False)
    assert file.storage == str(tmp_path / "runs" / "tune.db")
    assert file.logs == tmp_path / "logs"
    assert file.folder == tmp_path


def test_a_small_file_keeps_everything_beside_itself(read, tmp_path):
    file = read(SMALL)
    assert file.storage == str(tmp_path / "tune.db")
    assert file.logs == tmp_path / "tune-logs"
    assert file.folder == tmp_path
    assert file.command(trial({"x": 0.5})).log == tmp_path / "tune-logs" / "trial-0007.log"
    with file.open_study() as study:
        assert study.outcomes.objective.direction == "minimize"
        assert study.budget.limit == bo.Budget(trials=3)


def test_studies_that_share_a_storage_have_logs_of_their_own(read, tmp_path):
    assert read(SMALL + "name: a/b c\n").logs == tmp_path / "tune-a_b_c-logs"
    url = "storage: postgresql://user:secret@host/db\n"
    assert read(SMALL + url).logs == tmp_path / "logs"
    assert read(SMALL + url + "name: n\n").logs == tmp_path / "n-logs"


# -- scalars -------------------------------------------------------------------------------------------------------


def test_options_are_what_yaml_1_2_says_they_are(read):
    options = "[1e-5, 1e3, on, off, yes, no, true, 12:30:00, 2024-01-01, 1_234, 007x, ~, .5, +3, 'null', 0x1F]"
    file = read(SMALL.replace("x: {type: float, low: 0, high: 1}", f"x: {{type: choice, options: {options}}}"))
    expected = [1e-5, 1e3, "on", "off", "yes", "no", True, "12:30:00", "2024-01-01", 1234, "007x", None, 0.5, 3, "null"]
    expected.append("0x1F")
    assert list(file.space["x"].options) == expected
    assert [type(option) for option in file.space["x"].options] == [type(option) for option in expected]


@pytest.mark.parametrize("low", ["1e-5", "'1e-5'", "0.00001", "1E-5", ".00001"])
def test_a_number_may_be_written_in_any_way(read, low):
    assert read(SMALL.replace("low: 0", f"low: {low}")).space["x"].low == 1e-5


def test_a_name_that_yaml_1_1_takes_for_a_boolean_stays_a_name(read):
    assert list(read(SMALL.replace("x:", "y:").replace("{x}", "{y}")).space) == ["y"]


# -- the command ---------------------------------------------------------------------------------------------------

PARAMS = {"lr": 3e-4, "batch_size": 32, "optimizer": "sgd", "momentum": 0.9}
MIX = {"web": 0.5, "code": 0.25, "math": 0.25}


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


# -- cost ----------------------------------------------------------------------------------------------------------


def test_a_trial_is_charged_its_seconds_or_a_named_outcome(read):
    assert read(SMALL).charge({"loss": 1.0}, 2.5) == 2.5
    file = read(SMALL + "cost: tokens\n")
    assert file.charge({"loss": 1.0, "tokens": 1000}, 2.5) == 1000.0
    with pytest.raises(InvalidBudgetError, match="its JSON has no 'tokens', the cost; it has loss"):
        file.charge({"loss": 1.0}, 2.5)
    with pytest.raises(InvalidBudgetError, match="tokens: expected a finite number of at least 0"):
        file.charge({"loss": 1.0, "tokens": -1}, 2.5)


# -- errors --------------------------------------------------------------------------------------------------------

X = "  x: {type: float, low: 0, high: 1}"

WRONG = {
    "an empty file": ("", r"tune\.yaml: is empty"),
    "comments alone": ("# nothing\n", r"tune\.yaml: is empty"),
    "a list at the top": ("- a\n", r"tune\.yaml:1: expected keys such as `space:`"),
    "a tab": (SMALL.replace("  x", "\tx"), r"tune\.yaml:2: a tab; YAML indents with spaces"),
    "an open bracket": (SMALL.replace("high: 1}", "high: 1"), r"tune\.yaml:3: "),
    "two documents": (SMALL + "---\n" + SMALL, r"tune\.yaml:6: "),
    "a key twice": (SMALL + "minimize: other\n", r"tune\.yaml:6: minimize: stands twice, first in line 3"),
    "a parameter twice": (SMALL.replace(X, f"{X}\n{X}"), r"tune\.yaml:3: space\.x: stands twice, first in line 2"),
    "a field twice": (SMALL.replace("low: 0", "low: 0, low: 0.5"), r"tune\.yaml:2: space\.x\.low: stands twice"),
    "an unknown key": (SMALL + "bugdet: 3\n", r"tune\.yaml:6: bugdet: unknown key; did you mean 'budget'\?"),
    "a key like none": (SMALL + "zzz: 3\n", r"tune\.yaml:6: zzz: unknown key; known here: space, "),
    "no space": (SMALL.replace("space:\n" + X, ""), r"tune\.yaml:2: 'space' is missing"),
    "no budget": (SMALL.replace("budget: {trials: 3}", ""), r"'budget' is missing"),
    "no objective": (SMALL.replace("minimize: loss", ""), r"give either `minimize: outcome` or .* got neither"),
    "two objectives": (SMALL + "maximize: b\n", r"give either .* got both"),
    "an objective that is a list": (
        SMALL.replace("loss", "[a]"),
        r"tune\.yaml:3: minimize: expected a single value, got",
    ),
    "an unknown field": (SMALL.replace("low: 0", "lo: 0"), r"tune\.yaml:2: space\.x\.lo: unknown key; .*'low'"),
    "no type": (SMALL.replace("type: float, ", ""), r"tune\.yaml:2: space\.x: 'type' is missing"),
    "an unknown type": (SMALL.replace("float", "floot"), r"tune\.yaml:2: space\.x\.type: .*did you mean 'float'"),
    "no upper bound": (SMALL.replace(", high: 1", ""), r"tune\.yaml:2: space\.x: 'high' is missing"),
    "a bound that is text": (
        SMALL.replace("low: 0", "low: abc"),
        r"tune\.yaml:2: space\.x\.low: expected a number, got 'abc'",
    ),
    "a bound that is nan": (
        SMALL.replace("low: 0", "low: .nan"),
        r"tune\.yaml:2: space\.x\.low: expected a finite number",
    ),
    "a bound that is empty": (SMALL.replace("low: 0", "low: "), r"low: expected a finite number, got nothing"),
    "bounds the wrong way": (SMALL.replace("low: 0", "low: 2"), r"tune\.yaml:2: space\.x: .*low"),
    "a fraction for an int": (
        SMALL.replace("float, low: 0", "int, low: 0.5"),
        r"tune\.yaml:2: space\.x\.low: expected a whole number, got '0\.5'",
    ),
    "options that are no list": (
        SMALL.replace("{type: float, low: 0, high: 1}", "{type: choice, options: a}"),
        r"tune\.yaml:2: space\.x\.options: expected a list such as \[a, b\], got 'a'",
    ),
    "a flag that is a number": (
        SMALL.replace("high: 1", "high: 1, log: 3"),
        r"x\.log: expected true or false, got '3'",
    ),
    "a parent that is not there": (
        SMALL.replace("high: 1", "high: 1, active_if: {y: 1}"),
        r"tune\.yaml:1: space: .*'y'",
    ),
    "a name that is a number": (SMALL.replace("x:", "3:"), r"tune\.yaml:2: space\.3: a name is needed here, got 3"),
    "a space that is a list": (
        SMALL.replace("  x:", "  - x:"),
        r"tune\.yaml:1: space: expected a mapping .*got a list",
    ),
    "a bound on an outcome that is a number": (
        SMALL + "subject_to: {memory: 24}\n",
        r"tune\.yaml:6: subject_to\.memory: expected a mapping such as \{key: value\}, got '24'",
    ),
    "a bound of an unknown kind": (
        SMALL + "subject_to: {memory: {at_mots: 24}}\n",
        r"subject_to\.memory\.at_mots: unknown key; did you mean 'at_most'",
    ),
    "a bound without a side": (SMALL + "subject_to: {memory: {}}\n", r"give \{at_most: number\}"),
    "a belief about nothing": (
        SMALL + "priors: {y: {center: 1, spread: 2}}\n",
        r"tune\.yaml:6: priors\.y: there is no such parameter; known here: x",
    ),
    "a belief without a spread": (SMALL + "priors: {x: {center: 1}}\n", r"priors\.x: 'spread' is missing"),
    "a belief outside the space": (
        SMALL + "priors:\n  x: {center: 5, spread: 2}\n",
        r"tune\.yaml:7: priors\.x: .*does not lie in the space",
    ),
    "a budget of nothing": (SMALL.replace("{trials: 3}", "{}"), r"tune\.yaml:4: budget: give \{trials: number\}"),
    "a budget below one": (SMALL.replace("trials: 3", "trials: 0"), r"budget\.trials: expected a number of at least 1"),
    "a cost of zero": (SMALL.replace("trials: 3", "cost: 0"), r"budget\.cost: expected a number above 0"),
    "a linear constraint of no parameter": (
        SMALL + "linear_constraints:\n  - {coefficients: {y: 1}, upper: 2}\n",
        r"tune\.yaml:6: linear_constraints: .*'y'",
    ),
    "linear constraints that nothing satisfies": (
        SMALL + "linear_constraints: [{coefficients: {x: 1}, lower: 3}]\n",
        r"tune\.yaml:6: linear_constraints: ",
    ),
    "an unknown placeholder": (
        SMALL.replace('"{x}"', '"{x}", "{xx}"'),
        r"tune\.yaml:5: command: unknown placeholder \{xx\}; did you mean 'x'\? Literal braces are \{\{ and \}\}",
    ),
    "a format": (SMALL.replace("{x}", "{x:.3g}"), r"unknown placeholder \{x:\.3g\}"),
    "a single brace": (SMALL.replace('"{x}"', '"{x}", "{"'), r"command: a single '\{' in '\{'; write \{\{ for a brace"),
    "a parameter that is not mentioned": (
        SMALL.replace('"{x}"', "y"),
        r"tune\.yaml:5: command: never mentions 'x', so it could not be tuned; write \{x\} .* or \{params\}",
    ),
    "an escaped mention": (SMALL.replace("{x}", "{{x}}"), r"never mentions 'x'"),
    "an unknown placeholder in the environment": (
        SMALL + "environment:\n  A: '{y}'\n",
        r"environment: unknown placeholder \{y\}",
    ),
    "an open quotation": (SMALL.replace('[python3, train.py, "{x}"]', """a "{x}"""), r"command: No closing quotation"),
    "a pipe": (SMALL.replace('[python3, train.py, "{x}"]', "a {x} | b"), r"command: '\|' needs a shell"),
    "an empty command": (SMALL.replace('[python3, train.py, "{x}"]', "[]"), r"tune\.yaml:5: command: it is empty"),
    "a command without text": (
        SMALL.replace('[python3, train.py, "{x}"]', ""),
        r"command: expected a text, got nothing",
    ),
    "no workers": (SMALL + "workers: 0\n", r"tune\.yaml:6: workers: expected a number of at least 1"),
    "half a worker": (SMALL + "workers: 1.5\n", r"workers: expected a whole number, got '1\.5'"),
    "a seed below zero": (SMALL + "seed: -1\n", r"seed: expected a number of at least 0"),
    "no time": (SMALL + "time_limit: 0\n", r"time_limit: expected a number above 0"),
    "a cost beside an outcome of that name": (
        SMALL.replace("minimize: loss", "minimize: cost") + "cost: tokens\n",
        r"tune\.yaml:6: cost: an outcome is called 'cost'",
    ),
    "a tag": (SMALL + "name: !!python/object/apply:os.getcwd []\n", r"name: expected a single value, got a list"),
    "a scalar tag": (SMALL + "name: !secret x\n", r"name: the tag !secret is not supported"),
    "a number that is none": (SMALL + "seed: !!int abc\n", r"tune\.yaml:6: seed: 'abc' is no int"),
    "an alias in itself": (SMALL + "environment: &a {b: *a}\n", r"tune\.yaml:6: an alias that contains itself"),
    "a control character": (SMALL + "name: \x07\n", r"tune\.yaml: is no YAML: "),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_with_its_place(read, text, message):
    with pytest.raises(ConfigFileError, match=message) as caught:
        read(text)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigFileError, match=r"none\.yaml: cannot be read: No such file"):
        read_study_file(tmp_path / "none.yaml")
    with pytest.raises(ConfigFileError, match=r"cannot be read: Is a directory"):
        read_study_file(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("größe: 1".encode("latin-1"))
    with pytest.raises(ConfigFileError, match=r"latin\.yaml: is no UTF-8 text \(.* at byte 2\)"):
        read_study_file(tmp_path / "latin.yaml")


def test_a_byte_order_mark_does_no_harm(read):
    assert list(read("\ufeff" + SMALL).space) == ["x"]


def test_a_shared_value_may_be_written_once(read):
    file = read(SMALL.replace(X, "  x: &x {type: float, low: 0, high: 1}\n  y: *x").replace('"{x}"', '"{x}", "{y}"'))
    assert file.space["x"] == file.space["y"]
