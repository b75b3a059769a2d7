from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from asya_core.ops.settings import (
    Listen,
    choice,
    duration,
    integer,
    json_object,
    listen,
    markdown_table,
    path,
    print_settings,
    read_settings,
    setting,
    settings_table,
    size,
    text,
    url,
)
from asya_core.wire.errors import RemoteFault


# ruff: noqa: RUF009 - a row is frozen, one per field
@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    actor: str = setting("ASYA_ACTOR", text("a name"), "Name.", required=True)
    timeout_seconds: float = setting("ASYA_TIMEOUT", duration(0.1, 60, "at most 60s"), "Limit.", default="5s")
    most_bytes: int = setting("ASYA_MOST", size(1, 10**9), "Bytes.", default="16Mi")
    prefetch: int | None = setting("ASYA_PREFETCH", integer(1, 100, word="auto"), "How many.", default="auto")
    where: Path | None = setting("ASYA_WHERE", path(), "A file.")
    retry: dict[str, Any] = setting("ASYA_RETRY", json_object(), "Policy.", default="{}")
    listen: Listen | None = setting("ASYA_LISTEN", listen(), "Address.", default=":9464")
    mode: str = setting("ASYA_MODE", choice("one", "two", "three"), "Mode.", default="one")
    gateway: str | None = setting("ASYA_GATEWAY", url("http", "https"), "Gateway.")
    password: str | None = setting("ASYA_PASSWORD", text(), "Secret.", secret=True)


def read(**environment: str) -> Sample:
    return read_settings(Sample, {"ASYA_ACTOR": "a", **environment})


def refusal(**environment: str) -> str:
    with pytest.raises(RemoteFault) as caught:
        read(**environment)
    assert caught.value.code == "bad_setting"
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_absent_variables_take_their_defaults() -> None:
    settings = read()

    assert settings == Sample(
        actor="a",
        timeout_seconds=5.0,
        most_bytes=16 * 1024 * 1024,
        prefetch=None,
        where=None,
        retry={},
        listen=Listen("", 9464),
        mode="one",
        gateway=None,
        password=None,
    )


def test_an_empty_value_counts_as_absent() -> None:
    assert read(ASYA_TIMEOUT="", ASYA_WHERE="").timeout_seconds == 5.0


@pytest.mark.parametrize(
    ("given", "seconds"), [("5s", 5.0), ("250ms", 0.25), ("1m", 60.0), ("0.5s", 0.5), ("1s500ms", 1.5), ("0.01h", 36.0)]
)
def test_durations_are_read_as_seconds(given: str, seconds: float) -> None:
    assert read(ASYA_TIMEOUT=given).timeout_seconds == pytest.approx(seconds)


@pytest.mark.parametrize("given", ["5", "s", "-5s", "5 s", "5S", "61s", "0s", "1d", "nan", "inf", "5s,", "٥s", "1m\n"])
def test_a_duration_that_is_none_is_refused_with_examples(given: str) -> None:
    assert "ASYA_TIMEOUT is" in refusal(ASYA_TIMEOUT=given)
    assert "a duration such as 5m, 330s or 250ms" in refusal(ASYA_TIMEOUT=given)


@pytest.mark.parametrize(("given", "count"), [("1", 1), ("16Mi", 16 * 2**20), ("200k", 200_000), ("1MiB", 2**20), ("1KiB", 1024)])
def test_sizes_are_read_as_bytes(given: str, count: int) -> None:
    assert read(ASYA_MOST=given).most_bytes == count


@pytest.mark.parametrize("given", ["", "x", "1.5Mi", "-1", "0", "2G", "1KB1", "1e3"])
def test_a_size_that_is_none_is_refused(given: str) -> None:
    if given:
        assert "a size in bytes such as 16Mi" in refusal(ASYA_MOST=given)


@pytest.mark.parametrize("given", ["0", "101", "-1", "1.0", "AUTO", "²", "1_0"])
def test_an_integer_out_of_range_is_refused_with_the_range(given: str) -> None:
    assert "a whole number from 1 to 100, or auto" in refusal(ASYA_PREFETCH=given)


