"""`asya doctor` on this machine: a real RabbitMQ, real folders, and an API server's answers from a real socket."""

import base64
import json
import os
import re
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from asya_cli.kube import connect
from asya_core.wire.errors import RemoteFault
from tests import forked

KUBERNETES = ("kubernetes.client",)
"""Imported before the fork: it takes half a second."""
NOBODY = {"asya_cli.config.DEFAULT_URL": "http://127.0.0.1:9", "asya_cli.client._PAUSES": [0.01, 0.01]}
"""Whoever serves at the default address of this machine is not what is tested; nobody does, and tries go on without pauses."""
PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "check-an-installation.md"
Done = Any


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "NO_COLOR": "1"} | more


@pytest.fixture
def asya(tmp_path: Path) -> Callable[..., Done]:
    def run(*words: str, **more: str) -> Done:
        return forked.run_text(["doctor", *words], cwd=tmp_path, env=environment(tmp_path, **more), imports=KUBERNETES, patches=NOBODY)

    return run


def states(done: Done) -> dict[str, str]:
    return {each["check"]: each["state"] for each in json.loads(done.stdout)["checks"]}


def test_bare_machine_is_well(asya: Callable[..., Done]) -> None:
    done = asya()
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("[+] python: Python 3.")
    assert "[.] values: this folder has no actors/*.yaml" in lines
    assert "[.] gateway: None answers at the default address, and no other is set" in lines
    assert done.stderr.startswith("[+] ")


def test_without_graphviz_it_says_what_is_missing(asya: Callable[..., Done]) -> None:
    assert "[.] graphviz: dot is not on the PATH" in asya(PATH="/nowhere").stdout


@pytest.mark.behaviour("doctor:remedy")
def test_each_fault_is_a_line_and_a_remedy(asya: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "actors").mkdir()
    (tmp_path / "actors" / "judge.yaml").write_text("handlr: judge.score\n")
    words = ["--storage", "file:///nowhere", "--broker-url", "amqp://127.0.0.1:9", "--namespace", "shop", "--url", "http://127.0.0.1:9"]
    done = asya(*words)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    bad = [number for number, line in enumerate(lines) if line.startswith("[-] ")]
    assert [lines[number].split(":")[0] for number in bad] == ["[-] values", "[-] broker", "[-] storage", "[-] gateway"]
    assert all(lines[number + 1].startswith("    hint: ") for number in bad)
    assert "unknown key handlr" in done.stdout
    assert done.stderr.splitlines()[0].endswith("checks failed: values, broker, storage, gateway")


def test_bad_settings_are_one_check(asya: Callable[..., Done]) -> None:
    done = asya("--output", "json", ASYA_CLI_MCP_URI="http://x")
    assert (done.returncode, states(done)["settings"]) == (1, "bad")


@pytest.mark.parametrize("words", [["nowhere"], ["--context", "x"]])
def test_mistake_is_two_lines_and_exit_2(asya: Callable[..., Done], words: list[str]) -> None:
    done = asya(*words)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 2)


