"""The ConfigMap with the runtime's file, one per namespace and version of the file. Pure."""

from typing import Any

from asya_operator.desired.labels import MANAGED_BY, MANAGER, runtime_name

__all__ = ["RUNTIME_KEY", "runtime_config_map"]

RUNTIME_KEY = "asya_runtime.py"


def runtime_config_map(namespace: str, source: bytes) -> dict[str, Any]:
    """An immutable ConfigMap, named by the file's hash, so that pods of two versions never share one."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": runtime_name(source),
            "namespace": namespace,
            "labels": {MANAGED_BY: MANAGER, "app.kubernetes.io/part-of": "asya"},
        },
        "immutable": True,
        "data": {RUNTIME_KEY: source.decode()},
    }
