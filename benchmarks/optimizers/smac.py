"""SMAC3's facade for hyperparameter optimization, a random forest, with its defaults.

It knows no outcome constraints: an infeasible configuration is told as the worst objective seen plus the sum of the
violations, the usual penalty.
"""

import logging
import tempfile
from pathlib import Path

from ConfigSpace import Categorical, Configuration, ConfigurationSpace, Float, Integer
from ConfigSpace.hyperparameters import Hyperparameter
from problems.problem import Params, Problem
from smac import HyperparameterOptimizationFacade, Scenario
from smac.runhistory.dataclasses import TrialInfo, TrialValue

import bayesopt as bo
from optimizers.optimizer import PlainSpace

logging.disable(logging.WARNING)  # it warns of every empty start


class Smac:
    """A facade that is asked and told; repetitions are its own affair where the problem is noisy."""

    def __init__(self, problem: Problem, seed: int) -> None:
        """Begin a run in a temporary folder."""
        self._problem = problem
        self._plain = PlainSpace(problem)
        self._space = ConfigurationSpace(seed=seed)
        self._space.add([_hyperparameter(name, p) for name, p in self._plain.parameters.items()])
        self._folder = tempfile.TemporaryDirectory()
        scenario = Scenario(
            self._space,
            deterministic=problem.noise_sd == 0,
            n_trials=problem.trials,
            output_directory=Path(self._folder.name),
            seed=seed,
        )
        self._facade = HyperparameterOptimizationFacade(
            scenario,
            _never_called,
            initial_design=HyperparameterOptimizationFacade.get_initial_design(scenario, n_configs=0),
            overwrite=True,
            logging_level=False,
        )
        self._info: TrialInfo | None = None
        self._asked: Params | None = None
        self._worst = 0.0

    def ask(self) -> Params:
        """What the facade asks."""
        self._info = self._facade.ask()
        self._asked = self._plain.params(dict(self._info.config))
        return self._asked

    def tell(self, params: Params, outcomes: dict[str, float]) -> None:
        """Tell the facade; a start is told under its first seed."""
        info = self._info
        if info is None or params is not self._asked:
            config = Configuration(self._space, values=self._plain.values(params))
            info = TrialInfo(config, seed=0)
        self._facade.tell(info, TrialValue(cost=self._cost(outcomes)))
        self._info = None

    def recommend(self) -> Params | None:
        """The incumbent."""
        incumbent = self._facade.intensifier.get_incumbent()
        return None if incumbent is None else self._plain.params(dict(incumbent))

    def _cost(self, outcomes: dict[str, float]) -> float:
        self._worst = max(self._worst, outcomes["y"])
        margins = [constraint.margin(outcomes[constraint.name]) for constraint in self._problem.subject_to]
        violation = sum(margin for margin in margins if margin > 0)
        return self._worst + violation if violation else outcomes["y"]


def _never_called(config: Configuration, seed: int = 0) -> float:
    raise NotImplementedError("the facade is asked and told")


def _hyperparameter(name: str, parameter: bo.Float | bo.Int | bo.Choice) -> Hyperparameter:
    if isinstance(parameter, bo.Choice):
        return Categorical(name, list(parameter.options))
    kind = Float if isinstance(parameter, bo.Float) else Integer
    return kind(name, (parameter.low, parameter.high), log=parameter.log)
