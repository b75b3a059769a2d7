"""What objects of a cluster say about an installation."""

from typing import Any

import pytest

from asya_cli.doctor import rules
from asya_cli.doctor.check import Check, State, bad, good, guarded, odd, skipped
from asya_core.wire.errors import Refused


def conditions(*each: tuple[str, str, str, str]) -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": status, "reason": reason, "message": text} for kind, status, reason, text in each]}


def thing(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop", **more.pop("metadata", {})}, **more}


def told(check: Check) -> tuple[State, str]:
    assert bool(check.hint) or check.state is State.GOOD
    return check.state, check.message


def actor(name: str, status: str = "True", reason: str = "Running", message: str = "") -> dict[str, Any]:
    return thing(name, status=conditions(("Ready", status, reason, message)))


def test_check_tells_its_hint_only_where_there_is_one() -> None:
    assert good("a", "b").as_json() == {"check": "a", "state": "good", "message": "b"}
    assert bad("a", "b", "c").as_json()["hint"] == "c"
    assert (odd("a", "b", "c").state, skipped("a", "b").state) == (State.ODD, State.SKIPPED)


@pytest.mark.parametrize("hint", ["do this", ""])
def test_error_of_a_look_is_one_bad_check(hint: str) -> None:
    def look() -> Any:
        yield good("a", "first")
        raise Refused("code", "it said no", hint)

    first, second = guarded("a", look)
    assert (first.state, second.state, second.message) == (State.GOOD, State.BAD, "it said no")
    assert second.hint


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ({"major": "1", "minor": "29", "gitVersion": "v1.29.3"}, State.GOOD),
        ({"major": "1", "minor": "31+"}, State.GOOD),
        ({"major": "2", "minor": "0"}, State.GOOD),
        ({"major": "1", "minor": "28"}, State.BAD),
        ({}, State.BAD),
    ],
)
def test_kubernetes_is_new_enough(answer: dict[str, Any], state: State) -> None:
    assert told(rules.version(answer, "kind"))[0] is state


def definition(version: str, established: str = "True", message: str = "") -> dict[str, Any]:
    versions = {"versions": [{"name": version, "served": True}, {"name": "v0", "served": False}]}
    return {"spec": versions, "status": conditions(("Established", established, "", message))}


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, "asyncactors.asya.sh is not there"),
        (definition("v2"), "asyncactors.asya.sh serves v2, not v1alpha1"),
        ({"spec": {}}, "asyncactors.asya.sh serves no version, not v1alpha1"),
        (definition("v1alpha1", "False", "names conflict"), "asyncactors.asya.sh: names conflict"),
        (definition("v1alpha1", "False"), "asyncactors.asya.sh: it is not established"),
    ],
)
def test_definition_that_is_not_right_is_bad(found: Any, message: str) -> None:
    assert told(rules.definition(found)) == (State.BAD, message)


def test_definition_that_serves_our_version_is_good() -> None:
    assert told(rules.definition(definition("v1alpha1")))[0] is State.GOOD


def deployment(ready: int | None, wanted: int = 1, **labels: str) -> dict[str, Any]:
    return thing("asya-operator", metadata={"labels": labels or None}, spec={"replicas": wanted}, status={"readyReplicas": ready})


def test_operator_with_its_pods_is_good() -> None:
    labelled = deployment(2, 2, **{"app.kubernetes.io/version": "0.1.0"})
    assert told(rules.operator([labelled])) == (State.GOOD, "shop/asya-operator 0.1.0 ready")
    assert told(rules.operator([deployment(1)])) == (State.GOOD, "shop/asya-operator ready")


@pytest.mark.parametrize(
    ("deployments", "message"),
    [
        ([], "Not installed"),
        ([deployment(None)], "shop/asya-operator: 0 of 1 pods are ready"),
        ([deployment(1), deployment(1, 2)], "shop/asya-operator: 1 of 2 pods are ready"),
        ([deployment(0, 0)], "shop/asya-operator: 0 of 0 pods are ready"),
    ],
)
def test_operator_without_its_pods_is_bad(deployments: list[Any], message: str) -> None:
    assert told(rules.operator(deployments)) == (State.BAD, message)


def test_namespace_without_a_gateway_is_only_odd() -> None:
    assert told(rules.gateway("shop", []))[0] is State.ODD
    assert told(rules.gateway("shop", [deployment(1)]))[0] is State.GOOD


def service(available: str, name: str | None, message: str = "") -> dict[str, Any]:
    return {"spec": {"service": name and {"name": name}}, "status": conditions(("Available", available, "", message))}


