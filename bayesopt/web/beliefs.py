"""Beliefs in words."""

from collections.abc import Mapping
from typing import Any

from bayesopt.problem.beliefs import Prior
from bayesopt.problem.optimal_value import OptimalValuePrior
from bayesopt.problem.parameters import Choice, Simplex
from bayesopt.problem.preferences import PreferencePrior
from bayesopt.problem.priors import OptimumPrior
from bayesopt.problem.space import Space
from bayesopt.web.texts import shortened, value_text

_WIDTH = 300
"""Characters of a belief."""


def belief_text(prior: Prior, space: Space, objective: str) -> str:
    """What a belief says, in one sentence.

    Args:
        prior: The belief.
        space: Tells which parameters are logarithmic.
        objective: The objective's name.

    Returns:
        The sentence; of a kind of belief that is not known here, how it was declared.
    """
    if isinstance(prior, OptimumPrior):
        if not isinstance(prior.beliefs, Mapping):
            return "The best place follows a density of your own."
        parts = [_place(name, belief, space[name]) for name, belief in prior.beliefs.items()]
        return shortened(f"The best place has {'; '.join(parts)}.", _WIDTH)
    if isinstance(prior, OptimalValuePrior):
        return shortened(f"The best {objective} is {_value(prior)}.", _WIDTH)
    if isinstance(prior, PreferencePrior):
        n = len(prior.pairs)
        return f"{n} {'configuration is' if n == 1 else 'configurations are'} better than another each."
    return shortened(repr(prior), _WIDTH)


def _place(name: str, belief: Any, parameter: Any) -> str:
    shown = shortened(name)
    if isinstance(parameter, Choice):
        total = sum(belief.values())
        return f"{shown} " + ", ".join(f"{value_text(o)} {100 * w / total:.0f} %" for o, w in belief.items())
    centre, spread = belief
    if isinstance(parameter, Simplex):
        return f"{shown} near {value_text(dict(centre))}"
    if parameter.log:
        return f"{shown} near {value_text(centre)}, give or take a factor of {spread:g}"
    return f"{shown} near {value_text(centre)} ± {spread:g}"


def _value(prior: OptimalValuePrior) -> str:
    if prior.mean is not None:
        return f"{prior.mean:.6g} ± {prior.sd:g}"
    bounds = [
        f"{word} {bound:.6g}"
        for word, bound in (("at least", prior.at_least), ("at most", prior.at_most))
        if bound is not None
    ]
    return " and ".join(bounds) + (f", give or take {prior.softness:g}" if prior.softness else "")
