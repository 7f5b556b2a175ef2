"""Claim: a solver that tunes itself costs at most 2 % more than if every system had got its best parameter.

Baselines: on the measured counts of SSOR-CG, the bandits Tsallis-INF and ChebCB, the best fixed parameter and the best
one of every step; on a live heat simulation, plain CG and the library's default; on families of matrices, the defaults
of `spilu` and PyAMG; on sequences of related systems, with and without a subspace carried over. Metric: iterations,
or multiplications, of all solves with their exploration, over seeds; CPU milliseconds of an ask and tell. Lost
comparisons stay in the tables.
"""

import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from one_thread import restart_with_one_thread
from problems.linear_systems import (
    OMEGAS,
    TABLE,
    FloatArray,
    Heat,
    anisotropic,
    convection,
    jumps,
    measured_counts,
    other_path,
    published_path,
    shifted,
)
from scipy.sparse import csr_array, csr_matrix, diags_array, eye_array, kron
from scipy.sparse.linalg import cg
from tables import machine, table

import bayesopt as bo
from bayesopt.tuners.chebyshev_bandit import ChebyshevBandit
from bayesopt.tuners.solvers import incomplete_lu, multigrid, recycling
from bayesopt.tuners.solvers.ssor import SPACE, ssor_cg
from bayesopt.tuners.tsallis_inf import TsallisINF

RESULT = Path(__file__).parent / "results" / "solver.md"
SEEDS = range(5)
_SYSTEMS = 100
"""Of each family of matrices."""
_FAMILY_SEEDS = range(3)

Family = Callable[[float, np.random.Generator], Any]


def main() -> None:
    """Measure, print and write the tables."""
    sections = [f"# Solvers that tune themselves: `benchmarks/solver.py`\n\n{machine(_tools())}"]
    for section in (_counts(), _live(), _other_mesh(), _incomplete_lu(), _multigrid(), _recycling()):
        for text in section:
            print(text + "\n", flush=True)
            sections.append(text)
            RESULT.write_text("\n\n".join(sections) + "\n")  # what is done stays if the rest is interrupted


def _tools() -> Iterator[dict[str, str]]:
    for name in ("priorwise", "pyamg"):
        try:
            yield {"version": f"{name} {version(name)}"}
        except PackageNotFoundError:
            yield {"version": f"no {name}"}


def replayed(tuner: bo.SolverTuner, contexts: FloatArray, counts: FloatArray) -> tuple[FloatArray, float]:
    """A tuner on a table of counts.

    Args:
        tuner: Fresh.
        contexts: `T`.
        counts: `T x 20`, a column an omega.

    Returns:
        What each step cost, `T`, and the mean CPU milliseconds of an ask and tell.
    """
    paid, seconds = [], 0.0
    for context, row in zip(contexts, counts, strict=True):
        started = time.process_time()
        theta = tuner.ask(context)
        cost = float(row[np.abs(theta["omega"] - OMEGAS).argmin()])
        tuner.tell(theta, context, cost)
        seconds += time.process_time() - started
        paid.append(cost)
    return np.array(paid), 1e3 * seconds / len(paid)


def _counts() -> Iterator[str]:
    measured = measured_counts()
    if measured is None:
        yield f"The measured counts are absent ({TABLE}; BAYESOPT_DATA names the folder of the data): not run."
        return
    contexts, counts = measured
    yield f"## Measured counts of the heat equation\n\n{_bandits(contexts, counts)}"


def _bandits(contexts: FloatArray, counts: FloatArray) -> str:
    """The table of all that pick omega, on one table of counts."""
    known = ((float(contexts.min()), float(contexts.max())), (float(counts.min()), float(counts.max())))
    strategies: dict[str, Callable[[], Any]] = {
        "ours (Thompson)": lambda: None,
        "Tsallis-INF": TsallisINF,
        "ChebCB": lambda: ChebyshevBandit(*known),
        "ChebCB on log(c + 0.001)": lambda: ChebyshevBandit(*known, log_floor=1e-3),
    }
    least = counts.min(axis=1)
    fixed = counts[:, counts.sum(axis=0).argmin()]
    rows = []
    for name, make in strategies.items():
        runs = [replayed(bo.SolverTuner(SPACE, 1, seed=s, strategy=make()), contexts, counts) for s in SEEDS]
        rows.append(_row(name, np.array([paid for paid, _ in runs]), least, f"{np.mean([ms for _, ms in runs]):.2f}"))
    best = f"best fixed omega, {OMEGAS[counts.sum(axis=0).argmin()]:.2f}"
    rows += [_row(name, paid[None], least, "-") for name, paid in ((best, fixed), ("omega 1", counts[:, 0]))]
    rows.append(_row("best omega of every step", least[None], least, "-"))
    text = f"Iterations of {len(contexts)} steps, mean (least - most) of {len(SEEDS)} seeds.\n\n"
    return text + table(["picks", "total", "over the best of every step", "first 300", "ask + tell, ms"], rows)


