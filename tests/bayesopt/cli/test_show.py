"""`bayesopt show` and `best`: a study at a glance."""

import json

from bayesopt.cli import main
from bayesopt.study import Study


def test_show_tells_goal_spending_best_and_failures(capsys, make_study):
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


def test_show_tells_the_cost_spent_of_a_budget_that_limits_trials_alone(write, capsys):
    write("cost: tokens\n")
    main(["tune", "tune.yaml"])
    capsys.readouterr()
    for target in ("tune.yaml", "tune.db"):
        assert main(["show", target]) == 0
        assert "4 trials, cost 400\n" in capsys.readouterr().out.replace("4 of 4", "4")


def test_show_all_lists_every_trial_and_marks_what_breaks_a_constraint(capsys, make_study):
    make_study()
    main(["show", "--all", "study.db"])
    table = capsys.readouterr().out.split("All trials (! breaks a constraint)\n")[1].splitlines()
    assert [line.split()[0] for line in table] == ["trial", "0", "1", "2"]
    assert "!10" in table[3]


def test_show_of_a_study_without_trials_and_without_feasible_ones(capsys, make_study):
    make_study(0)
    assert main(["show"]) == 0
    assert "No best trial yet: none has been told." in capsys.readouterr().out
    assert main(["best"]) == 1
    assert capsys.readouterr().err == "bayesopt: No best trial yet: none has been told.\n"
    with Study.open("study.db") as study:
        study.tell(study.ask(), {"loss": 1.0, "memory": 99.0})
    assert main(["best"]) == 1
    assert "none of 1 told trials satisfies every constraint" in capsys.readouterr().err


def test_best_is_the_models_where_it_has_judged(capsys, make_study):
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


def test_several_studies_in_one_file_are_listed_and_chosen_by_name(capsys, make_study):
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


def test_looking_at_an_empty_file_leaves_it_empty(folder, capsys):
    (folder / "empty.db").touch()
    for command in ("show", "best", "export", "plot"):
        assert main([command, "empty.db"]) == 1
        assert "empty.db holds no study" in capsys.readouterr().err
    assert (folder / "empty.db").read_bytes() == b""


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
