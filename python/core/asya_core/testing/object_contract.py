"""The contract of every object store: cases with one body each, run over all implementations (docs/reference/storage.md lists them).

Run by python/core/tests/objects/test_contract.py with an `ObjectHarness` per implementation. Nothing here asks which implementation it is.
A case raises AssertionError if the contract is broken.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from asya_core.objects.base import ObjectStore
from asya_core.wire.errors import AsyaError

__all__ = ["OBJECT_CASES", "ObjectCase", "ObjectHarness"]

_WRITER: Final = """
import sys
from asya_core.objects import S3Access, open_store, parse_location
address, endpoint = sys.argv[1:]
store = open_store(parse_location(address), S3Access(endpoint=endpoint or None, path_style=True, region="us-east-1"))
for number in range(10_000):
    store.put_if_absent(f"w/{number}", b"%d" % (number % 10) * 300_000)
    print(number, flush=True)
"""
_WAIT_SECONDS: Final = 30


class ObjectHarness(Protocol):
    """One implementation under test, with an empty place of its own for each case."""

    @property
    def address(self) -> str:
        """The place, as `parse_location` reads it."""
        ...

    @property
    def endpoint(self) -> str:
        """The endpoint of an S3-compatible storage, or nothing."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """What another process needs in its environment to reach the place."""
        ...

    def store(self) -> ObjectStore:
        """A new store of the place."""
        ...

    def broken(self) -> Mapping[str, ObjectStore]:
        """Stores that cannot work, by the code of the error that every call must raise."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectCase:
    """One promise of the port.

    Attributes:
        name: the promise, as an identifier.
        body: proves it.
    """

    name: str
    body: Callable[[ObjectHarness], None]


def _raises(code: str, call: Callable[[], object]) -> AsyaError:
    told: object
    try:
        told = call()
    except AsyaError as error:
        told = error
    assert isinstance(told, AsyaError), f"expected {code}, got {told!r}"
    assert told.code == code, f"expected {code}, got {told.code}: {told}"
    return told


def bytes_come_back_as_they_were(harness: ObjectHarness) -> None:
    store = harness.store()
    bodies = [b"", b"\0", bytes(range(256)) * 5, '{"ключ": 1}'.encode(), b"x" * 3_000_000]
    for number, body in enumerate(bodies):
        assert store.put_if_absent(f"results/{number}.json", body) is True
    assert [store.get(f"results/{number}.json") for number in range(len(bodies))] == bodies


def first_writer_stands(harness: ObjectHarness) -> None:
    store = harness.store()
    assert store.put_if_absent("a", b"first") is True
    assert store.put_if_absent("a", b"second, longer") is False
    assert store.put_if_absent("a", b"first") is False
    assert harness.store().put_if_absent("a", b"third") is False
    assert store.get("a") == b"first"


def one_of_many_writers_wins(harness: ObjectHarness) -> None:
    stores = [harness.store() for _ in range(8)]
    for round_number in range(5):
        key = f"race/{round_number}"
        bodies = [b"%d" % index * 100_000 for index in range(8)]
        with ThreadPoolExecutor(8) as threads:
            won = list(threads.map(lambda store, body, key=key: store.put_if_absent(key, body), stores, bodies))
        assert sum(won) == 1, won
        assert stores[0].get(key) == bodies[won.index(True)]


def threads_share_a_store(harness: ObjectHarness) -> None:
    store = harness.store()
    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(lambda number: store.put_if_absent(f"t/{number:03}", b"%d" % number), range(100)))
        assert list(threads.map(lambda number: store.get(f"t/{number:03}"), range(100))) == [b"%d" % number for number in range(100)]


def missing_object_is_told_as_such(harness: ObjectHarness) -> None:
    store = harness.store()
    store.put_if_absent("results/a.json", b"1")
    for key in ("b", "results/b.json", "no/such/folder/b", "results/a.json.", "results"):
        assert store.exists(key) is False, key
        assert key in _raises("no_such_object", lambda key=key: store.get(key)).message  # type: ignore[misc]
    assert store.exists("results/a.json") is True


def limit_is_kept_to_the_byte(harness: ObjectHarness) -> None:
    store = harness.store()
    store.put_if_absent("a", b"12345")
    assert store.get("a", limit_bytes=5) == b"12345"
    assert "5 bytes" in _raises("object_too_large", lambda: store.get("a", limit_bytes=4)).message


