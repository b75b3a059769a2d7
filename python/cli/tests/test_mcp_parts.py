"""The parts of `asya mcp`: settings, event streams, the bar, keys."""

import hashlib
import json

import pytest

from asya_cli.bar import line
from asya_cli.commands.mcp import outcome
from asya_cli.config import DEFAULT_URL, read_config
from asya_cli.sse import Event, read_events
from asya_core.wire.errors import RemoteFault
from tests import forked


@pytest.fixture
def home(tmp_path):
    (tmp_path / "user" / "asya").mkdir(parents=True)
    return {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "user")}


@pytest.mark.parametrize("text", ["http://h:1", "http://h:1/", "http://h:1/mcp", "http://h:1/mcp/"])
def test_address_is_taken_with_slash_and_mcp(home, tmp_path, text):
    config = read_config({**home, "ASYA_CLI_MCP_URL": text}, directory=tmp_path)
    assert (config.url.value, config.url.origin) == ("http://h:1", "environment")


def test_flag_wins_over_environment_over_project_over_user_over_default(home, tmp_path):
    assert read_config(home, directory=tmp_path).url.value == DEFAULT_URL
    user = tmp_path / "user" / "asya" / "config.yaml"
    user.write_text("mcp: {url: http://user}\n")
    assert read_config(home, directory=tmp_path).url.origin == str(user)
    (tmp_path / "asya.yaml").write_text("mcp: {url: http://project}\nrun: {}\n")
    assert read_config(home, directory=tmp_path).url.value == "http://project"
    assert read_config({**home, "ASYA_CLI_MCP_URL": "http://env"}, directory=tmp_path).url.value == "http://env"
    assert read_config({**home, "ASYA_CLI_MCP_URL": "http://env"}, url="http://flag", directory=tmp_path).url.origin == "flag"


@pytest.mark.parametrize("text", ["h:1", "ftp://h", "http://", "http://user:pw@h", "http://h?x=1"])
def test_what_is_no_address_is_refused_without_repeating_it(home, tmp_path, text):
    with pytest.raises(RemoteFault) as caught:
        read_config({**home, "ASYA_CLI_MCP_URL": text}, directory=tmp_path)
    assert caught.value.code == "bad_config"
    assert "pw" not in str(caught.value)


def test_unknown_variable_names_the_nearest(home, tmp_path):
    with pytest.raises(RemoteFault, match="did you mean ASYA_CLI_MCP_URL"):
        read_config({**home, "ASYA_CLI_MCP_URI": "x"}, directory=tmp_path)


def test_unknown_key_of_a_file_names_the_nearest(home, tmp_path):
    (tmp_path / "asya.yaml").write_text("mcp: {ulr: http://x}\n")
    with pytest.raises(RemoteFault, match="did you mean url"):
        read_config(home, directory=tmp_path)


def test_token_comes_from_its_file_before_the_environment(home, tmp_path):
    file = tmp_path / "token"
    file.write_text("from-file\n")
    config = read_config({**home, "ASYA_CLI_TOKEN": "from-env"}, token_file=str(file), directory=tmp_path)
    assert config.token is not None
    assert (config.token.value, config.token.origin) == ("from-file", "flag")


def test_events_are_read_and_a_cut_one_is_dropped():
    lines = [": hello", "event: progress", "id: 2", 'data: {"a":', "data: 1}", "", "data: x", "", "event: final", "id: 3", "data: cut"]
    assert list(read_events(lines)) == [Event(kind="progress", id="2", data='{"a":\n1}'), Event(kind="message", id="2", data="x")]


@pytest.mark.parametrize(
    ("percent", "status", "text"),
    [
        (100, "succeeded", "Processing: 100% |████████████████| , succeeded"),
        (0, "failed", "Processing:   0% |                | , failed"),
        (50, "running", "Processing:  50% |████████        | , running"),
    ],
)
def test_bar_has_sixteen_cells(percent, status, text):
    assert line(percent, status) == text


def test_new_key_prints_the_token_once_and_its_hash_beside(tmp_path):
    words = ["key", "new", "anna", "--role", "call", "--role", "read", "--tool", "judge"]
    done = forked.run_text(words, cwd=tmp_path, env={"PATH": "/usr/bin", "HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    token = done.stdout.strip()
    assert len(token) == len("asya_") + 43
    digest = hashlib.sha256(token.encode()).hexdigest()
    assert done.stderr.splitlines()[0] == f"anna: {{sha256: [{digest}], roles: [call, read], tools: [judge]}}"
    assert token not in done.stderr


def test_config_show_tells_origins_and_no_key(tmp_path):
    variables = {"PATH": "/usr/bin", "HOME": str(tmp_path), "ASYA_CLI_TOKEN": "secret-key"}
    done = forked.run_text(["config", "show", "--output", "json"], cwd=tmp_path, env=variables)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["mcp.url"] == {"value": DEFAULT_URL, "origin": "default"}
    assert shown["mcp.token"] == {"value": "set", "origin": "environment"}
    assert "secret-key" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("view", "printed"),
    [
        ({"status": "succeeded", "result": {"a": 1}}, {"result": {"a": 1}}),
        ({"status": "succeeded"}, {"result": None}),
        ({"status": "succeeded", "result_ref": {"key": "results/x.json"}}, {"result_ref": {"key": "results/x.json"}}),
        (
            {
                "status": "failed",
                "error": {"code": "handler_error", "type": "ValueError", "mro": []},
                "result_ref": {"key": "errors/x.json"},
            },
            {"error": {"code": "handler_error", "type": "ValueError"}},
        ),
        ({"status": "cancelled"}, {"error": {"code": "cancelled"}}),
    ],
    ids=["result", "nothing", "large", "failed", "cancelled"],
)
def test_call_prints_the_result_or_the_error_never_the_record_of_a_failure(view, printed):
    assert outcome(view) == printed
