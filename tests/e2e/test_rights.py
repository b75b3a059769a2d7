"""The whole tier, seen from the API server: what the chart grants is what was used, nothing was refused, and actors never call it."""

import os

import pytest

from tests.e2e.audit import Audit
from tests.e2e.conftest import ACCOUNT, SYSTEM
from tests.e2e.kube import Kube

pytestmark = [pytest.mark.timeout(900), pytest.mark.alone, pytest.mark.behaviour("operator:exact-rights")]

COMPLETE = pytest.mark.skipif(not os.environ.get("ASYA_E2E_COMPLETE"), reason="only after all stories: make test-cluster")
RIGHTS = "/apis/rbac.authorization.k8s.io/v1"
Right = tuple[str, str, str]
UNUSED: dict[Right, str] = {
    ("asya.sh", "asyncactors/finalizers", "update"): "asked for by OwnerReferencesPermissionEnforcement, which this API server has not on",
    ("asya.sh", "asyncactors", "get"): "list and watch give the same objects, so it grants nothing more; a later operator may read one",
}
"""Granted rights that no story needs, with the reason: (group, resource, verb)."""


def granted(kube: Kube) -> set[Right]:
    roles = [
        kube.get(f"{RIGHTS}/clusterroles/asya-operator"),
        kube.get(f"{RIGHTS}/namespaces/{SYSTEM}/roles/asya-operator-lease"),
    ]
    return {
        (group, resource, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@COMPLETE
@pytest.mark.whole_tier(first=True)
def test_operator_was_refused_nothing_by_the_stories_side_by_side(operator: str, audit: Audit) -> None:
    calls = audit.calls(account=ACCOUNT)
    assert calls != []
    assert {call.right for call in calls if call.is_forbidden} == set()


@COMPLETE
@pytest.mark.whole_tier
@pytest.mark.point(51)
def test_rights_used_are_the_rights_granted(kube: Kube, operator: str, audit: Audit) -> None:
    calls = audit.calls(account=ACCOUNT)
    # Whoever uninstalls it or narrows its scope takes rights from one that still runs: refused, but never anything that no role names.
    asked = {(call.group, call.resource, verb) for call in calls for verb in call.verbs() if call.verb}
    rights = granted(kube)
    assert asked - rights == set()
    used = {(call.group, call.resource, verb) for call in calls for verb in call.verbs() if not call.is_forbidden}
    assert rights - used == set(UNUSED)


@pytest.mark.whole_tier
def test_no_account_of_an_actor_ever_called_the_api_server(audit: Audit) -> None:
    others = {call for call in audit.calls() if call.account.startswith("e2e-")}
    # The gateway reads the keys that service-account tokens are signed with, if its internal port asks for such tokens.
    assert {(call.account, call.resource) for call in others if not call.resource.startswith(("/openid/", "/.well-known/"))} == set()
