"""What an end actor can be told: the settings ``ASYA_CREW_*``. Read once, when the runtime asks for the handler."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from asya_core.objects.location import Location, S3Access, parse_location
from asya_core.ops.settings import Kind, choice, integer, read_settings, setting, text, url
from asya_core.wire.errors import RemoteFault

__all__ = ["CrewSettings", "read_crew_settings", "s3_access"]

_PREFIX: Final = "ASYA_CREW_"


def _read_location(given: str) -> Location:
    try:
        return parse_location(given)
    except RemoteFault as fault:
        raise ValueError(given) from fault


def _location() -> Kind:
    return Kind(name="address", expected="s3://bucket/prefix or file:///folder", parse=_read_location)


@dataclass(frozen=True, slots=True, kw_only=True)
class CrewSettings:
    """All settings of an end actor's handler. The table of docs/reference/results.md is made from it."""

    storage_url: Location = setting(  # noqa: RUF009  # a Location is frozen
        "ASYA_CREW_STORAGE_URL",
        _location(),
        "Where records are kept: `s3://bucket/prefix`, or `file:///folder`, a mounted volume. Bucket or folder must exist.",
        required=True,
    )
    s3_region: str | None = setting(
        "ASYA_CREW_S3_REGION", text(), "The bucket's region; absent: `AWS_REGION`, else what boto3 finds in its own settings."
    )
    s3_endpoint: str | None = setting(
        "ASYA_CREW_S3_ENDPOINT", url("http", "https"), "Address of an S3-compatible storage; absent: AWS, or `AWS_ENDPOINT_URL_S3`."
    )
    s3_path_style: str = setting(
        "ASYA_CREW_S3_PATH_STYLE",
        choice("true", "false"),
        "`true` puts the bucket into the path and not into the host name; most storages that are not AWS's need it.",
        default="false",
    )
    s3_tries: int = setting(
        "ASYA_CREW_S3_TRIES",
        integer(1, 10),
        "Tries of one call to the storage before the envelope is put back to be delivered again later.",
        default="3",
    )


def read_crew_settings(environment: Mapping[str, str]) -> CrewSettings:
    """The settings. Raises RemoteFault ``bad_setting`` with one sentence.

    Only ``ASYA_CREW_*`` is looked at: the environment is the runtime's, which has settings of its own.
    """
    return read_settings(CrewSettings, {name: value for name, value in environment.items() if name.startswith(_PREFIX)})


def s3_access(settings: CrewSettings, environment: Mapping[str, str]) -> S3Access:
    """How S3 is reached. boto3 does not read ``AWS_REGION``, which pod identity sets, so it is read here."""
    return S3Access(
        region=settings.s3_region or environment.get("AWS_REGION") or None,
        endpoint=settings.s3_endpoint,
        path_style=settings.s3_path_style == "true",
        tries=settings.s3_tries,
    )
