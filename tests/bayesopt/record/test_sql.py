"""The databases: the contract of every store, and what files and servers do that memory does not."""

import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from bayesopt.errors import StorageError
from bayesopt.record import sql
from bayesopt.record.sql import Database
from bayesopt.record.trial import Trial
from bayesopt.testing import SharedStorageContract
from bayesopt.testing.storages import FULL, SPEC, insert


class TestSqlite(SharedStorageContract):
    @pytest.fixture
    def open_store(self, tmp_path):
        return _opener(tmp_path / "study.db")


class TestPostgresql(SharedStorageContract):
    @pytest.fixture
    def open_store(self, postgresql_url):
        return _opener(postgresql_url)


def _opener(location):
    return lambda: Database(location, patience=10).find_or_create("study", SPEC)


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request, tmp_path):
    return tmp_path / "study.db" if request.param == "sqlite" else request.getfixturevalue("postgresql_url")


@pytest.fixture
def file(tmp_path):
    """A SQLite file of one study with 40 trials, without side files."""
    path = tmp_path / "study.db"
    store = Database(path).find_or_create("study", SPEC)
    insert(store, *(Trial(k, {"x": k / 7, "text": "lorem ipsum " * 20}) for k in range(40)))
    store.close()
    assert not Path(f"{path}-wal").exists()
    return path


def _read_all(path):
    database = Database(path, patience=0.5)
    try:
        for name in database.study_names():
            store = database.find(name)
            store.changes(0), store.reports(), store.recommendation()
        return database.study_names()
    finally:
        database.close()


# -- several studies, several openers --------------------------------------------------------------------------------


def test_studies_of_one_database_do_not_see_one_another(location):
    database = Database(location)
    first, second = database.find_or_create("first", SPEC), database.find_or_create("zweite Größe", {"seed": 4})
    insert(first, Trial(0, {"x": 0}))
    first.add_report(0, 1.0, 0.5)
    first.recommend({"trial": 0})
    assert (second.spec, second.changes(0), second.reports(), second.recommendation()) == (
        {"seed": 4}, (0, []), {}, None,
    )  # fmt: skip
    assert database.study_names() == ["first", "zweite Größe"]
    assert database.find("third") is None


def test_a_study_found_again_keeps_the_declaration_it_was_created_with(location):
    Database(location).find_or_create("study", SPEC)
    assert Database(location).find_or_create("study", {"seed": 99}).spec == SPEC


def test_openers_that_arrive_together_create_one_study(location):
    stores = []
    _all_at_once(6, lambda k: stores.append(Database(location).find_or_create("study", {"seed": k})))
    assert len({store.spec["seed"] for store in stores}) == 1
    assert Database(location).study_names() == ["study"]


def _all_at_once(n, act):
    """Calls `act(k)` for each k below n from a thread of its own, all at the same time; none may raise."""
    barrier, errors = threading.Barrier(n), []

    def guarded(k):
        try:
            barrier.wait()
            act(k)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(k,)) for k in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_a_forked_child_uses_connections_of_its_own(location):
    # In a process of its own: pytest's may have threads and torch, which do not survive a fork.
    code = """
import os, sys
from bayesopt.record.sql import Database
from bayesopt.record.trial import Trial
store = Database(sys.argv[1]).find_or_create("study", {})
store.transact(lambda t: t.insert(Trial(0, {})))
child = os.fork()
if child == 0:
    store.transact(lambda t: t.insert(Trial(1, {})))
    raise SystemExit(0)  # the interpreter ends as usual: whatever it collects must not hurt the parent
assert os.waitpid(child, 0)[1] == 0
store.transact(lambda t: t.insert(Trial(2, {})))
assert [t.id for t in store.changes(0)[1]] == [0, 1, 2]
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code, str(location)], check=True)


def test_a_child_forked_inside_a_transaction_does_not_end_it(location):
    code = """
import os, sys
from bayesopt.record.sql import Database
from bayesopt.record.trial import Trial
store = Database(sys.argv[1]).find_or_create("study", {})
def forks(transaction):
    transaction.insert(Trial(0, {}))
    child = os.fork()
    if child == 0:
        assert store.changes(0)[1] == []
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    transaction.insert(Trial(1, {}))
store.transact(forks)
assert [t.id for t in store.changes(0)[1]] == [0, 1]
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code, str(location)], check=True)


