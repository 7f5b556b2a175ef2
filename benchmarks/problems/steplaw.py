"""Losses of 1,872 real language-model runs over learning rate and batch size, replayed from a table.

A surface is one model and token budget. A configuration is answered with the loss of the nearest grid point that the
run has not seen yet: no interpolation, no repeats, diverged runs included. One run a surface counts as one problem;
regrets are divided by the distance of the surface's median from its least loss.

Alphabet. P: grid points of a surface, `m x 2`, in the unit square of the logarithms; losses: `m`.
"""

import csv
import gzip
import os
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

import bayesopt as bo
from problems.problem import Evaluate, Params, Problem

FILE = Path(os.environ.get("BAYESOPT_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")) / "steplaw"
"""Folder of the table; BAYESOPT_DATA names another one."""

_SOURCE = "Predictable Scale: Part I, arXiv 2503.04715, with the losses of its runs"


class _Surface:
    """The grid of one model and token budget."""

    def __init__(self, rows: list[tuple[float, float, float]]) -> None:
        """Take rows of learning rate, batch size and loss."""
        table = np.array(rows)
        self.losses = table[:, 2]
        lr, batch_size = table[:, 0], table[:, 1]
        self.space = bo.Space({
            "lr": bo.Float(lr.min(), lr.max(), log=True),
            "batch_size": bo.Float(batch_size.min(), batch_size.max(), log=True),
        })
        self.P = np.array([self.space.encode({"lr": a, "batch_size": b}) for a, b, _ in rows])

    def nearest(self, params: Params, free: np.ndarray) -> int:
        """Row of the nearest grid point among the free ones."""
        distances = ((self.P - self.space.encode(params)) ** 2).sum(1)
        return int(np.where(free, distances, np.inf).argmin())

    def outcomes(self, params: Params) -> dict[str, float]:
        """Loss of the nearest grid point."""
        return {"y": float(self.losses[self.nearest(params, np.ones(len(self.P), dtype=bool))])}

    def replay(self) -> Evaluate:
        """Outcomes that answer with each grid point once."""
        free = np.ones(len(self.P), dtype=bool)

        def outcomes(params: Params) -> dict[str, float]:
            row = self.nearest(params, free)
            free[row] = False
            return {"y": float(self.losses[row])}

        return outcomes


def load(folder: Path = FILE) -> tuple[Problem, ...]:
    """The problem of all surfaces together.

    Args:
        folder: Where `surfaces.csv.gz` is.

    Returns:
        The problem alone, or nothing where the table is absent.
    """
    path = folder / "surfaces.csv.gz"
    if not path.exists():
        return ()
    rows: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    with gzip.open(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            rows[row["surface"]].append((float(row["lr"]), float(row["bs"]), float(row["loss"])))
    surfaces = tuple(_problem(name, _Surface(table)) for name, table in sorted(rows.items()))
    together = replace(
        surfaces[0], name=f"language models, {len(surfaces)} surfaces", n_seeds=len(surfaces), instances=surfaces
    )
    return (together,)


def _problem(name: str, surface: _Surface) -> Problem:
    least = float(surface.losses.min())
    return Problem(
        name=name,
        family="real",
        space=surface.space,
        outcomes=surface.outcomes,
        new_evaluate=surface.replay,
        minimum=least,
        unit=float(np.median(surface.losses)) - least,
        source=_SOURCE,
        trials=20,
    )


ALL = load()
