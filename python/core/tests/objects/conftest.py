"""Object stores under test: a folder, and a bucket of the server that `ci/services.sh start s3` starts."""

import functools
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import botocore.loaders
import pytest

from asya_core.objects import ObjectStore, S3Access, open_store, parse_location
from asya_core.objects.directory import DirectoryStore

REGION = "us-east-1"


@pytest.fixture(scope="session", autouse=True)
def models_read_once() -> Iterator[None]:
    """boto3 reads and parses its models of a service once per session of its own; these tests make two hundred, 0.1 s each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", functools.cache(botocore.loaders.create_loader))
        yield


@dataclass(frozen=True, kw_only=True)
class DirectoryHarness:
    """A folder of this case alone."""

    folder: Path
    endpoint: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"file://{self.folder}"

    def store(self) -> ObjectStore:
        return open_store(parse_location(self.address))

    def broken(self) -> Mapping[str, ObjectStore]:
        return {"no_such_storage": DirectoryStore(self.folder / "absent")}


@dataclass(frozen=True, kw_only=True)
class S3Harness:
    """A bucket of this case alone."""

    bucket: str
    endpoint: str
    environment: Mapping[str, str]

    @property
    def address(self) -> str:
        return f"s3://{self.bucket}/some/prefix"

    @property
    def access(self) -> S3Access:
        return S3Access(region=REGION, endpoint=self.endpoint, path_style=True)

    def store(self) -> ObjectStore:
        return open_store(parse_location(self.address), self.access)

    def broken(self) -> Mapping[str, ObjectStore]:
        nobody = S3Access(region=REGION, endpoint="http://127.0.0.1:1", path_style=True, tries=1)
        return {
            "no_such_storage": open_store(parse_location(f"s3://{self.bucket}-absent"), self.access),
            "storage_unavailable": open_store(parse_location(self.address), nobody),
        }


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """The server of `ci/services.sh start s3`.

    Attributes:
        endpoint: its address.
        program: what runs it.
        credentials: variables of boto3.
    """

    endpoint: str
    program: str
    credentials: Mapping[str, str]

    def client(self) -> Any:
        import boto3

        return boto3.session.Session().client("s3", endpoint_url=self.endpoint, region_name=REGION)


@pytest.fixture
def s3_server(monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, with this process's credentials set for it. Missing is a skip on a laptop, a failure where CI is set."""
    endpoint = os.environ.get("ASYA_TEST_S3_ENDPOINT")
    if endpoint is None:
        message = "no S3 server: ci/services.sh start s3; eval $(ci/services.sh env)"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    credentials = {
        "AWS_ACCESS_KEY_ID": os.environ["ASYA_TEST_S3_ACCESS_KEY"],
        "AWS_SECRET_ACCESS_KEY": os.environ["ASYA_TEST_S3_SECRET_KEY"],
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)
    return S3Server(endpoint=endpoint, program=os.environ["ASYA_TEST_S3_SERVER"], credentials=credentials)


@pytest.fixture
def bucket(s3_server: S3Server) -> Iterator[str]:
    """An empty bucket, removed at the end."""
    name = f"t-{uuid.uuid4().hex[:12]}"
    client = s3_server.client()
    client.create_bucket(Bucket=name)
    yield name
    while keys := [{"Key": each["Key"]} for each in client.list_objects_v2(Bucket=name).get("Contents", ())]:
        client.delete_objects(Bucket=name, Delete={"Objects": keys})
    client.delete_bucket(Bucket=name)
    client.close()


@pytest.fixture
def directory_harness(tmp_path: Path) -> DirectoryHarness:
    folder = tmp_path / "objects"
    folder.mkdir()
    return DirectoryHarness(folder=folder)


@pytest.fixture
def s3_harness(s3_server: S3Server, bucket: str) -> S3Harness:
    return S3Harness(bucket=bucket, endpoint=s3_server.endpoint, environment=s3_server.credentials)


Call = Callable[[], object]
