"""What answers for Helm 4 in one process says what the program does."""

from pathlib import Path

import pytest

from tests.charts.helms import run
from tests.charts.render import CHARTS, KUBE, RELEASES, fullest


@pytest.mark.parametrize("chart", RELEASES)
def test_helm_4_in_one_process_renders_what_the_program_renders(chart: str) -> None:
    command = ["template", "x", str(CHARTS / chart), "--namespace", "demo", "--kube-version", KUBE, "--values", str(fullest(chart))]
    inside, outside = (run("helm4", *command, process=process) for process in (False, True))
    assert inside.out == outside.out
    assert "\nkind: " in inside.out


@pytest.mark.parametrize(
    "words",
    [
        ["template", "x", "CHART", "--kube-version", KUBE],
        ["template", "x", "CHART", "--kube-version", KUBE, "--set", "replicas=many"],
        ["template", "x", "CHART", "--kube-version", KUBE, "--values", "missing.yaml"],
        ["lint", "--strict", "CHART", "--set", "replicas=many"],
        ["install", "x", "CHART", "--dry-run=client"],
    ],
    ids=["contradiction", "schema", "file", "lint", "install"],
)
def test_helm_4_in_one_process_refuses_what_the_program_refuses(words: list[str]) -> None:
    command = [str(CHARTS / "asya-gateway") if word == "CHART" else word for word in words]
    inside, outside = (run("helm4", *command, check=False, process=process) for process in (False, True))
    assert inside.failed
    assert outside.failed
    assert (inside.out, inside.err) == (outside.out, "\n".join(line for line in outside.err.split("\n") if "level=" not in line))


def test_a_command_leaves_nothing_to_the_next(tmp_path: Path) -> None:
    command = ["template", "x", str(CHARTS / "asya-gateway"), "--set", "rabbitmq.host=x", "--kube-version", KUBE]
    first = run("helm4", *command, "--namespace", "first", "--set", "nameOverride=other").out
    assert "namespace: first" in first
    then = run("helm4", *command).out
    assert "namespace: default" in then
    assert "other" not in then
