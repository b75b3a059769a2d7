"""`asya dlq` and `asya envelope` given something wrong, or somebody away: one line and a hint each; and a real S3 as the storage."""

import json
import os
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from asya_cli.dlq.mailbox import Mailbox
from asya_cli.run.broker import EmbeddedBroker
from asya_core.transports.base import Closed, Transport
from asya_core.wire.errors import Unavailable
from tests import forked

Done = Any
NAMESPACE = "shop"
RECORD = {
    "id": "E1",
    "route": {"actors": ["first", "second"], "current": 1},
    "payload": {"n": 1},
    "error": {"code": "handler_error", "type": "KeyError", "mro": ["KeyError", "LookupError"], "message": "n", "actor": "second"},
}


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "NO_COLOR": "1", "ASYA_CLI_MCP_URL": "http://127.0.0.1:9"} | more


@pytest.fixture
def asya(tmp_path: Path) -> Callable[..., Done]:
    def run(*words: str, imports: tuple[str, ...] = (), **more: str) -> Done:
        return forked.run_text(words, cwd=tmp_path, env=environment(tmp_path, **more), imports=imports)

    return run


@pytest.fixture
def direct(tmp_path: Path) -> list[str]:
    """Options of a storage with one record and of a broker."""
    (tmp_path / "objects" / "errors").mkdir(parents=True)
    (tmp_path / "objects" / "errors" / "E1.json").write_text(json.dumps(RECORD))
    EmbeddedBroker(path=tmp_path / "queues.db").declare(NAMESPACE, ["first", "second"])
    return [
        *("--storage", f"file://{tmp_path}/objects", "--queue-file", str(tmp_path / "queues.db")),
        *("--namespace", NAMESPACE),
    ]


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["dlq", "list"], 3, "Gateway http://127.0.0.1:9 unreachable"),
        (["dlq", "show", "E1"], 3, "unreachable"),
        (["envelope", "show", "E1"], 3, "unreachable"),
        (["envelope", "replay", "E1"], 3, "unreachable"),
        (["dlq", "replay", "--rate", "fast"], 2, "--rate 'fast' is no rate"),
        (["dlq", "list", "--since", "yesterday"], 2, "--since 'yesterday' is no time"),
        (["dlq", "list", "--limit", "0"], 2, "0 is not in the range"),
        (["dlq", "replay", "no id"], 2, "'no id' is no envelope's id"),
        (["dlq", "list", "--source", "disk"], 2, "'disk' is not one of"),
        (["dlq", "list", "--source", "storage"], 2, "--source storage needs --storage or --project"),
        (["dlq", "list", "--source", "queue"], 2, "--source queue needs a broker"),
        (["dlq", "list", "--source", "gateway", "--storage", "file:///x"], 2, "--storage has no meaning with --source gateway"),
        (["dlq", "list", "--storage", "file:///x", "--tool", "t"], 2, "--tool is known to a gateway only"),
        (["dlq", "list", "--storage", "ftp://x"], 2, "has no scheme that is known"),
        (["dlq", "list", "--storage", "file:///nowhere"], 4, "Folder /nowhere does not exist"),
        (["dlq", "list", "--project", "nowhere"], 2, "--project nowhere is no folder"),
        (["dlq", "replay", "--storage", "file:///x"], 2, "Replaying from a storage needs a broker"),
        (["dlq", "replay", "--storage", "file:///x", "--namespace", "shop"], 2, "--namespace needs a broker"),
        (["dlq", "replay", "--storage", "file:///x", "--broker-url", "amqp://h"], 2, "A broker needs --namespace"),
        (["dlq", "replay", "--storage", "file:///x", "--broker-url", "http://h", "--namespace", "s"], 2, "URL begins with 'http'"),
        (["dlq", "replay", "--storage", "file:///x", "--queue-file", "no.db", "--namespace", "s"], 2, "There is no queue file no.db"),
        (["dlq", "replay", "--storage", "file:///x", "--queue-file", "no.db", "--namespace", "S"], 2, "Namespace 'S' is not legal"),
        (["dlq", "replay", "--source", "queue", "--broker-url", "amqp://127.0.0.1:9", "--namespace", "s"], 3, "127.0.0.1:9"),
    ],
)
def test_mistake_is_two_lines_and_a_code(asya: Callable[..., Done], words: list[str], code: int, problem: str) -> None:
    done = asya(*words)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (code, "", 2), done.stderr
    assert problem in done.stderr


