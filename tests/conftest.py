"""What every test starts from: one seed, one dtype, one device; and a database of its own if it asks."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: how long an example takes says more about the machine than about the code.
settings.register_profile("priorwise", deadline=None)
settings.load_profile("priorwise")

NUMERIC = tuple(Path(__file__).parent / room for room in ("gp", "inference"))
"""Tests in these folders compute with torch even where their file does not import it by name."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="where the tests' tensors are: cpu, cuda, cuda:1 ...")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "postgresql_url" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.postgresql)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


@pytest.fixture(autouse=True)
def _double_seeded(request: pytest.FixtureRequest) -> Iterator[None]:
    """Gives a test that computes with torch a fixed seed, double precision and the chosen device.

    Whether a test does so is read off its folder and its file, never off what happened to be imported before
    it: a test of the library's numpy side sees torch's defaults, as a user does, whatever ran earlier.
    """
    if not (hasattr(request.module, "torch") or set(NUMERIC) & set(request.path.parents)):
        yield
        return
    import torch

    before = torch.get_default_dtype()
    with torch.random.fork_rng(), torch.device(request.config.getoption("--device")):
        torch.set_default_dtype(torch.float64)
        torch.manual_seed(0)
        yield
    torch.set_default_dtype(before)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As in the loop: on a busy machine the threads of small matrix products mostly wait for one another."""
    from gp.threads import single_threaded

    with single_threaded():
        yield


@pytest.fixture
def postgresql_url() -> Iterator[str]:
    """The SQLAlchemy URL of an empty database that goes away with the test."""
    server = os.environ.get("BAYESOPT_TEST_POSTGRESQL")
    if not server:
        missing = "BAYESOPT_TEST_POSTGRESQL names no server; run under scripts/with_postgresql.sh"
        if os.environ.get("BAYESOPT_REQUIRE_POSTGRESQL") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    import sqlalchemy

    url = sqlalchemy.make_url(server)
    database = f"bayesopt_{secrets.token_hex(8)}"
    engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f'CREATE DATABASE "{database}"'))
    yield url.set(database=database).render_as_string(hide_password=False)
    with engine.connect() as connection:  # FORCE: a test may have left a killed worker's connection behind
        connection.execute(sqlalchemy.text(f'DROP DATABASE "{database}" WITH (FORCE)'))
