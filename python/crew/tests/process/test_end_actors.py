"""Results and failures of a real actor, stored by real end actors."""

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from python.sidecar.tests.process.conftest import Actor, Mesh

Record = Callable[[str], dict[str, Any]]
Crew = Callable[..., Actor]


def envelope(payload: Any, *actors: str, envelope_id: str = "7", **more: Any) -> dict[str, Any]:
    return {"id": envelope_id, "route": {"actors": list(actors), "current": 0}, "payload": payload, **more}


def settled(actor: Actor, **keys: Any) -> dict[str, Any]:
    return actor.sidecar.event("delivery", **keys)


def test_a_result_is_stored_under_its_id(mesh: Mesh, crew: Crew, record: Record) -> None:
    mesh.actor("a", "sample.greet")
    crew("happy-end")

    mesh.send("a", envelope({"name": "x"}, "a", headers={"trace": "1"}, extra=[1.5]))

    assert record("results/7.json") == {
        "id": "7",
        "route": {"actors": ["a"], "current": 1},
        "payload": {"name": "x", "greeting": "hello x"},
        "headers": {"trace": "1", "asya-hops": 1},
        "extra": [1.5],
    }


def test_an_exception_is_stored_with_its_traceback(mesh: Mesh, crew: Crew, record: Record) -> None:
    mesh.actor("a", "sample.fail")
    crew("error-end")

    mesh.send("a", envelope(5, "a", "b"))

    stored = record("errors/7.json")
    assert (stored["id"], stored["payload"], stored["route"]) == ("7", 5, {"actors": ["a", "b"], "current": 0})
    assert (stored["error"]["code"], stored["error"]["type"], stored["error"]["actor"]) == ("handler_error", "ValueError", "a")
    assert "in fail" in stored["error"]["traceback"]


@pytest.mark.behaviour("crew:one-object-per-id")
def test_the_same_envelope_twice_is_one_object(mesh: Mesh, crew: Crew, record: Record, results: Path) -> None:
    happy = crew("happy-end")
    first = envelope({"n": 1}, "a", envelope_id="one")
    second = {**first, "payload": {"n": 2}}

    mesh.send("happy-end", first)
    record("results/one.json")
    mesh.send("happy-end", second)
    mesh.send("happy-end", first)
    mesh.send("happy-end", envelope(0, "a", envelope_id="last"))
    settled(happy, envelope_id="last")

    assert [path.relative_to(results).as_posix() for path in sorted(results.rglob("*.json"))] == ["results/last.json", "results/one.json"]
    assert record("results/one.json") == first
    assert [each["outcome"] for each in happy.sidecar.events("delivery")] == ["ok"] * 4


@pytest.mark.behaviour("crew:outage")
def test_a_storage_that_is_away_loses_nothing(mesh: Mesh, crew: Crew, record: Record, results: Path) -> None:
    happy = crew("happy-end").ready()
    away = results.with_name("away")
    results.rename(away)

    mesh.send("happy-end", envelope(1, "a"))
    assert settled(happy, envelope_id="7", attempt=1)["outcome"] == "retry"
    away.rename(results)

    assert record("results/7.json")["payload"] == 1
    assert settled(happy, envelope_id="7", outcome="ok")["attempt"] >= 2


def test_a_killed_handler_loses_nothing_and_leaves_whole_records(mesh: Mesh, crew: Crew, record: Record, results: Path) -> None:
    happy = crew("happy-end", {"ASYA_SUPERVISE": "0"}).ready()
    big = "x" * 3_000_000
    for number in range(5):
        mesh.send("happy-end", envelope(big, "a", envelope_id=f"id{number}"))
    happy.runtime.signal(9)
    happy.runtime.exit_code()
    happy.start_runtime()

    for number in range(5):
        assert record(f"results/id{number}.json")["payload"] == big
    assert len(list(results.rglob("*.json"))) == 5


def test_calls_run_side_by_side_where_the_runtime_allows_them(mesh: Mesh, crew: Crew, record: Record) -> None:
    happy = crew("happy-end", {"ASYA_CONCURRENCY": "8"})
    for number in range(40):
        mesh.send("happy-end", envelope(number, "a", envelope_id=f"id{number}"))

    assert [record(f"results/id{number}.json")["payload"] for number in range(40)] == list(range(40))
    assert happy.sidecar.event("runtime ready")["concurrency"] == 8


def test_an_infinite_number_is_stored_as_a_word(mesh: Mesh, crew: Crew, record: Record) -> None:
    happy = crew("happy-end")

    mesh.send("happy-end", b'{"id":"7","route":{"actors":["a"],"current":1},"payload":[1e400,-1e400,1.0]}')

    assert record("results/7.json")["payload"] == ["Infinity", "-Infinity", 1.0]
    assert settled(happy, envelope_id="7")["outcome"] == "ok"


