"""The gateway's chart: settings and tools as its process reads them, the two stores, the two Services."""

import json
from pathlib import Path
from typing import Any

import pytest

from asya_gateway.reload import Tools
from asya_gateway.settings import GatewaySettings, read_gateway_settings
from asya_gateway.tools import TOOL_KEYS, Registry
from tests.charts import yamls
from tests.charts.helms import ROOT
from tests.charts.render import CHARTS, MINIMAL, Rendered, ci_files, fullest, render

CHART = "asya-gateway"
BASE = MINIMAL[CHART]
POSTGRES = {"store": {"type": "postgres", "postgres": {"existingSecret": {"name": "db"}}}}
COMPILED = sorted((ROOT / "examples").glob("**/tools/*.yaml"))
COMPILED = [file for file in COMPILED if ".asya" not in file.parts]


def spoken(file: Path) -> str:
    return file.stem


def pod(rendered: Rendered) -> dict[str, Any]:
    spec: dict[str, Any] = rendered.one("Deployment")["spec"]["template"]["spec"]
    return spec


def gateway(rendered: Rendered) -> dict[str, Any]:
    (found,) = [container for container in pod(rendered)["containers"] if container["name"] == "gateway"]
    return dict(found)


def environment(container: dict[str, Any]) -> dict[str, str]:
    """As the kubelet makes it; what it takes from elsewhere is a placeholder."""
    return {entry["name"]: entry.get("value", "elsewhere") for entry in container["env"]}


def settings(rendered: Rendered) -> GatewaySettings:
    return read_gateway_settings({**environment(gateway(rendered)), "ASYA_NAMESPACE": "demo"})


def registry(rendered: Rendered, folder: Path) -> Registry:
    """The tools as the gateway reads them from its mounted ConfigMap."""

    class NoLog:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"{name} is called")

    folder.mkdir(exist_ok=True)
    for name, text in rendered.one("ConfigMap", "asya-gateway-tools")["data"].items():
        (folder / name).write_text(text)
    tools = Tools(folder, log=NoLog())  # type: ignore[arg-type]
    tools.load()
    return tools.registry


@pytest.mark.parametrize("file", ci_files(CHART), ids=spoken)
def test_the_gateway_reads_the_settings_that_its_chart_renders(file: Path, engine: str) -> None:
    found = settings(render(CHART, [file], engine=engine))
    document = yamls.read(file.read_text())
    assert found.store == document.get("store", {}).get("type", "sqlite")
    assert found.transport == document.get("transport", "rabbitmq")
    assert found.auth == document.get("auth", {}).get("mode", "apiKey")
    assert found.internal_auth == document.get("internal", {}).get("auth", "jwt")
    assert {"asya-gateway", "asya-gateway.demo.svc"} <= set(found.hosts)
    assert (found.claim_url is not None) is ("claims" in document)


def test_defaults_of_the_chart_are_those_of_the_gateway() -> None:
    found = settings(render(CHART, BASE))
    bare = read_gateway_settings({"ASYA_NAMESPACE": "demo", "ASYA_TRANSPORT": "rabbitmq", "ASYA_RABBITMQ_ADDRESS": "amqp://x:5672"})
    named = ("rabbitmq_address", "rabbitmq_credentials_dir", "hosts")
    differ = {name for name in GatewaySettings.__dataclass_fields__ if getattr(found, name) != getattr(bare, name)}
    assert differ == set(named)


def test_every_limit_and_address_reaches_the_gateway() -> None:
    found = settings(render(CHART, [fullest(CHART)]))
    assert (found.max_body_bytes, found.max_inline_result_bytes, found.max_message_bytes) == (2**20, 64 * 1024, 2**27)
    assert (found.rate, found.burst, found.streams, found.streams_per_principal) == (5, 10, 100, 5)
    assert str(found.results)
    assert found.results_s3_path_style
    assert found.results_s3_endpoint == "http://minio.mq.svc:9000"
    assert found.rabbitmq_address == "amqps://rabbitmq.mq.svc:5671"
    assert found.internal_issuer == "https://oidc.example.com/id"
    assert found.log_level == "debug"
    assert not found.poll_tools
    assert {"gateway.example.com", "gateway.example.org"} <= set(found.hosts)


