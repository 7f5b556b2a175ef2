"""Ray Tune: our strategies as a searcher of its `Tuner`.

    search = PriorwiseSearch(seed=0)
    tuner = tune.Tuner(train, param_space={"lr": tune.loguniform(1e-5, 1e-1)},
                       tune_config=tune.TuneConfig(metric="loss", mode="min", search_alg=search, num_samples=40))

Ray owns the loop, the budget (`num_samples`, `time_budget_s`) and early stopping (a scheduler); what the searcher knows
is a study, `search.study`.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from typing_extensions import override

from bayesopt.errors import (
    InvalidInputError,
    InvalidOutcomeError,
    InvalidSpaceError,
    StudyMismatchError,
)
from bayesopt.integrations.replay import study_of
from bayesopt.problem.outcomes import Outcomes
from bayesopt.problem.parameters import Choice, Float, Int, Parameter
from bayesopt.problem.space import Space
from bayesopt.record.trial import Trial
from bayesopt.study import Study

try:
    from ray.tune.result import DEFAULT_METRIC
    from ray.tune.search import Searcher
    from ray.tune.search.sample import Categorical, Domain, Integer, LogUniform, Normal, Quantized
    from ray.tune.search.sample import Float as RayFloat
    from ray.tune.search.variant_generator import parse_spec_vars
except ImportError:
    raise ImportError(
        "bayesopt.integrations.ray needs Ray Tune: pip install 'priorwise[integrations]', or pip install 'ray[tune]'."
    ) from None

_FORMAT: Final = 1
"""Version of what `save` writes."""
_MOST_STEPS: Final = 1000
"""Most values of a quantized number."""
_DIRECTIONS: Final = {"min": "minimize", "max": "maximize"}
_FIELDS: Final = tuple(each.name for each in fields(Trial) if not each.name.startswith("_"))


class PriorwiseSearch(Searcher):
    """A searcher for `ray.tune.Tuner`: pending trials, failures, constraints, and the way back from a checkpoint.

    A trial that raises, is not a number, or ends without reporting the metric is a failure, which the search learns to
    keep away from. A trial that a scheduler stops counts with the last value it reported. Constrained outcomes are
    further keys of what the trial reports.

    Example:
        >>> import bayesopt as bo
        >>> search = PriorwiseSearch(bo.Space({"x": bo.Float(0.0, 1.0)}), metric="loss", mode="min", seed=0)
        >>> search.suggest("first")
        {'x': 0.5}
        >>> search.on_trial_complete("first", {"loss": 0.25})
        >>> search.study.best_observed.values
        {'loss': 0.25}
    """

    def __init__(
        self,
        space: Space | None = None,
        *,
        metric: str | None = None,
        mode: str | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        """Choose how trials are proposed.

        Args:
            space: What can be tried; None takes the `param_space` of the Tuner, whose other entries stay constants.
            metric: Name of the objective; None takes the Tuner's, which tells it only when it has a `param_space`.
            mode: 'min' or 'max'; None likewise.
            seed: As in `bo.Study`.
            options: `subject_to`, `priors`, `strategy`, `noise`, `device`; as in `bo.Study`.

        Raises:
            InvalidInputError: If an argument is not of an accepted kind.
            InvalidSpaceError: If `space` is no `Space`.
        """
        if mode is not None and mode not in _DIRECTIONS:
            raise InvalidInputError(f"mode: expected 'min' or 'max', got {mode!r}.")
        unknown = options.keys() - {"subject_to", "priors", "strategy", "noise", "device"}
        if unknown:
            raise InvalidInputError(
                f"PriorwiseSearch: unknown options {sorted(unknown)}. What may be spent is said to Ray: "
                "TuneConfig(num_samples=..., time_budget_s=...)."
            )
        if space is not None and not isinstance(space, Space):
            raise InvalidSpaceError(f"space: expected a Space, got {space!r}; a dict of Ray's goes to param_space.")
        super().__init__(metric=metric, mode=mode)
        self._space, self._seed, self._options = space, seed, options
        self._study: Study | None = None
        self._ids: dict[str, int] = {}
        self._declare()

    @property
    def study(self) -> Study:
        """What the search knows: `study.best`, `study.report()`, `study.to_dataframe()`, ...

        Raises:
            InvalidInputError: If space, metric or mode are not known yet.
        """
        if self._study is None:
            missing = [
                name
                for name, value in (("space", self._space), ("metric", self._metric), ("mode", self._mode))
                if value is None
            ]
            raise InvalidInputError(
                f"PriorwiseSearch: {', '.join(missing)} must be given to it, or to the Tuner: param_space={{...}}, "
                "TuneConfig(metric=..., mode=...). Without a param_space, Ray tells a searcher nothing."
            )
        return self._study

    @override
    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Take over what the Tuner was told; see `Searcher`.

        Returns:
            False where both have a space, which Ray then reports.

        Raises:
            InvalidSpaceError: If the `param_space` holds what cannot be searched.
        """
        self._metric = self._metric or metric
        self._mode = self._mode or mode
        _, domains, grids = parse_spec_vars(config)
        if self._space is not None and (domains or grids):
            return False
        if self._space is None:
            self._space = _space_of(dict([*domains, *grids]))
        if self._metric is None and self._mode is not None:
            self._metric = DEFAULT_METRIC  # what a function that returns a number alone reports
        self._declare()
        return True

    @override
    def suggest(self, trial_id: str) -> Any:
        """What to try next; see `Searcher`.

        Returns:
            A configuration, or `Searcher.FINISHED` when nothing is left to try.
        """
        study = self.study
        if trial_id not in self._ids:
            trial = study.ask()
            if trial is None:
                return Searcher.FINISHED
            self._ids[trial_id] = trial.id
        return _nested(study.trials[self._ids[trial_id]].params)

    @override
    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Learn how a trial ended; see `Searcher`."""
        study, told = self.study, result or {}
        if trial_id not in self._ids:  # suggested after the checkpoint that this searcher was restored from
            config = _nested(told).get("config", {})
            self.add_evaluated_point(config, told.get(study.outcomes.objective.name), error=error, outcomes=told)
            return
        trial = study.trials[self._ids[trial_id]]
        if trial.state != "pending" and not trial.lost:
            return  # a restored run tells again what it had told
        if error:
            study.fail(trial, "Ray reports an error; it keeps the traceback with the trial")
        elif result is None:
            study.abandon(trial, "stopped before it ran")
        elif told.get(study.outcomes.objective.name) is None:
            study.fail(trial, f"ended without reporting {study.outcomes.objective.name!r}")
        else:
            try:
                study.tell(trial, _outcomes_in(told, study))
            except InvalidOutcomeError as refusal:
                study.fail(trial, str(refusal))

    @override
    def add_evaluated_point(
        self,
        parameters: Mapping[str, Any],
        value: float | None,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
        outcomes: Mapping[str, Any] | None = None,
    ) -> None:
        """Learn of a trial that this searcher did not suggest; see `Searcher`.

        Args:
            parameters: The configuration; entries that the space does not know are left out.
            value: The metric.
            error: Whether it failed.
            pruned: Whether it was stopped early; it counts with its value all the same.
            intermediate_values: Its learning curve, which no suggestion depends on.
            outcomes: What else it reported; None leaves the constraints unknown.

        Raises:
            InvalidParamsError: If the configuration lacks a parameter or lies outside the space.
        """
        study = self.study
        flat = dict(parameters) | _flat(dict(parameters))
        known = {name: flat[name] for name in study.space if name in flat}
        broke = error or value is None
        told = _outcomes_in(outcomes or {}, study) | {study.outcomes.objective.name: math.nan if broke else value}
        study.tell_external(known, told)

    @override
    def save(self, checkpoint_path: str) -> None:
        """Write what the search knows, as JSON; see `Searcher`."""
        Path(checkpoint_path).write_text(json.dumps(self._document()), "utf-8")

    @override
    def restore(self, checkpoint_path: str) -> None:
        """Take over what `save` wrote; see `Searcher`.

        Raises:
            StudyMismatchError: If the file is of another version, or of a search that was declared differently.
        """
        self._adopt(json.loads(Path(checkpoint_path).read_text("utf-8")))

    @override
    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: the declaration, and the trials as `save` writes them."""
        return self.__dict__ | {"_study": None, "_document_of_study": self._document()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what `__getstate__` gave."""
        document = state.pop("_document_of_study")
        self.__dict__.update(state)
        self._adopt(document)

    def _declare(self) -> None:
        """Begin the study once all is known that it needs."""
        if self._study is None and self._space is not None and self._metric is not None and self._mode is not None:
            direction: dict[str, Any] = {_DIRECTIONS[self._mode]: self._metric}
            self._study = Study(self._space, **direction, seed=self._seed, **self._options)

    def _document(self) -> dict[str, Any] | None:
        if self._study is None:
            return None
        return {
            "format": _FORMAT,
            "metric": self._metric,
            "mode": self._mode,
            "space": self._study.space.to_json(),
            "outcomes": self._study.outcomes.to_json(),
            "seed": self._study.seed,
            "trials": [{name: getattr(trial, name) for name in _FIELDS} for trial in self._study.trials],
            "ids": self._ids,
        }

    def _adopt(self, document: dict[str, Any] | None) -> None:
        if document is None:
            return
        if document.get("format") != _FORMAT:
            raise StudyMismatchError(f"expected a search saved in format {_FORMAT}, got {document.get('format')!r}.")
        space, outcomes = Space.from_json(document["space"]), Outcomes.from_json(document["outcomes"])
        if self._study is not None:
            differences = space.differences(self._study.space) + outcomes.differences(self._study.outcomes)
            if differences:
                raise StudyMismatchError(f"the saved search was declared differently: {'; '.join(differences)}.")
            space = self._study.space  # it knows its predicate, which is code and is not saved
        elif self._space is not None:
            space = self._space
        options = {name: value for name, value in self._options.items() if name not in ("subject_to", "noise")}
        trials = [Trial(**trial) for trial in document["trials"]]
        noise = self._options.get("noise")
        self._study = study_of(trials, space, outcomes, seed=document["seed"], noise=noise, **options)
        self._space, self._metric, self._mode = space, document["metric"], document["mode"]
        self._ids = dict(document["ids"])


def _outcomes_in(told: Mapping[str, Any], study: Study) -> dict[str, Any]:
    """The declared outcomes among what a trial reported; None for one that it left out."""
    return {name: told.get(name) for name in study.outcomes.names}


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """A dict in which 'a/b' is the entry 'b' of the entry 'a'."""
    nested: dict[str, Any] = {}
    for path, value in flat.items():
        *above, name = path.split("/")
        place = nested
        for step in above:
            place = place.setdefault(step, {})
        place[name] = value
    return nested


def _flat(nested: Mapping[str, Any]) -> dict[str, Any]:
    """The opposite: the names of all that is no dict itself, with the way to it."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        inner = _flat(value) if isinstance(value, Mapping) else {}
        flat |= {f"{name}/{path}": each for path, each in inner.items()} or {name: value}
    return flat


def _space_of(domains: Mapping[tuple[str, ...], Any]) -> Space:
    """What is searched of a `param_space`; nested entries are joined by '/', as Ray shows them."""
    if not domains:
        raise InvalidSpaceError(
            "param_space: it holds constants only; give what can be tried, or space= to the search."
        )
    return Space({"/".join(path): _parameter("/".join(path), domain) for path, domain in domains.items()})


def _parameter(name: str, domain: Domain) -> Parameter:
    """The parameter that stands for a domain of Ray, of which those without bounds are refused."""
    sampler = domain.get_sampler()  # type: ignore[no-untyped-call]
    q = sampler.q if isinstance(sampler, Quantized) else None
    inner = sampler.get_sampler() if isinstance(sampler, Quantized) else sampler  # type: ignore[no-untyped-call]
    is_log = isinstance(inner, LogUniform)
    if domain.is_grid():  # type: ignore[no-untyped-call]
        raise InvalidSpaceError(f"{name!r}: grid_search tries all values; write tune.choice([...]) to search them.")
    if isinstance(domain, Categorical):
        return Choice(tuple(domain.categories))
    if isinstance(domain, RayFloat | Integer) and not isinstance(inner, Normal):
        is_stepped = q is not None and not (isinstance(domain, Integer) and q == 1)
        if is_stepped and q is not None:
            return _stepped(name, domain, q, is_log)
        if isinstance(domain, Integer):
            return Int(
                domain.lower, domain.upper - (q is None), log=is_log
            )  # Ray leaves the upper end out, unless q is given
        return Float(domain.lower, domain.upper, log=is_log)
    raise InvalidSpaceError(
        f"{name!r}: {domain} has no bounds, or is a function; give a range: tune.uniform, loguniform, randint, choice."
    )


def _stepped(name: str, domain: Any, q: float, is_log: bool) -> Choice:
    first, last = math.ceil(domain.lower / q - 1e-9), math.floor(domain.upper / q + 1e-9)  # forgives 0.3 / 0.1
    if is_log or last - first >= _MOST_STEPS:
        raise InvalidSpaceError(
            f"{name!r}: a number by steps of {q} is searched on a linear scale of up to {_MOST_STEPS} values; "
            "leave the q out and round the value where it is used."
        )
    values = np.arange(first, last + 1) * q
    return Choice(tuple(domain.cast(value) for value in values), ordered=True)
