"""Train a small byte-level language model on the CPU; the program that `make tune` tunes.

    python train.py --lr 0.01 --batch_size 32 --optimizer adamw --decay_share 0.5 \
        --mixture '{"prose": 0.4, "source": 0.4, "tables": 0.2}'

Every line printed is a JSON object: the validation loss after each quarter of the run, and last the outcomes, which
are `val_loss` and its three parts (nats a byte), `memory_mb` and `seconds`. A training that diverges prints `NaN` there
and exits 0: it ran as asked, and the study that reads the line records the trial as failed. Exit code 2 means that the
arguments were refused.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import corpus
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

TARGET = {"prose": 0.6, "source": 0.3, "tables": 0.1}
"""What the model will read once it is in use: the weights of the three held-out losses in `val_loss`."""

DEFAULTS: dict[str, Any] = {
    "lr": 1e-3,
    "batch_size": 32,
    "optimizer": "adamw",
    "decay_share": 0.0,
    "mixture": TARGET,
}
"""What one writes before tuning: AdamW as PyTorch ships it, a common batch size, no decay, the target's mixture."""

STEPS = 128
"""Length of a training run. The batch size decides how much text that is, and what a run costs."""

SEQUENCE = 32
"""Bytes a sequence: a few times the 8 that the model sees; longer ones would only cost memory."""

WARMUP_SHARE = 0.1
WEIGHT_DECAY = 0.01
N_BYTES = 128
"""The text is ASCII; see `corpus`."""


class ByteModel(nn.Module):
    """Predicts the next byte from the last 8: three residual layers look 1, 2 and 4 bytes back; 79,040 weights."""

    def __init__(self, width: int = 64, lookbacks: tuple[int, ...] = (1, 2, 4)) -> None:
        super().__init__()
        self.lookbacks = lookbacks
        self.embedding = nn.Embedding(N_BYTES, width)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in lookbacks)
        self.gates = nn.ModuleList(nn.Linear(2 * width, 2 * width) for _ in lookbacks)
        self.mixers = nn.ModuleList(nn.Linear(width, width) for _ in lookbacks)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, N_BYTES))

    def forward(self, text: Tensor) -> Tensor:
        """Logits of the next byte, `n x length x 128`, of text `n x length`."""
        state = self.embedding(text)
        for lookback, norm, gate, mix in zip(self.lookbacks, self.norms, self.gates, self.mixers, strict=True):
            now = norm(state)
            before = F.pad(now, (0, 0, lookback, 0))[:, : now.shape[1]]
            state = state + mix(F.glu(gate(torch.cat([now, before], dim=-1))))
        return self.head(state)


def train(
    config: Mapping[str, Any],
    *,
    seed: int = 0,
    steps: int = STEPS,
    report: Callable[[int, float], object] | None = None,
) -> dict[str, float]:
    """Train one model and score it on the held-out text.

    Args:
        config: The keys of `DEFAULTS`.
        seed: Fixes the initial weights and the order of the text; same seed, same outcomes (`seconds` apart).
        steps: Optimizer steps.
        report: Called with the step and the validation loss after each quarter of the run but the last.

    Returns:
        `val_loss` (nats a byte under `TARGET`), `prose_loss`, `source_loss`, `tables_loss`, `memory_mb` (see
        `_memory_bytes`) and `seconds` of wall time. The losses are NaN when the training diverged.

    Raises:
        ValueError: If the optimizer or a domain is unknown, or `steps` is below 1.
    """
    if steps < 1:
        raise ValueError(f"steps: expected at least 1, got {steps}")
    start = time.perf_counter()
    with _one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ByteModel()
        optimizers = _optimizers(model, config["optimizer"], config["lr"])
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        batches = _batches(config["mixture"], config["batch_size"], seed)
        for step in range(steps):
            windows = next(batches)
            for group in groups:
                group["lr"] = config["lr"] * _schedule((step + 0.5) / steps, config["decay_share"])
            loss = _loss(model, windows)
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            if not math.isfinite(loss.item()):
                break
            if report is not None and (step + 1) % max(1, steps // 4) == 0 and step + 1 < steps:
                report(step + 1, validate(model)["val_loss"])
        memory_mb = _memory_bytes(model, optimizers, windows) / 2**20
        losses = validate(model)
    return {**losses, "memory_mb": memory_mb, "seconds": time.perf_counter() - start}


def validate(model: nn.Module) -> dict[str, float]:
    """Held-out loss of each domain and their mean under `TARGET`, in nats a byte."""
    losses = {}
    with torch.no_grad():
        for name, domain in corpus.load().items():
            n = (len(domain.held_out) - 1) // SEQUENCE
            windows = torch.from_numpy(domain.held_out[: n * SEQUENCE + 1].astype("int64")).unfold(
                0, SEQUENCE + 1, SEQUENCE
            )
            losses[name] = _loss(model, windows).item()
    return {
        "val_loss": sum(share * losses[name] for name, share in TARGET.items()),
        **{f"{name}_loss": loss for name, loss in losses.items()},
    }


def _loss(model: nn.Module, windows: Tensor) -> Tensor:
    return F.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())


