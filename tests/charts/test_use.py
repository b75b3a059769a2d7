"""K. Use: notes, test pods, examples on every supported Kubernetes, documented commands."""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.charts import conftest
from tests.charts.helms import ROOT, told
from tests.charts.kubernetes_schemas import problem
from tests.charts.made import made_workload
from tests.charts.render import CHARTS, KUBE, MINIMAL, RELEASES, Rendered, ci_files, fullest, render
from tests.charts.test_agreement import EXAMPLES, FLOWS, release

NAMES = tuple(RELEASES)
VERSIONS = [f"1.{minor}" for minor in range(29, 37)]
OWN = {"AsyncActor", "PodMonitor", "PrometheusRule", "HTTPRoute"}
"""Kinds that Kubernetes does not have itself: the first is checked against our definition, of the others there is no schema here."""
PAGES = (
    "docs/how-to/install.md",
    "docs/how-to/install-the-gateway.md",
    "docs/how-to/monitor.md",
    *(f"charts/{chart}/README.md" for chart in NAMES),
)


def notes(chart: str, *layers: dict[str, Any], name: str | None = None) -> list[str]:
    """NOTES as a person sees them. Helm 4, whose dry run needs no cluster."""
    pairs = [f"{key}={json.dumps(value)}" for layer in layers for key, value in layer.items()]
    options = [part for pair in pairs for part in ("--set-json", pair)]
    done = told("helm4", "install", name or RELEASES[chart], str(CHARTS / chart), "-n", "demo", "--dry-run=client", *options)
    return done.out.partition("\nNOTES:\n")[2].strip().splitlines()


ACTOR = dict(MINIMAL["asya-actor"])
GATEWAY = dict(MINIMAL["asya-gateway"])
NOTES = [
    ("asya-actor", ACTOR, {}, "It sleeps without messages: the first one waits up to 15 s", True),
    ("asya-actor", ACTOR, {"scaling": {"minReplicas": 1}}, "It sleeps", False),
    ("asya-actor", ACTOR, {"scaling": {"enabled": False}}, "It sleeps", False),
    ("asya-actor", ACTOR, {}, "WARNING", False),
    ("asya-actor", ACTOR, {"image": {"repository": "a", "tag": "latest"}}, "WARNING: image.tag is latest", True),
    ("asya-actor", ACTOR, {"resources": {"limits": {"memory": None}}}, "WARNING: resources.limits.memory is not set", True),
    ("asya-actor", ACTOR, {"timeout": "31m"}, "WARNING: timeout 31m", True),
    ("asya-actor", ACTOR, {"timeout": "30m"}, "WARNING: timeout", False),
    ("asya-actor", ACTOR, {"pdb": {"enabled": True}}, "pdb is not rendered", True),
    ("asya-operator", MINIMAL["asya-operator"], {}, "WARNING", False),
    ("asya-operator", {}, {"transports": {"rabbitmq": {"host": "x"}}}, "WARNING: transports.rabbitmq.managementUrl is not set", True),
    ("asya-operator", MINIMAL["asya-operator"], {"crds": {"keep": False}}, "WARNING: crds.keep is false", True),
    ("asya-operator", MINIMAL["asya-operator"], {"pdb": {"enabled": True}}, "pdb is not rendered", True),
    ("asya-operator", MINIMAL["asya-operator"], {}, "gateway.internalUrl is not set", True),
    ("asya-gateway", GATEWAY, {}, "WARNING", False),
    ("asya-gateway", GATEWAY, {}, "It waits for the Secret asya-gateway-keys", True),
    ("asya-gateway", GATEWAY, {}, "tools is empty", True),
    ("asya-gateway", GATEWAY, {"tools": {"t": {"actor": "a"}}}, "tools is empty", False),
    ("asya-gateway", GATEWAY, {"auth": {"mode": "none", "allowAnonymous": True}}, "WARNING: auth.mode is none", True),
    ("asya-gateway", GATEWAY, {"auth": {"mode": "none", "allowAnonymous": True}}, "It waits for", False),
    (
        "asya-gateway",
        GATEWAY,
        {"store": {"sqlite": {"persistence": {"enabled": False}}}},
        "WARNING: store.sqlite.persistence.enabled is false",
        True,
    ),
    ("asya-gateway", GATEWAY, {"results": {"s3": {"bucket": "b"}}}, "results is not set", False),
    ("asya-gateway", GATEWAY, {}, "results is not set", True),
    ("asya-gateway", GATEWAY, {"ingress": {"enabled": True, "hosts": {"h": {"path": "/"}}}}, "WARNING: ingress.tls is empty", True),
    ("asya-gateway", GATEWAY, {"pdb": {"enabled": True}}, "pdb is not rendered", True),
    ("asya-crew", MINIMAL["asya-crew"], {}, "asya-rabbitmq (username, password)", True),
    ("asya-crew", {}, {"storage": {"s3": {"bucket": "b", "secretName": "keys"}}}, "keys (AWS_ACCESS_KEY_ID", True),
    (
        "asya-crew",
        MINIMAL["asya-crew"],
        {"credentials": {"rabbitmq": {"create": True, "username": "u", "password": "p"}}},
        "WARNING: credentials.rabbitmq are in this release's values",
        True,
    ),
]


