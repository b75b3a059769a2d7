"""The run-time role needs no DDL: a role that may only read and write rows is enough, and can change no table."""

import asyncio
import secrets
from pathlib import Path

import psycopg
import pytest

from asya_core.wire.errors import Unavailable
from asya_gateway.status import Status
from asya_gateway.store.envelopes import Finished, NewEnvelope, create, finish, forget
from asya_gateway.store.postgres import PostgresStore
from asya_gateway.store.queries import migrations

NOW = 1_700_000_000_000


def new(envelope_id: str) -> NewEnvelope:
    return NewEnvelope(
        id=envelope_id, tool="t", flow=None, owner="o", route=["a"], message="{}", now=NOW, lease_until=NOW, deadline_at=NOW + 1_000
    )


async def migrated(url_file: Path) -> None:
    store = PostgresStore(url_file, migrating=True)
    await store.open()
    await store.close()


def test_role_without_ddl_serves_everything(database_url: str, tmp_path: Path) -> None:
    owner, served = tmp_path / "owner", tmp_path / "served"
    owner.write_text(database_url)
    asyncio.run(migrated(owner))
    role, password = f"gateway_{secrets.token_hex(4)}", secrets.token_hex(8)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'".encode())
        connection.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}".encode())
        try:
            served.write_text(database_url.replace(database_url.split("//")[1].split("@")[0], f"{role}:{password}"))

            async def work() -> None:
                store = PostgresStore(served)
                await store.open()
                try:
                    await store.write(lambda tx: create(tx, new("e1")))
                    assert await store.write(lambda tx: finish(tx, Finished(id="e1", status=Status.CANCELLED), NOW)) is not None
                    assert await store.write(lambda tx: forget(tx, final_before=NOW + 1, failed_before=NOW, limit=10)) == 1
                finally:
                    await store.close()

            asyncio.run(work())
            with psycopg.connect(served.read_text()) as restricted, pytest.raises(psycopg.errors.InsufficientPrivilege):
                restricted.execute(b"ALTER TABLE envelopes ADD COLUMN x TEXT")
        finally:
            connection.execute(f"DROP OWNED BY {role}".encode())
            connection.execute(f"DROP ROLE {role}".encode())


def test_wrong_password_is_unavailable_and_is_not_repeated(database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "url"
    password = database_url.split(":")[2].split("@")[0]
    file.write_text(database_url.replace(password, "canary-password"))

    async def work() -> str:
        store = PostgresStore(file)
        await store.open()  # a database that is away is no reason not to start
        try:
            with pytest.raises(Unavailable) as caught:
                await store.read(lambda tx: tx.one("ping"))
            return str(caught.value)
        finally:
            await store.close()

    assert "canary-password" not in asyncio.run(work())


def test_migration_twice_is_the_same_as_once(database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text(database_url)

    async def both() -> None:
        await asyncio.gather(migrated(file), migrated(file))

    asyncio.run(both())
    with psycopg.connect(database_url) as connection:
        assert connection.execute(b"SELECT COUNT(*) FROM schema_version").fetchall() == [(len(migrations("postgres")),)]
