"""`asya dlq` where people use it: real actors fail, a handler is corrected, and what failed goes on from where it stopped.

One project is kept up per broker, by ``asya run --serve --gateway``; each story has envelopes of its own.
"""

import json
import os
import re
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from asya_cli.broker_options import place_of
from asya_cli.run.session import served_namespace
from tests import forked

PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "replay-failed-envelopes.md"
WAIT = 60
HANDLERS = """
import pathlib

RUNS = pathlib.Path(__file__).with_name("runs.txt")
REPAIRED = pathlib.Path(__file__).with_name("repaired")

def first(payload):
    with RUNS.open("a") as file:
        file.write(f"{payload['story']} {payload['n']}\\n")
    return {**payload, "half": payload["n"] * 2}

def second(payload):
    if REPAIRED.exists():
        payload["other"] = 1
    return {**payload, "whole": payload["half"] + payload["other"]}
"""
CORRECTED = HANDLERS.replace("if REPAIRED.exists()", "if True")
TOOLS = "tools: {two: {description: Two actors, route: [first, second]}}\n"


@dataclass
class Served:
    """The project that is up, and what its process says."""

    folder: Path
    process: forked.Fork
    broker: tuple[str, ...]
    url: str = ""
    said: list[str] = field(default_factory=list)
    news: threading.Condition = field(default_factory=threading.Condition)

    def listen(self) -> None:
        assert self.process.stderr is not None
        for text in self.process.stderr:
            with self.news:
                self.said.append(text)
                self.news.notify_all()

    def heard(self, pattern: str, since: int = 0) -> "re.Match[str]":
        def found() -> "re.Match[str] | None":
            return next((match for text in self.said[since:] if (match := re.search(pattern, text))), None)

        with self.news:
            assert self.news.wait_for(found, WAIT), "".join(self.said)[-3000:]
            match = found()
        assert match is not None
        return match

    def asya(self, *arguments: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        done = forked.run_text(arguments, cwd=self.folder, env=self.environment())
        assert done.returncode == code, done.stderr
        return done

    def command(self, *arguments: str) -> list[str]:
        return ["-m", "asya_cli", *arguments]

    def environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ASYA_")}
        return clean | {"NO_COLOR": "1", "ASYA_CLI_MCP_URL": self.url}

    def where(self, way: str = "gateway") -> list[str]:
        """Options of one story: the gateway or past it, and nothing that failed before now."""
        since = ["--since", datetime.now(UTC).isoformat()]
        return since if way == "gateway" else [*since, *self.directly()]

    def directly(self) -> list[str]:
        """Options that go past the gateway."""
        return ["--project", str(self.folder), *self.broker]

    def fail(self, story: str, count: int) -> set[str]:
        """So many failed envelopes of a story; gives their ids."""

        def call(number: int) -> str:
            body = json.dumps({"story": story, "n": number}).encode()
            request = urllib.request.Request(
                f"{self.url}/tools/two", body, {"Content-Type": "application/json", "Prefer": "wait=50"}, method="POST"
            )
            with urllib.request.urlopen(request, timeout=WAIT) as answer:
                view = json.load(answer)
            assert (view["status"], view["error"]["type"]) == ("failed", "KeyError"), view
            return str(view["id"])

        with ThreadPoolExecutor(16) as callers:
            return set(callers.map(call, range(count)))

    def runs(self, story: str) -> int:
        """How often the first actor ran in a story."""
        return sum(line.startswith(f"{story} ") for line in (self.folder / "runs.txt").read_text().splitlines())

    def repair(self) -> None:
        """What the second actor needs is there now."""
        (self.folder / "repaired").touch()

    def edit(self) -> None:
        """Correct the handler; returns when it has been loaded."""
        before = len(self.said)
        (self.folder / "handlers.py").write_text(CORRECTED)
        for name in ("first", "second"):
            self.heard(rf"\[\+\] {name} is ready", before)

    def ended(self, *ids: str) -> list[dict[str, Any]]:
        """The views of envelopes once all are final; few requests, as a caller has 50 a second."""
        while True:
            views = {view["id"]: view for view in self.get("/envelopes?limit=200")["envelopes"]}
            running = [each for each in ids if "finished_at" not in views[each]]
            if not running:
                return [views[each] for each in ids]
            with urllib.request.urlopen(f"{self.url}/envelopes/{running[-1]}/stream", timeout=WAIT) as answer:
                answer.read()  # ends with the envelope

    def finished(self, *ids: str) -> list[dict[str, Any]]:
        """What is stored of envelopes that succeeded, also of those that the gateway did not send."""
        for each in ids:
            self.heard(rf"{each} succeeded")
        return [json.loads((self.folder / ".asya" / "run" / "results" / f"{each}.json").read_text()) for each in ids]

    def get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=WAIT) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


def rabbitmq_url() -> str:
    url = os.environ.get("ASYA_TEST_RABBITMQ_URL")
    if not url:
        if os.environ.get("CI"):
            pytest.fail("ASYA_TEST_RABBITMQ_URL is not set; run ci/services.sh start")
        pytest.skip("ASYA_TEST_RABBITMQ_URL is not set")
    return url


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from serve(tmp_path_factory.mktemp("embedded"))


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from serve(tmp_path_factory.mktemp("rabbitmq"), "--transport", "rabbitmq", "--broker-url", rabbitmq_url())


