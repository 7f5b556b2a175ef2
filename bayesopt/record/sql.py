"""Studies in a database: a SQLite file, or PostgreSQL by URL. JSON text and numbers only, so that reading is safe."""

import json
import math
import os
import re
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from sys import intern
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url
from typing_extensions import override

from bayesopt.errors import StorageError
from bayesopt.record.storage import Transaction
from bayesopt.record.trial import Trial

T = TypeVar("T")

SCHEMA_VERSION: Final = 4
"""Version of the tables below; a change of them adds a step to `_MIGRATIONS`."""

_MIGRATIONS: Final[dict[int, Sequence[str]]] = {
    1: (
        "ALTER TABLE priorwise_trials ADD COLUMN memory TEXT",
        "CREATE INDEX priorwise_trials_by_state ON priorwise_trials (study_id, state, id)",
    ),
    2: (
        "ALTER TABLE priorwise_trials ADD COLUMN meters TEXT",
        "ALTER TABLE priorwise_trials ADD COLUMN killed BOOLEAN",
    ),
    3: ("ALTER TABLE priorwise_trials ADD COLUMN grounds TEXT",),
}
"""From version v to v + 1, run in one transaction when an older database is opened; the tables below are the newest."""

_PATIENCE_SECONDS: Final = 30.0
"""How long a lost connection or a locked file is tried again before it is an error."""

_OPENING_PATIENCE_SECONDS: Final = 3.0
"""The same while a server is opened: then a mistyped address or password is likelier than a restart."""

_CONNECT_SECONDS: Final = 10
"""How long one attempt to reach a server may take; the system's own limit is minutes."""

_BUSY_MILLISECONDS: Final = 30_000
"""How long SQLite itself waits for another process's transaction; an ask of a big model holds it for seconds."""

_IN_MEMORY: Final = ":memory:"
"""SQLite's name for a database without a file, which every connection of a pool would have for itself."""

_PASSWORD: Final = re.compile(r"(?<=:)[^:/@]+(?=@)")
"""The password within a URL that cannot be parsed."""

