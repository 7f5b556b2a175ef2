"""Optuna's own published tests of a sampler, run on ours."""

import pytest
from optuna.testing.pytest_samplers import BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase

from bayesopt.integrations.optuna import PriorwiseSampler


@pytest.fixture(autouse=True)
def _quiet(quiet_optuna): ...


class _Ours:
    @pytest.fixture
    def sampler(self):
        return lambda: PriorwiseSampler(seed=3)


class TestBasics(_Ours, BasicSamplerTestCase): ...


class TestRelative(_Ours, RelativeSamplerTestCase): ...


class TestOneObjective(_Ours, SingleOnlySamplerTestCase): ...
