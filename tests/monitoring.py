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
import yaml

from asya_core.ops.metrics import Registry
from asya_gateway.metrics import GatewayMetrics
from asya_operator.metrics import Metrics
from asya_sidecar.metrics import SidecarMetrics

__all__ = ["ADDED", "CHARTS", "alerts", "dashboards", "labels", "programs", "promtool", "queries", "used"]

ROOT = Path(__file__).resolve().parents[1]
CHARTS = ROOT / "charts"
ADDED = {"namespace", "pod", "container", "job", "instance"}
"""Labels that the Prometheus operator adds to what a PodMonitor chooses."""
OF_ACTORS = {"flow", "role"}
"""Labels that the PodMonitors of actors add."""
Json = dict[str, Any]


@cache
def labels() -> dict[str, set[str]]:
    """Labels of each metric that a component declares, as Prometheus has them with the charts' PodMonitors."""
    found: dict[str, set[str]] = {}
    registries: list[tuple[Registry, set[str]]] = [
        (SidecarMetrics("a").registry, OF_ACTORS),
        (Metrics().registry, set()),
        (GatewayMetrics().registry, set()),
    ]
    for registry, more in registries:
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
    (group,) = yaml.safe_load((CHARTS / chart / "files" / "alerts.yaml").read_text())["groups"]
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


def promtool(*words: str, folder: Path) -> str:
    """What promtool prints when it has no complaint; else the test fails with its complaint."""
    done = subprocess.run([programs() / "promtool", *words], capture_output=True, text=True, cwd=folder, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