# -- files that are no study ------------------------------------------------------------------------------------------


def test_random_bytes_are_no_database(tmp_path):
    path = tmp_path / "study.db"
    path.write_bytes(random.Random(0).randbytes(8192))
    with pytest.raises(StorageError, match=r"study\.db: it is not a SQLite file"):
        Database(path)


def test_text_is_no_database(tmp_path):
    path = tmp_path / "study.db"
    path.write_text("space: {lr: [0.1, 0.2]}\n" * 100)
    before = path.read_bytes()
    with pytest.raises(StorageError, match="it is not a SQLite file"):
        Database(path)
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_database(tmp_path):
    path = tmp_path / "study.db"
    path.touch()
    assert Database(path).study_names() == []


def test_a_file_truncated_anywhere_is_refused_or_read_never_misread(file, tmp_path):
    whole = file.read_bytes()
    outcomes = set()
    for size in range(512, len(whole), 512):
        path = tmp_path / f"cut{size}.db"
        path.write_bytes(whole[:size])
        try:
            assert _read_all(path) == ["study"]
            outcomes.add("read")
        except StorageError as error:
            assert str(path) in str(error)
            outcomes.add("refused")
    assert "refused" in outcomes


@pytest.mark.parametrize("seed", range(40))
def test_a_file_with_random_damage_gives_its_trials_or_a_storage_error(file, seed):
    rng = random.Random(seed)
    content = bytearray(file.read_bytes())
    for _ in range(rng.choice([1, 10, 100])):
        content[rng.randrange(len(content))] = rng.randrange(256)
    file.write_bytes(content)
    try:
        _read_all(file)
    except StorageError as error:
        assert "study.db" in str(error) or "damaged" in str(error)


def test_a_database_of_another_program_is_left_alone(tmp_path):
    path = tmp_path / "browser.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
        connection.execute("INSERT INTO bookmarks VALUES ('x')")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"another program \(its tables: bookmarks\).*a file of its own"):
        Database(path)
    assert path.read_bytes() == before


def test_a_newer_schema_is_refused_and_says_what_to_do(location):
    _set_version(location, str(sql.SCHEMA_VERSION + 1))
    with pytest.raises(StorageError, match=r"newer version of priorwise \(schema 5, this one reads up to 4\); upgrade"):
        Database(location)


@pytest.mark.parametrize("version", ["", "one", None])
def test_a_schema_without_a_version_is_refused(location, version):
    _set_version(location, version)
    with pytest.raises(StorageError, match="does not say which version"):
        Database(location)


def test_an_older_schema_is_migrated_step_by_step(location, monkeypatch):
    insert(Database(location).find_or_create("study", SPEC), FULL)
    monkeypatch.setattr(sql, "SCHEMA_VERSION", 6)
    steps = {4: ["CREATE TABLE steps (x INTEGER)"], 5: ["INSERT INTO steps VALUES (3)", "INSERT INTO steps VALUES (4)"]}
    monkeypatch.setattr(sql, "_MIGRATIONS", steps)
    assert Database(location).find("study").changes(0)[1] == [FULL]
    database = Database(location)
    assert database.run(lambda c: list(c.scalars(sa.text("SELECT x FROM steps ORDER BY x"))), write=False) == [3, 4]


def test_a_migration_that_breaks_leaves_the_old_version(location, monkeypatch):
    Database(location)
    monkeypatch.setattr(sql, "SCHEMA_VERSION", 5)
    monkeypatch.setattr(
        sql, "_MIGRATIONS", {4: ["CREATE TABLE half_way (x INTEGER)", "INSERT INTO nowhere VALUES (1)"]}
    )
    with pytest.raises(StorageError, match=r"the database refused .*nowhere"):
        Database(location)
    monkeypatch.undo()
    database = Database(location)
    assert "half_way" not in database.run(lambda c: sa.inspect(c).get_table_names(), write=False)


def _of_the_first_schema(location):
    """Takes a database back to schema version 1, which knew no memories, no meters and no grounds."""

    def back(connection):
        connection.exec_driver_sql("DROP INDEX priorwise_trials_by_state")
        for column in ("memory", "meters", "killed", "grounds"):
            connection.exec_driver_sql(f"ALTER TABLE priorwise_trials DROP COLUMN {column}")
        connection.execute(sql._META.update().values(value="1"))

    database = Database(location)
    database.run(back, write=True)
    database.close()


