"""The end-to-end tier: stories on the cluster of ci/cluster. `make test-cluster` brings all of it; see docs/contributing/cluster.md.

A cluster that does not run is a skip on a laptop, a failure where CI is set. The stories run side by side, each in its own namespace;
the operator is installed once for all of them.
"""

import fcntl
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_helm_charts.clusters import ExistingCluster

from tests.e2e.broker import Broker
from tests.e2e.helm import Helm
from tests.e2e.kube import Kube
from tests.e2e.stage import CLAIM, Stage
from tests.e2e.waiting import eventually

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "ci" / "cluster" / "cluster.py"
SYSTEM = "asya-system"
BROKER_VALUES = {"transports": {"rabbitmq": {"host": "rabbitmq.infra.svc", "managementUrl": "http://rabbitmq.infra.svc:15672"}}}


@pytest.fixture(scope="session")
def cluster_environment() -> dict[str, str]:
    """What `cluster.py env` exports."""
    printed = subprocess.run([sys.executable, CLUSTER, "env"], check=True, capture_output=True, text=True).stdout
    lines = [line.removeprefix("export ").split("=", 1) for line in printed.splitlines()]
    return {name: value.strip('"') for name, value in lines}


@pytest.fixture(scope="session")
def kube(cluster_environment: dict[str, str]) -> Kube:
    kubeconfig = cluster_environment["KUBECONFIG"]
    kube = Kube(kubeconfig) if Path(kubeconfig).exists() else None
    if kube is None or not kube.is_ready():
        missing = "the cluster does not run: make cluster-up"
        if os.environ.get("CI"):
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    return kube


@pytest.fixture(scope="session")
def cluster(kube: Kube, cluster_environment: dict[str, str]) -> Iterator[ExistingCluster]:
    """The same for pytest-helm-charts, with `kubectl` of the cluster's own version."""
    path = os.environ["PATH"]
    os.environ["PATH"] = cluster_environment["PATH"].split(":", 1)[0] + ":" + path
    existing = ExistingCluster(kube.kubeconfig)
    existing.create()
    yield existing
    existing.destroy()
    os.environ["PATH"] = path


@pytest.fixture(scope="session")
def helms(kube: Kube) -> dict[str, Helm]:
    """Both supported Helms, by name."""
    done = subprocess.run([ROOT / "ci" / "helm.sh"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    return {name: Helm(folder / name, kube.kubeconfig) for name in ("helm3", "helm4")}


@pytest.fixture(params=["helm4"])
def helm(request: pytest.FixtureRequest, helms: dict[str, Helm]) -> Helm:
    """The newer Helm; a test that wants both says so by indirect parameters."""
    return helms[request.param]


@pytest.fixture(scope="session")
def broker(cluster_environment: dict[str, str]) -> Broker:
    return Broker(cluster_environment["ASYA_CLUSTER_RABBITMQ_URL"], cluster_environment["ASYA_CLUSTER_RABBITMQ_MANAGEMENT_URL"])


@pytest.fixture(scope="session")
def operator(kube: Kube, helms: dict[str, Helm], tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> str:
    """The operator, installed by its chart with the values of the quick start; gives its namespace. The first worker installs."""
    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    with (shared / "operator.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "operator.installed").exists():
            install_operator(kube, helms["helm4"])
            (shared / "operator.installed").touch()
    return SYSTEM


def install_operator(kube: Kube, helm: Helm, namespace: str = SYSTEM, release: str = "asya-operator", **values: Any) -> None:
    """Install it, or upgrade the one that an earlier run left, and wait until it is Available."""
    if kube.get(f"/api/v1/namespaces/{namespace}") is None:
        kube.core.create_namespace(namespace_manifest(namespace))
        kube.core.create_namespaced_secret(namespace, broker_secret())
    helm.upgrade(namespace, release, "asya-operator", "--install", values={**BROKER_VALUES, **values})

    def is_available() -> bool:
        deployments = kube.apps.list_namespaced_deployment(namespace).items
        return bool(deployments) and all(each.status.available_replicas == each.spec.replicas for each in deployments)

    try:
        eventually("the operator is Available", is_available)
    except AssertionError:
        print("\n".join(kube.story(namespace)), file=sys.stderr)
        raise


def namespace_manifest(name: str) -> dict[str, Any]:
    """A namespace in which the API server refuses every pod that is not "restricted"."""
    return {"metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted", "asya.test/e2e": "true"}}}


def broker_secret() -> dict[str, Any]:
    return {"metadata": {"name": "asya-rabbitmq"}, "stringData": {"username": "asya", "password": "asya"}}


@pytest.fixture
def stages(kube: Kube, broker: Broker, helm: Helm, operator: str, request: pytest.FixtureRequest) -> Iterator[Callable[[], Stage]]:
    """Makes namespaces, and removes them; those of a failed test are described first."""
    made: list[Stage] = []

    def make() -> Stage:
        stage = Stage(namespace=f"e2e-{uuid.uuid4().hex[:8]}", kube=kube, helm=helm, broker=broker)
        kube.core.create_namespace(namespace_manifest(stage.namespace))
        made.append(stage)
        kube.core.create_namespaced_secret(stage.namespace, broker_secret())
        claim = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
        kube.core.create_namespaced_persistent_volume_claim(stage.namespace, {"metadata": {"name": CLAIM}, "spec": claim})
        return stage

    yield make
    for stage in made:
        if request.node.stash.get(FAILED, False):
            print(f"--- namespace {stage.namespace}", *kube.story(stage.namespace), sep="\n")
        kube.core.delete_namespace(stage.namespace)


@pytest.fixture
def stage(stages: Callable[[], Stage]) -> Stage:
    """A namespace of this test's own."""
    return stages()


@pytest.fixture
def crewed(stage: Stage) -> Stage:
    """The same, with the crew installed."""
    stage.install_crew()
    return stage


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report
