"""What the status says: every reason from facts, Ready and Stalled from the parts, times that stay."""

import dataclasses
from typing import Any

import pytest
from python.operator.tests.test_desired import desired
from python.operator.tests.twins import settings, spec

from asya_operator.conditions import Depth, invalid_status, make_status, rounded_depth
from asya_operator.observed import Child, ContainerState, Pod, Progress, ScalerState, packed
from asya_operator.policies import Facts, Verdict
from asya_operator.reasons import BY_NAME, REASONS, markdown
from asya_operator.spec import read_spec

NOW = 1_800_000_000.0
DECLARED = Verdict(reason="Declared", message="Queue asya-demo-ocr exists on rabbitmq")


def workload(replicas: int = 1, *, ready: int | None = None, updated: int | None = None, refusal: str = "", observed: bool = True) -> Child:
    ready = replicas if ready is None else ready
    template = {"spec": {"containers": [{"name": "asya-runtime", "resources": {"limits": {"memory": "2Gi"}}}]}}
    return Child(
        kind="Deployment",
        namespace="demo",
        name="ocr",
        uid="w",
        resource_version="1",
        owner="u1",
        desired="h",
        user_part="p",
        replicas=replicas,
        sidecar="0.1.0",
        generation=5,
        progress=Progress(
            observed=5 if observed else 4,
            is_observed=observed,
            replicas=replicas,
            updated=replicas if updated is None else updated,
            ready=ready,
            available=ready,
            refusal=refusal,
        ),
        body=packed({"metadata": {}, "spec": {"template": template}}),
    )


def scaler(ready: bool | None = True, message: str = "fine") -> Child:
    return Child(
        kind="ScaledObject",
        namespace="demo",
        name="ocr",
        uid="s",
        resource_version="1",
        owner="u1",
        desired="h",
        user_part=None,
        scaler=ScalerState(ready=ready, message=message),
    )


def container(**more: Any) -> ContainerState:
    made: dict[str, Any] = {
        "name": "asya-runtime",
        "waiting": "",
        "waiting_message": "",
        "exit_code": None,
        "exit_reason": "",
        "exit_message": "",
        "ran_seconds": 1.0,
        "restarts": 0,
        "has_started": False,
    }
    return ContainerState(**(made | more))


def pod(*states: ContainerState, age: float = 10.0, **more: Any) -> Pod:
    made: dict[str, Any] = {
        "namespace": "demo",
        "name": "ocr-1",
        "resource_version": "1",
        "actor": "ocr",
        "created": NOW - age,
        "is_deleted": False,
        "is_ready": False,
        "unschedulable": "",
        "scheduled": NOW - age,
        "can_start": True,
        "troubled": states,
    }
    return Pod(**(made | more))


def facts(more: dict[str, Any] | None = None, **changes: Any) -> Facts:
    sections = changes.pop("sections", {})
    has_keda = changes.get("has_keda", True)
    made: dict[str, Any] = {
        "spec": read_spec("demo", "ocr", {}, spec(**(more or {}))),
        "settings": settings(**sections),
        "transport": "rabbitmq",
        "queue": DECLARED,
        "now": NOW,
        "desired": desired(more, has_keda=has_keda, **sections),
        "workload": workload(),
        "scaled": scaler(),
    }
    return Facts(**(made | changes))


def status(given: Facts, old: dict[str, Any] | None = None) -> dict[str, Any]:
    return make_status(given, generation=3, old=old or {}, queue="asya-demo-ocr", depth=Depth(waiting=7, in_flight=0)).body


def conditions(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["type"]: each for each in body["conditions"]}


def crashed(**more: Any) -> ContainerState:
    return container(waiting="CrashLoopBackOff", restarts=4, **more)


