"""Mixing while a model trains: simulated training with known interactions, and a small language model.

Alphabet. m: groups. L: losses, `m`; c: what cannot be trained away, `m`. G: `m x m`, what training on group j does to
loss i. In the simulation a step on proportions p lowers loss i by `sum_j G_ij (L_i - c_i) p_j`: the linear dynamic law
with interactions that change as losses saturate.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tables import table

import bayesopt as bo
from mixture_sections.kept import Kept

sys.path.insert(0, str(Path(__file__).parents[2] / "tutorials" / "language_model"))

GROUPS = 3
WORLDS = 50
DEVELOPMENT = range(1000, 1040)
"""Seeds of the worlds on which a step is chosen."""
NOISE = 0.002
"""Standard deviation of an observed loss, in nats."""
STEPS, UPDATE = 5000, 250
SEEDS = 5
DOMAINS = ("prose", "source", "tables")
LM_STEPS, LM_UPDATE = 600, 100
LM_CONFIG = {"lr": 3e-3, "batch_size": 32, "optimizer": "adamw", "decay_share": 0.3}


class World:
    """Training whose interactions are known."""

    def __init__(self, seed: int) -> None:
        """Draw one: every group teaches itself most, some teach others."""
        rng = np.random.default_rng(seed)
        self.c = rng.uniform(1.5, 2.5, GROUPS)
        self.start = self.c + rng.uniform(1.0, 3.0, GROUPS)
        self.G = rng.uniform(2e-4, 2e-3, (GROUPS, GROUPS)) * (rng.random((GROUPS, GROUPS)) < 0.4)
        self.G[np.diag_indices(GROUPS)] = rng.uniform(3e-4, 3e-3, GROUPS)
        self.noise = np.random.default_rng([seed, 1])
        self.losses = self.start.copy()

    def train(self, p: np.ndarray, n_steps: int) -> None:
        """Some steps on proportions p."""
        for _ in range(n_steps):
            self.losses = self.losses - (self.G @ p) * (self.losses - self.c)

    def observed(self) -> np.ndarray:
        """Losses as a validation would show them."""
        return self.losses + NOISE * self.noise.standard_normal(GROUPS)


def simulated(seed: int, make: Callable[[World, float], bo.OnlineMixer] | None = None, eta: float = 0.0) -> float:
    """Mean final loss of one world, trained by a mixer of step eta, or on equal shares."""
    world, left = World(seed), STEPS
    if make is None:
        world.train(np.full(GROUPS, 1 / GROUPS), STEPS)
        return float(world.losses.mean())
    mixer = make(World(seed), eta)
    while left > 0:
        for p, planned in mixer.plan():
            n_steps = min(planned, left)
            world.train(p, n_steps)
            left -= n_steps
            mixer.observe(world.observed())
    return float(world.losses.mean())


def _chosen(make: Callable[[World, float], bo.OnlineMixer], etas: tuple[float, ...]) -> float:
    """The step of least mean final loss on other worlds."""
    means = [np.mean([simulated(seed, make, eta) for seed in DEVELOPMENT]) for eta in etas]
    return etas[int(np.argmin(means))]


def _aioli(world: World, eta: float) -> bo.OnlineMixer:
    return bo.OnlineMixer(GROUPS, eta, 0.5, 0.5, rounds=4, steps=6, update_steps=UPDATE)


def _doremi(world: World, eta: float) -> bo.OnlineMixer:
    """Its reference is a model trained on equal shares, as in its paper."""
    world.train(np.full(GROUPS, 1 / GROUPS), STEPS)
    return bo.OnlineMixer.doremi(GROUPS, world.losses, eta, update_steps=UPDATE)


def _skill_it(world: World, eta: float) -> bo.OnlineMixer:
    """Its graph is learned by training on each group alone, a tenth of a run."""
    graph = np.empty((GROUPS, GROUPS))
    for j in range(GROUPS):
        world.losses = world.start.copy()
        world.train(np.eye(GROUPS)[j], STEPS // 10)
        graph[:, j] = np.maximum((world.start - world.losses) / world.start, 0.0)
    return bo.OnlineMixer.skill_it(GROUPS, graph, eta, update_steps=UPDATE)


METHODS = {
    "Aioli": (_aioli, (0.1, 1.0, 3.0, 10.0, 30.0), 0.1),
    "DoReMi": (_doremi, (0.01, 0.03, 0.1, 0.3, 1.0), 1.0),
    "Skill-it": (_skill_it, (0.05, 0.2, 0.8, 3.0, 10.0), 0.8),
}
"""How each is made, steps eta to choose among, and the published one."""


def _compared(make: Callable[[World, float], bo.OnlineMixer], eta: float) -> list[str]:
    """A method's step, mean final loss and difference from equal shares."""
    uniform = np.array([simulated(seed) for seed in range(WORLDS)])
    losses = np.array([simulated(seed, make, eta) for seed in range(WORLDS)])
    gain = losses - uniform
    return [
        f"{eta:g}",
        f"{losses.mean():.4f}",
        f"{gain.mean():+.4f} ± {gain.std(ddof=1) / np.sqrt(WORLDS):.4f}",
        f"{(gain < 0).sum()} of {WORLDS}",
        f"{gain.max():+.4f}",
    ]