def listing_is_sorted_and_whole(harness: ObjectHarness) -> None:
    store = harness.store()
    before = datetime.now(UTC) - timedelta(minutes=5)
    keys = [f"results/{number:04}.json" for number in range(25)] + ["errors/0001.json", "resultsx", "results.json"]
    for key in keys:
        store.put_if_absent(key, key.encode())
    found = store.list("results/")
    assert [each.key for each in found] == sorted(key for key in keys if key.startswith("results/"))
    assert {each.bytes for each in found} == {len("results/0000.json")}
    assert all(before < each.modified < datetime.now(UTC) + timedelta(minutes=5) for each in found)
    assert [each.key for each in store.list()] == sorted(keys)
    assert [each.key for each in store.list("results")] == sorted(key for key in keys if key.startswith("results"))
    pages: list[str] = []
    while page := store.list("results/", after=pages[-1] if pages else "", limit=10):
        assert len(page) == min(10, 25 - len(pages))
        pages += [each.key for each in page]
    assert pages == [each.key for each in found]


def listing_of_nothing_is_empty(harness: ObjectHarness) -> None:
    store = harness.store()
    assert store.list() == store.list("results/") == []
    store.put_if_absent("a", b"1")
    assert store.list("b") == store.list("a", after="a") == []


def every_envelope_id_has_an_object_of_its_own(harness: ObjectHarness) -> None:
    store = harness.store()
    ids = [".", "..", "...", "-", ":", "a:b", "h:0.1.2", "a.json", "A" * 128, "." * 128, "01J8Z3M4N5P6Q7R8S9T0V1W2X3.0.11"]
    for number, envelope_id in enumerate(ids):
        assert store.put_if_absent(f"results/{envelope_id}.json", b"%d" % number) is True, envelope_id
    assert [store.get(f"results/{envelope_id}.json") for envelope_id in ids] == [b"%d" % number for number in range(len(ids))]
    assert len(store.list("results/")) == len(ids)


def illegal_keys_are_refused_before_anything_is_touched(harness: ObjectHarness) -> None:
    store = harness.store()
    for key in (
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "../a",
        "a/../b",
        "a/./b",
        "~a",
        "a b",
        "a\0b",
        "a\nb",
        "ä",
        "a\\b",
        "%2e",
        "a" * 256,
        "a/" * 512 + "a",
    ):
        for call in (lambda: store.put_if_absent(key, b"1"), lambda: store.get(key), lambda: store.exists(key)):  # noqa: B023
            _raises("bad_key", call)
    for prefix in ("../", "/", "a//", "~"):
        _raises("bad_key", lambda: store.list(prefix))  # noqa: B023
    assert store.list() == []


def others_see_an_object_at_once(harness: ObjectHarness) -> None:
    one, other = harness.store(), harness.store()
    assert other.exists("a") is False
    one.put_if_absent("a", b"1")
    assert (other.exists("a"), other.get("a"), [each.key for each in other.list()]) == (True, b"1", ["a"])


def a_killed_writer_leaves_whole_objects(harness: ObjectHarness) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, harness.address, harness.endpoint],
        stdout=subprocess.PIPE,
        env={**os.environ, **harness.environment},
        text=True,
    )
    assert writer.stdout is not None
    with writer, writer.stdout:
        told = [int(writer.stdout.readline()) for _ in range(20)]
        writer.kill()
        told += [int(line) for line in writer.stdout.read().split()]
        writer.wait(_WAIT_SECONDS)
    store = harness.store()
    found = store.list("w/")
    assert {each.bytes for each in found} == {300_000}
    assert {f"w/{number}" for number in told} <= {each.key for each in found}
    number = max(told) + 1
    assert store.put_if_absent(f"w/{number}", b"%d" % (number % 10) * 300_000) in (True, False)
    assert store.get(f"w/{number}") == b"%d" % (number % 10) * 300_000


def what_cannot_work_says_so_in_one_sentence(harness: ObjectHarness) -> None:
    for code, store in harness.broken().items():
        for call in (
            lambda: store.put_if_absent("results/a.json", b"1"),  # noqa: B023
            lambda: store.get("results/a.json"),  # noqa: B023
            lambda: store.exists("results/a.json"),  # noqa: B023
            lambda: store.list("results/"),  # noqa: B023
        ):
            error = _raises(code, call)
            assert "\n" not in error.message
            assert error.hint
        store.close()


def closing_twice_is_closing(harness: ObjectHarness) -> None:
    store = harness.store()
    store.put_if_absent("a", b"1")
    store.close()
    store.close()
    other = harness.store()
    other.close()


OBJECT_CASES: Final = tuple(
    ObjectCase(name=body.__name__, body=body)
    for body in (
        bytes_come_back_as_they_were,
        first_writer_stands,
        one_of_many_writers_wins,
        threads_share_a_store,
        missing_object_is_told_as_such,
        limit_is_kept_to_the_byte,
        listing_is_sorted_and_whole,
        listing_of_nothing_is_empty,
        every_envelope_id_has_an_object_of_its_own,
        illegal_keys_are_refused_before_anything_is_touched,
        others_see_an_object_at_once,
        a_killed_writer_leaves_whole_objects,
        what_cannot_work_says_so_in_one_sentence,
        closing_twice_is_closing,
    )
)
