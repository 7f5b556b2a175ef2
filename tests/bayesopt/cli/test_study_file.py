"""A YAML file becomes a study, or one error that says where it is wrong."""

import pytest

import bayesopt as bo
from bayesopt.errors import ConfigFileError, InvalidBudgetError
from tests.bayesopt.cli.files import FULL, MIX, SMALL, trial


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


def test_beliefs_about_values_and_preferences_are_read(read):
    value = "optimal_value: {at_most: 2.5, softness: 1e-1}\n"
    better = "{lr: 1e-4, batch_size: 1e2, optimizer: adamw, mixture: {web: 0.5, code: 0.25, math: 0.25}}"
    pairs = (
        f"preferences:\n  softness: 0.05\n  pairs:\n    - better: {better}\n      worse: {better.replace('-4', '-2')}\n"
    )
    _, reached, preferred = read(FULL + value + pairs).priors
    assert reached == bo.OptimalValuePrior(at_most=2.5, softness=0.1)
    params = {"lr": 1e-4, "batch_size": 100, "optimizer": "adamw", "mixture": MIX}
    assert preferred == bo.PreferencePrior([(params, {**params, "lr": 1e-2})], 0.05)
    with read(SMALL + "optimal_value: {mean: 1, sd: 2}\n").open_study() as study:
        assert study.priors == (bo.OptimalValuePrior(mean=1.0, sd=2.0),)


def test_what_a_new_study_tries_first_is_read_as_what_the_parameters_are(read):
    first = "  - {lr: 1e-4, batch_size: 1e2, optimizer: adamw, mixture: {web: 0.5, code: 0.25, math: 0.25}}\n"
    second = first.replace("adamw", "sgd, momentum: '0.9'")
    params = {"lr": 1e-4, "batch_size": 100, "optimizer": "adamw", "mixture": MIX}
    assert read(f"{FULL}enqueue:\n{first}{second}").enqueue == (
        params,
        {**params, "optimizer": "sgd", "momentum": 0.9},
    )


def test_only_a_new_study_is_given_what_to_try_first(read):
    for _ in range(2):
        with read(SMALL + "enqueue: [{x: 0.5}, {x: 0.25}]\n").open_study() as study:
            assert [(trial.params["x"], trial.state) for trial in study.trials] == [(0.5, "queued"), (0.25, "queued")]


def test_a_new_study_killed_while_it_was_given_what_to_try_first_gets_the_rest(read):
    file = read(SMALL + "enqueue: [{x: 0.5}, {x: 0.25}]\n")
    with read(SMALL + "enqueue: [{x: 0.5}]\n").open_study():
        pass  # as a kill after the first leaves it
    with file.open_study() as study:
        assert [trial.params["x"] for trial in study.trials] == [0.5, 0.25]
        study.ask()
    with read(SMALL + "enqueue: [{x: 0.75}]\n").open_study() as study:
        assert len(study.trials) == 2  # it is not new any more


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


def test_a_trial_is_charged_its_seconds_or_a_named_outcome(read):
    assert read(SMALL).charge({"loss": 1.0}) is None  # the loop charges them
    file = read(SMALL + "cost: tokens\n")
    assert file.charge({"loss": 1.0, "tokens": 1000}) == 1000.0
    with pytest.raises(InvalidBudgetError, match="its JSON has no 'tokens', the cost; it has loss"):
        file.charge({"loss": 1.0})
    with pytest.raises(InvalidBudgetError, match="tokens: expected a finite number of at least 0"):
        file.charge({"loss": 1.0, "tokens": -1})


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
    "a value without a sd": (
        SMALL + "optimal_value: {mean: 2}\n",
        r"tune\.yaml:6: optimal_value: .*both mean= and sd=",
    ),
    "a value of an unknown kind": (
        SMALL + "optimal_value: {at_mots: 2}\n",
        r"optimal_value\.at_mots: unknown key; did you mean 'at_most'",
    ),
    "a preference for nothing": (
        SMALL + "preferences: {pairs: [{better: {x: 0.5}}]}\n",
        r"tune\.yaml:6: preferences\.pairs\[0\]: 'worse' is missing",
    ),
    "a preference outside the space": (
        SMALL + "preferences: {pairs: [{better: {x: 0.5}, worse: {x: 5}}]}\n",
        r"preferences\.pairs\[0\]\.worse: .*5",
    ),
    "preferences without pairs": (SMALL + "preferences: {softness: 1}\n", r"preferences: 'pairs' is missing"),
    "an empty list of preferences": (SMALL + "preferences: {pairs: []}\n", r"preferences\.pairs: .*non-empty list"),
    "a first trial of no parameter": (
        SMALL + "enqueue:\n  - {x: 0.5}\n  - {z: 0.5}\n",
        r"tune\.yaml:8: enqueue\[1\]\.z: unknown key; known here: x",
    ),
    "a first trial outside the space": (SMALL + "enqueue: [{x: 7}]\n", r"tune\.yaml:6: enqueue\[0\]: .*7"),
    "a first trial without a value": (SMALL + "enqueue: [{}]\n", r"tune\.yaml:6: enqueue\[0\]: .*'x'"),
    "first trials that are no list": (SMALL + "enqueue: {x: 1}\n", r"enqueue: expected a list such as"),
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
