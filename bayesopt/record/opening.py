"""From what a user calls a storage to the store of one study."""

import os
from typing import Any

from bayesopt.errors import InvalidInputError
from bayesopt.record.storage import MemoryStore, StudyStore


def open_store(storage: Any, name: Any, spec: dict[str, Any]) -> StudyStore:
    """The store of a study: opened, or created when there is none.

    Args:
        storage: A file path, a `postgresql://` URL, a `StudyStore` that is taken as it is, or None for memory.
        name: The study's name; 'study' if None.
        spec: What a new study is declared as.

    Returns:
        The store.

    Raises:
        InvalidInputError: If the name is no printable string, or the storage is none of these.
    """
    if name is not None and (not isinstance(name, str) or not name.strip() or not name.isprintable()):
        raise InvalidInputError(f"name: expected a non-empty printable string, got {name!r}.")
    if storage is None:
        return MemoryStore(name or "study", spec)
    if not isinstance(storage, str | os.PathLike):
        if not callable(getattr(storage, "transact", None)):
            raise InvalidInputError(
                f"storage: expected a file path, a postgresql:// URL or a StudyStore, got {storage!r}."
            )
        return storage
    from bayesopt.record.sql import Database  # late: SQLAlchemy alone would double the import time

    return Database(storage).find_or_create(name or "study", spec)