def _row(name: str, paid: FloatArray, least: FloatArray, milliseconds: str) -> list[str]:
    total, early = paid.sum(1), paid[:, :300].sum(1)
    spread = f" ({total.min():,.0f} - {total.max():,.0f})" if len(paid) > 1 else ""
    excess = f"{100 * (total.mean() / least.sum() - 1):.1f} %"
    return [name, f"{total.mean():,.0f}{spread}", excess, f"{early.mean():,.0f}", milliseconds]


def _live() -> Iterator[str]:
    rows = []
    for nx, steps in ((50, 400),):
        for name in ("CG", "SSOR-CG, omega 1", "SSOR-CG, tuned"):
            heat = Heat(nx, 5.0 / 1000, published_path)
            heat.step = 60  # before the first strong diffusion, which is what costs
            tuner = bo.SolverTuner(SPACE, 1, default={"omega": 1.0}, seed=0)
            total, started = 0, time.perf_counter()
            for _ in range(steps):
                A, b, c = heat.system()
                if name == "CG":
                    counted = [0]
                    u, _ = cg(A, b, heat.u, rtol=1e-8, callback=lambda _, counted=counted: counted.append(0))
                    iterations = len(counted) - 1
                elif name.endswith("1"):
                    u, iterations, _ = ssor_cg(A, b, 1.0, x0=heat.u)
                else:
                    with tuner.solving(c) as solve:
                        u, iterations, _ = ssor_cg(A, b, **solve.params, x0=heat.u)
                        solve.cost = max(1, iterations)
                total += iterations
                heat.advance(u)
            wall = time.perf_counter() - started
            own = f"{100 * tuner.own_seconds / wall:.1f} %" if name.endswith("tuned") else "-"
            rows.append([f"{nx} x {nx}, {steps} steps", name, f"{total:,}", f"{wall:.2f}", own])
    head = ["grid", "solver", "iterations", "wall seconds", "of them the tuner's"]
    yield f"## A live simulation\n\nThe heat equation from end to end, assembly included.\n\n{table(head, rows)}"


def _other_mesh() -> Iterator[str]:
    heat = Heat(32, 3.5 / 500, other_path)
    contexts, counts = [], []
    for _ in range(500):
        A, b, c = heat.system()
        solved = [ssor_cg(A, b, omega, x0=heat.u) for omega in OMEGAS]
        contexts.append(c)
        counts.append([max(1, iterations) for _, iterations, _ in solved])
        heat.advance(solved[10][0])
    text = _bandits(np.array(contexts), np.array(counts, dtype=np.float64))
    yield f"## Another mesh and another path of the coefficient\n\nA 32 x 32 grid; bursts on a slow rise.\n\n{text}"


def _families(
    families: dict[str, tuple[Family, tuple[float, float]]],
    space: bo.Space,
    default: dict[str, Any],
    solve: Callable[..., tuple[FloatArray, float, str]],
) -> str:
    """Work of a default and of a tuner on families of matrices, exploration and failures included."""
    rows = []
    for name, (family, (low, high)) in families.items():
        ratios, late, failed, chosen = [], [], [], {}
        for seed in _FAMILY_SEEDS:
            rng = np.random.default_rng(1000 + seed)
            tuner = bo.SolverTuner(space, 1, cost=float, default=default, seed=seed)
            work: list[list[float]] = []
            for _ in range(_SYSTEMS):
                context = rng.uniform(low, high)
                A = family(context, rng)
                b = rng.standard_normal(A.shape[0])
                theta = tuner.ask(context)
                spent, status = solve(A, b, **theta)[1:]
                tuner.tell(theta, context, spent, status)
                usual, usual_status = solve(A, b, **default)[1:]
                failed.append([status != "ok", usual_status != "ok"])
                # A failed tuned solve is paid for, and then solved again by the default.
                work.append([spent + (usual if status != "ok" else 0.0), usual])
            done = np.array(work)
            ratios.append(done[:, 0].sum() / done[:, 1].sum())
            late.append(done[-50:, 0].sum() / done[-50:, 1].sum())
            chosen = tuner.best(0.5 * (low + high))
        told = ", ".join(
            f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in chosen.items()
        )
        counts = np.sum(failed, axis=0)
        rows.append([name, f"{np.mean(ratios):.2f}", f"{np.mean(late):.2f}", f"{counts[0]} / {counts[1]}", told])
    head = ["family", "work, default = 1", "last 50 systems", "failed, tuned / default", "in the end, middle context"]
    return f"{_SYSTEMS} systems of about 1,000 unknowns, {len(_FAMILY_SEEDS)} seeds.\n\n{table(head, rows)}"


