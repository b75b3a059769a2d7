"""Spec × settings → manifests, as data cases, and what holds for every pod."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from python.operator.tests.twins import settings, spec

from asya_operator.desired import desired_children
from asya_operator.desired.children import Desired
from asya_operator.spec import InvalidSpec, RefusedTemplate, read_spec, refuse_template

Json = dict[str, Any]


def desired(more: Json | None = None, *, labels: Json | None = None, has_keda: bool = True, **sections: Any) -> Desired:
    made = read_spec("demo", "ocr", labels or {}, spec(**(more or {})))
    return desired_children(made, settings(**sections), uid="u1", transport="rabbitmq", runtime="asya-runtime-0", has_keda=has_keda)


def pod(more: Json | None = None, **keys: Any) -> Json:
    return desired(more, **keys).workload["spec"]["template"]["spec"]


def with_pod(**pod_keys: Any) -> Json:
    """A spec whose pod has these keys; `runtime` are keys of the handler's container."""
    runtime = pod_keys.pop("runtime", {})
    base = spec()["workload"]["template"]["spec"]["containers"][0]
    containers = [{**base, **runtime}, *pod_keys.pop("others", [])]
    return {"workload": {"template": {"spec": {"containers": containers, **pod_keys}}}}


def container(found: Json, name: str) -> Json:
    return next(each for each in (*found["initContainers"], *found["containers"]) if each["name"] == name)


def env(found: Json) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in found["env"]}


def restricted(found: Json) -> list[str]:
    """What of Kubernetes' Pod Security Standard "restricted" the pod breaks."""
    broken = []
    top = found.get("securityContext") or {}
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if found.get(key):
            broken.append(key)
    allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
    for volume in found.get("volumes") or []:
        if not (set(volume) - {"name"}) <= allowed:
            broken.append(f"volume {volume['name']}")
    for each in (*found.get("initContainers", ()), *found["containers"]):
        context = each.get("securityContext") or {}
        name = each["name"]
        if context.get("privileged") or context.get("allowPrivilegeEscalation") is not False:
            broken.append(f"{name}: privileges")
        if context.get("capabilities", {}).get("drop") != ["ALL"]:
            broken.append(f"{name}: capabilities")
        if not set(context.get("capabilities", {}).get("add", [])) <= {"NET_BIND_SERVICE"}:
            broken.append(f"{name}: added capabilities")
        if context.get("runAsNonRoot", top.get("runAsNonRoot")) is not True:
            broken.append(f"{name}: runAsNonRoot")
        if context.get("runAsUser", top.get("runAsUser")) == 0:
            broken.append(f"{name}: root")
        profile = context.get("seccompProfile", top.get("seccompProfile")) or {}
        if profile.get("type") not in ("RuntimeDefault", "Localhost"):
            broken.append(f"{name}: seccomp")
    return broken


# ----------------------------------------------------------------------------------------------------------------------------- workload


def test_sidecar_is_last_init_container_and_keeps_running():
    found = pod(with_pod(initContainers=[{"name": "fetch", "image": "x"}]))
    assert [each["name"] for each in found["initContainers"]] == ["fetch", "asya-sidecar"]
    sidecar = found["initContainers"][-1]
    assert sidecar["restartPolicy"] == "Always"
    assert "startupProbe" not in sidecar


def test_broker_credentials_are_files_of_the_sidecar_alone():
    found = pod()
    secret = [volume for volume in found["volumes"] if "secret" in volume]
    assert [volume["name"] for volume in secret] == ["asya-broker"]
    assert secret[0]["secret"]["items"] == [{"key": "username", "path": "username"}, {"key": "password", "path": "password"}]
    mounted = {each["name"]: [mount["name"] for mount in each["volumeMounts"]] for each in (*found["initContainers"], *found["containers"])}
    assert "asya-broker" in mounted["asya-sidecar"]
    assert "asya-broker" not in mounted["asya-runtime"]
    assert env(container(found, "asya-sidecar"))["ASYA_RABBITMQ_CREDENTIALS_DIR"] == "/var/run/secrets/asya-broker"


