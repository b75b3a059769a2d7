"""Commands of the public quick start that need a cluster, as printed, in a terminal whose context is the namespace of the stage."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.stage import Stage
from tests.e2e.waiting import WAIT, eventually

pytestmark = pytest.mark.timeout(600)

MANIFEST = Path(__file__).parents[1] / "contract" / "quickstart" / "text-processor.yaml"
HANDLER = "def process(payload):\n    print('seen', flush=True)\n    return {**payload, 'processed': True}\n"
APPLY = """
kubectl apply -f text-processor.yaml
"""
LOOKS = """
# View actor status
kubectl get asya text-processor
# Watch autoscaling
kubectl get hpa -w
# View logs
kubectl logs -f deploy/text-processor
# View sidecar logs (routing, errors)
kubectl logs -f deploy/text-processor -c asya-sidecar
"""


class Terminal:
    """A folder and a context, in which printed lines are typed."""

    def __init__(self, stage: Stage, folder: Path, programs: str) -> None:
        self._folder = folder
        kubeconfig = folder / "kubeconfig"
        shutil.copy(stage.kube.kubeconfig, kubeconfig)
        self._environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "KUBECONFIG": str(kubeconfig)}
        self.typed(f"kubectl config set-context --current --namespace={stage.namespace}")

    def typed(self, line: str) -> str:
        """What a command prints that ends."""
        done = subprocess.run(
            line.split(), cwd=self._folder, env=self._environment, capture_output=True, text=True, timeout=WAIT, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def followed(self, line: str, word: str) -> str:
        """What a command that never ends prints until a line with `word` comes."""
        process = subprocess.Popen(
            line.split(), cwd=self._folder, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout is not None
        printed = ""
        try:
            while word not in printed:
                text = process.stdout.readline()
                assert text, f"{line}: ended before {word!r} came: {printed}"
                printed += text
            return printed
        finally:
            process.kill()
            process.wait(60)
            process.stdout.close()


@pytest.fixture
def programs(cluster_environment: dict[str, str]) -> str:
    """The folder of the cluster's own kubectl."""
    return cluster_environment["PATH"].split(":", 1)[0]


def test_printed_apply_makes_the_actor(stage: Stage, tmp_path: Path, programs: str) -> None:
    shutil.copy(MANIFEST, tmp_path)
    terminal = Terminal(stage, tmp_path, programs)
    assert terminal.typed(APPLY) == "asyncactor.asya.sh/text-processor created\n"
    eventually("the operator has looked at it", lambda: (stage.kube.actor(stage.namespace, "text-processor") or {}).get("status"))


def test_printed_looks_at_an_actor_show_it(crewed: Stage, tmp_path: Path, programs: str) -> None:
    status, scaling, handler, sidecar = (line for line in LOOKS.splitlines() if line.startswith("kubectl "))
    crewed.install_source("text-processor", "text_processor.process", HANDLER, scaling={"minReplicas": 1})
    (id_,) = crewed.publish("text-processor", {"text": "a"})
    assert crewed.result(id_)["payload"] == {"text": "a", "processed": True}
    crewed.await_one_pod("text-processor")
    terminal = Terminal(crewed, tmp_path, programs)
    assert terminal.typed(status).split()[:3] == ["NAME", "READY", "STATUS"]
    row = ["text-processor", "True", "Running"]
    eventually("it is printed as Running", lambda: terminal.typed(status).splitlines()[1].split()[:3] == row)
    assert "keda-hpa-text-processor" in terminal.followed(scaling, "Deployment/text-processor")
    assert "seen\n" in terminal.followed(handler, "seen")
    assert '"actor":"text-processor"' in terminal.followed(sidecar, '"event":"delivery"')