CASES: dict[str, tuple[str, Facts, str]] = {
    "Running": ("Ready", facts(workload=workload(3)), "3 pods are ready"),
    "Napping": ("Ready", facts(workload=workload(0)), "No messages; the first one starts a pod"),
    "Waking": ("Ready", facts(workload=workload(1, ready=0)), "Pods are starting for waiting messages"),
    "Paused": ("Ready", facts({"scaling": {"paused": True, "pausedReplicas": 2}}), "Scaling is paused at 2 pods"),
    "Draining": ("Ready", facts(workload=workload(0), draining="Deleted, and goes on"), "Deleted, and goes on"),
    "Declared": ("QueueReady", facts(), "Queue asya-demo-ocr exists on rabbitmq"),
    "Available": ("WorkloadReady", facts(workload=workload(3, ready=1)), "1 of 3 pods are ready"),
    "ScaledToZero": ("WorkloadReady", facts(workload=workload(0)), "No pods are wanted"),
    "RollingOut": ("WorkloadReady", facts(workload=workload(3, updated=1)), "1 of 3 pods run the new template"),
    "HandlerInvalid": (
        "WorkloadReady",
        facts(workload=workload(ready=0), pods=(pod(crashed(exit_code=78, exit_message="ASYA_HANDLER 'ocr.run': no run")),)),
        "ASYA_HANDLER 'ocr.run': no run",
    ),
    "CrashLoop": (
        "WorkloadReady",
        facts(workload=workload(ready=0), pods=(pod(crashed(exit_code=1, exit_message="KeyError: 'x'")),)),
        "asya-runtime ended with code 1, 4 restarts: KeyError: 'x'",
    ),
    "OutOfMemory": (
        "WorkloadReady",
        facts(workload=workload(ready=0), pods=(pod(crashed(exit_code=137, exit_reason="OOMKilled")),)),
        "asya-runtime was killed at its memory limit 2Gi",
    ),
    "StartupTimeout": (
        "WorkloadReady",
        facts(workload=workload(ready=0), pods=(pod(container(exit_code=137, ran_seconds=630, restarts=1)),)),
        "asya-runtime had not loaded its handler after 600 s",
    ),
    "ImagePullFailed": (
        "WorkloadReady",
        facts(
            workload=workload(ready=0), pods=(pod(container(waiting="ImagePullBackOff", waiting_message='Back-off pulling image "x:1"')),)
        ),
        'asya-runtime: Back-off pulling image "x:1"',
    ),
    "SecretMissing": (
        "WorkloadReady",
        facts(workload=workload(ready=0), pods=(pod(age=60, can_start=False, secrets=("asya-rabbitmq",)),)),
        "Pod ocr-1 cannot mount its volumes; see that these Secrets exist in namespace demo: asya-rabbitmq",
    ),
    "Unschedulable": (
        "WorkloadReady",
        facts(workload=workload(ready=0), pods=(pod(unschedulable="0/3 nodes: 3 Insufficient nvidia.com/gpu", scheduled=None),)),
        "0/3 nodes: 3 Insufficient nvidia.com/gpu",
    ),
    "PodsRefused": ("WorkloadReady", facts(workload=workload(ready=0, refusal="exceeded quota")), "exceeded quota"),
    "PodTemplateRefused": (
        "WorkloadReady",
        facts(workload_refusal=Verdict(reason="PodTemplateRefused", message="runAsUser 0 is root")),
        "runAsUser 0 is root",
    ),
    "ScalerReady": ("ScalingReady", facts(), "KEDA watches the queue"),
    "ScalingOff": ("ScalingReady", facts({"scaling": {"enabled": False}}), "Scaling is off: 1 fixed pod"),
    "ScalerPending": ("ScalingReady", facts(scaled=scaler(None)), "KEDA has not reported on the ScaledObject yet"),
    "KedaMissing": ("ScalingReady", facts(has_keda=False, scaled=None), "KEDA is not installed: 1 fixed pod"),
    "TriggerFailing": ("ScalingReady", facts(scaled=scaler(False, "no such host")), "KEDA: no such host"),
    "ScalingRefused": (
        "ScalingReady",
        facts(scaling_refusal=Verdict(reason="ScalingRefused", message="webhook denied")),
        "webhook denied",
    ),
    **{
        reason: ("QueueReady", facts(queue=Verdict(reason=reason, message="m")), "m")
        for reason in (
            "BrokerUnreachable",
            "QueueDeletedRecently",
            "QueueRefused",
            "QueueMismatch",
            "NameCollision",
            "QueueNameTooLong",
            "TransportDisabled",
            "QueueKept",
        )
    },
}


@pytest.mark.parametrize("reason", CASES)
def test_reason_is_reached_with_its_sentence(reason):
    kind, given, message = CASES[reason]
    found = conditions(status(given))[kind]
    assert (found["reason"], found["message"]) == (reason, message)
    assert found["status"] == ("True" if BY_NAME[reason].is_true else "False")


def test_every_reason_of_the_table_has_a_case():
    assert {reason.name for reason in REASONS} - set(CASES) == {"SpecInvalid"}
    body = invalid_status("spec.x is wrong", generation=1, old={}, now=NOW).body
    assert conditions(body)["Ready"]["reason"] == "SpecInvalid"


