"""F22 of the fault experiments: what SQS does to its callers, done to real sidecars. F21 is in python/crew/tests/process/test_s3.py."""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.faults.harness import ActorSpec
from tests.faults.harness_sqs import SqsMesh, Trouble
from tests.sqs_front import Forward, Front, Json, Reply, error
from tests.sqs_servers import endpoint

pytestmark = [pytest.mark.timeout(240), pytest.mark.sqs]
COUNT = int(os.environ.get("FAULTS_SQS_COUNT", "300"))
"""Envelopes; the experiment's full size is 1,000."""

MakeMesh = Callable[..., SqsMesh]


@pytest.fixture
def make_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeMesh]:
    where = endpoint("sqs")
    front = Front(where)
    made: list[SqsMesh] = []

    def make(*actors: ActorSpec, visibility_seconds: int) -> SqsMesh:
        mesh = SqsMesh(where, front, tmp_path_factory.mktemp("m"), actors, visibility_seconds=visibility_seconds)
        made.append(mesh)
        return mesh

    yield make
    for mesh in made:
        mesh.stop()
    front.close()


@pytest.mark.behaviour("sqs:faults")
def test_f22_failures_throttling_and_duplicates_lose_nothing_and_double_only_what_was_doubled(make_mesh: MakeMesh) -> None:
    # So long that no message of a slow machine comes again by itself.
    mesh = make_mesh(*(ActorSpec(name=name, handler="passes") for name in "abc"), visibility_seconds=60)
    trouble = Trouble(mesh.front, seed=7)
    mesh.front.rule = trouble
    mesh.start()
    mesh.publish(COUNT)

    verdict = mesh.run_until_done(seconds=200)

    verdict.assert_all()
    assert not verdict.errors
    assert verdict.duplicates <= trouble.injected["duplicates"]
    kinds = {"throttled", "500", "dropped", "unheard", "no queue", "failed entries", "duplicates"}
    assert {kind for kind in kinds if not trouble.injected[kind]} == set()


@pytest.mark.behaviour("sqs:renewed")
def test_f22_handler_that_outlasts_the_visibility_timeout_runs_once_though_most_renewals_fail(make_mesh: MakeMesh) -> None:
    mesh = make_mesh(ActorSpec(name="a", handler="takes_a_moment", replicas=2), visibility_seconds=3)
    renewals = 0

    async def most_fail(action: str, asked: Json, forward: Forward) -> Reply:
        nonlocal renewals
        if action == "ChangeMessageVisibilityBatch":
            renewals += 1
            match renewals % 3:
                case 1:
                    return error(500, "InternalError")
                case 2:
                    return error(400, "RequestThrottled")
        return await forward(asked)

    mesh.front.rule = most_fail
    mesh.start()
    mesh.publish(1, lambda n: {"ms": 10_000})

    verdict = mesh.run_until_done()

    verdict.assert_all()
    assert verdict.duplicates == 0
    assert mesh.runs() == {("a", 0): 1}
    assert renewals >= 9