def test_sidecar_reads_the_environment_that_it_is_given():
    from asya_sidecar.settings import read_sidecar_settings

    gateway = {"internalUrl": "http://asya-gateway-internal.{namespace}.svc:8081"}
    found = env(
        container(pod({"retry": {"maxAttempts": 3, "include": ["TimeoutError"]}, "timeout": "10m"}, gateway=gateway), "asya-sidecar")
    )
    read = read_sidecar_settings(found)
    assert (read.actor, read.namespace, read.transport) == ("ocr", "demo", "rabbitmq")
    assert (read.timeout_seconds, read.grace_seconds) == (600.0, 630.0)
    assert read.retry["maxAttempts"] == 3
    assert read.gateway_url == "http://asya-gateway-internal.demo.svc:8081"


def test_runtime_knows_every_variable_that_it_is_given():
    import asya_runtime

    given = {
        name for name in env(container(pod({"runtime": {"sourcePath": "/opt/asya-source"}}), "asya-runtime")) if name.startswith("ASYA_")
    }
    assert given <= {name for name, _, _ in asya_runtime.SETTINGS}


def test_probes_ask_the_runtimes_file():
    found = container(pod({"runtime": {"interpreter": ["/opt/conda/bin/python", "-u"], "startupTimeout": "1h"}}), "asya-runtime")
    assert found["startupProbe"]["exec"]["command"] == ["/opt/conda/bin/python", "-u", "/opt/asya/asya_runtime.py", "--probe", "ready"]
    assert found["startupProbe"]["failureThreshold"] * found["startupProbe"]["periodSeconds"] == 3600


@pytest.mark.parametrize(("timeout", "users", "wanted"), [("5m", None, 330), ("1h", None, 3630), ("5m", 1000, 1000), ("5m", 10, 330)])
def test_grace_is_at_least_timeout_and_thirty_seconds(timeout, users, wanted):
    more = with_pod(**({} if users is None else {"terminationGracePeriodSeconds": users})) | {"timeout": timeout}
    found = pod(more)
    assert found["terminationGracePeriodSeconds"] == wanted
    assert env(container(found, "asya-sidecar"))["ASYA_GRACE"] == f"{wanted}s"


