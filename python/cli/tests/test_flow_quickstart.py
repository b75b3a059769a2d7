"""The quick start's part about flows: its printed flows, commands, output, functions and variables, as printed, by real processes."""

# ruff: noqa: E501 (a flow is a line)

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from oracle import environment

from tests import forked

pytestmark = pytest.mark.unmeasured  # nothing of what the command's branches are counted of
needs_dot = pytest.mark.skipif(shutil.which("dot") is None and not os.environ.get("CI"), reason="Graphviz is not installed: ci/tools.sh")

TEXT_ANALYSIS = """\
def text_analysis_flow(p: dict) -> dict:
    # Flow entrypoint: start_text_analysis_flow

    # Preprocessing
    p = clean_text(p)
    p = tokenize(p)

    # Conditional analysis (creates router)

    if p["language"] == "en":
        p = english_sentiment(p)
    elif p["language"] == "es":
        p = spanish_sentiment(p)
    else:
        p["sentiment"] = "neutral"  # Skip analysis

    # Enrichment
    p = extract_entities(p)
    p["extracted"] = True
    return p  # Flow exitpoint: end_text_analysis_flow


# Define your handler functions (can be in separate files)
def clean_text(p: dict) -> dict:
    ...
    return p


def tokenize(p: dict) -> dict:
    ...
    return p


def english_sentiment(p: dict) -> dict:
    ...
    return p


def spanish_sentiment(p: dict) -> dict:
    ...
    return p


def extract_entities(p: dict) -> dict:
    ...
    return p
"""
IF_ELSE_SIMPLE = """\
def sample_flow(p: dict) -> dict:
    p = handler_setup(p)
    if p["type"] == "A":
        p["branch"] = "A"
        p = handler_type_a(p)
    else:
        p = handler_type_b(p)
        p["branch"] = "B"
    p = handler_finalize(p)
    return p
"""
ML_PIPELINE = """\
def ml_pipeline_flow(p: dict) -> dict:
    # Validation
    p = validate_input(p)
    if not p.get("valid", False):
        p["error"] = "Invalid input"
        return p  # Early exit to end_ml_pipeline_flow
    # Preprocessing
    p = normalize_data(p)
    p = extract_features(p)
    p["preprocessed"] = True

    # Model selection
    if p["model_type"] == "fast":
        p = lightweight_model(p)
    elif p["model_type"] == "accurate":
        p = deep_model(p)
    else:
        p["error"] = "Unknown model type"
        return p
    # Postprocessing
    p = format_results(p)
    p["pipeline_complete"] = True
    return p
"""
MY_FLOW = """\
def my_flow(p: dict) -> dict:
    # Instantiate with default args only
    classifier = TextClassifier()

    # Use instance
    p = classifier.process(p)
    return p
"""
PRINTED = '''\
# Entrypoint - starts the flow
def start_sample_flow(envelope: dict) -> dict:
    """Entrypoint for flow 'sample_flow'"""
    r = envelope['route']
    c = r['current']

    # Insert first handler and conditional router
    r['actors'][c+1:c+1] = [
        resolve("handler_setup"),
        resolve("router_sample_flow_line_3_if")
    ]
    r['current'] = c + 1
    return envelope

# Conditional router - branches based on payload
def router_sample_flow_line_3_if(envelope: dict) -> dict:
    """Router for control flow and payload mutations"""
    p = envelope['payload']
    r = envelope['route']
    c = r['current']
    _next = []
    if p['type'] == 'A':
        _next.append(resolve("router_sample_flow_line_4_seq"))
    else:
        _next.append(resolve("handler_type_b"))
        _next.append(resolve("router_sample_flow_line_8_seq"))
    r['actors'][c+1:c+1] = _next
    r['current'] = c + 1
    return envelope
'''


