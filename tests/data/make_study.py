"""Writes a study file of the present format. One of each format is kept, since later versions must open them all.

study_v1.db: before trials had a memory. study_v2.db: before they had meters. No version that
writes these is left. study_v3.db: before they had grounds. study_v4.db: this script's.

python tests/data/make_study.py FILE
"""

import math
import sqlite3
import sys
from pathlib import Path

import bayesopt as bo


class Script:
    """Proposes what the file is to hold, and remembers something every third time."""

    def suggest(self, history, n, rng):
        return [self._suggestion(k) for k in range(history.n_asked, history.n_asked + n)]

    def _suggestion(self, k):
        params = {
            "lr": 10.0 ** -(1 + k % 4),
            "layers": 1 + k % 6,
            "kind": ["adamw", "sgd", None, "größer"][k % 4],
            "mix": {"web": 0.25, "код": 0.5, "本": 0.25},
        }
        memory = {
            "k": k,
            "θ": [0.1 + 0.2, 5e-324, -0.0, -math.inf],
            "größe": {"n": 2**53 + 1, "warped": True, "seen": None, "text": 'said "so" \N{SNOWMAN}\n'},
        }
        grounds = {"text": 'said "so" \N{SNOWMAN}', "at": [0.1 + 0.2, math.inf], "k": k}
        return bo.strategies.Suggestion(
            params | ({"momentum": 0.1 + 0.2} if k % 4 == 1 else {}),
            memory=memory if k % 3 == 0 else None,
            grounds=grounds if k % 2 == 0 else None,
        )


def main(path: str) -> None:
    space = bo.Space(
        {
            "lr": bo.Float(1e-5, 1e-1, log=True),
            "layers": bo.Int(1, 6),
            "kind": bo.Choice(["adamw", "sgd", None, "größer"]),
            "momentum": bo.Float(0.0, 0.99, active_if={"kind": "sgd"}),
            "mix": bo.Simplex(["web", "код", "本"], caps={"web": 0.9}, floors=0.05),
        },
        constraints=[bo.LinearConstraint({"layers": 1.0, "mix.web": 2.0}, upper=7.5)],
    )
    with bo.Study(
        space,
        minimize="verlust",
        subject_to=[bo.AtMost("memory_gb", 24.0), bo.AtLeast("точность", 0.5)],
        storage=path,
        name="größte Studie",
        seed=2**40 + 7,
        strategy=Script(),
    ) as study:
        complete, unmeasured, broken, failed, lost, told_late, _pending = study.ask(7)
        for step, value in [(1, 0.75), (2, 0.5), (2.5, math.nan), (2, 0.4375)]:
            complete.report(step, value)
        study.tell(
            complete,
            {"verlust": 0.1 + 0.2, "memory_gb": 12, "точность": 0.75, "epochs": 3},
            cost=1 / 3,
            sd={"verlust": 0.01},
        )
        study.tell(
            unmeasured, {"verlust": 1e300, "memory_gb": None, "точность": 5e-324}, cost={"cost": 2.0, "tokens": 1e300}
        )
        study.tell(broken, {"verlust": math.nan, "memory_gb": math.inf, "точность": 0.5})
        study.fail(failed, "exit 1:\n  CUDA out of memory \N{SNOWMAN}", cost=0.5, killed=True)
        study.abandon(lost, "its node went away")
        study.abandon(told_late)
        study.tell(told_late, {"verlust": -0.0, "memory_gb": 25.0, "точность": 0.75})
        point = {"lr": 0.003, "layers": 2, "kind": "adamw", "mix": {"web": 0.4, "код": 0.3, "本": 0.3}}
        study.tell_external(point, {"verlust": 0.25, "memory_gb": 1, "точность": 1}, sd={"точность": 0.125})
        study.enqueue(point | {"layers": 3})
        study.ask()
        study.enqueue(point | {"layers": 4})
        study._store.recommend({"told": 4, "trial": 0})
    with bo.Study(bo.Space({"x": bo.Int(1, 3)}), maximize="y", storage=path, name="second", seed=0, strategy=Script()):
        pass
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    # Times and the process differ from run to run and tell nothing: fixed ones make the file's expectations literal.
    connection.execute("UPDATE priorwise_trials SET owner = 'host:1234:0a1b2c3d', created_at = 1700000000.25 + id")
    connection.execute("UPDATE priorwise_trials SET asked_at = 1700000100.5 + id WHERE asked_at IS NOT NULL")
    connection.execute("UPDATE priorwise_trials SET told_at = 1700000200.75 + id WHERE told_at IS NOT NULL")
    connection.execute("UPDATE priorwise_trials SET beat_at = 1700000100.5 + id WHERE beat_at IS NOT NULL")
    connection.commit()
    connection.execute("VACUUM")
    connection.close()


if __name__ == "__main__":
    if Path(sys.argv[1]).exists():
        sys.exit(f"{sys.argv[1]} exists: a file of a format is made once.")
    main(sys.argv[1])
