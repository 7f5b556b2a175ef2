"""Optuna's samplers, with their defaults; the common start replaces their own."""

import warnings

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from problems.problem import Params, Problem

import bayesopt as bo
from optimizers.optimizer import PlainSpace, n_starts

optuna.logging.set_verbosity(optuna.logging.ERROR)


class _Optuna:
    """An Optuna study in memory."""

    def __init__(self, problem: Problem, sampler: optuna.samplers.BaseSampler) -> None:
        self._plain = PlainSpace(problem)
        self._distributions = {name: _distribution(p) for name, p in self._plain.parameters.items()}
        self._constraints = [constraint.name for constraint in problem.subject_to]
        self._study = optuna.create_study(sampler=sampler)
        self._trial: optuna.Trial | None = None
        self._asked: Params | None = None

    def ask(self) -> Params:
        """What the sampler proposes."""
        self._trial = self._study.ask(self._distributions)
        self._asked = self._plain.params(self._trial.params)
        return self._asked

    def tell(self, params: Params, outcomes: dict[str, float]) -> None:
        """Complete the trial; a start is queued and asked first."""
        trial = self._trial
        if trial is None or params is not self._asked:
            self._study.enqueue_trial(self._plain.values(params))
            trial = self._study.ask(self._distributions)
        for name in self._constraints:
            trial.set_constraint(name, outcomes[name])
        self._study.tell(trial, outcomes["y"])
        self._trial = None

    def recommend(self) -> Params | None:
        """The best feasible trial, as it was told."""
        try:
            return self._plain.params(self._study.best_trial.params)
        except ValueError:  # no trial is feasible
            return None


class OptunaGP(_Optuna):
    """The Gaussian-process sampler."""

    def __init__(self, problem: Problem, seed: int) -> None:
        """Begin a study."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the sampler is marked experimental
            sampler = optuna.samplers.GPSampler(seed=seed, n_startup_trials=n_starts(problem))
        super().__init__(problem, sampler)


class OptunaTPE(_Optuna):
    """The tree-structured Parzen estimator, one parameter at a time."""

    def __init__(self, problem: Problem, seed: int) -> None:
        """Begin a study."""
        super().__init__(problem, optuna.samplers.TPESampler(seed=seed, n_startup_trials=n_starts(problem)))


def _distribution(parameter: bo.Float | bo.Int | bo.Choice) -> BaseDistribution:
    if isinstance(parameter, bo.Choice):
        return CategoricalDistribution(parameter.options)
    kind = FloatDistribution if isinstance(parameter, bo.Float) else IntDistribution
    return kind(parameter.low, parameter.high, log=parameter.log)
