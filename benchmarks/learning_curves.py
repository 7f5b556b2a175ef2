"""Claim: with half-finished learning curves in the model, fewer epochs find what successive halving finds.

Baseline: ASHA (Li et al. 2020: rungs at 1, 3, 9 and 27 epochs, the best third of a rung goes on), which begins the
configurations in the same random order. Data: 200 of the 2,000 networks of LCBench's data set "adult" after each of 52
epochs, a fresh 200 for every seed, read from the folder named by BAYESOPT_DATA. The file calls its values accuracies;
they start at the logarithm of 2 and fall, as cross-entropies do, and are minimised here. Ours continues or begins, one
stretch of the grid of epochs at a time, the configuration whose expected improvement at epoch 52 is largest for each
epoch that it still takes. Metric: epochs until a configuration has been trained to the end whose value there is within
0.002 of the best such one of ASHA, over all epochs that ASHA takes. A lost comparison stays in the table.
"""

import argparse
import os
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
from one_thread import restart_with_one_thread
from tables import machine, table

import bayesopt as bo
from bayesopt.curve_forecast import CurveForecast, log_gain
from bayesopt.record.curves import Run

RESULT = Path(__file__).parent / "results" / "learning_curves.md"
DATA = Path(os.environ.get("BAYESOPT_DATA", Path(__file__).parents[2] / "shared" / "data")) / "lcbench" / "adult.npz"
N_CONFIGURATIONS = 200
LAST = 52
CLOSE = 0.002
RUNGS = (1, 3, 9, 27, LAST)
STRETCHES = (2, 3, 5, 8, 12, 18, 26, 37, LAST)
N_BEGUN = 6
_REFIT = 1.15
"""The hyperparameters are searched again when the values have grown by this factor."""
SPACE = bo.Space({
    "batch_size": bo.Float(16.0, 512.0, log=True),
    "learning_rate": bo.Float(1e-4, 0.1, log=True),
    "momentum": bo.Float(0.1, 0.99),
    "weight_decay": bo.Float(1e-5, 0.1, log=True),
    "layers": bo.Int(1, 5),
    "max_units": bo.Float(64.0, 1024.0, log=True),
    "dropout": bo.Float(0.0, 1.0),
})

Trace = list[tuple[int, float]]
"""Epochs spent, and the best score, minus the value, at the last epoch by then."""


