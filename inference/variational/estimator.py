"""One estimate of an objective and of its gradient, from one vectorised run of guide and model.

Alphabet. K: particles. B: members of the independent plate. E: values of enumerated sites, a dimension each, left of K.
h: value of a single particle.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

import torch
from torch import Tensor

from inference.errors import InvalidInputError
from inference.seeding import seeded
from inference.variational.drawing import Call, Drawn, Sampler, refuse
from inference.variational.gradients import MAX_MEASURE_VALUED, Branch, branches_of, strategy_of
from inference.variational.layout import Layout
from inference.variational.marginal import Marginal, Program
from inference.variational.objectives import Objective
from inference.variational.programs import Parameters, Run, Site, draw_plainly
from inference.variational.weights import Weights

_MEMORY: Final = 0.9
"""Share of the running means of log densities that an estimate leaves: a horizon of ten."""


class Estimator:
    """Estimates an objective for a Pyro model and guide; `fit` moves their parameters along its gradient.

    Its methods, but `open`, are for within `with estimator.open():`.
    """

    def __init__(
        self,
        model: Program,
        guide: Program | Marginal,
        objective: Objective,
        *,
        n_particles: int,
        independent: str | None = None,
    ) -> None:
        """Keep the parts.

        Args:
            model: A Pyro program.
            guide: A Pyro program, or what `marginal` made of one.
            objective: What is estimated.
            n_particles: K.
            independent: A plate that all sites are in, whose members are estimated each for itself.

        Raises:
            InvalidInputError: If K does not suit the objective, or the objective not the guide.
        """
        if n_particles < 1 or n_particles % objective.group:
            raise InvalidInputError(
                f"n_particles: {objective.name} expects a positive multiple of {objective.group}, got {n_particles}."
            )
        self.model, self.objective, self.n_particles, self.independent = model, objective, n_particles, independent
        self.sampler = Sampler(guide)
        self.parameters = Parameters()
        self.model_sites: dict[str, Site] = {}
        self._running_means: Tensor | None = None

    def open(self, *, validate: bool = False) -> AbstractContextManager[None]:
        """Where programs see the estimator's own parameters.

        Args:
            validate: Whether distributions check their arguments as they usually do; costs time.

        Returns:
            A context.
        """
        return self.parameters.open(validate=validate)

    @property
    def layout(self) -> Layout:
        """Of log densities."""
        return self.sampler.layout

    # -- what the programs are ------------------------------------------------------------------------------------

    def prepare(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> None:
        """Run both programs once, to find their sites, plates and parameters, and check what they ask for.

        Args:
            args: What they are called with.
            kwargs: What they are called with by keyword.

        Raises:
            InvalidInputError: If the programs do not fit one another, or a strategy its site.
        """
        call, marginal = Call(args, kwargs or {}, self.parameters), self.sampler.marginal
        of_guide = call.run(self.sampler.guide, draw_plainly)
        latent = of_guide.latent()
        auxiliary: dict[str, Site] = {}
        of_proposal = Run()
        if marginal is not None:
            _check_kept(marginal, latent, self.objective)
            auxiliary = {name: site for name, site in latent.items() if name not in marginal.keep}
            latent = {name: latent[name] for name in marginal.keep}
        values = {name: site.value for name, site in latent.items()}
        if marginal is not None and marginal.proposal is not None:
            of_proposal = call.run(marginal.proposal, draw_plainly, values)
            _check_proposal(of_proposal, auxiliary)
        of_model = call.run(self.model, refuse, values=values, indices=of_guide.indices)
        self.model_sites = of_model.latent()
        for name, site in latent.items():
            if name not in self.model_sites and not site.infer.get("is_auxiliary"):
                raise InvalidInputError(
                    f"site {name!r} of the guide is not in the model. Name it as there, or average over it with "
                    "`marginal(guide, keep=[...])`."
                )
        self.parameters.collect()
        everything = [item for one in (of_guide, of_proposal, of_model) for item in one.sites.items()]
        self.sampler.layout = Layout.of(everything, self.independent)
        self.sampler.strategies = self._strategies(of_guide)
        self.sampler.strategies_of_proposal = self._strategies(of_proposal)
        self._check_measure_valued(of_guide)

    def _strategies(self, done: Run) -> dict[str, str]:
        return {
            name: strategy_of(
                name,
                site,
                self.objective,
                n_particles=self.n_particles,
                is_alone=self.layout.is_alone(site),
                is_auxiliary=self.sampler.marginal is not None,
            )
            for name, site in done.latent().items()
        }

    def _check_measure_valued(self, of_guide: Run) -> None:
        strategies = self.sampler.strategies
        names = [name for name, strategy in strategies.items() if strategy == "mvd"]
        summed = [name for name, strategy in strategies.items() if strategy == "enum"]
        if names and summed:
            raise InvalidInputError(
                f"sites {names} are of 'mvd' and {summed} of 'enum', which do not go together; use 'loo' for either."
            )
        sites = [of_guide.sites[name] for name in names]
        n = sum(len(branches_of(site)) * site.value.numel() // self.layout.members(site) for site in sites)
        if n > MAX_MEASURE_VALUED:
            raise InvalidInputError(
                f"sites {names}: 'mvd' of {n} scalar parameters costs two runs for each; at most {MAX_MEASURE_VALUED} "
                "are taken. Use 'reparam', 'score' or 'loo'."
            )

    # -- plain draws ----------------------------------------------------------------------------------------------

    def log_weights(self, n: int, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Tensor:
        """Log importance weights of plain draws of the guide, without a graph.

        Args:
            n: How many.
            args: What the programs are called with.
            kwargs: What they are called with by keyword.

        Returns:
            `n x B`.
        """
        call = Call(args, kwargs or {}, self.parameters)
        with torch.no_grad():
            drawn = self.sampler.draw(call, n, learning=False)
            log_w: Tensor = self._log_p(call, drawn, drawn.values) - drawn.log_q
            return log_w.expand(n, -1)

    def draw(self, n: int, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """Plain draws of the model's latent sites.

        Args:
            n: How many.
            args: What the programs are called with.
            kwargs: What they are called with by keyword.

        Returns:
            Name to values, `n`, then `layout.nesting` dimensions of the program's own, then those of an event.
        """
        with torch.no_grad():
            values = self.sampler.draw(Call(args, kwargs or {}, self.parameters), n, learning=False).values
        return {name: values[name] for name in self.model_sites}

    def sites_of_model(
        self, value: Callable[[str, Any], Tensor], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> dict[str, Site]:
        """The model's latent sites at given values.

        Args:
            value: Gives a site's value from its name and its distribution there, with particles.
            args: What the model is called with.
            kwargs: What it is called with by keyword.

        Returns:
            Name to site.
        """
        call = Call(args, kwargs or {}, self.parameters)
        return call.run(self.model, lambda name, fn, *_: value(name, fn), nesting=self.layout.nesting).latent()

    def log_density(
        self, given: Mapping[str, Tensor], n: int, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Tensor:
        """Log density of the guide at points.

        Args:
            given: Values of its sites, with the points in place of particles.
            n: How many points.
            args: What it is called with.
            kwargs: What it is called with by keyword.

        Returns:
            `n x B`.
        """
        return self.sampler.log_density(Call(args, kwargs or {}, self.parameters), given, n)

    # -- the estimate ---------------------------------------------------------------------------------------------

    def surrogate(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> tuple[Tensor, Tensor]:
        """A scalar whose gradient estimates that of the objective, and an estimate of the objective.

        Args:
            args: What the programs are called with.
            kwargs: What they are called with by keyword.

        Returns:
            The surrogate, with a graph, and the value, without; sums over B, times what subsampling leaves out.
        """
        call = Call(args, kwargs or {}, self.parameters)
        if "mvd" in self.sampler.strategies.values():
            whole, value = self._measure_valued(call)
        else:
            drawn = self.sampler.draw(call, self.n_particles, learning=True)
            whole, value = self._with_scores(drawn, self._weights(call, drawn))
        factor = self.layout.factor
        whole, value = whole.sum(), value.sum()
        return (whole, value) if factor == 1.0 else (whole * factor, value * factor)

    def _log_p(self, call: Call, drawn: Drawn, values: Mapping[str, Tensor]) -> Tensor:
        done = call.run(self.model, refuse, nesting=self.layout.nesting, values=values, indices=drawn.run.indices)
        return self.layout.total(done.sites, drawn.n_lead)

    def _weights(self, call: Call, drawn: Drawn) -> Weights:
        if self.objective.draws == "reparameterised":
            return self._weights_on_scaled_paths(call, drawn)
        log_p, log_q = torch.broadcast_tensors(self._log_p(call, drawn, drawn.values), drawn.log_q)

        def held() -> Tensor:
            if self.sampler.marginal is not None:
                raise _needs_exact_density(self.objective)
            done = self.sampler.again(call, drawn, drawn.run.chosen(), self.n_particles)
            return self.layout.total(done.sites, drawn.n_lead)

        return Weights(log_p, log_q, held=held)

    def _weights_on_scaled_paths(self, call: Call, drawn: Drawn) -> Weights:
        """Model and guide see copies of the draws, so that every way back crosses one copy, where it is scaled."""
        factors: list[Tensor] = []

        def copied(value: Tensor) -> Tensor:
            copy = value.view_as(value)
            if copy.requires_grad:
                copy.register_hook(lambda gradient: gradient * self.layout.beside(factors[-1], gradient))
            return copy

        given = {name: copied(value) for name, value in drawn.run.chosen().items()}
        again = self.sampler.again(call, drawn, given, self.n_particles)
        log_p, log_q = torch.broadcast_tensors(self._log_p(call, drawn, again.values()), drawn.log_q)
        factors.append(torch.ones_like(log_p))
        return Weights(log_p, log_q, held=lambda: self.layout.total(again.sites, 1), scale_paths=factors.append)

    def _particles(self, drawn: Drawn, weights: Weights) -> tuple[Tensor, Tensor]:
        """H of each particle and the probability of its enumerated values, `E.. x K x B`."""
        h = self.objective(weights.particles_apart()).reshape(weights.log_p.shape)
        share = torch.ones_like(h) if drawn.log_enumerated is None else drawn.log_enumerated.exp()
        return h, share

    def _with_scores(self, drawn: Drawn, weights: Weights) -> tuple[Tensor, Tensor]:
        """Surrogate and value of each member, `B`."""
        if drawn.log_enumerated is None and not drawn.scores:
            value = self.objective(weights)
            return value, value.detach()
        if self.objective.additive or self.n_particles == 1:
            return self._scores_apart(drawn, weights)
        return self._scores_together(drawn, weights)

    def _scores_apart(self, drawn: Drawn, weights: Weights) -> tuple[Tensor, Tensor]:
        h, share = self._particles(drawn, weights)
        value = _sum_values(share * h).mean(0)
        seen = torch.stack([_sum_values((share * part).detach()) for part in (weights.log_p, weights.log_q)])
        surrogate = value
        for strategy, score in drawn.scores.items():
            without = Weights(*self._baselines(strategy, seen).flatten(1)[:, None])
            gain = (share * (h - self.objective(without).reshape(seen.shape[1:]))).detach()
            surrogate = surrogate + _sum_values(gain * (score - score.detach())).mean(0)
        self._remember(seen)
        return surrogate, value.detach()

    def _scores_together(self, drawn: Drawn, weights: Weights) -> tuple[Tensor, Tensor]:
        value = self.objective(weights)
        seen, n = torch.stack([weights.log_p, weights.log_q]).detach(), self.n_particles
        surrogate = value
        for strategy, score in drawn.scores.items():
            # copy r of all the weights has those of particle r replaced by what is known without looking at it
            own = torch.eye(n, dtype=torch.bool, device=seen.device)[..., None]
            replaced = torch.where(own, self._baselines(strategy, seen)[:, None], seen[:, None])
            without = Weights(*replaced.transpose(1, 2).reshape(2, n, -1))
            gain = value.detach() - self.objective(without).reshape(n, -1)
            surrogate = surrogate + (gain * (score - score.detach())).sum(0)
        self._remember(seen)
        return surrogate, value.detach()

    def _baselines(self, strategy: str, seen: Tensor) -> Tensor:
        """Log densities for each particle, of model and guide, that do not depend on its draw, `2 x K x B`."""
        if strategy == "loo":
            return (seen.sum(1, keepdim=True) - seen) / (self.n_particles - 1)
        if strategy == "ema" and self._running_means is not None:
            return self._running_means[:, None, None].expand(seen.shape)
        return torch.zeros_like(seen)

    def _remember(self, seen: Tensor) -> None:
        means = seen.mean((1, 2))
        before = means if self._running_means is None else self._running_means
        self._running_means = _MEMORY * before + (1.0 - _MEMORY) * means

    def _measure_valued(self, call: Call) -> tuple[Tensor, Tensor]:
        """Runs that differ in one element of one site and what follows from it, on the same random numbers."""
        seed = int(torch.randint(2**62, ()))
        with seeded(seed):
            drawn = self.sampler.draw(call, self.n_particles, learning=True)
            weights = self._weights(call, drawn)
        surrogate, value = self._with_scores(drawn, weights)
        for name, strategy in self.sampler.strategies.items():
            if strategy != "mvd":
                continue
            site = drawn.run.sites[name]
            for branch in branches_of(site):
                for element in self.layout.elements(site.value):
                    plus, minus = (
                        self._branched(call, {name: torch.where(element, end, site.value)}, seed)
                        for end in (branch.plus, branch.minus)
                    )
                    along = self._along(branch, element, len(site.fn.event_shape))
                    surrogate = surrogate + ((plus - minus) * along).mean(0)
        return surrogate, value

    def _branched(self, call: Call, instead: Mapping[str, Tensor], seed: int) -> Tensor:
        """H of each particle, `K x B`, with other values of a site."""
        with torch.no_grad(), seeded(seed):
            drawn = self.sampler.draw(call, self.n_particles, learning=True, instead=instead)
            return self._particles(drawn, self._weights(call, drawn))[0]

    def _along(self, branch: Branch, element: Tensor, event_dim: int) -> Tensor:
        """Zero, with the gradient of a branch's parameter times its coefficient, `K x B`."""
        moved = torch.where(element, branch.coefficient * (branch.theta - branch.theta.detach()), 0.0)
        return self.layout.reduced(moved.sum(tuple(range(-event_dim, 0))) if event_dim else moved)


def _sum_values(values: Tensor) -> Tensor:
    """Sum over the values of enumerated sites, `K x B`."""
    over = tuple(range(values.dim() - 2))
    return values.sum(over) if over else values


def _needs_exact_density(objective: Objective) -> InvalidInputError:
    return InvalidInputError(
        f"{objective.name}: its gradient needs the guide's exact density, which a marginal guide has not; use ELBO or "
        "IWELBO."
    )


def _check_kept(marginal: Marginal, latent: Mapping[str, Site], objective: Objective) -> None:
    if objective.draws != "free":
        raise _needs_exact_density(objective)
    for name in marginal.keep:
        if name not in latent:
            raise InvalidInputError(f"keep: {name!r} is no site of the guide, whose sites are {sorted(latent)}.")


def _check_proposal(done: Run, auxiliary: Mapping[str, Site]) -> None:
    drawn = done.latent()
    if drawn.keys() != auxiliary.keys():
        raise InvalidInputError(
            f"proposal: it draws the sites {sorted(drawn)}, but has to draw the guide's auxiliary ones, "
            f"{sorted(auxiliary)}."
        )
