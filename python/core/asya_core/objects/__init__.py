"""Objects: bytes kept by key, for results, error records and large payloads."""

from asya_core.objects.base import ObjectInfo, ObjectStore
from asya_core.objects.location import DirectoryLocation, Location, S3Access, S3Location, open_store, parse_location

__all__ = ["DirectoryLocation", "Location", "ObjectInfo", "ObjectStore", "S3Access", "S3Location", "open_store", "parse_location"]
