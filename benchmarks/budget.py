"""Claim: weighing costs that vary a hundredfold finds better values for the same money, and a rule knows when to stop.

Problems: functions drawn from a Gaussian process (Matérn-5/2, lengthscale 0.15) on a 30 x 30 grid, the log of their
costs drawn from another (lengthscale 0.5, scaled to a hundredfold range, mean cost 1), a fresh pair a seed, maximised.
Table 1, regret after a budget of 20 mean costs, no trial beyond it: all policies know the process, so that they differ
in their decisions alone; then, marked "study", the library as a user has it, which learns the process, beside Optuna's
samplers, which are stopped at the first suggestion that does not fit. Table 2, stopping: regret plus 0.01 times what
was spent, policies as in table 1, at most 120 trials; Ax's rule (improvement below a tenth of the interquartile range
over 5 trials) is a baseline, and no policy of ours. Table 3, unknown costs: how many runs overspend, and by how much,
when costs are only learned from what trials were told with. A lost comparison stays in the table.
"""

import argparse
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from one_thread import restart_with_one_thread
from tables import machine, table

import bayesopt as bo
from bayesopt.acquisition.gittins import gittins_index
from bayesopt.acquisition.loop_terms import log_h_and_slope

RESULT = Path(__file__).parent / "results" / "budget.md"
SIDE = 30
BUDGET = 20.0
PRICE = 0.01
MOST = 120
JITTER = 1e-6
SPACE = bo.Space({"i": bo.Int(0, SIDE - 1), "j": bo.Int(0, SIDE - 1)})
GRID = np.stack(np.meshgrid(np.linspace(0, 1, SIDE), np.linspace(0, 1, SIDE), indexing="ij"), -1).reshape(-1, 2)


