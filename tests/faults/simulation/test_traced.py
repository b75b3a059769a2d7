"""Tracing under the simulation's faults: it changes no decision that a promise rests on, and its spans fit together."""

from collections import Counter
from random import Random

import pytest
import world

from asya_core.wire.trace import Span
from asya_sidecar.decide import Moment, Policy
from asya_sidecar.effects import Effect, Event, ExportSpans
from asya_sidecar.traced import TracedDecider, TracePolicy

SEEDS = 150


def watched(spans: list[Span]) -> "type[TracedDecider]":
    class Watched(TracedDecider):
        """Keeps its spans from the simulation, which knows none."""

        def __init__(self, policy: Policy, random: Random) -> None:
            super().__init__(policy, random, TracePolicy(samples=lambda trace_id, parent: True))

        def handle(self, event: Event, now: Moment) -> list[Effect]:
            effects = super().handle(event, now)
            spans.extend(span for effect in effects if isinstance(effect, ExportSpans) for span in effect.spans)
            return [effect for effect in effects if not isinstance(effect, ExportSpans)]

    return Watched


def test_traced_meshes_lose_and_invent_nothing_and_their_spans_fit_together() -> None:
    told = 0
    for seed in range(SEEDS):
        spans: list[Span] = []
        failure = world.outcome(seed, watched(spans))
        assert failure is None, failure
        check(spans, seed)
        told += len(spans)
    assert told > 10 * SEEDS


def check(spans: list[Span], seed: int) -> None:
    own = Counter(span.context.span_id for span in spans)
    assert set(own.values()) <= {1}, f"seed {seed}: a span is told twice"
    traces = {span.context.span_id: span.context.trace_id for span in spans}
    times = {span.context.span_id: (span.start_us, span.end_us) for span in spans}
    for span in spans:
        assert span.start_us <= span.end_us, f"seed {seed}: {span} ends before it begins"
        inside = span.name.partition(" ")[0] in ("handler", "publish")
        if span.parent_id in traces:
            assert traces[span.parent_id] == span.context.trace_id, f"seed {seed}: {span} is in another trace than its parent"
            start, end = times[span.parent_id]
            assert span.start_us >= start, f"seed {seed}: {span} begins before its parent"
            assert not inside or span.end_us <= end, f"seed {seed}: {span} ends after its parent"
        else:
            assert not inside, f"seed {seed}: {span} has lost its process"


@pytest.mark.parametrize("seed", [17])
def test_a_seed_tells_the_same_spans_again(seed: int) -> None:
    first: list[Span] = []
    second: list[Span] = []
    world.outcome(seed, watched(first))
    world.outcome(seed, watched(second))
    assert first == second