@pytest.mark.parametrize("reason", [reason.name for reason in REASONS if not reason.is_true])
def test_bad_reasons_have_a_remedy_and_stand_on_the_page(reason):
    assert BY_NAME[reason].remedy
    assert f"| `{reason}` |" in markdown()


@pytest.mark.parametrize("reason", [reason for reason, (kind, _, _) in CASES.items() if not BY_NAME[reason].is_true])
def test_ready_takes_over_what_is_false(reason):
    found = conditions(status(CASES[reason][1]))["Ready"]
    assert (found["status"], found["reason"]) == ("False", reason)


def test_ready_takes_the_first_false_of_queue_workload_scaling():
    given = dataclasses.replace(CASES["CrashLoop"][1], scaled=scaler(False, "x"))
    assert conditions(status(given))["Ready"]["reason"] == "CrashLoop"
    assert (
        conditions(status(dataclasses.replace(given, queue=Verdict(reason="QueueMismatch", message="m"))))["Ready"]["reason"]
        == "QueueMismatch"
    )


@pytest.mark.parametrize("reason", [reason.name for reason in REASONS if not reason.is_true and reason.name in CASES])
def test_stalled_is_there_exactly_when_a_person_must_act(reason):
    is_stalled = "Stalled" in conditions(status(CASES[reason][1]))
    assert is_stalled is (BY_NAME[reason].stalls == "now")


@pytest.mark.parametrize("reason", ["ImagePullFailed", "CrashLoop", "OutOfMemory"])
def test_patient_reasons_stall_after_three_minutes(reason):
    given = CASES[reason][1]
    young = make_status(given, generation=1, old={}, queue=None, depth=None)
    assert young.look_again_seconds is not None
    later = make_status(dataclasses.replace(given, now=NOW + young.look_again_seconds), generation=1, old={}, queue=None, depth=None)
    assert conditions(later.body)["Stalled"]["reason"] == reason
    assert later.look_again_seconds is None


def test_waking_is_no_alarm_but_an_awake_actor_that_is_not_ready_is():
    assert conditions(status(facts(workload=workload(1, ready=0))))["Ready"]["status"] == "True"
    found = conditions(status(facts({"scaling": {"minReplicas": 1}}, workload=workload(1, ready=0))))["Ready"]
    assert (found["status"], found["reason"]) == ("False", "RollingOut")


def test_trouble_of_deleted_and_ready_pods_does_not_count():
    trouble = crashed(exit_code=1)
    for other in (pod(trouble, is_deleted=True), pod(trouble, is_ready=True)):
        assert conditions(status(facts(pods=(other,))))["WorkloadReady"]["reason"] == "Available"


def test_transition_time_changes_with_the_status_alone():
    old = status(facts(workload=workload(0)))
    later = status(dataclasses.replace(facts(workload=workload(2)), now=NOW + 60), old)
    assert conditions(later)["Ready"]["reason"] == "Running"
    assert conditions(later)["Ready"]["lastTransitionTime"] == conditions(old)["Ready"]["lastTransitionTime"]
    failed = status(dataclasses.replace(CASES["CrashLoop"][1], now=NOW + 60), old)
    assert conditions(failed)["Ready"]["lastTransitionTime"] != conditions(old)["Ready"]["lastTransitionTime"]


def test_invalid_spec_keeps_what_was_known():
    old = status(facts())
    body = invalid_status("x", generation=4, old=old, now=NOW).body
    assert conditions(body)["QueueReady"] == conditions(old)["QueueReady"]
    assert body["queue"] == old["queue"]
    assert conditions(body)["Stalled"]["status"] == "True"


@pytest.mark.parametrize(("number", "shown"), [(0, 0), (100, 100), (101, 100), (119, 110), (1234, 1200), (98_765, 98_000)])
def test_depth_has_two_digits_above_a_hundred(number, shown):
    assert rounded_depth(number) == shown


def test_unknown_depth_keeps_the_last_one():
    old = {"queue": {"waiting": 5, "inFlight": 2}}
    body = make_status(facts(), generation=1, old=old, queue="q", depth=None).body
    assert body["queue"] == {"name": "q", "transport": "rabbitmq", "waiting": 5, "inFlight": 2}
    body = make_status(facts(), generation=1, old=old, queue="q", depth=Depth(waiting=1)).body
    assert body["queue"]["inFlight"] == 2
    body = make_status(facts(), generation=1, old={}, queue="q", depth=Depth(waiting=1)).body
    assert "inFlight" not in body["queue"]


