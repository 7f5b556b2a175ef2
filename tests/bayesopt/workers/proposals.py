"""Runs a study of the default strategy step by step and writes down every proposal, bit by bit.

Arguments: database, journal, scenario, first step, last step, and `kill` or `end`: what the process does after the last
step, between its tell and the next ask.
"""

import json
import math
import os
import signal
import sys
from pathlib import Path

import bayesopt as bo


def plain(storage):
    space = bo.Space({"x": bo.Float(-5.0, 10.0), "y": bo.Float(0.0, 15.0)})
    return bo.Study(space, minimize="loss", storage=storage, seed=11)


def plain_step(study, step):
    trial = study.ask()
    study.tell(trial, (trial.params["x"] - 2) ** 2 + math.sin(trial.params["y"]))
    return [trial]


class Remembering:
    """Follows a chain whose state is in its memory alone: a memory lost or rounded changes every later point."""

    def suggest(self, history, n, rng):
        state, suggestions = history.memory.get("state", [0.1, 0.2]), []
        for _ in range(n):
            x = 3.9 * state[0] * (1 - state[0])
            state = [x, math.sin(1 / state[1] + len(history.ids))]
            suggestions.append(bo.strategies.Suggestion({"x": x, "y": state[1]}, memory={"state": state}))
        return suggestions


def remembering(storage):
    space = bo.Space({"x": bo.Float(0.0, 1.0), "y": bo.Float(-1.0, 1.0)})
    return bo.Study(space, minimize="loss", storage=storage, seed=13, strategy=Remembering())


def remembering_step(study, step):
    trials = study.ask(2) if step % 2 else [study.ask()]
    study.tell(trials[0], trials[0].params["x"])  # of two, one stays pending
    return trials


def everything(storage):
    """Mixed types, a mixture, conditions, constraints, a prior; pending, failed, queued, external, unmeasured ones."""
    space = bo.Space(
        {
            "lr": bo.Float(1e-5, 1e-1, log=True),
            "layers": bo.Int(1, 6),
            "kind": bo.Choice(["adamw", "sgd"]),
            "momentum": bo.Float(0.0, 0.99, active_if={"kind": "sgd"}),
            "mix": bo.Simplex(["web", "code", "böcker"]),
        },
        constraints=[bo.LinearConstraint({"mix.web": 1.0, "mix.code": 1.0}, upper=0.9)],
    )
    return bo.Study(
        space,
        minimize="loss",
        subject_to=[bo.AtMost("memory", 4.0)],
        priors=[bo.OptimumPrior({"lr": (1e-3, 5.0)})],
        storage=storage,
        seed=12,
    )


def everything_step(study, step):
    mix = {"web": 0.3, "code": 0.3, "böcker": 0.4}
    if step == 1:
        study.enqueue({"lr": 1e-4, "layers": 2, "kind": "adamw", "mix": mix})
    if step == 4:
        params = {"lr": 2e-3, "layers": 3, "kind": "sgd", "momentum": 0.9, "mix": mix}
        study.tell_external(params, {"loss": 0.4, "memory": 3.0}, sd={"loss": 0.1})
    trials = study.ask(2) if step % 3 == 2 else [study.ask()]
    for trial in trials[:1]:  # of two, one stays pending
        values = {
            "loss": (math.log10(trial.params["lr"]) + 3) ** 2
            + trial.params["mix"]["web"]
            + (trial.params["kind"] == "sgd"),
            "memory": None if step == 6 else trial.params["layers"] * 0.9,
        }
        if step in (3, 8):
            study.fail(trial)
        else:
            study.tell(trial, values, cost=1.0)
    return trials


def bits(value):
    if isinstance(value, float):
        return value.hex()
    return {name: bits(part) for name, part in value.items()} if isinstance(value, dict) else value


def main(storage, journal, scenario, first, last, end):
    study = globals()[scenario](storage)
    for step in range(int(first), int(last) + 1):
        for trial in globals()[f"{scenario}_step"](study, step):
            with Path(journal).open("a") as file:
                file.write(json.dumps([step, trial.id, bits(trial.params)]) + "\n")
    if end == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    study.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
