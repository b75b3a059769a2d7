"""What is written: nothing when nothing changed; what differs, what is missing, and never what is KEDA's."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from python.operator.tests.test_desired import desired, specs

from asya_operator.compare import differences, quantity
from asya_operator.observed import Child, cut_child
from asya_operator.plan import Why, plan

Json = dict[str, Any]


def lived(manifest: Json, *, replicas: int | None = None, ours: bool = True) -> Json:
    """The manifest as the API server would have it."""
    found = copy.deepcopy(manifest)
    found["metadata"] |= {"uid": "w1", "resourceVersion": "7", "generation": 1}
    if replicas is not None:
        found["spec"]["replicas"] = replicas
        fields: Json = {"f:spec": {"f:replicas": {}} if ours else {"f:selector": {}}}
        found["metadata"]["managedFields"] = [{"manager": "asya-operator", "operation": "Apply", "fieldsV1": fields}]
    return found


def live(made: Any, *, replicas: int = 0, ours: bool = True) -> dict[str, Child]:
    held = [lived(made.workload, replicas=replicas, ours=ours), *(lived(each) for each in made.scaled)]
    return {each["kind"]: cut_child(each, each["kind"]) for each in held}


@hypothesis_settings(max_examples=40, deadline=None)
@given(specs)
def test_plan_of_what_was_applied_is_empty(more):
    made = desired(more)
    replicas = made.first_replicas if made.replicas is None else made.replicas
    assert plan(made, live(made, replicas=replicas), "u1", {}).is_empty


@hypothesis_settings(max_examples=40, deadline=None)
@given(specs)
def test_nothing_there_means_everything_is_made(more):
    made = desired(more)
    todo = plan(made, {}, "u1", {})
    assert todo.workload is not None
    assert todo.workload.kind == made.workload["kind"]
    assert todo.workload.why is Why.MISSING
    assert todo.workload.manifest["spec"]["replicas"] == made.first_replicas
    assert len(todo.scaled) == len(made.scaled)


def test_new_workload_begins_with_its_first_replicas():
    made = desired()
    todo = plan(made, {}, "u1", {})
    assert todo.workload is not None
    assert (todo.workload.kind, todo.workload.why) == ("Deployment", Why.MISSING)
    assert todo.workload.manifest["spec"]["replicas"] == made.first_replicas


def test_replicas_are_sent_with_the_live_number_while_they_are_ours():
    made, old = desired({"timeout": "10m"}), desired()
    todo = plan(made, live(old, replicas=0), "u1", {})
    assert todo.workload is not None
    assert todo.workload.manifest["spec"]["replicas"] == 0
    assert todo.workload.manifest["metadata"]["resourceVersion"] == "7"


def test_replicas_are_left_out_once_keda_has_scaled():
    made, old = desired({"timeout": "10m"}), desired()
    todo = plan(made, live(old, replicas=4, ours=False), "u1", {})
    assert todo.workload is not None
    assert "replicas" not in todo.workload.manifest["spec"]
    assert "resourceVersion" not in todo.workload.manifest["metadata"]


def test_fixed_replicas_are_put_back():
    made = desired({"scaling": {"enabled": False}})
    todo = plan(made, live(made, replicas=3, ours=False), "u1", {})
    assert todo.workload is not None
    assert todo.workload.manifest["spec"]["replicas"] == 1


def test_keda_objects_go_when_scaling_is_switched_off():
    todo = plan(desired({"scaling": {"enabled": False}}), live(desired(), replicas=1), "u1", {})
    assert [child.kind for child in todo.remove] == ["ScaledObject", "TriggerAuthentication"]


def test_drift_is_repaired_and_named():
    made = desired()
    held = lived(made.workload, replicas=0)
    held["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 5
    todo = plan(made, live(made) | {"Deployment": cut_child(held, "Deployment")}, "u1", {})
    assert todo.workload is not None
    assert todo.workload.why is Why.DRIFTED
    assert todo.workload.paths == ("spec.template.spec.terminationGracePeriodSeconds",)


def test_what_somebody_insists_on_is_not_written_again():
    made = desired()
    held = lived(made.workload, replicas=0)
    held["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 5
    accepted = {"Deployment": {"spec.template.spec.terminationGracePeriodSeconds"}}
    assert plan(made, live(made) | {"Deployment": cut_child(held, "Deployment")}, "u1", accepted).is_empty


def test_what_others_add_is_no_difference():
    made = desired()
    held = lived(made.workload, replicas=0)
    held["spec"]["template"]["spec"]["containers"].append({"name": "istio-proxy"})
    held["spec"]["template"]["spec"]["dnsPolicy"] = "ClusterFirst"
    held["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "3"
    assert plan(made, live(made) | {"Deployment": cut_child(held, "Deployment")}, "u1", {}).is_empty


def test_foreign_objects_are_left_alone():
    made = desired()
    todo = plan(made, live(made), "another", {})
    assert todo.foreign == ("Deployment", "ScaledObject", "TriggerAuthentication")
    assert todo.is_empty


def test_a_change_of_the_operator_is_told_from_the_users():
    old = desired()
    newer = desired(sidecar={"image": "asya/sidecar:0.2.0"})
    user = desired({"timeout": "10m"})
    for made, restarts in ((newer, True), (user, False)):
        todo = plan(made, live(old), "u1", {})
        assert todo.workload is not None
        assert todo.workload.restarts_pods is restarts


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("0.5Gi", "512Mi", True),
        ("1", "1000m", True),
        (1, "1", True),
        ("1e3", "1k", True),
        ("1Gi", "1G", False),
        ("100m", "0.1", True),
        ("1Ei", "1152921504606846976", True),
    ],
)
def test_quantities_are_compared_as_numbers(one, other, same):
    assert (quantity(one) == quantity(other)) is same
    assert (not list(differences({"resources": {"limits": {"memory": one}}}, {"resources": {"limits": {"memory": other}}}))) is same


@pytest.mark.parametrize("value", [None, True, "", "x", "1x", {}, "1 Gi"])
def test_what_is_no_quantity_is_none(value):
    assert quantity(value) is None


@pytest.mark.parametrize(
    ("wanted", "found", "paths"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, []),
        ({"a": {"b": 1}}, {"a": 1}, ["a"]),
        ({"a": {}}, {}, []),
        ({"a": ""}, {}, []),
        ({"a": False}, {}, []),
        ({"a": True}, {}, ["a"]),
        ({"a": []}, {}, []),
        ({"a": [1, 2]}, {"a": [1, 2]}, []),
        ({"a": [1, 2]}, {"a": [1]}, ["a"]),
        ({"a": [1, 2]}, {"a": [1, 3]}, ["a[1]"]),
        ({"a": [1]}, {}, ["a"]),
        ({"a": [{"name": "x", "v": 1}]}, {"a": [{"name": "y"}, {"name": "x", "v": 1}]}, []),
        ({"a": [{"name": "x", "v": 1}]}, {"a": [{"name": "x", "v": 2}]}, ["a[x].v"]),
        ({"a": [{"name": "x"}]}, {"a": [{"name": "y"}]}, ["a[x]"]),
    ],
)
def test_differences_are_paths_that_lack_something(wanted, found, paths):
    assert list(differences(wanted, found)) == paths
