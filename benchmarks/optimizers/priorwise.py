"""This library, with its default strategy and nothing declared but the space and the constraints."""

from problems.problem import Params, Problem

import bayesopt as bo


class Priorwise:
    """A study in memory; the noise is learned."""

    def __init__(self, problem: Problem, seed: int) -> None:
        """Begin a study."""
        self._study = bo.Study(problem.space, minimize="y", subject_to=problem.subject_to, seed=seed)
        self._trial: bo.Trial | None = None

    def ask(self) -> Params:
        """What the study asks."""
        self._trial = self._study.ask()
        assert self._trial is not None  # neither a budget nor a finite space ends a run
        return self._trial.params

    def tell(self, params: Params, outcomes: dict[str, float]) -> None:
        """Tell the study; a start is queued and asked first."""
        trial = self._trial
        if trial is None or trial.params is not params:
            self._study.enqueue(params)
            trial = self._study.ask()
            assert trial is not None
        self._study.tell(trial, outcomes)
        self._trial = None

    def recommend(self) -> Params | None:
        """The trial that the study calls its best."""
        best = self._study.best
        return None if best is None else best.params