def serve(folder: Path, *broker: str) -> Iterator[Served]:
    for name in ("actors", "tools"):
        (folder / name).mkdir()
    (folder / "handlers.py").write_text(HANDLERS)
    (folder / "tools" / "tools.yaml").write_text(TOOLS)
    for name in ("first", "second"):
        (folder / "actors" / f"{name}.yaml").write_text(f"handler: handlers.{name}\n")
    up = Served(folder, None, broker)  # type: ignore[arg-type]
    words = up.command("run", str(folder), "--serve", "--gateway", "--port", "0", *broker)
    up.process = forked.start(words, env=up.environment(), imports=("asya_gateway",))
    listener = threading.Thread(target=up.listen)
    listener.start()
    up.url = up.heard(r"Gateway at (\S+),")[1]
    yield up
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(WAIT) == 0
    listener.join(WAIT)
    assert up.process.stderr is not None
    up.process.stderr.close()


KINDS = ["embedded", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)]


@pytest.fixture
def broken(request: pytest.FixtureRequest, kind: str) -> Served:
    """The second actor fails."""
    served: Served = request.getfixturevalue(kind)
    assert (served.folder / "handlers.py").read_text() == HANDLERS
    (served.folder / "repaired").unlink(missing_ok=True)
    return served


@pytest.mark.behaviour("dlq:once")
@pytest.mark.timeout(180)
@pytest.mark.parametrize(("kind", "way"), [("embedded", "gateway"), pytest.param("rabbitmq", "storage", marks=pytest.mark.rabbitmq)])
def test_killed_replay_is_finished_by_the_next_and_none_goes_twice(broken: Served, way: str) -> None:
    where = broken.where(way)
    failed = broken.fail(f"killed-{way}", 20)
    broken.repair()
    process = forked.start(
        broken.command("dlq", "replay", "--rate", "50/s", "--yes", *where),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=broken.environment(),
    )
    assert process.stdout is not None
    first = [process.stdout.readline() for _ in range(5)]
    process.kill()
    rest = process.communicate()[0].splitlines()
    before = {line.split()[0]: line.split()[2] for line in [*first, *rest]}
    done = json.loads(broken.asya("dlq", "replay", "--rate", "1000/s", "--yes", "--output", "json", *where).stdout)
    after = {each["id"]: each["new_id"] for each in (*done["replayed"], *done["replayed_before"])}
    assert len(before) >= 5
    assert set(before) | set(after) == failed
    assert all(after.get(old, new) == new for old, new in before.items())
    assert len(broken.finished(*(before | after).values())) == 20
    if way == "storage":
        assert len({*before.values(), *after.values()}) == 20


@pytest.mark.parametrize("kind", ["embedded"])
def test_interrupt_says_how_many_are_left(broken: Served) -> None:
    where = broken.where()
    failed = broken.fail("interrupt", 4)
    process = forked.start(broken.command("dlq", "replay", "--rate", "1/m", *where), stdout=subprocess.PIPE, env=broken.environment())
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=WAIT)
    assert process.returncode == 130
    assert "[-] Interrupted: 1 of 4 were replayed, 3 are left" in err
    assert len(failed) == 4


@pytest.mark.parametrize("kind", ["embedded"])
def test_show_has_the_traceback(broken: Served) -> None:
    (failed,) = broken.fail("show", 1)
    for where in ([], broken.directly()):
        shown = broken.asya("dlq", "show", failed, *where).stdout
        assert shown.startswith("{\n")
        assert shown.rstrip().endswith("KeyError: 'other'")
    record = json.loads(broken.asya("envelope", "show", failed, "--traceback", "--output", "json").stdout)
    assert record["payload"]["half"] == 0
    assert json.loads(broken.asya("envelope", "show", failed).stdout)["status"] == "failed"


@pytest.mark.parametrize("kind", ["embedded"])
def test_one_envelope_is_replayed_by_its_id_and_only_once(broken: Served) -> None:
    (failed,) = broken.fail("one", 1)
    new = broken.asya("envelope", "replay", failed, "--from", "start").stdout.split()[2]
    assert broken.ended(new)[0]["replay_of"] == failed
    assert broken.runs("one") == 2
    refused = broken.asya("envelope", "replay", failed, code=2).stderr
    assert f"was replayed as {new}" in refused
    assert f"{failed} was replayed before, as {new}" in broken.asya("dlq", "replay", failed).stderr
    assert broken.asya("dlq", "replay", failed, "--again").stdout.split()[2] not in (failed, new)