def test_an_unreadable_message_is_stored_as_an_error_record(mesh: Mesh, crew: Crew, record: Record) -> None:
    mesh.actor("a", "sample.identity")
    crew("error-end")
    body = b"{nonsense \xff"

    mesh.send("a", body)

    stored = record(f"errors/unreadable-{hashlib.sha256(body).hexdigest()[:32]}.json")
    assert (stored["error"]["code"], stored["payload"]["bytes"]) == ("bad_envelope", len(body))


def test_the_end_actor_answers_with_the_reference(mesh: Mesh, crew: Crew, results: Path, gateway: Any) -> None:
    crew("happy-end", ASYA_GATEWAY_URL=gateway.url)
    big = "x" * 1_100_000

    mesh.send("happy-end", envelope(big, "a"))

    report = gateway.final()
    body = (results / "results/7.json").read_bytes()
    assert report["result_ref"] == {"key": "results/7.json", "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    assert json.loads(body)["payload"] == big


@pytest.mark.behaviour("gateway:final-until-recorded")
def test_a_gateway_that_is_away_gets_the_final_status_once_it_is_back(mesh: Mesh, crew: Crew, record: Record, gateway: Any) -> None:
    gateway.status = 503
    error_end = crew("error-end", ASYA_GATEWAY_URL=gateway.url)

    mesh.send("error-end", envelope(1, "a", error={"code": "timeout", "message": "m", "traceback": "secret", "actor": "a", "attempt": 2}))
    assert settled(error_end, envelope_id="7", attempt=1)["outcome"] == "retry"
    assert record("errors/7.json")["error"]["traceback"] == "secret"
    gateway.status = 200

    assert settled(error_end, envelope_id="7", outcome="ok")
    report = gateway.final()
    assert (report["status"], report["error"]["code"], report["actor"], report["attempt"]) == ("failed", "timeout", "a", 2)
    assert report["result_ref"]["key"] == "errors/7.json"
    assert "secret" not in json.dumps(report)


def test_a_report_that_the_gateway_refuses_for_good_is_not_repeated(mesh: Mesh, crew: Crew, gateway: Any) -> None:
    gateway.status = 422
    happy = crew("happy-end", ASYA_GATEWAY_URL=gateway.url)

    mesh.send("happy-end", envelope(1, "a"))

    assert settled(happy, envelope_id="7")["outcome"] == "ok"
    assert happy.sidecar.event("final report refused")["envelope_id"] == "7"


REFUSALS = {
    "absent": ({"ASYA_CREW_STORAGE_URL": ""}, "ASYA_CREW_STORAGE_URL is not set; expected s3://bucket/prefix or file:///folder"),
    "scheme": ({"ASYA_CREW_STORAGE_URL": "ftp://x"}, "ASYA_CREW_STORAGE_URL is 'ftp://x'; expected s3://bucket/prefix or file:///folder"),
    "folder": ({"ASYA_CREW_STORAGE_URL": "file:///no/such"}, "ASYA_CREW_STORAGE_URL is file:///no/such, which is no folder here; mount"),
    "spelling": ({"ASYA_CREW_S3_PATHSTYLE": "true"}, "did you mean ASYA_CREW_S3_PATH_STYLE?"),
    "word": ({"ASYA_CREW_S3_PATH_STYLE": "yes"}, "ASYA_CREW_S3_PATH_STYLE is 'yes'; expected true or false"),
}


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("actor", ["happy-end", "error-end"])
def test_a_bad_setting_ends_the_process_with_one_line_and_code_78(mesh: Mesh, crew: Crew, name: str, actor: str) -> None:
    settings, sentence = REFUSALS[name]

    started = crew(actor, settings)

    assert started.runtime.exit_code() == 78
    assert len(started.runtime.lines) == 1
    assert sentence in started.runtime.lines[0]


def test_the_handlers_need_neither_boto3_nor_msgspec_for_a_folder(mesh: Mesh, results: Path) -> None:
    script = (
        "import sys, asya_crew.happy_end as each; each.store; print({'boto3', 'botocore', 'msgspec'} & set(sys.modules), file=sys.stderr)"
    )

    process = mesh.process(["-c", script], {"ASYA_CREW_STORAGE_URL": f"file://{results}"})

    assert (process.exit_code(), process.lines) == (0, ["set()"])


def test_importing_a_handlers_module_reads_no_environment() -> None:  # without settings it would end the process with 78
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", "import asya_crew.happy_end, asya_crew.error_end"]) == 0