def _shape(location):
    """What the tables look like: columns in order, and indexes."""

    def look(connection):
        inspector = sa.inspect(connection)
        return {
            table: (
                [(column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(table)],
                sorted((index["name"], tuple(index["column_names"])) for index in inspector.get_indexes(table)),
            )
            for table in sorted(inspector.get_table_names())
        }

    return Database(location).run(look, write=False)


def test_a_migrated_database_has_the_tables_of_a_new_one(location):
    new = _shape(location)
    _of_the_first_schema(location)
    assert _shape(location) == new


def test_trials_of_the_first_schema_have_no_memory_and_new_ones_do(location):
    insert(Database(location).find_or_create("study", SPEC), FULL)
    _of_the_first_schema(location)
    store = Database(location).find("study")
    assert store.changes(0)[1] == [replace(FULL, memory=None, meters={}, killed=False, grounds=None)]
    insert(store, Trial(1, {"x": 1.0}, memory={"k": [0.1]}))
    assert Database(location).find("study").changes(1)[1] == [Trial(1, {"x": 1.0}, memory={"k": [0.1]})]


def test_openers_that_arrive_together_migrate_once(location):
    insert(Database(location).find_or_create("study", SPEC), FULL)
    _of_the_first_schema(location)
    _all_at_once(6, lambda k: insert(Database(location).find("study"), Trial(1 + k, {}, memory={"k": k})))
    trials = Database(location).find("study").changes(0)[1]
    assert [trial.memory for trial in trials] == [None, *({"k": k} for k in range(6))]


def test_pending_trials_are_found_without_reading_the_others(tmp_path):
    # An ask of a study with thousands of long rows would otherwise read them all.
    database = Database(tmp_path / "study.db")
    said = []
    sa.event.listen(database._connected(), "before_cursor_execute", lambda c, k, text, values, *_: said.append(text))
    database.find_or_create("study", SPEC).silent_since(0.0)
    (query,) = (text for text in said if "beat_at" in text)
    plan = database.run(
        lambda c: c.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", (1, "pending", 0.0)).all(), write=False
    )
    assert [step.detail for step in plan] == [
        "SEARCH priorwise_trials USING INDEX priorwise_trials_by_state (study_id=? AND state=?)"
    ]


def _set_version(location, version):
    database = Database(location)
    change = sql._META.update().values(value=version) if version is not None else sql._META.delete()
    database.run(lambda connection: connection.execute(change), write=True)
    database.close()


@pytest.mark.parametrize("damage", ["{", "[1", "7", '"text"'])
@pytest.mark.parametrize("column", ["params", "outcomes", "sd", "memory"])
def test_a_damaged_trial_is_named(location, column, damage):
    database = Database(location)
    store = database.find_or_create("study", SPEC)
    insert(store, Trial(0, {"x": 1.0}), Trial(1, {"x": 2.0}))
    change = sql._TRIALS.update().where(sql._TRIALS.c.id == 1).values({column: damage})
    database.run(lambda connection: connection.execute(change), write=True)
    with pytest.raises(StorageError, match="trial 1 is damaged in the database; restore it from a backup"):
        store.changes(0)


def test_a_damaged_declaration_is_named(location):
    database = Database(location)
    database.find_or_create("study", SPEC)
    database.run(lambda c: c.execute(sql._STUDIES.update().values(spec='{"seed": ')), write=True)
    with pytest.raises(StorageError, match="the declaration of the study 'study' is damaged"):
        database.find("study")


# -- places that cannot be written ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("{tmp}", "is a folder; name a file in it, such as .*study.db"),
        ("{tmp}/missing/study.db", "the folder .*missing does not exist; create it first"),
        ("/proc/study.db", "it cannot be opened: check the path and its permissions"),
        ("/dev/null", "(not a SQLite file|cannot be opened|cannot be written|disk I/O error|locking protocol)"),
        ("", "is a folder; name a file in it"),
        (":memory:", "names no file; storage=None keeps a study in memory"),
        ("sqlite://", "names no file; storage=None keeps a study in memory"),
        ("sqlite:///:memory:", "names no file; storage=None keeps a study in memory"),
        ("a\0b.db", "a path holds no NUL character"),
        ("mysql://localhost/x", "mysql is not supported; use a SQLite file or a postgresql:// URL"),
        ("postgresql:/host/x", "the folder postgresql:/host does not exist"),
        ("postgresql://user:geheim@host:port/x", "is no file path and no database URL"),
        ("://", "is no file path and no database URL"),
    ],
)
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux's /proc")
def test_a_place_that_cannot_hold_a_study_is_refused(location, message, tmp_path):
    with pytest.raises(StorageError, match=message) as caught:
        Database(location.format(tmp=tmp_path), patience=0.2)
    assert "geheim" not in str(caught.value)