@pytest.mark.parametrize("kind", ["embedded"])
def test_envelopes_are_listed_followed_and_given_up(broken: Served) -> None:
    (failed,) = broken.fail("listed", 1)
    told = json.loads(broken.asya("envelope", "list", "--status", "failed", "--limit", "1", "--output", "json").stdout)
    assert ([each["id"] for each in told["envelopes"]], "result" in told["envelopes"][0]) == ([failed], False)
    assert failed in broken.asya("envelope", "list", "--text", "KeyError", "--since", "1h").stdout
    lines = broken.asya("envelope", "watch", failed, code=1).stdout.splitlines()
    assert lines[-1].split()[1:3] == ["final", "failed"]
    events = [json.loads(line) for line in broken.asya("envelope", "watch", failed, "--output", "json", code=1).stdout.splitlines()]
    assert (len(events), events[-1]["event"]) == (len(lines), "final")
    assert "had failed before" in broken.asya("envelope", "cancel", failed, code=1).stderr


@pytest.mark.parametrize("kind", KINDS)
def test_doctor_finds_the_served_project_well(broken: Served) -> None:
    told = json.loads(broken.asya("doctor", *broken.directly(), "--output", "json").stdout)
    assert told["ok"]
    states = {each["check"]: each["state"] for each in told["checks"]}
    for name in ("python", "settings", "values", "broker", "queues", "storage", "storage writable", "gateway", "tools", "mcp"):
        assert states[name] == "good", told
    assert states["clock of gateway"] == "good"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", KINDS[1:])
def test_dead_letter_queue_is_emptied_by_a_replay_and_the_rest_stays(broken: Served) -> None:
    place = place_of(
        {
            "project": str(broken.folder),
            "namespace": None,
            "queue_file": None,
            "transport": broken.broker[1] if broken.broker else None,
            "broker_url": broken.broker[3] if broken.broker else None,
            "management_url": None,
        }
    )
    assert place is not None
    namespace = served_namespace(broken.folder.resolve())
    from asya_cli.dlq.mailbox import Mailbox

    mailbox = Mailbox(lambda: place.broker.transport(namespace))
    error = {"code": "result_not_stored", "type": None, "mro": [], "message": "m", "traceback": None, "actor": "second", "attempt": 1}
    for number in range(3):
        envelope = {
            "id": f"D{number}",
            "route": {"actors": ["first", "second"], "current": 1},
            "payload": {"half": 1, "other": 1},
            "error": error,
        }
        mailbox.send(f"asya-{namespace}_dlq", json.dumps(envelope).encode())
    mailbox.send(f"asya-{namespace}_dlq", b"no envelope")
    mailbox.close()
    where = ["--source", "queue", *broken.directly()]
    listed = json.loads(broken.asya("dlq", "list", "--output", "json", *where).stdout)["failures"]
    assert [each["id"] for each in listed][1:] == ["D2", "D1", "D0"]
    assert broken.asya("dlq", "show", "D1", *where).stdout
    done = json.loads(broken.asya("dlq", "replay", "--code", "result_not_stored", "--output", "json", *where).stdout)
    assert [each["id"] for each in done["replayed"]] == ["D0", "D1", "D2"]
    assert len(broken.finished(*(each["new_id"] for each in done["replayed"]))) == 3
    (left,) = json.loads(broken.asya("dlq", "list", "--output", "json", *where).stdout)["failures"]
    assert left["id"].startswith("unreadable-")
    assert "was not replayed: The message was no envelope" in broken.asya("dlq", "replay", *where, code=1).stderr


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["rabbitmq"])
@pytest.mark.rabbitmq
def test_commands_of_the_page_run(broken: Served) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    (failed,) = broken.fail("page", 1)
    broken.repair()
    namespace = served_namespace(broken.folder.resolve())
    for line in "".join(blocks).splitlines():
        words = (
            line.removeprefix("asya ")
            .replace("ID", failed)
            .replace("s3://results/shop", f"file://{broken.folder}/.asya/run")
            .replace("shop", namespace)
        )
        assert "[-]" not in broken.asya(*words.replace('"$BROKER_URL"', broken.broker[3]).split()).stderr, line


# The last story corrects the handler for good.


@pytest.mark.behaviour("dlq:replay")
@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", KINDS)
def test_hundred_failed_envelopes_succeed_from_the_failed_actor_on(broken: Served) -> None:
    where = broken.where()
    failed = broken.fail("hundred", 100)
    told = json.loads(broken.asya("dlq", "replay", "--error", "KeyError", "--dry-run", "--output", "json", *where).stdout)
    assert (set(told["ids"]), told["groups"]) == (failed, [{"error": "KeyError", "actor": "second", "count": 100}])

    broken.edit()
    done = broken.asya("dlq", "replay", "--error", "KeyError", "--rate", "20/s", "--yes", *where)
    pairs = [line.split(" → ") for line in done.stdout.splitlines()]
    assert {old for old, _ in pairs} == failed
    views = broken.ended(*(new for _, new in pairs))
    assert {view["status"] for view in views} == {"succeeded"}
    assert sorted(view["result"]["whole"] for view in views) == [2 * n + 1 for n in range(100)]
    assert broken.runs("hundred") == 100  # the first actor did not run again
    assert json.loads(broken.asya("dlq", "list", "--output", "json", *where).stdout) == {"failures": [], "more": False}
    assert "Nothing to replay" in broken.asya("dlq", "replay", "--error", "KeyError", "--yes", *where).stderr
