"""From values to the two environments; the chart must come to the same."""

import pytest

from asya_cli.run.actor import actor_spec
from asya_cli.run.environment import basic_environment, env_text, runtime_environment, sidecar_environment
from asya_core.wire.errors import RemoteFault


def spec(**values):
    return actor_spec({"handler": "m.f", **values}, release="a", file="a.yaml")


def test_defaults_are_those_of_the_chart():
    assert runtime_environment(spec(), {}) == {"ASYA_HANDLER": "m.f", "ASYA_HANDLER_MODE": "payload", "ASYA_CONCURRENCY": "1"}
    assert sidecar_environment(spec(), {}) == {
        "ASYA_ACTOR": "a",
        "ASYA_TIMEOUT": "5m",
        "ASYA_GRACE": "330s",
        "ASYA_RETRY": '{"maxAttempts":1,"backoff":{"initial":"1s","factor":2,"max":"5m"},"include":[],"exclude":[]}',
    }


def test_every_value_reaches_its_variable():
    full = spec(
        actorName="b",
        handlerMode="envelope",
        concurrency=4,
        timeout="90s",
        retry={"maxAttempts": 3, "backoff": {"initial": "2s", "factor": 1.5, "max": "1m"}, "include": {"B": True, "A": True, "C": False}},
        env={"MODEL_PATH": "/m", "ASYA_HANDLER_OTHER": "x.y", "GONE": None},
        sidecar={"logLevel": "debug", "prefetch": 7, "env": {"ASYA_MAX_HOPS": 5}},
    )
    assert runtime_environment(full, {}) == {
        "ASYA_HANDLER": "m.f",
        "ASYA_HANDLER_MODE": "envelope",
        "ASYA_CONCURRENCY": "4",
        "MODEL_PATH": "/m",
        "ASYA_HANDLER_OTHER": "x.y",
    }
    assert sidecar_environment(full, {}) == {
        "ASYA_ACTOR": "b",
        "ASYA_TIMEOUT": "90s",
        "ASYA_GRACE": "120s",
        "ASYA_RETRY": '{"maxAttempts":3,"backoff":{"initial":"2s","factor":1.5,"max":"1m"},"include":["A","B"],"exclude":[]}',
        "ASYA_LOG_LEVEL": "debug",
        "ASYA_PREFETCH": "7",
        "ASYA_MAX_HOPS": "5",
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0755", "0755"),
        ("", ""),
        (True, "true"),
        (False, "false"),
        (10485760, "10485760"),
        (-3, "-3"),
        (0.5, "0.5"),
        (1000.0, "1000"),
        (0.0, "0"),
        (-0.0, "-0"),
        (1e-6, "0.000001"),
        (1.5e-7, "1.5e-7"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
    ],
)
def test_scalar_is_written_as_helm_writes_it(value, text):
    assert env_text(value) == text


def test_variable_of_a_secret_comes_from_the_surroundings():
    wants = spec(env={"TOKEN": {"valueFrom": {"secretKeyRef": {"name": "k", "key": "t"}}}})
    assert runtime_environment(wants, {"TOKEN": "x"})["TOKEN"] == "x"
    with pytest.raises(RemoteFault, match="secretKeyRef k/t"):
        runtime_environment(wants, {})


def test_optional_variable_may_be_absent():
    wants = spec(env={"TOKEN": {"valueFrom": {"configMapKeyRef": {"name": "k", "key": "t", "optional": True}}}})
    assert "TOKEN" not in runtime_environment(wants, {})


def test_surroundings_that_could_fill_a_parameter_stay_out():
    kept = basic_environment({"PATH": "p", "LC_ALL": "C", "PYTHONPATH": "x", "LANGUAGE": "en", "MODEL_PATH": "m", "ASYA_SOCKET": "s"})
    assert kept == {"PATH": "p", "LC_ALL": "C", "PYTHONPATH": "x"}


@pytest.mark.parametrize(
    "values", [{"timeout": "12h", "transport": "sqs"}, {"timeout": "0s"}, {"actorName": "happy-end"}, {"actorName": "mode"}]
)
def test_what_the_schema_cannot_say_is_refused(values):
    with pytest.raises(RemoteFault):
        spec(**values)


def test_template_in_a_variable_is_refused():
    with pytest.raises(RemoteFault, match="Helm template"):
        spec(env={"A": "{{ .Release.Name }}"})
