"""Claim: the best mixture of a table of real runs is found with a quarter of random search's runs or fewer.

Baselines: RegMix's LightGBM recipe, the exponential mixing law alone, Gaussian processes in other coordinates, Optuna,
random search. Metric: runs until a mixture is within 1 % of the table's least loss, ten seeds, and, for prediction,
rank correlations on unseen mixtures. Data: RegMix (arXiv 2407.01492), read from the folder named by BAYESOPT_DATA.
Then mixing while a model trains, simulated and real, where the baseline is equal shares. A lost comparison stays in the
table. About 20 minutes on one core; interrupted, it goes on where it stopped.
"""

import argparse
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from mixture_sections import online, regmix
from mixture_sections.kept import Kept
from one_thread import restart_with_one_thread
from tables import machine, table

import bayesopt as bo
from bayesopt.tuners.mixture_candidates import MixtureCandidates

RESULT = Path(__file__).parent / "results" / "mixture.md"
PEERS = ("priorwise", "optuna", "lightgbm")


def main() -> None:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kept-only", action="store_true", help="make the tables of what was measured already")
    kept = Kept(measure=not parser.parse_args().kept_only)
    header = machine({"version": f"{name} {version(name)}"} for name in PEERS)
    claim = (__doc__ or "").partition("About 20")[0].strip()
    sections = ["# Data mixtures: `benchmarks/mixture.py`", header, claim]
    if (regmix.DATA / "regmix.csv.gz").exists():
        sets, groups, losses = regmix.load()
        sections += [regmix.prediction(sets, kept), regmix.search(sets, groups, losses, kept)]
    else:
        sections.append(f"The tables of real runs are left out: {regmix.DATA} holds no regmix.csv.gz.")
        print(sections[-1])
    sections += [_law_recovery(), _sampling(), online.simulation(kept), online.language_model(kept)]
    if kept.missing:
        sections.append("Not measured yet: " + "; ".join(kept.missing) + ".")
    RESULT.write_text("\n\n".join(sections) + "\n")
    print("\n\n".join(sections))


def _law_recovery() -> str:
    """The law's parameters found again from 20 runs without noise: three groups, 50 random laws of real sizes."""
    rng = np.random.default_rng(0)
    worst = []
    for _ in range(50):
        c, b, t = rng.uniform(1.0, 2.5), rng.uniform(-0.5, 1.0), rng.uniform(-4.0, 1.0, 3)
        P, Q = rng.dirichlet(np.ones(3), 20), rng.dirichlet(np.ones(3), 500)
        law = bo.ExpMixingLaw().fit(P, c + np.exp(b + P @ t))
        worst.append(np.abs(law.predict(Q) - (c + np.exp(b + Q @ t))).max())
    return (
        "The exponential law from 20 runs without noise, 3 groups, 50 random laws: largest error at 500 random "
        f"mixtures, median {np.median(worst):.1g}, most {max(worst):.1g} nats."
    )


def _sampling() -> str:
    """Mixtures of 30 groups under caps."""
    rng = np.random.default_rng(0)
    names, counts = [f"group {i}" for i in range(30)], rng.lognormal(0.0, 1.5, 30)
    caps = np.minimum(1.0, 4 * counts / counts.sum())
    simplex = bo.Simplex(names, caps=dict(zip(names, caps, strict=True)))
    rows = []
    for name, sample in (
        ("sparse, around token counts", MixtureCandidates(simplex, counts.tolist()).sample),
        ("uniform", simplex.scale.sample),
    ):
        started = time.process_time()
        P = sample(1000, rng)
        seconds = time.process_time() - started
        beyond = max(float((P - caps).max()), float(-P.min()), float(np.abs(P.sum(1) - 1).max()))
        rows.append([name, f"{1e3 * seconds:.0f}", f"{max(beyond, 0.0):.1g}"])
    return "1,000 mixtures of 30 groups with caps.\n\n" + table(["drawn", "CPU, ms", "largest violation"], rows)


if __name__ == "__main__":
    restart_with_one_thread()
    main()
