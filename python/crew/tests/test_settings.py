"""The crew's settings."""

from pathlib import Path

import pytest

from asya_core.objects import DirectoryLocation, S3Access, S3Location
from asya_core.wire.errors import RemoteFault
from asya_crew.record import Kind
from asya_crew.settings import read_crew_settings, s3_access
from asya_crew.starting import build


def test_the_runtimes_own_variables_are_passed_over() -> None:
    settings = read_crew_settings(
        {"ASYA_CREW_STORAGE_URL": "file:///results", "ASYA_HANDLER": "asya_crew.happy_end.store", "ASYA_SOKET": "x"}
    )

    assert settings.storage_url == DirectoryLocation(path=Path("/results"))


def test_s3_is_reached_as_told() -> None:
    environment = {
        "ASYA_CREW_STORAGE_URL": "s3://bucket/prefix",
        "ASYA_CREW_S3_REGION": "eu-central-1",
        "ASYA_CREW_S3_ENDPOINT": "http://storage:9000/",
        "ASYA_CREW_S3_PATH_STYLE": "true",
        "AWS_REGION": "us-west-2",
    }
    settings = read_crew_settings(environment)

    assert settings.storage_url == S3Location(bucket="bucket", prefix="prefix")
    assert s3_access(settings, environment) == S3Access(region="eu-central-1", endpoint="http://storage:9000", path_style=True, tries=3)


def test_the_region_of_pod_identity_is_taken() -> None:
    environment = {"ASYA_CREW_STORAGE_URL": "s3://bucket", "AWS_REGION": "us-west-2"}

    assert s3_access(read_crew_settings(environment), environment).region == "us-west-2"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("ASYA_CREW_STORAGE_URL", "bucket", "ASYA_CREW_STORAGE_URL is 'bucket'; expected s3://bucket/prefix or file:///folder"),
        ("ASYA_CREW_S3_ENDPOINT", "http://user:secret@storage", "ASYA_CREW_S3_ENDPOINT is"),
        ("ASYA_CREW_S3_PATH_STYLE", "True", "expected true or false"),
        ("ASYA_CREW_S3_TRIES", "0", "expected a whole number from 1 to 10"),
        ("ASYA_CREW_STORAGE", "x", "did you mean ASYA_CREW_STORAGE_URL?"),
    ],
)
def test_a_bad_setting_is_one_sentence(name: str, value: str, sentence: str) -> None:
    with pytest.raises(RemoteFault) as told:
        read_crew_settings({"ASYA_CREW_STORAGE_URL": "file:///results", name: value})

    assert sentence in str(told.value)
    assert "\n" not in str(told.value)


def test_a_missing_folder_is_refused_at_start(tmp_path: Path) -> None:
    with pytest.raises(RemoteFault, match="which is no folder here; mount the volume there"):
        build(Kind.RESULT, {"ASYA_CREW_STORAGE_URL": f"file://{tmp_path}/absent"})


def test_a_storage_that_is_away_does_not_keep_the_actor_from_starting() -> None:
    assert build(Kind.RESULT, {"ASYA_CREW_STORAGE_URL": "s3://bucket", "ASYA_CREW_S3_ENDPOINT": "http://127.0.0.1:1"})
