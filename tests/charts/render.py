"""Renders a chart with one of both Helms: `render(chart, values, ...)` gives its objects, each with the template that made it.

Called by the tests of this folder. Results are kept by the content of everything that goes in, so that tests ask as often as they like.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from tests.charts import yamls
from tests.charts.helms import ROOT, Refused, content_hash, keep, kept_file, run

CHARTS = ROOT / "charts"
KUBE = "1.34.0"
"""Helm 3.10 believes in Kubernetes 1.25 and would refuse the charts."""

MINIMAL: Mapping[str, Mapping[str, Any]] = {
    "asya-actor": {"image": {"repository": "my-processor", "tag": "v1"}, "handler": "text_processor.process"},
    "asya-operator": {"transports": {"rabbitmq": {"host": "rabbitmq.mq.svc", "managementUrl": "http://rabbitmq.mq.svc:15672"}}},
    "asya-crew": {"storage": {"s3": {"bucket": "asya-results"}}},
    "asya-gateway": {"rabbitmq": {"host": "rabbitmq.mq.svc"}},
}
"""The least that each chart wants."""
RELEASES = {"asya-actor": "text-processor", "asya-operator": "asya-operator", "asya-crew": "asya-crew", "asya-gateway": "asya-gateway"}
FULLEST = {"asya-actor": "03-full", "asya-operator": "04-full", "asya-crew": "04-full", "asya-gateway": "04-full"}
"""The set-up of each chart that uses most of its values."""
MONITORING = ("monitoring.coreos.com/v1",)


@dataclass(frozen=True)
class Rendered:
    """What one call gave: Helm's output to the byte. Its YAML is read when asked for."""

    text: str

    @cached_property
    def documents(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        """Template (such as ``asya-actor/templates/pdb.yaml``) and object of each YAML document, in order.

        Kept as JSON, which is read in a thirtieth of the time, where that says the same.
        """
        kept = kept_file(["documents", self.text])
        if kept.exists():
            return tuple((source, document) for source, document in json.loads(kept.read_text(encoding="utf-8")))
        found = []
        for part in self.text.split("---\n# Source: ")[1:]:
            source, _, body = part.partition("\n")
            found += [(source, document) for document in yamls.read_all(body) if document is not None]
        text = json.dumps(found, default=repr)  # a date, say, which is not what is read again then
        if [tuple(each) for each in json.loads(text)] == found:
            keep(kept, text)
        return tuple(found)

    @property
    def objects(self) -> tuple[dict[str, Any], ...]:
        return tuple(document for _, document in self.documents)

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(source for source, _ in self.documents)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The objects of this kind."""
        return [found for found in self.objects if found["kind"] == kind]

    def one(self, kind: str, name: str | None = None) -> dict[str, Any]:
        """The only object of this kind (and name)."""
        found = [item for item in self.of(kind) if name in (None, item["metadata"]["name"])]
        assert len(found) == 1, f"{len(found)} {kind} {name or ''} in {[item['kind'] for item in self.objects]}"
        return found[0]


def render(
    chart: str | Path,
    values: Mapping[str, Any] | Sequence[Path | Mapping[str, Any]] = (),
    *,
    engine: str = "helm4",
    release: str | None = None,
    namespace: str = "demo",
    apis: Sequence[str] = (),
    options: Sequence[str] = (),
) -> Rendered:
    """What ``helm template`` makes of `chart`.

    Args:
        chart: a name below charts/, or a folder.
        values: one mapping, or files and mappings, a later one over an earlier one.
        engine: ``helm3`` or ``helm4``.
        release: its name; default: that of the documentation.
        apis: what the cluster knows beside Kubernetes' own.
        options: more arguments, such as ``--set``.

    Raises Refused with Helm's message.
    """
    path = Path(chart) if isinstance(chart, Path) else CHARTS / chart
    layers = [values] if isinstance(values, Mapping) else list(values)
    texts = tuple(layer.read_text(encoding="utf-8") if isinstance(layer, Path) else json.dumps(layer) for layer in layers)
    name = release or RELEASES.get(path.name, "release")
    return _render(path, content_hash(path), texts, engine, name, namespace, tuple(apis), tuple(options))


@cache
def _render(
    path: Path,
    content: str,
    texts: tuple[str, ...],
    engine: str,
    release: str,
    namespace: str,
    apis: tuple[str, ...],
    options: tuple[str, ...],
) -> Rendered:
    kept = kept_file([KUBE, path.name, content, texts, engine, release, namespace, apis, options])
    if not kept.exists():
        keep(kept, _template(path, texts, engine, release, namespace, apis, options))
    said, _, text = kept.read_text(encoding="utf-8").partition("\n")
    if said == "refused":
        raise Refused(text)
    return Rendered(text)


def _template(
    path: Path, texts: tuple[str, ...], engine: str, release: str, namespace: str, apis: tuple[str, ...], options: tuple[str, ...]
) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        arguments = ["template", release, str(path), "--namespace", namespace, "--kube-version", KUBE]
        for number, text in enumerate(texts):
            file = Path(scratch) / f"{number}.yaml"
            file.write_text(text, encoding="utf-8")
            arguments += ["--values", str(file)]
        for api in apis:
            arguments += ["--api-versions", api]
        try:
            return f"rendered\n{run(engine, *arguments, *options).out}"
        except Refused as refused:
            return f"refused\n{refused}"


def ci_files(chart: str) -> list[Path]:
    """The chart's supported set-ups."""
    return sorted((CHARTS / chart / "ci").glob("*-values.yaml"))


def fullest(chart: str) -> Path:
    """The set-up that uses most of the chart's values."""
    return CHARTS / chart / "ci" / f"{FULLEST[chart]}-values.yaml"


def containers(pod_spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All containers of a pod, init containers first."""
    yield from pod_spec.get("initContainers", [])
    yield from pod_spec["containers"]


def pod_specs(rendered: Rendered) -> Iterator[tuple[str, dict[str, Any]]]:
    """Pods of our own (not those that the operator makes): where, spec."""
    for item in rendered.objects:
        where = f"{item['kind']}/{item['metadata']['name']}"
        if item["kind"] == "Pod":
            yield where, item["spec"]
        elif item["kind"] in ("Deployment", "StatefulSet"):
            yield where, item["spec"]["template"]["spec"]