def asya(*words: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    variables = {name: value for name, value in os.environ.items() if not name.startswith("ASYA_")}
    return forked.run_text(words, cwd=cwd, env=variables)


def compiled(text: str, name: str, place: Path, *options: str) -> dict[str, Any]:
    """The names that the routers define, after the printed command."""
    (place / name).write_text(text, encoding="utf-8")
    done = asya("flow", "compile", name, "--output-dir", "./compiled/", *options, cwd=place)
    assert done.returncode == 0, done.stderr
    space: dict[str, Any] = {"__name__": "routers"}
    exec(compile((place / "compiled" / "routers.py").read_text(encoding="utf-8"), "routers.py", "exec"), space)
    return space


def routers_of(place: Path) -> list[str]:
    graph = json.loads((place / "compiled" / "flow.json").read_text(encoding="utf-8"))
    return [one["name"] for one in graph["nodes"] if one["kind"] != "handler"]


@needs_dot
@pytest.mark.parametrize(("text", "name"), [(TEXT_ANALYSIS, "text_analysis_flow.py"), (ML_PIPELINE, "ml_pipeline_flow.py")])
def test_printed_command_gives_the_printed_lines_and_files(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    done = asya("flow", "compile", name, "--output-dir", "./compiled/", "--plot", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout == (
        "[+] Successfully compiled flow to: compiled/routers.py\n"
        "[+] Generated graphviz dot file: compiled/flow.dot\n"
        "[+] Generated graphviz png plot: compiled/flow.png\n"
    )
    assert {"routers.py", "flow.dot", "flow.png"} <= {path.name for path in (tmp_path / "compiled").iterdir()}


def test_every_printed_option_is_taken(tmp_path: Path) -> None:
    options = ["--verbose", "-v", "--plot", "--plot-width", "30", "--overwrite", "--disable-infinite-loop-check"]
    compiled(MY_FLOW, "flow.py", tmp_path, *options)
    compiled(MY_FLOW, "flow.py", tmp_path, *options)


def test_printed_source_gives_exactly_the_printed_routers(tmp_path: Path) -> None:
    compiled(IF_ELSE_SIMPLE, "if_else_simple.py", tmp_path)
    assert routers_of(tmp_path) == [
        "start_sample_flow", "router_sample_flow_line_3_if", "router_sample_flow_line_4_seq", "router_sample_flow_line_8_seq",
        "end_sample_flow",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["start_sample_flow", "router_sample_flow_line_3_if"])
@pytest.mark.parametrize("kind", ["A", "B"])
@pytest.mark.parametrize(("actors", "current"), [(["x"], 0), (["before", "x", "tail"], 1)])
def test_routers_do_what_the_printed_ones_do(tmp_path: Path, name: str, kind: str, actors: list[str], current: int) -> None:
    space = compiled(IF_ELSE_SIMPLE, "if_else_simple.py", tmp_path)
    printed: dict[str, Any] = {"resolve": space["resolve"]}
    exec(PRINTED, printed)
    names = ["handler_setup", "handler_type_a", "handler_type_b", "handler_finalize"]
    variables = {f"ASYA_HANDLER_{one.upper()}": f"handlers.{one}" for one in names}
    variables |= {f"ASYA_HANDLER_{one.upper()}": f"routers.{one}" for one in routers_of(tmp_path)}
    envelope = {"id": "1", "payload": {"type": kind}, "route": {"actors": actors, "current": current}}
    with environment(variables):
        assert space[name](copy.deepcopy(envelope)) == printed[name](copy.deepcopy(envelope))


def test_names_resolve_by_the_printed_variables(tmp_path: Path) -> None:
    resolve = compiled(MY_FLOW, "flow.py", tmp_path)["resolve"]
    with environment({"ASYA_HANDLER_MY_ACTOR": "full.module.path.ClassName.method"}):
        for name in ("method", "ClassName.method", "path.ClassName.method", "full.module.path.ClassName.method"):
            assert resolve(name) == "my-actor"
    sentiment = {
        "ASYA_HANDLER_SENTIMENT_EN": "sentiment.EnglishSentiment.process",
        "ASYA_HANDLER_SENTIMENT_ES": "sentiment.SpanishSentiment.process",
    }
    with environment(sentiment):
        assert resolve("EnglishSentiment.process") == "sentiment-en"
        assert resolve("SpanishSentiment.process") == "sentiment-es"
        with pytest.raises(ValueError, match=r"ambiguous: sentiment-en \(.*\), sentiment-es \(.*\)"):
            resolve("process")


def test_printed_deployment_resolves_every_name_of_the_flow(tmp_path: Path) -> None:
    compiled(
        TEXT_ANALYSIS.replace("    # Conditional analysis (creates router)\n\n", "    # Conditional analysis (creates router)\n    #\n"),
        "f.py",
        tmp_path,
    )
    variables = {
        "ASYA_HANDLER": "routers.start_text_analysis_flow",
        "ASYA_HANDLER_MODE": "envelope",
        "ASYA_HANDLER_CLEAN_TEXT": "text_handlers.clean_text",
        "ASYA_HANDLER_TOKENIZE": "text_handlers.tokenize",
        "ASYA_HANDLER_ENGLISH_SENTIMENT": "sentiment.EnglishSentiment.process",
        "ASYA_HANDLER_SPANISH_SENTIMENT": "sentiment.SpanishSentiment.process",
        "ASYA_HANDLER_EXTRACT_ENTITIES": "nlp.extract_entities",
    } | {f"ASYA_HANDLER_{one.upper()}": f"routers.{one}" for one in routers_of(tmp_path)}
    done = subprocess.run(
        [sys.executable, "routers.py", "--check"], cwd=tmp_path / "compiled", env=variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert "[+] english_sentiment -> english-sentiment\n" in done.stdout
    assert "[+] clean_text -> clean-text\n" in done.stdout


def test_printed_image_command_loads_the_routers_without_variables(tmp_path: Path) -> None:
    compiled(MY_FLOW, "flow.py", tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", "import routers; print('Routers loaded')"], cwd=tmp_path / "compiled", env={}, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("Routers loaded\n", "")


def test_class_handler_of_the_printed_flow_is_its_actor(tmp_path: Path) -> None:
    space = compiled(MY_FLOW, "my_flow.py", tmp_path)
    with environment({"ASYA_HANDLER_CLASSIFY": "models.TextClassifier.process", "ASYA_HANDLER_END_MY_FLOW": "routers.end_my_flow"}):
        done = space["start_my_flow"]({"payload": {}, "route": {"actors": ["start-my-flow"], "current": 0}})
    assert done["route"] == {"actors": ["start-my-flow", "classify", "end-my-flow"], "current": 1}


@pytest.mark.parametrize(
    ("statement", "code"),
    [("p, q = handler(p)", "FLOW203"), ("classifier = TextClassifier(3)\n    p = classifier.process(p)", "FLOW207")],
)
def test_what_the_quick_start_calls_unsupported_is_refused(tmp_path: Path, statement: str, code: str) -> None:
    (tmp_path / "flow.py").write_text(f"def flow(p):\n    {statement}\n    return p\n", encoding="utf-8")
    done = asya("flow", "validate", "flow.py", cwd=tmp_path)
    assert done.returncode == 1
    assert code in done.stderr


def test_what_the_quick_start_calls_supported_is_taken(tmp_path: Path) -> None:
    text = (
        "def flow(p):\n    p = handler(p)\n    p['key'] = 'value'\n    p['count'] += 1\n    p['result'] = p['x'] + p['y'] * 2\n"
        "    if p['a']:\n        if p['b']:\n            return p\n    classifier = TextClassifier()\n    p = classifier.process(p)\n    return p\n"
    )
    (tmp_path / "flow.py").write_text(text, encoding="utf-8")
    done = asya("flow", "validate", "flow.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "[+] Flow is valid: flow\n")
