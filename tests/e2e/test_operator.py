"""The operator's own release on a real API server: namespaced scope, upgrade, rollback, and how little it writes."""

import os
import re
import time
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.audit import Audit
from tests.e2e.conftest import ACCOUNT, OPERATOR_VALUES, SYSTEM, Stages, await_operator, install_operator, restart_operator
from tests.e2e.helm import Helm
from tests.e2e.kube import Kube
from tests.e2e.stage import Stage
from tests.e2e.waiting import NotNow, eventually

pytestmark = pytest.mark.timeout(900)

FEW_WRITES = 5
"""At most so many per new actor, events apart: its finalizer, workload, authentication, scaler and status."""


@pytest.mark.alone
@pytest.mark.behaviour("operator:no-idle-writes")
@pytest.mark.behaviour("operator:namespaced")
def test_namespaced_operator_serves_its_namespaces_alone_and_restart_and_resync_write_nothing(
    stages: Stages, kube: Kube, helms: dict[str, Helm], audit: Audit, changed_operator: None
) -> None:
    ours, other = stages(), stages()
    begun = audit.mark()
    for stage in (ours, other):
        stage.apply("asleep")
        stage.apply("awake", scaling={"minReplicas": 1})
    for stage in (ours, other):
        stage.await_condition("asleep", "Ready", "True", "Napping")
        stage.await_condition("awake", "Ready", "True", "Running")
        eventually("both events were sent: they follow the status", partial(_told, stage))
        # Read every few seconds; the first number is told by a write of its own if it comes after the status.
        eventually("nothing waits, as both statuses say", partial(_is_counted, stage))
    made = [call for call in audit.writes(ACCOUNT, since=begun) if call.namespace == ours.namespace and call.resource != "events"]
    statuses = {name: sum(call.resource == STATUS and call.name == name for call in made) for name in ("asleep", "awake")}
    assert 0 < sum(call.resource != STATUS for call in made) <= 2 * (FEW_WRITES - 1) + 1, made
    assert 0 < statuses["asleep"] <= 3, "as it is, what waits, and KEDA's report, if that took it a minute"
    assert 0 < statuses["awake"] <= 6, "the same, and how far its pod is"

    restarted = audit.mark()
    reconcile = {**OPERATOR_VALUES["reconcile"], "resync": "5s"}
    install_operator(kube, helms["helm4"], watch={"scope": "namespace", "namespaces": {ours.namespace: True}}, reconcile=reconcile)
    # At its start and at each resync it declares the queues of both actors.
    eventually("it started, and two resyncs", lambda: _declared(kube) >= 6)
    # The namespaces of earlier stories may still be going away.
    names = {ours.namespace, other.namespace}
    assert [call for call in audit.writes(ACCOUNT, since=restarted) if call.namespace in names] == []

    other.apply("new")
    ours.apply("new")
    ours.await_condition("new", "Ready", "True", "Napping")
    ours.helm.run(SYSTEM, "test", "asya-operator")
    assert "status" not in (other.kube.actor(other.namespace, "new") or {}), "the other namespace is not its own"

    helms["helm4"].run(SYSTEM, "rollback", "asya-operator")
    await_operator(kube)
    other.await_condition("new", "Ready", "True", "Napping")


STATUS = "asyncactors/status"


def _is_counted(stage: Stage) -> bool:
    actors = [stage.kube.actor(stage.namespace, name) or {} for name in ("asleep", "awake")]
    return all(actor["status"]["queue"].get("waiting") == 0 for actor in actors)


def _told(stage: Stage) -> bool:
    return all("Ready" in stage.events(name) for name in ("asleep", "awake"))


def _writes(audit: Audit, stage: Stage, since: int) -> int:
    """Of objects, events apart."""
    return sum(1 for call in audit.writes(ACCOUNT, since=since) if call.namespace == stage.namespace and call.resource != "events")


def _declared(kube: Kube) -> int:
    """How often the running operator has declared a queue."""
    pods = kube.core.list_namespaced_pod(SYSTEM, field_selector="status.phase=Running").items  # without that of `helm test`
    running = [each.metadata.name for each in pods if not each.metadata.deletion_timestamp]
    told = kube.get(f"/api/v1/namespaces/{SYSTEM}/pods/{running[0]}:8080/proxy/metrics") if len(running) == 1 else None
    if told is None:
        raise NotNow(f"one pod of the operator follows another: {running}")
    text = told.decode()
    return sum(int(count) for count in re.findall(r'asya_operator_broker_calls_total\{[^}]*call="ensure"[^}]*\} (\d+)', text))


MANY = int(os.environ.get("ASYA_E2E_MANY", "0"))


@pytest.mark.alone
@pytest.mark.measured
@pytest.mark.skipif(not MANY, reason="measures many actors: ASYA_E2E_MANY=300 .venv/bin/pytest tests/e2e -k many_actors -s")
def test_many_actors_created_at_once_cost_few_writes_and_little_memory(stage: Stage, audit: Audit) -> None:
    """Prints what docs/reference/operator.md says."""
    created = audit.mark()
    begun = time.monotonic()
    for number in range(MANY):
        stage.apply(f"actor-{number:04}", scaling={"pollingInterval": 15, "cooldownPeriod": 300})
    made = time.monotonic() - begun

    def are_at_rest() -> bool:
        actors = stage.kube.actors(stage.namespace)
        return len(actors) == MANY and all(_reason(actor) == "Napping" for actor in actors)

    eventually("all are at rest", are_at_rest, within=600)
    rested = time.monotonic() - begun
    writes = _writes(audit, stage, created)
    print(f"\n{MANY} actors: created within {made:.0f} s, all at rest after {rested:.0f} s; {writes / MANY:.2f} writes each")
    _tell_writes(audit, created)
    print(f"memory: {_memory_mb():.0f} MB")

    restarted = audit.mark()
    restart_operator(stage.kube)
    reads = audit.mark()
    eventually("it has looked at all actors", lambda: _declared(stage.kube) >= MANY)
    time.sleep(20)  # nothing shall happen
    calls = len(audit.calls(since=reads, account=ACCOUNT))
    print(f"after a restart: {_writes(audit, stage, restarted)} writes, {calls} calls; memory {_memory_mb():.0f} MB")
    _tell_writes(audit, restarted)
    assert writes <= FEW_WRITES * MANY + 1, "one ConfigMap for all"
    assert _writes(audit, stage, restarted) == 0


def _reason(actor: dict[str, object]) -> str:
    status = actor.get("status")
    conditions = status.get("conditions", []) if isinstance(status, dict) else []
    return next((str(each["reason"]) for each in conditions if each["type"] == "Ready"), "")


def _tell_writes(audit: Audit, since: int) -> None:
    counts: dict[str, int] = {}
    for call in audit.writes(ACCOUNT, since=since):
        key = f"{call.verb} {call.resource} {call.code}"
        counts[key] = counts.get(key, 0) + 1
    print("  " + ", ".join(f"{key}: {count}" for key, count in sorted(counts.items())))


def _memory_mb() -> float:
    """Resident memory of the operator's process, which is one of this machine's."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"asya_operator\0run" in (folder / "cmdline").read_bytes():
                lines = (folder / "status").read_text().splitlines()
                return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))
        except OSError:
            continue
    return 0.0