def simulation(kept: Kept) -> str:
    """The section on simulated training."""
    rows = kept.row(
        "simulation",
        "equal shares",
        lambda: ["-", f"{np.mean([simulated(seed) for seed in range(WORLDS)]):.4f}", "0", "-", "-"],
    )
    for name, (make, etas, published) in METHODS.items():
        rows += kept.row("simulation", f"{name}, published step", lambda m=make, eta=published: _compared(m, eta))
        rows += kept.row(
            "simulation",
            f"{name}, step chosen on {len(DEVELOPMENT)} other worlds",
            lambda m=make, etas=etas: _compared(m, _chosen(m, etas)),
        )
    return (
        f"Simulated training, {WORLDS} worlds of {GROUPS} groups, {STEPS} steps: mean final loss, and its difference "
        "from equal shares (below 0 is better). Not counted are the steps that DoReMi trains its reference for, "
        f"{STEPS}, and Skill-it its graph, {GROUPS * (STEPS // 10)}; Aioli's sweeps are steps of the run itself, three "
        "tenths of it.\n\n"
        + table(["method", "eta", "final loss", "difference ± standard error", "better", "worst difference"], rows)
    )


def _trained(run: Callable[[int], tuple[float, np.ndarray]]) -> list[str]:
    """Final target losses by seed, and the mean of the last proportions."""
    runs = [run(seed) for seed in range(SEEDS)]
    shares = np.mean([p for _, p in runs], 0)
    return [*(f"{loss:.4f}" for loss, _ in runs), " / ".join(f"{share:.2f}" for share in shares)]


def language_model(kept: Kept) -> str:
    """The section on a real, small training."""
    methods: dict[str, Callable[[int], tuple[float, np.ndarray]]] = {
        "equal shares": lambda seed: _language_model(seed, None),
        "target's shares": lambda seed: _language_model(seed, None, by_target=True),
        "Aioli (eta 0.1, as published)": lambda seed: _language_model(seed, 0.1),
        "Aioli (eta 1)": lambda seed: _language_model(seed, 1.0),
    }
    rows = []
    for name, run in methods.items():
        rows += kept.row("language model", name, lambda run=run: _trained(run))
    if rows:
        uniform = np.array([float(cell) for cell in rows[0][1 : SEEDS + 1]])
        for row in rows:
            gain = np.array([float(cell) for cell in row[1 : SEEDS + 1]]) - uniform
            row.append(f"{gain.mean():+.4f} ± {gain.std(ddof=1) / np.sqrt(SEEDS):.4f}" if row is not rows[0] else "0")
    head = ["method", *(f"seed {seed}" for seed in range(SEEDS)), "last shares", "difference ± standard error"]
    return (
        f"The language model of `make tune`, {LM_STEPS} steps, domains {', '.join(DOMAINS)}: final target loss in nats "
        "a byte, each seed the same weights to start from; the sweeps' steps count.\n\n" + table(head, rows)
    )


def _language_model(seed: int, eta: float | None, *, by_target: bool = False) -> tuple[float, np.ndarray]:
    """Final target loss and last proportions of one training run."""
    import torch
    import train as lm

    weights = np.array([lm.TARGET[domain] for domain in DOMAINS])
    # sweeps of 3 turns of 4 steps, twice, in 100: a quarter of the steps go into learning the interactions
    mixer = (
        None
        if eta is None
        else bo.OnlineMixer(3, eta, 0.5, 0.6, rounds=2, steps=4, update_steps=LM_UPDATE, target=weights, seed=seed)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = lm.ByteModel()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LM_CONFIG["lr"], weight_decay=lm.WEIGHT_DECAY)
    done = 0

    def stretch(p: np.ndarray, n_steps: int) -> None:
        nonlocal done
        if n_steps == 0:
            return
        mixture = dict(zip(DOMAINS, p.tolist(), strict=True))
        batches = lm._batches(mixture, LM_CONFIG["batch_size"], 100_000 * (seed + 1) + done)
        for _ in range(n_steps):
            for group in optimizer.param_groups:
                group["lr"] = LM_CONFIG["lr"] * lm._schedule((done + 0.5) / LM_STEPS, LM_CONFIG["decay_share"])
            optimizer.zero_grad()
            lm._loss(model, next(batches)).backward()
            optimizer.step()
            done += 1

    if mixer is None:
        p = weights if by_target else np.full(3, 1 / 3)
        stretch(p, LM_STEPS)
        return lm.validate(model)["val_loss"], p
    while done < LM_STEPS:
        for p, n_steps in mixer.plan():
            stretch(p, min(n_steps, LM_STEPS - done))
            losses = lm.validate(model)
            mixer.observe([losses[f"{domain}_loss"] for domain in DOMAINS])
    return lm.validate(model)["val_loss"], mixer.proportions
