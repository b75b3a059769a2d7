"""B. Values and schema."""

import atexit
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.charts import yamls
from tests.charts.helms import ENGINES, ROOT, Refused
from tests.charts.render import CHARTS, MINIMAL, RELEASES, Rendered, ci_files, render
from tests.charts.trees import ENTRIES, at, changed, keys, leaves, maps, nested

NAMES = tuple(RELEASES)
INVALID = sorted(Path(__file__).with_name("invalid").glob("*.yaml"))
COMPILED = sorted((ROOT / "examples" / "flows" / "compiled").glob("*/values/*.yaml"))
ACTORS = sorted((ROOT / "examples").glob("*/actors/*.yaml"))


@cache
def schema(chart: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((CHARTS / chart / "values.schema.json").read_text())
    return loaded


@cache
def values(chart: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yamls.read((CHARTS / chart / "values.yaml").read_text())
    return loaded


def objects_of(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every JSON object inside a schema, with its place."""
    if isinstance(node, dict):
        yield path, node
        for name, inner in node.items():
            yield from objects_of(inner, f"{path}/{name}")
    elif isinstance(node, list):
        for number, inner in enumerate(node):
            yield from objects_of(inner, f"{path}/{number}")


NEWER = {
    "$defs",
    "$anchor",
    "dependentRequired",
    "dependentSchemas",
    "unevaluatedProperties",
    "unevaluatedItems",
    "minContains",
    "maxContains",
    "prefixItems",
}


@pytest.mark.point(13)
@pytest.mark.parametrize("chart", NAMES)
def test_schema_is_draft_07_without_newer_words(chart: str) -> None:
    found = schema(chart)
    assert found["$schema"] == "http://json-schema.org/draft-07/schema#"
    jsonschema.Draft7Validator.check_schema(found)
    assert {word for _, node in objects_of(found) for word in node} & NEWER == set()


@pytest.mark.point(13)
@pytest.mark.parametrize("chart", NAMES)
def test_regular_expressions_are_such_that_helm_can_read(chart: str) -> None:
    patterns = [node["pattern"] for _, node in objects_of(schema(chart)) if isinstance(node.get("pattern"), str)]
    assert patterns
    assert [pattern for pattern in patterns if re.search(r"\(\?[=!<]", pattern)] == []


OPEN = {"global"}
"""Fixed objects that take unknown keys: what an umbrella shares."""


@pytest.mark.point(14)
@pytest.mark.parametrize("chart", NAMES)
def test_fixed_objects_are_closed_and_maps_are_those_of_known_kinds(chart: str) -> None:
    root = schema(chart)
    assert root["additionalProperties"] is False
    for path, node in objects_of(root["properties"]):
        if "properties" in node and "type" in node and "mountPath" not in node["properties"]:
            name = path.rpartition("/")[2]
            assert node.get("additionalProperties") is (name in OPEN), path
    free = {key.dotted: key.hint for key in leaves(chart) if isinstance(key.default, dict)}
    assert {name: hint for name, hint in free.items() if not isinstance(hint, str) or hint not in ENTRIES} == {}


@pytest.mark.point(15)
@pytest.mark.parametrize("chart", NAMES)
def test_defaults_and_supported_set_ups_satisfy_the_schema(chart: str) -> None:
    validator = jsonschema.Draft7Validator(schema(chart))
    for document in (values(chart), *(yamls.read(path.read_text()) for path in ci_files(chart))):
        assert [error.message for error in validator.iter_errors(document)] == []


@pytest.mark.point(15)
def test_examples_and_compiled_flows_satisfy_the_schema() -> None:
    validator = jsonschema.Draft7Validator(schema("asya-actor"))
    assert len(ACTORS) > 5
    assert len(COMPILED) > 20
    for path in (*ACTORS, *COMPILED):
        assert [error.message for error in validator.iter_errors(yamls.read(path.read_text()))] == [], path


@pytest.mark.point(16)
@pytest.mark.parametrize("file", INVALID, ids=lambda path: path.stem)
def test_bad_values_are_refused_by_a_message_that_names_the_key(file: Path, engine: str) -> None:
    stated = re.match(r"# chart: (\S+); message: (.+)\n", file.read_text())
    assert stated is not None, "the first line says: # chart: NAME; message: WORD"
    with pytest.raises(Refused, match="values don't meet the specifications of the schema") as refused:
        render(stated[1], [file], engine=engine)
    assert stated[2] in str(refused.value)


@pytest.mark.point(17)
@pytest.mark.parametrize("chart", NAMES)
def test_leaves_of_values_and_schema_are_the_same_and_described(chart: str) -> None:
    root = schema(chart)

    def walk(node: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        for name, inner in node["properties"].items():
            here = (*path, name)
            assert inner.get("description"), here
            if "properties" in inner:
                yield from walk(inner, here)
            else:
                yield here

    free = {key.path for key in maps(chart) if isinstance(key.hint, str)}
    assert {leaf.path for leaf in leaves(chart) if not any(leaf.path[:depth] in free for depth in range(1, len(leaf.path)))} | {
        path for path in free if len(path) and at(values(chart), path) and path in {key.path for key in keys(chart)}
    } >= set(walk(root, ())) - free
    for path in walk(root, ()):
        assert at(values(chart), path, "missing") != "missing", path


@pytest.mark.point(18)
def test_schema_table_and_copies_are_what_make_generate_writes(tmp_path: Path) -> None:
    for part in ("charts", "ci/charts", "python/runtime"):
        shutil.copytree(ROOT / part, tmp_path / part, symlinks=True)
    subprocess.run([sys.executable, tmp_path / "ci" / "charts" / "generate.py"], check=True)
    for chart in NAMES:
        for name in ("values.schema.json", "README.md", "templates/_shared.tpl", "files/asya_runtime.py"):
            committed, made = CHARTS / chart / name, tmp_path / "charts" / chart / name
            if committed.exists():
                assert committed.read_bytes() == made.read_bytes(), f"{chart}/{name}: run make generate"


DEAD = {"deploy", "enabled", "asya-actor", "asya-actor.libraryOnly"}
"""Not for templates: data for others, an umbrella's condition; the crew's own switch."""


@cache
def bases(chart: str) -> list[dict[str, Any]]:
    """The supported set-ups, the fullest first; without templates in texts, each of which makes Helm 3 read all templates anew."""
    found = [yamls.read(re.sub(r"\{\{.*?\}\}", "x", path.read_text())) for path in ci_files(chart)]
    found.sort(key=lambda document: -len(json.dumps(document)))
    return found


@cache
def quick(chart: str) -> Path:
    """The chart to render hundreds of times: the operator's without definition and runtime file, which cost most of a render."""
    if chart != "asya-operator":
        return CHARTS / chart
    folder = Path(tempfile.mkdtemp(prefix="asya-operator-")) / chart
    shutil.copytree(CHARTS / chart, folder, ignore=shutil.ignore_patterns("crd-asyncactors.yaml", "ci"))
    (folder / "files" / "asya_runtime.py").write_text("# in short\n")
    atexit.register(shutil.rmtree, folder.parent)
    return folder


def outcome(chart: str, layers: list[dict[str, Any]]) -> tuple[str, str]:
    """Helm's text, or what it says against the values."""
    whole = any(list(layer) == ["crds"] for layer in layers)
    try:
        return "rendered", render(CHARTS / chart if whole else quick(chart), layers, engine="helm4").text
    except Refused as refused:
        return ("contradiction" if "cannot be rendered" in str(refused) else "invalid"), str(refused)


@pytest.mark.point(19)
@pytest.mark.parametrize("chart", NAMES)
def test_every_value_changes_some_render(chart: str) -> None:
    dead = []
    for leaf in leaves(chart):
        layers = ([base, nested(leaf.path, value)] for base in bases(chart) for value in changed(leaf, at(base, leaf.path, leaf.default)))
        whole = [{"crds": {}}] if leaf.path[0] == "crds" else []
        found = ((outcome(chart, [*both, *whole]), outcome(chart, [both[0], *whole])) for both in layers)
        if leaf.dotted not in DEAD and not any(after != before and after[0] != "invalid" for after, before in found):
            dead.append(leaf.dotted)
    assert dead == []


@pytest.mark.point(20)
@pytest.mark.parametrize("chart", NAMES)
def test_a_removed_map_renders_or_is_answered_with_a_sentence(chart: str) -> None:
    for key in maps(chart):
        kind, text = outcome(chart, [bases(chart)[0], nested(key.path, None)])
        assert kind != "invalid" or key.path[0] == "asya-actor", f"{key.dotted}: {text}"


@pytest.mark.point(20)
def test_every_map_removed_at_once_renders_the_actor_with_the_operators_defaults(engine: str) -> None:
    nulls = {key.path[0]: None for key in maps("asya-actor") if len(key.path) == 1}
    spec = render("asya-actor", [nulls, MINIMAL["asya-actor"]], engine=engine).one("AsyncActor")["spec"]
    assert spec == {
        "concurrency": 1,
        "timeout": "5m",
        "workload": {
            "template": {
                "spec": {
                    "containers": [
                        {
                            "name": "asya-runtime",
                            "image": "my-processor:v1",
                            "env": [
                                {"name": "ASYA_HANDLER", "value": "text_processor.process"},
                                {"name": "ASYA_HANDLER_MODE", "value": "payload"},
                            ],
                        }
                    ]
                }
            }
        },
    }


COMPILED_TOOLS = sorted((ROOT / "examples" / "flows" / "compiled").glob("*/tools/*.yaml"))


@pytest.mark.point(15)
def test_compiled_tools_satisfy_the_schema() -> None:
    validator = jsonschema.Draft7Validator(schema("asya-gateway"))
    assert len(COMPILED_TOOLS) > 10
    for path in COMPILED_TOOLS:
        assert [error.message for error in validator.iter_errors(yamls.read(path.read_text()))] == [], path


LISTS = {"runtime.interpreter"}
"""A command is one value as a whole."""


@pytest.mark.point(21)
@pytest.mark.parametrize("chart", NAMES)
def test_there_is_no_list_where_users_overlay(chart: str) -> None:
    assert {leaf.dotted for leaf in leaves(chart) if isinstance(leaf.default, list)} <= LISTS


@pytest.mark.point(21)
def test_a_second_file_adds_an_entry_to_every_map_and_keeps_the_first(engine: str) -> None:
    base = bases("asya-actor")[0]
    more: dict[str, Any] = {}
    for key in leaves("asya-actor"):
        if (
            isinstance(key.default, dict)
            and key.hint not in ("free", "open")
            and key.dotted not in ("source.files", "workload.volumeClaimTemplates")
        ):
            merge(more, nested(key.path, ENTRIES[str(key.hint)]))
    first, both = (render("asya-actor", layers, engine=engine) for layers in ([base], [base, more]))
    assert grows(first.one("AsyncActor"), both.one("AsyncActor"))
    assert len(both.objects) == len(first.objects) + 1


def merge(into: dict[str, Any], other: dict[str, Any]) -> None:
    for name, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            merge(into[name], value)
        else:
            into[name] = value


def grows(before: Any, after: Any) -> bool:
    """Whether all of `before` is in `after`."""
    if isinstance(before, dict):
        return all(name in after and grows(value, after[name]) for name, value in before.items())
    if isinstance(before, list):
        return all(any(grows(item, other) for other in after) for item in before)
    return bool(before == after)


@pytest.mark.point(22)
@pytest.mark.parametrize("how", ["file", "set"])
def test_a_large_number_is_not_written_with_an_exponent(engine: str, how: str) -> None:
    document: dict[str, Any] = {"podPolicy": {"runAsUser": 10485760}, "env": {"N": 10485760}}
    layers, options = (
        ([MINIMAL["asya-operator"], document], [])
        if how == "file"
        else ([MINIMAL["asya-operator"]], ["--set", "podPolicy.runAsUser=10485760,env.N=10485760"])
    )
    rendered = render("asya-operator", layers, engine=engine, options=options)
    assert "runAsUser: 10485760\n" in rendered.one("ConfigMap", "asya-operator")["data"]["settings.yaml"]
    env = rendered.one("Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "N", "value": "10485760"} in env
    actor = render("asya-actor", [MINIMAL["asya-actor"], {"scaling": {"maxReplicas": 10485760}}], engine=engine)
    assert "maxReplicas: 10485760\n" in actor.text


@pytest.mark.point(23)
@pytest.mark.parametrize("text", ["true", "1e3", "0755", "null", "~", "", "2020-01-01", "0x1F", "1_000", " a: b # c", "'"])
@pytest.mark.parametrize("name", ["y", "on", "NO", "null"])
def test_texts_and_names_that_yaml_mistakes_reach_the_container_as_they_are(text: str, name: str) -> None:
    for engine in ENGINES:
        rendered = render("asya-actor", [MINIMAL["asya-actor"], {"env": {name: text}}], engine=engine)
        env = rendered.one("AsyncActor")["spec"]["workload"]["template"]["spec"]["containers"][0]["env"]
        assert {"name": name, "value": text} in env


@pytest.fixture(scope="module")
def umbrella(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("umbrella")
    dependencies = [
        {"name": "asya-actor", "version": ">=0-0", "alias": alias, "condition": f"{alias}.enabled"}
        for alias in ("clean-text", "tokenize", "off")
    ]
    (folder / "Chart.yaml").write_text(
        yaml.safe_dump({"apiVersion": "v2", "name": "umbrella", "version": "1.0.0", "dependencies": dependencies})
    )
    shutil.copytree(CHARTS / "asya-actor", folder / "charts" / "asya-actor")
    document = {
        "global": {"imageRegistry": "mirror.example.com", "imagePullSecrets": {"login": True}, "theirs": {"x": 1}},
        "clean-text": {"image": {"repository": "a", "tag": "b"}, "handler": "text_handlers.clean_text"},
        "tokenize": {"image": {"registry": "ignored.example.com", "repository": "a", "tag": "b"}, "handler": "text_handlers.tokenize"},
        "off": {"enabled": False},
    }
    (folder / "values.yaml").write_text(yaml.safe_dump(document))
    return folder


def of_umbrella(folder: Path, engine: str, document: dict[str, Any] | None = None) -> Rendered:
    return render(folder, document or {}, engine=engine, release="pipeline")


@pytest.mark.point(25)
def test_one_umbrella_holds_the_chart_twice_and_switches_a_third_off(umbrella: Path, engine: str) -> None:
    actors = of_umbrella(umbrella, engine).of("AsyncActor")
    assert sorted(item["metadata"]["name"] for item in actors) == ["clean-text", "tokenize"]
    for item in actors:
        assert item["metadata"]["labels"]["asya.sh/actor"] == item["metadata"]["name"]
        pod = item["spec"]["workload"]["template"]["spec"]
        assert pod["containers"][0]["image"] == "mirror.example.com/a:b"
        assert pod["imagePullSecrets"] == [{"name": "login"}]


@pytest.mark.point(25)
def test_budgets_of_an_umbrella_select_their_own_pods(umbrella: Path, engine: str) -> None:
    both = {name: {"pdb": {"enabled": True}, "scaling": {"minReplicas": 2}} for name in ("clean-text", "tokenize")}
    selectors = {
        item["metadata"]["name"]: item["spec"]["selector"]["matchLabels"]
        for item in of_umbrella(umbrella, engine, both).of("PodDisruptionBudget")
    }
    assert selectors == {name: {"asya.sh/actor": name} for name in both}


LONG = "a" * 53
PROBLEMS: list[tuple[str, dict[str, Any], str]] = [
    (
        "asya-actor",
        {"actorName": LONG, "workload": {"kind": "StatefulSet"}},
        f"actor name {LONG} has 53 characters, 52 are allowed for a StatefulSet",
    ),
    ("asya-actor", {"actorName": "mode"}, "actor name mode would need"),
    ("asya-actor", {"handler": ""}, "handler is not set; set it to module.function"),
    ("asya-actor", {"handler": "process"}, 'handler "process" is no dotted path'),
    ("asya-actor", {"image": None}, "image.repository is not set; set image.repository and image.tag"),
    ("asya-actor", {"image": {"repository": "r:5000/a:v1"}}, 'image.repository "r:5000/a:v1" holds a tag or digest'),
    ("asya-actor", {"image": {"tag": ""}}, "image.tag is not set"),
    ("asya-actor", {"labels": {"asya.sh/actor": "x"}}, "labels: the label asya.sh/actor is Asya's own, pods are found by it"),
    ("asya-actor", {"podLabels": {"asya.sh/actor": "x"}}, "podLabels: the label asya.sh/actor is Asya's own"),
    ("asya-actor", {"timeout": "500ms"}, "timeout 500ms is out of bounds; choose 1s to 24h"),
    ("asya-actor", {"timeout": "1441m"}, "timeout 1441m is out of bounds"),
    ("asya-actor", {"drainTimeout": "169h"}, "drainTimeout 169h is out of bounds; choose at most 168h, or 0s for none"),
    ("asya-actor", {"timeout": "12h", "transport": "sqs"}, "timeout 12h is out of bounds; choose 1s to 11h, as a message on sqs"),
    ("asya-actor", {"scaling": {"minReplicas": 11}}, "scaling.minReplicas 11 is above scaling.maxReplicas 10"),
    ("asya-actor", {"scaling": {"replicas": 3}}, "scaling.replicas 3 has no effect while KEDA scales"),
    ("asya-actor", {"scaling": {"paused": True, "enabled": False}}, "scaling.paused needs scaling.enabled"),
    ("asya-actor", {"scaling": {"pausedReplicas": 0}}, "scaling.pausedReplicas is set, but scaling.paused is false"),
    (
        "asya-actor",
        {"scaling": {"extraTriggers": {"queue": {"type": "cron"}}}},
        "scaling.extraTriggers.queue: the names queue and prewarm-* belong to the operator",
    ),
    ("asya-actor", {"scaling": {"extraTriggers": {"prewarm-a": {"type": "cron"}}}}, "scaling.extraTriggers.prewarm-a: the names"),
    ("asya-actor", {"scaling": {"extraTriggers": {"x": {"metadata": {}}}}}, "scaling.extraTriggers.x.type is not set"),
    ("asya-actor", {"pdb": {"enabled": True, "minAvailable": 1}}, "pdb.minAvailable and pdb.maxUnavailable are both set"),
    ("asya-actor", {"pdb": {"enabled": True, "maxUnavailable": None}}, "pdb has neither minAvailable nor maxUnavailable"),
    ("asya-actor", {"env": {"ASYA_SOCKET": "x"}}, "env.ASYA_SOCKET belongs to Asya"),
    ("asya-actor", {"env": {"N": -(2**53)}}, "env.N is a number of 2^53 or more, which Helm does not keep exactly; quote it"),
    (
        "asya-actor",
        {"workload": {"volumeClaimTemplates": {"a": {"x": 1}}}},
        "workload.volumeClaimTemplates needs workload.kind: StatefulSet",
    ),
    ("asya-actor", {"volumes": {"asya-tmp": {"emptyDir": {}}}}, "volume asya-tmp: names that begin with asya- belong to the operator"),
    ("asya-actor", {"volumes": {"source": {"emptyDir": {}}}, "source": {"files": {"a.py": ""}}}, "volume source is that of source.files"),
    ("asya-actor", {"volumeMounts": {"a": {"mountPath": "/a"}}}, "volumeMounts.a: there is no volume a"),
    ("asya-actor", {"volumeMounts": {"a": {"mountPath": "/a", "name": "b"}}}, "volumeMounts.a: there is no volume b"),
    ("asya-actor", {"initContainers": {"asya-sidecar": {"image": "x"}}}, "initContainers.asya-sidecar: this name belongs to the operator"),
    ("asya-actor", {"extraContainers": {"asya-runtime": {"image": "x"}}}, "extraContainers.asya-runtime: this name belongs"),
    ("asya-actor", {"source": {"files": {"a.py": "x" * 921601}}}, "source.files holds 921601 bytes, 921600 (900 KiB) are allowed"),
    ("asya-operator", {"transports": {"default": "sqs"}}, "transports.default is sqs, which is not enabled"),
    ("asya-operator", {"transports": {"rabbitmq": {"host": ""}}}, "transports.rabbitmq.host is not set"),
    ("asya-operator", {"transports": {"rabbitmq": {"host": "amqp://u:p@x"}}}, 'transports.rabbitmq.host "amqp://u:p@x" is no host name'),
    ("asya-operator", {"transports": {"rabbitmq": {"actorSecret": {"name": ""}}}}, "transports.rabbitmq.actorSecret.name is not set"),
    ("asya-operator", {"transports": {"sqs": {"enabled": True}}}, "transports.sqs.region is not set"),
    (
        "asya-operator",
        {"transports": {"sqs": {"enabled": True, "region": "x", "auth": "secret", "operatorSecret": {"name": ""}}}},
        "transports.sqs.operatorSecret.name is not set",
    ),
    ("asya-operator", {"watch": {"scope": "namespace"}}, "watch.scope is namespace, but watch.namespaces names none"),
    ("asya-operator", {"watch": {"namespaces": {"a": True}}}, "watch.namespaces has no effect with watch.scope cluster"),
    (
        "asya-operator",
        {"leaderElection": {"renewDeadline": 15}},
        "leaderElection: retryPeriod 2 < renewDeadline 15 < leaseDuration 15 does not hold",
    ),
    ("asya-operator", {"gateway": {"auth": "key", "keySecret": ""}}, "gateway.keySecret is not set"),
    ("asya-operator", {"volumes": {"tmp": {"emptyDir": {}}}}, "volumes.tmp: this name is the operator's own"),
    ("asya-operator", {"extraContainers": {"operator": {"image": "x"}}}, "extraContainers.operator: this name is the operator's own"),
    (
        "asya-operator",
        {"podLabels": {"app.kubernetes.io/name": "x"}},
        "podLabels: the label app.kubernetes.io/name selects the operator's pods",
    ),
    ("asya-gateway", {"rabbitmq": {"host": ""}}, "rabbitmq.host is not set"),
    ("asya-gateway", {"rabbitmq": {"host": "amqp://x"}}, 'rabbitmq.host "amqp://x" is no host name'),
    ("asya-gateway", {"rabbitmq": {"existingSecret": {"name": ""}}}, "rabbitmq.existingSecret.name is not set"),
    ("asya-gateway", {"transport": "sqs"}, "sqs.region is not set"),
    (
        "asya-gateway",
        {"claims": {"url": "s3://a", "secretName": "one"}, "results": {"s3": {"bucket": "b", "secretName": "two"}}},
        "Secrets two, one are named for AWS keys, but one pair serves sqs, claims and results",
    ),
    ("asya-gateway", {"ingress": {"enabled": True}}, "ingress.hosts names none"),
    ("asya-gateway", {"httpRoute": {"enabled": True}}, "httpRoute.parentRefs names none"),
    ("asya-gateway", {"replicas": 2}, "replicas 2 needs store.type postgres"),
    ("asya-gateway", {"autoscaling": {"enabled": True}}, "autoscaling.enabled needs store.type postgres"),
    ("asya-gateway", {"replicas": 2, "autoscaling": {"enabled": True}}, "replicas 2 has no effect with autoscaling.enabled"),
    ("asya-gateway", {"autoscaling": {"minReplicas": 6}}, "autoscaling.minReplicas 6 is above autoscaling.maxReplicas 5"),
    ("asya-gateway", {"store": {"type": "postgres"}}, "store.postgres.existingSecret.name is not set"),
    (
        "asya-gateway",
        {"results": {"s3": {"bucket": "a"}, "directory": {"claimName": "b"}}},
        "results.s3.bucket and results.directory.claimName are both set",
    ),
    ("asya-gateway", {"auth": {"mode": "none"}}, "auth.mode is none, so everybody who reaches the Service may do everything"),
    ("asya-gateway", {"auth": {"allowAnonymous": True}}, "auth.allowAnonymous has no effect with auth.mode apiKey"),
    ("asya-gateway", {"auth": {"apiKeys": {"existingSecret": ""}}}, "auth.apiKeys.existingSecret is not set"),
    ("asya-gateway", {"auth": {"mode": "oauth", "oauth": {"issuer": "i", "audience": "a"}}}, "auth.oauth.jwksUrl is not set"),
    ("asya-gateway", {"internal": {"auth": "key", "keySecret": ""}}, "internal.keySecret is not set"),
    ("asya-gateway", {"tools": {"asya_x": {"actor": "x"}}}, "tools.asya_x: names that begin with asya_ are the gateway's own"),
    ("asya-gateway", {"tools": {"x": {}}}, "tools.x names none of actor, flow and route"),
    ("asya-gateway", {"tools": {"x": {"actor": "a", "route": ["a"]}}}, "tools.x names actor and route of actor, flow and route"),
    ("asya-gateway", {"tools": {"x": {"flow": "f"}}, "flows": {"g": {"entry": "a"}}}, "tools.x.flow f is none of flows"),
    (
        "asya-gateway",
        {"flows": {"f": {"entry": "a", "graph": {"x": "y" * 921600}}}},
        "tools and flows hold 921655 bytes, 921600 (900 KiB) fit into a ConfigMap",
    ),
    ("asya-gateway", {"env": {"ASYA_GATEWAY_AUTH": "none"}}, "env.ASYA_GATEWAY_AUTH: the chart makes the gateway's settings"),
    ("asya-gateway", {"volumes": {"data": {"emptyDir": {}}}}, "volumes.data: this name is the gateway's own"),
    ("asya-gateway", {"extraContainers": {"gateway": {"image": "x"}}}, "extraContainers.gateway: this name is the gateway's own"),
    ("asya-gateway", {"initContainers": {"migrate": {"image": "x"}}}, "initContainers.migrate: this name is the gateway's own"),
    (
        "asya-gateway",
        {"podLabels": {"app.kubernetes.io/name": "x"}},
        "podLabels: the label app.kubernetes.io/name selects the gateway's pods",
    ),
    ("asya-crew", {"storage": {"directory": {"claimName": "x"}}}, "storage.s3.bucket and storage.directory.claimName are both set"),
    ("asya-crew", {"storage": {"s3": {"bucket": ""}}}, "storage is not set, results would be lost"),
    ("asya-crew", {"credentials": {"rabbitmq": {"create": True, "username": "u"}}}, "credentials.rabbitmq.password is empty"),
    (
        "asya-crew",
        {"credentials": {"storage": {"create": True, "accessKeyId": "a", "secretAccessKey": "b"}}},
        "credentials.storage.create makes Secret asya-storage, which storage.s3.secretName does not name",
    ),
    ("asya-crew", {"happyEnd": {"handler": "a.b"}}, "happyEnd.handler has no effect in this chart"),
    ("asya-crew", {"errorEnd": {"image": {"tag": "x"}}}, "errorEnd.image has no effect in this chart; remove it and set image"),
    ("asya-crew", {"errorEnd": {"scaling": {"minReplicas": 11}}}, "errorEnd.scaling.minReplicas 11 is above scaling.maxReplicas 10"),
]


@pytest.mark.point(26)
@pytest.mark.parametrize(("chart", "document", "sentence"), PROBLEMS, ids=lambda part: part if isinstance(part, str) else "")
def test_a_contradiction_is_answered_with_a_sentence(chart: str, document: dict[str, Any], sentence: str, engine: str) -> None:
    with pytest.raises(Refused) as refused:
        render(chart, [MINIMAL[chart], document], engine=engine)
    assert f"- {sentence}" in str(refused.value)


@pytest.mark.point(26)
def test_every_sentence_of_the_templates_is_tested() -> None:
    texts = [(CHARTS / chart / "templates" / "_validate.tpl").read_text() for chart in NAMES]
    texts.append((ROOT / "ci" / "charts" / "shared.tpl").read_text())
    lines = [line for text in texts for line in re.findall(r"^- (.+)$", text, re.M)]
    assert len(lines) > 30
    cases = [sentence for _, _, sentence in PROBLEMS] + [
        f"actor name {LONG}a has 54 characters, 53 are allowed",
        "actor name A is not legal",
    ]

    def tested(line: str) -> bool:
        always = re.sub(r"\{\{ if .*?\{\{ end \}\}", "{{ maybe }}", line).split(";")[0]
        pattern = re.compile(".*".join(re.escape(part) for part in re.split(r"\{\{.*?\}\}", always)))
        return any(pattern.match(case) or always.startswith(case) for case in cases)

    untested = [line for line in lines if not tested(line)]
    assert untested == []


@pytest.mark.point(26)
def test_all_problems_are_told_at_once(engine: str) -> None:
    with pytest.raises(Refused) as refused:
        render("asya-actor", {"timeout": "25h", "scaling": {"minReplicas": 11}}, engine=engine)
    assert str(refused.value).count("\n- ") == 4