_TABLES = sa.MetaData()
_META = sa.Table(
    "priorwise_meta",
    _TABLES,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
_STUDIES = sa.Table(
    "priorwise_studies",
    _TABLES,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("recommendation", sa.Text),
)
_TRIALS = sa.Table(
    "priorwise_trials",
    _TABLES,
    sa.Column("study_id", sa.ForeignKey("priorwise_studies.id"), primary_key=True),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("source", sa.String(16), nullable=False),
    sa.Column("params", sa.Text, nullable=False),
    sa.Column("outcomes", sa.Text, nullable=False),
    sa.Column("sd", sa.Text, nullable=False),
    sa.Column("cost", sa.Double),
    sa.Column("reason", sa.Text),
    sa.Column("lost", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.Double),
    sa.Column("asked_at", sa.Double),
    sa.Column("told_at", sa.Double),
    sa.Column("owner", sa.Text),
    sa.Column("beat_at", sa.Double),
    sa.Column("memory", sa.Text),
    sa.Column("meters", sa.Text),
    sa.Column("killed", sa.Boolean),
    sa.Column("grounds", sa.Text),
    sa.Index("priorwise_trials_by_revision", "study_id", "revision"),
    sa.Index("priorwise_trials_by_state", "study_id", "state", "id"),
)
_REPORTS = sa.Table(
    "priorwise_reports",
    _TABLES,
    sa.Column("study_id", sa.ForeignKey("priorwise_studies.id"), primary_key=True),
    sa.Column("trial_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("step", sa.Double, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

_NOTES: Final = ("memory", "grounds")
"""Columns of JSON that a strategy wrote."""

# Built once: building them at each call took 3 of the 7 ms of an ask, a tell and a `done`.
_IS_OF_STUDY = _TRIALS.c.study_id == sa.bindparam("of_study")
_READ_REVISION = sa.select(_STUDIES.c.revision).where(_STUDIES.c.id == sa.bindparam("of_study")).with_for_update()
_SET_REVISION = _STUDIES.update().where(_STUDIES.c.id == sa.bindparam("of_study"))
_INSERT_TRIAL = _TRIALS.insert()
_UPDATE_TRIAL = _TRIALS.update().where(_IS_OF_STUDY, _TRIALS.c.id == sa.bindparam("of_trial"))
_CHANGED = sa.select(_TRIALS).where(_IS_OF_STUDY, _TRIALS.c.revision > sa.bindparam("since")).order_by(_TRIALS.c.id)
_SILENT = (
    sa
    .select(_TRIALS.c.id)
    .where(_IS_OF_STUDY, _TRIALS.c.state == "pending", _TRIALS.c.beat_at < sa.bindparam("moment"))
    .order_by(_TRIALS.c.id)
)

_INHERITED: Final[list[Engine]] = []
"""Engines that came with a fork and belong to the parent process; they are kept so that nothing closes them."""


class Database:
    """A SQLite file or a PostgreSQL database that holds studies by name."""

    def __init__(
        self, location: str | os.PathLike[str], *, create: bool = True, patience: float = _PATIENCE_SECONDS
    ) -> None:
        """Open the database.

        Args:
            location: A file path, or a URL such as `postgresql://user:secret@host/database`.
            create: Whether to make the file and the tables when they are not there.
            patience: How many seconds a lost connection or a locked file is tried again.

        Raises:
            StorageError: If it cannot be opened, is no database, or was written by a newer version.
        """
        self.url = _url(location)
        self._is_sqlite = self.url.get_backend_name() == "sqlite"
        self._patience = patience if self._is_sqlite else min(patience, _OPENING_PATIENCE_SECONDS)
        self._engine: Engine | None = None
        self._engine_pid = 0
        self._prepare(create)
        self._patience = patience

    @override
    def __str__(self) -> str:
        """Where it is, without the password."""
        return str(self.url.database) if self._is_sqlite else self.url.render_as_string(hide_password=True)

    def study_names(self) -> list[str]:
        """The names of its studies, in the order of their creation."""
        return self.run(
            lambda connection: list(connection.scalars(sa.select(_STUDIES.c.name).order_by(_STUDIES.c.id))), write=False
        )

    def find(self, name: str) -> "SqlStore | None":
        """The study of that name, if there is one."""
        row = self.run(
            lambda connection: connection.execute(
                sa.select(_STUDIES.c.id, _STUDIES.c.spec).where(_STUDIES.c.name == name)
            ).one_or_none(),
            write=False,
        )
        return None if row is None else SqlStore(self, name, row.id, self._declaration(name, row.spec))

    def find_or_create(self, name: str, spec: dict[str, Any]) -> "SqlStore":
        """The study of that name; created from `spec` if there is none."""

        def create(connection: Connection) -> None:
            self._lock_creation(connection)
            if connection.scalar(sa.select(_STUDIES.c.id).where(_STUDIES.c.name == name)) is None:
                connection.execute(_STUDIES.insert().values(name=name, spec=json.dumps(spec), revision=0))

        if (store := self.find(name)) is None:
            self.run(create, write=True)
            store = self.find(name)
            assert store is not None
        return store

    def run(self, work: Callable[[Connection], T], *, write: bool) -> T:
        """Run `work` in one transaction, again after a lost connection, until patience ends.

        Args:
            work: What to do; it may run more than once.
            write: Whether it writes. SQLite then takes the file's write lock at once, so that the transaction
                cannot fail half way because somebody else wrote in between.

        Returns:
            What `work` returns.

        Raises:
            StorageError: If the database cannot be reached, or refuses.
        """
        give_up_at = time.monotonic() + self._patience
        pause = 0.05
        while True:
            try:
                with self._transaction(write) as connection:
                    return work(connection)
            except sa.exc.DBAPIError as error:
                if not self._is_passing(error) or time.monotonic() + pause > give_up_at:
                    raise StorageError(self._explain(error)) from error
            time.sleep(pause)
            pause = min(2 * pause, 2.0)

    def _declaration(self, name: str, text: str) -> dict[str, Any]:
        try:
            return dict(json.loads(text))
        except (ValueError, TypeError) as error:
            raise StorageError(
                f"{self}: the declaration of the study {name!r} is damaged; restore it from a backup ({error})."
            ) from error

    def close(self) -> None:
        """Close every connection."""
        if self._engine is not None:
            self._dispose()
        self._engine = None

    @contextmanager
    def _transaction(self, write: bool) -> Iterator[Connection]:
        with self._connected().connect() as connection:
            if self._is_sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
            yield connection
            connection.commit()

    def _connected(self) -> Engine:
        # A connection must not be shared across a fork: a child process makes its own.
        if self._engine is None or self._engine_pid != os.getpid():
            if self._engine is not None:
                # Closing the parent's SQLite connection here would drop its locks, and so would collecting it.
                _INHERITED.append(self._engine)
            self._engine, self._engine_pid = self._make_engine(), os.getpid()
            # Whoever forgets `close` still leaves no connection open.
            self._dispose = weakref.finalize(self, _dispose, self._engine, self._engine_pid)
        return self._engine

    def _make_engine(self) -> Engine:
        if not self._is_sqlite:
            try:
                waits = {} if "connect_timeout" in self.url.query else {"connect_timeout": _CONNECT_SECONDS}
                return sa.create_engine(self.url, pool_pre_ping=True, pool_size=2, connect_args=waits)
            except (ImportError, sa.exc.NoSuchModuleError) as error:
                raise StorageError(
                    f"{self}: the driver for this database is not installed ({error}); "
                    "for PostgreSQL: pip install 'priorwise[postgresql]'."
                ) from error
        engine = sa.create_engine(self.url)

        @sa.event.listens_for(engine, "connect")
        def configure(connection: Any, _: object) -> None:
            # Python's driver would begin transactions by itself, and too late: at the first write.
            connection.isolation_level = None
            connection.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
            try:
                connection.execute("PRAGMA synchronous = FULL")
            except UnicodeDecodeError as error:  # the driver stumbles over its own message about a damaged schema
                raise sqlite3.DatabaseError(f"malformed schema: {error}") from error
            connection.execute("PRAGMA foreign_keys = ON")

        return engine

    def _prepare(self, create: bool) -> None:
        if self._is_sqlite:
            self._check_path(Path(str(self.url.database)), create)
        tables = self.run(lambda connection: set(sa.inspect(connection).get_table_names()), write=False)
        if _META.name not in tables:
            if self._is_sqlite and tables:
                raise StorageError(
                    f"{self} is a database of another program (its tables: {', '.join(sorted(tables)[:5])}); "
                    "give the study a file of its own."
                )
            if not create:
                raise StorageError(f"{self} holds no study.")
            self._create_tables()
        version = self.run(self._version, write=False)
        if version > SCHEMA_VERSION:
            raise StorageError(
                f"{self} was written by a newer version of priorwise (schema {version}, this one reads up to "
                f"{SCHEMA_VERSION}); upgrade priorwise to open it."
            )
        if version < SCHEMA_VERSION:
            self.run(self._migrate, write=True)

    def _check_path(self, path: Path, create: bool) -> None:
        if path.is_dir():
            raise StorageError(f"{path} is a folder; name a file in it, such as {path / 'study.db'}.")
        if not path.parent.is_dir():
            raise StorageError(f"{path}: the folder {path.parent} does not exist; create it first.")
        if not create and not path.exists():
            raise StorageError(f"{path}: there is no such file.")

    def _create_tables(self) -> None:
        if self._is_sqlite:
            # The journal mode is a property of the file. Readers then never wait for a writer, nor it for them.
            with self._connected().connect() as connection:
                try:
                    connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                except sa.exc.OperationalError as error:
                    # Another process is creating the same file: it sets the mode.
                    if not self._is_passing(error):
                        raise StorageError(self._explain(error)) from error

        def create(connection: Connection) -> None:
            self._lock_creation(connection)
            _TABLES.create_all(connection)
            if connection.scalar(sa.select(sa.func.count()).select_from(_META)) == 0:
                connection.execute(_META.insert().values(key="schema_version", value=str(SCHEMA_VERSION)))

        self.run(create, write=True)

    def _lock_creation(self, connection: Connection) -> None:
        # Two processes that create or migrate the same tables, or create the same study, at once would collide on
        # PostgreSQL. On SQLite a transaction that writes has the file to itself.
        if not self._is_sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(20230418)))

    def _version(self, connection: Connection) -> int:
        value = connection.scalar(sa.select(_META.c.value).where(_META.c.key == "schema_version"))
        if value is None or not value.isdigit():
            raise StorageError(f"{self} does not say which version of priorwise wrote it; restore it from a backup.")
        return int(value)

    def _migrate(self, connection: Connection) -> None:
        self._lock_creation(connection)
        # Only now is the version final: whoever held the lock before may have migrated already.
        for version in range(self._version(connection), SCHEMA_VERSION):
            for statement in _MIGRATIONS[version]:
                connection.exec_driver_sql(statement)
            connection.execute(_META.update().where(_META.c.key == "schema_version").values(value=str(version + 1)))

    def _is_passing(self, error: sa.exc.DBAPIError) -> bool:
        """Whether trying again may help: a lock that somebody holds, or a server that went away."""
        if self._is_sqlite:
            return isinstance(error, sa.exc.OperationalError) and "locked" in str(error.orig)
        return error.connection_invalidated or isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError)

    def _explain(self, error: sa.exc.DBAPIError) -> str:
        said = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
        causes = {
            "not a database": "it is not a SQLite file",
            "malformed": "the file is damaged; restore it from a backup, or `sqlite3 FILE .recover` it",
            "readonly": "it cannot be written: check the permissions of the file and of its folder",
            "unable to open": "it cannot be opened: check the path and its permissions",
            "full": "the disk is full: free some space and repeat the call",
            "locked": f"another process held it for over {self._patience:g} s",
        }
        if self._is_sqlite:
            hint = next((text for sign, text in causes.items() if sign in said), None)
        else:
            hint = f"the server could not be reached for {self._patience:g} s" if self._is_passing(error) else None
        return f"{self}: {hint or 'the database refused'} ({said}). Everything told before is kept."


