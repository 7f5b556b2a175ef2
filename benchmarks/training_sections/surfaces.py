"""Twenty evaluations on a table of real training runs over learning rate and batch size, by every tuner.

A tuner asks for a point; the answer is the final loss of the nearest run in the table that was not answered yet, in
the box of the table scaled to [0, 1]^2. Diverged runs stay in the table. Seeds 0 to 9; ours was developed on others.
"""

import csv
import gzip
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import qmc
from tables import bold, table

import bayesopt as bo

EVALUATIONS = 20
WHEN = (5, 10, 20)
SLOW = ("Optuna GPSampler", "BoTorch SingleTaskGP, qLogEI")
"""Peers whose asks are dear: they get fewer seeds."""
SEEDLESS = ("one guess", "Step Law", "refitted")
"""Parts of the names of rows in which nothing is random: one seed stands for all."""


@dataclass(frozen=True)
class Surface:
    """Runs of one model on one number of tokens."""

    name: str
    kind: str
    N: float
    D: float
    x: np.ndarray
    """log2 of learning rate and of sequences a batch, `n x 2`."""
    loss: np.ndarray
    """Smoothed final losses, `n`, nats."""

    @property
    def unit(self) -> np.ndarray:
        """The points with the box scaled to [0, 1]^2."""
        return (self.x - self.x.min(0)) / np.ptp(self.x, axis=0)

    @property
    def configs(self) -> list[dict[str, float | int]]:
        """The points as configurations."""
        return [{"lr": float(2.0**lr), "batch_size": round(2.0**batch)} for lr, batch in self.x]

    def nearest(self, u: np.ndarray, free: np.ndarray) -> int:
        """The nearest free run."""
        return int(np.argmin(np.where(free, ((self.unit - u) ** 2).sum(1), np.inf)))


Tuner = Callable[[Surface, int], Iterator[int]]
"""From a surface and a seed to the rows that are answered, one after another."""


