"""Settings, warnings about unknown ones, the state file and its probes."""

from pathlib import Path

import pytest

import asya_runtime


def test_defaults() -> None:
    settings = asya_runtime.Settings({"ASYA_HANDLER": "a.b"})
    assert (settings.handler, settings.mode, settings.concurrency, settings.supervise, settings.parent_fd) == (
        "a.b",
        "payload",
        1,
        True,
        None,
    )
    assert (settings.socket, settings.state) == ("/var/run/asya/runtime.sock", "/var/run/asya/runtime.state")


def test_empty_variable_means_the_default() -> None:
    assert asya_runtime.Settings({"ASYA_MAX_ITEMS": "", "ASYA_PARENT_FD": "7"}).max_items == 10_000


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ASYA_CONCURRENCY", "65", "from 1 to 64"),
        ("ASYA_CONCURRENCY", "0", "from 1 to 64"),
        ("ASYA_CONCURRENCY", "-1", "from 1 to 64"),
        ("ASYA_CONCURRENCY", "1.0", "from 1 to 64"),
        ("ASYA_CONCURRENCY", "٣", "from 1 to 64"),
        ("ASYA_CONCURRENCY", "1" * 5000, "from 1 to 64"),
        ("ASYA_MAX_FRAME_BYTES", "100", "from 65536 to 1073741824"),
        ("ASYA_MAX_ITEMS", "many", "from 1 to 1000000"),
        ("ASYA_HANDLER_MODE", "Payload", "payload or envelope"),
        ("ASYA_SUPERVISE", "yes", "1 or 0"),
        ("ASYA_SOCKET", "/tmp/" + "x" * 103, "over 107 bytes"),
    ],
)
def test_illegal_setting_is_refused_with_what_is_legal(name: str, value: str, words: str) -> None:
    with pytest.raises(asya_runtime.Refusal, match=name) as caught:
        asya_runtime.Settings({name: value})
    assert words in str(caught.value)


def test_unknown_settings_are_told_and_those_of_others_are_not() -> None:
    others = ["ASYA_HANDLER_TEXT", "ASYA_FLOW_ACTOR", "ASYA_GW_SERVICE_PORT_HTTP", "ASYA_GW_PORT", "ASYA_GW_PORT_80_TCP_ADDR", "PATH"]
    assert asya_runtime.unknown_settings(["ASYA_HANDLER", *others]) == []
    far, near = asya_runtime.unknown_settings(["ASYA_SOKET", "ASYA_QQQQQQQQQQQQQ"])
    assert near.endswith("did you mean ASYA_SOCKET?")
    assert far.endswith("has no effect")


@pytest.fixture
def state(tmp_path: Path) -> tuple[str, memoryview]:
    path = str(tmp_path / "runtime.state")
    return path, asya_runtime.open_state(path)


def test_probes_of_a_loaded_runtime_say_yes(state: tuple[str, "memoryview[float]"]) -> None:
    path, doubles = state
    doubles[asya_runtime.TICK] = 100.0
    doubles[asya_runtime.LOADED] = 1.0
    doubles[asya_runtime.LIMITS + 3] = 90.0
    assert (asya_runtime.probe("ready", path, 110.0), asya_runtime.probe("live", path, 110.0)) == ("", "")


def test_probes_say_why_not(state: tuple[str, "memoryview[float]"], tmp_path: Path) -> None:
    path, doubles = state
    assert "not loaded yet" in asya_runtime.probe("ready", path, 0.0)
    doubles[asya_runtime.DRAINING] = 1.0
    assert asya_runtime.probe("ready", path, 0.0) == "draining"
    assert asya_runtime.probe("live", path, 31.0) == "the supervisor has not ticked for 31 s"
    doubles[asya_runtime.TICK] = 100.0
    doubles[asya_runtime.LIMITS + 63] = 60.0
    assert asya_runtime.probe("live", path, 100.0) == "a call is 40 s past its limit"
    assert "no runtime has made" in asya_runtime.probe("live", str(tmp_path / "other"), 0.0)
    for size in (8, 9):
        (tmp_path / "short").write_bytes(bytes(size))
        assert asya_runtime.probe("live", str(tmp_path / "short"), 0.0) != ""


def test_probe_of_the_command_line_reads_the_settings_socket(
    state: tuple[str, "memoryview[float]"], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, doubles = state
    monkeypatch.setenv("ASYA_SOCKET", path.replace(".state", ".sock"))
    assert asya_runtime.main(["--probe", "ready"]) == 1
    doubles[asya_runtime.LOADED] = 1.0
    assert asya_runtime.main(["--probe", "ready"]) == 0
