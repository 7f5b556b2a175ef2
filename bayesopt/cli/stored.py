"""The stored study that an argument of the command names."""

import argparse
import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bayesopt.errors import ConfigFileError, StorageError
from bayesopt.study import Study


def located(arguments: argparse.Namespace) -> tuple[str, str | None, dict[str, Any]]:
    """Storage, study name, and what the storage does not remember."""
    target = arguments.study or _only_database()
    if not target.lower().endswith((".yaml", ".yml")):
        return target, arguments.name, {}
    from bayesopt.cli.study_file import read_study_file  # late: a study file needs no YAML

    file = read_study_file(Path(target))
    declared: dict[str, Any] = {"budget": file.budget, "priors": file.priors, "noise": file.noise}
    if arguments.name in (None, file.name):
        return file.storage, file.name or "study", declared
    return file.storage, arguments.name, {}


def _only_database() -> str:
    found = sorted(Path().glob("*.db"))
    if len(found) != 1:
        listed = ", ".join(map(str, found)) or "none"
        raise ConfigFileError(f"say which study file, URL or YAML file; *.db in this folder: {listed}.")
    return str(found[0])


def study_names(storage: str) -> list[str]:
    """The names of the studies that a storage holds; one that does not exist is not made."""
    from bayesopt.record.sql import Database  # late: SQLAlchemy is slow to import

    if "://" not in storage and not os.path.exists(storage):
        raise StorageError(f"{storage}: there is no such file; `bayesopt tune FILE.yaml` makes one.")
    database = Database(storage, create=False)
    names = database.study_names()
    database.close()
    return names


def opened(storage: str, name: str | None, options: Mapping[str, Any]) -> Study:
    """The study of this name, or the only one; an error that lists the names where that is none."""
    names = study_names(storage)
    listed = ", ".join(map(repr, names))
    if name is None and len(names) != 1:
        raise ConfigFileError(
            f"{shown_storage(storage)} holds {listed}; choose one with --name."
            if names
            else f"{shown_storage(storage)} holds no study yet."
        )
    if name is not None and name not in names:
        raise ConfigFileError(f"{shown_storage(storage)} holds no study {name!r}; it holds {listed or 'none'}.")
    return Study.open(storage, name, **options)


def shown_storage(storage: str) -> str:
    """The storage without a password; a file near by as one would type it."""
    if "://" in storage:
        from sqlalchemy.engine import make_url  # late: SQLAlchemy is slow to import

        return make_url(storage).render_as_string(hide_password=True)
    with contextlib.suppress(ValueError):
        return str(Path(storage).relative_to(Path.cwd()))
    return storage