@pytest.mark.point(82)
@pytest.mark.parametrize(("chart", "base", "change", "sentence", "present"), NOTES, ids=[str(number) for number in range(len(NOTES))])
def test_notes_say_what_matters_and_no_more(chart: str, base: dict[str, Any], change: dict[str, Any], sentence: str, present: bool) -> None:
    lines = notes(chart, dict(base), change) if base else notes(chart, change)
    assert any(sentence in line for line in lines) is present
    assert len(lines) <= 15


@pytest.mark.point(82)
def test_objects_that_the_notes_name_exist() -> None:
    for kind, extra in (("deploy", {}), ("statefulset", {"workload": {"kind": "StatefulSet"}})):
        text = "\n".join(notes("asya-actor", ACTOR, extra))
        made = made_workload(render("asya-actor", [ACTOR, extra]).one("AsyncActor"))
        assert f"logs -f {kind}/{made['metadata']['name']}" in text
        assert "kubectl -n demo get asya text-processor" in text
    operator = "\n".join(notes("asya-operator", dict(MINIMAL["asya-operator"]), name="op"))
    name = render("asya-operator", MINIMAL["asya-operator"], release="op").one("Deployment")["metadata"]["name"]
    assert f"rollout status deploy/{name}" in operator
    assert "helm -n demo test op --logs" in operator
    gateway, made = "\n".join(notes("asya-gateway", GATEWAY, name="gw")), render("asya-gateway", GATEWAY, release="gw")
    assert f"rollout status deploy/{made.one('Deployment')['metadata']['name']}" in gateway
    services = {item["metadata"]["name"]: item["spec"]["ports"][0]["port"] for item in made.of("Service")}
    assert "port-forward service/gw-asya-gateway 8080:80" in gateway
    assert "http://gw-asya-gateway-internal.{namespace}.svc:8081" in gateway
    assert services == {"gw-asya-gateway": 80, "gw-asya-gateway-internal": 8081}
    crew = "\n".join(notes("asya-crew", dict(MINIMAL["asya-crew"])))
    assert "get asya happy-end error-end" in crew


@pytest.mark.point(83)
def test_the_test_pod_is_the_operator_itself_asked_to_check(engine: str) -> None:
    rendered = render("asya-operator", [fullest("asya-operator")], engine=engine)
    pod, deployment = rendered.one("Pod"), rendered.one("Deployment")
    (check,) = pod["spec"]["containers"]
    (operator, *_) = deployment["spec"]["template"]["spec"]["containers"]
    assert check["args"] == ["check"]
    same = ("image", "env", "envFrom", "volumeMounts", "securityContext", "resources")
    assert {name: check.get(name) for name in same} == {name: operator.get(name) for name in same}
    assert pod["spec"]["restartPolicy"] == "Never"
    selected = rendered.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    assert selected.items() <= pod["metadata"]["labels"].items(), "what the policy lets through is what the check may use"


