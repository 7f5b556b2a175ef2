"""Which parameters of a network are uncertain, sorted by the module that owns them.

Alphabet. o: outputs of a layer. i: its inputs, plus 1 where its bias counts. p: parameters of a group. P: of all.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from inference.errors import InvalidInputError

Kind = Literal["linear", "conv", "block"]


@dataclass(frozen=True)
class Group:
    """Parameters of one module that share a prior precision."""

    name: str
    """Of the module within the network; empty for the network itself."""
    parameters: tuple[str, ...]
    """Their names, weight before bias."""
    kind: Kind
    """A layer whose Jacobian is an outer product, `linear` or `conv`, or a `block` of any other module."""
    shape: tuple[int, ...]
    """`o x i` of a layer, weight and bias side by side; `p` of a block."""
    is_weight: bool
    """Whether a layer's weight counts, so that its inputs are looked at; always of a block."""
    is_bias: bool
    """Whether a layer's bias counts."""

    @property
    def size(self) -> int:
        """`p`."""
        return math.prod(self.shape)

    def flatten(self, tensors: Mapping[str, Tensor], batch_dims: int = 0) -> Tensor:
        """Tensors shaped like the parameters, as one row each.

        Args:
            tensors: By parameter's name, `... x shape`, of at least this group's.
            batch_dims: How many dimensions `...` are.

        Returns:
            `... x p`; the entries of a layer in the order of `shape`.
        """
        parts = [tensors[name] for name in self.parameters]
        if self.kind == "block":
            return torch.cat([part.flatten(batch_dims) for part in parts], -1)
        columns = [part.reshape(*part.shape[: batch_dims + 1], -1) for part in parts]
        return torch.cat(columns, -1).flatten(batch_dims)

    def unflatten(self, rows: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The inverse of `flatten`.

        Args:
            rows: `... x p`.
            like: The parameters by name, whose shapes are wanted.

        Returns:
            By parameter's name, `... x shape`.
        """
        lead = rows.shape[:-1]
        matrix = rows if self.kind == "block" else rows.reshape(*lead, *self.shape)
        tensors, start = {}, 0
        for name in self.parameters:
            shape = like[name].shape
            width = shape.numel() if self.kind == "block" else shape.numel() // shape[0]
            tensors[name] = matrix[..., start : start + width].reshape(*lead, *shape)
            start += width
        return tensors


def select(net: nn.Module, params: str | Sequence[str]) -> tuple[Group, ...]:
    """The groups of a network's uncertain parameters.

    Args:
        net: The network.
        params: `"all"` for those that need a gradient, `"last_layer"` for the last `nn.Linear`, or names as in
            `net.named_parameters()`.

    Returns:
        One group for each module that owns some of them, in the network's order.

    Raises:
        InvalidInputError: If a name is unknown or nothing is selected.

    Example:
        >>> [group.shape for group in select(nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)), "all")]
        [(2, 4), (1, 3)]
    """
    known = dict(net.named_parameters())
    # a tensor that two modules share has one derivative, which no single module's input and output tell
    uses = Counter(id(p) for _, p in net.named_parameters(remove_duplicate=False))
    wanted = _wanted(net, params, known)
    groups = []
    for module_name, module in net.named_modules():
        prefix = f"{module_name}." if module_name else ""
        own = [prefix + name for name, _ in module.named_parameters(recurse=False)]
        chosen = tuple(name for name in own if name in wanted)
        if chosen:
            shared = any(uses[id(known[name])] > 1 for name in chosen)
            groups.append(_group(module_name, module, chosen, known, shared))
    return tuple(groups)


def split_precision(groups: Sequence[Group], precision: float | Mapping[str, float]) -> tuple[float, list[float]]:
    """A prior precision as a common factor and ratios.

    Args:
        groups: Of the parameters.
        precision: One number, or one a module by its name.

    Returns:
        The precision of the first group, and of each group relative to it.

    Raises:
        InvalidInputError: If a number is missing, too many or not positive.
    """
    names = [group.name for group in groups]
    if not isinstance(precision, Mapping):
        values = [float(precision)] * len(names)
    elif precision.keys() != set(names):
        raise InvalidInputError(f"prior_precision: expected one number for each of {names}, got {dict(precision)}.")
    else:
        values = [float(precision[name]) for name in names]
    if not all(0.0 < value < math.inf for value in values):
        raise InvalidInputError(f"prior_precision: expected positive numbers, got {precision!r}.")
    return values[0], [value / values[0] for value in values]


def _wanted(net: nn.Module, params: str | Sequence[str], known: Mapping[str, Tensor]) -> set[str]:
    if params == "last_layer":
        linear = [name for name, module in net.named_modules() if type(module) is nn.Linear]
        if not linear:
            raise InvalidInputError("params: 'last_layer' needs an nn.Linear in the network, which has none.")
        prefix = f"{linear[-1]}." if linear[-1] else ""
        return {name for name in (f"{prefix}weight", f"{prefix}bias") if name in known}
    if params == "all":
        wanted = {name for name, parameter in known.items() if parameter.requires_grad}
    elif isinstance(params, str):
        raise InvalidInputError(f"params: expected 'all', 'last_layer' or a list of names, got {params!r}.")
    else:
        wanted = set(params)
    if unknown := wanted - known.keys():
        raise InvalidInputError(f"params: no such parameters: {sorted(unknown)}; there are {sorted(known)}.")
    if not wanted:
        raise InvalidInputError("params: nothing is selected; name at least one parameter or unfreeze one.")
    return wanted


def _group(name: str, module: nn.Module, chosen: tuple[str, ...], known: Mapping[str, Tensor], shared: bool) -> Group:
    last = [parameter.rsplit(".", 1)[-1] for parameter in chosen]
    # exactly these classes: a subclass may compute something else, as the output layer of nn.MultiheadAttention does
    is_linear = type(module) is nn.Linear
    is_conv = (
        type(module) is nn.Conv2d
        and module.groups == 1
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )
    if shared or not (is_linear or is_conv):
        return Group(name, chosen, "block", (sum(known[p].numel() for p in chosen),), True, True)
    first = known[chosen[0]]
    inputs = sum(known[p].numel() // len(first) for p in chosen)
    kind: Kind = "linear" if is_linear else "conv"
    return Group(name, chosen, kind, (len(first), inputs), "weight" in last, "bias" in last)
