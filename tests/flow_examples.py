"""The flows of examples/flows and how each is compiled.

tests/docs/test_flow_examples.py compares what is committed with what the command writes; ``python -m tests.flow_examples`` writes it.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from asya_cli.main import asya
from asya_cli.output import Talk

FLOWS = Path(__file__).parents[1] / "examples" / "flows"
NAMES = sorted(file.stem for file in FLOWS.glob("*.py"))
EMBEDDED = ("if_else_simple",)
"""Without an image: their values hold routers.py."""
WITH_STUBS = ("text_analysis_flow",)


def options_of(name: str) -> list[str]:
    image = [] if name in EMBEDDED else ["--image", f"registry.example.com/{name.replace('_', '-')}-routers:v1"]
    return [*image, *(["--stubs"] if name in WITH_STUBS else [])]


def compile_into(name: str, flows: Path) -> None:
    """What ``asya flow compile`` of the example writes, below ``flows/compiled``."""
    talk = Talk(quiet=True)
    words = ["flow", "compile", str(flows / f"{name}.py"), "--output-dir", str(flows / "compiled" / name), *options_of(name)]
    code = asya.main(words, prog_name="asya", standalone_mode=False, obj=talk)
    assert not code, name


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


if __name__ == "__main__":
    for each in NAMES:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(FLOWS / f"{each}.py", folder)
            compile_into(each, Path(folder))
            made, committed = Path(folder) / "compiled" / each, FLOWS / "compiled" / each
            if files_below(made) != files_below(committed):
                shutil.rmtree(committed, ignore_errors=True)
                shutil.copytree(made, committed)
                print(f"wrote {committed}", file=sys.stderr)