class SqlStore:
    """One study in a database; see `StudyStore`."""

    def __init__(self, database: Database, name: str, study_id: int, spec: dict[str, Any]) -> None:
        """A handle on a study that exists; use `Database.find_or_create`."""
        self.name, self.spec = name, spec
        self._database = database
        self._id = study_id

    @override
    def __str__(self) -> str:
        """The database that it lives in."""
        return str(self._database)

    def changes(self, since: int) -> tuple[int, list[Trial]]:
        """See `StudyStore.changes`."""
        return self._database.run(lambda connection: _changes(connection, self._id, since), write=False)

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """See `StudyStore.transact`."""

        def locked(connection: Connection) -> T:
            # The study's row is the lock: whoever holds it is this study's only writer. SQLite ignores the clause,
            # its transaction already has the file to itself.
            revision = connection.scalar(_READ_REVISION, {"of_study": self._id})
            transaction = _SqlTransaction(connection, self._id, int(revision or 0) + 1)
            result = work(transaction)
            if transaction.has_written:
                connection.execute(_SET_REVISION, {"of_study": self._id, "revision": transaction.revision})
            return result

        return self._database.run(locked, write=True)

    def silent_since(self, moment: float) -> list[int]:
        """See `StudyStore.silent_since`."""
        return self._database.run(lambda connection: _silent_since(connection, self._id, moment), write=False)

    def add_report(self, trial_id: int, step: float, value: float) -> None:
        """See `StudyStore.add_report`."""
        key = {"study_id": self._id, "trial_id": trial_id, "step": step}

        def put(connection: Connection) -> None:
            connection.execute(_REPORTS.delete().where(*(_REPORTS.c[name] == part for name, part in key.items())))
            connection.execute(_REPORTS.insert().values(**key, value=_number_to_json(value)))
            connection.execute(self._beat([trial_id], time.time()))

        self._database.run(put, write=True)

    def reports(self) -> dict[int, dict[float, float]]:
        """See `StudyStore.reports`."""
        query = (
            sa.select(_REPORTS).where(_REPORTS.c.study_id == self._id).order_by(_REPORTS.c.trial_id, _REPORTS.c.step)
        )
        curves: dict[int, dict[float, float]] = {}
        for row in self._database.run(lambda connection: connection.execute(query).all(), write=False):
            curves.setdefault(row.trial_id, {})[row.step] = float(json.loads(row.value))
        return curves

    def beat(self, trial_ids: Iterable[int], moment: float) -> None:
        """See `StudyStore.beat`."""
        statement = self._beat(list(trial_ids), moment)
        self._database.run(lambda connection: connection.execute(statement), write=True)

    def _beat(self, trial_ids: list[int], moment: float) -> sa.Update:
        return (
            _TRIALS.update().where(_TRIALS.c.study_id == self._id, _TRIALS.c.id.in_(trial_ids)).values(beat_at=moment)
        )

    def recommendation(self) -> dict[str, Any] | None:
        """See `StudyStore.recommendation`."""
        query = sa.select(_STUDIES.c.recommendation).where(_STUDIES.c.id == self._id)
        text = self._database.run(lambda connection: connection.scalar(query), write=False)
        return None if text is None else dict(json.loads(text))

    def recommend(self, recommendation: dict[str, Any]) -> None:
        """See `StudyStore.recommend`."""
        statement = _STUDIES.update().where(_STUDIES.c.id == self._id).values(recommendation=json.dumps(recommendation))
        self._database.run(lambda connection: connection.execute(statement), write=True)

    def close(self) -> None:
        """See `StudyStore.close`."""
        self._database.close()


