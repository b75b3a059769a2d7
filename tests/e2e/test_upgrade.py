"""From the previous release to this one, and back, by the commands of UPGRADE.md, while envelopes are on their way. No envelope is lost.

Both releases are what `ci/release` makes of a commit: charts that name images by digest, and those images.
"""

import json
import re
import shlex
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ci.release import parts
from ci.release.parts import Parts
from ci.release.refusal import Refused
from tests.e2e.caller import NAME, Caller, await_gateway
from tests.e2e.conftest import OPERATOR_VALUES, ROOT, SYSTEM, Control, Stages, absent, await_operator
from tests.e2e.helm import Helm
from tests.e2e.kube import Kube
from tests.e2e.stage import CLAIM, QUICK, RECORDING, STAGE_VOLUME, Stage
from tests.e2e.waiting import eventually

pytestmark = [pytest.mark.timeout(900), pytest.mark.alone, pytest.mark.upgrade]

FIRST, SECOND = "text-processor", "counter"
"""The first is awake in two pods; the second sleeps until something comes."""


@pytest.fixture
def previous(tmp_path: Path, kube: Kube, cluster_control: Control) -> Parts:
    """The release before this one; its images are on the cluster."""
    try:
        made = parts.of_previous(ROOT, tmp_path / "previous")
    except Refused as refused:
        absent(str(refused))
    cluster_control("load", *(str(image.archive) for image in made.images))
    return made


@pytest.fixture
def present(tmp_path: Path, kube: Kube, cluster_control: Control) -> Parts:
    """This release; its images are on the cluster."""
    made = parts.of_tree(ROOT, tmp_path / "present")
    cluster_control("load", *(str(image.archive) for image in made.images))
    return made


@pytest.fixture
def caller(stage: Stage, cluster_environment: dict[str, str]) -> Iterator[Caller]:
    made = Caller(stage, Path(cluster_environment["PATH"].split(":", 1)[0]) / "kubectl")
    yield made
    made.disconnect()


class Stream(threading.Thread):
    """Publishes an envelope every tenth of a second until it is ended, so that some are everywhere at every moment."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(daemon=True)
        self._stage = stage
        self._over = threading.Event()
        self.ids: list[str] = []

    def run(self) -> None:
        while not self._over.wait(0.1):
            self.ids += self._stage.publish(FIRST, {"n": f"stream-{len(self.ids)}"}, route=[SECOND])

    def end(self) -> list[str]:
        """Stop, and give the ids of all that were published; each was confirmed."""
        self._over.set()
        self.join(timeout=60)
        assert not self.is_alive()
        return self.ids


@pytest.mark.point(86)
@pytest.mark.behaviour("release:upgrade")
def test_upgrade_and_rollback_by_the_documented_commands_lose_no_envelope_that_is_on_its_way(
    previous: Parts,
    present: Parts,
    stages: Stages,
    kube: Kube,
    helms: dict[str, Helm],
    changed_operator: None,
    caller: Caller,
    stage: Stage,
) -> None:
    install(stage, previous)
    old, new = _references(previous), _references(present)
    eventually("the old release runs", lambda: _running(stage) == {old["sidecar"], old["crew"], old["gateway"]})

    # One call of the gateway's, and one envelope in a pod of each kind, span the whole upgrade.
    caller.connect()
    called = caller.asya("mcp", "call", FIRST, "--no-wait", "--json", json.dumps({"n": "held", "until": "upgraded"}))
    assert called.returncode == 0, called.stderr
    held = json.loads(called.stdout)["id"]
    caller.disconnect()
    many = stage.publish(FIRST, *({"n": f"many-{n}", "seconds": 0.05} for n in range(200)), route=[SECOND])
    eventually("the held call runs", lambda: "held" in stage.run_counts())
    stream = Stream(stage)
    stream.start()

    # The documented block, in its order.
    for command in documented("helm upgrade"):
        upgrade(stage, present, command)
    await_operator(kube)
    eventually("the new release runs alone", lambda: _running(stage) == {new["sidecar"], new["crew"], new["gateway"]})
    assert _operator_image(kube) == new["operator"]
    # The pod that holds the call is of the old release still, and ends when the call does.
    assert held not in stage.stored("results")
    stage.let_go("upgraded")
    assert stage.result(held)["payload"]["n"] == "held"

    for command in documented("helm rollback"):
        words = shlex.split(command)
        stage.helm.run(SYSTEM if words[-1] == SYSTEM else stage.namespace, *words[1:-2])
    await_operator(kube)
    eventually("the old release runs again", lambda: _running(stage) == {old["sidecar"], old["crew"], old["gateway"]})
    assert _operator_image(kube) == old["operator"]

    published = {*many, *stream.end(), held}
    assert len(published) > 201
    eventually("every envelope has ended", lambda: stage.stored("results") | stage.stored("errors") >= published)
    assert stage.stored("errors") == set()
    assert stage.stored("results") == published
    await_gateway(stage)
    caller.connect()
    ended = json.loads(caller.asya("mcp", "status", held, "--wait", "--output", "json").stdout)
    assert (ended["status"], ended["result"]["n"]) == ("succeeded", "held")


def install(stage: Stage, release: Parts) -> None:
    """The four charts of a release, as a user has them: with values of one's own."""
    charts = {name: str(package) for name, package in release.charts.items()}
    values = {key: OPERATOR_VALUES[key] for key in ("transports", "reconcile", "gateway")}  # those that every version knows
    stage.helm.upgrade(SYSTEM, "asya-operator", charts["asya-operator"], "--install", values=values)
    await_operator(stage.kube)
    results: dict[str, Any] = {"directory": {"claimName": CLAIM}}
    gateway = {
        "rabbitmq": {"host": "rabbitmq.infra.svc"},
        "auth": {"mode": "none", "allowAnonymous": True},
        "results": results,
        "tools": {FIRST: {"route": [FIRST, SECOND], "description": "Works on a text"}},
    }
    stage.helm.install(stage.namespace, NAME, charts["asya-gateway"], values=gateway)
    awake = {"resources": QUICK["resources"], "scaling": {"minReplicas": 1, "maxReplicas": 2}}
    stage.helm.install(stage.namespace, "asya-crew", charts["asya-crew"], values={"storage": results, "happyEnd": awake, "errorEnd": awake})
    code = {"handler": "recording.process", "source": {"files": {"recording.py": RECORDING}}, **STAGE_VOLUME}
    for name, replicas in ((FIRST, 2), (SECOND, 0)):
        scaling = {**QUICK["scaling"], "minReplicas": replicas, "maxReplicas": 2}
        stage.helm.install(stage.namespace, name, charts["asya-actor"], values={**QUICK, **code, "scaling": scaling})
    for name in ("happy-end", "error-end", FIRST, SECOND):
        stage.await_condition(name, "Ready", "True")
    await_gateway(stage)