def main() -> None:
    """Run both on every seed and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="selections of 200 configurations")
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    if not DATA.exists():
        print(f"{DATA} is absent (BAYESOPT_DATA names the folder of the data): nothing is measured.")
        return
    data = np.load(DATA)
    names = list(SPACE)
    rows, shares, own_shares = [], [], []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        chosen = np.random.default_rng(seed).permutation(len(data["X"]))[:N_CONFIGURATIONS]
        score = -data["Y"][chosen].astype(float)
        params = [dict(zip(names, _within(row), strict=True)) for row in data["X"][chosen].astype(float)]
        halving = asha(score, np.random.default_rng(seed))
        total, reached = halving[-1]
        started = time.process_time()
        ours = freeze_thaw(params, score, total, np.random.default_rng(seed))
        seconds = time.process_time() - started
        best = score[:, -1].max()
        spent = _first(ours, reached - CLOSE)
        shares.append(spent / total)
        own_shares.append(_first(halving, reached - CLOSE) / total)
        rows.append([
            *(str(seed), f"{-best:.4f}", str(total), f"{-reached:.4f}", f"{own_shares[-1]:.2f}", f"{-ours[-1][1]:.4f}"),
            *(f"{spent:.0f}", f"{shares[-1]:.2f}", f"{_first(ours, best - CLOSE):.0f}", f"{seconds:.0f}"),
        ])
        print(*rows[-1], flush=True)
    head = [
        *("seed", "best of the 200", "ASHA's epochs", "ASHA's best", "within 0.002 after, share", "our best"),
        *(
            "within 0.002 of ASHA's after",
            "share of ASHA's epochs",
            "within 0.002 of the best of the 200",
            "our CPU, s",
        ),
    ]
    summary = (
        f"Share of ASHA's epochs after which its best is reached within 0.002: median {np.median(shares):.2f}, "
        f"largest {np.max(shares):.2f}; ASHA itself has it after a median of {np.median(own_shares):.2f}."
    )
    print(summary)
    title = "# Learning curves: `benchmarks/learning_curves.py`"
    here = machine([{"version": f"priorwise {version('priorwise')}"}])
    RESULT.write_text("\n\n".join([title, here, __doc__.strip(), summary, table(head, rows)]) + "\n")


def _within(row: np.ndarray) -> list[float | int]:
    """A configuration of the table, whose ends were rounded, within the space."""
    values = []
    for value, parameter in zip(row, SPACE.values(), strict=True):
        kind = int if isinstance(parameter, bo.Int) else float
        values.append(kind(np.clip(value, parameter.low, parameter.high)))
    return values


def _first(trace: Trace, level: float) -> float:
    return next((spent for spent, best in trace if best >= level), np.inf)


def asha(score: np.ndarray, rng: np.random.Generator) -> Trace:
    """Asynchronous successive halving with one worker, until nothing can be promoted."""
    begin = iter(rng.permutation(len(score)).tolist())
    at_rung: list[list[int]] = [[] for _ in RUNGS]
    promoted: list[set[int]] = [set() for _ in RUNGS]
    spent, best, trace = 0, -np.inf, []
    while (job := _next_job(score, at_rung, promoted, begin)) is not None:
        row, rung = job
        spent += RUNGS[rung] - (RUNGS[rung - 1] if rung else 0)
        at_rung[rung].append(row)
        if RUNGS[rung] == LAST:
            best = max(best, score[row, -1])
        trace.append((spent, best))
    return trace


def _next_job(
    score: np.ndarray, at_rung: list[list[int]], promoted: list[set[int]], begin: Iterator[int]
) -> tuple[int, int] | None:
    """The row to train next and the rung that it is trained to; None when nothing is left."""
    for rung in reversed(range(len(RUNGS) - 1)):
        ranked = sorted(at_rung[rung], key=lambda row: -score[row, RUNGS[rung] - 1])
        for row in ranked[: len(ranked) // 3]:
            if row not in promoted[rung]:
                promoted[rung].add(row)
                return row, rung + 1
    row = next(begin, None)
    return None if row is None else (row, 0)


def freeze_thaw(params: list[dict], score: np.ndarray, budget: int, rng: np.random.Generator) -> Trace:
    """Continue or begin the configuration of most expected improvement an epoch, until the epochs are spent."""
    reached = np.zeros(len(params), dtype=int)
    spent, best, trace = 0, -np.inf, []

    def advance(row: int) -> Run:
        nonlocal spent, best
        to = next(step for step in STRETCHES if step > reached[row])
        spent += to - reached[row]
        reached[row] = to
        best = max(best, score[row, -1] if to == LAST else -np.inf)
        trace.append((spent, best))
        return run(row)

    def run(row: int) -> Run:
        return Run(params[row], {step: score[row, step - 1] for step in range(1, reached[row] + 1)})

    for row in rng.permutation(len(params))[:N_BEGUN]:
        advance(row)
    n_fitted, forecast = 0, None
    points = np.array([SPACE.encode(one) for one in params])
    while spent < budget and (reached < LAST).any():
        if forecast is None or reached.sum() >= _REFIT * n_fitted:
            forecast = CurveForecast.fit(SPACE, [run(row) for row in np.flatnonzero(reached)], LAST)
            n_fitted = reached.sum()
        mean, sd = forecast.last(points)
        worth = log_gain(mean, sd, best if np.isfinite(best) else mean[reached > 0].max())
        worth -= np.log(np.maximum(LAST - reached, 1))
        forecast = forecast.after(advance(int(np.argmax(np.where(reached < LAST, worth, -np.inf)))))
    return trace


if __name__ == "__main__":
    restart_with_one_thread()
    main()
