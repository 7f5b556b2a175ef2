"""Laws of learning curves on 18 real curves under nine schedules: what they foretell, and which schedule they like."""

import csv
import gzip
from pathlib import Path

import numpy as np
from tables import table

import bayesopt as bo
from bayesopt.laws import Curve, design_schedule, schedules

TRAINED_ON = ("cosine_24000", "constant_24000", "wsdcon_9")
SIZES = ("25", "100", "400")
WARMUP, TOTAL, PEAK = 2160, 24_000, 3e-4


def load(folder: Path) -> dict[tuple[str, str], Curve]:
    """Curves by size in millions and schedule."""
    rates = dict(np.load(folder / "lrcurves" / "schedules.npz"))
    rows: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with gzip.open(folder / "lrcurves" / "curves.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            rows.setdefault((row["size_M"], row["schedule"]), []).append((float(row["step"]), float(row["loss"])))
    return {key: Curve.of(rates[key[1]], *zip(*its, strict=True)) for key, its in rows.items()}


def laws_section(curves: dict[tuple[str, str], Curve]) -> str:
    """How well laws of curves foretell schedules that they were not fitted to."""
    rows = []
    laws = {
        "annealing law": lambda size, known: bo.AnnealingLaw().fit(known),
        "annealing law, decay chosen by the fit": lambda size, known: bo.AnnealingLaw(decay=None).fit(known),
        "Multi-Power Law, published": lambda size, known: bo.MultiPowerLaw.published(f"{size}M"),
        "Multi-Power Law, fitted": lambda size, known: bo.MultiPowerLaw().fit(known),
    }
    for name, make in laws.items():
        scores = []
        for size in SIZES:
            law = make(size, [curves[size, schedule] for schedule in TRAINED_ON])
            unseen = [curve for (its, schedule), curve in curves.items() if its == size and schedule not in TRAINED_ON]
            y = np.concatenate([curve.losses for curve in unseen])
            predicted = [law.predict(curve.schedule, curve.steps) for curve in unseen]
            missed = np.concatenate(predicted) - y
            ends = [abs(p[-1] - curve.losses[-1]) for p, curve in zip(predicted, unseen, strict=True)]
            scores.append([np.abs(missed).mean(), 1.0 - np.mean(missed**2) / y.var(), np.mean(ends)])
        mean = np.mean(scores, axis=0)
        each = " / ".join(f"{score[1]:.4f}" for score in scores)
        rows.append([name, f"{mean[0]:.4f}", f"{mean[1]:.4f}", each, f"{mean[2]:.4f}"])
    text = (
        f"Fitted to {', '.join(TRAINED_ON)} of a size (the published constants were, too) and judged on its other "
        "curves; means over the three sizes, nats."
    )
    head = ["law", "mean error", "R2", "R2 of 25M / 100M / 400M", "error at the end"]
    return f"## Curves of schedules that a law has not seen\n\n{text}\n\n{table(head, rows)}"


def stopping_section(curves: dict[tuple[str, str], Curve]) -> str:
    """The loss at the end from a part of the run and one complete curve of another schedule."""
    judged = {key: curve for key, curve in curves.items() if not key[1].startswith("constant") and key[1] != "wsdcon_9"}
    smooth = {key: curve for key, curve in judged.items() if not key[1].startswith("wsdcon")}
    rows = []
    for share in (0.25, 0.5, 0.75):
        cells = []
        for group in (judged, smooth):
            missed: dict[str, list[float]] = {"law": [], "power": [], "last": []}
            inside = []
            for (size, _), curve in group.items():
                prefix = curve.until(share * len(curve.schedule))
                mean, sd = bo.AnnealingLaw().fit([curves[size, "wsdcon_9"]]).final(prefix, curve.schedule)
                end = float(curve.losses[-1])
                missed["law"].append(abs(mean - end))
                missed["power"].append(abs(_power_law(prefix, len(curve.schedule)) - end))
                missed["last"].append(abs(float(prefix.losses[-1]) - end))
                inside.append(abs(mean - end) <= 2.0 * sd)
            cells.append(
                [f"{np.mean(its):.4f} ({max(its):.3f})" for its in missed.values()] + [f"{np.mean(inside):.0%}"]
            )
        rows.append([f"{share:.0%}", cells[1][0], *cells[0]])
    text = (
        f"Absolute error in nats, mean (largest), of the last logged loss: {len(judged)} curves whose learning rate "
        f"falls, {len(smooth)} of them smoothly or to the end. The law knows the prefix and the curve of wsdcon_9 of "
        "the same size; the power law in the steps knows the prefix alone."
    )
    head = ["prefix", "law, smooth falls", "law, all", "power law in steps", "last loss", "law within two of its sd"]
    return f"## The end of a run from its first part\n\n{text}\n\n{table(head, rows)}"


def _power_law(prefix: Curve, total: int) -> float:
    """`a + b s^-c` fitted to a prefix, at the end."""
    from scipy.optimize import curve_fit

    s, y = prefix.steps / total, prefix.losses
    bounds = ([0.0, 0.0, 0.05], [np.inf, np.inf, 3.0])
    start = (0.9 * y[-1], 0.1, 0.5)
    (a, b, _), _ = curve_fit(lambda t, a, b, c: a + b * t**-c, s, y, start, bounds=bounds, maxfev=5000)
    return float(a + b)  # s is 1 there, whatever the exponent


def design_section(curves: dict[tuple[str, str], Curve], folder: Path) -> str:
    """The loss at the end that laws of the 400M model foretell for schedules."""
    authors = dict(np.load(folder / "lrcurves" / "mpl_optimized_schedules.npz"))
    optimized = next(rates for name, rates in authors.items() if "400" in name)
    rise = curves["400", "constant_24000"].schedule[:WARMUP]
    power = bo.MultiPowerLaw.published("400M")
    annealing = bo.AnnealingLaw().fit([curves["400", schedule] for schedule in TRAINED_ON])
    own = {"warmup": WARMUP}
    rows = []
    for name, schedule in {
        "the authors' optimized": np.concatenate([rise, optimized]),
        "ours, designed by the Multi-Power Law": design_schedule(power, TOTAL, PEAK, warmup=WARMUP),
        "ours, designed by the annealing law": design_schedule(annealing, TOTAL, PEAK, warmup=WARMUP),
        "WSD, 20 % straight to 0": schedules.wsd(TOTAL, PEAK, **own),
        "WSD, 20 % as 1 - sqrt": schedules.wsd(TOTAL, PEAK, power=0.5, **own),
        "WSD, 40 % straight to 0": schedules.wsd(TOTAL, PEAK, decay=0.4, **own),
        "REX": schedules.rex(TOTAL, PEAK, **own),
        "cosine to 10 %": schedules.cosine(TOTAL, PEAK, **own),
        "straight to 0": schedules.linear(TOTAL, PEAK, **own),
        "constant": schedules.linear(TOTAL, PEAK, final=1.0, **own),
    }.items():
        ends = [law.predict(np.asarray(schedule), [len(schedule) - 1])[0] for law in (power, annealing)]
        rows.append([name, *(f"{end:.4f}" for end in ends)])
    text = (
        "400M parameters, 24,000 steps, peak 3e-4, nats. Predictions, not runs: both laws saw one peak alone, and "
        "agree on families of schedules rather than on the shape of the decay. What was designed by one law exploits "
        "what that law does not know: look at the other's column."
    )
    return f"## Schedules that laws like\n\n{text}\n\n{table(['schedule', 'Multi-Power Law', 'annealing law'], rows)}"