def main() -> None:
    """Run every table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=30, help="draws of tables 1 and 2")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--studies", type=int, default=10, help="draws on which whole studies run, the first ones")
    parser.add_argument("--overruns", type=int, default=100, help="runs a problem of table 3")
    options = parser.parse_args()
    started = time.process_time()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    draws = [Draw(seed) for seed in seeds]
    sections = [
        "# Budgets and stopping: `benchmarks/budget.py`",
        machine([{"version": f"priorwise {version('priorwise')}"}, *_peer_versions()]),
        __doc__.strip(),
        *_regrets(draws, options.studies),
        *_stops(draws),
        *_overruns(options.overruns, options.first_seed),
        f"CPU time of everything: {time.process_time() - started:.0f} s.",
    ]
    RESULT.write_text("\n\n".join(sections) + "\n")


class Draw:
    """A function and its costs on the grid, and the process that both the policies and nature know."""

    def __init__(self, seed: int) -> None:
        """Draw both."""
        rng = np.random.default_rng(seed)
        self.seed = seed
        self.K = _matern(0.15)
        self.f = _factor(0.15) @ rng.standard_normal(len(GRID))
        log_cost = _factor(0.5) @ rng.standard_normal(len(GRID))
        low, high = log_cost.min(), log_cost.max()
        self.cost = np.exp((log_cost - low) / (high - low) * np.log(100.0))
        self.cost /= self.cost.mean()
        self.best = self.f.max()


def _matern(lengthscale: float) -> np.ndarray:
    r = np.sqrt(5.0) * np.linalg.norm(GRID[:, None] - GRID[None], axis=2) / lengthscale
    return (1.0 + r + r**2 / 3.0) * np.exp(-r)


_FACTORS: dict[float, np.ndarray] = {}


def _factor(lengthscale: float) -> np.ndarray:
    if lengthscale not in _FACTORS:
        _FACTORS[lengthscale] = np.linalg.cholesky(_matern(lengthscale) + JITTER * np.eye(len(GRID)))
    return _FACTORS[lengthscale]


class Posterior:
    """Of a function on the grid after noise-free values, one more at a time in O(grid) memory and time each."""

    def __init__(self, draw: Draw) -> None:
        """Nothing is told yet."""
        self._K, self._f = draw.K, draw.f
        self.mean, self.variance = np.zeros(len(GRID)), np.ones(len(GRID))
        self._columns: list[np.ndarray] = []
        self.told: list[int] = []

    def tell(self, at: int) -> None:
        """Take one value into account."""
        column = self._K[:, at].copy()
        for before in self._columns:
            column -= before * before[at]
        column /= np.sqrt(max(column[at], 0.0) + JITTER)
        self.mean += column * (self._f[at] - self.mean[at]) / np.sqrt(max(self.variance[at], 0.0) + JITTER)
        self.variance = np.maximum(self.variance - column**2, 1e-12)
        self._columns.append(column)
        self.told.append(at)

    @property
    def sd(self) -> np.ndarray:
        """Standard deviations on the grid."""
        return np.sqrt(self.variance)

    @property
    def incumbent(self) -> float:
        """The best value told."""
        return self._f[self.told].max()

    def log_ei(self) -> np.ndarray:
        """Log expected improvement on the grid."""
        return np.log(self.sd) + log_h_and_slope((self.mean - self.incumbent) / self.sd)[0]

    def gittins(self, price: float, cost: np.ndarray) -> np.ndarray:
        """Gittins indices on the grid."""
        parts = (self.mean, self.sd, np.log(price * cost))
        return gittins_index(*(torch.as_tensor(part) for part in parts)).numpy()


Score = Callable[[Posterior, np.ndarray, float], np.ndarray]
"""From a posterior, costs and the share of the budget that is left to what each point is worth."""


def _gittins(price: float) -> Score:
    return lambda posterior, cost, left: posterior.gittins(price, cost)


class _Falling:
    """PBGI-D: the price is halved whenever nothing is worth it."""

    def __init__(self) -> None:
        self.price = 0.1

    def __call__(self, posterior: Posterior, cost: np.ndarray, left: float) -> np.ndarray:
        untold = np.setdiff1d(np.arange(len(GRID)), posterior.told)
        while (posterior.gittins(self.price, cost)[untold]).max() <= posterior.incumbent:
            self.price /= 2.0
        return posterior.gittins(self.price, cost)


POLICIES: dict[str, Callable[[np.random.Generator], Score]] = {
    "random": lambda rng: lambda posterior, cost, left: rng.random(len(GRID)),
    "EI": lambda rng: lambda posterior, cost, left: posterior.log_ei(),
    "cooled EI per cost": lambda rng: lambda posterior, cost, left: posterior.log_ei() - left * np.log(cost),
    "EI per cost": lambda rng: lambda posterior, cost, left: posterior.log_ei() - np.log(cost),
    "Gittins, price 0.1": lambda rng: _gittins(0.1),
    "Gittins, price 0.01": lambda rng: _gittins(0.01),
    "Gittins, price 0.001": lambda rng: _gittins(0.001),
    "Gittins, falling price": lambda rng: _Falling(),
}


def _run(draw: Draw, score: Score, stop: Callable[[list[dict]], bool], budget: float) -> tuple[float, float, int]:
    """Regret, what was spent and the number of trials of a policy; the first trial is the middle of the grid."""
    posterior, spent, log = Posterior(draw), 0.0, []
    at = (SIDE // 2) * SIDE + SIDE // 2
    while True:
        spent += draw.cost[at]
        posterior.tell(at)
        log.append({"posterior": posterior, "cost": draw.cost, "n": len(posterior.told), "best": posterior.incumbent})
        fits = draw.cost <= budget - spent
        fits[posterior.told] = False
        if not fits.any() or stop(log):
            return draw.best - posterior.incumbent, spent, len(posterior.told)
        worth = score(posterior, draw.cost, (budget - spent) / budget if np.isfinite(budget) else 1.0)
        at = int(np.argmax(np.where(fits, worth, -np.inf)))


def _regrets(draws: list[Draw], n_studies: int) -> list[str]:
    rows = []
    for costs in ("hundredfold", "uniform"):
        for name, make in POLICIES.items():
            runs = []
            for draw in draws:
                priced = draw if costs == "hundredfold" else _uniform(draw)
                budget = BUDGET if costs == "hundredfold" else 30.0
                score = make(np.random.default_rng(draw.seed))
                runs.append(_run(priced, score, lambda log: False, budget))
            rows.append(_regret_row(costs, name, runs))
            print(*rows[-1], flush=True)
    for name, run in STUDIES.items():
        rows.append(_regret_row("hundredfold", name, [run(draw) for draw in draws[:n_studies]]))
        print(*rows[-1], flush=True)
    head = ["costs", "policy", "draws", "mean regret", "standard error", "trials", "most spent of the budget"]
    return ["## 1. Regret for a budget (20 mean costs; 30 trials where all cost the same)", table(head, rows)]


def _uniform(draw: Draw) -> Draw:
    flat = Draw(draw.seed)
    flat.cost = np.ones_like(flat.cost)
    return flat


def _regret_row(costs: str, name: str, runs: list[tuple[float, float, int]]) -> list[str]:
    regret, spent, n = (np.array(part) for part in zip(*runs, strict=True))
    error = regret.std(ddof=1) / np.sqrt(len(runs)) if len(runs) > 1 else np.nan
    limit = BUDGET if costs == "hundredfold" else 30.0
    return [
        *(costs, name, str(len(runs)), f"{regret.mean():.3f}", f"{error:.3f}", f"{n.mean():.0f}"),
        f"{spent.max() / limit:.3f}",
    ]


def _study(strategy: bo.strategies.Strategy) -> Callable[[Draw], tuple[float, float, int]]:
    def run(draw: Draw) -> tuple[float, float, int]:
        def at(params: dict) -> int:
            return params["i"] * SIDE + params["j"]

        limit = bo.Budget(cost=BUDGET, cost_of=lambda params: float(draw.cost[at(params)]))
        study = bo.Study(SPACE, maximize="f", strategy=strategy, budget=limit, noise=0.0, seed=draw.seed)
        while (trial := study.ask()) is not None:
            study.tell(trial, float(draw.f[at(trial.params)]))
        return draw.best - study.best.values["f"], study.budget.spent_cost, len(study.trials)

    return run


def _optuna(make: str) -> Callable[[Draw], tuple[float, float, int]]:
    def run(draw: Draw) -> tuple[float, float, int]:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(direction="maximize", sampler=getattr(optuna.samplers, make)(seed=draw.seed))
        spent, best, n = 0.0, -np.inf, 0
        while n < 400:
            trial = study.ask()
            at = trial.suggest_int("i", 0, SIDE - 1) * SIDE + trial.suggest_int("j", 0, SIDE - 1)
            if spent + draw.cost[at] > BUDGET:
                break
            spent, n, best = spent + draw.cost[at], n + 1, max(best, draw.f[at])
            study.tell(trial, float(draw.f[at]))
        return draw.best - best, spent, n

    return run


STUDIES = {
    "study: default": _study(bo.strategies.ExpectedImprovement()),
    "study: ImprovementPerCost": _study(bo.strategies.ImprovementPerCost()),
    "study: ImprovementPerCost(cooled)": _study(bo.strategies.ImprovementPerCost(cooled=True)),
    "study: GittinsSearch(0.01)": _study(bo.strategies.GittinsSearch(0.01)),
    "study: GittinsSearch()": _study(bo.strategies.GittinsSearch()),
    "Optuna TPE": _optuna("TPESampler"),
    "Optuna GPSampler": _optuna("GPSampler"),
}


def _peer_versions() -> list[dict[str, str]]:
    return [{"version": f"optuna {version('optuna')}"}]


def _worth(log: list[dict]) -> bool:
    posterior, cost = log[-1]["posterior"], log[-1]["cost"]
    untold = np.setdiff1d(np.arange(len(GRID)), posterior.told)
    return bool((posterior.log_ei() - np.log(PRICE * cost))[untold].max() <= 0.0)


def _gap(tolerance: float) -> Callable[[list[dict]], bool]:
    def stop(log: list[dict]) -> bool:
        posterior, t = log[-1]["posterior"], log[-1]["n"]
        width = np.sqrt(0.4 * np.log(len(GRID) * t**2 * np.pi**2 / 0.6))
        lower = (posterior.mean - width * posterior.sd)[posterior.told].max()
        log[-1]["hit"] = (posterior.mean + width * posterior.sd).max() - lower <= tolerance
        return len(log) > 1 and log[-1]["hit"] and log[-2].get("hit", False)

    return stop


def _no_improvement(patience: int) -> Callable[[list[dict]], bool]:
    return lambda log: len(log) > patience and log[-1]["best"] <= log[-1 - patience]["best"]


def _ax(log: list[dict]) -> bool:
    """Ax's global stopping: the improvement over the last 5 trials is below a tenth of the interquartile range."""
    if len(log) <= 10:
        return False
    posterior = log[-1]["posterior"]
    low, high = np.quantile(posterior._f[posterior.told], [0.25, 0.75])
    return log[-1]["best"] - log[-6]["best"] < 0.1 * (high - low)