class _SqlTransaction:
    def __init__(self, connection: Connection, study_id: int, revision: int) -> None:
        self._connection, self._id = connection, study_id
        self.revision = revision
        self.has_written = False

    def changes(self, since: int) -> tuple[int, list[Trial]]:
        return _changes(self._connection, self._id, since)

    def insert(self, trial: Trial) -> None:
        place = {"study_id": self._id, "id": trial.id, "revision": self.revision}
        self._connection.execute(_INSERT_TRIAL, _to_row(trial) | place | {"beat_at": time.time()})
        self.has_written = True

    def update(self, trial: Trial) -> None:
        row = _to_row(trial) | {"of_study": self._id, "of_trial": trial.id, "revision": self.revision}
        if trial.state == "pending":
            row["beat_at"] = time.time()  # not `asked_at`: the ask may have waited for others, or taken long
        self._connection.execute(_UPDATE_TRIAL, row)
        self.has_written = True

    def silent_since(self, moment: float) -> list[int]:
        return _silent_since(self._connection, self._id, moment)


def _dispose(engine: Engine, pid: int) -> None:
    if pid == os.getpid():
        engine.dispose()


def _url(location: str | os.PathLike[str]) -> URL:
    text = os.fspath(location)
    if "\0" in text:
        raise StorageError(f"storage {text!r}: a path holds no NUL character.")
    if "://" not in text and text != _IN_MEMORY:
        return URL.create("sqlite", database=str(Path(text).expanduser()))
    try:
        url = make_url("sqlite://" if text == _IN_MEMORY else text)
    except (sa.exc.ArgumentError, ValueError):  # ValueError: a port that is no number
        raise StorageError(
            f"storage {_PASSWORD.sub('***', text)!r} is no file path and no database URL; "
            "examples: 'tune.db', 'postgresql://user:secret@host/database'."
        ) from None
    backend = url.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise StorageError(f"storage {text!r}: {backend} is not supported; use a SQLite file or a postgresql:// URL.")
    if backend == "sqlite" and url.database in (None, "", _IN_MEMORY):
        raise StorageError(f"storage {text!r} names no file; storage=None keeps a study in memory.")
    # psycopg 3 is the driver that the extra `postgresql` installs.
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def _changes(connection: Connection, study_id: int, since: int) -> tuple[int, list[Trial]]:
    rows = connection.execute(_CHANGED, {"of_study": study_id, "since": since}).mappings().all()
    return max((int(row["revision"]) for row in rows), default=since), [_from_row(row) for row in rows]


