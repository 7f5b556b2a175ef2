"""What pictures start from: matplotlib, without which there is nothing to test, and a study."""

import importlib.util

import pytest

from tests.bayesopt.plot.studies import usual_study

if importlib.util.find_spec("matplotlib") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="package")
def the_usual_study():
    return usual_study()
