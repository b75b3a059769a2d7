"""The end-to-end tier: stories on the cluster of ci/cluster. `make test-cluster` brings all of it; see docs/contributing/cluster.md.

A cluster that does not run is a skip on a laptop, a failure where CI is set. The stories run side by side, each in its own namespace;
the operator is installed once for all of them. Those marked `alone` change what the others stand on and run by themselves afterwards.
"""

import fcntl
import os
import subprocess
import sys
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NoReturn, Protocol

import pytest
from pytest_helm_charts.clusters import ExistingCluster

from tests.e2e.audit import Audit
from tests.e2e.broker import Broker
from tests.e2e.helm import Helm
from tests.e2e.kube import Kube
from tests.e2e.stage import CLAIM, Stage
from tests.e2e.waiting import eventually

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "ci" / "cluster" / "cluster.py"
SYSTEM = "asya-system"
ACCOUNT = f"{SYSTEM}/asya-operator"
"""The operator's, as `Audit` names it."""
OPERATOR_VALUES: dict[str, Any] = {
    "transports": {"rabbitmq": {"host": "rabbitmq.infra.svc", "managementUrl": "http://rabbitmq.infra.svc:15672"}},
    # Half a minute by default each, which stories about queues and deleted actors would wait for.
    "reconcile": {"queueInterval": "5s"},
    "drain": {"quietPeriod": "10s"},
    "gateway": {"internalUrl": "http://asya-gateway-internal.{namespace}.svc:8081"},
}


@pytest.fixture(scope="session")
def cluster_environment() -> dict[str, str]:
    """What `cluster.py env` exports."""
    printed = subprocess.run([sys.executable, CLUSTER, "env"], check=True, capture_output=True, text=True).stdout
    lines = [line.removeprefix("export ").split("=", 1) for line in printed.splitlines()]
    return {name: value.strip('"') for name, value in lines}


class Control(Protocol):
    """Runs `cluster.py` with these words, such as "stop", "rabbitmq"."""

    def __call__(self, *words: str) -> str:
        """Gives what it printed."""
        ...


@pytest.fixture
def cluster_control() -> Iterator[Control]:
    """For stories that stop a part of the cluster; at the end all of it runs again."""

    def control(*words: str) -> str:
        done = subprocess.run([sys.executable, CLUSTER, *words], capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"cluster.py {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    yield control
    control("up")


@pytest.fixture(scope="session")
def kube(cluster_environment: dict[str, str]) -> Kube:
    kubeconfig = cluster_environment["KUBECONFIG"]
    kube = Kube(kubeconfig) if Path(kubeconfig).exists() else None
    if kube is None or not kube.is_ready():
        absent("the cluster does not run: make cluster-up")
    return kube


def absent(missing: str) -> NoReturn:
    """Something that a story needs is not here: a skip on a laptop, a failure where CI is set."""
    if os.environ.get("CI"):
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)


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


@pytest.fixture
def changed_operator(operator: str, kube: Kube, helms: dict[str, Helm]) -> Iterator[None]:
    """For stories that install the operator with other values: put back afterwards."""
    yield
    install_operator(kube, helms["helm4"])


@pytest.fixture(scope="session")
def audit(kube: Kube, cluster_environment: dict[str, str]) -> Audit:
    return Audit(Path(cluster_environment["ASYA_CLUSTER_AUDIT_LOG"]))


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
    helm.upgrade(namespace, release, "asya-operator", "--install", values={**OPERATOR_VALUES, **values})

    await_operator(kube, namespace)


def await_operator(kube: Kube, namespace: str = SYSTEM) -> None:
    """Wait until the operator of this namespace is Available and no pod of an older template is left."""

    def is_available() -> bool:
        deployments = kube.apps.list_namespaced_deployment(namespace).items
        return bool(deployments) and all(_is_rolled_out(each) for each in deployments)

    try:
        eventually("the operator is Available", is_available)
    except AssertionError:
        print(*kube.story(namespace), *kube.operator_log(namespace), sep="\n", file=sys.stderr)
        raise


def _is_rolled_out(deployment: Any) -> bool:
    wanted, status = deployment.spec.replicas, deployment.status
    is_observed = (status.observed_generation or 0) >= deployment.metadata.generation
    return bool(is_observed and status.updated_replicas == status.available_replicas == status.replicas == wanted)


def restart_operator(kube: Kube, namespace: str = SYSTEM) -> None:
    """End the operator's pods and wait for the next."""
    old = {pod.metadata.name for pod in kube.core.list_namespaced_pod(namespace).items}
    for name in old:
        kube.delete_pod(namespace, name)
    eventually("the old pods are gone", lambda: not old & {pod.metadata.name for pod in kube.core.list_namespaced_pod(namespace).items})
    await_operator(kube, namespace)


def namespace_manifest(name: str) -> dict[str, Any]:
    """A namespace in which the API server refuses every pod that is not "restricted"."""
    return {"metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted", "asya.test/e2e": "true"}}}


def broker_secret() -> dict[str, Any]:
    return {"metadata": {"name": "asya-rabbitmq"}, "stringData": {"username": "asya", "password": "asya"}}


class Stages(Protocol):
    """Makes namespaces for stories."""

    def __call__(self, *, name: str = "", has_secret: bool = True) -> Stage:
        """One more. `name`: instead of one by chance; `has_secret`: whether it has the broker's."""
        ...


@pytest.fixture
def stages(kube: Kube, broker: Broker, helm: Helm, operator: str, request: pytest.FixtureRequest) -> Iterator[Stages]:
    """Makes namespaces, and removes them; those of a failed test are described first."""
    made: list[Stage] = []

    def make(*, name: str = "", has_secret: bool = True) -> Stage:
        stage = Stage(namespace=name or f"e2e-{uuid.uuid4().hex[:8]}", kube=kube, helm=helm, broker=broker)
        kube.core.create_namespace(namespace_manifest(stage.namespace))
        made.append(stage)
        if has_secret:
            kube.core.create_namespaced_secret(stage.namespace, broker_secret())
        claim = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
        kube.core.create_namespaced_persistent_volume_claim(stage.namespace, {"metadata": {"name": CLAIM}, "spec": claim})
        return stage

    yield make
    if request.node.stash.get(FAILED, False):
        for stage in made:
            print(f"--- namespace {stage.namespace}", *kube.story(stage.namespace), sep="\n")
        print("--- operator", *kube.operator_log(operator), sep="\n")
        for stage in made:  # a call that is held would keep its pod for as long as it may last
            for pod in kube.core.list_namespaced_pod(stage.namespace).items:
                kube.delete_pod(stage.namespace, pod.metadata.name, grace_seconds=1)
    for stage in made:
        kube.delete(f"/api/v1/namespaces/{stage.namespace}")


@pytest.fixture
def stage(stages: Stages) -> Stage:
    """A namespace of this test's own."""
    return stages()


@pytest.fixture
def crewed(stage: Stage) -> Stage:
    """The same, with the crew installed."""
    stage.install_crew()
    return stage


FAILED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "point(number): the point of docs/reference/chart-checklist.md that this test proves")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What looks back at the whole tier comes last; what looks back at the stories side by side, before those that are alone."""

    def place(item: pytest.Item) -> int:
        mark = item.get_closest_marker("whole_tier")
        return 0 if mark is None else -1 if mark.kwargs.get("first") else 1

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report