def _memory_bytes(model: nn.Module, optimizers: list[torch.optim.Optimizer], windows: Tensor) -> int:
    """Weights, their gradients, optimizer state, and what autograd keeps for one backward pass, by tensor sizes.

    Counting sizes rather than asking the operating system makes the figure the same on every machine.
    """
    held = {p.untyped_storage().data_ptr(): 2 * p.untyped_storage().nbytes() for p in model.parameters()}
    kept: list[Tensor] = []  # alive until counted, so that no address is counted for two tensors

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        _loss(model, windows)
    for tensor in kept:
        held.setdefault(tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes())
    state = (value for optimizer in optimizers for entry in optimizer.state.values() for value in entry.values())
    return sum(held.values()) + sum(value.nbytes for value in state if isinstance(value, Tensor))


def _batches(mixture: Mapping[str, float], batch_size: int, seed: int) -> Iterator[Tensor]:
    """Windows of training text, `batch_size x (SEQUENCE + 1)`; each draws its domain, then its place in it."""
    domains = corpus.load()
    if not mixture or not mixture.keys() <= domains.keys():
        raise ValueError(f"mixture: expected shares of {', '.join(domains)}; got {', '.join(mixture) or 'none'}")
    text = torch.from_numpy(np.concatenate([domains[name].train for name in mixture]))
    sizes = torch.tensor([len(domains[name].train) for name in mixture])
    starts = sizes.cumsum(0) - sizes
    shares = torch.tensor(list(mixture.values()), dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    within = torch.arange(SEQUENCE + 1)
    while True:
        domain = torch.multinomial(shares, batch_size, replacement=True, generator=generator)
        place = torch.rand(batch_size, generator=generator, dtype=torch.float64)
        first = starts[domain] + (place * (sizes[domain] - SEQUENCE)).long()
        yield text[first[:, None] + within].long()


def _optimizers(model: nn.Module, name: str, lr: float) -> list[torch.optim.Optimizer]:
    if name == "adamw":
        return [torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=WEIGHT_DECAY)]
    if name == "sgd":
        return [torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY)]
    if name == "muon":
        # Muon is for matrices between hidden states; its makers leave embedding, head and biases to AdamW.
        hidden = [p for key, p in model.named_parameters() if p.ndim == 2 and key.startswith(("gates", "mixers"))]
        others = [p for p in model.parameters() if not any(p is matrix for matrix in hidden)]
        return [
            torch.optim.Muon(hidden, lr=lr, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=lr, weight_decay=WEIGHT_DECAY),
        ]
    raise ValueError(f"optimizer: expected 'adamw', 'muon' or 'sgd', got {name!r}")


def _schedule(progress: float, decay_share: float) -> float:
    """Share of the learning rate at `progress` in (0, 1): a linear warm-up, then constant, then linear towards zero."""
    warmup = min(1.0, progress / WARMUP_SHARE)
    decay = min(1.0, (1.0 - progress) / decay_share) if decay_share > 0 else 1.0
    return warmup * decay


@contextmanager
def _one_thread() -> Iterator[None]:
    """A model this small gains nothing from a second thread, and the outcomes would depend on the machine's cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def main() -> None:
    """Train with the settings of the command line and print the outcomes."""
    parser = argparse.ArgumentParser(description="Train a small byte-level language model.")
    parser.add_argument("--lr", type=float, default=DEFAULTS["lr"])
    parser.add_argument("--batch_size", type=int, default=DEFAULTS["batch_size"], help="sequences a step")
    parser.add_argument("--optimizer", choices=["adamw", "muon", "sgd"], default=DEFAULTS["optimizer"])
    parser.add_argument(
        "--decay_share", type=float, default=DEFAULTS["decay_share"], help="share of the run in which lr falls to zero"
    )
    parser.add_argument("--mixture", type=json.loads, default=DEFAULTS["mixture"], help="JSON: share of each domain")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    config = vars(parser.parse_args())
    seed, steps = config.pop("seed"), config.pop("steps")

    def report(step: int, val_loss: float) -> None:
        print(json.dumps({"step": step, "val_loss": val_loss}), flush=True)

    print(json.dumps(train(config, seed=seed, steps=steps, report=report)))


if __name__ == "__main__":
    main()
