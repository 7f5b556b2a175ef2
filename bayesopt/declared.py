"""What a study is declared with and told: each function returns what is accepted, or says what came instead."""

import json
import re
from collections.abc import Mapping
from typing import Any

from bayesopt.errors import InvalidInputError, InvalidOutcomeError, InvalidPriorError
from bayesopt.problem.arguments import entries
from bayesopt.problem.beliefs import Prior
from bayesopt.problem.outcomes import Objective
from bayesopt.strategies.base import EndingRule, StoppingRule, Strategy


def objective(minimize: str | None, maximize: str | None) -> Objective:
    """The one objective that was named."""
    if (minimize is None) == (maximize is None):
        raise InvalidOutcomeError(
            "give one objective: minimize='name' or maximize='name'; "
            f"got minimize={minimize!r} and maximize={maximize!r}."
        )
    return Objective(minimize, "minimize") if maximize is None else Objective(maximize, "maximize")  # type: ignore[arg-type]


def prior(prior: Any) -> Prior:
    """A belief about the optimum."""
    if not isinstance(prior, Prior):
        raise InvalidPriorError(
            "priors: expected OptimumPrior(...), OptimalValuePrior(...), PreferencePrior(...) or MeanPrior(...), "
            f"got {prior!r}."
        )
    return prior


def strategy(strategy: Any) -> Strategy:
    """A strategy."""
    if not callable(getattr(strategy, "suggest", None)) or isinstance(strategy, type):
        raise InvalidInputError(
            f"strategy: expected an object with suggest(history, n, rng), such as bo.strategies.RandomSearch(), "
            f"got {strategy!r}."
        )
    return strategy


def stopping(rule: Any) -> StoppingRule:
    """A rule that stops runs."""
    if not callable(getattr(rule, "should_stop", None)) or isinstance(rule, type):
        raise InvalidInputError(
            "stopping: expected an object with should_stop(curves), such as bo.strategies.MedianStopping(), "
            f"got {rule!r}."
        )
    return rule


def endings(rules: Any) -> tuple[EndingRule, ...]:
    """The rules that end a study: one or several."""
    several = (rules,) if callable(getattr(rules, "why_end", None)) else entries("until", rules)
    for rule in several:
        if not callable(getattr(rule, "why_end", None)) or isinstance(rule, type):
            raise InvalidInputError(
                "until: expected an object with why_end(history, rng), such as bo.strategies.NotWorthTheCost(0.01), "
                f"or several, got {rule!r}."
            )
    return several


def note(role: str, note: Any) -> dict[str, Any] | None:
    """What a strategy wrote down as it will be read again from any store: by way of JSON, so that all of them agree."""
    if note is None:
        return None
    if not isinstance(note, Mapping):
        raise InvalidInputError(f"{role}: expected a dict or None, got {note!r}.")
    try:
        return dict(json.loads(json.dumps(dict(note))))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"{role} is kept as JSON, which does not hold it ({error}); "
            "use strings, numbers, booleans, None, lists and dicts, such as array.tolist()."
        ) from error


def device(device: Any) -> str:
    """Where models run."""
    # Whether the machine has it is known to torch alone, which must not be imported for a study that asks no model.
    if not isinstance(device, str) or not re.fullmatch(r"auto|cpu|(cuda|mps|xpu)(:\d+)?", device):
        raise InvalidInputError(f"device: expected 'auto', 'cpu', 'cuda' or one such as 'cuda:1', got {device!r}.")
    return device


def text(reason: Any) -> str:
    """A reason as every store keeps it."""
    # Databases refuse NUL and lone surrogates, and a reason often is whatever a broken program printed.
    return str(reason).replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
