"""Three hundred penalties of a ridge regression by hypergradients, beside the best single one.

The inner problem has a closed form, so that errors are known exactly.
"""

import math

import numpy as np
import torch
from tables import table

import bayesopt as bo

N, FEATURES, INFORMATIVE, STEPS = 200, 300, 20, 200


def section(seeds: int) -> str:
    """Errors of hypergradients, and what they lead to."""
    errors: dict[str, dict[str, list[float]]] = {}
    outcomes: dict[str, list[float]] = {}
    for seed in range(seeds):
        problem = _Ridge(seed)
        for level in (1.0, 0.05):
            logs = torch.full((FEATURES,), math.log(level), dtype=torch.float64)
            exact = problem.exact(logs)
            key = f"penalty {level:g}"
            for name, options in {
                **{f"series, {k} products": {"n_products": k} for k in (0, 5, 20, 100)},
                "conjugate gradients, 20": {"solver": "cg"},
            }.items():
                found = bo.hypergradient(problem.train, problem.validate, problem.weights(logs), logs, **options)
                error = float((found.gradient[0] - exact).norm() / exact.norm())
                errors.setdefault(key, {}).setdefault(name, []).append(error)
        levels = np.linspace(-6.0, 3.0, 37)
        single = min(problem.test(torch.full((FEATURES,), level, dtype=torch.float64)) for level in levels)
        outcomes.setdefault("best single penalty, chosen on the test set", []).append(single)
        for name, options in {
            "one step (0 products)": {"n_products": 0},
            "series, 20 products": {},
            "conjugate gradients, 20": {"solver": "cg"},
        }.items():
            logs = torch.zeros(FEATURES, dtype=torch.float64)
            tuner = bo.HypergradientTuner(logs, problem.train, problem.validate, **options)
            for _ in range(STEPS):
                tuner.step(problem.weights(logs))
            outcomes.setdefault(f"300 penalties, {name}", []).append(problem.test(logs))
    first = next(iter(errors.values()))
    rows = [[key, *(f"{np.median(its):.2g}" for its in found.values())] for key, found in errors.items()]
    ends = [[name, f"{np.median(its):.2f} ({min(its):.2f} to {max(its):.2f})"] for name, its in outcomes.items()]
    return "\n\n".join([
        "## Hundreds of penalties by hypergradients",
        f"Ridge regression, {N} rows, {FEATURES} features of which {INFORMATIVE} count, a penalty each; {seeds} seeds, "
        "medians. Relative error of the hypergradient against the closed form; the Hessian's condition number is about "
        "6 with a penalty of 1, and 100 with 0.05:",
        table(["", *first], rows),
        f"Mean squared test error (the noise has 1) after {STEPS} steps of Adam, median (range):",
        table(["", "test error"], ends),
    ])


class _Ridge:
    """A regression that few of many features explain."""

    def __init__(self, seed: int) -> None:
        """Draw the data."""
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        truth = torch.zeros(FEATURES, dtype=torch.float64)
        truth[:INFORMATIVE] = normal(INFORMATIVE)
        self.sets = []
        for n in (N, N, 2000):
            X = normal(n, FEATURES)
            self.sets.append((X, X @ truth + normal(n)))

    def train(self, w: torch.Tensor, logs: torch.Tensor) -> torch.Tensor:
        X, y = self.sets[0]
        return 0.5 * ((X @ w - y) ** 2).mean() + 0.5 * (logs.exp() * w**2).sum()

    def validate(self, w: torch.Tensor, logs: torch.Tensor) -> torch.Tensor:
        X, y = self.sets[1]
        return ((X @ w - y) ** 2).mean()

    def hessian(self, logs: torch.Tensor) -> torch.Tensor:
        X, _ = self.sets[0]
        return X.T @ X / N + torch.diag(logs.exp())

    def weights(self, logs: torch.Tensor) -> torch.Tensor:
        X, y = self.sets[0]
        return torch.linalg.solve(self.hessian(logs), X.T @ y / N)

    def exact(self, logs: torch.Tensor) -> torch.Tensor:
        X, y = self.sets[1]
        w = self.weights(logs)
        g = 2.0 * X.T @ (X @ w - y) / N
        return -torch.linalg.solve(self.hessian(logs), g) * logs.exp() * w

    def test(self, logs: torch.Tensor) -> float:
        X, y = self.sets[2]
        return float(((X @ self.weights(logs) - y) ** 2).mean())
