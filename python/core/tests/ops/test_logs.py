import asyncio
import json
import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest

from asya_core.ops.logs import Level, LineWriter, Log, StandardLogs


class Pipe:
    """The reading end of what a `LineWriter` writes."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)

    def text(self) -> str:
        try:
            return os.read(self.read_end, 1_000_000).decode()
        except BlockingIOError:
            return ""

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    os.close(pipe.read_end)
    os.close(pipe.write_end)


def test_a_line_is_json_with_time_level_event_bound_keys_and_keys(pipe: Pipe) -> None:
    log = Log(LineWriter(pipe.write_end, clock=lambda: 1_767_225_600.1239), bound={"actor": "a"}).bind(queue="q")

    log.info("connected", attempt=2)

    assert pipe.lines() == [
        {"ts": "2026-01-01T00:00:00.123Z", "level": "info", "event": "connected", "actor": "a", "queue": "q", "attempt": 2}
    ]


def test_lines_below_the_level_are_left_out(pipe: Pipe) -> None:
    log = Log(LineWriter(pipe.write_end), Level.WARNING)

    log.debug("d")
    log.info("i")
    log.warning("w")
    log.error("e")

    assert [line["event"] for line in pipe.lines()] == ["w", "e"]


def test_lines_of_one_tick_are_written_together_at_its_end(pipe: Pipe) -> None:
    async def run() -> tuple[str, str]:
        log = Log(LineWriter(pipe.write_end))
        log.info("one")
        log.info("two")
        during = pipe.text()
        await asyncio.sleep(0)
        return during, pipe.text()

    during, after = asyncio.run(run())

    assert during == ""
    assert after.count("\n") == 2


def test_much_that_gathers_is_written_before_the_end_of_the_tick(pipe: Pipe) -> None:
    async def run() -> int:
        log = Log(LineWriter(os.open(os.devnull, os.O_WRONLY)))
        writer = log._writer
        for _ in range(300):
            log.info("x", text="y" * 1000)
        return writer._bytes

    assert asyncio.run(run()) < 262_144


def test_a_value_that_is_no_json_is_shown_as_text(pipe: Pipe) -> None:
    Log(LineWriter(pipe.write_end)).info("odd", value=ValueError("boom"), lone="\ud800", key={1, 2})

    (line,) = pipe.lines()
    assert line["value"] == "boom"
    assert "?" in line["lone"]


def test_a_newline_in_a_value_stays_in_its_line(pipe: Pipe) -> None:
    Log(LineWriter(pipe.write_end)).info("x", value="a\nb")

    assert len(pipe.text().splitlines()) == 1


def test_a_log_that_cannot_be_written_is_counted_dropped(pipe: Pipe) -> None:
    writer = LineWriter(pipe.read_end)

    Log(writer).info("x")

    assert writer.dropped == 1


def test_what_libraries_log_becomes_a_line(pipe: Pipe) -> None:
    handler = StandardLogs(Log(LineWriter(pipe.write_end)))
    logger = logging.getLogger("asya.test.logs")
    logger.propagate = False
    logger.addHandler(handler)
    try:
        try:
            raise ValueError("boom")
        except ValueError:
            logger.exception("went %s", "wrong")
    finally:
        logger.removeHandler(handler)

    (line,) = pipe.lines()
    assert (line["level"], line["event"], line["logger"], line["message"]) == ("error", "log", "asya.test.logs", "went wrong")
    assert "ValueError: boom" in line["exception"]
