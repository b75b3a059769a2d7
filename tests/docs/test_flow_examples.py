"""The flows of examples/flows: what is committed is what the command writes, and plain Python, routers and processes give one result."""

import copy
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from oracle import agree, environment

from asya_cli.run import values
from tests import forked
from tests.flow_examples import FLOWS, NAMES, compile_into, files_below

AS_PROCESSES = ["class_handlers"]
"""And etl_orders, by the command of the README: test_compile_a_flow."""


def module_of(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _no_byte_code(monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


def example(name: str) -> tuple[dict, dict, dict]:
    """Graph, input, expected payload."""
    files = (FLOWS / "compiled" / name / "flow.json", FLOWS / "inputs" / f"{name}.json", FLOWS / "expected" / f"{name}.json")
    graph, given, expected = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    return graph, given, expected


@pytest.mark.behaviour("flow:deterministic")
@pytest.mark.parametrize("name", NAMES)
def test_committed_output_is_what_the_command_writes(name, tmp_path, capfd):
    shutil.copy(FLOWS / f"{name}.py", tmp_path)
    compile_into(name, tmp_path)
    assert files_below(tmp_path / "compiled" / name) == files_below(FLOWS / "compiled" / name)


def test_nothing_else_is_committed_as_compiled():
    assert sorted(path.name for path in (FLOWS / "compiled").iterdir() if path.is_dir()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_plain_python_gives_the_expected_payload(name):
    graph, given, expected = example(name)
    flow = getattr(module_of(FLOWS / f"{name}.py"), graph["flow"])
    assert json.loads(json.dumps(flow(given))) == expected


@pytest.mark.parametrize("name", NAMES)
def test_committed_routers_with_the_real_handlers_give_the_expected_payload(name):
    graph, given, expected = example(name)
    folder = FLOWS / "compiled" / name
    routers, flow = module_of(folder / "routers.py"), module_of(FLOWS / f"{name}.py")
    actors = {}
    for one in graph["mappings"].values():
        module, _, path = one["handler"].partition(".")
        owner = routers if module == "routers" else flow
        for part in path.split("."):
            owner = getattr(owner, part)
            owner = owner() if isinstance(owner, type) else owner
        actors[one["actor"]] = (owner, module == "routers")
    entry = graph["nodes"][0]["actor"]
    variables = yaml.safe_load((folder / "values" / f"{entry}.yaml").read_text(encoding="utf-8"))["env"]
    envelope = {"id": "1", "route": {"actors": [entry, "tail"], "current": 0}, "payload": copy.deepcopy(given)}
    with environment(variables):
        for _ in range(200):
            actor = envelope["route"]["actors"][envelope["route"]["current"]]
            if actor == "tail":
                break
            handler, is_router = actors[actor]
            if is_router:
                envelope = json.loads(json.dumps(handler(envelope)))
            else:
                envelope["payload"] = json.loads(json.dumps(handler(envelope["payload"])))
                envelope["route"]["current"] += 1
    assert envelope["route"]["actors"][-1] == "tail"
    assert envelope["payload"] == expected


@pytest.mark.behaviour("flow:same-as-python")
@pytest.mark.parametrize("name", NAMES)
def test_oracle_holds_for_the_flow(name):
    agree((FLOWS / f"{name}.py").read_text(encoding="utf-8"), example(name)[1], {})


@pytest.mark.parametrize("name", NAMES)
def test_committed_values_are_allowed_by_the_charts_schema(name):
    files = sorted((FLOWS / "compiled" / name / "values").rglob("*.yaml"))
    assert files
    for file in files:
        values.read(file.read_text(encoding="utf-8"), file=file.name)


def asya(*words: object) -> "subprocess.CompletedProcess[str]":
    variables = {key: value for key, value in os.environ.items() if not key.startswith("ASYA_")}
    return forked.run_text([*map(str, words)], cwd=FLOWS.parents[1], env=variables)


@pytest.mark.parametrize("name", AS_PROCESSES)
def test_flow_runs_as_processes(name):
    done = asya("run", FLOWS / f"{name}.py", "--input", f"@{FLOWS / 'inputs' / f'{name}.json'}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == example(name)[2]


def test_folded_routers_run_from_the_values_files_that_are_written(tmp_path):
    name = "etl_orders"
    done = asya("flow", "compile", FLOWS / f"{name}.py", "-o", tmp_path, "--routers", "folded", "--stubs")
    assert done.returncode == 0, done.stderr
    files = sorted((tmp_path / "values").rglob("*.yaml"))
    done = asya("run", *files, "--route", "start-etl-flow", "--input", f"@{FLOWS / 'inputs' / f'{name}.json'}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == example(name)[2]
