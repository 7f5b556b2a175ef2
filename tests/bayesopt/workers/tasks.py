"""What the child processes of the tests do: studies with a strategy that costs no time."""

import contextlib
import os
import random
from pathlib import Path
from typing import Any

# Imported here, in the nursery, so that no child pays for them.
import scipy.stats.qmc  # noqa: F401
import sqlalchemy.dialects.postgresql  # noqa: F401
import sqlalchemy.dialects.sqlite  # noqa: F401

import bayesopt as bo
from bayesopt.record.sql import Database  # noqa: F401

with contextlib.suppress(ImportError):
    import psycopg  # noqa: F401


class Uniform:
    """Independent draws: as simple as a strategy can be."""

    def suggest(self, history, n, rng):
        return [history.space.decode(u) for u in history.space.sample(n, rng)]


def space() -> bo.Space:
    return bo.Space({"x": bo.Float(-1.0, 1.0), "k": bo.Int(1, 1000), "mix": bo.Simplex(["web", "böcker"])})


def open_study(storage: str, *, pending_timeout: float | None = 3600.0, trials: int | None = None) -> bo.Study:
    """The study that the tests of kills and of many processes are about."""
    budget = None if trials is None else bo.Budget(trials=trials)
    return bo.Study(
        space(),
        minimize="loss",
        subject_to=[bo.AtMost("memory", 0.9)],
        storage=storage,
        seed=5,
        strategy=Uniform(),
        budget=budget,
        pending_timeout=pending_timeout,
    )


def loss(params: Any) -> float:
    return params["x"] ** 2 + params["k"] / 7 + params["mix"]["web"] / 3


class Journal:
    """What a child has seen, on disk before it goes on: the test reads it after the child was killed."""

    def __init__(self, path: str) -> None:
        self._file = Path(path).open("ab", buffering=0)

    def note(self, *words: Any) -> None:
        # One write a line: whoever is killed between two of them leaves no half line behind.
        self._file.write((" ".join(map(str, words)) + "\n").encode())
        os.fsync(self._file.fileno())


def loop(storage: str, journal: str, seed: int) -> None:
    """Ask and tell for ever, with everything else that a study can be told in between."""
    seen, rng = Journal(journal), random.Random(seed)
    study = open_study(storage)
    seen.note("open")
    while True:
        deed = rng.random()
        if deed < 0.1:
            trial = study.enqueue({
                "x": rng.uniform(-1, 1),
                "k": rng.randint(1, 1000),
                "mix": {"web": 0.5, "böcker": 0.5},
            })
            seen.note("enqueued", trial.id, trial.params["x"].hex())
        elif deed < 0.2:
            params = {"x": rng.uniform(-1, 1), "k": 3, "mix": {"web": 0.25, "böcker": 0.75}}
            trial = study.tell_external(params, {"loss": loss(params), "memory": None})
            seen.note("external", trial.id, loss(trial.params).hex())
        else:
            for trial in study.ask(rng.choice([1, 1, 2])):
                seen.note("asked", trial.id, trial.params["x"].hex())
                if rng.random() < 0.1:
                    study.fail(trial, "on purpose", cost=1.0)
                    seen.note("failed", trial.id)
                else:
                    study.tell(trial, {"loss": loss(trial.params), "memory": 0.5}, cost=2.0)
                    seen.note("told", trial.id, loss(trial.params).hex())


def share(storage: str, journal: str, trials: int) -> None:
    """Ask and tell until the study that others work on too has spent its budget."""
    seen = Journal(journal)
    study = open_study(storage, trials=trials)
    while (trial := study.ask()) is not None:
        seen.note("asked", trial.id, trial.params["x"].hex())
        study.tell(trial, {"loss": loss(trial.params), "memory": 0.5}, cost=1.0)
        seen.note("told", trial.id)
    seen.note("done", study.why_stopped)
