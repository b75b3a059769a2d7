"""Compares what a process prints for Prometheus with what its component declares, both ways. For the process tests of each component."""

import re
from typing import Final

from asya_core.ops.metrics import Registry

__all__ = ["differences"]

_SAMPLE: Final = re.compile(r'^(?P<name>[a-z_]+)(?:\{(?P<labels>(?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (?P<value>\S+)$')
_LABEL: Final = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\.)*)"')
_SUFFIXES: Final = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


def differences(text: str, declared: Registry) -> list[str]:
    """What `text` (exposition format) has and `declared` has not, or the other way round; one sentence each, none if they agree.

    Compared are names, types, helps, the labels of each sample, and label values where all are known beforehand. A counter without any
    sample agrees: nothing has been counted.
    """
    found: list[str] = []
    metrics = {metric.name: metric for metric in declared.metrics}
    heads = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    helps = dict(re.findall(r"^# HELP (\S+) (.+)$", text, re.M))
    found += [f"{name} is declared and not printed" for name in metrics.keys() - heads.keys()]
    found += [f"{name} is printed and not declared" for name in heads.keys() - metrics.keys()]
    for name in metrics.keys() & heads.keys():
        if heads[name] != metrics[name].kind:
            found.append(f"{name} is declared as {metrics[name].kind} and printed as {heads[name]}")
        if helps.get(name) != metrics[name].help:
            found.append(f"{name} is declared as {metrics[name].help!r} and printed as {helps.get(name)!r}")
    owners = {name + suffix: metric for name, metric in metrics.items() for suffix in _SUFFIXES[metric.kind]}
    for line in text.splitlines():
        if line.startswith("#") or not line:
            continue
        sample = _SAMPLE.match(line)
        if sample is None:
            found.append(f"no sample: {line}")
            continue
        metric = owners.get(sample["name"])
        if metric is None:
            found.append(f"a sample of no declared metric: {line}")
            continue
        labels = dict(_LABEL.findall(sample["labels"] or ""))
        wanted = {*declared.constant, *(label.name for label in metric.labels)} | ({"le"} if sample["name"].endswith("_bucket") else set())
        if labels.keys() != wanted:
            found.append(f"{metric.name} is declared with labels {sorted(wanted)}: {line}")
        found += [
            f"{metric.name} is declared with {label.name} {' '.join(label.values)}: {line}"
            for label in metric.labels
            if label.values and labels.get(label.name) not in label.values
        ]
    return found
