"""`bayesopt show` and `bayesopt best`."""

import argparse
import json
import sys

from bayesopt.cli.stored import located, opened, shown_storage, study_names
from bayesopt.cli.summary import best_lines, judged_best, nothing_best, summary, table
from bayesopt.report import outcomes_text
from bayesopt.study import Study


def show_study(arguments: argparse.Namespace) -> int:
    """Print a study at a glance, or which studies a storage holds; the exit status."""
    storage, name, options = located(arguments)
    names = study_names(storage)
    if name is None and len(names) > 1:
        print(f"{shown_storage(storage)} holds {len(names)} studies; choose one with --name:\n")
        for each in names:
            with Study.open(storage, each) as study:
                best = study.recommended or study.best_observed
                print(f"  {each}: {study.budget}, {'nothing feasible yet' if best is None else outcomes_text(best)}")
        return 0
    with opened(storage, name, options) as study:
        print("\n".join(summary(study, shown_storage(storage))))
        if arguments.all and study.trials:
            print("\nAll trials" + (" (! breaks a constraint)" if study.outcomes.constraints else ""))
            print("\n".join(table(study, study.trials)))
    return 0


def show_best(arguments: argparse.Namespace) -> int:
    """Print the best trial; the exit status."""
    with opened(*located(arguments)) as study:
        best, note = judged_best(study)
        if best is None:
            print(f"bayesopt: {nothing_best(study)}", file=sys.stderr)
            return 1
        if arguments.json:
            print(json.dumps({"trial": best.id, "params": best.params, "values": best.values}, ensure_ascii=False))
        else:
            print("\n".join(best_lines(study, best, note)))
    return 0
