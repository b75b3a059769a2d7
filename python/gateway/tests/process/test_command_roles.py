"""What the `asya` command may do with keys of each role: real gateway, real command, one line for what is refused."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import forked

Gateway = Any
ROLES = {"caller": ["call"], "reader": ["call", "read"], "operator": ["call", "read", "operate"]}
ERROR = {"code": "handler_error", "type": "KeyError", "mro": ["KeyError"], "message": "x", "actor": "second", "attempt": 1}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, gateway_of: Callable[..., Gateway]) -> Iterator[Gateway]:
    """A gateway with a key of each role, named like its holder, and a storage."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "objects" / "errors").mkdir(parents=True)
    keys = {name: {"sha256": [hashlib.sha256(name.encode()).hexdigest()], "roles": roles} for name, roles in ROLES.items()}
    (folder / "keys.yaml").write_text(json.dumps(keys))
    settings = {"ASYA_GATEWAY_AUTH": "apiKey", "ASYA_GATEWAY_KEYS_FILE": str(folder / "keys.yaml")}
    made = gateway_of(folder / "state", ASYA_GATEWAY_RESULTS_URL=f"file://{folder}/objects", **settings)
    made.headers = {"Authorization": "Bearer operator"}
    made.start()
    made.objects = folder / "objects"
    yield made
    assert made.stop() == 0


def failed(gateway: Gateway) -> str:
    """One envelope that failed in its second actor, with its record."""
    envelope_id: str = gateway.envelope("two-hops")
    record = {"id": envelope_id, "route": {"actors": ["text-processor", "second"], "current": 1}, "payload": {}, "error": ERROR}
    (gateway.objects / "errors" / f"{envelope_id}.json").write_text(json.dumps(record))
    gateway.final(envelope_id, "failed", error=ERROR)
    return envelope_id


def asya(gateway: Gateway, key: str, *words: str) -> Any:
    variables = {"PATH": os.environ["PATH"], "HOME": str(gateway.objects), "NO_COLOR": "1", "ASYA_CLI_MCP_URL": gateway.public}
    return forked.run_text(words, cwd=Path(gateway.objects), env=variables | {"ASYA_CLI_TOKEN": key})


def test_reader_lists_and_is_refused_record_and_replay(guarded: Gateway) -> None:
    envelope_id = failed(guarded)
    listed = json.loads(asya(guarded, "reader", "dlq", "list", "--output", "json").stdout)["failures"]
    assert envelope_id in {each["id"] for each in listed}
    for words in (["dlq", "show", envelope_id], ["envelope", "replay", envelope_id], ["envelope", "show", envelope_id, "--traceback"]):
        done = asya(guarded, "reader", *words)
        assert (done.returncode, done.stdout) == (4, "")
        assert done.stderr.splitlines() == ["[-] This needs role operate", "    hint: ask who runs the gateway"]
    done = asya(guarded, "reader", "dlq", "replay", envelope_id)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.splitlines()[-1].startswith("    hint: 0 of 1 were replayed, 1 are left: run it again for those; ")
    assert "replayed_as" not in guarded.view(envelope_id)


def test_caller_sees_nothing_of_others(guarded: Gateway) -> None:
    envelope_id = failed(guarded)
    assert json.loads(asya(guarded, "caller", "dlq", "list", "--output", "json").stdout)["failures"] == []
    assert asya(guarded, "caller", "dlq", "replay", envelope_id).returncode == 4


def test_operator_replays_once_what_was_another_callers(guarded: Gateway) -> None:
    envelope_id = failed(guarded)
    done = asya(guarded, "operator", "dlq", "replay", envelope_id)
    assert done.returncode == 0, done.stderr
    new_id = done.stdout.split()[2]
    assert guarded.message(new_id, "second")["route"]["current"] == 1
    assert f"was replayed before, as {new_id}" in asya(guarded, "operator", "dlq", "replay", envelope_id).stderr


def test_fan_out_parent_is_no_failure_of_its_own(guarded: Gateway) -> None:
    parent = guarded.envelope("two-hops")
    guarded.final(f"{parent}.0.0", "failed", parent_id=parent, fanout=[1], error=ERROR)
    assert guarded.view(parent)["error"]["code"] == "children_failed"
    listed = {each["id"] for each in json.loads(asya(guarded, "operator", "dlq", "list", "--output", "json").stdout)["failures"]}
    assert (parent in listed, f"{parent}.0.0" in listed) == (False, True)


def test_wrong_key_is_refused_and_told_by_doctor(guarded: Gateway) -> None:
    done = asya(guarded, "nobody", "dlq", "list")
    assert (done.returncode, len(done.stderr.splitlines())) == (4, 2)
    checks = {each["check"]: each for each in json.loads(asya(guarded, "nobody", "doctor", "--output", "json").stdout)["checks"]}
    assert checks["gateway"]["state"] == "bad"
    assert "ASYA_CLI_TOKEN" in checks["gateway"]["hint"]
    assert json.loads(asya(guarded, "caller", "doctor", "--output", "json").stdout)["ok"]
