"""Environment variables as arguments of ``__init__``."""

import collections
import enum
import pathlib
import typing
from typing import Any

import pytest

import asya_runtime


class Colour(enum.Enum):
    RED = "red"
    TWO = 2


Name = typing.NewType("Name", str)


@pytest.mark.parametrize(
    ("text", "annotation", "value"),
    [
        ("x", str, "x"),
        ("x", Name, "x"),
        ("5", int, 5),
        ("1e3", float, 1000.0),
        (" ON ", bool, True),
        ("0", bool, False),
        ("/x", pathlib.Path, pathlib.Path("/x")),
        ("/x", pathlib.PurePosixPath, pathlib.PurePosixPath("/x")),
        ("[1]", list, [1]),
        ("[1]", list[int], [1]),
        ("[1]", tuple[int, ...], (1,)),
        ('{"a": 1}', dict[str, int], {"a": 1}),
        ("red", Colour, Colour.RED),
        ("2", Colour, Colour.TWO),
        ("b", typing.Literal["a", "b"], "b"),
        ("2", typing.Literal[1, 2], 2),
        ("TRUE", typing.Literal[True, "auto"], True),
        ("", typing.Optional[int], None),  # noqa: UP045
        ("5", int | None, 5),
        ("5", None | int, 5),
    ],
)
def test_text_is_converted(text: str, annotation: Any, value: Any) -> None:
    converted = asya_runtime.convert(text, annotation)
    assert (converted, type(converted)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "annotation", "expected"),
    [
        ("x", int, "an integer"),
        ("x", float, "a number"),
        ("maybe", bool, "true, false"),
        ("{}", list, "a JSON array"),
        ("[", dict, "a JSON object"),
        ("[" * 100_000, list, "a JSON array"),
        ("blue", Colour, "one of red, 2"),
        ("c", typing.Literal["a", "b"], "one of a, b"),
    ],
)
def test_text_that_does_not_convert_says_what_was_expected(text: str, annotation: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        asya_runtime.convert(text, annotation)


@pytest.mark.parametrize("annotation", [bytes, object, int | str, int | str | None, collections.abc.Callable, typing.TypeVar("T")])
def test_other_annotations_have_no_conversion(annotation: Any) -> None:
    with pytest.raises(asya_runtime._NoConversion):
        asya_runtime.convert("x", annotation)


class Model:
    def __init__(
        self,
        path: pathlib.Path = pathlib.Path("a"),
        home: str = "h",
        count=3,
        nothing=None,
        anything: Any = 1.5,
        *rest: int,
        level: int = 1,
        **more: int,
    ) -> None: ...


def test_only_set_variables_fill_parameters() -> None:
    environ = {"COUNT": "5", "NOTHING": "text", "ANYTHING": "2.5", "LEVEL": "7", "REST": "1", "MORE": "1", "OTHER": "1"}
    assert asya_runtime.arguments_for(Model, environ) == ({"count": 5, "nothing": "text", "anything": 2.5, "level": 7}, [])


def test_variables_that_every_container_has_fill_nothing_and_are_told() -> None:
    arguments, warnings = asya_runtime.arguments_for(Model, {"PATH": "/bin", "HOME": "/root", "COUNT": "4"})
    assert arguments == {"count": 4}
    assert [text.partition(" is not filled from ")[2].partition(",")[0] for text in warnings] == ["PATH", "HOME"]


class Positional:
    def __init__(self, size: int = 1, /) -> None: ...


def test_positional_only_parameter_keeps_its_default() -> None:
    assert asya_runtime.arguments_for(Positional, {"SIZE": "2"}) == ({}, [])


def test_class_without_a_signature_gets_no_arguments() -> None:
    assert asya_runtime.arguments_for(type("Odd", (), {"__signature__": 5}), {"A": "1"}) == ({}, [])


class Typed:
    def __init__(self, threshold: float = 0.5, api_key: int = 1, other: bytes = b"", names: list[int] | None = None) -> None: ...


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"THRESHOLD": "high"}, "THRESHOLD 'high' does not convert to float for Typed.__init__ parameter 'threshold': expected a number"),
        ({"API_KEY": "hunter2"}, "API_KEY does not convert to int"),
        ({"OTHER": "x"}, "OTHER 'x' cannot fill Typed.__init__ parameter 'other': no conversion to bytes"),
        ({"NAMES": "x"}, "NAMES 'x' does not convert to list[int] | None"),
    ],
)
def test_refusal_names_variable_parameter_and_type(environ: dict[str, str], words: str) -> None:
    with pytest.raises(asya_runtime.Refusal) as caught:
        asya_runtime.arguments_for(Typed, environ)
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


class Strings:
    def __init__(self, count: "int" = 1, broken: "Missing" = "x", syntax: "int[" = 2) -> None: ...  # type: ignore # noqa


def test_string_annotations_are_resolved_one_by_one() -> None:
    assert asya_runtime.annotations_of(Strings)["count"] is int
    arguments, _ = asya_runtime.arguments_for(Strings, {"COUNT": "5", "BROKEN": "y", "SYNTAX": "3"})
    assert arguments == {"count": 5, "broken": "y", "syntax": 3}


def test_annotations_that_raise_count_as_none() -> None:
    class Function:
        @property
        def __annotations__(self) -> Any:
            raise RuntimeError

    class Holder:
        pass

    Holder.__init__ = Function()  # type: ignore[method-assign,assignment]
    assert asya_runtime.annotations_of(Holder) == {}
