"""A person's terminal in front of the cluster, and of a gateway there. Used by the stories that run `asya`."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.e2e.stage import Stage
from tests.e2e.waiting import eventually

__all__ = ["NAME", "Caller", "await_gateway", "run_asya"]

NAME = "asya-gateway"


class Caller:
    """A person's terminal: `kubectl port-forward` in the background, `asya` in front."""

    def __init__(self, stage: Stage, kubectl: Path) -> None:
        self._stage = stage
        self._kubectl = kubectl
        self._forward: subprocess.Popen[str] | None = None
        self._port = ""

    def connect(self) -> None:
        """Forward a free port of this machine to the gateway's Service; again if its pod cannot be reached yet."""
        self._port = eventually("the gateway's port is forwarded", self._forwarded)

    def _forwarded(self) -> str:
        self.disconnect()
        command = [str(self._kubectl), "--kubeconfig", self._stage.kube.kubeconfig, "-n", self._stage.namespace, "port-forward"]
        self._forward = subprocess.Popen([*command, f"service/{NAME}", ":80"], stdout=subprocess.PIPE, text=True)
        assert self._forward.stdout is not None
        found = re.search(r"127\.0\.0\.1:(\d+) -> 8080", self._forward.stdout.readline())
        return found[1] if found is not None else ""

    def disconnect(self) -> None:
        if self._forward is not None:
            self._forward.send_signal(signal.SIGTERM)
            self._forward.communicate(timeout=30)
            self._forward = None

    def asya(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `asya WORDS`, as the quick start does."""
        environment = {**os.environ, "ASYA_CLI_MCP_URL": f"http://127.0.0.1:{self._port}/"}
        command = [str(Path(sys.executable).with_name("asya")), *words]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=400)


def run_asya(*words: str, kubeconfig: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `asya WORDS` with no settings but the cluster's address.

    Args:
        folder: where; None: here.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ASYA_")}
    command = [str(Path(sys.executable).with_name("asya")), *words]
    return subprocess.run(command, capture_output=True, text=True, env=clean | {"KUBECONFIG": kubeconfig}, cwd=folder, timeout=300)


def await_gateway(stage: Stage, *, without: str = "") -> str:
    """Wait until one pod of the gateway is ready and no other is left; gives its name."""

    def ready() -> str:
        pods = stage.kube.core.list_namespaced_pod(stage.namespace, label_selector="app.kubernetes.io/component=gateway").items
        conditions = [each for pod in pods for each in pod.status.conditions or []]
        is_ready = len(pods) == 1 and any(each.type == "Ready" and each.status == "True" for each in conditions)
        return str(pods[0].metadata.name) if is_ready and pods[0].metadata.name != without else ""

    return eventually("the gateway is ready", ready)
