"""Golden cases: source, both internal forms and the routers' functions as text. `ASYA_UPDATE_CASES=1` writes them anew; review the diff."""

import os
import re
from pathlib import Path

import pytest

from asya_flowc import compile_source
from asya_flowc.ir import Flow, Program
from asya_flowc.ir_text import print_flow, print_routers

CASES = sorted((Path(__file__).parent / "cases").glob("*.case"))


def sections(text: str) -> dict[str, str]:
    """`-- name --` lines begin a section."""
    parts = re.split(r"^-- (\w+) --\n", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def made(flow: str) -> dict[str, str]:
    forms: dict[str, Flow | Program] = {}
    done = compile_source(flow, "flow.py", watch=forms.__setitem__)
    assert not isinstance(done, list)
    lowered = forms["lower"]
    assert isinstance(lowered, Flow)
    python = done.artifacts["routers.py"]
    functions = python[python.index(f"def start_{done.flow}(") : python.index("_ASYA_STEPS")].rstrip() + "\n"
    return {"flow": flow, "ir": print_flow(lowered), "routers": print_routers(done.program), "python": functions}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case_compiles_to_the_recorded_text(path: Path) -> None:
    recorded = sections(path.read_text(encoding="utf-8"))
    found = made(recorded["flow"])
    if os.environ.get("ASYA_UPDATE_CASES"):
        path.write_text("".join(f"-- {name} --\n{text}" for name, text in found.items()), encoding="utf-8")
        recorded = found
    assert found == recorded


def test_there_are_cases() -> None:
    assert len(CASES) >= 5
