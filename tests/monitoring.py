"""What tests of metrics, rules and dashboards share: the declared metrics, the charts' rules and dashboards, and Prometheus' programs.

Used by tests/charts and tests/e2e. Programs come from ci/prometheus.sh: missing is a skip on a laptop, a failure where CI is set.
"""

import json
import os
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from asya_core.ops.metrics import Registry
from asya_gateway.metrics import GatewayMetrics
from asya_operator.metrics import Metrics
from asya_sidecar.metrics import SidecarMetrics
from tests.charts import yamls

__all__ = [
    "ADDED",
    "CHARTS",
    "alerts",
    "dashboards",
    "flat",
    "from_file",
    "labels",
    "programs",
    "promtool",
    "queries",
    "registries",
    "scrape_job",
    "used",
]

ROOT = Path(__file__).resolve().parents[1]
CHARTS = ROOT / "charts"
ADDED = {"namespace", "pod", "container", "job", "instance"}
"""Labels that the Prometheus operator adds to what a PodMonitor chooses."""
OF_ACTORS = {"flow", "role"}
"""Labels that the PodMonitors of actors add."""
Json = dict[str, Any]


@cache
def registries() -> dict[str, Registry]:
    """What each component declares."""
    return {"sidecar": SidecarMetrics("a").registry, "operator": Metrics().registry, "gateway": GatewayMetrics().registry}


@cache
def labels() -> dict[str, set[str]]:
    """Labels of each metric that a component declares, as Prometheus has them with the charts' PodMonitors."""
    found: dict[str, set[str]] = {}
    for component, registry in registries().items():
        more = OF_ACTORS if component == "sidecar" else set()
        for metric in registry.metrics:
            own = {*registry.constant, *(label.name for label in metric.labels)}
            found[metric.name] = own | more | ADDED | ({"le"} if metric.kind == "histogram" else set())
    return found


def used(expression: str) -> set[str]:
    """Metrics that a query uses; a histogram by its own name."""
    names = set(re.findall(r"\basya_\w+", expression))
    return {name if name in labels() else re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def alerts(chart: str) -> list[Json]:
    """The rules of a chart."""
    (group,) = yamls.read((CHARTS / chart / "files" / "alerts.yaml").read_text())["groups"]
    found: list[Json] = group["rules"]
    return found


def dashboards() -> dict[str, Json]:
    """All dashboards of the charts by uid."""
    found = [json.loads(path.read_text()) for path in sorted(CHARTS.glob("*/files/dashboards/*.json"))]
    return {each["uid"]: each for each in found}


def queries(dashboard: Json) -> list[tuple[str, str]]:
    """Where and what of each query, the series of variables included."""
    found = [
        (f"{dashboard['uid']}: {panel['title']}: {target['legendFormat']}", target["expr"])
        for panel in dashboard["panels"]
        for target in panel["targets"]
    ]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            series = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
            assert series is not None, variable["query"]
            found.append((f"{dashboard['uid']}: variable {variable['name']}", f"count by ({series[2]}) ({series[1]})"))
    return found


def scrape_job(monitor: Json) -> Json:
    """The scrape job that the Prometheus operator makes of a PodMonitor with one endpoint, as far as the charts' own use it.

    Rules and their order are the operator's own: pods that are over are dropped, then labels, then the port's name decide; `namespace`,
    `container` and `pod` are set; the monitor's relabelings come last. Shapes it does not know fail.
    """
    meta, spec = monitor["metadata"], monitor["spec"]
    assert spec.keys() <= {"namespaceSelector", "selector", "podMetricsEndpoints"}, spec.keys()
    (point,) = spec["podMetricsEndpoints"]
    assert point.keys() <= {"port", "path", "interval", "honorLabels", "relabelings"}, point.keys()
    where = spec.get("namespaceSelector", {"matchNames": [meta["namespace"]]})
    discovery: Json = {"role": "pod", **({} if where.get("any") else {"namespaces": {"names": where["matchNames"]}})}
    rules: list[Json] = [{"source_labels": ["__meta_kubernetes_pod_phase"], "regex": "(Failed|Succeeded)", "action": "drop"}]
    for label, value in spec["selector"].get("matchLabels", {}).items():
        rules.append({"source_labels": [f"__meta_kubernetes_pod_label_{flat(label)}"], "regex": value, "action": "keep"})
    for wanted in spec["selector"].get("matchExpressions", []):
        assert wanted["operator"] == "Exists", wanted
        rules.append({"source_labels": [f"__meta_kubernetes_pod_labelpresent_{flat(wanted['key'])}"], "regex": "true", "action": "keep"})
    rules.append({"source_labels": ["__meta_kubernetes_pod_container_port_name"], "regex": point["port"], "action": "keep"})
    for source, target in (("namespace", "namespace"), ("pod_container_name", "container"), ("pod_name", "pod")):
        rules.append({"source_labels": [f"__meta_kubernetes_{source}"], "target_label": target})
    for each in point.get("relabelings", []):
        assert each.keys() == {"sourceLabels", "targetLabel"}, each
        rules.append({"source_labels": each["sourceLabels"], "target_label": each["targetLabel"]})
    return {
        "job_name": f"{meta['namespace']}/{meta['name']}",
        "honor_labels": point.get("honorLabels", False),
        "metrics_path": point["path"],
        "scrape_interval": point["interval"],
        "kubernetes_sd_configs": [discovery],
        "relabel_configs": rules,
    }


def from_file(job: Json, targets: Path) -> Json:
    """The same job, which reads what it may scrape from a file: Debian's Prometheus is built without Kubernetes' discovery."""
    kept = {key: value for key, value in job.items() if key != "kubernetes_sd_configs"}
    return {**kept, "file_sd_configs": [{"files": [str(targets)], "refresh_interval": "1s"}]}


def flat(label: str) -> str:
    """A label's name as Prometheus writes it."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", label)


@cache
def _folder() -> Path | None:
    words = [] if os.environ.get("CI") else ["cached"]
    done = subprocess.run([ROOT / "ci" / "prometheus.sh", *words], capture_output=True, text=True)
    return Path(done.stdout.strip()) if done.returncode == 0 else None


def programs() -> Path:
    """The folder with `prometheus` and `promtool`."""
    folder = _folder()
    if folder is None:
        missing = "Prometheus is not there: ci/prometheus.sh"
        if os.environ.get("CI"):
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    return folder


def promtool(*words: str, folder: Path, given: str = "") -> str:
    """What promtool prints when it has no complaint; else the test fails with its complaint."""
    done = subprocess.run([programs() / "promtool", *words], input=given, capture_output=True, text=True, cwd=folder, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
