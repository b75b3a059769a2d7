"""Who connects: credentials from values, files and a Secret's folder; a password that is rotated under a running transport."""

import asyncio
import os
from pathlib import Path

import pytest
from pika import spec
from python.core.tests.rabbitmq.brokers import Server, connected, opened, told
from python.core.tests.rabbitmq.fake_broker import FakeBroker

from asya_core.transports.rabbitmq import RabbitSettings
from asya_core.transports.rabbitmq.settings import Credentials
from asya_core.wire.errors import Unavailable


def secret(folder: Path, username: str = "u", password: str = "p") -> Path:
    """A folder as Kubernetes mounts a Secret: files are links through `..data`, which a change moves at once."""
    folder.mkdir(exist_ok=True)
    generation = folder / f"..{len(list(folder.iterdir()))}"
    generation.mkdir()
    (generation / "username").write_text(username)
    (generation / "password").write_text(password + "\n")
    (folder / "..new").symlink_to(generation.name)
    os.replace(folder / "..new", folder / "..data")
    for name in ("username", "password"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    return folder


def test_folder_gives_user_and_password_and_is_read_each_time(tmp_path: Path) -> None:
    folder = secret(tmp_path / "secret", "first", "one")
    settings = RabbitSettings.from_address("broker", credentials_dir=str(folder))
    assert settings.credentials() == Credentials(username="first", password="one")
    secret(folder, "second", "two")
    assert settings.credentials() == Credentials(username="second", password="two")


def test_plain_folder_without_a_volumes_links_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "username").write_text(" u\n")
    (tmp_path / "password").write_text("ä b\n")
    assert RabbitSettings.from_address("broker", credentials_dir=str(tmp_path)).credentials() == Credentials(username="u", password="ä b")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"username": "mine"}, ("mine", "p")),
        ({"password": "mine"}, ("u", "mine")),
        ({"password_file": "other"}, ("u", "from a file")),
        ({"password": "mine", "password_file": "other"}, ("u", "from a file")),
        ({"username_file": "other", "password": "mine"}, ("from a file", "mine")),
    ],
)
def test_each_part_given_otherwise_wins_over_the_folder(tmp_path: Path, more: dict[str, str], expected: tuple[str, str]) -> None:
    (tmp_path / "other").write_text("from a file")
    given = {key: str(tmp_path / value) if key.endswith("_file") else value for key, value in more.items()}
    found = RabbitSettings.from_address("broker", credentials_dir=str(secret(tmp_path / "secret")), **given).credentials()
    assert (found.username, found.password) == expected


def test_without_anything_it_is_the_guest_of_a_fresh_broker() -> None:
    assert RabbitSettings.from_address("broker").credentials() == Credentials(username="guest", password="guest")


@pytest.mark.parametrize(
    ("content", "words"), [(None, "No such file"), (b"\n", "is empty"), (b"\xff", "not UTF-8")], ids=["absent", "empty", "not text"]
)
def test_unreadable_file_is_named_and_may_come_later(tmp_path: Path, content: bytes | None, words: str) -> None:
    (tmp_path / "username").write_text("u")
    if content is not None:
        (tmp_path / "password").write_bytes(content)
    with pytest.raises(Unavailable, match=words) as caught:
        RabbitSettings.from_address("broker", credentials_dir=str(tmp_path)).credentials()
    assert str(tmp_path / "password") in str(caught.value)


@pytest.mark.rabbitmq
@pytest.mark.behaviour("rabbitmq:rotated-password")
def test_rotated_password_is_used_after_the_old_one_was_refused_without_a_restart(server: Server, user: str, tmp_path: Path) -> None:
    async def run() -> None:
        server.set_user(user, "first")
        folder = secret(tmp_path / "secret", user, "first")
        settings = RabbitSettings.from_address(f"{server.host}:{server.port}", credentials_dir=str(folder))
        async with opened(settings) as peer:
            await connected(peer)
            server.set_user(user, "second")
            since = len(peer.events)
            peer.transport._consume_link.fail("cut by a test")
            peer.transport._publish_link.fail("cut by a test")
            reason = await told(peer, "refused the user name or password", since=since)
            assert "first" not in reason
            since = len(peer.events)
            secret(folder, user, "second")
            await connected(peer, since)

    asyncio.run(run())


@pytest.mark.rabbitmq
def test_deleted_user_is_replaced_by_the_one_in_the_folder(server: Server, user: str, tmp_path: Path) -> None:
    async def run() -> None:
        server.set_user(user, "x")
        folder = secret(tmp_path / "secret", user, "x")
        settings = RabbitSettings.from_address(f"{server.host}:{server.port}", credentials_dir=str(folder))
        async with opened(settings) as peer:
            await connected(peer)
            server.set_user(user + "b", "y")
            try:
                secret(folder, user + "b", "y")
                since = len(peer.events)
                server.api("DELETE", f"users/{user}")
                await connected(peer, since)
            finally:
                server.api("DELETE", f"users/{user}b")

    asyncio.run(run())


def test_folder_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    async def run() -> None:
        async with FakeBroker().running() as broker:
            settings = RabbitSettings.from_address(f"127.0.0.1:{broker.port}", credentials_dir=str(tmp_path / "secret"))
            async with opened(settings) as peer:
                assert str(tmp_path / "secret" / "username") in await told(peer, "cannot be read")
                assert broker.connections == []
                secret(tmp_path / "secret")
                await connected(peer)
                assert {each.credentials for each in broker.connections} == {b"\x00u\x00p"}

    asyncio.run(run())


def test_each_connect_reads_the_folder_again(tmp_path: Path) -> None:
    async def run() -> None:
        def refuse_first(conversation: object, channel: int, method: spec.Connection.StartOk) -> None:
            secret(tmp_path / "secret", "u", "second")
            broker.answers.clear()
            conversation.send(0, spec.Connection.Close(403, "ACCESS_REFUSED - Login was refused", 0, 0))  # type: ignore[attr-defined]

        async with FakeBroker({spec.Connection.StartOk: refuse_first}).running() as broker:
            folder = secret(tmp_path / "secret", "u", "first")
            settings = RabbitSettings.from_address(f"127.0.0.1:{broker.port}", credentials_dir=str(folder))
            async with opened(settings) as peer:
                await told(peer, "refused the user name or password")
                await connected(peer)
                assert broker.connections[-1].credentials == b"\x00u\x00second"

    asyncio.run(run())
