"""Claim: a good belief about the optimum's place saves 40 % of the trials, and a wrong one costs at most 10 % more.

Baselines: the same engine without a belief; the published ColaBO weights, and BoTorch's piBO wrapper, both on the same
models with the same search. The published weights begin as ours do, piBO with the belief's mode and the usual start.
Metric: trials until the median regret over seeds is as small as that of the engine without a belief at half and at the
whole of its budget, as a ratio to the trials that engine took; the wrong belief lies in the corner opposite to the
optimum. The engine without a belief begins in the middle of the space, which on Levy-5 and Rosenbrock-6 is close to the
optimum. A lost comparison stays in the table.

Runs are kept in a file of JSON lines, one a run, and those that it holds are not run again.
"""

import argparse
import time
import warnings
from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from botorch.acquisition.analytic import LogExpectedImprovement
from botorch.acquisition.prior_guided import PriorGuidedAcquisitionFunction
from one_thread import restart_with_one_thread
from problems.believed import ALL, belief
from problems.problem import Problem
from runs import append, read

import bayesopt as bo
from bayesopt.problem.priors import PriorOnCube
from bayesopt.strategies import FromBoTorch, PriorGuided

ROOT = Path(__file__).parents[1]
RUNS_FILE = ROOT / "build" / "bench" / "beliefs_runs.jsonl"
TABLE = Path(__file__).parent / "results" / "beliefs.md"

ARMS = {
    "no belief": ("none",),
    "ours": ("good", "wrong"),
    "published ColaBO": ("good", "wrong"),
    "piBO of BoTorch": ("good", "wrong"),
}
"""What uses the belief, and what beliefs it is given."""


def main() -> None:
    """Run what the file lacks, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="*", metavar="NAME", default=list(ARMS), help="only these")
    parser.add_argument("--problems", nargs="*", metavar="PART", help="only problems whose name contains one of these")
    parser.add_argument("--seeds", type=int, default=20, help="runs of each arm on each problem; a surface is one run")
    parser.add_argument("--runs", type=Path, default=RUNS_FILE, help="the file of runs")
    parser.add_argument("--report", action="store_true", help="run nothing, only write the table")
    options = parser.parse_args()
    problems = [p for p in ALL if not options.problems or any(part in p.name for part in options.problems)]
    if not options.report:
        for seed, problem, arm in product(range(max(23, options.seeds)), problems, options.arms):
            if seed >= (len(problem.instances) or options.seeds):
                continue
            for kind in ARMS[arm]:
                key = [problem.name, arm, kind, seed]
                if key not in [done["key"] for done in read(options.runs)]:
                    result = {"key": key} | run(problem.instance(seed), arm, kind, seed)
                    append(options.runs, result)
                    print(*key, f"{result['regret'][-1]:.3g}", result["probability"], flush=True)
    TABLE.write_text(report(read(options.runs)))


def run(problem: Problem, arm: str, kind: str, seed: int) -> dict[str, Any]:
    """Spend a problem's trials.

    Args:
        problem: The surface of this seed.
        arm: What uses the belief.
        kind: The belief: 'none', 'good' or 'wrong'.
        seed: Of the study and of the belief.

    Returns:
        `regret`: least true regret after each trial, in the problem's unit; `probability`: what the study's report
        gives for the belief in the end, None where it declares none; `cpu` and `cpu_p95`: process CPU seconds of an ask
        after the start, median and 95 % quantile.
    """
    prior = None if kind == "none" else belief(problem, kind, seed)
    options: dict[str, Any] = {} if prior is None else {"priors": [prior]}
    if arm == "published ColaBO":
        options["strategy"] = PriorGuided("colabo")
    if arm == "piBO of BoTorch" and prior is not None:
        options = {"strategy": _pibo(prior.on(problem.space), problem.trials)}
    evaluate = problem.evaluator()
    regret, seconds = [np.inf], []
    with bo.Study(problem.space, minimize="y", seed=seed, **options) as study, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if arm == "piBO of BoTorch" and prior is not None:
            study.enqueue(problem.space.decode(prior.on(problem.space).mode()))
        for _ in range(problem.trials):
            started = time.process_time()
            trial = study.ask()
            seconds.append(time.process_time() - started)
            value = evaluate(trial.params)["y"]
            study.tell(trial, value)
            regret.append(min(regret[-1], (value - problem.minimum) / problem.unit))
        probability = study.beliefs.probability if study.priors else None
    asks = seconds[min(10, problem.trials // 2) :]
    return {
        "regret": regret[1:],
        "probability": probability,
        "cpu": float(np.median(asks)),
        "cpu_p95": float(np.quantile(asks, 0.95)),
    }


def _pibo(prior: PriorOnCube, trials: int) -> FromBoTorch:
    """The decaying factor `prior^(beta / n)` with `beta` a tenth of the trials, by BoTorch's own class."""

    class Density(torch.nn.Module):
        def forward(self, X: torch.Tensor) -> torch.Tensor:
            return _LogDensity.apply(X, prior)

    return FromBoTorch(
        lambda p: PriorGuidedAcquisitionFunction(
            LogExpectedImprovement(p.objective_model, p.best_f),
            Density(),
            log=True,
            prior_exponent=0.1 * trials / len(p.train_X),
        )
    )