def test_an_unreachable_server_is_refused_at_once_and_without_the_password():
    pytest.importorskip("psycopg")
    # Port 1 of this host: nothing listens there.
    with pytest.raises(StorageError, match=r"postgresql\+psycopg://me:\*\*\*@127\.0\.0\.1:1/x: the server could not"):
        Database("postgresql://me:geheim@127.0.0.1:1/x", patience=0.2)


def test_a_missing_postgresql_database_is_refused_with_the_servers_words(postgresql_url):
    missing = sa.make_url(postgresql_url).set(database="no_such_database")
    with pytest.raises(StorageError, match='database "no_such_database" does not exist'):
        Database(missing.render_as_string(hide_password=False), patience=0.2)


def test_a_database_that_turned_read_only_says_so_and_keeps_what_it_has(file):
    store = Database(file, patience=0.2).find("study")
    sa.event.listen(
        store._database._connected(), "checkout", lambda connection, *_: connection.execute("PRAGMA query_only = 1")
    )
    with pytest.raises(StorageError, match="it cannot be written: check the permissions"):
        insert(store, Trial(40, {}))
    assert len(store.changes(0)[1]) == 40


def test_a_read_only_postgresql_session_gets_the_servers_words(postgresql_url):
    database = Database(postgresql_url, patience=5)
    store = database.find_or_create("study", SPEC)
    with database._connected().connect() as connection:
        name = sa.make_url(postgresql_url).database
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        connection.commit()
    database.close()
    with pytest.raises(StorageError, match=r"the database refused .*read-only transaction"):
        insert(store, FULL)


def _limit_pages(store, extra):
    """Makes the file full after so many more pages: what a full disk looks like to SQLite."""
    engine = store._database._connected()

    @sa.event.listens_for(engine, "checkout")
    def limit(connection, *_):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + extra}")

    return lambda: sa.event.remove(engine, "checkout", limit)


def test_a_full_disk_is_said_and_the_call_can_be_repeated(file):
    store = Database(file, patience=0.2).find("study")
    big = Trial(40, {"text": "x" * 100_000})
    free_space = _limit_pages(store, extra=1)
    with pytest.raises(StorageError, match="the disk is full: free some space and repeat the call"):
        insert(store, big)
    assert len(store.changes(0)[1]) == 40
    free_space()
    store._database.close()
    insert(store, big)
    assert store.changes(0)[1][-1] == big


def test_a_file_locked_by_another_program_is_waited_for_then_named(file, monkeypatch):
    monkeypatch.setattr(sql, "_BUSY_MILLISECONDS", 50)
    store = Database(file, patience=0.1).find("study")
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StorageError, match=r"another process held it for over 0\.1 s"):
        insert(store, Trial(40, {}))
    other.execute("COMMIT")
    insert(store, Trial(40, {}))
    other.close()


def test_a_deleted_file_does_not_pass_for_an_empty_study(file):
    store = Database(file, patience=0.2).find("study")
    store.close()
    os.remove(file)
    with pytest.raises(StorageError, match=r"study\.db"):
        store.changes(0)


def test_the_database_holds_json_and_numbers_only(file):
    connection = sqlite3.connect(file)
    kinds = {
        kind
        for column in ("params", "outcomes", "sd", "cost", "asked_at", "state", "lost")
        for (kind,) in connection.execute(f"SELECT DISTINCT typeof({column}) FROM priorwise_trials")
    }
    assert kinds <= {"text", "real", "integer", "null"}
    for text in connection.execute("SELECT params, outcomes, sd FROM priorwise_trials").fetchone():
        json.loads(text, parse_constant=pytest.fail)
    connection.close()
