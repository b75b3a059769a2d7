"""Addresses of object stores."""

from pathlib import Path

import pytest

from asya_core.objects import DirectoryLocation, S3Location, parse_location
from asya_core.wire.errors import RemoteFault


@pytest.mark.parametrize(
    ("address", "location"),
    [
        ("s3://bucket", S3Location(bucket="bucket")),
        ("s3://bucket/", S3Location(bucket="bucket")),
        ("s3://my.bucket-1/a/b/", S3Location(bucket="my.bucket-1", prefix="a/b")),
        ("file:///results", DirectoryLocation(path=Path("/results"))),
        ("file:///", DirectoryLocation(path=Path("/"))),
    ],
)
def test_an_address_is_read(address: str, location: object) -> None:
    assert parse_location(address) == location


@pytest.mark.parametrize(
    "address",
    [
        "", "results", "/results", "s3:/bucket", "s3://", "s3:///prefix", "s3://Bucket", "s3://ab", "s3://" + "a" * 64, "s3://-bucket", "S3://bucket",
        "s3://key:secret@bucket/x", "s3://bucket/a//b", "s3://bucket/../x", "s3://bucket/a b", "s3://bucket?x=1", "s3://bucket/ü", "gs://bucket",
        "https://bucket.s3.amazonaws.com", "file://results", "file://host/results", "file:///a?b", "file:///a b", "file:///a\0b",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_in_one_sentence(address: str) -> None:
    with pytest.raises(RemoteFault, match=r"expected s3://bucket/prefix or file:///folder") as told:
        parse_location(address)

    assert "\n" not in str(told.value)


@pytest.mark.parametrize("address", ["s3://bucket", "s3://bucket/a/b", "file:///results"])
def test_a_location_prints_as_its_address(address: str) -> None:
    assert str(parse_location(address)) == address