@pytest.mark.parametrize("file", COMPILED, ids=lambda file: f"{file.parent.parent.name}-{file.stem}")
def test_a_file_of_tools_reaches_the_gateway_as_it_is(file: Path, tmp_path: Path) -> None:
    rendered = render(CHART, [BASE, file])
    given, made = (yamls.read(text) for text in (file.read_text(), rendered.one("ConfigMap")["data"]["tools.yaml"]))
    assert {key: value for key, value in made.items() if value} == given
    assert sorted(registry(rendered, tmp_path).tools) == sorted(given["tools"])


def test_texts_and_numbers_of_tools_arrive_unrendered_and_exact(engine: str, tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "maximum": 10485760, "default": 7},
            "x": {"type": "number", "multipleOf": 0.0000001, "maximum": 1e21},
            "t": {"type": "string", "pattern": "^{{ [a-z]+ }}$", "enum": ["yes", "1e3", "0755", "2020-01-01", "null", "1:30", "~"]},
        },
    }
    document = {"tools": {"t": {"actor": "a", "description": "Says {{ .Release.Name }}: yes", "inputSchema": schema, "timeout": None}}}
    (tool,) = registry(render(CHART, [BASE, document], engine=engine), tmp_path).tools.values()
    assert tool.description == "Says {{ .Release.Name }}: yes"
    assert json.loads(json.dumps(tool.input.schema)) == schema


def test_one_pair_of_keys_serves_queues_payloads_and_results(engine: str) -> None:
    rendered = render(CHART, [CHARTS / CHART / "ci" / "07-sqs-values.yaml"], engine=engine)
    keys = {entry["name"]: entry["valueFrom"]["secretKeyRef"] for entry in gateway(rendered)["env"] if "secretKeyRef" in str(entry)}
    assert keys == {name: {"name": "asya-aws", "key": name} for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    names = [entry["name"] for entry in gateway(rendered)["env"]]
    assert len(names) == len(set(names))
    assert settings(rendered).sqs_region == "eu-central-1"
    assert "rabbitmq" not in {volume["name"] for volume in pod(rendered)["volumes"]}


def test_keys_of_a_tool_are_those_that_the_gateway_reads() -> None:
    schema = json.loads((CHARTS / CHART / "values.schema.json").read_text())
    assert set(schema["properties"]["tools"]["additionalProperties"]["properties"]) == set(TOOL_KEYS)


@pytest.mark.point(40)
def test_changed_tools_reach_the_running_gateway_without_another_pod(engine: str) -> None:
    tools = {"tools": {"one": {"actor": "one"}}, "flows": {"f": {"entry": "start-f"}}}
    before, after = (render(CHART, layers, engine=engine) for layers in ([BASE], [BASE, tools]))
    assert before.one("ConfigMap") != after.one("ConfigMap")
    assert before.one("Deployment") == after.one("Deployment")
    (mount,) = [mount for mount in gateway(after)["volumeMounts"] if mount["name"] == "tools"]
    assert "subPath" not in mount, "a mounted file would never change"


@pytest.mark.point(45)
def test_on_sqlite_one_gateway_owns_a_volume_that_outlives_it(engine: str) -> None:
    rendered = render(CHART, BASE, engine=engine)
    deployment, claim = rendered.one("Deployment")["spec"], rendered.one("PersistentVolumeClaim")
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}}
    volumes = {volume["name"]: volume for volume in pod(rendered)["volumes"]}
    assert volumes["data"]["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"]}
    (mount,) = [mount for mount in gateway(rendered)["volumeMounts"] if mount["name"] == "data"]
    assert settings(rendered).sqlite_path.is_relative_to(mount["mountPath"])
    assert "initContainers" not in pod(rendered)


