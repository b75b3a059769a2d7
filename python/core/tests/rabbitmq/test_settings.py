"""How to reach a RabbitMQ: URLs, addresses, credentials from files."""

from pathlib import Path

import pytest

from asya_core.transports.rabbitmq.settings import RabbitSettings
from asya_core.wire.errors import RemoteFault, Unavailable


def test_url_gives_every_part() -> None:
    settings = RabbitSettings.from_url("amqps://u%40x:p%2Fw@broker:5999/team%2Fa", namespace="shop")
    assert (settings.host, settings.port, settings.vhost, settings.tls) == ("broker", 5999, "team/a", True)
    assert (settings.username, settings.password, settings.namespace) == ("u@x", "p/w", "shop")


@pytest.mark.parametrize(("url", "port"), [("amqp://broker", 5672), ("amqps://broker/", 5671), ("amqp://broker/%2F", 5672)])
def test_absent_parts_have_their_defaults(url: str, port: int) -> None:
    settings = RabbitSettings.from_url(url)
    assert (settings.port, settings.vhost, settings.credentials().username) == (port, "/", "guest")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://broker", "begins with 'http'"),
        ("broker:5672", "begins with"),
        ("amqp://", "names no host"),
        ("amqp://broker:99999", "cannot be read"),
        ("amqp://broker:0", "port is 0"),
        ("amqp://broker/?heartbeat=5", "options after the vhost"),
        ("amqp://[::1", "cannot be read"),
    ],
)
def test_bad_url_is_refused_without_repeating_it(url: str, words: str) -> None:
    with pytest.raises(RemoteFault, match=words):
        RabbitSettings.from_url(url)


def test_refusal_holds_no_password() -> None:
    with pytest.raises(RemoteFault) as caught:
        RabbitSettings.from_url("amqp://u:secret-word@broker:99999")
    assert "secret-word" not in str(caught.value)


def test_password_is_not_in_the_representation() -> None:
    assert "secret-word" not in repr(RabbitSettings.from_url("amqp://u:secret-word@broker"))


def test_credential_files_are_read_each_time(tmp_path: Path) -> None:
    (tmp_path / "username").write_text("u\n")
    (tmp_path / "password").write_text("first\n")
    settings = RabbitSettings.from_address("broker", username_file=str(tmp_path / "username"), password_file=str(tmp_path / "password"))
    assert (settings.credentials().username, settings.credentials().password) == ("u", "first")
    (tmp_path / "password").write_text("second")
    assert settings.credentials().password == "second"


def test_missing_credential_file_may_come_later(tmp_path: Path) -> None:
    settings = RabbitSettings.from_address("broker:5672", password_file=str(tmp_path / "absent"))
    with pytest.raises(Unavailable, match="absent"):
        settings.credentials()
