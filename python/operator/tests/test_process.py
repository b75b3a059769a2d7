"""The whole process over the fake API: leadership, watches, shutdown, health, and the calls that it makes compared with its roles."""

import asyncio
import datetime
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from python.operator.tests.bench import connect
from python.operator.tests.fake_api import Answer, Call, FakeApi
from python.operator.tests.twins import MemoryQueues, actor, settings

from asya_core.ops.clock import SystemClock
from asya_core.ops.logs import Level, LineWriter, Log
from asya_core.testing.exposition import differences
from asya_operator import resources
from asya_operator.app import LostLeadership, Operator
from asya_operator.conditions import Depth
from asya_operator.kube import ApiUnavailable
from asya_operator.metrics import Metrics
from asya_operator.settings import LeaseSettings, OperatorSettings, ProcessSettings

pytestmark = pytest.mark.unmeasured
WAIT = 30.0
Json = dict[str, Any]
STEADY = LeaseSettings(duration_seconds=120.0, renew_deadline_seconds=90.0, retry_seconds=0.2)
QUICK = LeaseSettings(duration_seconds=4.0, renew_deadline_seconds=2.0, retry_seconds=0.1)


async def until(holds: Callable[[], Any], what: str = "") -> None:
    """Wait for a condition; looks again at each turn of the loop that something else causes."""
    async with asyncio.timeout(WAIT):
        while not holds():  # noqa: ASYNC110 (the condition is anybody's)
            await asyncio.sleep(0.01)


def process_settings(api: FakeApi, tmp_path: Path) -> ProcessSettings:
    file = tmp_path / "kubeconfig"
    file.write_text(api.kubeconfig())
    return ProcessSettings(
        settings_file=tmp_path / "settings.yaml",
        namespace="asya-system",
        pod="operator-0",
        runtime_file=tmp_path / "runtime.py",
        credentials_dir=tmp_path,
        tls_ca=None,
        kubeconfig=file,
    )


def chosen(lease: LeaseSettings = STEADY, **more: Any) -> OperatorSettings:
    import dataclasses

    return dataclasses.replace(settings(**({"metrics": {"port": 0}} | more)), lease=lease)


@asynccontextmanager
async def running(
    api: FakeApi, tmp_path: Path, *, identity: str = "one", queues: MemoryQueues | None = None, given: OperatorSettings | None = None
) -> AsyncIterator[tuple[Operator, asyncio.Task[None]]]:
    """An operator in this loop; stopped at the end unless it has ended by itself."""
    operator = Operator(
        process_settings(api, tmp_path),
        given or chosen(),
        runtime=b"# runtime\n",
        clock=SystemClock(),
        log=Log(LineWriter(), Level.ERROR),
        identity=identity,
        host="127.0.0.1",
        queues={"rabbitmq": queues or MemoryQueues()},
    )
    task = asyncio.create_task(operator.run())
    try:
        yield operator, task
    finally:
        operator.stop()
        await asyncio.gather(task, return_exceptions=True)


def reason(api: FakeApi, name: str = "ocr", namespace: str = "demo") -> str | None:
    found = api.get("asyncactors", namespace, name)
    for each in ((found or {}).get("status") or {}).get("conditions", []):
        if each["type"] == "Ready":
            return str(each["reason"])
    return None