@pytest.mark.point(45)
def test_a_claim_may_be_named_or_left_out(engine: str) -> None:
    def of(persistence: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        rendered = render(CHART, [BASE, {"store": {"sqlite": {"persistence": persistence}}}], engine=engine)
        (volume,) = [volume for volume in pod(rendered)["volumes"] if volume["name"] == "data"]
        return len(rendered.of("PersistentVolumeClaim")), volume

    assert of({"existingClaim": "mine"}) == (0, {"name": "data", "persistentVolumeClaim": {"claimName": "mine"}})
    assert of({"enabled": False, "size": "1Gi"}) == (0, {"name": "data", "emptyDir": {"sizeLimit": "1Gi"}})


@pytest.mark.point(45)
def test_on_postgres_several_roll_over_and_each_start_migrates_first(engine: str) -> None:
    rendered = render(CHART, [BASE, POSTGRES, {"replicas": 3}], engine=engine)
    deployment = rendered.one("Deployment")["spec"]
    assert (deployment["replicas"], deployment["strategy"]["rollingUpdate"]) == (3, {"maxSurge": 1, "maxUnavailable": 0})
    assert rendered.of("PersistentVolumeClaim") == []
    (migrate,) = pod(rendered)["initContainers"]
    assert (migrate["args"], migrate["image"]) == (["migrate"], gateway(rendered)["image"])
    assert environment(migrate) == environment(gateway(rendered))


def test_the_role_that_changes_tables_is_known_to_the_migration_alone(engine: str) -> None:
    owner = {"store": {"postgres": {"migrateSecret": {"name": "owner", "key": "address"}}}}
    rendered = render(CHART, [BASE, POSTGRES, owner, {"initContainers": {"proxy": {"image": "x"}}}], engine=engine)
    proxy, migrate = pod(rendered)["initContainers"]
    assert (proxy["name"], migrate["name"]) == ("proxy", "migrate")

    def files(container: dict[str, Any]) -> dict[str, Any]:
        volumes = {volume["name"]: volume for volume in pod(rendered)["volumes"]}
        where = Path(environment(container)["ASYA_GATEWAY_POSTGRES_URL_FILE"]).parent
        (mount,) = [mount for mount in container["volumeMounts"] if Path(mount["mountPath"]) == where]
        secret: dict[str, Any] = volumes[mount["name"]]["secret"]
        return secret

    assert files(migrate) == {"secretName": "owner", "items": [{"key": "address", "path": "url"}]}
    assert files(gateway(rendered)) == {"secretName": "db", "items": [{"key": "url", "path": "url"}]}
    assert "migrate" not in {mount["name"] for mount in gateway(rendered)["volumeMounts"]}


@pytest.mark.point(39)
def test_an_autoscaler_alone_decides_about_replicas(engine: str) -> None:
    rendered = render(CHART, [BASE, POSTGRES, {"autoscaling": {"enabled": True, "minReplicas": 3}}], engine=engine)
    assert "replicas" not in rendered.one("Deployment")["spec"]
    scaler = rendered.one("HorizontalPodAutoscaler")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 5)
    assert scaler["scaleTargetRef"]["name"] == rendered.one("Deployment")["metadata"]["name"]


@pytest.mark.point(41)
@pytest.mark.parametrize(
    ("document", "count"),
    [({}, 0), ({**POSTGRES, "replicas": 1}, 0), ({**POSTGRES, "replicas": 2}, 1), ({**POSTGRES, "autoscaling": {"enabled": True}}, 1)],
    ids=["sqlite", "one", "two", "scaled"],
)
def test_a_gateways_disruption_budget_needs_two_pods(document: dict[str, Any], count: int) -> None:
    assert len(render(CHART, [BASE, {"pdb": {"enabled": True}}, document]).of("PodDisruptionBudget")) == count


@pytest.mark.parametrize("file", ci_files(CHART), ids=spoken)
def test_what_a_container_mounts_is_there_and_every_own_volume_is_mounted(file: Path) -> None:
    spec = pod(render(CHART, [file]))
    volumes = {volume["name"] for volume in spec["volumes"]}
    ours = [
        container for container in (*spec.get("initContainers", []), *spec["containers"]) if container["name"] in ("gateway", "migrate")
    ]
    mounted = {mount["name"] for container in ours for mount in container["volumeMounts"]}
    assert mounted == volumes


