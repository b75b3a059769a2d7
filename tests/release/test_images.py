"""OCI archives: descriptions agree with bytes. Contents: what upper layers hide is gone."""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from ci.release.contents import Package, of_image, parse_metadata
from ci.release.images import described
from tests.release.conftest import METADATA, SITE, STATUS, VERSION, archive, layer


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {member.name: stream.read() for member in tar if (stream := tar.extractfile(member)) is not None}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_every_blob_of_an_archive_is_what_its_digest_says_and_layers_unpack_to_those_built(tmp_path: Path) -> None:
    built = archive(tmp_path, "crew", [{"a": "1"}, {"b": "2"}])
    image = described("crew", built, tmp_path / "kept")
    held = members(image.archive)
    blobs = {name.removeprefix("blobs/sha256/"): content for name, content in held.items() if name.startswith("blobs/")}
    assert {name: sha256(content) for name, content in blobs.items()} == {name: name for name in blobs}

    (entry,) = json.loads(held["index.json"])["manifests"]
    assert entry["digest"] == image.digest
    assert entry["annotations"]["io.containerd.image.name"] == f"docker.io/asya/crew:{VERSION}"
    manifest: dict[str, Any] = json.loads(blobs[image.digest.removeprefix("sha256:")])
    config = json.loads(blobs[manifest["config"]["digest"].removeprefix("sha256:")])
    layers = [blobs[each["digest"].removeprefix("sha256:")] for each in manifest["layers"]]
    assert [len(each) for each in layers] == [each["size"] for each in manifest["layers"]]
    assert [f"sha256:{sha256(gzip.decompress(each))}" for each in layers] == config["rootfs"]["diff_ids"]
    assert (image.repository, image.tag) == ("asya/crew", VERSION)


def test_an_unchanged_image_keeps_its_digest_and_a_changed_one_gets_another(tmp_path: Path) -> None:
    digests = []
    for folder, text in (("one", "1"), ("two", "1"), ("three", "2")):
        (tmp_path / folder).mkdir()
        digests.append(described("crew", archive(tmp_path / folder, "crew", [{"a": text}]), tmp_path / folder / "kept").digest)
    assert digests[0] == digests[1] != digests[2]


def test_packages_that_an_upper_layer_removes_or_replaces_are_gone() -> None:
    def pip(name: str, version: str) -> tuple[str, str]:
        return f"{SITE}/{name}-{version}.dist-info/METADATA", METADATA.format(name=name, version=version)

    lower = layer({"var/lib/dpkg/status": STATUS, **dict([pip("One", "1"), pip("two", "1"), pip("three", "1")])})
    upper = layer({f"{SITE}/.wh.two-1.dist-info": "", **dict([pip("four_x", "1")])})
    top = layer({"opt/other/.wh..wh..opq": "", f"{SITE}/three-1.dist-info/.wh.METADATA": ""})
    names = [(package.kind, package.name) for package in of_image([io.BytesIO(each) for each in (lower, upper, top)])]
    assert names == [("deb", "libc6"), ("pypi", "four-x"), ("pypi", "one")]


def test_a_licence_text_is_no_name_of_a_licence() -> None:
    assert parse_metadata("Name: a\nVersion: 1\nLicense: UNKNOWN\n\n") == Package(kind="pypi", name="a", version="1")
    assert parse_metadata("Name: a\nVersion: 1\nLicense: A long\n  text\n\n").licence == ""
    assert parse_metadata("Name: a\nVersion: 1\nLicense: BSD\n\n").licence == "BSD"
