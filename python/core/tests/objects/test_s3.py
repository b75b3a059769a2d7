"""The S3 store against a real server, behind a proxy that loses, delays, refuses and hurts requests."""

import base64
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from python.core.tests.objects.conftest import REGION, S3Harness
from python.core.tests.objects.fault_proxy import Fault, FaultProxy

from asya_core.objects import ObjectStore, S3Access, open_store, parse_location
from asya_core.wire.errors import AsyaError, Refused, Unavailable

MakeStore = Callable[..., ObjectStore]


@pytest.fixture
def proxy(s3_harness: S3Harness) -> Iterator[FaultProxy]:
    with FaultProxy(s3_harness.endpoint) as proxy:
        yield proxy


@pytest.fixture
def make(s3_harness: S3Harness, proxy: FaultProxy) -> Iterator[MakeStore]:
    made: list[ObjectStore] = []

    def make(tries: int = 1, read_timeout_seconds: float = 5.0) -> ObjectStore:
        access = S3Access(region=REGION, endpoint=proxy.endpoint, path_style=True, tries=tries, read_timeout_seconds=read_timeout_seconds)
        made.append(open_store(parse_location(s3_harness.address), access))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_put_is_conditional_and_carries_its_hash(make: MakeStore, proxy: FaultProxy) -> None:
    make().put_if_absent("results/a.json", b"{}")

    [request] = proxy.seen
    assert (request.method, request.headers["if-none-match"], request.headers["content-type"]) == ("PUT", "*", "application/json")
    assert request.headers["x-amz-checksum-sha256"] == base64.b64encode(hashlib.sha256(b"{}").digest()).decode()
    assert "asya/" in request.headers["user-agent"]


@pytest.mark.parametrize(
    ("status", "code"), [(503, "SlowDown"), (500, "InternalError"), (429, "TooManyRequests"), (409, "ConditionalRequestConflict")]
)
def test_a_storage_that_cannot_now_is_unavailable_and_nothing_is_stored(make: MakeStore, proxy: FaultProxy, status: int, code: str) -> None:
    proxy.faults.append(Fault(status=status, code=code))
    store = make()

    with pytest.raises(Unavailable, match=f"answered {status} {code}"):
        store.put_if_absent("a", b"1")

    assert store.exists("a") is False


def test_a_blink_of_the_storage_is_bridged(make: MakeStore, proxy: FaultProxy) -> None:
    proxy.faults += [Fault(status=503, code="SlowDown"), Fault(reset=True)]
    store = make(tries=3)

    assert store.put_if_absent("a", b"1") is True
    assert (store.get("a"), len(proxy.seen)) == (b"1", 4)


def test_a_put_whose_answer_was_lost_is_done_at_the_next_try(make: MakeStore, proxy: FaultProxy) -> None:
    proxy.faults.append(Fault(reset=True, after=True))
    store = make(tries=2)

    assert store.put_if_absent("a", b"1") is False
    assert store.get("a") == b"1"


def test_a_put_whose_answer_was_lost_may_be_called_again(make: MakeStore, proxy: FaultProxy) -> None:
    proxy.faults.append(Fault(reset=True, after=True))
    store = make()

    with pytest.raises(Unavailable):
        store.put_if_absent("a", b"1")

    assert store.put_if_absent("a", b"1") is False
    assert store.get("a") == b"1"


def test_a_storage_that_does_not_answer_in_time_is_unavailable(make: MakeStore, proxy: FaultProxy) -> None:
    hold = threading.Event()
    proxy.faults.append(Fault(hold=hold, reset=True))
    store = make(read_timeout_seconds=0.2)

    with pytest.raises(Unavailable, match="Read timeout"):
        store.put_if_absent("a", b"1")
    hold.set()

    assert store.exists("a") is False


def test_bytes_hurt_on_the_way_there_are_not_stored(make: MakeStore, proxy: FaultProxy) -> None:
    proxy.faults.append(Fault(change_request=lambda body: b"X" + body[1:]))
    store = make()

    with pytest.raises(AsyaError):
        store.put_if_absent("a", b"12345")

    assert store.exists("a") is False