@pytest.mark.parametrize(
    ("definition", "metrics", "states"),
    [
        (None, None, [State.BAD]),
        ({}, None, [State.GOOD, State.BAD]),
        ({}, service("False", "keda-operator-metrics-apiserver", "no endpoints"), [State.GOOD, State.BAD]),
        ({}, service("False", None), [State.GOOD, State.BAD]),
        ({}, service("True", "prometheus-adapter"), [State.GOOD, State.ODD]),
        ({}, service("True", "keda-operator-metrics-apiserver"), [State.GOOD, State.GOOD]),
    ],
)
def test_keda_needs_definition_and_metrics(definition: Any, metrics: Any, states: list[State]) -> None:
    assert [told(check)[0] for check in rules.keda(definition, metrics)] == states


def test_each_actor_that_is_not_ready_tells_its_own_sentence() -> None:
    found = [actor("a"), actor("b", "False", "ImagePullFailed", "Back-off pulling image"), thing("c"), actor("d", "Unknown", "Waking")]
    checks = list(rules.actors("shop", found))
    assert [(each.name, each.message) for each in checks] == [
        ("actor b", "ImagePullFailed: Back-off pulling image"),
        ("actor c", "no condition yet"),
        ("actor d", "Waking"),
    ]
    assert "docs/reference/conditions.md" in checks[0].hint
    assert "watch this namespace" in checks[1].hint


def test_many_actors_that_are_not_ready_are_counted() -> None:
    checks = list(rules.actors("shop", [actor(f"a{number}", "False", "CrashLoop") for number in range(25)]))
    assert (len(checks), checks[-1].message) == (21, "5 more are not Ready")


def test_ready_actors_are_one_line() -> None:
    assert [told(each) for each in rules.actors("shop", [actor("a")])] == [(State.GOOD, "1 of 1 in namespace shop are Ready")]
    assert [each.state for each in rules.actors("shop", [])] == [State.ODD]


def test_actor_that_is_deleted_and_still_there_is_odd() -> None:
    going = actor("a", "True", "Draining", "Deleted, and goes on")
    going = {**going, "metadata": {**going["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    odd, good = rules.actors("shop", [going, actor("b")])
    assert told(odd) == (State.ODD, "Deleted at 2026-01-01T00:00:00Z, and still there: Deleted, and goes on")
    assert told(good) == (State.GOOD, "2 of 2 in namespace shop are Ready")


def test_crew_is_both_end_actors() -> None:
    assert told(rules.crew("shop", [actor("happy-end")])) == (State.BAD, "error-end missing in namespace shop")
    assert told(rules.crew("shop", [actor("happy-end"), actor("error-end")]))[0] is State.GOOD


def test_missing_secret_is_named_with_who_needs_it() -> None:
    wanted = {"asya-rabbitmq": "judge", "keys": "judge"}
    assert told(rules.secrets("shop", wanted, ["keys"])) == (State.BAD, "Missing in namespace shop: asya-rabbitmq (for judge)")
    assert told(rules.secrets("shop", wanted, wanted)) == (State.GOOD, "All 2 that are used are there")
    assert told(rules.secrets("shop", {}, ())) == (State.GOOD, "None are used")


def test_secrets_of_a_workload_are_those_it_cannot_do_without() -> None:
    pod = {
        "volumes": [
            {"secret": {"secretName": "mounted"}},
            {"secret": {"secretName": "perhaps", "optional": True}},
            {"emptyDir": {}},
            {"projected": {"sources": [{"secret": {"name": "projected"}}, {"serviceAccountToken": {}}]}},
        ],
        "initContainers": [{"envFrom": [{"secretRef": {"name": "all"}}, {"configMapRef": {"name": "no"}}]}],
        "containers": [
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "one"}}}]},
            {"env": [{"name": "C", "valueFrom": {"secretKeyRef": {"name": "maybe", "optional": True}}}]},
        ],
    }
    assert rules.secret_names({"spec": {"template": {"spec": pod}}}) == {"mounted", "projected", "all", "one"}
    assert rules.secret_names({}) == set()


@pytest.mark.parametrize(
    ("labels", "is_ours"),
    [
        ({"app.kubernetes.io/managed-by": "asya-operator"}, True),
        ({"app.kubernetes.io/name": "asya-gateway"}, True),
        ({"asya.sh/actor": "judge"}, True),
        ({"app.kubernetes.io/name": "postgres"}, False),
        (None, False),
    ],
)
def test_workloads_of_others_are_not_looked_at(labels: Any, is_ours: bool) -> None:
    assert rules.is_ours(thing("x", metadata={"labels": labels})) is is_ours