def test_storage_that_cannot_be_written_to_is_told(asya: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir()
    (tmp_path / "objects" / "doctor").write_text("a file where a folder should be")
    done = asya("--storage", f"file://{tmp_path}/objects", "--output", "json")
    assert (states(done)["storage"], states(done)["storage writable"]) == ("good", "bad")


# ----------------------------------------------------------------------------------------------------------------- RabbitMQ


class Management:
    """The management API of the RabbitMQ under test, as its administrator."""

    def __init__(self) -> None:
        url = os.environ.get("ASYA_TEST_RABBITMQ_URL")
        if not url:
            if os.environ.get("CI"):
                pytest.fail("ASYA_TEST_RABBITMQ_URL is not set; run ci/services.sh start")
            pytest.skip("ASYA_TEST_RABBITMQ_URL is not set")
        self.broker_url, self.url = url, os.environ["ASYA_TEST_RABBITMQ_MANAGEMENT_URL"]

    def call(self, method: str, path: str, body: object = None) -> bytes:
        parts = urlsplit(self.broker_url)
        headers = {"Content-Type": "application/json"}
        headers["Authorization"] = "Basic " + base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/api/{path}", data, headers, method=method), timeout=30) as answer:
            return bytes(answer.read())

    def await_message(self, queue: str) -> None:
        """Wait until the numbers, which are gathered now and then, have the queue's message."""
        deadline = time.monotonic() + 30
        while not json.loads(self.call("GET", f"queues/%2F/{queue}")).get("messages"):
            assert time.monotonic() < deadline, f"{queue} is said to be empty"
            time.sleep(0.05)

    def options(self, user: str) -> list[str]:
        where = urlsplit(self.broker_url).netloc.rpartition("@")[2]
        return ["--broker-url", f"amqp://{user}:secret@{where}/", "--management-url", self.url, "--namespace", "doctor", "--output", "json"]


@pytest.mark.rabbitmq
@pytest.mark.parametrize(
    ("tags", "write", "state"),
    [("administrator", "^nothing$", "bad"), ("administrator", "^amq[.]default$", "odd"), ("monitoring", ".*", "skipped")],
)
def test_rights_of_the_user_are_judged(asya: Callable[..., Done], tags: str, write: str, state: str) -> None:
    management = Management()
    user = f"doctor-{os.urandom(4).hex()}"
    management.call("PUT", f"users/{user}", {"password": "secret", "tags": tags})
    try:
        management.call("PUT", f"permissions/%2F/{user}", {"configure": "", "write": write, "read": ""})
        found = states(asya(*management.options(user)))
    finally:
        management.call("DELETE", f"users/{user}")
    assert (found["broker"], found["management"], found["rights"]) == ("good", "good", state)
    assert found["dead letters"] == "odd"  # nobody has made the namespace's queues


@pytest.mark.rabbitmq
def test_messages_that_nobody_consumes_are_told(asya: Callable[..., Done], tmp_path: Path) -> None:
    management = Management()
    namespace = f"doctor-{os.urandom(4).hex()}"
    queue = f"asya-{namespace}-stuck"
    management.call("PUT", f"queues/%2F/{queue}", {"durable": True})
    try:
        body = {"properties": {}, "routing_key": queue, "payload": "1", "payload_encoding": "string"}
        management.call("POST", "exchanges/%2F/amq.default/publish", body)
        management.await_message(queue)
        project = tmp_path
        (project / "actors").mkdir()
        (project / "actors" / "stuck.yaml").write_text("handler: a.b\n")
        done = asya("--broker-url", management.broker_url, "--namespace", namespace)
    finally:
        management.call("DELETE", f"queues/%2F/{queue}")
    assert f"[!] consumers: Messages wait and nobody consumes: {queue}" in done.stdout


# ------------------------------------------------------------------------------------------------------------------ cluster


def listed(*items: Any) -> dict[str, Any]:
    return {"items": list(items), "metadata": {}}


def named(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop", "labels": {"app.kubernetes.io/name": "asya-x"}}, **more}


def ready(name: str, status: str = "True", reason: str = "Running", message: str = "") -> dict[str, Any]:
    condition = {"type": "Ready", "status": status, "reason": reason, "message": message}
    return named(name, status={"conditions": [condition], "queue": {"waiting": 4}})


CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
POD = {"template": {"spec": {"volumes": [{"secret": {"secretName": "asya-rabbitmq"}}]}}, "replicas": 1}
WELL: dict[str, Any] = {
    "/version": {"major": "1", "minor": "31", "gitVersion": "v1.31.0"},
    f"{CRDS}/asyncactors.asya.sh": {
        "spec": {"versions": [{"name": "v1alpha1", "served": True}]},
        "status": {"conditions": [{"type": "Established", "status": "True"}]},
    },
    f"{CRDS}/scaledobjects.keda.sh": {},
    "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.external.metrics.k8s.io": {
        "spec": {"service": {"name": "keda-operator-metrics-apiserver"}},
        "status": {"conditions": [{"type": "Available", "status": "True"}]},
    },
    "/apis/apps/v1/deployments": listed(named("asya-operator", spec={"replicas": 1}, status={"readyReplicas": 1})),
    "/apis/apps/v1/namespaces/shop/deployments": listed(named("judge", spec=POD, status={"readyReplicas": 1})),
    "/apis/apps/v1/namespaces/shop/statefulsets": listed(),
    "/apis/asya.sh/v1alpha1/namespaces/shop/asyncactors": listed(ready("judge"), ready("happy-end"), ready("error-end")),
    "/api/v1/namespaces/shop/secrets": listed(named("asya-rabbitmq")),
}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What an API server answers by path; a number is a status. The kubeconfig names it."""
    answers: dict[str, Any] = dict(WELL)

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path.partition("?")[0], 404)
            status, body = (answer, {}) if isinstance(answer, int) else (200, answer)
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "shop"}}],
        "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "test", "user": {"token": "t"}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    yield answers
    server.shutdown()
    thread.join()
    server.server_close()


def kube(asya: Callable[..., Done], tmp_path: Path, *words: str) -> Done:
    return asya("--kube", *words, KUBECONFIG=str(tmp_path / "kubeconfig"))


def test_cluster_that_is_well_is_well(asya: Callable[..., Done], tmp_path: Path, cluster: dict[str, Any]) -> None:
    done = kube(asya, tmp_path)
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    for line in (
        "[+] cluster: test answers, Kubernetes v1.31.0",
        "[+] clock of the API server: agrees with this machine's",
        "[+] custom resource: asyncactors.asya.sh serves v1alpha1",
        "[+] operator: shop/asya-operator ready",
        "[+] keda metrics: keda-operator-metrics-apiserver serves external metrics",
        "[+] actors: 3 of 3 in namespace shop are Ready",
        "[+] crew: happy-end and error-end are there",
        "[+] secrets: All 1 that are used are there",
    ):
        assert line in lines


def test_cluster_that_is_not_well_says_where(asya: Callable[..., Done], tmp_path: Path, cluster: dict[str, Any]) -> None:
    cluster[f"{CRDS}/scaledobjects.keda.sh"] = 404
    cluster["/apis/apps/v1/deployments"] = listed()
    cluster["/api/v1/namespaces/shop/secrets"] = listed()
    cluster["/apis/asya.sh/v1alpha1/namespaces/shop/asyncactors"] = listed(ready("judge", "False", "SecretMissing", "Secret asya-rabbitmq"))
    done = kube(asya, tmp_path)
    assert done.returncode == 1
    told = [line for line in done.stdout.splitlines() if line.startswith("[-]")]
    assert told == [
        "[-] operator: Not installed",
        "[-] keda: scaledobjects.keda.sh is not there",
        "[-] actor judge: SecretMissing: Secret asya-rabbitmq",
        "[-] crew: happy-end and error-end missing in namespace shop",
        "[-] secrets: Missing in namespace shop: asya-rabbitmq (for judge)",
    ]


def test_what_may_not_be_read_is_skipped(asya: Callable[..., Done], tmp_path: Path, cluster: dict[str, Any]) -> None:
    cluster["/api/v1/namespaces/shop/secrets"] = 403
    cluster["/apis/apps/v1/deployments"] = 500
    done = kube(asya, tmp_path, "--output", "json")
    assert (done.returncode, states(done)["secrets"], states(done)["operator"]) == (0, "skipped", "skipped")


@pytest.mark.parametrize(("status", "problem"), [(401, "does not know the user"), (503, "answered /version with 503")])
def test_cluster_that_lets_nobody_in_is_one_line(
    asya: Callable[..., Done], tmp_path: Path, cluster: dict[str, Any], status: int, problem: str
) -> None:
    cluster["/version"] = status
    (line,) = (line for line in kube(asya, tmp_path).stdout.splitlines() if line.startswith("[-]"))
    assert problem in line


def test_unknown_context_names_the_nearest(asya: Callable[..., Done], tmp_path: Path, cluster: dict[str, Any]) -> None:
    done = kube(asya, tmp_path, "--context", "tset")
    assert "[-] cluster: The kubeconfig has no context 'tset'" in done.stdout
    assert "    hint: did you mean test?" in done.stdout


def test_no_kubeconfig_is_one_line(asya: Callable[..., Done]) -> None:
    done = asya("--kube")
    assert "[-] cluster: No cluster is known" in done.stdout


def test_cluster_that_is_gone_is_one_line(asya: Callable[..., Done], tmp_path: Path, cluster: dict[str, Any]) -> None:
    file = tmp_path / "kubeconfig"
    config = json.loads(file.read_text())
    config["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:9"
    file.write_text(json.dumps(config))
    assert "[-] cluster: Cluster test unreachable" in kube(asya, tmp_path).stdout


def test_without_the_package_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(RemoteFault) as refusal:
        connect()
    assert (refusal.value.code, refusal.value.hint) == ("no_kube_extra", "pip install 'asya[kube]'")


def test_plan_reads_what_waits_from_the_cluster(tmp_path: Path, cluster: dict[str, Any]) -> None:
    for folder, names in (("old", ("judge", "other")), ("new", ("other",))):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{name}.yaml").write_text(f"handler: shop.{name}\n")
    variables = environment(tmp_path, KUBECONFIG=str(tmp_path / "kubeconfig"))
    done = forked.run_text(["plan", "old", "new", "--kube"], cwd=tmp_path, env=variables, imports=KUBERNETES)
    assert (done.returncode, done.stdout) == (0, "- judge: removed; 4 queued\n")
    assert "Works on until nothing is on its way to it" in done.stderr

    done = forked.run_text(["plan", "old", "new", "--kube", "--no-drain"], cwd=tmp_path, env=variables, imports=KUBERNETES)
    assert (done.returncode, done.stdout) == (1, "- judge: removed; 4 queued\n")
    assert "4 messages may be stranded: judge" in done.stderr


@pytest.mark.rabbitmq
def test_commands_of_the_page_run(asya: Callable[..., Done], tmp_path: Path, cluster: dict[str, Any]) -> None:
    from asya_cli.run.broker import EmbeddedBroker
    from asya_cli.run.session import served_namespace

    state = tmp_path / ".asya" / "run"
    state.mkdir(parents=True)
    EmbeddedBroker(path=state / "queues.db").declare(served_namespace(tmp_path.resolve()), [])
    commands = "".join(re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)).splitlines()
    assert len(commands) == 5
    for command in commands:
        line = command.replace('"$BROKER_URL"', Management().broker_url).replace("s3://results/shop", f"file://{state}")
        done = asya(*line.split()[2:], KUBECONFIG=str(tmp_path / "kubeconfig"))
        assert done.returncode == 0, f"{command}\n{done.stdout}"
