"""docs/tutorials/flow-on-a-cluster.md: its blocks as printed, one after the other, beside the operator of all stories."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import Block, blocks
from tests.e2e.helm import ROOT, Helm
from tests.e2e.kube import Kube
from tests.e2e.waiting import WAIT, eventually

pytestmark = pytest.mark.timeout(900)

PAGE = "docs/tutorials/flow-on-a-cluster.md"
FLOW = "docs/tutorials/first-flow.md"
HERE = "tests/e2e/test_tutorial.py"
NAMESPACE = "shop"
PRINTED = "http://127.0.0.1:8080/"


class Terminal:
    """A checkout's folder as the page supposes it, and a shell in it."""

    def __init__(self, folder: Path, kubeconfig: str, programs: str, helm: Path) -> None:
        (folder / "bin").mkdir()
        (folder / "bin" / "helm").symlink_to(helm)
        (folder / "charts").symlink_to(ROOT / "charts")
        (folder / "orders.py").write_text(next(block.text for block in blocks(FLOW) if block.info == "python"))
        self._folder = folder
        path = ":".join([str(folder / "bin"), programs, str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = {**os.environ, "PATH": path, "KUBECONFIG": kubeconfig}

    def typed(self, text: str) -> str:
        """What a block prints on standard output. It must not fail."""
        command = ["bash", "-euo", "pipefail", "-c", text]
        done = subprocess.run(
            command, cwd=self._folder, env=self.environment, capture_output=True, text=True, timeout=2 * WAIT, check=False
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def forwarded(self) -> subprocess.Popen[str]:
        """The gateway's port on a free one of this machine."""
        command = ["kubectl", "-n", NAMESPACE, "port-forward", "service/asya-gateway", ":80"]
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def terminal(kube: Kube, helm: Helm, operator: str, cluster_environment: dict[str, str], tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(tmp_path, kube.kubeconfig, cluster_environment["PATH"].split(":", 1)[0], helm.program)
    yield made
    subprocess.run(["kubectl", "delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false"], env=made.environment, check=True)


def test_page_leads_from_nothing_to_a_flow_that_answers(terminal: Terminal, kube: Kube) -> None:
    namespace, compiled, actors, gateway, call, result, failure, end = (block for block in blocks(PAGE) if HERE in block.tests)
    eventually("the namespace of an earlier run is gone", lambda: kube.get(f"/api/v1/namespaces/{NAMESPACE}") is None)
    terminal.typed(namespace.text)
    terminal.typed(compiled.text)
    table = terminal.typed(actors.text)
    assert re.search(r"^start-order-flow +True ", table, re.M), table
    look = f"kubectl -n {NAMESPACE} get asya"
    assert look in actors.text
    eventually("the page's table", lambda: re.search(r"^start-order-flow +True +Napping ", terminal.typed(look), re.M))
    terminal.typed(gateway.text)
    forward = terminal.forwarded()
    assert forward.stdout is not None
    try:
        found = re.search(r"127\.0\.0\.1:(\d+) ->", forward.stdout.readline())
        assert found is not None
        address = f"http://127.0.0.1:{found[1]}/"
        printed = terminal.typed(call.text.replace(PRINTED, address))
        assert printed.endswith(result.text)
        assert "order_flow" in printed.removesuffix(result.text)
        terminal.environment["ASYA_CLI_MCP_URL"] = address
        told = terminal.typed(failure.text)
        assert "exit code 1" in told
        look = "kubectl -n shop logs deploy/price"
        assert look in failure.text
        eventually("the traceback is in the log", lambda: "KeyError: 'price'" in told + terminal.typed(look))
    finally:
        forward.terminate()
        forward.wait(60)
        forward.stdout.close()
    terminal.typed(end.text)
    eventually("the namespace is gone", lambda: kube.get(f"/api/v1/namespaces/{NAMESPACE}") is None)


def test_blocks_that_the_story_leaves_out_are_few() -> None:
    left_out: list[Block] = [block for block in blocks(PAGE) if not block.tests]
    assert len(left_out) == 3