def test_crash_counts_get_coarser_so_that_the_status_rests():
    messages = {
        conditions(
            status(
                facts(
                    workload=workload(ready=0),
                    pods=(pod(crashed(exit_code=1) if n == 4 else container(waiting="CrashLoopBackOff", restarts=n, exit_code=1)),),
                )
            )
        )["WorkloadReady"]["message"]
        for n in range(20, 30)
    }
    assert messages == {"asya-runtime ended with code 1, over 20 restarts"}


def test_blind_scaling_says_so():
    transports = {"rabbitmq": {"host": "r"}}
    message = conditions(status(facts(sections={"transports": transports})))["ScalingReady"]["message"]
    assert "no managementUrl" in message
    assert "360 s" in message


def test_secret_that_the_kubelet_names_is_told_in_its_words():
    state = container(name="asya-sidecar", waiting="CreateContainerConfigError", waiting_message='secret "asya-rabbitmq" not found')
    found = conditions(status(facts(workload=workload(ready=0), pods=(pod(state),))))["WorkloadReady"]
    assert (found["reason"], found["message"]) == ("SecretMissing", 'asya-sidecar: secret "asya-rabbitmq" not found')


@pytest.mark.parametrize(
    "state",
    [
        container(waiting="ContainerCreating"),
        container(exit_code=1, restarts=0),
        container(exit_code=0, restarts=3),
        container(exit_code=137, ran_seconds=630, restarts=0),
    ],
)
def test_container_that_only_starts_is_no_trouble(state):
    assert conditions(status(facts(workload=workload(ready=0), pods=(pod(state),))))["WorkloadReady"]["reason"] == "Waking"


def test_pod_that_waits_for_its_volumes_is_looked_at_again():
    young = make_status(
        facts(workload=workload(ready=0), pods=(pod(age=3, can_start=False),)), generation=1, old={}, queue=None, depth=None
    )
    assert conditions(young.body)["WorkloadReady"]["reason"] == "Waking"
    assert young.look_again_seconds == 5.0


def test_workload_that_is_not_there_or_not_seen_yet_rolls_out():
    assert conditions(status(facts(workload=None)))["WorkloadReady"]["reason"] == "RollingOut"
    assert conditions(status(facts(workload=workload(1, observed=False))))["WorkloadReady"]["reason"] == "RollingOut"


def test_scaling_is_no_rollout():
    up = dataclasses.replace(workload(4), progress=dataclasses.replace(workload(1).progress, is_observed=False))
    found = conditions(status(facts(workload=up, awaited=4)))["WorkloadReady"]
    assert (found["reason"], found["message"]) == ("Available", "1 of 4 pods are ready")
    assert conditions(status(facts(workload=up, awaited=6)))["WorkloadReady"]["reason"] == "RollingOut"


@pytest.mark.parametrize(("extra", "message"), [(1, "1 pod of the old template is left"), (2, "2 pods of the old template are left")])
def test_old_pods_that_are_left_are_counted(extra, message):
    made = dataclasses.replace(workload(1), progress=dataclasses.replace(workload(1).progress, replicas=1 + extra))
    found = conditions(status(facts(workload=made)))["WorkloadReady"]
    assert (found["reason"], found["message"]) == ("RollingOut", message)


def test_scaled_object_that_is_not_there_is_pending():
    assert conditions(status(facts(scaled=None)))["ScalingReady"]["reason"] == "ScalerPending"


def test_pause_without_a_number_names_the_pods_there_are():
    given = {"scaling": {"paused": True}}
    assert conditions(status(facts(given, workload=workload(1))))["ScalingReady"]["message"] == "Scaling is paused at 1 pod"
    assert conditions(status(facts(given, workload=None)))["ScalingReady"]["message"] == "Scaling is paused at 0 pods"


def test_memory_limit_of_a_container_that_has_none_is_the_nodes():
    for name, limit in (("helper", "?"), ("asya-runtime", "2Gi")):
        trouble = crashed(exit_code=137, exit_reason="OOMKilled", name=name)
        message = conditions(status(facts(workload=workload(ready=0), pods=(pod(trouble),))))["WorkloadReady"]["message"]
        assert message == f"{name} was killed at its memory limit {limit}"


def test_turn_that_is_waited_for_is_told():
    assert "waits for its turn" in conditions(status(facts(waits_for_turn=True)))["WorkloadReady"]["message"]


def test_scaling_that_is_off_everywhere_naps_without_a_promise():
    found = conditions(status(facts({"scaling": {"enabled": False}}, workload=workload(0))))
    assert found["Ready"]["message"] == "No pods are wanted"