def everything() -> list[tuple[str, Rendered]]:
    found = [(f"{chart}/{file.stem}", render(chart, [file])) for chart in NAMES for file in ci_files(chart)]
    found += [(str(file.relative_to(ROOT)), render("asya-actor", [file], release=release(file))) for file in (*EXAMPLES, *FLOWS)]
    return found


@pytest.mark.point(84)
@pytest.mark.point(85)
@pytest.mark.parametrize("version", VERSIONS)
def test_all_objects_are_valid_on_every_supported_kubernetes(version: str) -> None:
    seen = set()
    for where, rendered in everything():
        for item in rendered.objects:
            if item["kind"] in OWN or (text := repr(item)) in seen:
                continue
            seen.add(text)
            assert problem(item, version) == "", f"{where} {item['kind']}/{item['metadata']['name']}"
    assert len(seen) > 20


@pytest.mark.point(84)
def test_the_check_of_objects_can_fail() -> None:
    good = render("asya-gateway", MINIMAL["asya-gateway"]).one("Deployment")
    assert problem(good, VERSIONS[0]) == ""
    for change in ({"replica": 1}, {"replicas": "one"}, {"template": "one"}):
        assert problem({**good, "spec": {**good["spec"], **change}}, VERSIONS[0])
    with pytest.raises(FileNotFoundError):
        problem({**good, "apiVersion": "apps/v1beta1"}, VERSIONS[0])


@pytest.mark.point(84)
@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
def test_workloads_that_the_operator_makes_are_valid_on_the_oldest_and_the_newest_kubernetes(version: str) -> None:
    for where, rendered in everything()[::4]:
        for item in rendered.of("AsyncActor"):
            assert problem(made_workload(item), version) == "", where


@pytest.mark.point(84)
def test_every_example_with_actors_is_in_the_documentation() -> None:
    index = "".join(path.read_text() for path in (ROOT / "docs").rglob("*.md"))
    for folder in {path.parents[1].name for path in EXAMPLES}:
        assert f"examples/{folder}" in index, folder


@pytest.mark.point(85)
def test_api_versions_are_stable_ones() -> None:
    versions = {item["apiVersion"] for _, rendered in everything() for item in rendered.objects}
    assert {found for found in versions if "alpha" in found or "beta" in found} == {"asya.sh/v1alpha1"}


@pytest.mark.point(87)
def test_a_skip_names_the_command_to_run() -> None:
    text = Path(conftest.__file__).read_text()
    assert 'reason="both Helms are missing: run ci/helm.sh"' in text
    assert 'os.environ.get("CI")' in text


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A folder as the documentation supposes: the charts, a handler, a compiled flow."""
    (tmp_path / "charts").symlink_to(CHARTS)
    (tmp_path / "text_processor.py").write_text("def process(payload):\n    return payload\n")
    shutil.copytree(ROOT / "examples" / "flows" / "compiled" / "text_analysis_flow", tmp_path / "compiled")
    (tmp_path / "values.yaml").write_text("image: {repository: my-processor, tag: v2}\nhandler: text_processor.process\n")
    return tmp_path


CLUSTER_ONLY = {"--install", "--wait", "--reset-then-reuse-values", "--create-namespace"}


def as_template(command: str, workplace: Path) -> list[str] | None:
    """``helm install|upgrade …`` as ``helm template …``; None for what needs a cluster."""
    words = [word for word in shlex.split(command) if word not in CLUSTER_ONLY]
    if words[0] != "helm" or words[1] not in ("install", "upgrade", "template"):
        return None
    at = {"charts/": f"{workplace}/charts/", "compiled/": f"{workplace}/compiled/"}
    words = [next((new + word.removeprefix(old) for old, new in at.items() if word.startswith(old)), word) for word in words]
    words = [word.replace("=text_processor.py", f"={workplace}/text_processor.py").replace("$PWD", str(workplace)) for word in words]
    words = [f"{workplace}/{word}" if word == "values.yaml" else word for word in words]
    return ["template", *words[2:], "--kube-version", KUBE]


def commands(text: str) -> list[str]:
    """Commands of the ``sh`` blocks, continued lines joined, comments gone."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
    lines = re.sub(r"\\\n\s*", "", "\n".join(blocks)).splitlines()
    return [bare for line in lines if (bare := re.sub(r"\s+#\s.*$", "", line).strip()) and not bare.startswith("#")]