def test_more_than_ten_want_a_yes(asya: Callable[..., Done], direct: list[str], tmp_path: Path) -> None:
    for number in range(2, 12):
        (tmp_path / "objects" / "errors" / f"E{number}.json").write_text(json.dumps(RECORD | {"id": f"E{number}"}))
    done = asya("dlq", "replay", *direct)
    assert done.returncode == 2
    assert "[-] 11 envelopes would be replayed" in done.stderr
    assert not (tmp_path / "objects" / "replays").exists()


def test_missing_queue_is_told_and_the_replay_can_be_run_again(asya: Callable[..., Done], direct: list[str], tmp_path: Path) -> None:
    refused = asya("dlq", "replay", "--to", "third", *direct)
    assert refused.returncode == 1
    assert f"E1 was not replayed: Queue asya-{NAMESPACE}-third does not exist" in refused.stderr
    (claim,) = (tmp_path / "objects" / "replays" / "id=E1").iterdir()
    promised = json.loads(claim.read_text())
    claim.write_text(json.dumps(promised | {"at": "2026-01-01T00:00:00+00:00"}))  # as if it had been left a while ago
    done = asya("dlq", "replay", *direct)
    assert done.stdout == f"E1 → {promised['id']}\n"


def test_end_actor_is_no_place_to_begin(asya: Callable[..., Done], direct: list[str]) -> None:
    done = asya("dlq", "replay", "--to", "happy-end", *direct)
    assert (done.returncode, done.stderr.splitlines()[-2]) == (2, "[-] actor is 'happy-end'; expected an actor's name")


def test_broker_that_is_away_is_unavailable_and_sends_nothing() -> None:
    class Away:
        """A transport that never gets a link."""

        max_message_bytes = 1

        def open(self, sink: Any) -> None:
            self.sink = sink

        def close(self) -> None:
            self.sink(Closed())

    def make() -> Transport:
        return Away()  # type: ignore[return-value]

    with pytest.raises(Unavailable, match="Broker cannot be used"):
        Mailbox(make, seconds=0.05)


# ----------------------------------------------------------------------------------------------------------------------- S3


@pytest.fixture
def bucket() -> tuple[str, dict[str, str]]:
    endpoint = os.environ.get("ASYA_TEST_S3_ENDPOINT")
    if not endpoint:
        if os.environ.get("CI"):
            pytest.fail("ASYA_TEST_S3_ENDPOINT is not set; run ci/services.sh start")
        pytest.skip("ASYA_TEST_S3_ENDPOINT is not set")
    import boto3

    keys = {"AWS_ACCESS_KEY_ID": os.environ["ASYA_TEST_S3_ACCESS_KEY"], "AWS_SECRET_ACCESS_KEY": os.environ["ASYA_TEST_S3_SECRET_KEY"]}
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
    )
    name = f"dlq-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    client.put_object(Bucket=name, Key="crew/errors/E1.json", Body=json.dumps(RECORD).encode())
    client.close()
    return name, keys


def test_records_of_a_bucket_are_replayed_once(asya: Callable[..., Done], direct: list[str], bucket: tuple[str, dict[str, str]]) -> None:
    name, keys = bucket
    asya = partial(asya, imports=("asya_core.objects.s3",), **keys)
    where = ["--storage", f"s3://{name}/crew", "--s3-endpoint", os.environ["ASYA_TEST_S3_ENDPOINT"], "--s3-region", "us-east-1"]
    where += ["--s3-path-style"]
    broker = direct[2:]
    listed = json.loads(asya("dlq", "list", "--error", "LookupError", "--output", "json", *where).stdout)["failures"]
    assert [each["id"] for each in listed] == ["E1"]
    first = asya("dlq", "replay", *where, *broker)
    assert first.stdout.startswith("E1 → "), first.stderr
    assert "Nothing to replay" in asya("dlq", "replay", *where, *broker).stderr
    again = asya("dlq", "replay", "E1", *where, *broker)
    assert again.stderr.splitlines()[-2] == f"[.] E1 was replayed before, as {first.stdout.split()[2]}"
    assert json.loads(asya("doctor", "--output", "json", *where, ASYA_CLI_MCP_URL="").stdout)["ok"]
