"""What each kind of sidecar loads: names, not times."""

import functools
import json
import subprocess
import sys
from typing import Any

import pytest

NEVER = (
    "boto3",
    "botocore",
    "requests",
    "httpx",
    "prometheus_client",
    "kubernetes",
    "multiprocessing",
    "asya_core.testing",
    "opentelemetry",
)
ENVIRONMENT = {
    "embedded": {"ASYA_EMBEDDED_PATH": "/tmp/none.db"},
    "rabbitmq": {"ASYA_RABBITMQ_ADDRESS": "127.0.0.1:1"},
}


@functools.cache
def loaded(transport: str) -> frozenset[str]:
    """Names of all modules after the sidecar has built its transport."""
    environment = {"ASYA_ACTOR": "a", "ASYA_NAMESPACE": "n", "ASYA_TRANSPORT": transport, **ENVIRONMENT[transport]}
    program = (
        "import json, sys\n"
        "import asya_sidecar.__main__\n"
        "from asya_sidecar.app import _make_decider, _make_traces, make_transport\n"
        "from asya_sidecar.settings import read_sidecar_settings\n"
        f"settings = read_sidecar_settings({environment!r})\n"
        "make_transport(settings)\n"
        "assert type(_make_decider(settings, _make_traces(settings, None, None))).__mro__[1] is object\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    return frozenset(json.loads(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout))


@pytest.mark.parametrize("transport", ["embedded", "rabbitmq"])
def test_a_sidecar_loads_nothing_of_these(transport: str) -> None:
    assert loaded(transport).isdisjoint(NEVER)


def test_a_rabbitmq_sidecar_does_not_load_sqlite() -> None:
    assert loaded("rabbitmq").isdisjoint({"sqlite3", "asya_core.transports.embedded"})


def test_a_rabbitmq_sidecar_does_not_load_what_only_administration_needs() -> None:
    assert loaded("rabbitmq").isdisjoint({"asya_core.transports.rabbitmq.admin", "urllib.request", "http.client", "email"})


@pytest.mark.parametrize("transport", ["embedded", "rabbitmq"])
def test_what_only_a_refusal_needs_is_loaded_with_it(transport: str) -> None:
    assert "difflib" not in loaded(transport)


def test_an_embedded_sidecar_does_not_load_pika() -> None:
    assert loaded("embedded").isdisjoint({"pika", "asya_core.transports.rabbitmq"})


@pytest.mark.parametrize("transport", ["embedded", "rabbitmq"])
def test_the_reporter_is_loaded_only_with_a_gateway(transport: str) -> Any:
    assert "asya_sidecar.reporter" not in loaded(transport)


@pytest.mark.behaviour("tracing:off")
@pytest.mark.parametrize("transport", ["embedded", "rabbitmq"])
def test_what_makes_spans_is_loaded_only_with_an_endpoint(transport: str) -> None:
    assert loaded(transport).isdisjoint({"asya_core.wire.trace", "asya_sidecar.traced", "opentelemetry", "google", "requests"})
