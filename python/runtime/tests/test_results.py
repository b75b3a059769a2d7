"""Results: what becomes JSON, and what is refused with a place and a remedy."""

import array
import datetime
import decimal
import enum
import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import asya_runtime

JSON = asya_runtime.Json()


class Colour(enum.Enum):
    RED = 1


class Items:
    def tolist(self) -> list[int]:
        return []


def cycle() -> Any:
    items: list[Any] = [1]
    items.append({"again": items})
    return items


@pytest.mark.parametrize(
    ("value", "place", "hint"),
    [
        ({1, 2}, "$ is of type set", "use sorted(…)"),
        ({"items": [0, 1, 2, {"score": {1}}]}, "$.items[3].score is of type set", "list(…)"),
        ({"a": b"x"}, "$.a is of type bytes", ".decode()"),
        ({"a": float("nan")}, "$.a is nan", "use None"),
        ([1.0, float("-inf")], "$[1] is -inf", "use None"),
        ({"a": decimal.Decimal(1)}, "$.a is of type decimal.Decimal", "float(…)"),
        ({"a": datetime.datetime(2026, 1, 1)}, "$.a is of type datetime.datetime", ".isoformat()"),
        ({"a": array.array("b", [1])}, "$.a is of type array.array", ".tolist()"),
        ({"a": Items()}, "Items", ".tolist()"),
        ({"a": uuid.UUID(int=1)}, "$.a is of type uuid.UUID", "str(…)"),
        ({"a": Colour.RED}, "Colour", ".value"),
        ({"a": map(str, [])}, "$.a is of type map", "list(…)"),
        ({"a": cycle()}, "$.a[1].again contains itself", "without the cycle"),
        ({"a b": {"c": "\ud800"}}, '$["a b"].c is text with a lone surrogate', "errors='replace'"),
        ({"\udfff": 1}, "$ has a key that is text with a lone surrogate", ""),
        ({(1, 2): 3}, "$ has a key of type tuple", "str(…)"),
        ({"a": {1: "x", "1": "y"}}, "$.a has two keys that become '1'", "keep one"),
        ({None: 1, "null": 2}, "$ has two keys that become 'null'", "keep one"),
        ({True: 1, "true": 2}, "$ has two keys that become 'true'", "keep one"),
        ({1.5: 1, "1.5": 2}, "$ has two keys that become '1.5'", "keep one"),
        ({"a": object()}, "$.a is of type object", "convert it"),
        ({"a": 10**5000}, "$.a is an integer with too many digits", "use str(…)"),
        ({10**5000: 1}, "$ has a key that is an integer with too many digits", ""),
        ({"x" * 61: {1}}, '$["' + "x" * 60 + '"] is of type set', ""),
    ],
)
def test_result_is_refused_with_place_and_remedy(value: Any, place: str, hint: str) -> None:
    with pytest.raises(asya_runtime.CallError) as caught:
        JSON.write(value)
    assert caught.value.code == "result_not_serialisable"
    assert place in caught.value.message
    assert hint in caught.value.message


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"é": "ü\u2028"}, '{"é":"ü\u2028"}'),
        (2**70, "1180591620717411303424"),
        (0.1 + 0.2, "0.30000000000000004"),
        (-0.0, "-0.0"),
        ((1, (2, 3)), "[1,[2,3]]"),
        ({1: "a", None: "b", False: "c", 1.5: "d"}, '{"1":"a","null":"b","false":"c","1.5":"d"}'),
        ("\ufffe\uffff\U0001f600", '"\ufffe\uffff\U0001f600"'),
    ],
)
def test_result_is_compact_utf8(value: Any, text: str) -> None:
    assert JSON.write(value) == text.encode()


def test_same_object_twice_is_no_cycle() -> None:
    shared = {1: "x"}
    assert JSON.write([shared, shared]) == b'[{"1":"x"},{"1":"x"}]'


