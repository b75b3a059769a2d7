"""What is printed at start: warnings, and above a refusal the user's own traceback. What is refused is in ../test_loading.py."""

from collections.abc import Callable
from typing import Any

import pytest

SOURCE = "def process(p): return p\n"
TYPED = "class Typed:\n    def __init__(self, api_key: int = 1): pass\n    def process(self, p): return p\n"


@pytest.mark.behaviour("runtime:refusal")
@pytest.mark.parametrize(
    ("handler", "environ", "words"),
    [
        ("", {}, "ASYA_HANDLER is not set"),
        ("os.system", {}, "standard library"),
        ("handlers.process", {"ASYA_HANDLER_MODE": "payloads"}, "set it to payload or envelope"),
        ("handlers.process", {"ASYA_SOURCE_PATH": "/no/such"}, "ASYA_SOURCE_PATH '/no/such' is no directory"),
        ("src.handlers.process", {}, "did you mean 'handlers.process'?"),
    ],
)
def test_start_is_refused_with_78_and_one_line(start: Callable[..., Any], handler: str, environ: dict[str, str], words: str) -> None:
    runtime = start(handler, SOURCE, **environ)
    assert runtime.wait() == 78
    (line,) = runtime.stderr().splitlines()
    assert line.startswith("asya-runtime: ")
    assert words in line


@pytest.mark.behaviour("runtime:refusal")
def test_secret_that_does_not_convert_is_not_printed(start: Callable[..., Any]) -> None:
    runtime = start("handlers.Typed.process", TYPED, API_KEY="hunter2")
    assert runtime.wait() == 78
    assert "API_KEY does not convert to int" in runtime.last_line()
    assert "hunter2" not in runtime.stderr()


@pytest.mark.behaviour("runtime:refusal")
def test_import_error_of_the_user_is_shown_above_without_our_frames(start: Callable[..., Any]) -> None:
    runtime = start("handlers.process", "def helper():\n    import no_such_package_here\nhelper()\n")
    assert runtime.wait() == 78
    assert "handlers.py" in runtime.stderr()
    assert "asya_runtime.py" not in runtime.stderr()
    assert "install 'no_such_package_here' in the image" in runtime.last_line()


def test_unknown_setting_is_one_warning_with_the_nearest_name(start: Callable[..., Any]) -> None:
    runtime = start("handlers.process", SOURCE, ASYA_HANDLER_OTHER="x.y", ASYA_CONCURENCY="1", ASYA_GW_SERVICE_HOST="10.0.0.1")
    runtime.connect()
    assert runtime.stderr().splitlines() == [
        "asya-runtime: ASYA_CONCURENCY is no setting of the runtime and has no effect; did you mean ASYA_CONCURRENCY?"
    ]