class _LogDensity(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, X: torch.Tensor, prior: PriorOnCube) -> torch.Tensor:
        value, gradient = prior.value_and_gradient(X.detach().reshape(-1, X.shape[-1]).numpy())
        ctx.save_for_backward(torch.as_tensor(gradient).reshape(X.shape))
        return torch.as_tensor(value).reshape(X.shape[:-1])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return grad_outputs[0][..., None] * gradient, None


def report(runs: list[dict[str, Any]]) -> str:
    """The table in Markdown."""
    of: dict[tuple[str, str, str], dict[int, dict[str, Any]]] = defaultdict(dict)
    for done in runs:
        problem, arm, kind, seed = done["key"]
        of[problem, arm, kind][seed] = done
    lines = [
        "# Beliefs",
        "",
        "What a belief about the optimum's place is worth. `python benchmarks/beliefs.py` writes this table.",
        "",
        *(__doc__ or "").split("\n\n")[1].splitlines(),
        "",
        "Half, whole: trials until the median regret is that of the engine without a belief at half and at the whole",
        "of its budget, over the trials which that took; `>` where it was not reached. Regrets are medians over the",
        "seeds that both have, means on the surfaces of language models. P: median probability that is left to the",
        "belief in the end. CPU: an ask in ms, median and 95 % quantile.",
        "",
        "| problem | belief | arm | seeds | half | whole | regret at half | at the end | P | CPU |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for problem in ALL:
        for kind, arm in product(("none", "good", "wrong"), ARMS):
            if found := of.get((problem.name, arm, kind)):
                lines.append(_row(problem, kind, arm, found, of.get((problem.name, "no belief", "none"), {})))
    for problem in ALL:
        rows = [
            f"| {kind} | {arm} | {len(found)} | {' | '.join(_means(found))} |"
            for kind, arm in product(("none", "good", "wrong"), ARMS)
            if problem.instances and (found := of.get((problem.name, arm, kind)))
        ]
        if rows:
            lines += ["", f"Mean regret on the {problem.name}, in units of the distance of a surface's median from its"]
            lines += ["minimum; a good belief is the Step Law, a wrong one has four times its learning rate.", ""]
            lines += ["| belief | arm | surfaces | after 5 trials | after 10 | after 20 |", "|---|---|---|---|---|---|"]
            lines += rows
    return "\n".join(lines) + "\n"


def _means(found: dict[int, Any]) -> list[str]:
    regret = np.mean([done["regret"] for done in found.values()], axis=0)
    return [f"{regret[n - 1]:.3g}" for n in (5, 10, 20)]


def _row(problem: Problem, kind: str, arm: str, found: dict[int, Any], plain: dict[int, Any]) -> str:
    seeds = sorted(found.keys() & plain.keys())
    if not seeds:
        return f"| {problem.name} | {kind} | {arm} | 0 | - | - | - | - | - | - |"
    middle = np.mean if problem.instances else np.median
    ours, theirs = (middle([runs[seed]["regret"] for seed in seeds], axis=0) for runs in (found, plain))
    n = len(ours)
    ratios = []
    for at in (n // 2, n):
        reached = ours <= theirs[at - 1]
        took = int(np.argmax(theirs <= theirs[at - 1])) + 1
        ratios.append(f"{(int(np.argmax(reached)) + 1) / took:.2f}" if reached.any() else f"> {n / took:.2f}")
    left = [found[seed]["probability"] for seed in seeds]
    probability = "-" if left[0] is None else f"{np.median(left):.2g}"
    cpu = " / ".join(f"{1e3 * np.median([found[seed][key] for seed in seeds]):.0f}" for key in ("cpu", "cpu_p95"))
    cells = [
        problem.name,
        kind,
        arm,
        len(seeds),
        *ratios,
        f"{ours[n // 2 - 1]:.3g}",
        f"{ours[-1]:.3g}",
        probability,
        cpu,
    ]
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    restart_with_one_thread()
    main()