STOPS: dict[str, tuple[str, Callable[[list[dict]], bool]]] = {
    "not worth the cost, Gittins search": ("Gittins, price 0.01", _worth),
    "not worth the cost, EI per cost": ("EI per cost", _worth),
    "regret gap 0.1, EI per cost": ("EI per cost", _gap(0.1)),
    "regret gap 0.01, EI per cost": ("EI per cost", _gap(0.01)),
    "no improvement for 10, EI per cost": ("EI per cost", _no_improvement(10)),
    "no improvement for 10, EI": ("EI", _no_improvement(10)),
    "Ax's rule, EI": ("EI", _ax),
    **{f"fixed {n}, EI": ("EI", lambda log, n=n: log[-1]["n"] >= n) for n in (20, 40, 80)},
    **{f"fixed {n}, EI per cost": ("EI per cost", lambda log, n=n: log[-1]["n"] >= n) for n in (20, 40, 80)},
}


def _stops(draws: list[Draw]) -> list[str]:
    rows = []
    for costs in ("hundredfold", "uniform"):
        for name, (policy, stop) in STOPS.items():
            runs = []
            for draw in draws:
                priced = draw if costs == "hundredfold" else _uniform(draw)
                capped = lambda log, stop=stop: stop(log) or log[-1]["n"] >= MOST  # noqa: E731  # one line says it
                runs.append(_run(priced, POLICIES[policy](np.random.default_rng(draw.seed)), capped, np.inf))
            regret, spent, n = (np.array(part) for part in zip(*runs, strict=True))
            total = regret + PRICE * spent
            error = total.std(ddof=1) / np.sqrt(len(total)) if len(total) > 1 else np.nan
            cells = [f"{total.mean():.3f}", f"{error:.3f}", f"{regret.mean():.3f}", f"{spent.mean():.1f}"]
            rows.append([costs, name, *cells, f"{n.mean():.0f}"])
            print(*rows[-1], flush=True)
    head = ["costs", "rule and search", "regret + 0.01 spent", "standard error", "regret", "spent", "trials"]
    return ["## 2. When to stop (a unit of cost is worth 0.01)", table(head, rows)]


