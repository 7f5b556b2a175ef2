"""Where the dimensions of a program's log densities go: particles, the members of a plate, and what is summed.

Alphabet. K: particles. B: members of the independent plate, 1 where there is none. lead: dimensions left of those of
the program's own plates, K last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inference.errors import InvalidInputError
from inference.variational.programs import Site


@dataclass(frozen=True)
class Layout:
    """How many dimensions programs use themselves, and which of them is estimated member by member."""

    nesting: int = 0
    """Dimensions of the programs' own plates and batches."""
    dim: int | None = None
    """The independent plate's, counted from the right; None where there is no such plate."""
    factor: float = 1.0
    """Its full size over that of its subsample."""

    @classmethod
    def of(cls, sites: Sequence[tuple[str, Site]], independent: str | None) -> "Layout":
        """From what runs without particles saw.

        Args:
            sites: Of all programs, by name.
            independent: Name of a plate that all are in, or None.

        Returns:
            Their layout.

        Raises:
            InvalidInputError: If a site is not in that plate.
        """
        dims = [-frame.dim for _, site in sites for frame in site.frames if frame.dim is not None]
        nesting = max([len(site.fn.batch_shape) for _, site in sites] + dims, default=0)
        if independent is None:
            return cls(nesting)
        found = None
        for name, site in sites:
            found = next((one for one in site.frames if one.name == independent and one.dim is not None), None)
            if found is None:
                raise InvalidInputError(
                    f"independent: site {name!r} is not in the plate {independent!r}, but every site has to be, for "
                    "its members to be estimated apart. Leave independent= out."
                )
        return cls(nesting) if found is None else cls(nesting, found.dim, found.full_size / found.size)

    def reduced(self, log_prob: Tensor) -> Tensor:
        """Log densities of a site summed over its plates but the independent one.

        Args:
            log_prob: Lead dimensions, if any, then those of plates.

        Returns:
            `lead x B`, or what broadcasts to it.
        """
        n_own = min(self.nesting, log_prob.dim())
        summed = tuple(dim for dim in range(-n_own, 0) if dim != self.dim)
        whole = log_prob.sum(summed) if summed else log_prob
        return whole.unsqueeze(-1) if self.dim is None else whole

    def total(self, sites: Mapping[str, Site], n_lead: int) -> Tensor:
        """Log density of sites together, scaled for subsampling but for the independent plate's.

        Args:
            sites: Which.
            n_lead: How many lead dimensions there can be.

        Returns:
            `lead x B`, or what broadcasts to it.

        Raises:
            InvalidInputError: If a site has more dimensions: its program does not let particles be.
        """
        whole: Any = 0.0
        for name, site in sites.items():
            part = self.reduced(site.log_prob())
            if part.dim() > n_lead + 1:
                raise InvalidInputError(
                    f"site {name!r}: with particles left of {self.nesting} dimensions of plates its batch has shape "
                    f"{tuple(site.fn.batch_shape)}, which is one too many. Programs run on many particles at once: "
                    "draws gain dimensions on the left, so count from the right, as in (X * w).sum(-1)."
                )
            scale = site.scale if self.dim is None else site.scale / self.factor
            whole = whole + (part if isinstance(scale, float | int) and scale == 1.0 else part * scale)
        return whole if isinstance(whole, Tensor) else torch.zeros(1)

    def members(self, site: Site) -> int:
        """Members of the independent plate that a site of a run without particles has."""
        return 1 if self.dim is None else int(site.fn.batch_shape[self.dim])

    def is_alone(self, site: Site) -> bool:
        """Whether such a site has one element a member."""
        return int(site.fn.batch_shape.numel()) == self.members(site) and not site.fn.event_shape

    def elements(self, value: Tensor) -> list[Tensor]:
        """One mask for each element that every particle and member has of a value.

        Args:
            value: `K`, plates, event.

        Returns:
            Masks of its shape.
        """
        n_event = value.dim() - 1 - self.nesting
        kept = [0] if self.dim is None else [0, value.dim() + self.dim - n_event]
        sizes = [1 if dim in kept else size for dim, size in enumerate(value.shape)]
        masks = torch.eye(int(torch.Size(sizes).numel()), dtype=torch.bool, device=value.device)
        return [mask.reshape(sizes).expand(value.shape) for mask in masks]

    def beside(self, factors: Tensor, value: Tensor) -> Tensor:
        """Numbers of particles and members in the shape of a value, to be multiplied by it.

        Args:
            factors: `K x B`.
            value: `K`, plates, event.

        Returns:
            What broadcasts to the value.
        """
        n_event = value.dim() - 1 - self.nesting
        shape = [len(factors)] + [1] * (self.nesting + n_event)
        if self.dim is not None:
            shape[self.dim - n_event] = factors.shape[1]
        return factors.reshape(shape)
