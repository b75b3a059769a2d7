"""`asya run` of five actors beside a real OpenTelemetry collector, whose file is read: what it keeps is one trace.

Needs ASYA_TEST_OTELCOL, the program that ci/otelcol.sh builds in some minutes: where CI is set the tier has it built.
"""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests import forked

ACTORS = ("a", "b", "c", "d", "e")
WAIT = 30.0
CONFIGURATION = """
receivers: {{otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{port}"}}}}}}}}
exporters: {{file: {{path: "{file}", flush_interval: 100ms}}}}
service:
  pipelines: {{traces: {{receivers: [otlp], exporters: [file]}}}}
  telemetry: {{metrics: {{level: none}}}}
"""


class Collector:
    def __init__(self, program: str, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.file = folder / "traces.json"
        configuration = folder / "collector.yaml"
        configuration.write_text(CONFIGURATION.format(port=self.port, file=self.file))
        self._process = subprocess.Popen([program, "--config", f"file:{configuration}"], stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        said = []
        for line in self._process.stderr:
            said.append(line)
            if "Everything is ready" in line:
                return
        self.close()
        raise AssertionError("the collector ended:\n" + "".join(said[-20:]))

    def spans(self) -> list[dict[str, Any]]:
        """What it has kept, after its end."""
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate(timeout=WAIT)
        requests = [json.loads(line) for line in self.file.read_text().splitlines()]
        return [
            span | {"service": _texts(group["resource"]["attributes"])["service.name"]}
            for request in requests
            for group in request["resourceSpans"]
            for scope in group["scopeSpans"]
            for span in scope["spans"]
        ]

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate(timeout=WAIT)


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    program = os.environ.get("ASYA_TEST_OTELCOL")
    if program is None:
        pytest.skip("no collector: export ASYA_TEST_OTELCOL=$(ci/otelcol.sh)")
    running = Collector(program, tmp_path)
    try:
        yield running
    finally:
        running.close()


def test_a_collector_keeps_one_trace_over_five_actors_with_parents_and_waits(collector: Collector, tmp_path: Path) -> None:
    (tmp_path / "steps.py").write_text("def step(payload):\n    return {**payload, 'n': payload.get('n', 0) + 1}\n")
    for name in ACTORS:
        settings = f"OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:{collector.port}'"
        (tmp_path / f"{name}.yaml").write_text(f"handler: steps.step\nsidecar: {{env: {{{settings}}}}}\n")
    words = ["run", *(f"{name}.yaml" for name in ACTORS), "--route", ",".join(ACTORS), "--input", "{}", "--output", "json"]
    before = time.time_ns()
    done = forked.run_text(words, cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr

    spans = collector.spans()
    assert len({span["traceId"] for span in spans}) == 1
    by_id = {span["spanId"]: span for span in spans}
    assert len(by_id) == len(spans) == 4 * len(ACTORS) - 1
    processes = sorted((span for span in spans if span["name"].startswith("process ")), key=lambda span: int(span["startTimeUnixNano"]))
    assert [span["service"] for span in processes] == list(ACTORS)
    for earlier, later in pairwise(processes):
        publish = by_id[later["parentSpanId"]]
        assert (publish["service"], publish["parentSpanId"]) == (earlier["service"], earlier["spanId"])
        (wait,) = (span for span in spans if span["name"].startswith("wait ") and span["parentSpanId"] == publish["spanId"])
        assert before < int(publish["startTimeUnixNano"]) == int(wait["startTimeUnixNano"])
        assert wait["endTimeUnixNano"] == later["startTimeUnixNano"]


def _texts(attributes: list[dict[str, Any]]) -> dict[str, str]:
    return {each["key"]: each["value"].get("stringValue", "") for each in attributes}