def _silent_since(connection: Connection, study_id: int, moment: float) -> list[int]:
    return list(connection.scalars(_SILENT, {"of_study": study_id, "moment": moment}))


def _to_row(trial: Trial) -> dict[str, Any]:
    return {
        "state": trial.state,
        "source": trial.source,
        "params": json.dumps(trial.params, allow_nan=False),
        "outcomes": json.dumps({name: _number(value) for name, value in trial.values.items()}, allow_nan=False),
        "sd": json.dumps(trial.sd, allow_nan=False),
        "cost": trial.cost,
        "reason": trial.reason,
        "lost": trial.lost,
        "created_at": trial.created_at,
        "asked_at": trial.asked_at,
        "told_at": trial.told_at,
        "owner": trial.owner,
        # Only in these two nan and infinities may stand: as Python writes and reads them, which strict JSON does not.
        "memory": None if trial.memory is None else json.dumps(trial.memory),
        "grounds": None if trial.grounds is None else json.dumps(trial.grounds),
        "meters": json.dumps(trial.meters, allow_nan=False) if trial.meters else None,
        "killed": trial.killed or None,
    }


def _from_row(row: Mapping[Any, Any]) -> Trial:
    try:
        params, outcomes, sd = (dict(json.loads(row[column])) for column in ("params", "outcomes", "sd"))
        values = {name: None if value is None else float(value) for name, value in outcomes.items()}
        memory, grounds = (None if row[column] is None else dict(json.loads(row[column])) for column in _NOTES)
        meters = {} if row["meters"] is None else {k: float(v) for k, v in json.loads(row["meters"]).items()}
        # One string for all trials: a study of thousands compares them at every ask.
        labels: dict[str, Any] = {column: intern(row[column]) for column in ("state", "source")}
    except (ValueError, TypeError, AttributeError) as error:
        raise StorageError(
            f"trial {row['id']} is damaged in the database; restore it from a backup ({error})."
        ) from error
    return Trial(
        id=row["id"],
        params=params,
        values=values,
        sd=sd,
        cost=row["cost"],
        meters=meters,
        killed=bool(row["killed"]),
        reason=row["reason"],
        lost=row["lost"],
        created_at=row["created_at"],
        asked_at=row["asked_at"],
        told_at=row["told_at"],
        owner=row["owner"],
        memory=memory,
        grounds=grounds,
        **labels,
    )


def _number(value: float | None) -> float | str | None:
    """A number as strict JSON, which knows no nan and no infinity: those are written as strings."""
    return value if value is None or math.isfinite(value) else str(value)


def _number_to_json(value: float) -> str:
    return json.dumps(_number(value), allow_nan=False)
