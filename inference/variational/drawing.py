"""Draws of a guide with their log density, exact or, of a marginal guide, estimated.

Alphabet. K: particles. B: members of the independent plate. E: values of enumerated sites, a dimension each, left of K.
J: further auxiliary draws u of a marginal guide, likewise. r: their proposal.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from pyro.distributions import Delta
from torch import Tensor

from inference.errors import InvalidInputError
from inference.variational.layout import Layout
from inference.variational.marginal import Marginal, Program
from inference.variational.programs import Draw, Parameters, Run, Site, draw_plainly, run, spread

BY_SCORE: Final = ("score", "loo", "ema")
N_AUXILIARY: Final = 256
"""Auxiliary values behind the density of a marginal guide at a given point."""


@dataclass(frozen=True)
class Call:
    """What programs are called with, and where their parameters are."""

    args: Sequence[Any]
    """By position."""
    kwargs: Mapping[str, Any]
    """By keyword."""
    parameters: Parameters
    """Theirs."""

    def run(self, program: Program, draw: Draw, *first: Any, **how: Any) -> Run:
        """Run a program.

        Args:
            program: Which.
            draw: Draws what has no value.
            first: Arguments that come before the others.
            how: As in `programs.run`.

        Returns:
            What it did.
        """
        return run(program, (*first, *self.args), self.kwargs, self.parameters, draw, **how)


@dataclass
class Drawn:
    """What a guide drew."""

    values: dict[str, Tensor]
    """Of the sites that the model has."""
    run: Run
    """Of the guide."""
    log_q: Tensor
    """`E.. x K x B`, or what broadcasts to it."""
    scores: dict[str, Tensor] = field(default_factory=dict)
    """Sum of log q over the sites of each strategy by score."""
    log_enumerated: Tensor | None = None
    """Log probability of the enumerated values."""
    n_lead: int = 1
    """Particles' dimension and those of enumerated sites."""


class Sampler:
    """Draws of a guide, its sites by the strategies that they have."""

    def __init__(self, guide: Program | Marginal) -> None:
        """Begin without knowing its sites; `strategies`, those of the proposal and `layout` are set by who finds out.

        Args:
            guide: What is drawn from.
        """
        self.marginal = guide if isinstance(guide, Marginal) else None
        self.guide: Program = guide.guide if isinstance(guide, Marginal) else guide
        self.strategies: dict[str, str] = {}
        self.strategies_of_proposal: dict[str, str] = {}
        self.layout = Layout()

    def draw(
        self, call: Call, n_particles: int, *, learning: bool, instead: Mapping[str, Tensor] | None = None
    ) -> Drawn:
        """Run the guide.

        Args:
            call: With what.
            n_particles: K.
            learning: Whether sites follow their strategies; otherwise all are drawn plainly.
            instead: Values of sites that take the place of what is drawn there; the random numbers are spent all the
                same.

        Returns:
            What it drew.
        """
        lead = (n_particles,)
        if self.marginal is not None:
            return self._draw_marginal(self.marginal, call, lead, learning)
        enumerated: list[str] = []

        def draw(name: str, fn: Any, lead: tuple[int, ...], nesting: int, infer: dict[str, Any]) -> Tensor:
            if self.strategies[name] == "enum":
                enumerated.append(name)
                return listed(fn, nesting + len(lead) + len(enumerated) - 1)
            value = by_strategy(self.strategies[name], name, fn, lead, nesting, infer)
            return value if instead is None else instead.get(name, value)

        done = call.run(self.guide, draw if learning else draw_plainly, lead=lead, nesting=self.layout.nesting)
        n_lead = 1 + len(enumerated)
        drawn = Drawn(done.values(), done, self.layout.total(done.sites, n_lead), n_lead=n_lead)
        self._add_scores(drawn, done.latent(), self.strategies)
        for name in enumerated:
            part = self.layout.reduced(done.sites[name].log_prob())
            drawn.log_enumerated = part if drawn.log_enumerated is None else drawn.log_enumerated + part
        return drawn

    def again(self, call: Call, drawn: Drawn, given: Mapping[str, Tensor], n_particles: int) -> Run:
        """Run a guide once more on the same draws with its parameters held fixed.

        Args:
            call: With what.
            drawn: What it drew.
            given: Its draws, those that do not follow from others.
            n_particles: K.

        Returns:
            What it did.
        """
        with call.parameters.held(drawn.run.parameters):
            done = call.run(
                self.guide,
                draw_plainly,
                lead=(n_particles,),
                nesting=self.layout.nesting,
                values=given,
                indices=drawn.run.indices,
            )
            for site in done.sites.values():
                site.log_prob()  # while they are held
        return done

    def log_density(self, call: Call, given: Mapping[str, Tensor], n_points: int) -> Tensor:
        """Log density of a guide at points; of a marginal one estimated, from many auxiliary values.

        Args:
            call: With what.
            given: Values of its sites, those that do not follow from others.
            n_points: How many, in place of particles.

        Returns:
            `n x B`.
        """
        nesting = self.layout.nesting
        if self.marginal is None:
            done = call.run(self.guide, _draw_what_follows, lead=(n_points,), nesting=nesting, values=given)
            return self.layout.total(done.sites, 1)
        lead, kept = (N_AUXILIARY, n_points), dict(given)
        values = kept
        if self.marginal.proposal is not None:
            fresh = call.run(self.marginal.proposal, draw_plainly, kept, lead=lead, nesting=nesting)
            values = kept | fresh.values()
        done = call.run(self.guide, draw_plainly, lead=lead, nesting=nesting, values=values)
        ratio = self._ratio(self.marginal, call, done, kept, lead)
        return ratio.expand(*lead, -1).logsumexp(0) - math.log(N_AUXILIARY)

    def _draw_marginal(self, marginal: Marginal, call: Call, lead: tuple[int, ...], learning: bool) -> Drawn:
        nesting, more = self.layout.nesting, (marginal.n - 1, *lead)
        draw, draw_proposal = (
            (_drawing(self.strategies), _drawing(self.strategies_of_proposal))
            if learning
            else (draw_plainly, draw_plainly)
        )
        first = call.run(self.guide, draw, lead=lead, nesting=nesting)
        kept = {name: first.sites[name].value for name in marginal.keep}
        drawn = Drawn(kept, first, torch.zeros(()))
        self._add_scores(drawn, first.latent(), self.strategies)
        ratios = [self._ratio(marginal, call, first, kept, lead).unsqueeze(0)]
        if marginal.n > 1:
            given = dict(kept)
            if marginal.proposal is not None:
                fresh = call.run(marginal.proposal, draw_proposal, kept, lead=more, nesting=nesting)
                self._add_scores(drawn, fresh.latent(), self.strategies_of_proposal)
                given |= fresh.values()
            others = call.run(self.guide, draw, lead=more, nesting=nesting, values=given)
            new = {name: site for name, site in others.latent().items() if name not in given}
            self._add_scores(drawn, new, self.strategies)
            ratios.append(self._ratio(marginal, call, others, kept, more))
        whole = [ratio.expand(-1, *lead, ratio.shape[-1]) for ratio in ratios]
        drawn.log_q = torch.cat(whole).logsumexp(0) - math.log(marginal.n)
        return drawn

    def _ratio(
        self, marginal: Marginal, call: Call, done: Run, kept: dict[str, Tensor], lead: tuple[int, ...]
    ) -> Tensor:
        """`log g(keep, u) - log r(u)` of a run of the guide, `lead x B`."""
        if marginal.proposal is None:  # r is what the guide draws u from, so that only the kept sites are left
            return self.layout.total({name: site for name, site in done.sites.items() if name in kept}, len(lead))
        auxiliary = {name: value for name, value in done.values().items() if name not in kept}
        back = call.run(marginal.proposal, refuse, kept, lead=lead, nesting=self.layout.nesting, values=auxiliary)
        return self.layout.total(done.sites, len(lead)) - self.layout.total(back.sites, len(lead))

    def _add_scores(self, drawn: Drawn, sites: Mapping[str, Site], strategies: Mapping[str, str]) -> None:
        for name, site in sites.items():
            strategy = strategies.get(name)
            if strategy in BY_SCORE:
                score = self.layout.reduced(site.log_prob())
                if self.marginal is not None and score.dim() > 2:  # all J draws have a part in the estimate
                    score = score.sum(0)
                drawn.scores[strategy] = drawn.scores.get(strategy, 0.0) + score


