"""W3C trace context in headers: what is read, what starts a new trace, what is sent on. Cases as in the recommendation's own tests."""

import msgspec
import pytest

from asya_core.wire.trace import TraceContext, derived_trace_id, read_context, read_traceparent, read_tracestate

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


def headers(**values: object) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in values.items()}


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        (GOOD, 1),
        (f"00-{TRACE}-{SPAN}-00", 0),
        (f"00-{TRACE}-{SPAN}-03", 3),
        (f"00-{TRACE}-{SPAN}-ff", 3),
        (f"01-{TRACE}-{SPAN}-01", 1),
        (f"cc-{TRACE}-{SPAN}-ff-what-the-future-brings", 1),
    ],
    ids=["sampled", "not sampled", "random id", "unknown flags", "later version", "later and longer"],
)
def test_a_traceparent_is_read_and_sent_on_as_version_00(text: str, flags: int) -> None:
    context = read_traceparent(text)
    assert context == TraceContext(TRACE, SPAN, flags)
    assert context.traceparent == f"00-{TRACE}-{SPAN}-{flags:02x}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        GOOD + "-more",
        GOOD + "\n",
        " " + GOOD,
        "ff" + GOOD[2:],
        "0" + GOOD[2:],
        GOOD.upper(),
        f"01-{TRACE}-{SPAN}-01.x",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}0-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-zz",
        f"00-{TRACE}٣-{SPAN}-01",
        GOOD.replace("-", "_"),
    ],
)
def test_a_broken_traceparent_is_none(text: str) -> None:
    assert read_traceparent(text) is None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        (" rojo=1 ,\t, congo=2,", "rojo=1,congo=2"),
        ("fw529a3039@dt=FfAAAA,a/b*c-d_e=~ x", "fw529a3039@dt=FfAAAA,a/b*c-d_e=~ x"),
        ("1a@b=x", "1a@b=x"),
        ("", ""),
        ("rojo", ""),
        ("rojo=", ""),
        ("Rojo=1", ""),
        ("1a=x", ""),
        ("a@1b=x", ""),
        ("a=1,b", ""),
        ("a=1,a=2", ""),
        ("a=1=2", ""),
        ("a=é", ""),
        ("a" * 256 + "=1", "a" * 256 + "=1"),
        ("a" * 257 + "=1", ""),
        ("a=" + "x" * 256, "a=" + "x" * 256),
        ("a=" + "x" * 257, ""),
        (",".join(f"k{n}=1" for n in range(32)), ",".join(f"k{n}=1" for n in range(32))),
        (",".join(f"k{n}=1" for n in range(33)), ""),
        ("x" * 9000, ""),
    ],
)
def test_a_tracestate_is_kept_whole_or_dropped_whole(text: str, kept: str) -> None:
    assert read_tracestate(text) == kept


@pytest.mark.parametrize("value", [None, 1, ["00"], "", "00-no", {"a": GOOD}])
def test_headers_with_a_broken_traceparent_carry_no_context_whatever_the_tracestate(value: object) -> None:
    assert read_context(headers(traceparent=value, tracestate="a=1")) is None
    assert read_context(headers(tracestate="a=1")) is None


def test_headers_carry_context_with_its_state_if_that_is_good() -> None:
    assert read_context(headers(traceparent=GOOD, tracestate="a=1")) == TraceContext(TRACE, SPAN, 1, "a=1")
    assert read_context(headers(traceparent=GOOD, tracestate="A=1")) == TraceContext(TRACE, SPAN, 1)
    assert read_context(headers(traceparent=GOOD, tracestate=5)) == TraceContext(TRACE, SPAN, 1)
    assert read_context({"traceparent": msgspec.Raw(b'"\xff"')}) is None


def test_a_decision_changes_its_own_bit_only() -> None:
    context = TraceContext(TRACE, SPAN, 3, "a=1")
    assert context.sampled(False) == TraceContext(TRACE, SPAN, 2, "a=1")
    assert context.sampled(False).sampled(True) == context
    assert not context.sampled(False).is_sampled


def test_the_trace_of_an_envelope_without_one_follows_of_its_id() -> None:
    first, again, other = derived_trace_id("7"), derived_trace_id("7"), derived_trace_id("8")
    assert first == again != other
    assert read_traceparent(f"00-{first}-{SPAN}-01") is not None