def _incomplete_lu() -> Iterator[str]:
    families = {
        "convection-diffusion": (convection, (0.0, 3.0)),
        "anisotropic diffusion": (anisotropic, (0.0, 3.0)),
        "two materials": (jumps, (0.0, 4.0)),
    }
    text = _families(families, incomplete_lu.SPACE, incomplete_lu.DEFAULT, incomplete_lu.ilu_gmres)
    yield f"## GMRES with `spilu`\n\n{text}"


def _multigrid() -> Iterator[str]:
    families = {
        "anisotropic diffusion": (anisotropic, (0.0, 3.0)),
        "two materials": (jumps, (0.0, 4.0)),
        "shifted Laplacian": (shifted, (-4.0, 0.0)),
    }
    try:
        version("pyamg")
    except PackageNotFoundError:
        yield "PyAMG is not installed: its preset is not run."
        return

    def solve(A: Any, b: FloatArray, **params: Any) -> tuple[FloatArray, float, str]:
        return multigrid.multigrid_cg(csr_matrix(A), b, **params)

    yield f"## Multigrid by PyAMG\n\n{_families(families, multigrid.SPACE, multigrid.DEFAULT, solve)}"


def _recycling() -> Iterator[str]:
    """Convection-diffusion whose log coefficient field walks by steps of very different lengths."""
    space = bo.Space({"recycle": bo.Choice((False, True))})
    distances = (0.02, 0.1, 0.3, 1.0, 2.0)
    never, always, tuned = (np.zeros(len(distances)) for _ in range(3))
    picks = np.zeros(len(distances))
    rounds = 40
    tuner = bo.SolverTuner(space, 1, default={"recycle": False}, seed=0)
    for place, distance in enumerate(distances):
        solvers = [recycling.RecyclingSolver() for _ in range(3)]
        rng = np.random.default_rng(7)
        field = rng.standard_normal(4)
        for _ in range(rounds):
            field = (field + distance * rng.standard_normal(4)) / np.sqrt(1.0 + distance**2)
            A = csr_array(_blended(field))
            b = rng.standard_normal(A.shape[0])
            never[place] += solvers[0].solve(A, b, m=20, k=10, recycle=False)[1]
            always[place] += solvers[1].solve(A, b, m=20, k=10, recycle=True)[1]
            theta = tuner.ask(distance)
            products = solvers[2].solve(A, b, m=20, k=10, **theta)[1]
            tuner.tell(theta, distance, products)
            tuned[place] += products
        picks[place] = float(tuner.best(distance)["recycle"])
    rows = [
        [f"{d:g}", f"{n:,.0f}", f"{a:,.0f}", f"{t:,.0f}", "yes" if p else "no", "yes" if a < n else "no"]
        for d, n, a, t, p in zip(distances, never, always, tuned, picks, strict=True)
    ]
    head = ["step between systems", "never recycle", "always recycle", "tuned", "it chooses", "cheaper to recycle"]
    note = f"Products with A of {rounds} systems a row, m = 20, k = 10."
    yield f"## Carrying a subspace over\n\n{note}\n\n{table(head, rows)}"


def _blended(field: FloatArray, nx: int = 41) -> Any:
    """Convection-diffusion on 1,600 unknowns with a smooth log coefficient and a wind, both of four numbers."""
    x = np.arange(1, nx) / nx
    X, Y = np.meshgrid(x, x, indexing="ij")
    coefficient = np.exp(
        field[0] * np.sin(np.pi * X) * np.sin(np.pi * Y) + field[1] * np.sin(2 * np.pi * X) * np.cos(np.pi * Y)
    ).ravel()
    diffusion = anisotropic(0.0, np.random.default_rng(0), nx)
    h = 1.0 / nx
    first = diags_array([-1.0, 1.0], offsets=[-1, 1], shape=(nx - 1, nx - 1)) * (0.5 * h)
    identity = eye_array(nx - 1)
    wind = 20.0 * (field[2] * kron(first, identity) + field[3] * kron(identity, first))
    return diags_array(coefficient) @ diffusion + wind


if __name__ == "__main__":
    restart_with_one_thread()
    main()