def by_strategy(
    strategy: str, name: str, fn: Any, lead: tuple[int, ...], nesting: int, infer: dict[str, Any]
) -> Tensor:
    """A draw, with a gradient where the strategy takes it through the draw.

    Args:
        strategy: Of the site, other than 'enum'.
        name: Of the site.
        fn: Its distribution.
        lead: Sizes of the dimensions in front.
        nesting: Dimensions of the program's own.
        infer: What the program tells of the site.

    Returns:
        One draw for each entry of lead.
    """
    if strategy != "reparam":
        return draw_plainly(name, fn, lead, nesting, infer)
    fn, shape = spread(fn, lead, nesting)
    value: Tensor = fn.rsample(shape)
    return value


def listed(fn: Any, width: int) -> Tensor:
    """All values of a distribution of single numbers, in a dimension of their own.

    Args:
        fn: A distribution.
        width: Dimensions right of it.

    Returns:
        Values x 1 x ... x 1.
    """
    support: Tensor = fn.enumerate_support(expand=False)
    return support.reshape(-1, *(1,) * width)


def refuse(name: str, fn: Any, lead: tuple[int, ...], nesting: int, infer: dict[str, Any]) -> Tensor:
    """Draw nothing: for programs that must be given all their values.

    Args:
        name: Of the site that has none.
        fn: Its distribution.
        lead: Sizes of the dimensions in front.
        nesting: Dimensions of the program's own.
        infer: What the program tells of the site.

    Raises:
        InvalidInputError: Always.
    """
    raise InvalidInputError(
        f"site {name!r}: the guide does not draw it. A guide has every latent site of the model under the same name, "
        "and a proposal every auxiliary one."
    )


def _draw_what_follows(name: str, fn: Any, lead: tuple[int, ...], nesting: int, infer: dict[str, Any]) -> Tensor:
    return (draw_plainly if isinstance(fn, Delta) else refuse)(name, fn, lead, nesting, infer)


def _drawing(strategies: Mapping[str, str]) -> Draw:
    return lambda name, *rest: by_strategy(strategies[name], name, *rest)
