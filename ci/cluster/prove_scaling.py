#!/usr/bin/env python3
"""Watch KEDA take a Deployment from 0 to 4 and back to 0 on a RabbitMQ queue. Needs the shell of `cluster.py env`."""

import base64
import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

MANIFEST = Path(__file__).resolve().parent / "manifests" / "scale-proof.yaml"
NAMESPACE = "scale-proof"
QUEUE = "/api/queues/%2F/scale-proof"
PUBLISH = "/api/exchanges/%2F/amq.default/publish"
TIME_LIMIT = 120


def main() -> None:
    subprocess.run(["kubectl", "delete", "namespace", NAMESPACE, "--ignore-not-found"], check=True, capture_output=True)
    rabbitmq("PUT", QUEUE, {"durable": True})
    rabbitmq("DELETE", f"{QUEUE}/contents")
    subprocess.run(["kubectl", "apply", f"--filename={MANIFEST}"], check=True, capture_output=True)
    measure("ScaledObject ready", is_active_scaler)
    time.sleep(3)
    assert wanted() == 0, "an empty queue must not start a pod"
    assert "denied the request" in second_scaled_object(), "KEDA must refuse a second ScaledObject"

    publish(1)
    measure("1 message: 0 -> 1 wanted", lambda: wanted() == 1)
    measure("            1 running", lambda: running() == 1)
    publish(80)
    measure("80 messages: 1 -> 4 wanted", lambda: wanted() == 4)
    measure("             4 running", lambda: running() == 4)
    measure("queue drained", lambda: waiting() == 0)
    measure("cooldown: 4 -> 0 wanted", lambda: wanted() == 0)
    measure("          0 running", lambda: running() == 0)

    subprocess.run(["kubectl", "delete", "namespace", NAMESPACE], check=True, capture_output=True)
    rabbitmq("DELETE", QUEUE)


def measure(what: str, check: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not check():
        assert time.monotonic() - began < TIME_LIMIT, f"{what}: not within {TIME_LIMIT} s"
        time.sleep(0.1)
    print(f"{what:<28} {time.monotonic() - began:5.1f} s", flush=True)


def is_active_scaler() -> bool:
    conditions = get("scaledobject").get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def second_scaled_object() -> str:
    """What KEDA's admission webhook says to another ScaledObject for the same Deployment."""
    copy = {**get("scaledobject"), "metadata": {"name": "second", "namespace": NAMESPACE}}
    command = ["kubectl", "create", "--filename=-"]
    return subprocess.run(command, input=json.dumps(copy), capture_output=True, text=True).stderr


def wanted() -> int:
    return int(get("deployment")["spec"]["replicas"])


def running() -> int:
    return int(get("deployment")["status"].get("readyReplicas", 0))


def waiting() -> int:
    return int(rabbitmq("GET", QUEUE).get("messages", 0))


def get(kind: str) -> Any:
    command = ["kubectl", "get", kind, "worker", f"--namespace={NAMESPACE}", "--output=json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def publish(count: int) -> None:
    message = {"routing_key": "scale-proof", "payload": "work", "payload_encoding": "string", "properties": {}}
    for _ in range(count):
        rabbitmq("POST", PUBLISH, message)


def rabbitmq(method: str, path: str, body: object = None) -> Any:
    """One call of RabbitMQ's management interface."""
    address = urlsplit(os.environ["ASYA_CLUSTER_RABBITMQ_MANAGEMENT_URL"])
    login = base64.b64encode(f"{address.username}:{address.password}".encode()).decode()
    request = urllib.request.Request(
        f"http://{address.hostname}:{address.port}{path}",
        data=json.dumps(body).encode() if body is not None else None,
        headers={"Authorization": f"Basic {login}", "Content-Type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.loads(response.read() or b"{}")


if __name__ == "__main__":
    main()
