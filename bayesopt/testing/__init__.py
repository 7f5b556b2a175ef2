"""Contracts for people who write a strategy or a storage of their own, as test classes that pytest runs.

class TestMine(bayesopt.testing.StrategyContract):
    def make_strategy(self):
        return Mine()
"""

try:
    import pytest
except ModuleNotFoundError:
    raise ModuleNotFoundError("bayesopt.testing needs pytest: pip install pytest.", name="pytest") from None

# Before they are imported, so that a contract that is broken shows its values as any other test does.
pytest.register_assert_rewrite("bayesopt.testing.storages", "bayesopt.testing.strategies")

from bayesopt.testing.storages import SharedStorageContract, StorageContract  # noqa: E402  after the line above
from bayesopt.testing.strategies import StrategyContract  # noqa: E402  likewise

__all__ = ["SharedStorageContract", "StorageContract", "StrategyContract"]
