"""Derivatives of a network's outputs with respect to its parameters, for any module and for layers at little cost.

Alphabet. n: points. C: outputs. r: columns of a cotangent, C of them for the Jacobian itself. t: positions at which a
layer is applied to one point: 1 in a perceptron, pixels of a convolution, tokens of attention. o, i: outputs and inputs
of a layer, with the 1 of its bias. P: parameters.

A layer `z_t = W [a_t, 1]` has the Jacobian `sum_t b_t [a_t, 1]^T` with `b_t = d f / d z_t`, so that C backward passes
to the pre-activations give all of it. Anything else goes through `vmap(jacrev)` of one point at a time: `jacrev` of a
whole batch would take each point's outputs through the whole batch, in time and memory that grow with n squared.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from inference.errors import InvalidInputError
from inference.laplace.network.groups import Group

Cotangents = Callable[[Tensor], Tensor]
"""From outputs, `n x C`, to what they are multiplied by before they are derived, `n x C x r`."""


@dataclass(frozen=True)
class Outer:
    """Jacobian of a layer."""

    a: Tensor
    """Inputs, `n x t x i`."""
    B: Tensor
    """Derivatives with respect to its pre-activations, `n x r x t x o`."""

    def dense(self) -> Tensor:
        """`n x r x p`."""
        return torch.einsum("nrto,nti->nroi", self.B, self.a).flatten(2)


@dataclass(frozen=True)
class Dense:
    """Jacobian of a block."""

    J: Tensor
    """`n x r x p`."""

    def dense(self) -> Tensor:
        """`n x r x p`."""
        return self.J


Piece = Outer | Dense
"""The part of a Jacobian that belongs to one group."""


def jacobian(net: nn.Module, groups: Sequence[Group], X: Tensor) -> Tensor:
    """The Jacobian with respect to the parameters of some groups, differentiable in X.

    Args:
        net: From `n x ...` to `n x C`; anything random in it has to be switched off.
        groups: Of its parameters.
        X: Points, `n x ...`. Memory is proportional to n, so split many of them.

    Returns:
        `n x C x P`.

    Example:
        >>> from inference.laplace.network.groups import select
        >>> net = nn.Linear(2, 1)
        >>> jacobian(net, select(net, "all"), torch.tensor([[3.0, 4.0]]))
        tensor([[[3., 4., 1.]]])
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel  # late: `import inference` stays cheap

    fixed = {name: tensor.detach() for name, tensor in [*net.named_parameters(), *net.named_buffers()]}
    chosen = {name: fixed[name] for group in groups for name in group.parameters}

    def single(parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(net, {**fixed, **parameters}, (x[None],)).flatten()

    with sdpa_kernel(SDPBackend.MATH):  # the fused kernels of attention have no batching rule, and warn
        derivatives = vmap(jacrev(single), (None, 0), randomness="error")(chosen, X)
    return torch.cat([group.flatten(derivatives, batch_dims=2) for group in groups], -1)


def linearise(
    net: nn.Module,
    groups: Sequence[Group],
    X: Tensor,
    cotangents: Cotangents | None = None,
    *,
    is_pairs: bool = False,
    is_last_layer: bool = False,
) -> tuple[Tensor, list[Piece]]:
    """Outputs and the pieces of their Jacobian, or of its product with cotangents, without a graph.

    Args:
        net: From `n x ...` to `n x C`, batch first inside too.
        groups: Of its parameters.
        X: Points, `n x ...`, or pairs of them, `n x 2 x ...`.
        cotangents: What the outputs are multiplied by, as a function of them; None for the Jacobian itself, `r = C`.
        is_pairs: Whether the outputs are those of the first less those of the second of a pair.
        is_last_layer: Whether the only group is the layer that gives the outputs: then nothing has to be derived.

    Returns:
        Outputs, `n x C`, and one piece a group.

    Raises:
        InvalidInputError: If a layer is not reached, does not keep the batch first, or is not the last one.
    """
    n = len(X)
    layers = [group for group in groups if group.kind != "block"]
    with evaluating(net), _recording(net, layers) as records, torch.set_grad_enabled(not is_last_layer):
        out = net(X.flatten(0, 1) if is_pairs else X)
        f = out.reshape(n, 2, -1)[:, 0] - out.reshape(n, 2, -1)[:, 1] if is_pairs else out.reshape(n, -1)
    values = f.detach()
    n_outputs = values.shape[1]
    W = torch.eye(n_outputs).to(values).expand(n, -1, -1) if cotangents is None else cotangents(values)
    for group in layers:
        _check_records(group, records[group.name], n)
    if is_last_layer and not is_pairs:
        ((group, ((a, _, passed_on),)),) = [(group, records[group.name]) for group in layers]
        if passed_on is not out or out.dim() != 2:
            raise InvalidInputError(
                f"params: the last layer found, {group.name!r}, does not give the network's outputs; "
                "name the parameters instead: params=[...]."
            )
        return values, [Outer(_inputs(net, group, a, n), W.transpose(1, 2)[:, :, None])]
    return values, _derive(net, groups, records, X, f, W, is_pairs)


_Record = tuple[Tensor, Tensor, Tensor]
"""Input of a layer, its pre-activation, and the copy that the rest of the network works on."""


def _derive(
    net: nn.Module,
    groups: Sequence[Group],
    records: Mapping[str, list[_Record]],
    X: Tensor,
    f: Tensor,
    W: Tensor,
    is_pairs: bool,
) -> list[Piece]:
    """The pieces, from backward passes through the recorded layers and `jacobian` for blocks."""
    n, r = len(X), W.shape[2]
    outputs = [z for group in groups if group.kind != "block" for _, z, _ in records[group.name]]
    passes = [
        torch.autograd.grad((f * W[:, :, column]).sum(), outputs, retain_graph=column + 1 < r)
        for column in range(r if outputs else 0)
    ]
    gradients = iter([torch.stack(of_one) for of_one in zip(*passes, strict=True)])
    blocks = [group for group in groups if group.kind == "block"]
    pieces: dict[str, Piece] = {}
    for group in groups:
        if group.kind != "block":
            calls = records[group.name]
            a = torch.cat([_inputs(net, group, a, n) for a, _, _ in calls], 1)
            B = torch.cat([_by_position(group, next(gradients), n) for _ in calls], 2)
            pieces[group.name] = Outer(a, B)
    if blocks:
        with evaluating(net):
            halves = [jacobian(net, blocks, half) for half in (X.unbind(1) if is_pairs else (X,))]
        J = halves[0] - halves[1] if is_pairs else halves[0]
        weighted = torch.einsum("ncp,ncr->nrp", J.detach(), W)
        for group, part in zip(blocks, weighted.split([group.size for group in blocks], -1), strict=True):
            pieces[group.name] = Dense(part)
    return [pieces[group.name] for group in groups]


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Have every module in evaluation mode within the block, and as it was after it.

    Args:
        net: The network.

    Yields:
        Nothing.
    """
    was_training = [module for module in net.modules() if module.training]
    net.eval()
    try:
        yield
    finally:
        for module in was_training:
            module.training = True


@contextmanager
def _recording(net: nn.Module, layers: Sequence[Group]) -> Iterator[dict[str, list[_Record]]]:
    records: dict[str, list[_Record]] = {group.name: [] for group in layers}

    def recorder(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if torch.is_grad_enabled() and not output.requires_grad:
                output.requires_grad_(True)  # a frozen layer on plain inputs
            # the copy keeps a following in-place activation from replacing what was recorded
            passed_on = output.clone()
            records[name].append((inputs[0].detach(), output, passed_on))
            return passed_on

        return hook

    handles = [net.get_submodule(group.name).register_forward_hook(recorder(group.name)) for group in layers]
    try:
        yield records
    finally:
        for handle in handles:
            handle.remove()


def _check_records(group: Group, calls: list[_Record], n: int) -> None:
    if not calls:
        raise InvalidInputError(
            f"net: the layer {group.name!r} took no part in the outputs; leave it out by naming the others in params=."
        )
    for a, _, _ in calls:
        if len(a) % n:
            raise InvalidInputError(
                f"net: the layer {group.name!r} got {tuple(a.shape)} for {n} points; the batch has to come first."
            )


def _inputs(net: nn.Module, group: Group, a: Tensor, n: int) -> Tensor:
    """What the weights multiply, `n x t x i`, with a 1 for the bias."""
    if group.kind == "conv":
        conv = net.get_submodule(group.name)
        assert isinstance(conv, nn.Conv2d) and not isinstance(conv.padding, str)  # `select` saw to it
        unfolded = nn.functional.unfold(
            a, _two(conv.kernel_size), _two(conv.dilation), _two(conv.padding), _two(conv.stride)
        )
        a = unfolded.transpose(1, 2)
    a = a.reshape(n, -1, a.shape[-1])
    columns = [a] * group.is_weight + [a.new_ones(*a.shape[:2], 1)] * group.is_bias
    return torch.cat(columns, -1)


def _two(pair: tuple[int, ...]) -> tuple[int, int]:
    first, second = pair
    return first, second


def _by_position(group: Group, gradient: Tensor, n: int) -> Tensor:
    """`r x (shape of the pre-activation)` as `n x r x t x o`."""
    if group.kind == "conv":
        gradient = gradient.flatten(3).transpose(2, 3)
    return gradient.reshape(len(gradient), n, -1, gradient.shape[-1]).transpose(0, 1)