def test_an_integer_is_read() -> None:
    assert read(ASYA_PREFETCH="100").prefetch == 100


@pytest.mark.parametrize(
    ("given", "value"),
    [("127.0.0.1:0", Listen("127.0.0.1", 0)), (":80", Listen("", 80)), ("[::1]:80", Listen("::1", 80)), ("off", None)],
)
def test_addresses_to_listen_on_are_read(given: str, value: Listen | None) -> None:
    assert read(ASYA_LISTEN=given).listen == value


@pytest.mark.parametrize("given", ["80", "host", "host:", "host:65536", "host:http"])
def test_an_address_without_port_is_refused(given: str) -> None:
    assert "host:port, :port or off" in refusal(ASYA_LISTEN=given)


@pytest.mark.parametrize("given", ["ftp://h", "http://", "http://user:pw@h", "http://h?x=1", "h:80"])
def test_an_address_of_a_server_that_is_none_is_refused(given: str) -> None:
    assert "expected an address such as http://host:8081" in refusal(ASYA_GATEWAY=given)


def test_the_slash_at_the_end_of_an_address_is_dropped() -> None:
    assert read(ASYA_GATEWAY="http://h:8081/base/").gateway == "http://h:8081/base"


@pytest.mark.parametrize("given", ["[]", "{", "null", '"x"', "[" * 100_000])
def test_json_that_is_no_object_is_refused(given: str) -> None:
    assert "expected a JSON object" in refusal(ASYA_RETRY=given)


def test_a_choice_names_all_choices() -> None:
    assert refusal(ASYA_MODE="four") == "ASYA_MODE is 'four'; expected one, two or three; correct the value"


def test_a_required_setting_that_is_absent_is_refused_with_its_meaning() -> None:
    with pytest.raises(RemoteFault, match=r"^.*ASYA_ACTOR is not set; expected a name"):
        read_settings(Sample, {})


def test_an_unknown_variable_is_refused_with_the_nearest_name() -> None:
    assert refusal(ASYA_TIMOUT="5s") == "ASYA_TIMOUT is no setting of this process; did you mean ASYA_TIMEOUT?"


def test_an_unknown_variable_like_no_other_is_refused_with_where_to_look() -> None:
    assert "--print-settings" in refusal(ASYA_QQQQQQQQQQQQ="x")


@pytest.mark.parametrize(
    "name",
    [
        "ASYA_HANDLER_OCR",
        "ASYA_GATEWAY_SERVICE_HOST",
        "ASYA_GATEWAY_SERVICE_PORT_HTTP",
        "ASYA_GATEWAY_PORT_8080_TCP_ADDR",
        "PATH",
        "asya_x",
    ],
)
def test_variables_of_others_are_passed_over(name: str) -> None:
    assert read(**{name: "x"}) == read()


def test_a_secret_is_neither_printed_nor_quoted() -> None:
    environment = {"ASYA_ACTOR": "a", "ASYA_PASSWORD": "canary"}

    assert "canary" not in print_settings(read_settings(Sample, environment), environment)


def test_printed_settings_say_which_are_defaults() -> None:
    environment = {"ASYA_ACTOR": "a", "ASYA_TIMEOUT": "7s"}

    printed = print_settings(read_settings(Sample, environment), environment).splitlines()

    assert printed[:3] == ["ASYA_ACTOR=a", "ASYA_TIMEOUT=7s", "ASYA_MOST=16Mi  # default"]
    assert len(printed) == len(settings_table(Sample))


def test_the_table_has_a_row_per_setting() -> None:
    table = markdown_table(Sample)

    assert "| `ASYA_TIMEOUT` | duration | `5s` | Limit. |" in table
    assert "| `ASYA_ACTOR` | text | required | Name. |" in table
    assert len(table.splitlines()) == 2 + len(settings_table(Sample))