COMMAND = re.compile(
    r"helm upgrade (?P<release>\S+) oci://registry\.example\.com/charts/(?P<chart>\S+) --version \S+ -n (?P<where>\S+)(?P<rest>.*)"
)


def documented(beginning: str) -> list[str]:
    """Those commands of UPGRADE.md, an actor's for each of ours."""
    lines = [line.partition("  #")[0] for line in (ROOT / "UPGRADE.md").read_text().splitlines() if line.startswith(beginning)]
    assert [line for line in lines if FIRST in line], lines
    return [
        line.replace(FIRST, name) for line in lines for name in ((FIRST, SECOND) if FIRST in line else ("",)) if name or FIRST not in line
    ]


def upgrade(stage: Stage, release: Parts, command: str) -> None:
    """Run it with the package instead of a registry's address."""
    found = COMMAND.fullmatch(command)
    assert found is not None, command
    namespace = SYSTEM if found["where"] == SYSTEM else stage.namespace
    stage.helm.upgrade(namespace, found["release"], str(release.charts[found["chart"]]), *shlex.split(found["rest"]))


def _references(release: Parts) -> dict[str, str]:
    """What pods name, by image."""
    return {image.name: f"{image.repository}@{image.digest}" for image in release.images}


def _running(stage: Stage) -> set[str]:
    """Images of ours in the namespace's pods, the runtime's apart, which holds nothing of ours; pods that are ending take no messages."""
    pods = [pod for pod in stage.kube.core.list_namespaced_pod(stage.namespace).items if not pod.metadata.deletion_timestamp]
    images = {re.sub(r":[^:@/]+@", "@", each.image) for pod in pods for each in [*(pod.spec.init_containers or []), *pod.spec.containers]}
    return {image for image in images if image.startswith("asya/") and not image.startswith("asya/runtime")}


def _operator_image(kube: Kube) -> str:
    deployment = kube.apps.read_namespaced_deployment("asya-operator", SYSTEM)
    return str(deployment.spec.template.spec.containers[0].image)
