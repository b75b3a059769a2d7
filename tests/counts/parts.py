"""Runs the pure hot parts a known number of times, with a mark before and after each; a program for `valgrind --tool=callgrind`.

Called by test_instructions.py as ``python parts.py TURNS``: each part runs TURNS times, then twice as often, so that the difference is
that of TURNS turns alone. A mark is `os.getloadavg`: the profile is dumped whenever the C library's function of that name is entered.
"""

import gc
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random

from asya_core.ops.logs import LineWriter, Log
from asya_core.transports.base import PublishOutcome, Receipt
from asya_core.wire.envelope import parse
from asya_core.wire.frames import FrameReader, Kind, encode_call, encode_frame, read_reply
from asya_core.wire.reply import PayloadsReply
from asya_core.wire.route import Route, check_change
from asya_sidecar import splice
from asya_sidecar.decide import Decider
from asya_sidecar.effects import ConsumeLinkChanged, MessageArrived, PublishEnded, PublishLinkChanged, Replied, RuntimeReady
from asya_sidecar.metrics import SidecarMetrics
from asya_sidecar.policy import Moment, Policy

NAMES = ("frames", "splice_1kb", "splice_100kb", "route", "log_line", "decide", "metrics_text")


def message(size: int) -> bytes:
    """An envelope whose payload has `size` bytes."""
    payload = b'{"text":"' + b"x" * (size - 11) + b'"}'
    return b'{"id":"01JD2","route":{"actors":["a","b","c"],"current":0},"headers":{"trace_id":"t-1"},"payload":' + payload + b"}"


def parts() -> dict[str, Callable[[], object]]:
    """One turn of each part."""
    small, large = message(1_000), message(100_000)
    payload = b'{"text":"' + b"y" * 989 + b'"}'
    large_payload = b'{"text":"' + b"y" * 99_989 + b'"}'
    reply = encode_frame(Kind.PAYLOADS, 1, b"\x00\x00\x00\x00\x01" + len(payload).to_bytes(4, "big") + payload)
    reader = FrameReader()
    before = Route(("a", "b", "c"), 0)
    after = Route(("a", "judge", "b", "c"), 1)
    null = os.open(os.devnull, os.O_WRONLY)
    log = Log(LineWriter(null, clock=lambda: 1.0e9)).bind(actor="a")
    line = {
        "envelope_id": "01JD2",
        "attempt": 1,
        "outcome": "ok",
        "code": None,
        "next": ["b"],
        "items": 1,
        "bytes_in": 1033,
        "bytes_out": 1040,
    }
    line |= {"wait_ms": 0.1, "handler_ms": 19.8, "publish_ms": 0.7, "total_ms": 20.9}

    def frames() -> None:
        encode_call(1, 300_000, small)
        for frame in reader.feed(reply):
            read_reply(frame)

    def splice_small() -> None:
        splice.advanced(parse(small), payload).encode()

    def splice_large() -> None:
        splice.advanced(parse(large), large_payload).encode()

    def route() -> None:
        check_change(before, after)

    def log_line() -> None:
        log.line("info", "delivery", line)

    decider = Decider(Policy(actor="a", namespace="ns", prefetch=100), Random(1))
    moment = Moment(1.0, datetime(2026, 1, 1, tzinfo=UTC))
    for event in (ConsumeLinkChanged(True), PublishLinkChanged(True), RuntimeReady(1)):
        decider.handle(event, moment)
    turn = [0]

    def decide() -> None:
        number = turn[0] = turn[0] + 1
        decider.handle(MessageArrived(Receipt(str(number)), small, 1), moment)
        decider.handle(Replied(number, PayloadsReply((payload,), False)), moment)
        decider.handle(PublishEnded(number, PublishOutcome.CONFIRMED), moment)

    metrics = SidecarMetrics("a")

    def metrics_text() -> None:
        metrics.read(decider)
        metrics.registry.text()

    return dict(zip(NAMES, (frames, splice_small, splice_large, route, log_line, decide, metrics_text), strict=True))


def main() -> None:
    """Run all parts."""
    turns = int(sys.argv[1])
    gc.disable()
    for part in parts().values():
        for _ in range(5):  # caches and specialised bytecode settle
            part()
        for count in (turns, 2 * turns):
            os.getloadavg()
            for _ in range(count):
                part()
        os.getloadavg()


if __name__ == "__main__":
    main()
