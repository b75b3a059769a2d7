"""D. Workloads: our own pods, and those that the operator's functions make of each rendered AsyncActor."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.charts import yamls
from tests.charts.helms import Refused
from tests.charts.made import actor, default_settings, made_workload, settings_of
from tests.charts.render import CHARTS, MINIMAL, RELEASES, Rendered, ci_files, containers, fullest, pod_specs, render
from tests.charts.test_agreement import EXAMPLES, FLOWS, release
from tests.charts.trees import leaves

NAMES = tuple(RELEASES)
ACTOR_FILES = [*ci_files("asya-actor"), *EXAMPLES, FLOWS[0]]


def made_pods() -> Iterator[tuple[str, dict[str, Any]]]:
    """Pods of every actor that some supported set-up, example or crew gives."""
    settings = default_settings()
    for file in ACTOR_FILES:
        manifest = render("asya-actor", [file], release=release(file)).one("AsyncActor")
        yield file.stem, made_workload(manifest, settings)["spec"]["template"]["spec"]
    for file in ci_files("asya-crew"):
        for manifest in render("asya-crew", [file]).of("AsyncActor"):
            yield f"{file.stem} {manifest['metadata']['name']}", made_workload(manifest, settings)["spec"]["template"]["spec"]


def own_pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for chart in ("asya-operator", "asya-gateway"):
        for file in ci_files(chart):
            for where, spec in pod_specs(render(chart, [file])):
                yield f"{file.stem} {where}", spec


def unrestricted(pod: dict[str, Any], *, user_named: bool = True) -> list[str]:
    """What "restricted" Pod Security, or a read-only root, would object to."""
    found = []
    security = pod.get("securityContext", {})
    if security.get("runAsNonRoot") is not True:
        found.append("runAsNonRoot")
    if user_named and security.get("runAsUser", 0) == 0:
        found.append("runAsUser")
    if security.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        found.append("seccompProfile")
    found += [name for name in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace") if pod.get(name)]
    found += [f"volume {volume['name']}" for volume in pod.get("volumes", []) if "hostPath" in volume]
    for container in containers(pod):
        context = container.get("securityContext", {})
        wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True}
        found += [f"{container['name']}: {name}" for name, value in wanted.items() if context.get(name) is not value]
        if context.get("capabilities", {}).get("drop") != ["ALL"] or context.get("capabilities", {}).get("add"):
            found.append(f"{container['name']}: capabilities")
        if context.get("privileged"):
            found.append(f"{container['name']}: privileged")
    return found


WRITABLE = "asya-runtime: readOnlyRootFilesystem"
"""03-full asks for a writable root."""


@pytest.mark.point(34)
def test_every_container_is_restricted_with_a_read_only_root() -> None:
    found = {where: unrestricted(pod, user_named="openshift" not in where) for where, pod in (*own_pods(), *made_pods())}
    assert len(found) > 20
    assert {where: problems for where, problems in found.items() if problems and (where, problems) != ("03-full-values", [WRITABLE])} == {}


@pytest.mark.point(34)
def test_the_check_of_restricted_pods_can_fail() -> None:
    _, good = next(own_pods())
    assert unrestricted(good) == []
    for path, value in (
        (("hostNetwork",), True),
        (("securityContext", "runAsUser"), 0),
        (("containers", 0, "securityContext", "capabilities"), {"drop": []}),
    ):
        bad = copy.deepcopy(good)
        inner: Any = bad
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = value
        assert unrestricted(bad)


@pytest.mark.point(35)
def test_every_container_reserves_and_is_limited_and_what_is_written_has_a_size() -> None:
    for where, pod in (*own_pods(), *made_pods()):
        for container in containers(pod):
            if where.startswith("06-bare") and container["name"] == "asya-runtime":
                continue  # its user removed the resources
            resources = container.get("resources", {})
            assert "memory" in resources.get("limits", {}), f"{where} {container['name']}"
            if not (where.startswith("03-full") and container["name"] == "asya-sidecar"):
                assert resources.get("requests", {}).keys() >= {"cpu", "memory"}, f"{where} {container['name']}"
        for volume in pod.get("volumes", []):
            if "emptyDir" in volume:
                assert volume["emptyDir"].get("sizeLimit"), f"{where} {volume['name']}"


@pytest.mark.point(36)
def test_long_running_containers_are_probed_at_ports_that_they_have() -> None:
    for where, pod in (*own_pods(), *made_pods()):
        if where.endswith("-check"):
            continue
        for container in containers(pod):
            runs_on = container["name"] in ("operator", "gateway", "asya-runtime", "asya-sidecar")
            ports = {port["name"] for port in container.get("ports", [])}
            if runs_on:
                assert {"livenessProbe", "readinessProbe"} <= container.keys(), f"{where} {container['name']}"
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                if "httpGet" in container.get(probe, {}):
                    assert container[probe]["httpGet"]["port"] in ports


@pytest.mark.point(37)
def test_only_pods_that_call_the_api_get_a_token() -> None:
    for where, pod in own_pods():
        calls = where not in ("02-keys-values Deployment/asya-gateway",) and not where.endswith("Pod/asya-gateway-check")
        assert pod["automountServiceAccountToken"] is calls, where
    for where, pod in made_pods():
        assert pod["automountServiceAccountToken"] is where.startswith("03-full"), where
    for where, pod in (*own_pods(), *made_pods()):
        assert pod["enableServiceLinks"] is False, where
    for chart in ("asya-operator", "asya-gateway"):
        for file in ci_files(chart):
            assert all(item["automountServiceAccountToken"] is False for item in render(chart, [file]).of("ServiceAccount"))


def all_pods(rendered: Rendered) -> list[dict[str, Any]]:
    """Specs of our own pods and of those in AsyncActors, before the operator."""
    return [pod for _, pod in pod_specs(rendered)] + [item["spec"]["workload"]["template"]["spec"] for item in rendered.of("AsyncActor")]


def image_of(chart: str, document: dict[str, Any], engine: str = "helm4") -> set[str]:
    rendered = render(chart, [MINIMAL[chart], document], engine=engine)
    return {container["image"] for pod in all_pods(rendered) for container in containers(pod)}


DIGEST = "sha256:" + "0" * 64
VERSION = str(yamls.read((CHARTS / "asya-actor" / "Chart.yaml").read_text())["version"])
GLOBAL = {"global": {"imageRegistry": "g.example.com"}}


@pytest.mark.point(38)
@pytest.mark.parametrize(
    ("chart", "document", "image"),
    [
        ("asya-operator", {}, f"asya/operator:{VERSION}"),
        ("asya-operator", {"image": {"tag": "x"}}, "asya/operator:x"),
        ("asya-operator", {"image": {"tag": "x", "digest": DIGEST}}, f"asya/operator@{DIGEST}"),
        ("asya-operator", {"image": {"registry": "r.example.com"}}, f"r.example.com/asya/operator:{VERSION}"),
        (
            "asya-operator",
            {"image": {"registry": "r.example.com"}, "global": {"imageRegistry": "g.example.com/x/"}},
            f"g.example.com/x/asya/operator:{VERSION}",
        ),
        ("asya-gateway", {}, f"asya/gateway:{VERSION}"),
        ("asya-gateway", {"image": {"registry": "r.example.com", "tag": "x"}}, "r.example.com/asya/gateway:x"),
        ("asya-gateway", {"image": {"tag": "x", "digest": DIGEST}, **GLOBAL}, f"g.example.com/asya/gateway@{DIGEST}"),
        ("asya-crew", {}, f"asya/crew:{VERSION}"),
        ("asya-crew", GLOBAL, f"g.example.com/asya/crew:{VERSION}"),
        ("asya-crew", {"image": {"digest": DIGEST}}, f"asya/crew@{DIGEST}"),
        ("asya-actor", {}, "my-processor:v1"),
        ("asya-actor", {"image": {"digest": DIGEST}}, f"my-processor@{DIGEST}"),
        ("asya-actor", GLOBAL, "g.example.com/my-processor:v1"),
        ("asya-actor", {"image": None, "source": {"files": {"a.py": ""}}}, f"asya/runtime:{VERSION}"),
        (
            "asya-actor",
            {"image": None, "source": {"files": {"a.py": ""}}, **GLOBAL},
            f"g.example.com/asya/runtime:{VERSION}",
        ),
        (
            "asya-actor",
            {"image": None, "source": {"files": {"a.py": ""}, "digest": DIGEST}, **GLOBAL},
            f"g.example.com/asya/runtime@{DIGEST}",
        ),
        ("asya-actor", {"image": None, "source": {"files": {"a.py": ""}, "image": "mine:1", "digest": DIGEST}}, "mine:1"),
        ("asya-actor", {"source": {"files": {"a.py": ""}, "image": "mine:1"}}, "my-processor:v1"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_the_image_is_the_expected_one(chart: str, document: dict[str, Any], image: str, engine: str) -> None:
    assert image_of(chart, document, engine) == {image}


@pytest.mark.point(38)
@pytest.mark.parametrize("chart", NAMES)
def test_pull_secrets_of_chart_and_umbrella_reach_the_pods(chart: str) -> None:
    document = {"image": {"pullSecrets": {"one": True, "off": False}}, "global": {"imagePullSecrets": {"two": True}}}
    pods = all_pods(render(chart, [MINIMAL[chart], document]))
    assert pods
    for pod in pods:
        assert pod["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}]


@pytest.mark.point(38)
def test_no_default_image_is_latest() -> None:
    for chart in NAMES:
        assert not any(image.endswith(":latest") or ":" not in image for image in image_of(chart, {}))


@pytest.mark.point(39)
@pytest.mark.parametrize(
    ("scaling", "replicas"),
    [
        ({}, None),
        ({"minReplicas": 3}, None),
        ({"enabled": False}, 1),
        ({"enabled": False, "replicas": 3}, 3),
        ({"enabled": False, "replicas": 0}, 0),
    ],
)
def test_replicas_are_rendered_only_where_nothing_scales(scaling: dict[str, Any], replicas: int | None, engine: str) -> None:
    workload = render("asya-actor", [MINIMAL["asya-actor"], {"scaling": scaling}], engine=engine).one("AsyncActor")["spec"]["workload"]
    assert workload.get("replicas") == replicas


@pytest.mark.point(39)
@pytest.mark.parametrize("chart", ["asya-operator", "asya-gateway"])
def test_there_may_be_no_replica(chart: str, engine: str) -> None:
    assert render(chart, [MINIMAL[chart], {"replicas": 0}], engine=engine).one("Deployment")["spec"]["replicas"] == 0


def checksums(chart: str, document: dict[str, Any], **more: Any) -> dict[str, str]:
    rendered = render(chart, [MINIMAL[chart], document], **more)
    holder = rendered.one("AsyncActor")["spec"]["workload"] if chart == "asya-actor" else rendered.one("Deployment")["spec"]
    return {name: value for name, value in holder["template"]["metadata"]["annotations"].items() if name.startswith("checksum/")}


@pytest.mark.point(40)
def test_the_source_checksum_changes_with_the_code_alone(engine: str) -> None:
    def of(files: dict[str, str | None], **more: Any) -> dict[str, str]:
        return checksums("asya-actor", {"source": {"files": files}, **more}, engine=engine)

    before = of({"a.py": "x = 1\n"})
    assert of({"a.py": "x = 1\n"}, labels={"team": "a"}, timeout="1m") == before
    assert of({"a.py": "x = 1\n", "gone.py": None}) == before
    assert of({"a.py": "x = 2\n"}) != before
    assert of({"b.py": "x = 1\n"}) != before


@pytest.mark.point(40)
def test_the_settings_checksum_changes_with_the_settings_alone(engine: str) -> None:
    before = checksums("asya-operator", {}, engine=engine)
    assert set(before) == {"checksum/settings", "checksum/runtime"}
    assert checksums("asya-operator", {"resources": {"limits": {"memory": "1Gi"}}, "podLabels": {"a": "b"}}, engine=engine) == before
    after = checksums("asya-operator", {"limits": {"maxItems": 7}}, engine=engine)
    assert {name for name in before if after[name] != before[name]} == {"checksum/settings"}


@pytest.mark.point(41)
@pytest.mark.parametrize(("floor", "count"), [(0, 0), (1, 0), (2, 1)])
def test_a_disruption_budget_is_made_only_if_more_than_one_pod_always_runs(floor: int, count: int) -> None:
    on = {"pdb": {"enabled": True}}
    assert len(render("asya-actor", [MINIMAL["asya-actor"], on, {"scaling": {"minReplicas": floor}}]).of("PodDisruptionBudget")) == count
    fixed = {"scaling": {"enabled": False, "replicas": floor}}
    assert len(render("asya-actor", [MINIMAL["asya-actor"], on, fixed]).of("PodDisruptionBudget")) == count
    assert len(render("asya-operator", [MINIMAL["asya-operator"], on, {"replicas": floor}]).of("PodDisruptionBudget")) == count


@pytest.mark.point(41)
@pytest.mark.parametrize("chart", ["asya-actor", "asya-operator", "asya-gateway"])
def test_a_disruption_budget_has_one_limit(chart: str) -> None:
    for file in ci_files(chart):
        for item in render(chart, [file]).of("PodDisruptionBudget"):
            assert len({"minAvailable", "maxUnavailable"} & item["spec"].keys()) == 1


PLACEMENT = {
    "nodeSelector": "nodeSelector",
    "tolerations": "tolerations",
    "affinity": "affinity",
    "topologySpreadConstraints": "topologySpreadConstraints",
    "priorityClassName": "priorityClassName",
    "runtimeClassName": "runtimeClassName",
    "schedulerName": "schedulerName",
    "dnsPolicy": "dnsPolicy",
    "dnsConfig": "dnsConfig",
    "hostAliases": "hostAliases",
    "terminationGracePeriodSeconds": "terminationGracePeriodSeconds",
    "podSecurityContext": "securityContext",
    "volumes": "volumes",
    "initContainers": "initContainers",
}


@pytest.mark.point(42)
@pytest.mark.parametrize("chart", ["asya-actor", "asya-operator", "asya-gateway"])
@pytest.mark.parametrize("key", PLACEMENT)
def test_every_key_of_placement_reaches_every_pod(chart: str, key: str) -> None:
    file = fullest(chart)
    assert yamls.read(file.read_text())[key]
    with_key, without = (
        render(chart, layers) for layers in ([file], [file, {key: None}, *([{"volumeMounts": None}] if key == "volumes" else [])])
    )
    pods = [pod for _, pod in pod_specs(with_key)] + [item["spec"]["workload"]["template"]["spec"] for item in with_key.of("AsyncActor")]
    bare = [pod for _, pod in pod_specs(without)] + [item["spec"]["workload"]["template"]["spec"] for item in without.of("AsyncActor")]
    assert pods
    for pod, other in zip(pods, bare, strict=True):
        assert pod[PLACEMENT[key]] != other.get(PLACEMENT[key])


@pytest.mark.point(42)
def test_placement_has_the_same_keys_in_every_chart() -> None:
    pods = {*PLACEMENT, "podLabels", "podAnnotations", "securityContext", "volumeMounts", "extraContainers", "env", "envFrom"}
    for chart in ("asya-actor", "asya-operator", "asya-gateway"):
        assert {leaf.path[0] for leaf in leaves(chart)} >= pods


TEMPLATED = "{{ .Release.Name }}-{{ .Release.Namespace }}"


@pytest.mark.point(43)
@pytest.mark.parametrize(
    "document",
    [
        {"labels": {"k": TEMPLATED}},
        {"annotations": {"k": TEMPLATED}},
        {"podLabels": {"k": TEMPLATED}},
        {"podAnnotations": {"k": TEMPLATED}},
        {"nodeSelector": {"k": TEMPLATED}},
        {"env": {"K": TEMPLATED}},
        {"env": {"K": {"valueFrom": {"configMapKeyRef": {"name": TEMPLATED, "key": "k"}}}}},
        {"envFrom": {"k": {"secretRef": {"name": TEMPLATED}}}},
        {"sidecar": {"env": {"K": TEMPLATED}}},
        {"volumes": {"k": {"configMap": {"name": TEMPLATED}}}},
        {"initContainers": {"k": {"image": TEMPLATED}}},
        {"extraContainers": {"k": {"image": TEMPLATED}}},
        {"affinity": {"k": TEMPLATED}},
        {"extraObjects": {"k": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": TEMPLATED}}}},
    ],
    ids=lambda part: next(iter(part)),
)
@pytest.mark.parametrize("chart", ["asya-actor", "asya-operator", "asya-gateway"])
def test_texts_are_rendered(chart: str, document: dict[str, Any], engine: str) -> None:
    if chart != "asya-actor" and set(document) & {"labels", "annotations"}:
        document = {"serviceAccount": {"annotations": {"k": TEMPLATED}}}
    if chart == "asya-gateway" and "sidecar" in document:
        document = {"service": {"annotations": {"k": TEMPLATED}}}
    rendered = render(chart, [MINIMAL[chart], document], engine=engine)
    assert f"{RELEASES[chart]}-demo" in rendered.text
    assert "{{ .Release" not in rendered.text


@pytest.mark.point(43)
def test_handler_code_is_not_rendered(engine: str) -> None:
    code = 'def process(payload):\n    return {"text": "{{ .Release.Name }}"}\n'
    rendered = render("asya-actor", [MINIMAL["asya-actor"], {"source": {"files": {"deep/er/a b.py": code}}}], engine=engine)
    assert list(rendered.one("ConfigMap")["data"].values()) == [code]


@pytest.mark.point(44)
@pytest.mark.parametrize("chart", NAMES)
def test_extra_objects_are_objects_or_text_and_both_are_rendered(chart: str, engine: str) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: as-text-{{ .Release.Name }}}\ndata: {k: '{{ 1 }}'}\n"
    as_object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "as-object-{{ .Release.Name }}", "labels": {"mine": "yes"}}}
    rendered = render(chart, [MINIMAL[chart], {"extraObjects": {"b": text, "a": as_object, "gone": None}}], engine=engine)
    found = {item["metadata"]["name"]: item for item in rendered.of("ConfigMap")}
    assert found[f"as-text-{RELEASES[chart]}"]["data"] == {"k": "1"}
    assert found[f"as-object-{RELEASES[chart]}"]["metadata"]["labels"]["mine"] == "yes"


@pytest.mark.point(44)
def test_an_extra_object_that_is_no_yaml_is_named() -> None:
    with pytest.raises(Refused, match=r"extraObjects\.broken is no YAML object"):
        render("asya-actor", [MINIMAL["asya-actor"], {"extraObjects": {"broken": "a: b: c"}}])


@pytest.mark.point(45)
def test_the_operator_rolls_over_and_may_hold_its_lease() -> None:
    rendered = render("asya-operator", MINIMAL["asya-operator"])
    assert rendered.one("Deployment")["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    rules = rendered.one("Role", "asya-operator-lease")["rules"]
    assert all(rule["apiGroups"] == ["coordination.k8s.io"] and rule["resources"] == ["leases"] for rule in rules)
    assert sorted((rule.get("resourceNames"), rule["verbs"]) for rule in rules if "resourceNames" in rule) == [
        (["asya-operator"], ["get", "update"])
    ]


@pytest.mark.point(46)
@pytest.mark.parametrize(
    ("document", "seconds"),
    [({}, 330), ({"timeout": "2h"}, 7230), ({"terminationGracePeriodSeconds": 10}, 330), ({"terminationGracePeriodSeconds": 999}, 999)],
)
def test_a_pod_has_the_handlers_time_and_half_a_minute_to_finish(document: dict[str, Any], seconds: int) -> None:
    manifest = render("asya-actor", [MINIMAL["asya-actor"], document]).one("AsyncActor")
    assert made_workload(manifest)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == seconds


@pytest.mark.parametrize("file", ci_files("asya-operator"), ids=lambda path: path.stem)
def test_the_operator_reads_the_settings_that_its_chart_renders(file: Path, engine: str) -> None:
    settings = settings_of(render("asya-operator", [file], engine=engine))
    document = yamls.read(file.read_text())
    assert settings.default_transport == document.get("transports", {}).get("default", "rabbitmq")
    assert set(settings.namespaces) == {name for name, chosen in document.get("watch", {}).get("namespaces", {}).items() if chosen}
    if "openshift" in file.name:
        assert (settings.pod_policy.run_as_user, settings.pod_policy.fs_group) == (None, None)
    assert settings.limits.max_items == int(document.get("limits", {}).get("maxItems", 10000))


def test_the_operator_reads_every_actor_that_the_chart_renders() -> None:
    for file in ACTOR_FILES:
        manifest = render("asya-actor", [file], release=release(file)).one("AsyncActor")
        assert actor(manifest).name == manifest["metadata"]["name"]
        json.dumps(made_workload(manifest))
