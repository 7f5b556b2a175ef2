import pytest

from bayesopt.record.storage import MemoryStore
from tests.bayesopt.record.contract import SPEC, StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def open_store(self):
        store = MemoryStore("study", SPEC)
        return lambda: store
