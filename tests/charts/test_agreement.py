"""Chart and `asya run` read the same file the same way."""

import json
from pathlib import Path
from typing import Any

import pytest

from asya_cli.run import values
from asya_cli.run.actor import ActorSpec, FromCluster, actor_spec
from asya_cli.run.environment import env_text, retry_json
from asya_core.wire.errors import RemoteFault
from tests.charts import yamls
from tests.charts.helms import ROOT, Refused
from tests.charts.made import crd_schema, defaulted
from tests.charts.render import CHARTS, ci_files, render

EXAMPLES = sorted((ROOT / "examples").glob("*/actors/*.yaml"))
FLOWS = sorted((ROOT / "examples" / "flows" / "compiled").glob("*/values/*.yaml"))
FILES = [*EXAMPLES, *FLOWS, *ci_files("asya-actor")]


def spoken(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read(file: Path) -> ActorSpec:
    """As `asya run` does, without the variables that only a cluster can render: those it refuses, naming them."""
    document = values.read(file.read_text(encoding="utf-8"), file=str(file)).value
    env = {name: value for name, value in (document.get("env") or {}).items() if "{{" not in str(value)}
    return actor_spec({**document, "env": env}, release=release(file), file=str(file))


def release(file: Path) -> str:
    stem = file.stem
    return stem.removesuffix("-values").lstrip("0123456789-") if file.parent.name == "ci" else stem


def rendered_spec(file: Path) -> dict[str, Any]:
    """As the API server stores it: with the resource definition's defaults."""
    rendered = render("asya-actor", [file], release=release(file)).one("AsyncActor")
    spec: dict[str, Any] = defaulted(rendered["spec"], crd_schema()["properties"]["spec"])
    return spec


def runtime(spec: dict[str, Any]) -> dict[str, Any]:
    return next(item for item in spec["workload"]["template"]["spec"]["containers"] if item["name"] == "asya-runtime")


def expected_env(variables: Any) -> dict[str, str | None]:
    return {name: None if isinstance(value, FromCluster) else env_text(value) for name, value in variables.items()}


@pytest.mark.parametrize("file", FILES, ids=spoken)
def test_chart_and_asya_run_take_the_same_from_one_values_file(file: Path) -> None:
    local, spec = read(file), rendered_spec(file)
    env = {entry["name"]: entry.get("value") for entry in runtime(spec)["env"]}
    assert env.pop("ASYA_HANDLER") == local.handler
    assert env.pop("ASYA_HANDLER_MODE") == local.mode
    templated = [name for name, value in (yamls.read(file.read_text()).get("env") or {}).items() if "{{" in str(value)]
    assert {name: value for name, value in env.items() if name not in templated} == expected_env(local.env)
    assert spec["timeout"] == local.timeout
    assert spec["concurrency"] == local.concurrency
    assert spec.get("transport", "") == local.transport
    retry = {"maxAttempts": 1, "backoff": {}, "include": [], "exclude": [], **spec.get("retry", {})}
    retry["backoff"] = {"initial": "1s", "factor": 2, "max": "5m", **retry["backoff"]}
    assert retry == json.loads(retry_json(local))
    sidecar = spec.get("sidecar", {})
    assert {entry["name"]: entry.get("value") for entry in sidecar.get("env", [])} == expected_env(local.sidecar_env)
    assert sidecar.get("logLevel", "") == local.log_level
    assert str(sidecar.get("prefetch", "")) == local.prefetch


@pytest.mark.parametrize("file", FILES, ids=spoken)
def test_source_files_of_chart_and_asya_run_are_the_same(file: Path) -> None:
    rendered = render("asya-actor", [file], release=release(file))
    data = {name: text for item in rendered.of("ConfigMap") for name, text in item["data"].items()}
    pod = rendered.one("AsyncActor")["spec"]["workload"]["template"]["spec"]
    items = {
        entry["path"]: data[entry["key"]]
        for volume in pod.get("volumes", [])
        if volume["name"] == "source"
        for entry in volume["configMap"]["items"]
    }
    assert items == dict(read(file).files)


SCALARS = {
    "whole": 3,
    "negative": -7,
    "large": 10485760,
    "exact": 2**53 - 1,
    "fraction": 0.001,
    "half": 0.50,
    "power": 1e3,
    "tiny": 1e-7,
    "yes": True,
    "no": False,
    "text": "plain",
    "number_text": "0755",
    "truth_text": "true",
    "empty": "",
    "null_text": "null",
    "lines": "a\nb\n",
    "quotes": 'it\'s "so": {a} [b] # c',
    "umlaut": "größer",
}


def test_every_kind_of_scalar_reaches_the_container_as_asya_run_says(engine: str) -> None:
    names = {f"V_{name.upper()}": value for name, value in SCALARS.items()}
    document = {"image": {"repository": "a", "tag": "b"}, "handler": "a.b", "env": names}
    spec = render("asya-actor", document, engine=engine).one("AsyncActor")["spec"]
    env = {entry["name"]: entry["value"] for entry in runtime(spec)["env"]}
    assert {name: env[name] for name in names} == {name: env_text(value) for name, value in names.items()}


def test_defaults_of_the_chart_are_those_of_asya_run() -> None:
    defaults = yamls.read((CHARTS / "asya-actor" / "values.yaml").read_text())
    with_defaults = actor_spec({**defaults, "handler": "a.b"}, release="a", file="values.yaml")
    without = actor_spec({"handler": "a.b"}, release="a", file="empty")
    assert with_defaults == without


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ({}, "handler is not set"),
        ({"handler": "process"}, "no dotted path"),
        ({"handler": "a.b", "timeout": "25h"}, "timeout 25h is out of bounds"),
        ({"handler": "a.b", "timeout": "12h", "transport": "sqs"}, "timeout 12h is out of bounds"),
        ({"handler": "a.b", "env": {"ASYA_SOCKET": "x"}}, "env.ASYA_SOCKET belongs to Asya"),
        ({"handler": "a.b", "env": {"ASYA_HANDLER_MODE": "x"}}, "env.ASYA_HANDLER_MODE belongs to Asya"),
        ({"handler": "a.b", "env": {"SEED": 2**53}}, "env.SEED is"),
        ({"handler": "a.b", "actorName": "mode"}, "mode"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_asya_run_refuses_the_chart_refuses_too(document: dict[str, Any], word: str, engine: str) -> None:
    with pytest.raises(RemoteFault) as local:
        actor_spec(document, release="a", file="a.yaml")
    assert word in local.value.message
    with pytest.raises(Refused) as refused:
        render("asya-actor", {**document, "image": {"repository": "a", "tag": "b"}}, engine=engine, release="a")
    assert word in str(refused.value)
