"""Gradients with respect to hundreds of hyperparameters, by implicit differentiation of the trained weights.

Alphabet. w: weights, trained to a minimum of the training loss T(w, l). l: hyperparameters. V(w, l): validation loss.
H: Hessian of T in w, damped. g: gradient of V in w. p: approximation of `H^-1 g`. All tensors of a group are taken for
one long vector.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from bayesopt.errors import InvalidInputError
from bayesopt.problem.arguments import non_negative, whole_number

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Loss = Callable[[Any, Any], Any]
"""From weights and hyperparameters, each as they were given, to a scalar tensor."""
Solver = Literal["neumann", "cg"]

_POWER_ITERATIONS: Final = 10
"""Products by which the largest eigenvalue is found, to within a few percent: a step of 1 over it is stable up to 2."""
_GROWTH: Final = 1.0 + 1e-9
"""The series diverges where a term is longer than the one before by this factor."""
_SMALL: Final = 1e-14
"""Relative residual at which conjugate gradients are done."""


class Hypergradient(NamedTuple):
    """The gradient of the validation loss in the hyperparameters, weights following."""

    gradient: "tuple[Tensor, ...]"
    """One tensor a hyperparameter tensor."""
    validation_loss: float
    """V at the present weights."""
    n_products: int
    """Hessian-vector products that it took, those of the power iteration included."""
    is_complete: bool
    """False where H is not positive definite and the solver broke off: the direction may still do, the size not."""


def hypergradient(
    train_loss: Loss,
    validation_loss: Loss,
    weights: Any,
    hyper: Any,
    *,
    solver: Solver = "neumann",
    n_products: int = 20,
    damping: float = 0.0,
    step: float | None = None,
    generator: "torch.Generator | None" = None,
) -> Hypergradient:
    """`dV/dl = V_l - g' H^-1 T_wl` at weights that minimise the training loss.

    'neumann' sums `step (1 - step H)^k g` for k from 0 to `n_products`: robust, too short a gradient while H is badly
    conditioned, yet in the right direction early; with 0 products it is the one-step rule. 'cg' solves the same system
    in far fewer products where H is positive definite.

    Hyperparameters that do not enter the training loss at its minimum, such as a learning rate, have no hypergradient:
    leave them to a study. Validation data are overfitted by hundreds of hyperparameters: keep a third split.

    Reference: Lorraine, Vicol and Duvenaud 2020, "Optimizing Millions of Hyperparameters by Implicit Differentiation",
    arXiv 1911.02590.

    Args:
        train_loss: T, twice differentiable; called with `weights` and `hyper`, it may also read a module whose
            parameters are the weights.
        validation_loss: V, likewise.
        weights: A tensor or a sequence of tensors, such as `list(module.parameters())`; left alone.
        hyper: A tensor or a sequence of tensors; left alone.
        solver: How `H^-1 g` is approximated.
        n_products: Hessian-vector products of the solver.
        damping: Added to H's diagonal; 1e-3 for networks.
        step: Of the series, below 2 over the largest eigenvalue of H; None for 1 over it by power iteration.
        generator: Draws where the power iteration begins; None for a fresh one of seed 0.

    Returns:
        The gradient, and how it was found.

    Raises:
        InvalidInputError: If an argument is not of an accepted kind, or a loss does not depend on the weights.

    Example:
        >>> import torch
        >>> w, l = torch.tensor([0.5]).double(), torch.tensor([1.0]).double()  # the best weight is 1 / (1 + l)
        >>> found = hypergradient(
        ...     lambda w, l: ((w - 1) ** 2 + l * w**2).sum(), lambda w, l: (w**2).sum(), w, l, solver="cg"
        ... )
        >>> found.gradient[0].round(decimals=6).tolist()  # of (1 + l)^-2
        [-0.25]
    """
    import torch  # late: importing the tuners costs nothing

    if solver not in ("neumann", "cg"):
        raise InvalidInputError(f"solver: expected 'neumann' or 'cg', got {solver!r}.")
    whole_number("n_products", n_products, at_least=0)
    non_negative("damping", damping)
    w, as_weights = _leaves("weights", weights)
    l, as_hyper = _leaves("hyper", hyper)
    V = validation_loss(as_weights, as_hyper)
    both = torch.autograd.grad(V, [*w, *l], allow_unused=True)
    g = [_or_zero(part, like).detach() for part, like in zip(both[: len(w)], w, strict=True)]
    V_l = [_or_zero(part, like).detach() for part, like in zip(both[len(w) :], l, strict=True)]
    T_w = _gradient(train_loss(as_weights, as_hyper), w)
    products = 0

    def times_H(v: "list[Tensor]") -> "list[Tensor]":
        nonlocal products
        products += 1
        return [one + damping * part for one, part in zip(_vector_jacobian(T_w, w, v), v, strict=True)]

    if solver == "cg":
        p, is_complete = _conjugate_gradients(times_H, g, n_products)
    else:
        if step is None:
            start = generator or torch.Generator(device=w[0].device).manual_seed(0)
            step = 1.0 / _largest_eigenvalue(times_H, w, start)
        p, is_complete = _neumann(times_H, g, n_products, step)
    indirect = _vector_jacobian(T_w, l, p)
    gradient = tuple(direct - through for direct, through in zip(V_l, indirect, strict=True))
    return Hypergradient(gradient, float(V.detach()), products, is_complete)


class HypergradientTuner:
    """Descends the validation loss along hypergradients while the weights are being trained.

    After every few steps of training, which keep the weights near the minimum of the training loss, `step` moves the
    hyperparameters by Adam: the direction of a truncated series is right long before its size is.

    Example:
        >>> import torch
        >>> l = torch.zeros(1, dtype=torch.float64)
        >>> train = lambda w, l: ((w - 1) ** 2 + l.exp() * w**2).sum()
        >>> tuner = HypergradientTuner(l, train, lambda w, l: ((w - 0.9) ** 2).sum(), solver="cg")
        >>> for _ in range(200):
        ...     record = tuner.step(1 / (1 + l.exp()))
        >>> l.exp().round(decimals=3).tolist()  # 1 / 0.9 - 1
        [0.111]
    """

    def __init__(
        self,
        hyper: Any,
        train_loss: Loss,
        validation_loss: Loss,
        *,
        lr: float = 0.1,
        solver: Solver = "neumann",
        n_products: int = 20,
        damping: float = 0.0,
        generator: "torch.Generator | None" = None,
    ) -> None:
        """Take over hyperparameters.

        Args:
            hyper: A tensor or a sequence of tensors without bounds, such as logs of penalties; changed in place.
            train_loss: As in `hypergradient`.
            validation_loss: As in `hypergradient`.
            lr: Of Adam, in units of the hyperparameters.
            solver: As in `hypergradient`.
            n_products: As in `hypergradient`.
            damping: As in `hypergradient`.
            generator: As in `hypergradient`; its state advances from step to step.

        Raises:
            InvalidInputError: If the hyperparameters are no tensors, or the learning rate is not positive.
        """
        import torch  # late: importing the tuners costs nothing

        if not (non_negative("lr", lr) > 0):
            raise InvalidInputError(f"lr: expected a positive number, got {lr!r}.")
        self.hyper = hyper
        """The hyperparameters, as they are now."""
        self._tensors = _tensors("hyper", hyper)
        self._train_loss, self._validation_loss = train_loss, validation_loss
        self._options: dict[str, Any] = {"solver": solver, "n_products": n_products, "damping": damping}
        self._generator = generator
        self._adam = torch.optim.Adam(self._tensors, lr=lr)

    def step(self, weights: Any) -> Hypergradient:
        """Move the hyperparameters once.

        Args:
            weights: The weights as they are now, near the minimum of the training loss; left alone.

        Returns:
            The hypergradient before the move.

        Raises:
            InvalidInputError: If it is not finite: train the weights further, or raise the damping.
        """
        import torch

        found = hypergradient(
            self._train_loss,
            self._validation_loss,
            weights,
            self.hyper,
            generator=self._generator,
            **self._options,
        )
        if not all(bool(torch.isfinite(part).all()) for part in found.gradient):
            raise InvalidInputError(
                "HypergradientTuner.step: the hypergradient is not finite; the weights may have diverged, or damping= "
                "is too small."
            )
        for tensor, part in zip(self._tensors, found.gradient, strict=True):
            tensor.grad = part
        self._adam.step()
        self._adam.zero_grad()
        return found

    def state_dict(self) -> dict[str, Any]:
        """The hyperparameters and Adam's memory, for `torch.save`."""
        return {"hyper": [tensor.detach().clone() for tensor in self._tensors], "adam": self._adam.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of `state_dict`.

        Args:
            state: It, of a tuner with hyperparameters of the same shapes.

        Raises:
            InvalidInputError: If a shape differs.
        """
        import torch

        given = state["hyper"]
        if [one.shape for one in given] != [tensor.shape for tensor in self._tensors]:
            raise InvalidInputError("load_state_dict: the hyperparameters have other shapes than the stored ones.")
        with torch.no_grad():
            for tensor, one in zip(self._tensors, given, strict=True):
                tensor.copy_(one)
        self._adam.load_state_dict(state["adam"])


def _tensors(name: str, given: Any) -> "list[Tensor]":
    import torch

    tensors = [given] if isinstance(given, torch.Tensor) else list(given) if isinstance(given, Sequence) else []
    if not tensors or not all(isinstance(one, torch.Tensor) and one.is_floating_point() for one in tensors):
        raise InvalidInputError(f"{name}: expected a tensor of floats or a list of them, got {type(given).__name__}.")
    return tensors


def _leaves(name: str, given: Any) -> "tuple[list[Tensor], Any]":
    """Tensors to differentiate by, and the same in the form in which they were given.

    A leaf that requires gradients already is taken as it is, so that a loss may reach it through a module.

    Args:
        name: What they are, for the message.
        given: A tensor or a sequence of tensors.

    Returns:
        The leaves, and they as one tensor where one was given.
    """
    import torch

    leaves = [
        one if one.is_leaf and one.requires_grad else one.detach().requires_grad_() for one in _tensors(name, given)
    ]
    return leaves, leaves[0] if isinstance(given, torch.Tensor) else leaves


def _or_zero(part: "Tensor | None", like: "Tensor") -> "Tensor":
    return like.new_zeros(like.shape) if part is None else part


def _gradient(loss: Any, by: "list[Tensor]") -> "list[Tensor]":
    import torch

    parts = torch.autograd.grad(loss, by, create_graph=True, allow_unused=True)
    if not any(part is not None and part.requires_grad for part in parts):
        raise InvalidInputError("train_loss: it must be twice differentiable in the weights; it does not bend in them.")
    return [_or_zero(part, like) for part, like in zip(parts, by, strict=True)]


def _vector_jacobian(of: "list[Tensor]", by: "list[Tensor]", v: "list[Tensor]") -> "list[Tensor]":
    """`v' d(of)/d(by)`, without a graph of its own."""
    import torch

    bent = [(one, part) for one, part in zip(of, v, strict=True) if one.requires_grad]
    outputs, seeds = zip(*bent, strict=True)
    parts = torch.autograd.grad(outputs, by, seeds, retain_graph=True, allow_unused=True)
    return [_or_zero(part, like).detach() for part, like in zip(parts, by, strict=True)]


def _dot(a: "list[Tensor]", b: "list[Tensor]") -> float:
    return float(sum((one * other).sum() for one, other in zip(a, b, strict=True)))


def _neumann(
    times_H: "Callable[[list[Tensor]], list[Tensor]]", g: "list[Tensor]", n_products: int, step: float
) -> "tuple[list[Tensor], bool]":
    """The series, broken off where a term is longer than the one before; and whether it was not."""
    v, p, length = g, [part.clone() for part in g], math.sqrt(_dot(g, g))
    for _ in range(n_products):
        v = [part - step * by for part, by in zip(v, times_H(v), strict=True)]
        before, length = length, math.sqrt(_dot(v, v))
        if not length <= _GROWTH * before:
            return [step * part for part in p], False
        p = [part + more for part, more in zip(p, v, strict=True)]
    return [step * part for part in p], True


def _conjugate_gradients(
    times_H: "Callable[[list[Tensor]], list[Tensor]]", g: "list[Tensor]", n_products: int
) -> "tuple[list[Tensor], bool]":
    """The solution after some products; False with a direction along which H does not bend upwards."""
    p, residual = [part.new_zeros(part.shape) for part in g], g
    direction, size = g, _dot(g, g)
    enough = _SMALL**2 * size
    for _ in range(n_products):
        if size <= enough:
            break
        along = times_H(direction)
        bend = _dot(direction, along)
        if not bend > 0:
            return p, False
        by = size / bend
        p = [part + by * move for part, move in zip(p, direction, strict=True)]
        residual = [part - by * move for part, move in zip(residual, along, strict=True)]
        before, size = size, _dot(residual, residual)
        direction = [part + size / before * move for part, move in zip(residual, direction, strict=True)]
    return p, True


def _largest_eigenvalue(
    times_H: "Callable[[list[Tensor]], list[Tensor]]", w: "list[Tensor]", generator: "torch.Generator"
) -> float:
    """H's largest eigenvalue in size, from below."""
    import torch

    v = [torch.randn(part.shape, generator=generator, dtype=part.dtype, device=part.device) for part in w]
    size = math.sqrt(_dot(v, v))
    for _ in range(_POWER_ITERATIONS):
        v = times_H([part / size for part in v])
        size = math.sqrt(_dot(v, v))
        if not 0.0 < size < math.inf:
            raise InvalidInputError(
                f"train_loss: its Hessian's largest eigenvalue was found to be {size!r}; give step=, or mend the loss."
            )
    return size
