"""What models make of a study's constraints and of the beliefs it was declared with."""

import warnings

from bayesopt.problem.beliefs import Prior, Standing, Standings
from bayesopt.problem.verdict import LEAST_TOLD, Verdict
from bayesopt.record.history import History
from bayesopt.strategies.model_based import MIN_TOLD


def verdict_on(history: History) -> Verdict:
    """What a model makes of trials none of which is feasible."""
    none = f"none of {len(history.ids)} told trials satisfies every constraint"
    claim = None
    if len(history.ids) > LEAST_TOLD * history.space.dim:
        from bayesopt.certificate import claim as judge  # late: it brings torch

        claim = judge(history)
    if claim is None:
        return Verdict("undecided", none)
    point, binding = history.space.decode(claim.point), history.outcomes.constraints[claim.binding].name
    if claim.holds:
        status, outlook = "infeasible", f", and at most {claim.expected:.1g} feasible regions are expected anywhere"
    else:
        status, outlook = (
            "undecided",
            f", but a feasible region may exist (chance up to {min(claim.expected, 1.0):.1g})",
        )
    by = f", by {claim.margin:.2g} of its spreads or more" if claim.margin > 0 else ""
    evidence = f"{none}{outlook}; the least violation may be at {point}, where {binding!r} is worst{by}"
    return Verdict(
        status,
        evidence,
        expected=claim.expected,
        chance=claim.chance,
        point=point,
        binding=binding,
        margin=claim.margin,
    )


def standings(priors: tuple[Prior, ...], history: History, doubt: float) -> Standings:
    """What is left of beliefs after a history."""
    n = len(history.X)
    undecided = tuple(Standing(prior, 1.0 - doubt, 0.0) for prior in priors)
    nothing_known = Standings(undecided, (1.0 - doubt) ** len(priors), 0.0, n)
    if not priors or n < MIN_TOLD:
        return nothing_known
    from bayesopt.acquisition.believed_paths import judge  # late: it brings torch

    try:
        verdict = judge(history, doubt)
    except ArithmeticError as error:
        warnings.warn(f"The model broke down and says nothing of the beliefs: {error}", RuntimeWarning, stacklevel=3)
        return nothing_known
    each = zip(priors, verdict.probabilities.tolist(), verdict.log_bayes_factors.tolist(), strict=True)
    return Standings(tuple(Standing(*one) for one in each), verdict.probability, verdict.log_bayes_factor, n)
