"""Stores of both kinds for the same tests; PostgreSQL is that of `ci/services.sh start postgres`."""

import asyncio
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psycopg
import pytest

from asya_gateway.store.base import Store
from asya_gateway.store.postgres import PostgresStore
from asya_gateway.store.sqlite import SqliteStore


@contextmanager
def _database() -> Iterator[str]:
    server = os.environ.get("ASYA_TEST_POSTGRES_URL")
    if not server:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL does not run: ci/services.sh start postgres")
        pytest.skip("PostgreSQL does not run: ci/services.sh start postgres, then eval $(ci/services.sh env)")
    name = f"gateway_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    yield server.rsplit("/", 1)[0] + f"/{name}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(scope="session")
def new_database() -> Callable[[], AbstractContextManager[str]]:
    """Makes a new, empty database; gives its address, and drops it at the end."""
    return _database


@pytest.fixture
def database_url() -> Iterator[str]:
    """Address of a new, empty database of one's own."""
    with _database() as url:
        yield url


@pytest.fixture(scope="session")
def migrated_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file with the address of a database that has the schema; its rows are whoever's used it last."""
    file = tmp_path_factory.mktemp("postgres") / "url"
    with _database() as url:
        file.write_text(url)
        asyncio.run(_migrate(file))
        yield file


async def _migrate(file: Path) -> None:
    store = PostgresStore(file, migrating=True)
    await store.open()
    await store.close()


@pytest.fixture(params=["sqlite", "postgres"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Makes stores over the same rows, none at first; call it again for what another process would see, later or beside the first."""
    if request.param == "sqlite":
        return lambda: SqliteStore(tmp_path / "gateway.db")
    file: Path = request.getfixturevalue("migrated_url")
    with psycopg.connect(file.read_text(), autocommit=True) as connection:
        connection.execute(b"TRUNCATE envelopes, events")
        connection.execute(b"UPDATE counters SET value = 0")
    return lambda: PostgresStore(file)