def test_bytes_hurt_on_the_way_back_are_not_given(make: MakeStore, proxy: FaultProxy) -> None:
    store = make()
    store.put_if_absent("a", b"12345")
    proxy.faults.append(Fault(change_answer=lambda body: b"X" + body[1:]))

    with pytest.raises(Unavailable, match="checksum"):
        store.get("a")

    assert store.get("a") == b"12345"


def test_a_storage_without_conditional_writes_gets_a_look_and_a_plain_put(make: MakeStore, proxy: FaultProxy) -> None:
    proxy.faults.append(Fault(status=501, code="NotImplemented"))
    store = make()

    assert store.put_if_absent("a", b"1") is True
    assert store.put_if_absent("a", b"2") is False
    assert store.put_if_absent("b", b"3") is True
    assert (store.get("a"), store.get("b")) == (b"1", b"3")
    assert [request.headers.get("if-none-match") for request in proxy.seen if request.method == "PUT"] == ["*", None, None]


REFUSALS = [
    (403, "AccessDenied", "access_denied", "allow s3:PutObject"),
    (403, "InvalidAccessKeyId", "access_denied", "correct the access key"),
    (403, "RequestTimeTooSkewed", "access_denied", "clock"),
    (404, "NoSuchBucket", "no_such_storage", "make the bucket"),
    (400, "AuthorizationHeaderMalformed", "storage_refused", "region"),
    (400, "EntityTooLarge", "storage_refused", "documentation"),
]


@pytest.mark.parametrize(("status", "code", "ours", "hint"), REFUSALS, ids=[code for _, code, _, _ in REFUSALS])
def test_a_refusal_says_what_to_do(make: MakeStore, proxy: FaultProxy, status: int, code: str, ours: str, hint: str) -> None:
    proxy.faults += [Fault(status=status, code=code)] * 9  # boto3 asks for the bucket's region by itself

    with pytest.raises(Refused, match=hint) as told:
        make().put_if_absent("a", b"1")

    assert told.value.code == ours


def test_expired_credentials_are_unavailable_since_they_are_renewed(make: MakeStore, proxy: FaultProxy) -> None:
    proxy.faults.append(Fault(status=400, code="ExpiredToken"))

    with pytest.raises(Unavailable, match="expired"):
        make().put_if_absent("a", b"1")


def test_wrong_credentials_are_read_anew_at_the_next_call(make: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    right = os.environ["AWS_SECRET_ACCESS_KEY"]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    store = make()
    with pytest.raises(Refused) as told:
        store.put_if_absent("a", b"1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", right)

    assert store.put_if_absent("a", b"1") is True
    assert told.value.code == "access_denied"
    assert "wrong-secret" not in str(told.value)


def test_absent_credentials_are_told(make: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")

    with pytest.raises(Refused, match="no credentials were found; set AWS_ACCESS_KEY_ID"):
        make().put_if_absent("a", b"1")


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "http://no-such-host.invalid", "http://[::1", "https://127.0.0.1:1"])
def test_an_endpoint_that_is_not_there_is_unavailable(s3_harness: S3Harness, endpoint: str) -> None:
    access = S3Access(region=REGION, endpoint=endpoint, path_style=True, tries=1, connect_timeout_seconds=0.5)
    store = open_store(parse_location(s3_harness.address), access)

    with pytest.raises(Unavailable, match=s3_harness.bucket):
        store.put_if_absent("a", b"1")


def test_a_plain_server_behind_https_is_a_sentence(s3_harness: S3Harness) -> None:
    access = S3Access(region=REGION, endpoint=s3_harness.endpoint.replace("http", "https"), path_style=True, tries=1)
    store = open_store(parse_location(s3_harness.address), access)

    with pytest.raises(Unavailable, match="TLS failed"):
        store.put_if_absent("a", b"1")


def test_a_folder_needs_no_boto3() -> None:
    script = (
        "import sys; from asya_core.objects import *; open_store(parse_location('file:///tmp')); "
        "sys.exit(1 if {'boto3', 'botocore'} & set(sys.modules) else 0)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
