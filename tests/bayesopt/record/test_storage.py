import pytest

from bayesopt.record.storage import MemoryStore
from bayesopt.testing import StorageContract
from bayesopt.testing.storages import SPEC


class TestMemoryStore(StorageContract):
    @pytest.fixture
    def open_store(self):
        store = MemoryStore("study", SPEC)
        return lambda: store
