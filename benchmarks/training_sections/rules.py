"""Rules for learning rate and batch size on the surfaces: the formulas alone, batch-size transfer, and the surge."""

from itertools import permutations

import numpy as np
from tables import table

import bayesopt as bo
from training_sections.surfaces import Surface


def section(surfaces: list[Surface]) -> str:
    """What single rules are worth."""
    dense = [surface for surface in surfaces if surface.kind == "dense"]
    rows = []
    for name, rule in {"Step Law": bo.StepLaw(), "DeepSeek's rule": bo.DeepSeekRule()}.items():
        gaps: dict[str, list[float]] = {"dense": [], "moe": []}
        for surface in surfaces:
            gaps[surface.kind].append(_gap(surface, rule(surface.N, surface.D)))
        both = [gap for its in gaps.values() for gap in its]
        cells = [f"{np.mean(its):.4f}" if its else "-" for its in (gaps["dense"], gaps["moe"])]
        rows.append([f"{name}, gap of the nearest run, nats", f"{np.mean(both):.5f}", *cells])
    ridges = [ridge(surface) for surface in dense]
    fits = [bo.laws.surge_fit(B, lr).rms for B, lr in ridges if len(B) >= 3]
    if fits:
        rows.append(["surge curve, rms of the best learning rate, octaves", f"{np.mean(fits):.4f}", "", ""])
    for exponent in (0.0, 0.15, 0.3, 0.5, 1.0):
        missed = [
            abs(np.log2(bo.BatchTransfer(lr[i], B[i], exponent=exponent)(B[j]) / lr[j]))
            for B, lr in ridges
            for i, j in permutations(range(len(B)), 2)
            if 1.9 <= max(B[i], B[j]) / min(B[i], B[j]) <= 8.1
        ]
        name = f"batch-size transfer with exponent {exponent:g}, mean error, octaves ({len(missed)} pairs)"
        rows.append([name, f"{np.mean(missed) if missed else np.nan:.3f}", "", ""])
    return "## Rules alone\n\n" + table(["rule", "all", "dense", "MoE"], rows)


def _gap(surface: Surface, settings: tuple[float, float]) -> float:
    u = (np.log2(settings) - surface.x.min(0)) / np.ptp(surface.x, axis=0)
    return float(surface.loss[surface.nearest(u, np.ones(len(surface.loss), dtype=bool))] - surface.loss.min())


def ridge(surface: Surface) -> tuple[np.ndarray, np.ndarray]:
    """The best learning rate at each batch size, by a parabola through the best run and two on either side."""
    batches, rates = [], []
    for batch in np.unique(surface.x[:, 1]):
        rows = np.flatnonzero(surface.x[:, 1] == batch)
        rows = rows[np.argsort(surface.x[rows, 0])]
        x, y = surface.x[rows, 0], surface.loss[rows]
        i = int(np.argmin(y))
        if 0 < i < len(x) - 1:  # else the best lies beyond the table
            a, b, _ = np.polyfit(x[max(0, i - 2) : i + 3], y[max(0, i - 2) : i + 3], 2)
            batches.append(2.0**batch)
            rates.append(2.0 ** (-b / (2.0 * a)))
    return np.array(batches), np.array(rates)
