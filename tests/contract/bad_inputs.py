"""The numbered bad inputs of messages, frames, envelopes, routes and handler results: what comes, and what becomes of it.

tests/contract/test_bad_input.py proves each by its number; docs/reference/bad-input.md is made from this table by
``python -m tests.contract.bad_inputs``, and a test compares the two.
"""

from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "bad-input.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class BadInput:
    """One row.

    Attributes:
        text: what comes.
        outcome: what becomes of it.
    """

    text: str
    outcome: str


def _row(text: str, outcome: str) -> BadInput:
    return BadInput(text=text, outcome=outcome)


BAD_INPUTS: dict[int, BadInput] = {
    1: _row("an empty body", "`bad_envelope`"),
    2: _row("no JSON, bytes such as `00 ff`", "`bad_envelope`, the bytes as base64"),
    3: _row("an array, string, number or null at the top", "`bad_envelope`"),
    4: _row("a byte order mark before valid JSON", "`bad_envelope`"),
    5: _row("bad UTF-8: in the payload; in a top-level key", "`bad_message`, found by the runtime; `bad_envelope`"),
    6: _row('a lone surrogate, `"\\ud800"`, in the payload', "`bad_envelope`"),
    7: _row("`NaN`, `Infinity`; `1e400`", "`bad_envelope`; the handler gets infinity, which may not come back: `result_not_serialisable`"),
    8: _row("a top-level key twice", "the last one counts, in sidecar and runtime alike"),
    9: _row("nesting 1,000 and 100,000 deep; 500 deep", "`bad_envelope`; fine"),
    10: _row("an integer of 5,000 digits", "`bad_message`"),
    11: _row("2⁶⁴, 0.1 + 0.2, `-0.0`", "exact through every hop"),
    12: _row("bytes after the object; only blanks around it", "`bad_envelope`; accepted"),
    13: _row("no `id`", "`bad_envelope`, the record's id is `unreadable-` and a hash"),
    14: _row("an id that is a number, empty, of 129 characters, or holds `/`, a newline, NUL", "`bad_envelope`"),
    15: _row("no route; a route that is no object", "`bad_envelope`"),
    16: _row("actors that are no list, empty, numbers", "`bad_envelope`"),
    17: _row("no `current`", "0"),
    18: _row('`current` −1, over the number of actors, 1.0, true, "0", 2⁶³', "`bad_envelope`"),
    19: _row("an actor's name with `.`, `#`, `*`, a blank, of 256 characters, `amq.…`", "`bad_envelope`"),
    20: _row("a next actor that has no queue", "`unroutable` after the tries, the handler ran once"),
    21: _row("10,001 route entries; more hops than allowed", "`bad_envelope`; `route_too_long`"),
    22: _row("a message of another actor", "`route_mismatch`"),
    23: _row("headers: no object; over 64 KiB; nested values", "`bad_envelope`; `bad_envelope`; the bytes stay"),
    24: _row("unknown top-level members of any depth", "the bytes stay through all hops"),
    25: _row('no payload; `null`, `""`, `0`, `false`, `[]`, `{}`', "`bad_envelope`; each arrives as itself"),
    26: _row("an output one byte under, at, and one over the limit", "sent; sent; `payload_too_large` with the input's payload"),
    27: _row("U+FFFE, U+FFFF, U+0001", "equal after the trip"),
    28: _row("a deadline in the past, in the year 9999, `soon`, without zone", "`deadline_exceeded`; runs; `bad_envelope`; `bad_envelope`"),
    29: _row(
        "a handler returns None, an empty list, a generator, 100,000 items, nested lists, a tuple",
        "ends; ends; fans out; `too_many_items`; one level fans out; fans out",
    ),
    30: _row(
        "a handler returns a set, bytes, NaN, Decimal, datetime, array, cycle, lone surrogate; 2⁷⁰",
        "`result_not_serialisable` with the place; fine",
    ),
    31: _row(
        "a handler raises SystemExit, KeyboardInterrupt, StopIteration, a group, an error without text, one with 1 MB of it",
        "`handler_error`, the same worker lives on",
    ),
    32: _row(
        "a handler prints without newline or 100 MB, closes standard output, forks, changes folder, handles SIGTERM, leaves threads",
        "the next message works",
    ),
    33: _row(
        "a handler changes its payload and fails; removes or changes visited actors; sets `current` back or 2 further",
        "the record has the original; `route_past_changed`; `route_current_invalid`",
    ),
    34: _row(
        "a frame of length 0 or 2³²−1; half a header; a short body, then the end", "FAULT or end, no memory for it, the next is served"
    ),
    35: _row("a reply with a wrong count, kind or call, or bytes after its end", "counted as a crash; after three attempts `bad_reply`"),
    36: _row("a second process on the runtime's socket", "nobody is disturbed"),
    37: _row("AMQP: no content type, `gzip`, an old `x-death`, an expiration, odd header tables", "the body decides; nothing crashes"),
}


def page() -> str:
    """docs/reference/bad-input.md as Markdown."""
    lines = [
        "# Bad input",
        "",
        "For operators and reviewers. Each row is proved with real processes by the test of its number in",
        "`tests/contract/test_bad_input.py`. Made from `tests/contract/bad_inputs.py`.",
        "",
        "Unless the row says otherwise there is one record in error-end, which holds the original (of a message that is no",
        "envelope: its bytes as text or base64, their number and SHA-256); the original is acknowledged, the handler does not",
        "run for it, the next message is served by the same worker, and no payload is in a log.",
        "",
        "| no. | input | outcome |",
        "|---|---|---|",
    ]
    lines += [f"| {number} | {row.text} | {row.outcome} |" for number, row in BAD_INPUTS.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
