"""End actors on a real S3 server: what they store, and what a storage in trouble makes of it."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from python.core.tests.objects.conftest import REGION, S3Server, bucket, s3_server  # noqa: F401  # fixtures
from python.core.tests.objects.fault_proxy import Fault, FaultProxy
from python.crew.tests.process.conftest import Gateway
from python.sidecar.tests.process.conftest import WAIT, Actor, Mesh

from asya_core.objects import ObjectStore, S3Access, open_store, parse_location

Start = Callable[..., Actor]


def envelope(payload: Any, envelope_id: str = "7", **more: Any) -> dict[str, Any]:
    return {"id": envelope_id, "route": {"actors": ["a"], "current": 1}, "payload": payload, **more}


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultProxy]:  # noqa: F811
    with FaultProxy(s3_server.endpoint) as proxy:
        yield proxy


@pytest.fixture
def objects(s3_server: S3Server, bucket: str) -> ObjectStore:  # noqa: F811
    return open_store(parse_location(f"s3://{bucket}/ns"), S3Access(region=REGION, endpoint=s3_server.endpoint, path_style=True))


@pytest.fixture
def start(crew: Start, s3_server: S3Server, bucket: str, proxy: FaultProxy) -> Start:  # noqa: F811
    """Starts an end actor on the bucket, through the proxy."""

    def start(name: str, settings: dict[str, str] | None = None, **environment: str) -> Actor:
        storage = {
            "ASYA_CREW_STORAGE_URL": f"s3://{bucket}/ns",
            "ASYA_CREW_S3_REGION": REGION,
            "ASYA_CREW_S3_ENDPOINT": proxy.endpoint,
            "ASYA_CREW_S3_PATH_STYLE": "true",
            "ASYA_CREW_S3_TRIES": "1",
        }
        return crew(name, {**storage, **s3_server.credentials, **(settings or {})}, **environment)

    return start


def record(objects: ObjectStore, key: str) -> dict[str, Any]:
    deadline = time.monotonic() + WAIT
    while not objects.exists(key):
        assert time.monotonic() < deadline, f"no {key} within {WAIT} s; there is {objects.list()}"
        time.sleep(0.05)  # polls a server that other processes write to
    return json.loads(objects.get(key))  # type: ignore[no-any-return]


def test_results_and_errors_are_objects_of_the_bucket(mesh: Mesh, start: Start, objects: ObjectStore) -> None:
    mesh.actor("a", "sample.fail")
    start("happy-end")
    start("error-end")

    mesh.send("happy-end", envelope({"x": 1}, "ok"))
    mesh.send("a", {**envelope(5, "bad"), "route": {"actors": ["a"], "current": 0}})

    assert record(objects, "results/ok.json") == envelope({"x": 1}, "ok")
    assert "in fail" in record(objects, "errors/bad.json")["error"]["traceback"]


@pytest.mark.behaviour("crew:stored-before-reported")
def test_nothing_is_reported_before_it_is_stored_and_each_id_has_one_object(
    mesh: Mesh, start: Start, objects: ObjectStore, proxy: FaultProxy, gateway: Gateway
) -> None:
    proxy.faults += [Fault(status=503, code="SlowDown"), Fault(reset=True, after=True), Fault(reset=True), Fault(status=500)]
    gateway.look = lambda report: objects.exists(f"results/{report['id']}.json")
    start("happy-end", {"ASYA_CONCURRENCY": "4"}, ASYA_GATEWAY_URL=gateway.url)

    for number in range(8):
        mesh.send("happy-end", envelope(number, f"id{number}"))
    reports = [gateway.final() for _ in range(8)]

    assert gateway.looks == [True] * 8
    assert sorted((report["id"], report["status"], report["result"]) for report in reports) == [
        (f"id{n}", "succeeded", n) for n in range(8)
    ]
    assert [each.key for each in objects.list()] == [f"results/id{number}.json" for number in range(8)]


@pytest.mark.behaviour("crew:outage")
def test_an_outage_of_the_server_loses_nothing(mesh: Mesh, crew: Start, s3_server: S3Server, folder: Path) -> None:  # noqa: F811
    with OwnServer(s3_server, folder) as own:
        own.stop()
        settings = {"ASYA_CREW_STORAGE_URL": "s3://bucket", "ASYA_CREW_S3_ENDPOINT": own.endpoint, "ASYA_CREW_S3_PATH_STYLE": "true"}
        more = {"ASYA_CREW_S3_REGION": REGION, "ASYA_CREW_S3_TRIES": "1", "ASYA_CONCURRENCY": "4"}
        happy = crew("happy-end", {**settings, **more, **s3_server.credentials})
        for number in range(4):
            mesh.send("happy-end", envelope(number, f"id{number}"))
        for number in range(4):
            assert happy.sidecar.event("delivery", envelope_id=f"id{number}", attempt=1)["outcome"] == "retry"
        own.start()

        objects = open_store(parse_location("s3://bucket"), S3Access(region=REGION, endpoint=own.endpoint, path_style=True))

        assert [record(objects, f"results/id{number}.json")["payload"] for number in range(4)] == [0, 1, 2, 3]


class OwnServer:
    """A server of this test alone, which may be stopped, with a bucket ``bucket``."""

    def __init__(self, like: S3Server, folder: Path) -> None:
        # Below the ephemeral range: while it is stopped, no outgoing connection of anyone gets the port.
        self._port = int(os.environ.get("ASYA_SERVICES_PORT_BASE", "26670")) + 60 + os.getpid() % 30
        self.endpoint = f"http://127.0.0.1:{self._port}"
        self._program = like.program
        self._credentials = like.credentials
        self._data = folder / "s3"
        (self._data / "bucket").mkdir(parents=True)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        keys = {"ROOT_ACCESS_KEY": self._credentials["AWS_ACCESS_KEY_ID"], "ROOT_SECRET_KEY": self._credentials["AWS_SECRET_ACCESS_KEY"]}
        arguments = [self._program, "--port", f"127.0.0.1:{self._port}", "--region", REGION, "--quiet", "posix", str(self._data)]
        self._process = subprocess.Popen(arguments, env=keys, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(WAIT)
            self._process = None

    def __enter__(self) -> "OwnServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
