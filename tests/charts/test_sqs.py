"""SQS by values: who gets which credentials, from the operator's chart to the pods and KEDA's objects of an actor and of the crew."""

from typing import Any

import pytest

from tests.charts.made import made_scaling, made_workload, settings_of
from tests.charts.render import MINIMAL, render

ROLE = {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/asya-operator"}
KEYS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
ONLY_SQS: dict[str, Any] = {"default": "sqs", "rabbitmq": {"enabled": False}}


def operator(**sqs: Any) -> Any:
    section = {"enabled": True, "region": "eu-central-1", **sqs}
    return render("asya-operator", {"transports": {**ONLY_SQS, "sqs": section}, "serviceAccount": {"annotations": ROLE}})


def variables(container: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


@pytest.mark.parametrize("auth", ["podIdentity", "secret"])
def test_actors_sidecar_and_keda_get_credentials_and_the_handler_none(auth: str) -> None:
    settings = settings_of(operator(auth=auth, endpoint="http://sqs.mq.svc:9324"))
    values = {**MINIMAL["asya-actor"], "serviceAccount": {"name": "ocr"}}
    manifest = render("asya-actor", values).one("AsyncActor")
    pod = made_workload(manifest, settings)["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "ocr"
    sidecar, handler = variables(pod["initContainers"][-1]), variables(pod["containers"][0])
    assert (sidecar["ASYA_TRANSPORT"], sidecar["AWS_REGION"]) == ("sqs", "eu-central-1")
    assert sidecar["ASYA_SQS_ENDPOINT"] == "http://sqs.mq.svc:9324"
    assert KEYS & set(sidecar) == (KEYS if auth == "secret" else set())
    assert not {name for name in handler if name.startswith("AWS_")}
    assert "asya-broker" not in {volume["name"] for volume in pod["volumes"]}
    scaled, authentication = made_scaling(manifest, settings)
    metadata = scaled["spec"]["triggers"][0]["metadata"]
    assert (metadata["awsRegion"], metadata["awsEndpoint"]) == ("eu-central-1", "http://sqs.mq.svc:9324")
    assert (metadata["scaleOnInFlight"], metadata["scaleOnDelayed"]) == ("true", "false")
    if auth == "podIdentity":
        assert authentication["spec"] == {"podIdentity": {"provider": "aws"}}
    else:
        assert {each["parameter"] for each in authentication["spec"]["secretTargetRef"]} == {"awsAccessKeyID", "awsSecretAccessKey"}


@pytest.mark.parametrize("auth", ["podIdentity", "secret"])
def test_operator_has_a_role_or_keys(auth: str) -> None:
    rendered = operator(auth=auth)
    assert rendered.one("ServiceAccount")["metadata"]["annotations"] == ROLE
    env = variables(rendered.one("Deployment")["spec"]["template"]["spec"]["containers"][0])
    assert KEYS & set(env) == (KEYS if auth == "secret" else set())
    assert all(env[name]["secretKeyRef"] == {"name": "asya-sqs", "key": name} for name in KEYS & set(env))


def test_crew_stores_with_its_own_keys_in_the_handler_and_those_of_the_queues_in_the_sidecar() -> None:
    settings = settings_of(operator(auth="secret"))
    s3 = {
        "bucket": "results",
        "region": "eu-central-1",
        "endpoint": "http://s3.mq.svc:9000",
        "pathStyle": True,
        "secretName": "asya-storage",
    }
    rendered = render("asya-crew", {"storage": {"s3": s3}})
    for end in ("happy-end", "error-end"):
        pod = made_workload(rendered.one("AsyncActor", end), settings)["spec"]["template"]["spec"]
        sidecar, handler = variables(pod["initContainers"][-1]), variables(pod["containers"][0])
        assert {sidecar[name]["secretKeyRef"]["name"] for name in KEYS} == {"asya-sqs"}
        assert {handler[name]["secretKeyRef"]["name"] for name in KEYS} == {"asya-storage"}
        assert (handler["ASYA_CREW_STORAGE_URL"], handler["ASYA_CREW_S3_PATH_STYLE"]) == ("s3://results", "true")
