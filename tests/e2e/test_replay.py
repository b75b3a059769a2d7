"""Envelopes that failed are sent on by `asya dlq replay` after the handler was corrected by an upgrade, without a gateway."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.caller import run_asya
from tests.e2e.stage import QUICK, RECORDING, STAGE_VOLUME, Stage
from tests.e2e.waiting import eventually

pytestmark = pytest.mark.timeout(900)

COUNT = 100
FAILING = """
def process(payload):
    return {**payload, "whole": payload["half"]}
"""
CORRECTED = FAILING.replace('payload["half"]', 'payload.get("half", payload["n"])')


def actor_values(source: str) -> dict[str, Any]:
    return {**QUICK, "handler": "second.process", "source": {"files": {"second.py": source}}}


@pytest.mark.behaviour("dlq:replay")
def test_hundred_failed_envelopes_succeed_after_an_upgrade_from_the_failed_actor_on(
    crewed: Stage, cluster_environment: dict[str, str], tmp_path: Path
) -> None:
    stage, namespace = crewed, crewed.namespace
    broker = ["--broker-url", cluster_environment["ASYA_CLUSTER_RABBITMQ_URL"], "--namespace", namespace]

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return run_asya(*words, kubeconfig=stage.kube.kubeconfig, folder=tmp_path)

    def asya(*words: str) -> str:
        done = run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    stage.install_source("first", "first.process", RECORDING, **STAGE_VOLUME)
    stage.install_actor("second", values=actor_values(FAILING))
    ids = stage.publish("first", *({"n": str(n)} for n in range(COUNT)), route=["second"])
    eventually("all have failed", lambda: stage.stored("errors") == set(ids))
    assert sum(stage.run_counts().values()) >= COUNT
    runs = stage.run_counts()

    storage = ["--storage", f"file://{stage.folder()}"]
    told = json.loads(asya("dlq", "replay", *storage, *broker, "--error", "KeyError", "--dry-run", "--output", "json"))
    assert told["groups"] == [{"error": "KeyError", "actor": "second", "count": COUNT}]

    stage.helm.upgrade(namespace, "second", "asya-actor", values=actor_values(CORRECTED))
    done = json.loads(asya("dlq", "replay", *storage, *broker, "--error", "KeyError", "--rate", "20/s", "--yes", "--output", "json"))
    new = {each["id"]: each["new_id"] for each in done["replayed"]}
    assert set(new) == set(ids)
    # An old pod of the actor may have taken some of them before the new one was ready: those failed once more, and are sent on once more.
    eventually("all have ended", lambda: len(stage.stored("results")) + len(stage.stored("errors")) >= 2 * COUNT)
    stage.await_rollout("second")
    asya("dlq", "replay", *storage, *broker, "--error", "KeyError", "--rate", "100/s", "--yes")
    eventually("all have succeeded", lambda: len(stage.stored("results")) == COUNT)
    assert stage.run_counts() == runs  # the first actor did not run again
    assert json.loads(asya("dlq", "list", *storage, "--output", "json"))["failures"] == []

    # Actors are on their way to sleep, so a look may find one that is not Ready.
    eventually("the doctor finds nothing", lambda: _is_good(run("doctor", "--kube", "--namespace", namespace, "--output", "json")))

    for folder, names in (("old", ("first", "second")), ("new", ("first",))):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{name}.yaml").write_text(f"handler: {name}.process\n")
    eventually("the status says that nothing waits", lambda: _waits_nothing(stage))
    eventually("the broker says so, too", lambda: stage.broker.waiting(stage.queue("second")) == 0)
    for where in (["--kube", "--namespace", namespace], broker):
        assert asya("plan", "old", "new", *where) == "- second: removed; 0 queued\n"


def _is_good(doctor: subprocess.CompletedProcess[str]) -> bool:
    print(doctor.stdout)
    states = {each["check"]: each["state"] for each in json.loads(doctor.stdout)["checks"]}
    looked_at = ("cluster", "custom resource", "operator", "keda", "keda metrics", "actors", "crew", "secrets")
    return doctor.returncode == 0 and {states[name] for name in looked_at} == {"good"}


def _waits_nothing(stage: Stage) -> bool:
    actors = stage.kube.get(f"/apis/asya.sh/v1alpha1/namespaces/{stage.namespace}/asyncactors")["items"]
    return all(not each.get("status", {}).get("queue", {}).get("waiting") for each in actors)