SECTION_1 = [
    "helm install asya-operator charts/asya-operator -n asya-system --set transports.rabbitmq.host=rabbitmq.mq.svc"
    " --set transports.rabbitmq.managementUrl=http://rabbitmq.mq.svc:15672"
    " --set 'gateway.internalUrl=http://asya-gateway-internal.{namespace}.svc:8081'",
    "helm install asya-crew charts/asya-crew -n demo --set storage.s3.bucket=asya-results",
    "helm install asya-gateway charts/asya-gateway -n demo -f compiled/tools/text_analysis_flow.yaml --set rabbitmq.host=rabbitmq.mq.svc"
    " --set auth.mode=none --set auth.allowAnonymous=true",
    "helm install text-processor charts/asya-actor -n demo --set image.repository=my-processor --set image.tag=v1"
    " --set handler=text_processor.process",
    "helm install start-text-analysis-flow charts/asya-actor -n demo -f compiled/values/start-text-analysis-flow.yaml",
    "helm install text-processor charts/asya-actor -n demo --set handler=text_processor.process"
    " --set-file 'source.files.text_processor\\.py=text_processor.py'",
]


@pytest.mark.point(88)
@pytest.mark.parametrize("command", SECTION_1, ids=lambda command: " ".join(command.split()[2:4]))
def test_the_first_commands_work_as_printed(command: str, engine: str, workplace: Path) -> None:
    words = as_template(command, workplace)
    assert words is not None
    text = told(engine, *words).out
    assert "\nkind: " in text
    flat = [re.sub(r"\s+", " ", line) for line in commands((ROOT / PAGES[0]).read_text())]
    assert re.sub(r"\s+", " ", command) in flat, "the page on installing prints it"


@pytest.mark.point(88)
def test_an_actor_needs_three_values_or_two(engine: str) -> None:
    three = {"image": {"repository": "my-processor", "tag": "v1"}, "handler": "text_processor.process"}
    two = {"handler": "text_processor.process", "source": {"files": {"text_processor.py": "def process(payload):\n    return payload\n"}}}
    assert len(render("asya-actor", three, engine=engine).objects) == 1
    assert {item["kind"] for item in render("asya-actor", two, engine=engine).objects} == {"AsyncActor", "ConfigMap"}


@pytest.mark.point(89)
@pytest.mark.parametrize("page", PAGES)
def test_every_helm_command_of_the_documentation_renders(page: str, engine: str, workplace: Path) -> None:
    found = [words for command in commands((ROOT / page).read_text()) if (words := as_template(command, workplace))]
    assert found
    for words in found:
        assert "\nkind: " in told(engine, *words).out, words


@pytest.mark.point(89)
@pytest.mark.parametrize("page", PAGES)
def test_other_commands_of_the_documentation_are_of_known_programs(page: str) -> None:
    for command in commands((ROOT / page).read_text()):
        program, *words = shlex.split(command)
        assert program in ("helm", "kubectl", "asya", "ci/helm.sh", "make"), command
        if program == "helm" and not as_template(command, Path()):
            assert {"uninstall", "test", "rollback", "history", "list", "get"} & set(words), command
