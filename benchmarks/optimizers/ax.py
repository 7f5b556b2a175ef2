"""Ax's client with its defaults; the common start replaces its own initialization."""

import logging
import warnings

from ax.api.client import Client
from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig
from problems.problem import Params, Problem

import bayesopt as bo
from optimizers.optimizer import PlainSpace

logging.disable(logging.ERROR)  # Ax writes two lines a trial, whatever the level of its own logger


class Ax:
    """A client whose model takes over after the attached start."""

    def __init__(self, problem: Problem, seed: int) -> None:
        """Begin an experiment."""
        self._plain = PlainSpace(problem)
        self._names = ["y", *(constraint.name for constraint in problem.subject_to)]
        self._client = Client(random_seed=seed)
        self._client.configure_experiment([_config(name, p) for name, p in self._plain.parameters.items()])
        bounds = [f"{name} <= 0" for name in self._names[1:]]
        self._client.configure_optimization("-y", outcome_constraints=bounds or None)
        self._client.configure_generation_strategy(initialization_budget=0, initialize_with_center=False)
        self._index: int | None = None
        self._asked: Params | None = None

    def ask(self) -> Params:
        """The trial that the client generates."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ((self._index, values),) = self._client.get_next_trials(max_trials=1).items()
        self._asked = self._plain.params(values)
        return self._asked

    def tell(self, params: Params, outcomes: dict[str, float]) -> None:
        """Complete the trial; a start is attached first."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            index = self._index
            if index is None or params is not self._asked:
                index = self._client.attach_trial(self._plain.values(params))
            self._client.complete_trial(index, raw_data={name: outcomes[name] for name in self._names})
        self._index = None

    def recommend(self) -> Params | None:
        """The best arm by the model's predictions; as it was told, where they call none feasible; None without both."""
        for by_model in (True, False):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    values, *_ = self._client.get_best_parameterization(use_model_predictions=by_model)
            except AssertionError:  # how the client says that no arm is feasible
                continue
            return self._plain.params(values)
        return None


def _config(name: str, parameter: bo.Float | bo.Int | bo.Choice) -> RangeParameterConfig | ChoiceParameterConfig:
    if isinstance(parameter, bo.Choice):
        return ChoiceParameterConfig(
            name=name, values=list(parameter.options), parameter_type="str", is_ordered=parameter.ordered
        )
    return RangeParameterConfig(
        name=name,
        bounds=(parameter.low, parameter.high),
        parameter_type="float" if isinstance(parameter, bo.Float) else "int",
        scaling="log" if parameter.log else None,
    )
