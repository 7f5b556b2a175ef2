"""Claim: for the same seconds of training, the default strategy finds a better language model than random search.

Baselines: the untuned default, and the median of five random searches. Metric: validation loss (nats a byte) of the
configuration that a search returns, trained anew with three seeds that no search used; memory within the limit.
Takes about 15 minutes on one core; a lost comparison stays in the table.
"""

import argparse
import sys
from pathlib import Path
from statistics import mean, median

import bayesopt as bo

sys.path.insert(0, str(Path(__file__).parents[1] / "tutorials" / "language_model"))

from train import DEFAULTS, train
from tune import FRESH_SEEDS, MEMORY, config_text, new_study


def main() -> None:
    """Run the searches and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=75.0, help="training time that each search may spend")
    parser.add_argument("--seeds", type=int, default=5, help="searches of each strategy")
    options = parser.parse_args()

    print(f"{'':<16} {'val_loss':>8} {'memory_mb':>9} {'trials':>6}  configuration", flush=True)
    show("default", DEFAULTS, n_trials=0)
    losses: dict[str, list[float]] = {"random search": [], "tuned": []}
    for seed in range(options.seeds):
        for name in losses:
            strategy = bo.strategies.RandomSearch() if name == "random search" else None
            study = new_study(f"{name} {seed}", options.seconds, strategy=strategy, seed=seed)
            best = study.run(train, progress=False)
            if best is None:
                print(f"{name:<14} {seed}  nothing feasible in {len(study.trials)} trials", flush=True)
                losses[name].append(float("inf"))
            else:
                losses[name].append(show(f"{name:<14} {seed}", best.params, len(study.trials)))
    for name, found in losses.items():
        print(f"{name}: median {median(found):.4f}, from {min(found):.4f} to {max(found):.4f}, {len(found)} searches")


def show(name: str, config: dict[str, object], n_trials: int) -> float:
    """Train a configuration with fresh seeds, print its row and return its mean loss; infinite over the limit."""
    runs = [train(config, seed=seed) for seed in FRESH_SEEDS]
    loss, memory = mean(run["val_loss"] for run in runs), runs[0]["memory_mb"]
    print(f"{name:<16} {loss:8.4f} {memory:9.2f} {n_trials:6d}  {config_text(config)}", flush=True)
    return loss if MEMORY.margin(memory) <= 0 else float("inf")


if __name__ == "__main__":
    main()
