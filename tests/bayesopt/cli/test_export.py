"""`bayesopt export`: every trial, for other programs."""

import csv
import io
import json

import pytest

import bayesopt as bo
from bayesopt.cli import main
from bayesopt.study import Study


def test_export_writes_every_trial_as_csv(capsys, make_study):
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


def test_export_writes_strict_json(capsys, make_study):
    make_study()
    with Study.open("study.db") as study:
        study.tell(study.ask(), {"loss": float("nan"), "memory": float("inf")})
    assert main(["export", "--format", "json"]) == 0
    exported = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert [trial["state"] for trial in exported["trials"]] == ["complete"] * 3 + ["failed"]
    assert exported["trials"][3]["values"] == {"loss": "nan", "memory": "inf"}
    assert bo.Space.from_json(exported["space"]).names == ("lr", "mix")


def test_an_export_that_cannot_be_written_is_status_1(capsys, make_study):
    make_study()
    assert main(["export", "--out", "no/such/folder.csv"]) == 1
    assert "No such file or directory" in capsys.readouterr().err
