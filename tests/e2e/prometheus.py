"""A real Prometheus on this machine that scrapes the cluster as PodMonitors say. Used by test_monitoring and test_sqs.

Debian's Prometheus is built without Kubernetes' discovery, so what that would find is written to a file: every port of every pod of the
wanted namespaces, with the same `__meta_kubernetes_…` labels. What is scraped of it the monitors decide, by Prometheus' own relabelling.
"""

import contextlib
import json
import os
import random
import socket
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from tests.charts.render import render
from tests.e2e.conftest import OPERATOR_VALUES
from tests.e2e.kube import Kube
from tests.e2e.waiting import eventually
from tests.monitoring import flat, from_file, programs, scrape_job

__all__ = ["ON_SQS", "SCRAPE", "Prometheus", "operator_monitors"]

Json = dict[str, Any]

ON_SQS = {"asya_sidecar_transport_calls_total"}
"""Metrics of sidecars on SQS alone: their story shows these, that of RabbitMQ all others."""
SCRAPE = {"renderMode": "alwaysRender", "interval": "1s"}
CHOICES = {"$namespace": ".+", "$actor": ".+", "$flow": ".+", "$__rate_interval": "1m"}
"""What Grafana puts in place of a dashboard's variables."""


def operator_monitors(operator: str, watched: str) -> list[Json]:
    """Of an operator in the namespace `operator`, and of all actors that it watches in `watched`."""
    here = {"watch": {"scope": "namespace", "namespaces": {watched: True}}}
    monitors = {"metrics": {"podMonitor": {**SCRAPE, "enabled": True, "actors": True}}}
    return render("asya-operator", [OPERATOR_VALUES, here, monitors], namespace=operator).of("PodMonitor")


class Prometheus:
    """One server with an empty store, from `start` to `stop`.

    Args:
        folder: empty, its own.
        kube: where pods are.
        monitors: PodMonitors as the charts render them.
        rules: PrometheusRules likewise.
    """

    def __init__(self, folder: Path, kube: Kube, *, monitors: list[Json], rules: list[Json]) -> None:
        self._folder = folder
        self._kube = kube
        self._jobs = {job["job_name"]: job for job in map(scrape_job, monitors)}
        self._rules = rules
        self._process: subprocess.Popen[bytes] | None = None
        self._address = ""

    def start(self) -> None:
        """Begin to scrape what there is now."""
        self.discover()
        jobs = [from_file(job, self._targets(name)) for name, job in self._jobs.items()]
        config = self._folder / "prometheus.yaml"
        files = [self._folder / f"{rule['metadata']['name']}.rules.yaml" for rule in self._rules]
        for file, rule in zip(files, self._rules, strict=True):
            file.write_text(yaml.safe_dump(rule["spec"]))
        often = {"scrape_timeout": "1s", "evaluation_interval": "1s"}
        config.write_text(yaml.safe_dump({"global": often, "scrape_configs": jobs, "rule_files": list(map(str, files))}))
        self._address = f"127.0.0.1:{_free_port()}"
        words = [f"--config.file={config}", f"--storage.tsdb.path={self._folder / 'data'}", f"--web.listen-address={self._address}"]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [programs() / "prometheus", *words, "--log.level=warn"], stdout=log, stderr=log, env={**os.environ, "GOMAXPROCS": "1"}
            )
        eventually("Prometheus is ready", self._is_ready)

    def discover(self) -> None:
        """Look again which pods there are; Prometheus reads it within a second."""
        for name, job in self._jobs.items():
            (wanted,) = job["kubernetes_sd_configs"]
            groups = [group for namespace in wanted["namespaces"]["names"] for group in self._found(namespace)]
            draft = self._targets(name).with_suffix(".draft")
            draft.write_text(json.dumps(groups))
            draft.rename(self._targets(name))

    def stop(self) -> str:
        """End it; gives its log."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=60)
        return (self._folder / "log").read_text()

    def scraped(self, job: str) -> set[str]:
        """Pods that a job (NAMESPACE/MONITOR) has reached."""
        active = self._get("targets", state="active")["activeTargets"]
        return {each["labels"]["pod"] for each in active if each["labels"]["job"] == job and each["health"] == "up"}

    def names(self) -> set[str]:
        """All metrics that it has."""
        return set(self._get("label/__name__/values"))

    def alerts(self) -> dict[str, Json]:
        """By name what it knows of each alert's rule: its ``health``, ``lastError`` and ``state``, once it has been looked at."""
        found = [rule for group in self._get("rules", type="alert")["groups"] for rule in group["rules"]]
        return {rule["name"]: rule for rule in found if rule["health"] != "unknown"}

    def ask(self, query: str) -> list[Json]:
        """What a query gives now."""
        found: list[Json] = self._get("query", query=query)["result"]
        return found

    def has_answer(self, query: str) -> bool:
        """Whether a dashboard's query gives data soon."""
        for variable, choice in CHOICES.items():
            query = query.replace(variable, choice)
        assert "$" not in query, query
        try:
            return bool(eventually(query, lambda: self.ask(query)))
        except AssertionError:
            return False

    def _targets(self, job: str) -> Path:
        return self._folder / f"{job.replace('/', '-')}.json"

    def _found(self, namespace: str) -> list[Json]:
        groups = []
        for pod in self._kube.core.list_namespaced_pod(namespace).items:
            if not pod.status.pod_ip:
                continue
            own = {"namespace": namespace, "pod_name": pod.metadata.name, "pod_phase": pod.status.phase, "pod_ip": pod.status.pod_ip}
            for name, value in (pod.metadata.labels or {}).items():
                own[f"pod_label_{flat(name)}"] = value
                own[f"pod_labelpresent_{flat(name)}"] = "true"
            for container in [*pod.spec.containers, *(pod.spec.init_containers or [])]:
                for port in container.ports or []:
                    more = {"pod_container_name": container.name, "pod_container_port_name": port.name or ""}
                    labels = {f"__meta_kubernetes_{key}": value for key, value in {**own, **more}.items()}
                    groups.append({"targets": [f"{pod.status.pod_ip}:{port.container_port}"], "labels": labels})
        return groups

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()
        with urllib.request.urlopen(f"http://{self._address}/-/ready", timeout=30) as answer:
            return bool(answer.status == 200)

    def _get(self, path: str, **parameters: str) -> Any:
        url = f"http://{self._address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.loads(answer.read())["data"]


def _free_port() -> int:
    """One that the system gives to nobody who asks for any, so that it stays free until Prometheus has it."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(first - 8000, first)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
