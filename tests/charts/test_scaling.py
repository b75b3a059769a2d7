"""H. Scaling: what the operator's functions make of rendered AsyncActors, valid against KEDA's own resource definitions."""

import copy
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.charts.helms import ROOT
from tests.charts.made import default_settings, made_scaling, settings_of, strict
from tests.charts.render import CHARTS, MINIMAL, ci_files, render

FULL = CHARTS / "asya-actor" / "ci" / "03-full-values.yaml"
MODULE = ROOT / "ci" / "cluster" / "go" / "keda"


def sqs_settings() -> Any:
    return settings_of(render("asya-operator", [ci_files("asya-operator")[2]]))


@cache
def keda_validator(plural: str) -> jsonschema.Draft7Validator:
    """KEDA's definition of a kind, from the module that the test cluster is built from."""
    command = ["go", "list", "-mod=mod", "-m", "-f", "{{.Dir}}", "github.com/kedacore/keda/v2"]
    try:
        done = subprocess.run(command, cwd=MODULE, capture_output=True, text=True, check=False)
        folder = Path(done.stdout.strip() or "missing") / "config" / "crd" / "bases"
    except FileNotFoundError:
        folder = Path("missing")
    if not folder.is_dir():
        reason = "KEDA's definitions are missing: (cd ci/cluster/go/keda && go mod download github.com/kedacore/keda/v2)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    (version,) = yaml.load((folder / f"keda.sh_{plural}.yaml").read_text(), Loader=yaml.CSafeLoader)["spec"]["versions"]
    made = strict(version["schema"]["openAPIV3Schema"])
    made["properties"]["metadata"] = {"type": "object"}
    return jsonschema.Draft7Validator(made)


def manifest(change: dict[str, Any] | None = None) -> dict[str, Any]:
    return render("asya-actor", [MINIMAL["asya-actor"], change or {}]).one("AsyncActor")


def set_ups() -> list[Path]:
    return [path for path in ci_files("asya-actor") if "fixed" not in path.name]


@pytest.mark.point(65)
@pytest.mark.parametrize("file", set_ups(), ids=lambda path: path.stem)
@pytest.mark.parametrize("transport", ["rabbitmq", "sqs"])
def test_objects_of_keda_satisfy_its_own_definitions(file: Path, transport: str) -> None:
    item = copy.deepcopy(render("asya-actor", [file]).one("AsyncActor"))
    item["spec"]["transport"] = transport
    scaled, auth = made_scaling(item, default_settings() if transport == "rabbitmq" else sqs_settings())
    keda_validator("scaledobjects").validate(scaled)
    keda_validator("triggerauthentications").validate(auth)
    for trigger in scaled["spec"]["triggers"]:
        assert all(isinstance(value, str) for value in trigger["metadata"].values()), trigger


@pytest.mark.point(66)
def test_each_transport_has_its_trigger_and_no_password_in_it() -> None:
    scaled, auth = made_scaling(manifest())
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["type"] == "rabbitmq"
    assert trigger["metadata"]["queueName"] == "asya-demo-text-processor"
    assert trigger["metadata"]["host"] == "http://rabbitmq.mq.svc:15672"
    assert trigger["authenticationRef"] == {"name": "text-processor"}
    assert {entry["name"] for entry in auth["spec"]["secretTargetRef"]} == {"asya-rabbitmq"}
    item = manifest({"transport": "sqs"})
    scaled, auth = made_scaling(item, sqs_settings())
    assert scaled["spec"]["triggers"][0]["type"] == "aws-sqs-queue"
    assert {entry["name"] for entry in auth["spec"]["secretTargetRef"]} == {"asya-sqs"}


@pytest.mark.point(67)
def test_all_of_scaling_passes_through() -> None:
    spec = made_scaling(render("asya-actor", [FULL]).one("AsyncActor"))[0]["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 50)
    assert (spec["pollingInterval"], spec["cooldownPeriod"], spec["initialCooldownPeriod"]) == (5, 600, 60)
    assert spec["fallback"] == {"failureThreshold": 3, "replicas": 2}
    assert spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == {"scaleDown": {"stabilizationWindowSeconds": 60}}
    assert spec["advanced"]["scalingModifiers"] == {"formula": "queue", "target": "5"}
    triggers = {trigger["name"]: trigger for trigger in spec["triggers"]}
    assert triggers["queue"]["metadata"]["value"] == "10"
    assert triggers["queue"]["metadata"]["activationValue"] == "3"
    assert {"prewarm-clean-text", "prewarm-tokenize", "load", "office"} <= triggers.keys()
    assert triggers["prewarm-clean-text"]["metadata"]["queueName"] == "asya-demo-clean-text"
    assert triggers["prewarm-clean-text"]["metadata"]["value"] == "20"


@pytest.mark.point(67)
def test_a_paused_actor_carries_kedas_annotation() -> None:
    scaled, _ = made_scaling(manifest({"scaling": {"paused": True}}))
    assert scaled["metadata"]["annotations"]["autoscaling.keda.sh/paused"] == "true"
    scaled, _ = made_scaling(manifest({"scaling": {"paused": True, "pausedReplicas": 0}}))
    assert scaled["metadata"]["annotations"]["autoscaling.keda.sh/paused-replicas"] == "0"


@pytest.mark.point(68)
@pytest.mark.parametrize(("timeout", "seconds"), [("5m", 360), ("1m", 300), ("20m", 1260)])
def test_without_a_management_url_the_cool_down_outlasts_a_call(timeout: str, seconds: int) -> None:
    blind = settings_of(render("asya-operator", {"transports": {"rabbitmq": {"host": "rabbitmq.mq.svc"}}}))
    scaled, _ = made_scaling(manifest({"timeout": timeout}), blind)
    assert scaled["spec"]["cooldownPeriod"] == seconds
    assert scaled["spec"]["triggers"][0]["metadata"]["protocol"] == "amqp"