def test_users_choices_are_kept():
    runtime = {
        "resources": {"limits": {"nvidia.com/gpu": 1}},
        "readinessProbe": {"httpGet": {"path": "/", "port": 1}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "securityContext": {"runAsUser": 2000, "readOnlyRootFilesystem": False},
    }
    more = with_pod(
        runtime=runtime,
        others=[{"name": "helper", "image": "y"}],
        volumes=[{"name": "data", "emptyDir": {}}],
        runtimeClassName="nvidia",
        tolerations=[{"key": "gpu", "operator": "Exists"}],
        serviceAccountName="cloud",
        automountServiceAccountToken=True,
        securityContext={"fsGroup": 3000, "seccompProfile": {"type": "Localhost", "localhostProfile": "p.json"}},
    )
    found = pod(more)
    handler = container(found, "asya-runtime")
    assert handler["resources"] == runtime["resources"]
    assert handler["readinessProbe"] == runtime["readinessProbe"]
    assert handler["volumeMounts"][0] == runtime["volumeMounts"][0]
    assert handler["securityContext"]["runAsUser"] == 2000
    assert handler["securityContext"]["readOnlyRootFilesystem"] is False
    assert (found["runtimeClassName"], found["serviceAccountName"], found["automountServiceAccountToken"]) == ("nvidia", "cloud", True)
    assert found["securityContext"]["fsGroup"] == 3000
    assert found["securityContext"]["seccompProfile"]["type"] == "Localhost"
    assert restricted(found) == []


def test_users_hooks_are_kept_beside_ours_or_in_its_place():
    after, before = {"exec": {"command": ["true"]}}, {"sleep": {"seconds": 3}}
    ours = container(pod(), "asya-runtime")["lifecycle"]
    assert ours["preStop"] == container(pod(), "asya-sidecar")["lifecycle"]["preStop"] | {
        "exec": {"command": ["python3", *ours["preStop"]["exec"]["command"][1:]]}
    }
    assert container(pod(with_pod(runtime={"lifecycle": {"postStart": after}})), "asya-runtime")["lifecycle"] == {
        **ours,
        "postStart": after,
    }
    assert container(pod(with_pod(runtime={"lifecycle": {"preStop": before}})), "asya-runtime")["lifecycle"] == {"preStop": before}
    assert "lifecycle" not in container(pod({"runtime": {"interpreter": ["python3", "-m", "coverage", "run"]}}), "asya-runtime")


def test_own_tmp_volume_is_left_out_where_the_user_mounts_tmp():
    more = with_pod(runtime={"volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}]}, volumes=[{"name": "scratch", "emptyDir": {}}])
    found = pod(more)
    assert "asya-tmp" not in {volume["name"] for volume in found["volumes"]}
    assert [mount["mountPath"] for mount in container(found, "asya-runtime")["volumeMounts"]].count("/tmp") == 1


def test_flow_labels_reach_children_and_pods_but_tracking_labels_do_not():
    labels = {"asya.sh/flow": "text", "argocd.argoproj.io/instance": "x", "app.kubernetes.io/managed-by": "Helm"}
    made = desired(labels=labels)
    for meta in (made.workload["metadata"], made.scaled[1]["metadata"]):
        assert meta["labels"] == {"asya.sh/flow": "text", "asya.sh/actor": "ocr", "app.kubernetes.io/managed-by": "asya-operator"}
    assert made.workload["spec"]["template"]["metadata"]["labels"] == {"asya.sh/flow": "text", "asya.sh/actor": "ocr"}
    assert made.workload["spec"]["selector"] == {"matchLabels": {"asya.sh/actor": "ocr"}}


def test_gateway_is_left_out_where_the_label_says_so():
    gateway = {"internalUrl": "http://g.{namespace}.svc:8081"}
    found = pod(labels={"asya.sh/gateway": "none"}, gateway=gateway)
    assert "ASYA_GATEWAY_URL" not in env(container(found, "asya-sidecar"))
    assert "asya-token" not in {volume["name"] for volume in found["volumes"]}
    assert "asya-token" in {volume["name"] for volume in pod(gateway=gateway)["volumes"]}


def test_gateway_key_comes_from_its_secret():
    found = pod(gateway={"internalUrl": "http://g:8081", "auth": "key"})
    token = next(volume for volume in found["volumes"] if volume["name"] == "asya-token")
    assert token["secret"]["secretName"] == "asya-gateway-internal"


def test_stateful_set_has_claims_and_parallel_pods():
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    workload = spec()["workload"] | {"kind": "StatefulSet", "volumeClaimTemplates": [claim], "strategy": {"type": "OnDelete"}}
    made = desired({"workload": workload}).workload
    assert made["kind"] == "StatefulSet"
    assert made["spec"]["volumeClaimTemplates"] == [claim]
    assert made["spec"]["podManagementPolicy"] == "Parallel"
    assert made["spec"]["updateStrategy"] == {"type": "OnDelete"}


def test_sidecar_env_of_the_actor_wins_over_the_operators():
    sidecar = {"image": "asya/sidecar:0.1.0", "env": {"ASYA_LOG_DELIVERIES": "failures", "ASYA_MAX_HOPS": 5}}
    more = {"sidecar": {"env": [{"name": "ASYA_LOG_DELIVERIES", "value": "all"}, {"name": "ASYA_RABBITMQ_USERNAME", "value": "me"}]}}
    found = env(container(pod(more, sidecar=sidecar), "asya-sidecar"))
    assert (found["ASYA_LOG_DELIVERIES"], found["ASYA_MAX_HOPS"], found["ASYA_RABBITMQ_USERNAME"]) == ("all", "5", "me")


def test_claim_settings_are_given_only_where_there_is_a_storage():
    assert not [name for name in env(container(pod(), "asya-sidecar")) if name.startswith("ASYA_CLAIM")]
    found = env(container(pod(claims={"url": "s3://b/p", "secretName": "s"}), "asya-sidecar"))
    assert found["ASYA_CLAIM_URL"] == "s3://b/p"
    assert found["AWS_ACCESS_KEY_ID"] == {"secretKeyRef": {"name": "s", "key": "AWS_ACCESS_KEY_ID"}}


def test_sidecars_send_spans_only_where_there_is_an_endpoint_and_an_actor_may_say_otherwise():
    assert not [name for name in env(container(pod(), "asya-sidecar")) if name.startswith("OTEL")]
    tracing = {"endpoint": "http://otel-collector.monitoring.svc:4318"}
    assert env(container(pod(tracing=tracing), "asya-sidecar"))["OTEL_EXPORTER_OTLP_ENDPOINT"] == tracing["endpoint"]
    off = {"sidecar": {"env": [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": ""}]}}
    assert env(container(pod(off, tracing=tracing), "asya-sidecar"))["OTEL_EXPORTER_OTLP_ENDPOINT"] == ""


# ------------------------------------------------------------------------------------------------------------------------------ scaling


def test_trigger_counts_running_messages_by_the_management_api():
    authentication, scaled = desired().scaled
    assert authentication["kind"] == "TriggerAuthentication"
    trigger = scaled["spec"]["triggers"][0]
    assert trigger["metadata"] == {
        "protocol": "http",
        "host": "http://rabbitmq.mq.svc:15672",
        "vhostName": "/",
        "queueName": "asya-demo-ocr",
        "mode": "QueueLength",
        "value": "5",
        "activationValue": "0",
        "excludeUnacknowledged": "false",
    }
    assert trigger["authenticationRef"] == {"name": "ocr"}
    assert scaled["spec"]["minReplicaCount"] == 0


def test_cooldown_outlasts_a_call_where_running_messages_are_not_seen():
    transports = {"rabbitmq": {"host": "r"}}
    made = desired({"timeout": "1h"}, transports=transports).scaled[1]
    assert made["spec"]["triggers"][0]["metadata"]["protocol"] == "amqp"
    assert made["spec"]["cooldownPeriod"] == 3660
    assert desired({"timeout": "1m"}, transports=transports).scaled[1]["spec"]["cooldownPeriod"] == 300


def test_prewarm_and_extra_triggers_follow_the_queues_own():
    cron = {"name": "nightly", "type": "cron", "metadata": {"start": "0 6 * * *"}}
    made = desired({"scaling": {"prewarm": [{"actor": "first", "percent": 30}], "extraTriggers": [cron]}}).scaled[1]["spec"]["triggers"]
    assert [each["name"] for each in made] == ["queue", "prewarm-first", "nightly"]
    assert made[1]["metadata"]["value"] == "17"
    assert made[1]["metadata"]["queueName"] == "asya-demo-first"
    assert made[2] == cron


@pytest.mark.parametrize(
    ("scaling", "annotation"),
    [
        ({"paused": True}, {"autoscaling.keda.sh/paused": "true"}),
        ({"paused": True, "pausedReplicas": 2}, {"autoscaling.keda.sh/paused-replicas": "2"}),
        ({}, {}),
    ],
)
def test_pause_is_kedas_annotation(scaling, annotation):
    annotations = desired({"scaling": scaling}).scaled[1]["metadata"]["annotations"]
    assert {key: value for key, value in annotations.items() if key.startswith("autoscaling")} == annotation


@pytest.mark.parametrize(
    ("more", "has_keda", "sections", "replicas", "first"),
    [
        ({}, True, {}, None, 0),
        ({"scaling": {"minReplicas": 2}}, True, {}, None, 2),
        ({}, False, {}, 1, 1),
        ({"scaling": {"minReplicas": 3}}, False, {}, 3, 3),
        ({}, True, {"scaling": {"keda": "disabled"}}, 1, 1),
        ({"scaling": {"enabled": False}}, True, {}, 1, 1),
        ({"scaling": {"enabled": False}, "workload": {**spec()["workload"], "replicas": 0}}, True, {}, 0, 0),
    ],
)
def test_replicas_are_the_operators_only_where_keda_does_not_scale(more, has_keda, sections, replicas, first):
    made = desired(more, has_keda=has_keda, **sections)
    assert (made.replicas, made.first_replicas) == (replicas, first)
    assert bool(made.scaled) == (replicas is None)


def test_fallback_behavior_and_modifiers_pass_through():
    scaling = {"behavior": {"scaleUp": {"a": 1}}, "fallback": {"replicas": 2, "failureThreshold": 3}, "modifiers": {"formula": "x"}}
    made = desired({"scaling": scaling}).scaled[1]["spec"]
    assert made["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == {"scaleUp": {"a": 1}}
    assert made["advanced"]["scalingModifiers"] == {"formula": "x"}
    assert made["fallback"] == scaling["fallback"]


# ----------------------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("more", "labels", "sentence"),
    [
        ({}, {"asya.sh/actor": "x"}, "metadata.labels[asya.sh/actor]"),
        ({"sidecar": {"env": [{"name": "ASYA_ACTOR", "value": "x"}]}}, {}, "spec.sidecar.env[0].name ASYA_ACTOR belongs to the operator"),
        (with_pod(runtime={"env": [{"name": "ASYA_SOCKET", "value": "x"}]}), {}, "env[0].name ASYA_SOCKET belongs"),
        (with_pod(runtime={"env": [{"name": "ASYA_HANDLER", "value": "no path"}]}), {}, "'no path' is no handler"),
        (with_pod(runtime={"command": ["sh"]}), {}, "choose spec.runtime.interpreter"),
        (with_pod(runtime={"name": "other"}), {}, "has 0 containers asya-runtime"),
        (with_pod(others=[{"name": "asya-sidecar"}]), {}, "asya-sidecar, which belongs"),
        (with_pod(volumes=[{"name": "asya-x", "emptyDir": {}}]), {}, "volumes[0].name asya-x"),
        ({"scaling": {"minReplicas": 11}}, {}, "minReplicas 11 is above maxReplicas 10"),
        ({"timeout": "soon"}, {}, "spec.timeout 'soon' is no duration"),
    ],
)
def test_invalid_spec_names_path_and_remedy(more, labels, sentence):
    with pytest.raises(InvalidSpec) as caught:
        read_spec("demo", "ocr", labels, spec(**more))
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("more", "policy", "sentence"),
    [
        (with_pod(securityContext={"runAsUser": 0}), {}, "spec.workload.template.spec.securityContext.runAsUser 0"),
        (with_pod(runtime={"securityContext": {"runAsUser": 0}}), {}, "containers[0].securityContext.runAsUser 0"),
        (
            with_pod(initContainers=[{"name": "i", "securityContext": {"runAsNonRoot": False}}]),
            {},
            "initContainers[0].securityContext.runAsNonRoot",
        ),
        (with_pod(serviceAccountName="x"), {"serviceAccounts": {"ok": True}}, "serviceAccountName x is not among"),
        ({}, {"serviceAccounts": {"ok": True}}, "serviceAccountName default is not among"),
    ],
)
def test_refused_template_names_field_and_rule(more, policy, sentence):
    with pytest.raises(RefusedTemplate) as caught:
        refuse_template(read_spec("demo", "ocr", {}, spec(**more)), settings(podPolicy=policy))
    assert sentence in str(caught.value)


def test_root_is_allowed_where_the_policy_says_so():
    more = with_pod(securityContext={"runAsUser": 0})
    refuse_template(read_spec("demo", "ocr", {}, spec(**more)), settings(podPolicy={"allowRoot": True}))
    found = pod(more, podPolicy={"allowRoot": True})
    assert "runAsNonRoot" not in found["securityContext"]


# ----------------------------------------------------------------------------------------------------------------------------- every pod

names = st.from_regex(r"[a-z]{1,8}", fullmatch=True)
contexts = st.fixed_dictionaries(
    {},
    optional={
        "runAsUser": st.integers(1, 70_000),
        "runAsGroup": st.integers(0, 70_000),
        "readOnlyRootFilesystem": st.booleans(),
        "capabilities": st.sampled_from([{}, {"drop": ["NET_RAW"]}, {"add": ["NET_BIND_SERVICE"]}]),
        "allowPrivilegeEscalation": st.just(False),
        "seccompProfile": st.sampled_from([{"type": "RuntimeDefault"}, {"type": "Localhost", "localhostProfile": "p"}]),
    },
)
containers = st.builds(lambda name, context: {"name": f"x-{name}", "image": "i:1", "securityContext": context}, names, contexts)
pods = st.fixed_dictionaries(
    {
        "runtime": st.fixed_dictionaries({"securityContext": contexts}),
        "others": st.lists(containers, max_size=3),
        "initContainers": st.lists(containers, max_size=3),
    },
    optional={
        "securityContext": st.fixed_dictionaries({}, optional={"runAsUser": st.integers(1, 70_000), "fsGroup": st.integers(1, 70_000)}),
        "terminationGracePeriodSeconds": st.integers(0, 10_000),
        "automountServiceAccountToken": st.booleans(),
        "volumes": st.just([{"name": "data", "emptyDir": {}}]),
    },
)
specs = st.builds(
    lambda made, more: with_pod(**made) | more,
    pods,
    st.fixed_dictionaries(
        {},
        optional={
            "timeout": st.sampled_from(["1s", "5m", "24h"]),
            "concurrency": st.integers(1, 64),
            "scaling": st.fixed_dictionaries(
                {}, optional={"enabled": st.booleans(), "minReplicas": st.integers(0, 10), "paused": st.booleans()}
            ),
        },
    ),
)


@pytest.mark.behaviour("operator:restricted")
@hypothesis_settings(max_examples=40, deadline=None)
@given(specs)
def test_every_pod_is_restricted(more):
    assert restricted(pod(more)) == []


@hypothesis_settings(max_examples=40, deadline=None)
@given(specs)
def test_desired_is_deterministic_and_plain_json(more):
    one, other = desired(more), desired(json.loads(json.dumps(more)))
    assert json.dumps([one.workload, one.scaled]) == json.dumps([other.workload, other.scaled])


@hypothesis_settings(max_examples=40, deadline=None)
@given(specs)
def test_desired_does_not_share_parts_with_the_spec(more):
    before = json.dumps(more, sort_keys=True)
    made = desired(more)
    made.workload["spec"]["template"]["spec"]["containers"][0]["image"] = "changed"
    assert json.dumps(more, sort_keys=True) == before


# -------------------------------------------------------------------------------------------------------------------------- other set-ups


def test_broker_over_tls_gets_its_certificates_from_a_config_map():
    transports = {"rabbitmq": {"host": "r", "port": 5671, "tls": {"enabled": True, "caConfigMap": "ca", "caKey": "bundle.pem"}}}
    made = desired(transports=transports)
    found = made.workload["spec"]["template"]["spec"]
    given = env(container(found, "asya-sidecar"))
    assert given["ASYA_RABBITMQ_ADDRESS"] == "amqps://r:5671"
    assert given["ASYA_RABBITMQ_TLS_CA"] == "/etc/asya-broker-ca/ca.crt"
    volume = next(volume for volume in found["volumes"] if volume["name"] == "asya-broker-ca")
    assert volume["configMap"] == {"name": "ca", "items": [{"key": "bundle.pem", "path": "ca.crt"}]}
    assert made.scaled[0]["spec"]["configMapTargetRef"] == [{"parameter": "ca", "name": "ca", "key": "bundle.pem"}]
    assert made.scaled[1]["spec"]["triggers"][0]["metadata"]["host"] == "amqps://r:5671"


@pytest.mark.parametrize("auth", ["podIdentity", "secret"])
def test_sqs_actor_has_its_own_trigger_and_no_credentials_of_rabbitmq(auth):
    sqs = {"enabled": True, "region": "eu-central-1", "endpoint": "http://double:4566", "auth": auth}
    made = read_spec("demo", "ocr", {}, spec(transport="sqs", scaling={"prewarm": [{"actor": "first"}]}))
    chosen = settings(transports={"rabbitmq": {"host": "r"}, "sqs": sqs})
    url = "https://sqs.eu-central-1.amazonaws.com/1/asya-demo-ocr"
    found = desired_children(made, chosen, uid="u", transport="sqs", runtime="x", has_keda=True, queue_url=url)
    given = env(container(found.workload["spec"]["template"]["spec"], "asya-sidecar"))
    assert (given["ASYA_TRANSPORT"], given["AWS_REGION"], given["ASYA_SQS_ENDPOINT"]) == ("sqs", "eu-central-1", "http://double:4566")
    assert ("AWS_ACCESS_KEY_ID" in given) is (auth == "secret")
    assert not [volume for volume in found.workload["spec"]["template"]["spec"]["volumes"] if "secret" in volume]
    authentication, scaled = found.scaled
    assert ("podIdentity" in authentication["spec"]) is (auth == "podIdentity")
    own, earlier = scaled["spec"]["triggers"]
    assert own["metadata"] == {
        "queueURL": url,
        "awsRegion": "eu-central-1",
        "queueLength": "5",
        "activationQueueLength": "0",
        "scaleOnInFlight": "true",
        "scaleOnDelayed": "false",
        "awsEndpoint": "http://double:4566",
    }
    assert earlier["metadata"]["queueURL"].endswith("/asya-demo-first")
    without = desired_children(made, chosen, uid="u", transport="sqs", runtime="x", has_keda=True)
    assert without.scaled[1]["spec"]["triggers"][0]["metadata"]["queueURL"] == "asya-demo-ocr"


def test_deployment_takes_strategy_and_revisions():
    made = desired({"workload": spec()["workload"] | {"strategy": {"type": "Recreate"}, "revisionHistoryLimit": 0}}).workload["spec"]
    assert (made["strategy"], made["revisionHistoryLimit"]) == ({"type": "Recreate"}, 0)


def test_openshift_chooses_users_itself():
    found = pod(podPolicy={"runAsUser": None, "fsGroup": None, "readOnlyRootFilesystem": False})
    assert found["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert "readOnlyRootFilesystem" not in container(found, "asya-runtime")["securityContext"]


def test_operators_sidecar_env_may_refer_to_a_secret_and_null_leaves_out():
    ref = {"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    found = env(container(pod(sidecar={"image": "s:1", "env": {"A": ref, "B": None}}), "asya-sidecar"))
    assert found["A"] == ref["valueFrom"]
    assert "B" not in found


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("asya/sidecar:0.1.0", "0.1.0"),
        ("r:5000/asya/sidecar", "latest"),
        ("r:5000/a/s:1", "1"),
        ("r:5000/a/s@sha256:ab", "sha256:ab"),
        ("r:5000/a/s:0.1.0@sha256:ab", "0.1.0"),
    ],
)
def test_version_of_the_sidecar_is_its_tag_else_its_digest(image, version):
    from asya_operator.desired.sidecar import sidecar_version

    assert sidecar_version(image) == version


def test_label_of_the_actor_in_a_template_is_refused():
    workload = {"template": {**spec()["workload"]["template"], "metadata": {"labels": {"asya.sh/actor": "x"}}}}
    with pytest.raises(InvalidSpec) as caught:
        read_spec("demo", "ocr", {}, spec(workload=workload))
    assert "template.metadata.labels[asya.sh/actor]" in str(caught.value)


def test_stateful_set_needs_neither_claims_nor_strategy():
    made = desired({"workload": spec()["workload"] | {"kind": "StatefulSet"}}).workload["spec"]
    assert "volumeClaimTemplates" not in made
    assert "updateStrategy" not in made


def test_template_that_breaks_no_rule_is_not_refused():
    made = read_spec("demo", "ocr", {}, spec(**with_pod(serviceAccountName="ok", others=[{"name": "helper"}])))
    refuse_template(made, settings(podPolicy={"serviceAccounts": {"ok": True}}))
    refuse_template(made, settings())


def test_runtimes_config_map_is_immutable_and_named_by_its_content():
    from asya_operator.desired.runtime import runtime_config_map

    one, other = runtime_config_map("demo", b"one"), runtime_config_map("demo", b"other")
    assert one["immutable"] is True
    assert one["data"] == {"asya_runtime.py": "one"}
    assert one["metadata"]["name"] != other["metadata"]["name"]
    assert runtime_config_map("else", b"one")["metadata"]["name"] == one["metadata"]["name"]
