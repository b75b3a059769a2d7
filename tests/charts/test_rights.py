"""E. Rights of the operator."""

from pathlib import Path
from typing import Any

import pytest

from tests.charts import yamls
from tests.charts.render import MINIMAL, Rendered, ci_files, render

GOLDEN = Path(__file__).with_name("golden")
RIGHTS = ("Role", "ClusterRole")
FILES = ci_files("asya-operator")


def rules(rendered: Rendered) -> list[dict[str, Any]]:
    return [rule for kind in RIGHTS for item in rendered.of(kind) for rule in item["rules"]]


def by_name(rendered: Rendered) -> dict[str, Any]:
    return {
        "/".join([item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]]): item["rules"]
        for kind in RIGHTS
        for item in rendered.of(kind)
    }


@pytest.mark.point(47)
@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_no_right_is_a_wildcard_or_leads_to_more_rights(file: Path) -> None:
    rendered = render("asya-operator", [file])
    for rule in rules(rendered):
        words = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        assert "*" not in words
        assert not {"escalate", "bind", "impersonate"} & set(words)
        assert not {"roles", "clusterroles", "rolebindings", "clusterrolebindings", "serviceaccounts", "serviceaccounts/token"} & set(words)
    for kind in ("RoleBinding", "ClusterRoleBinding"):
        for item in rendered.of(kind):
            assert item["roleRef"]["name"].startswith("asya-operator")


@pytest.mark.point(48)
@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_no_right_reaches_secrets(file: Path) -> None:
    for rule in rules(render("asya-operator", [file])):
        assert not {"secrets", "nodes", "pods/exec", "services", "replicasets", "customresourcedefinitions"} & set(rule["resources"])


@pytest.mark.point(48)
@pytest.mark.parametrize("scope", ["cluster", "namespaces"])
def test_rights_are_the_recorded_ones(scope: str) -> None:
    file = FILES[0] if scope == "cluster" else FILES[1]
    assert yamls.read((GOLDEN / f"rights-{scope}.yaml").read_text()) == by_name(render("asya-operator", [file]))


@pytest.mark.point(49)
def test_namespaced_scope_has_roles_in_exactly_the_named_namespaces(engine: str) -> None:
    document = {"watch": {"scope": "namespace", "namespaces": {"team-a": True, "team-b": True, "old": False, "gone": None}}}
    rendered = render("asya-operator", [MINIMAL["asya-operator"], document], engine=engine, namespace="asya-system")
    assert {item["metadata"]["name"] for item in rendered.of("ClusterRole")} == {"asya-operator-view", "asya-operator-edit"}
    assert rendered.of("ClusterRoleBinding") == []
    for kind in ("Role", "RoleBinding"):
        namespaces = [item["metadata"]["namespace"] for item in rendered.of(kind) if item["metadata"]["name"] == "asya-operator"]
        assert namespaces == ["team-a", "team-b"]
    whole = render("asya-operator", MINIMAL["asya-operator"], engine=engine).one("ClusterRole", "asya-operator")["rules"]
    assert all(item["rules"] == whole for item in rendered.of("Role") if item["metadata"]["name"] == "asya-operator")


@pytest.mark.point(49)
def test_bindings_name_the_operators_account_in_its_own_namespace() -> None:
    document = {"watch": {"scope": "namespace", "namespaces": {"team-a": True}}}
    rendered = render("asya-operator", [MINIMAL["asya-operator"], document], namespace="asya-system")
    for item in rendered.of("RoleBinding"):
        assert item["subjects"] == [{"kind": "ServiceAccount", "name": "asya-operator", "namespace": "asya-system"}]


@pytest.mark.point(50)
def test_rights_and_account_may_be_made_by_others(engine: str) -> None:
    document = {"rbac": {"create": False}, "serviceAccount": {"create": False, "name": "theirs"}}
    rendered = render("asya-operator", [MINIMAL["asya-operator"], document], engine=engine)
    kinds = {item["kind"] for item in rendered.objects}
    assert not kinds & {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "ServiceAccount"}
    assert rendered.one("Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "theirs"
    assert rendered.one("Pod")["spec"]["serviceAccountName"] == "theirs"


@pytest.mark.point(52)
def test_people_with_view_edit_and_admin_get_actors_unless_switched_off(engine: str) -> None:
    rendered = render("asya-operator", MINIMAL["asya-operator"], engine=engine)
    view, edit = (rendered.one("ClusterRole", f"asya-operator-{name}") for name in ("view", "edit"))
    aggregate = "rbac.authorization.k8s.io/aggregate-to-"
    assert {name for name in view["metadata"]["labels"] if name.startswith(aggregate)} == {f"{aggregate}view"}
    assert {name for name in edit["metadata"]["labels"] if name.startswith(aggregate)} == {f"{aggregate}edit", f"{aggregate}admin"}
    assert all(set(rule["verbs"]) == {"get", "list", "watch"} for rule in view["rules"])
    off = render("asya-operator", [MINIMAL["asya-operator"], {"rbac": {"aggregate": False}}], engine=engine)
    assert [item["metadata"]["name"] for item in off.of("ClusterRole")] == ["asya-operator"]
