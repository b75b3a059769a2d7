"""`asya run` of actors whose values name an OTLP receiver."""

from pathlib import Path

import pytest

from tests import forked
from tests.otlp import Receiver

ACTORS = ("a", "b", "c", "d", "e")
OPENTELEMETRY = tuple(
    f"opentelemetry.{name}"
    for name in ("exporter.otlp.proto.http.trace_exporter", "sdk.trace.export", "sdk.trace.sampling", "sdk.util.instrumentation")
)
"""Imported before the sidecars are forked."""


@pytest.mark.behaviour("tracing:one-tree")
def test_one_run_over_five_actors_is_one_trace(tmp_path: Path) -> None:
    (tmp_path / "steps.py").write_text("def step(payload):\n    return {**payload, 'n': payload.get('n', 0) + 1}\n")
    with Receiver() as receiver:
        for name in ACTORS:
            (tmp_path / f"{name}.yaml").write_text(
                f"handler: steps.step\nsidecar: {{env: {{OTEL_EXPORTER_OTLP_ENDPOINT: '{receiver.endpoint}'}}}}\n"
            )
        files = [f"{name}.yaml" for name in ACTORS]
        words = ["run", *files, "--route", ",".join(ACTORS), "--input", "{}", "--output", "json"]
        done = forked.run_text(words, cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}, imports=OPENTELEMETRY)
        assert done.returncode == 0, done.stderr
        spans = receiver.spans  # the processes have ended, and sent all of theirs before
    assert len({span.trace_id for span in spans}) == 1
    processes = sorted((span for span in spans if span.name.startswith("process ")), key=lambda span: span.start)
    assert [span.service for span in processes] == list(ACTORS)
    publishes = {span.span_id: span for span in spans if span.name.startswith("publish ")}
    assert [publishes[span.parent_id].service for span in processes[1:]] == list(ACTORS[:-1])
    waits = [span for span in spans if span.name.startswith("wait ")]
    assert sorted(span.parent_id for span in waits) == sorted(span.parent_id for span in processes[1:])
    assert len(spans) == 4 * len(ACTORS) - 1
