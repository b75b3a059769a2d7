"""Blocks of the public quick start that no other test runs, as printed."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import asya_runtime
from asya_cli.main import asya as command_tree
from tests import forked
from tests.docs.pages import ROOT, all_blocks, asya_words, commands

needs_dot = pytest.mark.skipif(shutil.which("dot") is None and not os.environ.get("CI"), reason="Graphviz is not installed: ci/tools.sh")

HANDLER = """
def process(payload: dict) -> dict:
    # Your logic here <...>
    result = your_ml_model.predict(payload["input"])
    # Recommendation: enrich payload, don't replace it
    return {
        **payload,  # Keep existing data
        "prediction": result  # Add your results
    }
"""
CORRECT = """
    def __init__(self, model_path: str = "/models/default"):
        ...
"""
WRONG = """
    def __init__(self, model_path: str):
        ...
"""
METHOD = """
    def process(self, payload):
        return payload
"""
TEST = """
from src.text_processor import process
payload = {"text": "hello world", "request_id": "123"}
result = process(payload)
assert result == {
    "text": "hello world",
    "request_id": "123",  # Original data preserved
    "processed": "HELLO WORLD",
    "length": 11
}
"""
IMAGE = """
FROM python:3.13-slim
WORKDIR /app
COPY text_processor.py /app/
# Install dependencies (if any)
# RUN pip install --no-cache-dir torch transformers
CMD ["python3", "-c", "import src.text_processor; print('Handler loaded')"]
"""
MY_FLOW = """
def my_flow(p: dict) -> dict:
    # Instantiate with default args only
    classifier = TextClassifier()
    # Use the instance
    p = classifier.process(p)
    return p
"""
COMPILE = """
asya flow compile text_analysis_flow.py --output-dir ./compiled/
"""
PLOT = """
asya flow compile text_analysis_flow.py --output-dir ./compiled/ --plot
"""
PIPELINE = """
asya flow compile ml_pipeline_flow.py --output-dir ./compiled/ --plot
"""
OPTIONS = """
# --verbose, -v Show verbose output
# --plot Generate flow.dot and flow.png
# --plot-width WIDTH Maximum width for node labels (default: 50)
# --overwrite Overwrite existing output directory
# --disable-infinite-loop-check Skip infinite loop detection
"""
FILES = """
compiled/
├── routers.py # Generated router actors (Python)
├── flow.dot # Flow diagram (GraphViz format)
└── flow.png # Flow visualization (if --plot enabled)
"""
COMPILED = """
$ asya flow compile text_analysis_flow.py --output-dir ./compiled/ --plot
[+] Successfully compiled flow to: compiled/routers.py
[+] Generated graphviz dot file: compiled/flow.dot
[+] Generated graphviz png plot: compiled/flow.png
"""
NAME = """
resolve("handler_setup") # Maps to actor name via env vars
"""
NAMES = """
ASYA_HANDLER_MY_ACTOR="full.module.path.ClassName.method"
# All of these work (if unambiguous):
resolve("method") # Shortest suffix
resolve("ClassName.method") # Class + method
resolve("module.ClassName.method") # Partial path
resolve("full.module.path.ClassName.method") # Full path
"""
TWO = """
ASYA_HANDLER_SENTIMENT_EN="sentiment.EnglishSentiment.process"
ASYA_HANDLER_SENTIMENT_ES="sentiment.SpanishSentiment.process"
# In router deployment:
ASYA_HANDLER_SENTIMENT_EN="sentiment.EnglishSentiment.process"
ASYA_HANDLER_SENTIMENT_ES="sentiment.SpanishSentiment.process"
# resolve() maps:
resolve("EnglishSentiment.process") -> "sentiment-en"
resolve("SpanishSentiment.process") -> "sentiment-es"
"""
MODE = """
env:
  - name: ASYA_HANDLER_MODE
    value: "envelope"  # Receive full envelope, not just payload
"""


@pytest.fixture
def asya(tmp_path: Path):
    """Run a printed command in a folder of its own."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("ASYA_")} | {"PYTHONDONTWRITEBYTECODE": "1"}
    return lambda line, **more: forked.run_text(asya_words(line.strip().removeprefix("$ ")), cwd=tmp_path, env=variables | more)


def project(folder: Path, handler: str, **files: str) -> None:
    (folder / "actors").mkdir()
    (folder / "actors" / "one.yaml").write_text(f"handler: {handler}\n", encoding="utf-8")
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")


def test_overviews_handler_adds_its_prediction() -> None:
    class Model:
        def predict(self, value: int) -> int:
            return value + 1

    space: dict = {"your_ml_model": Model()}
    exec(HANDLER, space)
    assert space["process"]({"input": 1, "kept": True}) == {"input": 1, "kept": True, "prediction": 2}


def test_init_with_defaults_is_loaded(asya, tmp_path: Path) -> None:
    project(tmp_path, "classifier.C.process", classifier="class C:" + CORRECT + METHOD)
    assert json.loads(asya("asya run . --input 1").stdout) == 1


def test_init_without_a_default_is_refused_by_name(asya, tmp_path: Path) -> None:
    project(tmp_path, "classifier.C.process", classifier="class C:" + WRONG + METHOD)
    done = asya("asya run . --input 1")
    assert done.returncode == 2
    assert "parameter 'model_path'" in done.stderr


