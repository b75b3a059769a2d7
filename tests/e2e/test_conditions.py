"""What goes wrong is told by the AsyncActor's status within a minute, in one sentence, and is gone after the fix."""

import pytest

from tests.e2e.stage import QUICK, Stage

pytestmark = pytest.mark.timeout(400)

GOOD = "def process(payload):\n    return payload\n"
AWAKE = {**QUICK, "scaling": {**QUICK["scaling"], "minReplicas": 1}}
MINUTE = 60.0


def test_wrong_handler_is_told_with_the_nearest_name_and_gone_after_the_fix(stage: Stage) -> None:
    stage.install_actor("ocr", values={**AWAKE, "handler": "ocr.proces", "source": {"files": {"ocr.py": GOOD}}})
    seen = stage.await_condition("ocr", "Ready", "False", "HandlerInvalid", within=MINUTE)
    assert "ocr.process" in seen["message"]
    assert stage.kube.condition(stage.namespace, "ocr", "Stalled")["status"] == "True"

    stage.helm.upgrade(stage.namespace, "ocr", "asya-actor", "--reuse-values", "--set", "handler=ocr.process")
    stage.await_condition("ocr", "Ready", "True", "Running")
    assert stage.kube.condition(stage.namespace, "ocr", "Stalled") == {}


def test_wrong_image_is_told(stage: Stage) -> None:
    image = {"repository": "registry.example.com/no-such-image", "tag": "v1"}
    stage.install_actor("ocr", values={**AWAKE, "handler": "ocr.process", "image": image})
    seen = stage.await_condition("ocr", "WorkloadReady", "False", "ImagePullFailed", within=MINUTE)
    assert "registry.example.com/no-such-image:v1" in seen["message"]


def test_missing_secret_is_told_by_name_and_its_creation_is_enough(stage: Stage) -> None:
    source = {"files": {"ocr.py": GOOD}}
    needs = {"TOKEN": {"valueFrom": {"secretKeyRef": {"name": "model-token", "key": "token"}}}}
    stage.install_actor("ocr", values={**AWAKE, "handler": "ocr.process", "source": source, "env": needs})
    seen = stage.await_condition("ocr", "WorkloadReady", "False", "SecretMissing", within=MINUTE)
    assert "model-token" in seen["message"]

    stage.kube.core.create_namespaced_secret(stage.namespace, {"metadata": {"name": "model-token"}, "stringData": {"token": "t"}})
    stage.await_condition("ocr", "Ready", "True", "Running")


def test_memory_limit_that_a_handler_exceeds_is_told(stage: Stage) -> None:
    hungry = "hoard = bytearray(200_000_000)\n\ndef process(payload):\n    return payload\n"
    resources = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "100Mi"}}
    stage.install_actor("ocr", values={**AWAKE, "handler": "ocr.process", "source": {"files": {"ocr.py": hungry}}, "resources": resources})
    seen = stage.await_condition("ocr", "WorkloadReady", "False", "OutOfMemory", within=MINUTE)
    assert "100Mi" in seen["message"]