def _overruns(n_runs: int, first_seed: int) -> list[str]:
    """Whole studies whose costs nobody knows beforehand: lognormal around a function of two parameters."""
    rows = []
    for noise in (0.0, 0.1, 0.25):
        for name, strategy in (
            ("RandomSearch", bo.strategies.RandomSearch()),
            ("ImprovementPerCost", bo.strategies.ImprovementPerCost()),
        ):
            shares = []
            for seed in range(first_seed, first_seed + (n_runs if name == "RandomSearch" else n_runs // 4)):
                shares.append(_unknown_costs(seed, noise, strategy))
            over = np.array(shares) - 1.0
            cells = [str(len(shares)), f"{100 * (over > 1e-9).mean():.1f} %", f"{100 * max(over.max(), 0.0):.1f} %"]
            rows.append([f"{noise:g}", name, *cells, f"{100 * np.mean(shares):.1f} %"])
            print(*rows[-1], flush=True)
    head = ["sd of log cost", "strategy", "runs", "runs that overspend", "by at most", "budget used, mean"]
    return ["## 3. Overspending when costs are learned", table(head, rows)]


def _unknown_costs(seed: int, noise: float, strategy: bo.strategies.Strategy) -> float:
    """The share of the budget that a run spends; costs vary a hundredfold with the first parameter, twofold besides."""
    rng = np.random.default_rng([seed, 7])
    a, b = rng.uniform(0.2, 0.8, 2)
    space = bo.Space({"x": bo.Float(0.0, 1.0), "y": bo.Float(0.0, 1.0)})
    study = bo.Study(space, minimize="loss", strategy=strategy, budget=bo.Budget(cost=BUDGET), noise=0.0, seed=seed)
    while (trial := study.ask()) is not None and len(study.trials) <= MOST:
        x, y = trial.params["x"], trial.params["y"]
        cost = 100.0**x * 2.0**y / 30.0 * np.exp(noise * rng.standard_normal())
        study.tell(trial, (x - a) ** 2 + (y - b) ** 2, cost=float(cost))
    return study.budget.spent_cost / BUDGET


if __name__ == "__main__":
    restart_with_one_thread()
    main()