@pytest.mark.point(64)
@pytest.mark.parametrize("file", ci_files(CHART), ids=spoken)
def test_the_internal_port_is_behind_its_own_service_only(file: Path) -> None:
    rendered = render(CHART, [file])
    ports = {port["name"]: port["containerPort"] for port in gateway(rendered)["ports"]}
    public, internal = rendered.one("Service", "asya-gateway"), rendered.one("Service", "asya-gateway-internal")
    assert [port["targetPort"] for port in public["spec"]["ports"]] == ["http"]
    assert [port["targetPort"] for port in internal["spec"]["ports"]] == ["internal"]
    assert all(port["appProtocol"] == "http" for service in (public, internal) for port in service["spec"]["ports"])
    found = settings(rendered)
    assert found.public is not None
    assert found.internal is not None
    assert ports == {"http": found.public.port, "internal": found.internal.port}
    assert internal["spec"]["type"] == "ClusterIP"
    for kind in ("Ingress", "HTTPRoute"):
        for item in rendered.of(kind):
            assert "asya-gateway-internal" not in json.dumps(item["spec"])


@pytest.mark.point(64)
def test_an_ingress_leads_to_the_public_service_and_its_names_are_accepted(engine: str) -> None:
    ingress = {"hosts": {"b.example.com": {"path": "/x"}, "a.example.com": {}}, "tls": {"cert": ["a.example.com"]}, "className": "nginx"}
    rendered = render(CHART, [BASE, {"ingress": {"enabled": True, **ingress}}], engine=engine)
    spec = rendered.one("Ingress")["spec"]
    assert (spec["ingressClassName"], spec["tls"]) == ("nginx", [{"hosts": ["a.example.com"], "secretName": "cert"}])
    assert [(rule["host"], rule["http"]["paths"][0]["path"]) for rule in spec["rules"]] == [("a.example.com", "/"), ("b.example.com", "/x")]
    (service,) = {json.dumps(rule["http"]["paths"][0]["backend"]) for rule in spec["rules"]}
    assert json.loads(service) == {"service": {"name": "asya-gateway", "port": {"name": "http"}}}
    assert {"a.example.com", "b.example.com"} <= set(settings(rendered).hosts)


@pytest.mark.point(64)
def test_a_route_leads_to_the_public_service_and_its_names_are_accepted(engine: str) -> None:
    route = {
        "parentRefs": {"x": {"name": "public", "sectionName": "https"}},
        "hostnames": {"a.example.com": True, "off.example.com": False},
    }
    rendered = render(CHART, [BASE, {"httpRoute": {"enabled": True, **route}, "service": {"port": 8000}}], engine=engine)
    spec = rendered.one("HTTPRoute")["spec"]
    assert spec["parentRefs"] == [{"name": "public", "sectionName": "https"}]
    assert spec["hostnames"] == ["a.example.com"]
    assert spec["rules"] == [{"backendRefs": [{"name": "asya-gateway", "port": 8000}]}]
    assert set(settings(rendered).hosts) >= {"a.example.com"}
    assert "off.example.com" not in settings(rendered).hosts


@pytest.mark.point(47)
@pytest.mark.parametrize("file", ci_files(CHART), ids=spoken)
def test_the_gateway_has_no_rights(file: Path) -> None:
    kinds = {item["kind"] for item in render(CHART, [file]).objects}
    assert not {kind for kind in kinds if "Role" in kind}


@pytest.mark.point(83)
def test_the_test_pod_asks_both_services_inside_the_network_policy(engine: str) -> None:
    rendered = render(CHART, [fullest(CHART)], engine=engine)
    (check,) = rendered.one("Pod")["spec"]["containers"]
    assert check["args"] == ["http://asya-gateway:8000", "http://asya-gateway-internal:9081"]
    assert check["image"] == gateway(rendered)["image"]
    compile(check["command"][2], "check.py", "exec")
    policy = rendered.one("NetworkPolicy")["spec"]
    labels = rendered.one("Pod")["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    (inside,) = [rule for rule in policy["ingress"] if "from" in rule]
    assert policy["podSelector"] in [peer.get("podSelector") for peer in inside["from"]]
