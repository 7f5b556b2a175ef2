"""Real mixtures and their losses: what predicts the loss of an unseen mixture, and what finds the best one soonest.

Alphabet. P: proportions, `n x 17`. Y: losses, `n x 13`. A, B, C: sets of mixtures, run at 1M; at 1M and 60M; at 1B.
"""

import csv
import gzip
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.special import ndtr
from scipy.stats import spearmanr
from tables import table

import bayesopt as bo
from gp.models.exact import ExactGP
from gp.models.mixture import MixtureGP
from mixture_sections.kept import Kept

DATA = Path(os.environ.get("BAYESOPT_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")) / "regmix"
SEEDS = range(10)
START = 10
CAP = 80
"""Runs after which a search is given up; the table then says `> 80`."""
WITHIN = 1.01


@dataclass(frozen=True)
class Runs:
    """Some mixtures and their losses."""

    P: np.ndarray
    Y: np.ndarray


def load() -> tuple[dict[str, Runs], list[str], list[str]]:
    """The sets A, B, B at 60M and C; names of groups and losses."""
    with gzip.open(DATA / "regmix.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    groups = [name[2:] for name in rows[0] if name.startswith("w_")]
    losses = [name[5:] for name in rows[0] if name.startswith("loss_")]

    def part(scale: str, letter: str) -> Runs:
        chosen = [row for row in rows if row["scale"] == scale and row["mixture"].startswith(letter)]
        P = np.array([[float(row[f"w_{name}"]) for name in groups] for row in chosen])
        Y = np.array([[float(row[f"loss_{name}"]) for name in losses] for row in chosen])
        return Runs(P / P.sum(1, keepdims=True), Y)

    return {"A": part("1M", "A"), "B": part("1M", "B"), "B60": part("60M", "B"), "C": part("1B", "C")}, groups, losses


# -- prediction -----------------------------------------------------------------------------------------------------


def _linear(P: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    weights = np.linalg.lstsq(P, y, rcond=None)[0]
    return lambda Q: Q @ weights


def _law(P: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return bo.ExpMixingLaw().fit(P, y).predict


def _lightgbm(P: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """RegMix's own regression: 1,000 trees at a rate of 0.01."""
    import lightgbm

    model = lightgbm.LGBMRegressor(n_estimators=1000, learning_rate=0.01, n_jobs=1, verbose=-1).fit(P, y)
    return model.predict


def _gp_of(features: Callable[[np.ndarray], np.ndarray]) -> Callable[..., Callable[[np.ndarray], np.ndarray]]:
    """Matérn-5/2 with a lengthscale a feature, of other coordinates than ours."""

    def fit(P: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        model = ExactGP(torch.as_tensor(features(P)), torch.as_tensor(y)[:, None]).fit()
        return lambda Q: model.predictor.predict(features(Q)).mean[:, 0]

    return fit


def _clr(P: np.ndarray) -> np.ndarray:
    logs = np.log(P + 1e-3)
    return logs - logs.mean(1, keepdims=True)


def _ours(P: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    model = MixtureGP(torch.as_tensor(P), torch.as_tensor(y)[:, None]).fit()
    return lambda Q: model.predict(Q).mean[:, 0]


def _gap(guess: np.ndarray, truth: np.ndarray) -> float:
    """How far the mixture of least guess is from the best; the median one is at 1."""
    return float((truth[np.argmin(guess)] - truth.min()) / (np.median(truth) - truth.min()))


def _scores(sets: dict[str, Runs], fit: Callable[..., Callable[[np.ndarray], np.ndarray]]) -> list[str]:
    """What the table says of a model."""
    A = sets["A"]
    scores, seconds, predicted = [], [], {key: [] for key in ("B", "B60", "C")}
    for i in range(A.Y.shape[1]):
        started = time.process_time()
        model = fit(A.P, A.Y[:, i])
        seconds.append(time.process_time() - started)
        for key in predicted:
            predicted[key].append(model(sets[key].P))
        truth, guess = sets["B"].Y[:, i], predicted["B"][-1]
        explained = 1 - np.square(guess - truth).sum() / np.square(truth - truth.mean()).sum()
        scores.append([explained, np.abs(guess - truth).mean()])
    rho = {
        key: np.mean([spearmanr(guess, sets[key].Y[:, i])[0] for i, guess in enumerate(guesses)])
        for key, guesses in predicted.items()
    }
    gaps = [np.mean(list(map(_gap, predicted[key], sets[key].Y.T))) for key in ("B", "C")]
    r2, mae = np.mean(scores, 0)
    return [
        f"{rho['B']:.3f}, {r2:.3f}, {mae:.3f}",
        f"{rho['B60']:.3f}",
        f"{rho['C']:.3f}",
        f"{gaps[0]:.3f} / {gaps[1]:.3f}",
        f"{np.max(seconds):.2g}",
    ]


def prediction(sets: dict[str, Runs], kept: Kept) -> str:
    """The section on prediction."""
    methods = {
        "linear": _linear,
        "exponential law (`bo.ExpMixingLaw`)": _law,
        "LightGBM (RegMix settings)": _lightgbm,
        "GP Matérn-5/2 ARD on p": _gp_of(lambda P: P),
        "GP on centred log-ratio of p + 1e-3": _gp_of(_clr),
        "GP on sqrt(p) (`gp.MixtureGP`)": _ours,
    }
    A, rows = sets["A"], []
    for name, fit in methods.items():
        rows += kept.row("prediction", name, lambda fit=fit: _scores(sets, fit))
    head = [
        "model",
        "B at 1M: rho, R2, MAE",
        "B at 60M: rho",
        "C at 1B: rho",
        "gap of the pick, B / C",
        "s a fit, most",
    ]
    return (
        f"Prediction: fitted to the {len(A.P)} mixtures A at 1M, {A.Y.shape[1]} losses each on its own, means over "
        "them; Spearman's rho. The pick is the mixture of least predicted loss (gap 0 = the best, 1 = the "
        "median).\n\n" + table(head, rows)
    )


# -- search ---------------------------------------------------------------------------------------------------------

BATCH = 5
"""Runs from one fit of LightGBM to the next: a thousand trees a run would take most of the benchmark's time."""
Pick = Callable[[np.ndarray, np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
"""From told mixtures, their target and the candidates to a score a candidate; the largest is run next."""


def _improvement(mean: np.ndarray, sd: np.ndarray, best: float) -> np.ndarray:
    z = (best - mean) / sd
    return sd * (z * ndtr(z) + np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi))


def _pick_gp(features: Callable[[np.ndarray], np.ndarray]) -> Pick:
    """Expected improvement under one isotropic Matérn-5/2 of the target itself."""

    def score(P: np.ndarray, y: np.ndarray, candidates: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        X = features(P)
        model = ExactGP(torch.as_tensor(X), torch.as_tensor(y)[:, None], groups=[0] * X.shape[1]).fit()
        prediction = model.predictor.predict(features(candidates))
        return _improvement(prediction.mean[:, 0], np.sqrt(prediction.variance), y.min())

    return score


def _pick_law(P: np.ndarray, y: np.ndarray, candidates: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return -bo.ExpMixingLaw().fit(P, y).predict(candidates)


def _pick_lightgbm(P: np.ndarray, y: np.ndarray, candidates: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """RegMix's regression; where its leaves need more runs than there are, chance decides."""
    return -_lightgbm(P, y)(candidates) + 1e-9 * rng.random(len(candidates))


def _table_run(y: np.ndarray, P: np.ndarray, seed: int, pick: Pick, batch: int = 1) -> int:
    rng = np.random.default_rng([seed, 1])
    told = _start(len(P), seed)
    found = _within(y)
    while not found[told].any() and len(told) < CAP:
        free = np.setdiff1d(np.arange(len(P)), told)
        best = np.argsort(-pick(P[told], y[told], P[free], rng), kind="stable")[: min(batch, CAP - len(told))]
        told += free[best].tolist()
    return _first(found, told)


def _ours_run(runs: Runs, groups: list[str], losses: list[str], target: str | None, seed: int) -> int:
    y = _target(runs, losses, target)
    tuner = bo.MixtureTuner(groups, target=target, candidates=runs.P, seed=seed)
    told, found = _start(len(y), seed), _within(y)

    def tell(i: int) -> None:
        mixture = dict(zip(groups, runs.P[i].tolist(), strict=True))
        tuner.tell(mixture, dict(zip(losses, runs.Y[i].tolist(), strict=True)))

    for i in told:
        tell(i)
    while not found[told].any() and len(told) < CAP:
        asked = np.array(list(tuner.ask().values()))
        told.append(int(np.argmin(np.abs(runs.P - asked).sum(1))))
        tell(told[-1])
    return _first(found, told)


def _optuna_run(y: np.ndarray, P: np.ndarray, seed: int, kind: str) -> int:
    """Optuna on one weight a group; each trial is answered by the nearest row that was not run yet."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    samplers = {"tpe": optuna.samplers.TPESampler, "gp": optuna.samplers.GPSampler}
    m, told, found = P.shape[1], _start(len(P), seed), _within(y)
    root = np.sqrt(P)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(sampler=samplers[kind](seed=seed))
        space = {f"x{j}": optuna.distributions.FloatDistribution(0.0, 1.0) for j in range(m)}
        for i in told:
            study.add_trial(optuna.trial.create_trial(params=_to_numbers(P[i]), distributions=space, value=y[i]))
        while not found[told].any() and len(told) < CAP:
            trial = study.ask(space)
            weights = np.array([trial.params[f"x{j}"] for j in range(m)])
            p = weights / max(weights.sum(), 1e-12)
            distances = np.square(root - np.sqrt(p)).sum(1)
            distances[told] = np.inf
            told.append(int(np.argmin(distances)))
            study.tell(trial, y[told[-1]])
    return _first(found, told)


def _to_numbers(p: np.ndarray) -> dict[str, float]:
    """Weights over the largest: of those in the box that mean the same mixture, the largest ones."""
    return {f"x{j}": float(value) for j, value in enumerate(p / p.max())}


def _start(n: int, seed: int) -> list[int]:
    return np.random.default_rng(seed).choice(n, START, replace=False).tolist()


def _within(y: np.ndarray) -> np.ndarray:
    return y <= WITHIN * y.min()


def _first(found: np.ndarray, told: list[int]) -> int:
    """Runs until the first one within 1 % of the best; one more than the cap where there was none."""
    at = np.flatnonzero(found[told])
    return int(at[0]) + 1 if len(at) else CAP + 1


def _target(runs: Runs, losses: list[str], target: str | None) -> np.ndarray:
    return runs.Y.mean(1) if target is None else runs.Y[:, losses.index(target)]


def _searches(run: Callable[[str | None, int], int], targets: tuple[str | None, ...], seeds: range) -> list[str]:
    """Median and most of the runs that a method needs for each target, and its seconds."""
    cells, started = [], time.process_time()
    for target in targets:
        found = [run(target, seed) for seed in seeds]
        cells.append(", ".join(f"> {CAP}" if n > CAP else f"{n:g}" for n in (np.median(found), max(found))))
    return [*cells, f"{time.process_time() - started:.0f}"]


def search(sets: dict[str, Runs], groups: list[str], losses: list[str], kept: Kept) -> str:
    """The section on search."""
    runs = Runs(np.vstack([sets["A"].P, sets["B"].P]), np.vstack([sets["A"].Y, sets["B"].Y]))
    targets = ("pile_cc", "github", None)
    ys = {target: _target(runs, losses, target) for target in targets}
    few = SEEDS[:2]
    methods: dict[str, tuple[Callable[[str | None, int], int], range]] = {
        "`bo.MixtureTuner`": (lambda t, s: _ours_run(runs, groups, losses, t, s), SEEDS),
        "GP-EI, sqrt(p)": (lambda t, s: _table_run(ys[t], runs.P, s, _pick_gp(np.sqrt)), SEEDS),
        "GP-EI, p": (lambda t, s: _table_run(ys[t], runs.P, s, _pick_gp(lambda P: P)), SEEDS),
        "GP-EI, clr(p + 1e-3)": (lambda t, s: _table_run(ys[t], runs.P, s, _pick_gp(_clr)), SEEDS),
        "exponential law, greedy": (lambda t, s: _table_run(ys[t], runs.P, s, _pick_law), SEEDS),
        "LightGBM (RegMix settings), its best 5 at a time": (
            lambda t, s: _table_run(ys[t], runs.P, s, _pick_lightgbm, BATCH),
            SEEDS,
        ),
        "Optuna TPESampler": (lambda t, s: _optuna_run(ys[t], runs.P, s, "tpe"), SEEDS),
        "Optuna GPSampler": (lambda t, s: _optuna_run(ys[t], runs.P, s, "gp"), few),
    }
    rows = []
    expected = [f"{(len(y) + 1) / (_within(y).sum() + 1):.1f} expected" for y in ys.values()]
    rows.append(["random search", *expected, "-"])
    for name, (run, seeds) in methods.items():
        shown = name + (f" ({len(seeds)} seeds)" if len(seeds) < len(SEEDS) else "")
        rows += kept.row("search", shown, lambda run=run, seeds=seeds: _searches(run, targets, seeds))
    return (
        f"Search: {len(runs.P)} mixtures at 1M, of which each run picks one; {START} random ones to start from, the "
        f"same for all methods, which count; {len(SEEDS)} seeds. Runs until a loss within 1 % of the table's least: "
        f"median, most. Within it are {', '.join(str(_within(y).sum()) for y in ys.values())} mixtures.\n\n"
        + table(["method", "pile_cc", "github", "mean of 13 losses", "CPU, s, all runs"], rows)
    )
