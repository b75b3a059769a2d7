"""The settings file: defaults, unknown keys, values that are not what they should be, and what the chart renders."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from asya_core.wire.errors import RemoteFault
from asya_operator.settings import parse_settings

Json = dict[str, Any]
LEAST: Json = {"transports": {"rabbitmq": {"host": "rabbitmq.mq.svc"}}, "sidecar": {"image": "asya/sidecar:0.1.0"}}
VALUES = Path(__file__).parents[3] / "charts/asya-operator/values.yaml"


def changed(path: str, value: Any) -> Json:
    made = copy.deepcopy(LEAST)
    at = made
    *outer, last = path.split(".")
    for key in outer:
        at = at.setdefault(key, {})
    at[last] = value
    return made


def test_two_values_are_enough():
    found = parse_settings(LEAST)
    assert (found.rabbitmq.port, found.rabbitmq.queue_type, found.workers, found.resync_seconds) == (5672, "quorum", 16, 600.0)
    assert found.namespaces == ()
    assert found.is_enabled("rabbitmq")
    assert not found.is_enabled("sqs")


def test_defaults_are_the_charts():
    """Each section that the chart hands on, with the chart's own values, means the same as saying nothing."""
    values = yaml.safe_load(VALUES.read_text())
    sections = (
        "watch",
        "leaderElection",
        "transports",
        "limits",
        "gateway",
        "claims",
        "tracing",
        "podPolicy",
        "scaling",
        "rollout",
        "reconcile",
        "log",
    )
    given = {name: values[name] for name in sections}
    given["transports"]["rabbitmq"]["host"] = "rabbitmq.mq.svc"
    sidecar = {key: value for key, value in values["sidecar"].items() if key != "image"} | {"image": "asya/sidecar:0.1.0"}
    assert parse_settings({**given, "sidecar": sidecar, "metrics": {"port": values["metrics"]["port"]}}) == parse_settings(LEAST)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("transports.rabbitmq.hosst", "x", "transports.rabbitmq.hosst is not known"),
        ("colour", "red", "colour is not known"),
        ("transports.rabbitmq.host", "", "transports.rabbitmq.host is empty"),
        ("transports.rabbitmq.port", 0, "transports.rabbitmq.port is '0'; expected a whole number from 1 to 65535"),
        ("transports.rabbitmq.port", "5672", "transports.rabbitmq.port"),
        ("transports.rabbitmq.managementUrl", "rabbitmq:15672", "transports.rabbitmq.managementUrl"),
        ("transports.default", "sqs", "transports.default is sqs, which is not enabled"),
        ("transports.default", "kafka", "expected rabbitmq or sqs"),
        ("transports.sqs.enabled", True, "transports.sqs.region is empty"),
        ("sidecar.image", "", "sidecar.image is empty"),
        ("tracing.endpoint", "collector:4318", "tracing.endpoint is 'collector:4318'; expected http(s)://host:4318"),
        ("scaling.keda", False, "scaling.keda is 'False'; expected auto or required or disabled"),
        ("reconcile.resync", "soon", "expected a duration"),
        ("reconcile.resync", 0, "expected a duration"),
        ("drain.quietPeriod", "0s", "expected a duration"),
        ("drain.timeout", "never", "expected a duration"),
        ("limits.maxFrame", "64Gi", "expected a size"),
        ("leaderElection.renewDeadline", 20, "retryPeriod < renewDeadline < leaseDuration"),
        ("watch.scope", "namespace", "watch.namespaces is empty"),
        ("podPolicy", [], "podPolicy is '[]'; expected a mapping"),
        ("rollout.maxConcurrent", 1.5, "rollout.maxConcurrent"),
    ],
)
def test_refused_value_is_named_with_what_was_expected(path, value, sentence):
    with pytest.raises(RemoteFault) as caught:
        parse_settings(changed(path, value))
    assert sentence in str(caught.value)


def test_numbers_from_helm_may_be_floats():
    assert parse_settings(changed("limits.maxFrame", 1048576.0)).limits.max_frame_bytes == 1048576


def test_null_user_leaves_the_user_out():
    found = parse_settings(changed("podPolicy", {"runAsUser": None, "fsGroup": None})).pod_policy
    assert (found.run_as_user, found.fs_group) == (None, None)


def test_namespaces_that_are_switched_off_are_not_watched():
    found = parse_settings(changed("watch", {"scope": "namespace", "namespaces": {"b": True, "a": True, "c": False}}))
    assert found.namespaces == ("a", "b")


@pytest.mark.parametrize(("given", "seconds"), [("0s", 0.0), (0, 0.0), ("30m", 1800.0)])
def test_drain_may_be_switched_off(given, seconds):
    assert parse_settings(changed("drain", {"timeout": given})).drain_seconds == seconds