async def page(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.text()


async def metrics_with(port: int, *wanted: str) -> str:
    """The page of metrics, once it has all of these: the process counts beside what it writes."""
    async with asyncio.timeout(WAIT):
        while True:
            _, text = await page(port, "/metrics")
            if all(words in text for words in wanted):
                return text
            await asyncio.sleep(0.01)


def are_told(api: FakeApi, *names: str) -> bool:
    """Whether these actors' events were sent, of which Ready is the last: they come beside the status, ten a second."""
    return {found["involvedObject"]["name"] for found in api.objects["events"].values() if found["reason"] == "Ready"} >= set(names)


@pytest.mark.behaviour("metrics:documented")
def test_actor_is_brought_to_rest_and_the_lease_given_back(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        async with running(api, tmp_path) as (operator, _):
            await operator.working.wait()
            api.put("asyncactors", actor())
            await until(lambda: reason(api) == "Napping")
            assert (await page(operator.port, "/readyz"))[0] == 200
            assert (await page(operator.port, "/livez"))[0] == 200
            wanted = ('asya_operator_actors{ready="True",reason="Napping"} 1', "asya_operator_leader 1")
            text = await metrics_with(operator.port, *wanted)
            assert differences(text, Metrics().registry) == []
        assert api.get("leases", "asya-system", "asya-operator")["spec"]["holderIdentity"] == ""

    with_api(body)


def test_second_process_takes_over_at_once_after_a_clean_end(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        slow = LeaseSettings(duration_seconds=3600, renew_deadline_seconds=1800, retry_seconds=0.05)
        async with running(api, tmp_path, given=chosen(slow)) as (first, _):
            await first.working.wait()
            async with running(api, tmp_path, identity="two", given=chosen(slow)) as (second, _):
                assert not second.working.is_set()
                first.stop()
                await asyncio.wait_for(second.working.wait(), WAIT)

    with_api(body)


def test_leader_that_cannot_renew_ends_and_another_leads(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        async with running(api, tmp_path, given=chosen(QUICK)) as (first, task):
            await first.working.wait()

            async def refuse_updates(call: Call) -> None:
                if call.plural == "leases" and call.verb == "update" and (call.body or {})["spec"]["holderIdentity"] == "one":
                    raise Answer(500, "not now")

            api.hook = refuse_updates
            with pytest.raises(LostLeadership):
                await asyncio.wait_for(asyncio.shield(task), WAIT)
            async with running(api, tmp_path, identity="two", given=chosen(QUICK)) as (second, _):
                await asyncio.wait_for(second.working.wait(), WAIT)
                assert api.get("leases", "asya-system", "asya-operator")["spec"]["leaseTransitions"] == 1

    with_api(body)


def test_no_write_leaves_a_process_whose_last_renewal_is_too_old(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        async with running(api, tmp_path) as (operator, task):
            await operator.working.wait()
            # As if the process had been stopped for longer than the deadline.
            operator.leadership._renewed -= 3600
            before = len(api.writes())
            api.put("asyncactors", actor())
            with pytest.raises(LostLeadership):
                await asyncio.wait_for(asyncio.shield(task), WAIT)
            assert api.writes()[before:] == []

    with_api(body)


def test_watches_begin_anew_after_410_and_nothing_is_missed(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        async with running(api, tmp_path) as (operator, _):
            await operator.working.wait()
            api.put("asyncactors", actor("before"))
            await until(lambda: reason(api, "before"))
            api.silent_watches = True
            api.put("asyncactors", actor("missed"))
            api.expire()
            api.silent_watches = False
            api.put("asyncactors", actor("after"))
            await until(lambda: reason(api, "missed") == "Napping" and reason(api, "after") == "Napping")
            text = operator.metrics.registry.text()
            assert re.search(r'watch_restarts_total\{kind="AsyncActor",reason="expired"\} [1-9]', text) is not None

    with_api(body)


def test_ended_watches_are_opened_again_from_where_they_ended(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.watch_seconds = 0.2
        async with running(api, tmp_path) as (operator, _):
            await operator.working.wait()
            watches = sum(call.verb == "watch" for call in api.calls)
            await until(lambda: sum(call.verb == "watch" for call in api.calls) > watches + 5)
            api.put("asyncactors", actor())
            await until(lambda: reason(api) == "Napping")
            assert sum(call.verb == "list" and call.plural == "asyncactors" for call in api.calls) == 1

    with_api(body)


def test_watch_that_is_silent_for_too_long_is_opened_anew(with_api, tmp_path, monkeypatch):
    monkeypatch.setattr("asya_operator.kube.WATCH_SECONDS", (3, 3))
    monkeypatch.setattr("asya_operator.kube.WATCH_SLACK_SECONDS", 0.5)

    async def body(api: FakeApi) -> None:
        api.black_holes = 6
        async with running(api, tmp_path) as (operator, _):
            await operator.working.wait()
            await until(lambda: api.black_holes == 0)
            api.put("asyncactors", actor())
            await until(lambda: reason(api) == "Napping")
            # One that a slow machine ends too late counts as silent, too.
            text = operator.metrics.registry.text()
            assert re.search(r'watch_restarts_total\{kind="AsyncActor",reason="silent"\} [1-9]', text) is not None
            assert sum(call.verb == "list" and call.plural == "asyncactors" for call in api.calls) == 1

    with_api(body)


def test_429_pauses_every_call_for_as_long_as_the_server_asks(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        async def refuse_once(call: Call) -> None:
            api.hook = None
            raise Answer(429, "too many", headers={"Retry-After": "1"})

        api.put("asyncactors", actor())
        kube = await connect(api, tmp_path)
        try:
            api.hook = refuse_once
            refused = asyncio.get_running_loop().time()
            with pytest.raises(ApiUnavailable) as caught:
                await kube.get(resources.DEPLOYMENTS, "demo", "ocr")
            assert caught.value.retry_after_seconds == 1.0
            other = await asyncio.wait_for(kube.get(resources.ACTORS, "demo", "ocr"), WAIT)
            assert other["metadata"]["name"] == "ocr"
            assert asyncio.get_running_loop().time() >= refused + 1.0
        finally:
            await kube.close()

    with_api(body)


def test_lists_are_read_in_pages(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.page = 7
        for number in range(20):
            api.put("asyncactors", actor(f"a{number:02}"))
        async with running(api, tmp_path) as (operator, _):
            await operator.working.wait()
            assert len(operator.world.actors) == 20

    with_api(body)


def test_missing_queue_is_declared_again_and_depths_are_shown(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        queues = MemoryQueues()
        given = chosen(reconcile={"queueInterval": "50ms"})
        async with running(api, tmp_path, queues=queues, given=given) as (operator, _):
            await operator.working.wait()
            api.put("asyncactors", actor(labels={"asya.sh/flow": "reading"}))
            await until(lambda: reason(api) == "Napping")
            queues.held["asya-demo-ocr"] = Depth(waiting=1234, in_flight=2)
            await until(lambda: api.get("asyncactors", "demo", "ocr")["status"]["queue"].get("waiting") == 1200)
            counts = (("waiting", 1234), ("running", 2))
            wanted = [
                f'queue_messages{{namespace="demo",actor="ocr",flow="reading",state="{state}"}} {number}\n' for state, number in counts
            ]
            text = await metrics_with(operator.port, *wanted)
            assert differences(text, Metrics().registry) == []
            del queues.held["asya-demo-ocr"]
            await until(lambda: "asya-demo-ocr" in queues.held)
            await until(lambda: "QueueRestored" in {found["reason"] for found in api.objects["events"].values()})

    with_api(body)


def test_broker_that_is_away_is_told_of_actors_at_rest_and_back_without_delay(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        queues = MemoryQueues()
        given = chosen(reconcile={"queueInterval": "50ms"})
        async with running(api, tmp_path, queues=queues, given=given) as (operator, _):
            await operator.working.wait()
            api.put("asyncactors", actor())
            await until(lambda: reason(api) == "Napping")
            queues.down = True
            await until(lambda: reason(api) == "BrokerUnreachable")
            queues.down = False
            await until(lambda: reason(api) == "Napping")
            assert "QueueRestored" not in {found["reason"] for found in api.objects["events"].values()}

    with_api(body)


def test_resync_writes_nothing(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        queues = MemoryQueues()
        async with running(api, tmp_path, queues=queues, given=chosen(reconcile={"resync": "300ms"})) as (operator, _):
            await operator.working.wait()
            for name in ("happy-end", "error-end", "ocr"):
                api.put("asyncactors", actor(name))
            await until(lambda: are_told(api, "happy-end", "error-end", "ocr"))
            before, ensured = len(api.writes()), len(queues.calls)
            await until(lambda: len(queues.calls) >= ensured + 9)
            assert [(call.verb, call.plural, call.name) for call in api.writes()[before:]] == []

    with_api(body)


def test_gone_definition_touches_no_child(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.watch_seconds = 0.2
        async with running(api, tmp_path) as (operator, _):
            await operator.working.wait()
            api.put("asyncactors", actor())
            await until(lambda: are_told(api, "ocr"))
            api.missing = {"asyncactors"}
            api.expire()
            await until(lambda: any(each.is_missing for each in operator.actor_reflectors))
            before = len(api.writes())
            api.edit("deployments", "demo", "ocr", lambda found: found["spec"].update(minReadySeconds=3))
            operator.work.add(("demo", "ocr"))
            await until(lambda: len(operator.work) == 0)
            assert api.writes()[before:] == []

    with_api(body)


def test_deleted_actor_goes_though_the_end_of_its_namespace_is_learned_from_its_last_look(with_api, tmp_path):
    """The refusal of the runtime's ConfigMap ended the look, and nothing woke the actor again: its namespace stayed for good."""

    async def body(api: FakeApi) -> None:
        queues, given = MemoryQueues(), chosen(drain={"timeout": "1h", "quietPeriod": "20s"})
        async with running(api, tmp_path, queues=queues, given=given) as (operator, _):
            await operator.working.wait()
            api.put("asyncactors", actor())
            await until(lambda: reason(api) == "Napping")
        queues.held["asya-demo-ocr"] = Depth(waiting=3, in_flight=0)
        api.remove("asyncactors", "demo", "ocr")
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")  # the operator's clock is the real one here
        api.edit("asyncactors", "demo", "ocr", lambda found: found["metadata"].update(deletionTimestamp=now))
        for plural in ("scaledobjects", "triggerauthentications", "deployments", "configmaps"):
            for namespace, name in tuple(api.objects[plural]):
                api.remove(plural, namespace, name)

        async def refuse(call: Call) -> None:
            if call.plural == "configmaps" and call.verb == "patch":
                raise Answer(403, "because it is being terminated", "Forbidden", causes=[{"reason": "NamespaceTerminating"}])

        api.hook = refuse
        async with running(api, tmp_path, identity="two", queues=queues, given=given):
            await until(lambda: api.get("asyncactors", "demo", "ocr") is None)

    with_api(body)


def test_one_bad_actor_does_not_hold_up_another(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        async def refuse(call: Call) -> None:
            if call.plural == "deployments" and call.name == "bad":
                raise Answer(500, "always")

        api.hook = refuse
        async with running(api, tmp_path) as (operator, _):
            await operator.working.wait()
            api.put("asyncactors", actor("bad"))
            api.put("asyncactors", actor("good"))
            await until(lambda: reason(api, "good") == "Napping")
            assert reason(api, "bad") is None

    with_api(body)


@pytest.mark.behaviour("operator:namespaced")
def test_namespaced_operator_looks_at_its_namespaces_alone(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        given = chosen(watch={"scope": "namespace", "namespaces": {"demo": True}})
        async with running(api, tmp_path, given=given) as (operator, _):
            await operator.working.wait()
            api.put("asyncactors", actor("theirs", "other"))
            api.put("asyncactors", actor())
            await until(lambda: reason(api) == "Napping")
            assert reason(api, "theirs", "other") is None
        assert {call.namespace for call in api.calls} <= {"demo", "asya-system"}

    with_api(body)


@pytest.mark.behaviour("operator:exact-rights")
def test_calls_are_those_that_the_roles_grant(with_api, tmp_path):
    """operator.md 7: the table, the chart's rules and what is called are one."""

    async def body(api: FakeApi) -> None:
        queues = MemoryQueues()
        async with running(api, tmp_path, queues=queues, given=chosen(reconcile={"queueInterval": "50ms"})) as (operator, _):
            await operator.working.wait()
            api.put("asyncactors", actor(queue={"deletionPolicy": "Delete"}))
            stateful = actor("stateful")
            stateful["spec"]["workload"]["kind"] = "StatefulSet"
            api.put("asyncactors", stateful)
            await until(lambda: reason(api) == "Napping" and reason(api, "stateful") == "Napping")
            api.put("asyncactors", actor(queue={"deletionPolicy": "Delete"}, scaling={"enabled": False}))
            await until(lambda: api.get("scaledobjects", "demo", "ocr") is None)
            api.edit("deployments", "demo", "ocr", lambda found: found["spec"].update(replicas=9))
            await until(lambda: any(found["reason"] == "Drift" for found in api.objects["events"].values()) or reason(api) == "Running")
            api.remove("asyncactors", "demo", "ocr")
            await until(lambda: api.get("asyncactors", "demo", "ocr") is None)
            api.remove("asyncactors", "demo", "stateful")
            await until(lambda: not api.objects["configmaps"])
        used = {(call.plural + ("/" + call.subresource if call.subresource else ""), call.verb) for call in api.calls}
        granted = granted_verbs()
        assert used <= granted, used - granted
        # Granted and not seen here: rights that are checked by the server itself, or kinds that stand for one another.
        assert granted - used <= {
            ("asyncactors", "get"),
            ("asyncactors/finalizers", "update"),
            ("deployments", "create"),
            ("statefulsets", "create"),
            ("scaledobjects", "create"),
            ("triggerauthentications", "create"),
            ("configmaps", "create"),
            ("statefulsets", "delete"),
            ("events", "patch"),
        }

    with_api(body)


def granted_verbs() -> set[tuple[str, str]]:
    """What the chart's rules grant, and the Lease's."""
    text = (Path(__file__).parents[3] / "charts/asya-operator/templates/_rules.tpl").read_text()
    found = set()
    for plurals, verbs in re.findall(r"resources: \[([^\]]*)\]\s*\n\s*verbs: \[([^\]]*)\]", text):
        found |= {(resource.strip(), verb.strip()) for resource in plurals.split(",") for verb in verbs.split(",")}
    return found | {("leases", verb) for verb in ("create", "get", "update")}


def test_process_ends_by_sigterm_with_zero_and_refused_settings_with_78(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        (tmp_path / "kubeconfig").write_text(api.kubeconfig())
        (tmp_path / "runtime.py").write_text("# runtime\n")
        file = tmp_path / "settings.yaml"
        file.write_text(
            json.dumps({"transports": {"rabbitmq": {"host": "127.0.0.1", "port": 1}}, "sidecar": {"image": "s:1"}, "metrics": {"port": 0}})
        )
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ASYA_")} | {
            "ASYA_OPERATOR_SETTINGS": str(file),
            "ASYA_OPERATOR_KUBECONFIG": str(tmp_path / "kubeconfig"),
            "ASYA_OPERATOR_RUNTIME_FILE": str(tmp_path / "runtime.py"),
        }
        api.put("asyncactors", actor())
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "asya_operator", "run", env=environment, stderr=asyncio.subprocess.PIPE
        )
        await until(lambda: reason(api) == "BrokerUnreachable")
        process.send_signal(signal.SIGTERM)
        _, said = await process.communicate()
        assert process.returncode == 0, said
        assert '"event":"stopped"' in said.decode()
        file.write_text("transports: {rabbitmq: {hosst: x}}")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "asya_operator", "run", env=environment, stderr=asyncio.subprocess.PIPE
        )
        _, said = await process.communicate()
        assert process.returncode == 78
        assert said.decode().startswith("asya-operator: Settings file: transports.rabbitmq.hosst is not known")

    with_api(body)