def test_printed_test_of_the_handler_passes(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    shutil.copy(ROOT / "examples" / "quickstart" / "src" / "text_processor.py", tmp_path / "src")
    (tmp_path / "test_handler.py").write_text(TEST, encoding="utf-8")
    subprocess.run([sys.executable, "-B", "test_handler.py"], cwd=tmp_path, check=True, timeout=60)


def test_image_of_the_text_processor_needs_one_line_more(tmp_path: Path) -> None:
    """`RUN ln -s . /app/src`, as docs/reference/runtime.md says."""
    (line,) = (line for line in IMAGE.splitlines() if line.startswith("CMD "))
    _, *words = json.loads(line.removeprefix("CMD "))
    shutil.copy(ROOT / "examples" / "quickstart" / "src" / "text_processor.py", tmp_path)
    command = {"args": [sys.executable, "-B", *words], "cwd": tmp_path, "capture_output": True, "text": True, "timeout": 60, "check": False}
    assert "No module named 'src'" in subprocess.run(**command).stderr
    assert "`RUN ln -s . /app/src`" in (ROOT / "docs" / "reference" / "runtime.md").read_text(encoding="utf-8")
    (tmp_path / "src").symlink_to(".")
    assert subprocess.run(**command).stdout == "Handler loaded\n"


def test_our_pages_print_the_address_of_our_own_package() -> None:
    printed = [line for block in all_blocks() for line in commands(block) if "pip install" in line]
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md")]
    assert any("pip install asya" in text or "pip install 'asya[" in text for text in pages)
    assert [line for line in printed if "git+" in line] == []


def test_flow_with_a_class_is_valid(asya, tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(MY_FLOW, encoding="utf-8")
    assert asya("asya flow validate flow.py").stdout == "[+] Flow is valid: my_flow\n"


@needs_dot
@pytest.mark.parametrize(
    ("flow", "line", "files"),
    [("text_analysis_flow", COMPILE, 2), ("text_analysis_flow", PLOT, 3), ("ml_pipeline_flow", PIPELINE, 3)],
    ids=["compile", "plot", "pipeline"],
)
def test_printed_compilations_give_the_printed_files(asya, tmp_path: Path, flow: str, line: str, files: int) -> None:
    shutil.copy(ROOT / "examples" / "flows" / f"{flow}.py", tmp_path)
    done = asya(line)
    command, *told = COMPILED.strip().splitlines()
    assert done.stdout.splitlines() == told[:files]
    assert command.endswith(PLOT.strip())
    assert all((tmp_path / "compiled" / name).is_file() for name in re.findall(r"── (\S+)", FILES)[:files])


def test_printed_options_are_in_the_help_with_their_defaults() -> None:
    compile_ = command_tree.get_command(None, "flow").commands["compile"]
    names = {name: parameter for parameter in compile_.params for name in parameter.opts}
    for line in OPTIONS.strip().splitlines():
        for name in re.findall(r"(?<!\S)--?[a-z-]+", line):
            assert name in names
    assert names["--plot-width"].default == 50
    assert names["--verbose"] is names["-v"]


@pytest.fixture
def resolve(asya, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`resolve` of compiled routers, under the variables of a block."""
    shutil.copy(ROOT / "examples" / "flows" / "if_else_simple.py", tmp_path)
    assert asya("asya flow compile if_else_simple.py --output-dir ./compiled/").returncode == 0
    space: dict = {"__name__": "routers"}
    exec((tmp_path / "compiled" / "routers.py").read_text(encoding="utf-8"), space)
    for name in list(os.environ):
        if name.startswith("ASYA_"):
            monkeypatch.delenv(name)

    def under(block: str):
        for name, value in re.findall(r'^(ASYA_\w+)="(.*)"$', block, re.M):
            monkeypatch.setenv(name, value)
        return space["resolve"]

    return under


def arguments(block: str) -> list[str]:
    """What `resolve` is called with in a block."""
    return re.findall(r'^resolve\("(.*?)"\)', block, re.M)


def test_names_resolve_as_printed(resolve) -> None:
    found = resolve(NAMES)
    *suffixes, full = (name for name in arguments(NAMES) if name != "module.ClassName.method")
    assert [found(name) for name in (*suffixes, full)] == ["my-actor"] * 3
    (name,) = arguments(NAME)
    assert resolve('ASYA_HANDLER_HANDLER_SETUP="steps.handler_setup"')(name) == "handler-setup"


def test_path_with_a_part_left_out_is_no_suffix(resolve) -> None:
    found = resolve(NAMES)
    assert arguments(NAMES)[2] == "module.ClassName.method"
    with pytest.raises(ValueError, match=r"No actor runs 'module\.ClassName\.method'"):
        found("module.ClassName.method")
    assert found("path.ClassName.method") == "my-actor"


def test_two_actors_resolve_as_printed(resolve) -> None:
    found = resolve(TWO)
    wanted = re.findall(r'-> "(.*)"$', TWO, re.M)
    assert [found(name) for name in arguments(TWO)] == wanted == ["sentiment-en", "sentiment-es"]


def test_envelope_mode_is_set_as_printed() -> None:
    (variable,) = yaml.safe_load(MODE)["env"]
    settings = asya_runtime.Settings({"ASYA_HANDLER": "a.b", variable["name"]: variable["value"]})
    assert settings.mode == "envelope"
