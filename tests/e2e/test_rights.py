"""The whole tier, seen from the API server: what the chart grants is what was used, nothing was refused, and actors never call it."""

import os

import pytest

from tests.e2e.audit import Audit
from tests.e2e.conftest import ACCOUNT, SYSTEM
from tests.e2e.kube import Kube

pytestmark = [pytest.mark.timeout(900), pytest.mark.alone, pytest.mark.whole_tier, pytest.mark.behaviour("operator:exact-rights")]

RIGHTS = "/apis/rbac.authorization.k8s.io/v1"
Right = tuple[str, str, str]
UNUSED: dict[Right, str] = {
    ("asya.sh", "asyncactors/finalizers", "update"): "asked for by OwnerReferencesPermissionEnforcement, which this API server has not on",
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


def test_operator_was_refused_nothing_for_want_of_a_right(operator: str, audit: Audit) -> None:
    calls = audit.calls(account=ACCOUNT)
    assert calls != []
    assert {(call.group, call.resource, call.verb) for call in calls if call.is_forbidden} == set()


@pytest.mark.point(51)
@pytest.mark.skipif(not os.environ.get("ASYA_E2E_COMPLETE"), reason="only after all stories: make test-cluster")
def test_rights_used_are_the_rights_granted(kube: Kube, operator: str, audit: Audit) -> None:
    calls = audit.calls(account=ACCOUNT)
    used = {(call.group, call.resource, verb) for call in calls for verb in call.verbs() if call.code < 400}
    rights = granted(kube)
    assert used - rights - PUBLIC == set()
    assert rights - used == set(UNUSED)


PUBLIC: set[Right] = set()
"""What every account may do, such as reading /apis."""


def test_no_account_of_an_actor_ever_called_the_api_server(audit: Audit) -> None:
    others = {call for call in audit.calls() if call.account.startswith("e2e-")}
    # The gateway reads the keys that service-account tokens are signed with, if its internal port asks for such tokens.
    assert {(call.account, call.resource) for call in others if not call.resource.startswith(("/openid/", "/.well-known/"))} == set()
