"""Runs of Pyro programs, many particles at once, that record no more than an objective needs.

Alphabet. lead: sizes of the dimensions left of those of the program's own plates: particles last, left of them copies.
nesting: how many dimensions the program's own plates and batches take.
"""

import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final

import pyro
import torch
from pyro.distributions import Delta
from pyro.distributions.util import scale_and_mask
from pyro.poutine.messenger import Messenger
from pyro.poutine.subsample_messenger import _Subsample
from torch import Tensor
from torch.distributions import transform_to
from typing_extensions import override

from inference.errors import InvalidInputError

Draw = Callable[[str, Any, tuple[int, ...], int, dict[str, Any]], Tensor]
"""From name, distribution, lead, nesting and what the program tells of the site, to a value."""
_REAL: Final = torch.distributions.constraints.real


class Parameters:
    """The parameters of a model and a guide, apart from Pyro's global store."""

    def __init__(self) -> None:
        """Begin without any."""
        self.state: Any = {"params": {}, "constraints": {}}
        self._leaves: dict[str, tuple[Tensor, Any]] = {}

    @contextmanager
    def open(self, *, validate: bool) -> Iterator[None]:
        """Let programs that run within the block see these parameters, and leave Pyro's own as they were.

        Args:
            validate: Whether distributions check their arguments as they usually do.

        Yields:
            Nothing.
        """
        checks = nullcontext() if validate else pyro.validation_enabled(False)
        with pyro.get_param_store().scope(self.state), checks:
            for leaf, _ in self._leaves.values():
                _link(leaf, leaf)
            yield

    def collect(self) -> None:
        """Know those that programs have declared since; within `open`."""
        found = pyro.get_param_store().get_state()
        for name, leaf in found["params"].items():
            constraint = found["constraints"][name]
            is_real = isinstance(constraint, type(_REAL))
            self._leaves[name] = (leaf, None if is_real else transform_to(constraint))
            _link(leaf, leaf)

    @property
    def leaves(self) -> dict[str, Tensor]:
        """The unconstrained parameters by name, which an optimiser moves."""
        return {name: leaf for name, (leaf, _) in self._leaves.items()}

    def value(self, name: str) -> Tensor | None:
        """A parameter as programs see it; None if it is not known.

        Args:
            name: Its name.

        Returns:
            Its constrained value.
        """
        found = self._leaves.get(name)
        if found is None:
            return None
        leaf, transform = found
        if transform is None:
            return leaf
        value: Tensor = transform(leaf)
        _link(value, leaf)
        return value

    def to(self, device: torch.device) -> "Parameters":
        """The same parameters elsewhere.

        Args:
            device: Where to.

        Returns:
            Copies.

        Raises:
            InvalidInputError: If some belong to modules.
        """
        moved = Parameters()
        for name, (leaf, transform) in self._leaves.items():
            if isinstance(leaf, torch.nn.Parameter):
                raise InvalidInputError(
                    f"parameter {name!r} belongs to a module, which its owner has to move; fit again over there."
                )
            there = leaf.detach().to(device).requires_grad_(leaf.requires_grad)
            moved._leaves[name] = there, transform
            moved.state["params"][name] = there
            moved.state["constraints"][name] = self.state["constraints"][name]
        return moved

    @contextmanager
    def held(self, names: Iterable[str]) -> Iterator[None]:
        """Compute within the block as if some parameters were constants.

        Args:
            names: Which.

        Yields:
            Nothing.
        """
        moving = [leaf for leaf in (self._leaves[name][0] for name in names) if leaf.requires_grad]
        for leaf in moving:
            leaf.requires_grad_(False)
        try:
            with warnings.catch_warnings():  # Pyro misses the parameters of modules, which are there all the same
                warnings.filterwarnings("ignore", ".*was not registered in the param store")
                yield
        finally:
            for leaf in moving:
                leaf.requires_grad_(True)


@dataclass(slots=True)
class Site:
    """A random choice or an observation."""

    fn: Any
    """Its distribution."""
    value: Tensor
    """What was drawn or seen."""
    scale: Any
    """What subsampling multiplies its log density by."""
    mask: Any
    """Where it counts; None for everywhere."""
    frames: Sequence[Any]
    """The plates that it is in."""
    infer: dict[str, Any]
    """What the program tells of it."""
    is_observed: bool
    """Whether its value came from the program."""
    _log_prob: Tensor | None = None

    def log_prob(self) -> Tensor:
        """Log density of each element, masked but not scaled; lead dimensions, then those of plates."""
        if self._log_prob is None:
            self._log_prob = scale_and_mask(self.fn.log_prob(self.value), mask=self.mask)
        return self._log_prob

    @property
    def is_deterministic(self) -> bool:
        """Whether it follows from other sites, as the named ones of Pyro's automatic guides do."""
        return isinstance(self.fn, Delta)