def load(folder: Path) -> list[Surface]:
    """The surfaces of a data folder."""
    rows: dict[str, list[dict[str, str]]] = {}
    with gzip.open(folder / "steplaw" / "surfaces.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            rows.setdefault(row["surface"], []).append(row)
    return [
        Surface(
            name,
            its[0]["kind"],
            float(its[0]["N"]),
            float(its[0]["D"]),
            np.log2([[float(row["lr"]), float(row["bs"])] for row in its]),
            np.array([float(row["loss"]) for row in its]),
        )
        for name, its in rows.items()
    ]


def ours(law_of: Callable[[Surface], bo.laws.Law | None], **options: str) -> Tuner:
    """`TrainingTuner` with a law of the surface."""

    def run(surface: Surface, seed: int) -> Iterator[int]:
        configs = surface.configs
        row_of = {tuple(config.values()): row for row, config in enumerate(configs)}
        low, high = (end(axis=0) for end in ((2.0**surface.x).min, (2.0**surface.x).max))
        space = bo.Space({
            "lr": bo.Float(low[0], high[0], log=True),
            "batch_size": bo.Int(round(low[1]), round(high[1]), log=True),
        })
        tuner = bo.TrainingTuner(
            space,
            law=law_of(surface),
            features={"N": surface.N, "D": surface.D},
            candidates=configs,
            seed=seed,
            **options,
        )
        free = np.ones(len(configs), dtype=bool)
        for _ in range(EVALUATIONS):
            asked = tuner.ask()
            # an ask is a candidate but for the rounding of its learning rate
            row = row_of.get(tuple(asked.values()))
            if row is None:
                place = np.log2(list(asked.values()))
                row = surface.nearest((place - surface.x.min(0)) / np.ptp(surface.x, axis=0), free)
            free[row] = False
            yield row
            tuner.tell(asked, float(surface.loss[row]))

    return run


def guess(point: Callable[[Surface], np.ndarray]) -> Tuner:
    """One evaluation, at the run nearest to a point in the box."""

    def run(surface: Surface, seed: int) -> Iterator[int]:
        yield surface.nearest(point(surface), np.ones(len(surface.loss), dtype=bool))

    return run


def random(surface: Surface, seed: int) -> Iterator[int]:
    """Runs at random, none twice."""
    yield from np.random.default_rng(seed).permutation(len(surface.loss))[:EVALUATIONS].tolist()


def optuna_with(sampler: str) -> Tuner:
    """Optuna with a sampler's defaults; logarithmic learning rate and batch size."""

    def run(surface: Surface, seed: int) -> Iterator[int]:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(sampler=getattr(optuna.samplers, sampler)(seed=seed))
        low, high = 2.0 ** surface.x.min(0), 2.0 ** surface.x.max(0)
        free = np.ones(len(surface.loss), dtype=bool)
        for _ in range(EVALUATIONS):
            trial = study.ask()
            lr = trial.suggest_float("lr", low[0], high[0], log=True)
            batch = trial.suggest_int("batch_size", round(low[1]), round(high[1]), log=True)
            u = (np.log2([lr, batch]) - surface.x.min(0)) / np.ptp(surface.x, axis=0)
            row = surface.nearest(u, free)
            free[row] = False
            yield row
            study.tell(trial, float(surface.loss[row]))

    return run


def botorch(surface: Surface, seed: int) -> Iterator[int]:
    """BoTorch's defaults: four Sobol points, then a SingleTaskGP and qLogEI over the runs that are left."""
    import torch
    from botorch.acquisition.logei import qLogExpectedImprovement
    from botorch.fit import fit_gpytorch_mll
    from botorch.models.gp_regression import SingleTaskGP
    from botorch.sampling.normal import SobolQMCNormalSampler
    from gpytorch.mlls import ExactMarginalLogLikelihood

    free, rows = np.ones(len(surface.loss), dtype=bool), []
    sobol = qmc.Sobol(2, rng=np.random.default_rng(seed)).random(4)
    X = torch.as_tensor(surface.unit)
    for turn in range(EVALUATIONS):
        if turn < len(sobol):
            row = surface.nearest(sobol[turn], free)
        else:
            Y = -torch.as_tensor(surface.loss[rows])[:, None]
            model = SingleTaskGP(X[rows], Y)
            fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
            sampler = SobolQMCNormalSampler(torch.Size([512]), seed=seed)
            utility = qLogExpectedImprovement(model, best_f=Y.max(), sampler=sampler)
            left = np.flatnonzero(free)
            with torch.no_grad():
                row = int(left[int(utility(X[left][:, None]).argmax())])
        free[row] = False
        rows.append(row)
        yield row


def without(surfaces: list[Surface]) -> Callable[[Surface], bo.laws.Law]:
    """The Step Law's form with constants and curvature fitted to the surfaces but the one at hand."""

    def law_of(surface: Surface) -> bo.laws.Law:
        others = [one for one in surfaces if one.name != surface.name]
        best = np.array([one.x[one.loss.argmin()] for one in others])
        log_N, log_D = (np.log2([getattr(one, name) for one in others]) for name in "ND")
        ones = np.ones(len(others))
        lr = np.linalg.lstsq(np.column_stack([ones, log_N, log_D]), best[:, 0], rcond=None)[0]
        batch = np.linalg.lstsq(np.column_stack([ones, log_D]), best[:, 1], rcond=None)[0]
        H = bo.laws.pooled_hessian((one.x, one.loss) for one in others)
        names = ("lr", "batch_size")
        return bo.StepLaw(
            lr=(2.0 ** lr[0], lr[1], lr[2]),
            batch=(2048 * 2.0 ** batch[0], batch[1]),
            curvature={(one, other): H[i, j] for i, one in enumerate(names) for j, other in enumerate(names)},
        )

    return law_of


def displaced(octaves: float) -> bo.StepLaw:
    """The Step Law with a learning rate that is wrong."""
    return bo.StepLaw(lr=(1.79 * 2.0**octaves, -0.713, 0.307))


def tuners(surfaces: list[Surface]) -> dict[str, Tuner]:
    """All rows of the table."""

    def formula(surface: Surface) -> np.ndarray:
        settings = np.log2(bo.StepLaw()(surface.N, surface.D))
        return (settings - surface.x.min(0)) / np.ptp(surface.x, axis=0)

    refitted = without(surfaces)

    def refitted_formula(surface: Surface) -> np.ndarray:
        mean, _ = refitted(surface).predict({"N": surface.N, "D": surface.D})
        return (np.array(list(mean.values())) - surface.x.min(0)) / np.ptp(surface.x, axis=0)

    return {
        "random": random,
        "Optuna TPE": optuna_with("TPESampler"),
        "Optuna GPSampler": optuna_with("GPSampler"),
        "BoTorch SingleTaskGP, qLogEI": botorch,
        "middle of the box, one guess": guess(lambda surface: np.full(2, 0.5)),
        "Step Law, one guess": guess(formula),
        "refitted law, one guess": guess(refitted_formula),
        "ours, no prior": ours(lambda surface: None),
        "ours, Step Law as mean": ours(lambda surface: bo.StepLaw()),
        "ours, Step Law as belief": ours(lambda surface: bo.StepLaw(), law_as="belief"),
        "ours, law refitted without the surface": ours(refitted),
        "ours, Step Law 2 octaves too high": ours(lambda surface: displaced(2.0)),
        "ours, Step Law 2 octaves too low": ours(lambda surface: displaced(-2.0)),
    }


def gaps(surface: Surface, tuner: Tuner, seed: int) -> tuple[np.ndarray, float]:
    """Nats above the surface's best after each evaluation, and CPU seconds an evaluation."""
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of laws that are displaced on purpose, and of peers
        losses = [surface.loss[row] for row in tuner(surface, seed)]
    seconds = (time.process_time() - started) / len(losses)
    losses += [min(losses)] * (EVALUATIONS - len(losses))
    return np.minimum.accumulate(losses) - surface.loss.min(), seconds


def section(surfaces: list[Surface], seeds: int, slow_seeds: int, names: list[str] | None) -> str:
    """The table."""
    rows, columns = [], []
    for name, tuner in tuners(surfaces).items():
        if names and name not in names:
            continue
        is_seedless = any(part in name for part in SEEDLESS)
        own = range(1 if is_seedless else min(seeds, slow_seeds) if name in SLOW else seeds)
        if not own:
            continue
        runs = [(surface, *gaps(surface, tuner, seed)) for seed in own for surface in surfaces]
        G = np.array([gap for _, gap, _ in runs])
        spread = np.array([np.median(surface.loss) - surface.loss.min() for surface, _, _ in runs])
        is_dense = np.array([surface.kind == "dense" for surface, _, _ in runs])
        at = [G[:, k - 1] for k in WHEN]
        values = [np.mean(gap) for gap in at] + [np.mean(gap / spread) for gap in at]
        values += [np.quantile(at[0], 0.9), np.quantile(at[1], 0.9)]
        values += [at[1][is_dense].mean() if is_dense.any() else np.nan]
        values += [at[1][~is_dense].mean() if (~is_dense).any() else np.nan]
        columns.append(values)
        cells = [f"{value:.5f}" for value in values]
        rows.append([
            name,
            "all" if is_seedless else str(len(own)),
            *cells,
            f"{1e3 * np.median([seconds for *_, seconds in runs]):.1f}",
        ])
        print(rows[-1], flush=True)
    for column, values in enumerate(zip(*columns, strict=True)):
        for row, cell in zip(rows, bold([row[2 + column] for row in rows], values), strict=True):
            row[2 + column] = cell
    head = ["method", "seeds", *(f"gap at {k}" for k in WHEN), *(f"NR at {k}" for k in WHEN)]
    head += ["90 % at 5", "90 % at 10", "dense at 10", "MoE at 10", "CPU ms a trial"]
    text = (
        f"{len(surfaces)} surfaces. Gap: best so far less the surface's best, nats, mean over surfaces and seeds; NR: "
        "the same over the distance from the median run to the best; 90 %: quantile of the gap. With a law and a list "
        "of candidates nothing is random in ours: all seeds are the same. A search without a prior begins in the "
        "middle of the box, which the authors of the tables put around their optimum: see the row of that one "
        "guess. The bowl's curvature is the mean over the dense surfaces, but for the row 'refitted', which knows "
        "nothing of the surface at hand."
    )
    if slow_seeds == 0:
        text += f" Not run here, as their asks are dear: {' and '.join(SLOW)}."
    return f"## Learning rate and batch size of language models\n\n{text}\n\n{table(head, rows)}"