def test_deep_result_is_refused() -> None:
    value: Any = []
    for _ in range(200_000):
        value = [value]
    with pytest.raises(asya_runtime.CallError, match="result_not_serialisable"):
        JSON.write(value)
    while value:  # taken apart by hand: a recursive release could be deep too
        value = value.pop()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_json_value_comes_back_equal(value: Any) -> None:
    assert json.loads(JSON.write(value)) == value
    assert JSON.read(JSON.write(value)) == value


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"payload":"\xff"}', "not UTF-8 at byte 12"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"payload":' + b"1" * 5000 + b"}", "cannot be parsed"),
        (b'{"payload":NaN}', "NaN is no JSON"),
        (b"", "cannot be parsed"),
        ('{"payload":1}'.encode("utf-16"), "not UTF-8"),
        (b"\xef\xbb\xbf{}", "cannot be parsed"),
        (b"{} {}", "cannot be parsed"),
    ],
)
def test_message_that_cannot_be_parsed_is_bad_message(body: bytes, reason: str) -> None:
    with pytest.raises(asya_runtime.CallError) as caught:
        JSON.read(body)
    assert caught.value.code == "bad_message"
    assert reason in caught.value.message


def test_last_of_duplicate_keys_wins() -> None:
    assert JSON.read(b'{"a":1,"a":2}') == {"a": 2}


class Unprintable(ValueError):
    def __str__(self) -> str:
        raise SystemExit("no text")


def raised(error: BaseException) -> dict[str, Any]:
    try:
        raise error
    except BaseException as caught:
        return asya_runtime.describe_exception(caught)


def test_mro_is_spelled_with_builtins_bare() -> None:
    assert raised(json.JSONDecodeError("no", "", 0))["mro"] == ["json.decoder.JSONDecodeError", "ValueError", "Exception", "BaseException"]


def test_exception_group_is_described_with_its_members() -> None:
    described = raised(ExceptionGroup("both failed", [ValueError("one"), KeyError("two")]))
    assert (described["type"], described["message"]) == ("ExceptionGroup", "both failed (2 sub-exceptions)")
    assert "ValueError: one" in described["traceback"]


def test_mro_has_at_most_20_names() -> None:
    cls: type[BaseException] = ValueError
    for number in range(30):
        cls = type(f"E{number}", (cls,), {})
    assert len(raised(cls())["mro"]) == 20


def test_exception_without_text_is_described() -> None:
    assert raised(Unprintable())["message"] == "<unprintable Unprintable>"


def test_long_message_and_traceback_are_cut_in_the_middle() -> None:
    described = raised(ValueError("ä" * 500_000 + "end"))
    assert len(described["message"].encode()) <= 4096
    assert len(described["traceback"].encode()) <= 16384
    assert described["message"].startswith("ä")
    assert described["message"].endswith("end")
    assert "bytes cut" in described["traceback"]
    assert described["traceback"].startswith("Traceback")


def test_lone_surrogate_in_a_message_is_escaped() -> None:
    assert raised(ValueError("\ud800"))["message"] == "\\ud800"


def test_generator_over_the_limit_is_closed() -> None:
    closed = []

    def numbers() -> Any:
        try:
            yield from range(100)
        finally:
            closed.append(True)

    with pytest.raises(asya_runtime.CallError, match="too_many_items"):
        asya_runtime.drain_generator(numbers(), 3)
    assert closed == [True]


class Hostile(ValueError):
    @property
    def __cause__(self) -> BaseException | None:  # type: ignore[override]
        raise RuntimeError("no cause")


def test_exception_whose_traceback_cannot_be_made_is_described() -> None:
    described = raised(Hostile("x"))
    assert (described["message"], described["mro"][1]) == ("x", "ValueError")
    assert described["traceback"].startswith("Traceback not available: ")
    assert asya_runtime.format_load_failure(Hostile("x")).startswith("Traceback not available: ")


def test_streams_that_a_handler_replaced_do_not_stop_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr("sys.stderr", Items())
    asya_runtime.flush_streams()


def test_say_escapes_what_utf8_cannot_hold_and_never_raises(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asya_runtime.say("a\ud800b\n")
    assert capfd.readouterr().err == "asya-runtime: a\\ud800b\n"
    monkeypatch.setattr(asya_runtime, "_log_fd", -1)
    asya_runtime.say("lost")
