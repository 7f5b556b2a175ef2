"""`bayesopt export`: every trial as CSV or JSON."""

import argparse
import csv
import io
import json
import math
import sys

from bayesopt.cli.stored import located, opened
from bayesopt.study import Study


def export_trials(arguments: argparse.Namespace) -> int:
    """Write every trial to a file or to standard output; the exit status."""
    with opened(*located(arguments)) as study:
        text = _as_csv(study) if arguments.format == "csv" else _as_json(study)
    if arguments.out is None:
        sys.stdout.write(text)
    else:
        arguments.out.write_text(text, encoding="utf-8", newline="")
        print(f"Wrote {arguments.out}", file=sys.stderr)
    return 0


def _as_csv(study: Study) -> str:
    records = study.to_records()
    columns = list(dict.fromkeys(name for record in records for name in record))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns or ["id"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _as_json(study: Study) -> str:
    trials = [
        {
            "id": trial.id,
            "state": trial.state,
            "params": trial.params,
            "values": {name: _finite(value) for name, value in trial.values.items()},
            "sd": trial.sd,
            "cost": trial.cost,
            "reason": trial.reason,
            "source": trial.source,
            "lost": trial.lost,
            "asked_at": trial.asked_at,
            "told_at": trial.told_at,
        }
        for trial in study.trials
    ]
    declared = {"name": study.name, "space": study.space.to_json(), "outcomes": study.outcomes.to_json()}
    return json.dumps({**declared, "trials": trials}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: float | None) -> float | str | None:
    """A number as strict JSON, which knows neither nan nor infinities: those are written as text."""
    return value if value is None or math.isfinite(value) else str(value)
