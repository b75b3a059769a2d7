"""``asya run FLOW.py``: compiled in memory, run as processes; what may be wrong with it."""

import dataclasses
import json
import os
import signal
import subprocess
from pathlib import Path

from tests import forked

WAIT = 60
FLOW = """\
from handlers import upper, boom


def flow(p):
    p = upper(p)
    if p.get("explode"):
        p = boom(p)
    p["extra"] = True
    p = mine(p)
    return p


def mine(p):
    return {**p, "mine": True}
"""


def run(directory: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return forked.run_text(["run", *words], cwd=directory, env=os.environ)


def test_handlers_come_from_the_file_and_from_the_path(project):
    (project.directory / "flow.py").write_text(FLOW)
    done = run(project.directory, "flow.py", "--input", '{"text": "a"}', "--trace")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"text": "a", "upper": "A", "extra": True, "mine": True}
    assert "→ router-flow-line-8-seq" in done.stderr
    failed = run(project.directory, "flow.py", "--input", '{"text": "a", "explode": 1}')
    assert (failed.returncode, failed.stdout) == (1, "")
    assert 'raise KeyError("text")' in failed.stderr
    assert "[-] KeyError in boom: " in failed.stderr


def test_values_files_beside_the_flow_are_those_of_its_handlers(project):
    (project.directory / "flow.py").write_text("from handlers import Greets\n\n\ndef flow(p):\n    p = Greets().process(p)\n    return p\n")
    project.actor("polite", "handler: handlers.Greets.process\nenv: {GREETING: good day}\n")
    (project.directory / "src").mkdir()
    done = run(
        project.directory, "flow.py", "actors/polite.yaml", "--set", "polite.env.GREETING=good evening", "--input", "{}", "--output", "json"
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["payload"] == {"greeting": "good evening"}
    assert [hop["actor"] for hop in document["hops"]] == ["start-flow", "polite", "end-flow"]


def test_flow_of_a_project_with_a_path_finds_its_own_handlers(project):
    source = project.directory / "src"
    source.mkdir()
    (source / "far.py").write_text("def far(p):\n    return {**p, 'far': True}\n")
    (project.directory / "asya.yaml").write_text("run: {path: src}\n")
    (project.directory / "flow.py").write_text(
        "from far import far\n\n\ndef flow(p):\n    p = far(p)\n    p = near(p)\n    return p\n\n\n"
        "def near(p):\n    return {**p, 'near': True}\n"
    )
    done = run(project.directory, "flow.py", "--input", "{}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"far": True, "near": True}


def test_handler_that_is_nowhere_is_named(project):
    (project.directory / "flow.py").write_text("from none import h\n\n\ndef flow(p):\n    p = h(p)\n    return p\n")
    done = run(project.directory, "flow.py", "--input", "{}")
    assert (done.returncode, done.stdout) == (2, "")
    assert "[-] Actor h: " in done.stderr
    assert "no module 'none'" in done.stderr


def test_served_flow_is_compiled_again_when_it_changes(project):
    file = project.directory / "flow.py"
    file.write_text("def flow(p):\n    p = one(p)\n    return p\n\n\ndef one(p):\n    return {**p, 'one': 1}\n")
    flow = dataclasses.replace(project, target="flow.py")
    server = flow.start("--serve")
    try:
        server.until("Serving")
        assert json.loads(flow.run("--attach", "--input", "{}").stdout) == {"one": 1}
        file.write_text(file.read_text().replace("    return p\n", "    p['two'] = 2\n    return p\n", 1))
        awaited = {"router-flow-line-3-seq", "start-flow", "end-flow"}
        while awaited:
            awaited.discard(server.until(" is ready")[-1].removeprefix("[+] ").removesuffix(" is ready"))
        assert json.loads(flow.run("--attach", "--input", "{}").stdout) == {"one": 1, "two": 2}
    finally:
        server.process.send_signal(signal.SIGTERM)
        server.finish()
