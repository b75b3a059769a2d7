"""Bills of materials in CycloneDX 1.6, written by the CycloneDX project's own library. Called by `making`.

The same content gives the same bytes: serial numbers are made of it, and the time is the commit's.
"""

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from packaging.requirements import Requirement

from ci.release.contents import Package, parse_metadata, read_archive
from ci.release.images import Image
from ci.release.refusal import Refused

__all__ = ["installed", "of_distribution", "of_image", "write"]

DEVELOPMENT = ("dev", "docs", "release")
"""Extras that no user installs."""


def of_image(image: Image, *, epoch: int) -> Bom:
    """What one image holds, of Debian and of Python."""
    checksum = HashType(alg=HashAlgorithm.SHA_256, content=image.digest.removeprefix("sha256:"))
    purl = PackageURL("oci", None, image.name, image.digest, {"repository_url": f"docker.io/{image.repository}", "tag": image.tag})
    subject = Component(name=image.repository, version=image.tag, type=ComponentType.CONTAINER, purl=purl, hashes=[checksum])
    return _bom(subject, read_archive(image.built), epoch)


def of_distribution(name: str, version: str, *, epoch: int) -> Bom:
    """What `pip install NAME[every extra for users]` brings, at the versions that this project is tested with."""
    subject = Component(name=name, version=version, type=ComponentType.APPLICATION, purl=PackageURL("pypi", None, name, version))
    return _bom(subject, installed(name), epoch)


def installed(name: str) -> list[Package]:
    """The distributions that this one needs, directly or not, its users' extras included, as they are in this environment.

    Those for other systems or Pythons are left out. Raises Refused for one that is not installed.
    """
    own = _distribution(name)
    extras = {extra for extra in own.metadata.get_all("Provides-Extra") or [] if extra not in DEVELOPMENT}
    waiting, seen = [(name, frozenset(extras))], set()
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        for line in _distribution(current[0]).requires or []:
            requirement = Requirement(line)
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *current[1])):
                waiting.append((requirement.name, frozenset(requirement.extras)))
    found = {parse_metadata(_distribution(each).read_text("METADATA") or "") for each, _ in seen}
    return sorted(package for package in found if package.name != name)


def _distribution(name: str) -> metadata.Distribution:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        raise Refused(f"{name} is not installed, so the bill of materials would lack it; run make setup") from None


def write(bom: Bom, file: Path) -> None:
    """As JSON, indented."""
    make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_to_file(str(file), allow_overwrite=True, indent=2)


def _bom(subject: Component, packages: Iterable[Package], epoch: int) -> Bom:
    components = [_component(package) for package in packages]
    content = "\n".join([str(subject.purl), *(str(component.purl) for component in components)])
    subject.bom_ref.value = str(subject.purl)
    bom = Bom(components=components, serial_number=uuid.uuid5(uuid.NAMESPACE_URL, content))
    bom.metadata.timestamp = datetime.fromtimestamp(epoch, UTC)
    bom.metadata.component = subject
    bom.register_dependency(subject, components)
    return bom


def _component(package: Package) -> Component:
    namespace = "debian" if package.kind == "deb" else None
    qualifiers = {"arch": package.architecture} if package.architecture else None
    purl = PackageURL(package.kind, namespace, package.name, package.version, qualifiers)
    licences = [LicenseFactory().make_from_string(package.licence)] if package.licence else []
    return Component(
        name=package.name, version=package.version, type=ComponentType.LIBRARY, purl=purl, bom_ref=str(purl), licenses=licences
    )
