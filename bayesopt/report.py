"""A study in plain text."""

from typing import TYPE_CHECKING, Any

import numpy as np

from bayesopt.problem.beliefs import Standing, Standings
from bayesopt.record.trial import Trial
from bayesopt.strategies.model_based import MIN_TOLD
from bayesopt.strategies.optimistic_constrained import OptimisticConstrained, violations
from bayesopt.strategies.prior_guided import AT_ODDS

if TYPE_CHECKING:
    from bayesopt.study import Study

_FAILURES_SHOWN = 3
"""How many of the latest failures are named."""


def report(study: "Study") -> str:
    """The account of a study: objective, budget, verdict, best, violations, beliefs, failures; see `Study.report`."""
    objective = study.outcomes.objective
    trials = study.trials
    goal = f"{objective.direction} {objective.name}"
    if study.outcomes.constraints:
        goal += " subject to " + ", ".join(f"{c.name} {c.symbol} {c.bound:g}" for c in study.outcomes.constraints)
    lines = [f"Study {study.name!r}: {goal}", f"Spent: {study.budget}", f"State: {study.why_stopped or 'going on'}"]
    verdict = study.verdict
    lines.append(f"Verdict: {verdict} ({verdict.evidence})")
    lines += (
        _best_lines(study) + _belief_lines(study) + _law_lines(study) + _violation_lines(study) + _regret_lines(study)
    )
    lines += _model_lines(study)
    failed = [trial for trial in trials if trial.state == "failed"]
    if failed:
        lines.append(f"Failed: {len(failed)} of {len(trials)} trials")
        lines += [f"  trial {trial.id}: {_shortened(trial.reason)}" for trial in failed[-_FAILURES_SHOWN:]]
    return "\n".join(lines)


def _best_lines(study: "Study") -> list[str]:
    best, observed = study.best, study.best_observed
    if best is None or observed is None:
        return ["Best: none yet"]
    lines = [f"Best: trial {best.id}, {outcomes_text(best)}"]
    lines += [f"  {name} = {value_text(value)}" for name, value in best.params.items()]
    if observed.id != best.id:
        lines.append(
            f"  (the best raw value is trial {observed.id}'s, {outcomes_text(observed)}; the model calls it luck)"
        )
    return lines


def _violation_lines(study: "Study") -> list[str]:
    """What was violated, summed over the told trials: facts, whatever the strategy."""
    history = study.history
    if not study.outcomes.constraints or not len(history.ids):
        return []
    lines = [f"Violated so far, summed over {len(history.ids)} told trials:"]
    for constraint, total, margins in zip(
        study.outcomes.constraints, violations(history), history.constraints.T, strict=True
    ):
        n_broken, n_unknown = int((margins > 0).sum()), int(np.isnan(margins).sum())
        unknown = f", {n_unknown} not measured" if n_unknown else ""
        bound = f"{constraint.name} {constraint.symbol} {constraint.bound:g}"
        lines.append(f"  {bound}: by {total:.6g}, in {n_broken} trials{unknown}")
    return lines


def _model_lines(study: "Study") -> list[str]:
    """How far the models can be trusted."""
    return str(study.check_model()).splitlines()


def _regret_lines(study: "Study") -> list[str]:
    """Where a strategy bounds the optimum, what was lost against it on the way, worse values than it alone counted."""
    history, strategy = study.history, study.strategy
    if not isinstance(strategy, OptimisticConstrained) or len(history.ids) < MIN_TOLD:
        return []
    from bayesopt.surrogate import fit_surrogate  # late: it brings torch
    from gp.threads import single_threaded

    with single_threaded():
        surrogate = fit_surrogate(history)
        bound = strategy.optimistic_value(surrogate, np.random.default_rng(study.seed))
    sign = study.outcomes.objective.sign
    parts = []
    if (row := history.best_observed) is not None:
        against_best = np.maximum(history.objective[row] - history.objective, 0.0).sum()
        parts.append(f"{against_best:.6g} against the best feasible trial")
    if bound is not None:
        at_most = np.maximum(sign * bound - history.objective, 0.0).sum()
        parts.append(f"at most {at_most:.6g} against {bound:.6g}, which no feasible value beats if the bounds hold")
    return [f"Regret so far, summed over {len(history.ids)} told trials: " + "; ".join(parts)] if parts else []


def _belief_lines(study: "Study") -> list[str]:
    beliefs = study.beliefs
    if not beliefs:
        return []
    lines = [f"Beliefs, after {beliefs.n_told} told trials:"]
    for belief in beliefs:
        odds = ": at odds with the data" if belief.probability < AT_ODDS else ""
        lines.append(f"  {_standing_text(belief)}{odds}, {_shortened(repr(belief.prior))}")
    return lines + ([f"  {_standing_text(beliefs)}, all of them"] if len(beliefs) > 1 else [])


def _law_lines(study: "Study") -> list[str]:
    """Whether a law is in use, and what speaks for it."""
    history = study.history
    if history.law is None:
        return []
    if len(history.ids) < MIN_TOLD:
        return ["Law: not judged yet"]
    from bayesopt.surrogate import fit_surrogate  # late: it brings torch
    from gp.threads import single_threaded

    with single_threaded():
        gain = fit_surrogate(history).law_gain
    if gain is None:
        return ["Law: not judged, since it hardly varies over the told trials, or a million times more than they do"]
    return [f"Law: {'in use' if gain > 0 else 'not in use'} (log evidence ratio {gain:+.1f})"]


def _standing_text(standing: Standing | Standings) -> str:
    return f"right with probability {standing.probability:.2g} (log Bayes factor {standing.log_bayes_factor:+.1f})"


def outcomes_text(trial: Trial) -> str:
    """A trial's outcomes on one line."""
    return ", ".join(f"{name} {'unknown' if v is None else format(v, '.6g')}" for name, v in trial.values.items())


def value_text(value: Any) -> str:
    """A parameter's value as a person would write it."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {share:.3g}" for name, share in value.items())
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _shortened(reason: str | None) -> str:
    first = (reason or "").strip().splitlines()[:1]
    return first[0][:120] if first else "no reason given"
