"""The first actor of the documentation, by `helm install` alone: it wakes for a message, its result is stored, it sleeps again."""

from pathlib import Path

import pytest

from tests.e2e.stage import Stage
from tests.e2e.waiting import eventually

pytestmark = pytest.mark.timeout(900)

TEXT_PROCESSOR = Path(__file__).parent / "images" / "my-processor" / "text_processor.py"
PAYLOAD = {"text": "hello world", "request_id": "123"}
RESULT = {"text": "hello world", "request_id": "123", "processed": "HELLO WORLD", "length": 11}


def wakes_works_sleeps(stage: Stage) -> None:
    stage.await_condition("text-processor", "Ready", "True", "Napping")
    assert stage.kube.wanted(stage.namespace, "text-processor") == 0
    (id_,) = stage.publish("text-processor", PAYLOAD)
    assert stage.result(id_)["payload"] == RESULT
    # Five idle minutes are the default.
    patient = ("--reuse-values", "--set", "scaling.cooldownPeriod=5", "--set", "scaling.pollingInterval=1")
    stage.helm.upgrade(stage.namespace, "text-processor", "asya-actor", *patient)
    eventually("sleeps", lambda: stage.kube.wanted(stage.namespace, "text-processor") == 0)
    stage.await_pods("text-processor", 0)
    stage.await_condition("text-processor", "Ready", "True", "Napping")


@pytest.mark.point(86)
@pytest.mark.behaviour("charts:first-actor")
@pytest.mark.parametrize("helm", ["helm4"], indirect=True)
def test_three_values_wake_an_actor_from_zero_and_its_result_is_stored(crewed: Stage) -> None:
    three = ("--set", "image.repository=my-processor", "--set", "image.tag=v1", "--set", "handler=text_processor.process")
    crewed.install_actor("text-processor", *three)
    wakes_works_sleeps(crewed)


@pytest.mark.behaviour("charts:first-actor")
@pytest.mark.parametrize("helm", ["helm3"], indirect=True)
def test_two_values_run_handler_code_without_an_image(crewed: Stage) -> None:
    two = ("--set", "handler=text_processor.process", "--set-file", rf"source.files.text_processor\.py={TEXT_PROCESSOR}")
    crewed.install_actor("text-processor", *two)
    wakes_works_sleeps(crewed)