@dataclass(slots=True)
class Run:
    """What a program did."""

    sites: dict[str, Site] = field(default_factory=dict)
    """In the order of the program, without those that do not count towards the density."""
    parameters: set[str] = field(default_factory=set)
    """Names of the parameters that it asked for."""
    indices: dict[str, Any] = field(default_factory=dict)
    """What its plates subsampled."""

    def latent(self) -> dict[str, Site]:
        """The sites that were not observed."""
        return {name: site for name, site in self.sites.items() if not site.is_observed}

    def values(self) -> dict[str, Tensor]:
        """Values of the latent sites."""
        return {name: site.value for name, site in self.sites.items() if not site.is_observed}

    def chosen(self) -> dict[str, Tensor]:
        """Those of them that do not follow from others: what a run must be given to be the same again."""
        return {name: site.value for name, site in self.latent().items() if not site.is_deterministic}


def run(
    program: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    parameters: Parameters,
    draw: Draw,
    *,
    lead: tuple[int, ...] = (),
    nesting: int = 0,
    values: Mapping[str, Tensor] | None = None,
    indices: Mapping[str, Any] | None = None,
) -> Run:
    """Run a program, within `parameters.open()`.

    Args:
        program: What to run.
        args: What it is called with.
        kwargs: What it is called with by keyword.
        parameters: Where its parameters are.
        draw: Draws the latent sites that have no value yet.
        lead: Sizes of the dimensions in front.
        nesting: Dimensions of the program's own.
        values: Of latent sites, by name.
        indices: Of subsampling plates, by name.

    Returns:
        What it did.

    Raises:
        InvalidInputError: If two sites have the same name.
    """
    recorder = _Recorder(parameters, draw, lead, nesting, values or {}, indices or {})
    with recorder:
        program(*args, **kwargs)
    return recorder.run


class _Recorder(Messenger):
    def __init__(
        self,
        parameters: Parameters,
        draw: Draw,
        lead: tuple[int, ...],
        nesting: int,
        values: Mapping[str, Tensor],
        indices: Mapping[str, Any],
    ) -> None:
        self.run = Run()
        self._parameters, self._draw, self._lead, self._nesting = parameters, draw, lead, nesting
        self._values, self._indices = values, indices

    @override
    def _process_message(self, msg: Any) -> None:
        name = msg["name"]
        if msg["type"] == "param":
            self.run.parameters.add(name)
            value = self._parameters.value(name)
            if value is not None:
                msg["value"], msg["done"] = value, True
        elif msg["type"] == "sample":
            if isinstance(msg["fn"], _Subsample):
                if msg["value"] is None:
                    msg["value"] = self._indices.get(name)
            else:
                self._at_sample(name, msg)

    @override
    def _postprocess_message(self, msg: Any) -> None:
        if isinstance(msg["fn"], _Subsample):  # after it has drawn, where it had to
            self.run.indices[msg["name"]] = msg["value"]

    def _at_sample(self, name: str, msg: Any) -> None:
        fn, is_observed = msg["fn"], msg["is_observed"]
        if msg["infer"].get("_deterministic"):
            return
        if name in self.run.sites:
            raise InvalidInputError(f"site {name!r} occurs twice in a program; give each a name of its own.")
        if is_observed:
            value = msg["value"]
        elif name in self._values:
            value = self._values[name]
        else:
            value = self._draw(name, fn, self._lead, self._nesting, msg["infer"])
        msg["value"], msg["done"] = value, True
        self.run.sites[name] = Site(
            fn, value, msg["scale"], msg["mask"], msg["cond_indep_stack"], msg["infer"], is_observed
        )


def _link(value: Any, leaf: Tensor) -> None:
    """Pyro's plates ask a parameter for the tensor behind it."""
    value.unconstrained = weakref.ref(leaf)


def draw_plainly(name: str, fn: Any, lead: tuple[int, ...], nesting: int, infer: dict[str, Any]) -> Tensor:
    """A draw that carries no gradient.

    Args:
        name: Of the site.
        fn: Its distribution.
        lead: Sizes of the dimensions in front.
        nesting: Dimensions of the program's own.
        infer: What the program tells of the site.

    Returns:
        One independent draw for each entry of lead.
    """
    with torch.no_grad():
        fn, shape = spread(fn, lead, nesting)
        value: Tensor = fn.sample(shape)
    return value


def spread(fn: Any, lead: tuple[int, ...], nesting: int) -> tuple[Any, tuple[int, ...]]:
    """A distribution and the sample shape that give a draw of its own to each entry of lead.

    Args:
        fn: A distribution, whose batch may have lead dimensions already, or some of size 1.
        lead: Sizes of the dimensions in front.
        nesting: Dimensions of the program's own.

    Returns:
        The distribution, expanded where it has to be, and the sample shape.
    """
    batch = fn.batch_shape
    if len(batch) <= nesting:
        return fn, lead + (1,) * (nesting - len(batch))
    whole = torch.broadcast_shapes(batch, lead + (1,) * nesting)
    return (fn if whole == batch else fn.expand(whole)), ()
