"""values.yaml and its schema as trees: leaves, a changed value for each, overlays. Called by the tests of this folder."""

import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

from tests.charts.helms import ROOT
from tests.charts.render import CHARTS

sys.path.insert(0, str(ROOT / "ci" / "charts"))
import values_file
from values_file import Key

ENTRIES: dict[str, dict[str, Any]] = {
    "flags": {"sample": True},
    "strings": {"sample.example.com/key": "sample"},
    "objects": {"sample": {"key": "sample"}},
    "env": {"SAMPLE": "sample"},
    "envFrom": {"sample": {"secretRef": {"name": "sample"}}},
    "quantities": {"ephemeral-storage": "77Mi"},
    "free": {"sample": "sample"},
    "open": {"sample": "sample"},
    "files": {"sample.py": "sample = 1\n"},
    "hostAliases": {"10.9.9.9": ["sample"]},
    "extraObjects": {"sample": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "sample"}}},
    "mounts": {"sample": {"mountPath": "/sample", "name": "scratch"}},
    "prewarm": {"sample": {"percent": 10}},
    "triggers": {"sample": {"type": "cron"}},
    "actor": {"concurrency": 3},
    "library": {},
    "tools": {"sample": {"actor": "sample"}},
    "flows": {"sample": {"entry": "sample"}},
    "lists": {"sample": ["sample.example.com"]},
    "ingressHosts": {"sample.example.com": {"path": "/sample"}},
}
"""One more entry for a map of each kind."""


@cache
def keys(chart: str) -> tuple[Key, ...]:
    """The chart's values as `ci/charts` reads them."""
    return tuple(values_file.read(CHARTS / chart / "values.yaml"))


def leaves(chart: str) -> list[Key]:
    return values_file.leaves(list(keys(chart)))


def maps(chart: str) -> Iterator[Key]:
    """Keys whose value is a map, inner ones first."""

    def walk(found: tuple[Key, ...] | list[Key]) -> Iterator[Key]:
        for key in found:
            yield from walk(key.inner)
            if key.inner or isinstance(key.default, dict):
                yield key

    return walk(keys(chart))


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """{a: {b: value}} for the path (a, b)."""
    for name in reversed(path):
        value = {name: value}
    made: dict[str, Any] = value
    return made


def at(tree: Any, path: tuple[str, ...], default: Any = None) -> Any:
    """What stands at `path`."""
    for name in path:
        if not isinstance(tree, dict) or name not in tree:
            return default
        tree = tree[name]
    return tree


def changed(key: Key, present: Any) -> list[Any]:
    """Values that the key may have instead of `present`."""
    if isinstance(key.hint, str) and key.hint in ENTRIES:
        return [ENTRIES[key.hint]]
    if key.hint == "duration":
        return ["7s" if present != "7s" else "8s"]
    if key.hint == "port":
        return [4711]
    if isinstance(key.hint, dict) and "enum" in key.hint:
        return [option for option in key.hint["enum"] if option != present]
    match present:
        case bool():
            return [not present]
        case int() | float():
            return [present + 1, present - 1]
        case list():
            return [[*present, "sample"]]
        case _:
            return SPECIAL.get(key.dotted, ["sample"])


SPECIAL: dict[str, list[Any]] = {
    "image.digest": ["sha256:" + "f" * 64],
    "sidecar.image.digest": ["sha256:" + "f" * 64],
    "source.digest": ["sha256:" + "f" * 64],
    "transports.rabbitmq.managementUrl": ["https://sample:1"],
    "limits.maxFrame": ["7Mi"],
    "claims.url": ["s3://sample"],
    "claims.threshold": ["7Mi"],
    "podPolicy.tmpSize": ["7Mi"],
    "networkPolicy.apiServerCidr": ["10.7.7.7/32"],
    "storage.s3.endpoint": ["https://sample"],
    "storage.directory.path": ["/sample"],
    "handler": ["sample.sample"],
    "drainTimeout": ["7h"],
    "store.sqlite.persistence.size": ["7Gi"],
    "store.retention.final": ["7h"],
    "store.retention.failed": ["7h"],
    "results.s3.endpoint": ["https://sample:1"],
    "sqs.endpoint": ["https://sample:1"],
    "claims.endpoint": ["https://sample:1"],
    "tracing.endpoint": ["https://sample:1"],
    "results.directory.path": ["/sample"],
    "auth.oauth.jwksUrl": ["https://sample:1"],
    "auth.oauth.resource": ["https://sample:1"],
    "internal.jwksUrl": ["https://sample:1"],
    "limits.maxBody": ["7Mi"],
    "limits.maxInlineResult": ["7Mi"],
    "limits.maxMessage": ["7Mi"],
    "actorName": ["sample"],
    "scaling.pausedReplicas": [7],
    "terminationGracePeriodSeconds": [7777],
    "pdb.minAvailable": [7],
    "pdb.maxUnavailable": [7],
    "sidecar.prefetch": [7],
    "workload.revisionHistoryLimit": [7],
}
