"""Payloads of any size through two actors and an end: the same bytes come out, and the messages stay small."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from python.core.tests.objects.conftest import REGION, S3Server, bucket, s3_server  # noqa: F401  # fixtures

from asya_core.objects import S3Access, open_store, parse_location

MIB = 1024 * 1024


@pytest.fixture(params=["embedded", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def mesh(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"{request.param}_mesh")


@pytest.fixture
def claims(folder: Path) -> Path:
    claims = folder / "claims"
    claims.mkdir()
    return claims


@pytest.fixture
def with_claims(claims: Path) -> dict[str, str]:
    return {"ASYA_CLAIM_URL": f"file://{claims}", "ASYA_CLAIM_THRESHOLD": "1Mi"}


def envelope(payload: Any, *actors: str, envelope_id: str = "7", **more: Any) -> dict[str, Any]:
    return {"id": envelope_id, "route": {"actors": list(actors), "current": 0}, "payload": payload, **more}


def text(size: int) -> str:
    """A text whose JSON has `size` bytes, as the handler `grow` makes it."""
    block = "".join(f"{number:08x}" for number in range(1001))
    return (block * (size // len(block) + 1))[: size - 2]


def receive(mesh: Any, actor: str) -> Any:
    """As the mesh does, with four times its bound: 20 MiB through six processes takes its time on a busy machine."""
    for _ in range(3):
        with contextlib.suppress(AssertionError):
            return mesh.receive(actor)
    return mesh.receive(actor)


@pytest.mark.behaviour("claims:equal-bytes")
@pytest.mark.parametrize(
    ("transport", "threshold"), [("embedded", MIB), pytest.param("rabbitmq", MIB, marks=pytest.mark.rabbitmq), ("sqs", 200_000)]
)
def test_payloads_of_any_size_come_out_of_three_actors_as_they_went_in(
    request: pytest.FixtureRequest, claims: Path, transport: str, threshold: int
) -> None:
    mesh = request.getfixturevalue(f"{transport}_mesh")
    # SQS has its own default, as it takes no more than 1 MiB at all.
    settings = {"ASYA_CLAIM_URL": f"file://{claims}"} | ({} if transport == "sqs" else {"ASYA_CLAIM_THRESHOLD": str(threshold)})
    mesh.actor("a", "sample.grow", **settings)
    mesh.actor("b", "sample.identity", **settings)
    mesh.actor("c", "sample.identity", **settings)

    for size in (1000, MIB - 1, MIB, MIB + 1, 20 * MIB):
        mesh.send("a", envelope({"size": size}, "a", "b", "c", envelope_id=str(size)))

        ended = receive(mesh, "happy-end")
        kept = sorted(claims.rglob(f"{size}/*"))
        if size < threshold:
            assert (ended["payload"], kept) == (text(size), [])
        else:
            [stored] = kept
            assert len(json.dumps(ended)) < 1000
            assert (ended["asya_claim"]["key"], ended["asya_claim"]["bytes"]) == (f"{size}/{stored.name}", size)
            assert json.loads(stored.read_bytes()) == text(size)


def test_a_large_payload_that_fails_is_kept_for_error_end(mesh: Any, claims: Path, with_claims: dict[str, str]) -> None:
    mesh.actor("a", "sample.grow", **with_claims)
    mesh.actor("b", "sample.fail", **with_claims)

    mesh.send("a", envelope({"size": 2 * MIB}, "a", "b"))

    record = mesh.receive("error-end")
    assert (record["error"]["code"], record["asya_claim"]["bytes"]) == ("handler_error", 2 * MIB)


def test_a_payload_that_was_removed_is_one_record_and_the_next_message_is_served(
    mesh: Any, claims: Path, with_claims: dict[str, str]
) -> None:
    mesh.actor("b", "sample.identity", **with_claims)
    claim = {"key": "7/0-" + "0" * 16, "bytes": 5, "sha256": "0" * 64}

    mesh.send("b", {**{key: value for key, value in envelope(1, "b").items() if key != "payload"}, "asya_claim": claim})
    mesh.send("b", envelope(2, "b", envelope_id="8"))

    record = mesh.receive("error-end")
    assert (record["error"]["code"], record["payload"]) == ("claim_invalid", {"asya_claim": claim})
    assert mesh.receive("happy-end")["payload"] == 2


def test_a_storage_that_is_away_for_a_moment_loses_nothing(mesh: Any, claims: Path, with_claims: dict[str, str]) -> None:
    away = claims.with_name("away")
    claims.rename(away)
    actor = mesh.actor("a", "sample.grow", **with_claims)

    mesh.send("a", envelope({"size": MIB}, "a"))
    actor.sidecar.event("claim storage away")
    away.rename(claims)

    assert mesh.receive("happy-end")["asya_claim"]["bytes"] == MIB


def test_an_s3_bucket_keeps_large_payloads(embedded_mesh: Any, s3_server: S3Server, bucket: str) -> None:  # noqa: F811
    settings = {
        "ASYA_CLAIM_URL": f"s3://{bucket}/claims",
        "ASYA_CLAIM_THRESHOLD": "100k",
        "ASYA_CLAIM_REGION": REGION,
        "ASYA_CLAIM_ENDPOINT": s3_server.endpoint,
        **s3_server.credentials,
    }
    embedded_mesh.actor("a", "sample.grow", **settings)
    embedded_mesh.actor("b", "sample.identity", **settings)

    embedded_mesh.send("a", envelope({"size": MIB}, "a", "b"))

    claim = embedded_mesh.receive("happy-end")["asya_claim"]
    objects = open_store(parse_location(f"s3://{bucket}/claims"), S3Access(region=REGION, endpoint=s3_server.endpoint, path_style=True))
    assert [each.key for each in objects.list()] == [claim["key"]]
    assert json.loads(objects.get(claim["key"])) == text(MIB)
