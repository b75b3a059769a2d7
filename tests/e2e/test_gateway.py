"""Quick start, "Using MCP Tools": operator, end actors, gateway and actors by `helm install` alone, then `asya mcp` from a terminal."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.caller import NAME, Caller, await_gateway
from tests.e2e.helm import ROOT
from tests.e2e.stage import CLAIM, QUICK, RECORDING, STAGE_VOLUME, Stage
from tests.e2e.waiting import eventually

pytestmark = pytest.mark.timeout(900)

TOOLS = ROOT / "examples" / "quickstart" / "tools" / "text-processor.yaml"
TRIAL = ("--set", "rabbitmq.host=rabbitmq.infra.svc", "--set", "auth.mode=none", "--set", "auth.allowAnonymous=true")
RECORDS = ("--set", f"results.directory.claimName={CLAIM}")
FAILING = """
def process(payload):
    if "required_field" not in payload:
        raise ValueError("Missing required_field")
    return payload
"""


@pytest.fixture
def caller(stage: Stage, cluster_environment: dict[str, str]) -> Iterator[Caller]:
    made = Caller(stage, Path(cluster_environment["PATH"].split(":", 1)[0]) / "kubectl")
    yield made
    made.disconnect()


def install_gateway(stage: Stage, *arguments: str, values: Any = None) -> str:
    """One release of asya-gateway, as the documentation prints it, beside end actors that report to it; gives its NOTES."""
    said = stage.helm.install(stage.namespace, NAME, "asya-gateway", *TRIAL, *arguments, values=values)
    stage.install_crew(gateway={"enabled": True})
    await_gateway(stage)
    return said


def envelope_id(stderr: str) -> str:
    found = re.search(r"^\[\.\] Envelope ID: (\S+)$", stderr, re.M)
    assert found is not None, stderr
    return found[1]


@pytest.mark.point(88)
def test_using_mcp_tools_as_in_the_quick_start_prints_the_result_and_stores_it(stage: Stage, caller: Caller) -> None:
    failing = {"tools": {"picky": {"actor": "picky", "description": "Wants a field"}}}
    said = install_gateway(stage, "--values", str(TOOLS), *RECORDS, values=failing)
    assert f"port-forward service/{NAME} 8080:80" in said
    three = ("--set", "image.repository=my-processor", "--set", "image.tag=v1", "--set", "handler=text_processor.process")
    stage.install_actor("text-processor", *three)
    stage.install_source("picky", "picky.process", FAILING)
    # A tool more, while the gateway runs: looked for at the end.
    later = {"tools": {"later": {"actor": "text-processor", "description": "Came later"}}}
    pod = await_gateway(stage)
    stage.helm.upgrade(stage.namespace, NAME, "asya-gateway", "--reuse-values", values=later)
    caller.connect()

    listed = caller.asya("mcp", "list")
    assert listed.returncode == 0, listed.stderr
    head, *rows = [re.split(r"\s{2,}", line.strip()) for line in listed.stdout.splitlines()]
    assert head == ["NAME", "DESCRIPTION", "ARGUMENTS"]
    assert ["text-processor", "Upper-cases a text and counts its characters", "text* …"] in rows

    stage.await_condition("text-processor", "Ready", "True", "Napping")
    called = caller.asya("mcp", "call", "text-processor", "--text=hello world")
    assert called.returncode == 0, called.stderr
    assert json.loads(called.stdout) == {"result": {"text": "hello world", "processed": "HELLO WORLD", "length": 11}}
    assert called.stdout.startswith('{\n  "result": {\n    "text": "hello world"')
    assert called.stderr.splitlines()[-1] == "Processing: 100% |████████████████| , succeeded"
    id_ = envelope_id(called.stderr)
    assert stage.result(id_)["payload"] == {"text": "hello world", "processed": "HELLO WORLD", "length": 11}

    failed = caller.asya("mcp", "call", "picky")
    assert failed.returncode == 1, failed.stderr
    error = json.loads(failed.stdout)["error"]
    assert (error["code"], error["type"], error["message"]) == ("handler_error", "ValueError", "Missing required_field")
    assert error["actor"] == "picky"
    assert "[-] ValueError in picky: Missing required_field" in failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr
    record = stage.failure(envelope_id(failed.stderr))
    assert 'raise ValueError("Missing required_field")' in record["error"]["traceback"]
    shown = caller.asya("envelope", "show", envelope_id(failed.stderr), "--traceback")
    assert 'raise ValueError("Missing required_field")' in shown.stdout + shown.stderr

    assert re.search(r"asya-gateway:80/tools: [23] tools", stage.helm.run(stage.namespace, "test", NAME, "--logs"))
    eventually("the new tool is listed", lambda: "Came later" in caller.asya("mcp", "list").stdout)
    assert await_gateway(stage) == pod, "new tools need no other pod"


def test_a_gateway_that_is_restarted_during_a_call_still_learns_of_its_end(stage: Stage, caller: Caller) -> None:
    tools = {"tools": {"recording": {"actor": "recording", "description": "Waits to be let go"}}}
    install_gateway(stage, values=tools)
    stage.install_source("recording", "recording.process", RECORDING, **STAGE_VOLUME, scaling={**QUICK["scaling"], "minReplicas": 1})
    pod = await_gateway(stage)
    caller.connect()
    called = caller.asya("mcp", "call", "recording", "--no-wait", "--json", '{"n": "1", "until": "go"}')
    assert called.returncode == 0, called.stderr
    id_ = json.loads(called.stdout)["id"]
    eventually("the handler runs", lambda: stage.run_counts() == {"1": 1})

    caller.disconnect()
    stage.kube.core.delete_namespaced_pod(pod, stage.namespace)
    stage.let_go("go")
    assert stage.result(id_)["payload"] == {"n": "1", "until": "go"}
    await_gateway(stage, without=pod)
    caller.connect()
    ended = caller.asya("mcp", "status", id_, "--wait", "--output", "json")
    assert ended.returncode == 0, ended.stderr
    view = json.loads(ended.stdout)
    assert (view["id"], view["status"], view["result"]) == (id_, "succeeded", {"n": "1", "until": "go"})
    assert stage.run_counts() == {"1": 1}
