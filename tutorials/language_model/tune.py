"""Tune the training of a small language model under a memory limit and a budget in seconds: `make tune`.

Takes under four minutes on two cores. Stopped early, it goes on from the study file.
"""

import argparse
from pathlib import Path
from statistics import mean

from train import DEFAULTS, train

import bayesopt as bo

SPACE = bo.Space({
    "lr": bo.Float(1e-4, 1.0, log=True),
    "batch_size": bo.Int(4, 96, log=True),
    "optimizer": bo.Choice(["adamw", "sgd", "muon"]),
    "decay_share": bo.Float(0.0, 1.0),
    "mixture": bo.Simplex(["prose", "source", "tables"]),
})
MEMORY = bo.AtMost("memory_mb", 8.0)
FRESH_SEEDS = (1, 2, 3)


def new_study(name, seconds, storage=None, strategy=None, seed=0):
    """A study of the training run; the same for every strategy, so that only the strategy differs."""
    return bo.Study(
        SPACE, minimize="val_loss", subject_to=[MEMORY], budget=bo.Budget(cost=seconds),
        storage=storage, name=name, strategy=strategy, seed=seed,
    )  # fmt: skip


def main():
    """Tune, search at random for as long, and show both beside the defaults."""
    parser = argparse.ArgumentParser(description="Tune the language model's training.")
    parser.add_argument("--seconds", type=float, default=75.0, help="training time that each search may spend")
    parser.add_argument("--out", type=Path, default=Path("build/language_model"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "study.db"

    study = new_study("tuned", options.seconds, file)
    if study.trials:
        print(f"Going on after {len(study.trials)} trials in {file}; delete it to start afresh.")
    train(DEFAULTS, steps=1)  # imports and reading the text are paid before the clock runs
    study.run(train)
    for trial in study.trials:
        print(trial_line(trial))
    print(study.report())
    picture = options.out / "study.png"
    bo.plot.overview(study).savefig(picture)
    print(f"Study file: {file}\nPicture: {picture}\n")
    if not study.done:
        return  # interrupted

    random = new_study("random search", options.seconds, file, bo.strategies.RandomSearch())
    random.run(train)
    print(f"\nTrained anew with seeds {FRESH_SEEDS}, after {options.seconds:g} s of training for each search:")
    print(f"{'':<13} {'trials':>6} {'val_loss':>8} {'lowest':>7} {'highest':>7} {'memory_mb':>9}  configuration")
    compare("default", DEFAULTS, 0)
    for search in (random, study):
        if search.best is None:
            print(f"{search.name:<13} {len(search.trials):6d}  nothing within the memory limit")
        else:
            compare(search.name, search.best.params, len(search.trials))


def compare(name, config, n_trials):
    """A row of the table: a configuration trained with seeds that no search has seen."""
    runs = [train(config, seed=seed) for seed in FRESH_SEEDS]
    losses = [run["val_loss"] for run in runs]
    print(
        f"{name:<13} {n_trials:6d} {mean(losses):8.4f} {min(losses):7.4f} {max(losses):7.4f} "
        f"{runs[0]['memory_mb']:9.2f}  {config_text(config)}",
        flush=True,
    )


def trial_line(trial):
    """What was tried and what came of it, on one line."""
    if trial.state != "complete":
        return f"{trial.id:3d}  {trial.state}: {trial.reason}  {config_text(trial.params)}"
    over = "" if MEMORY.margin(trial.values["memory_mb"]) <= 0 else "  over the memory limit"
    loss, memory, seconds = (trial.values[name] for name in ("val_loss", "memory_mb", "seconds"))
    return f"{trial.id:3d}  val_loss {loss:.4f}  {memory:5.2f} MB  {seconds:4.1f} s  {config_text(trial.params)}{over}"


def config_text(config):
    """A configuration on one line."""
    shares = " ".join(f"{name} {share:.2f}" for name, share in config["mixture"].items())
    return (
        f"{config['optimizer']:<5} lr {config['lr']:.2g}, batch {config['batch_size']}, "
        f"decay {config['decay_share']:.2f}, {shares}"
    )


if __name__ == "__main__":
    main()
