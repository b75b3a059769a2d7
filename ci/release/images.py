"""Images as OCI archives with their digests: what a registry will serve after `skopeo copy --preserve-digests`. Called by `parts`.

ci/images.sh builds them; here their layers are compressed and described, without a tool that this machine might not have. An archive is
kept in the cache under the name of what it was made from, so an unchanged image costs nothing.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ci.release.archives import BLOCK, add, compress
from ci.release.refusal import Refused

__all__ = ["NAMES", "Image", "cache", "collect", "copy", "described"]

NAMES = ("runtime", "sidecar", "operator", "crew", "gateway")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
KEPT = 4
"""Archives of one image: this version, the previous one, and as many to compare with."""
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One component's image.

    Attributes:
        name: such as "operator".
        repository: such as "asya/operator", as the charts name it.
        tag: it is known by, besides its digest.
        digest: of its manifest, "sha256:…"; what the charts of a release name.
        archive: an OCI archive, to push or load.
        built: the archive that ci/images.sh wrote, layers uncompressed.
    """

    name: str
    repository: str
    tag: str
    digest: str
    archive: Path
    built: Path


def cache() -> Path:
    """Where what is dear to make is kept: ASYA_CACHE, else ~/.cache/asya."""
    return Path(os.environ.get("ASYA_CACHE") or Path.home() / ".cache" / "asya") / "release"


def collect(root: Path, names: Sequence[str] = NAMES, *, tree: Path | None = None, tag: str = "") -> list[Image]:
    """Build what has changed and describe all.

    Args:
        root: the repository whose ci/images.sh builds.
        tree: other sources than those of `root`, an earlier commit's.
        tag: of the images; by default the project's version.

    Raises:
        Refused: an image cannot be built; the builder has said why.
    """
    environment = {**os.environ, **({"ASYA_IMAGES_TREE": str(tree)} if tree else {}), **({"ASYA_IMAGES_TAG": tag} if tag else {})}
    done = subprocess.run([root / "ci" / "images.sh", "build", *names], stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode != 0:
        raise Refused("ci/images.sh could not build an image, see above")
    built = [Path(line.split()[-1]) for line in done.stdout.splitlines()]
    folder = cache() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    first, *others = zip(names, built, strict=True)
    with (folder / "lock").open("w") as lock, ThreadPoolExecutor(max_workers=2) as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # The first compresses the base, which the others share.
        found = [described(first[0], first[1], folder)]
        found += pool.map(lambda each: described(each[0], each[1], folder), others)
        _forget(folder)
    return found


def described(name: str, built: Path, folder: Path) -> Image:
    """Convert an archive of ci/images.sh, unless that was done already; `folder` keeps what was."""
    archive = folder / f"{built.stem}.oci.tar"
    if archive.exists():
        os.utime(archive)  # those that are not needed go first
    else:
        _write(built, archive)
    with tarfile.open(archive) as tar:
        (entry,) = _json(tar, "index.json")["manifests"]
    tag = entry["annotations"]["org.opencontainers.image.ref.name"]
    return Image(name=name, repository=f"asya/{name}", tag=tag, digest=entry["digest"], archive=archive, built=built)


def copy(image: Image, folder: Path) -> Path:
    """Put an image's archive into a folder, under a name with its tag; a link where the file system has them."""
    target = folder / f"{image.repository.replace('/', '-')}-{image.tag}.oci.tar"
    try:
        os.link(image.archive, target)
    except OSError:
        shutil.copyfile(image.archive, target)
    return target


def _forget(folder: Path) -> None:
    """Remove what has not been needed for long: all but the newest archives of each image, and layers that none holds."""
    for name in NAMES:
        for old in sorted(folder.glob(f"{name}-*.oci.tar"), key=lambda each: each.stat().st_mtime)[:-KEPT]:
            old.unlink()
    held = set()
    for archive in folder.glob("*.oci.tar"):
        with tarfile.open(archive) as tar:
            held |= {member.rpartition("/")[2] for member in tar.getnames()}
    for layer in (folder / "layers").glob("*"):
        if layer.name.rpartition(".")[2] not in held:
            layer.unlink(missing_ok=True)


def _write(built: Path, archive: Path) -> None:
    """Convert an archive of ci/images.sh. Layers that several images share are compressed once."""
    layers_folder = archive.parent / "layers"
    layers_folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(built) as source:
        (described,) = _json(source, "manifest.json")
        config_bytes = _open(source, described["Config"]).read()
        diff_ids = json.loads(config_bytes)["rootfs"]["diff_ids"]
        layers = [
            _layer(source, member, layers_folder / id_.split(":")[1]) for member, id_ in zip(described["Layers"], diff_ids, strict=True)
        ]
    reference = str(described["RepoTags"][0])
    config = _blob(CONFIG, config_bytes)
    manifest_bytes = _canonical(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [_layer_blob(path) for path in layers]}
    )
    names = {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference.rpartition(":")[2]}
    index = {"schemaVersion": 2, "manifests": [{**_blob(MANIFEST, manifest_bytes), "annotations": names}]}
    draft = archive.with_suffix(".draft")
    with tarfile.open(draft, "w") as tar:
        add(tar, "oci-layout", _canonical({"imageLayoutVersion": "1.0.0"}))
        add(tar, "index.json", _canonical(index))
        for content in (manifest_bytes, config_bytes):
            add(tar, f"blobs/sha256/{hashlib.sha256(content).hexdigest()}", content)
        for path in dict.fromkeys(layers):
            add(tar, f"blobs/sha256/{path.name.split('.')[1]}", path)
    draft.rename(archive)


def _layer(source: tarfile.TarFile, member: str, stem: Path) -> Path:
    """The compressed layer, a file DIFF_ID.DIGEST."""
    for found in stem.parent.glob(f"{stem.name}.*"):
        if found.suffix != ".draft":
            return found
    draft = stem.with_suffix(f".{uuid.uuid4().hex}.draft")
    with draft.open("wb") as out:
        compress(_blocks(_open(source, member)), out)
    with draft.open("rb") as stream:
        final = stem.with_suffix("." + hashlib.file_digest(stream, "sha256").hexdigest())
    draft.rename(final)
    return final


def _layer_blob(path: Path) -> dict[str, Any]:
    return {"mediaType": LAYER, "digest": f"sha256:{path.name.split('.')[1]}", "size": path.stat().st_size}


def _blob(kind: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{hashlib.sha256(content).hexdigest()}", "size": len(content)}


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    while block := stream.read(BLOCK):
        yield block


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _open(tar: tarfile.TarFile, member: str) -> IO[bytes]:
    stream = tar.extractfile(member)
    assert stream is not None, member
    return stream


def _json(tar: tarfile.TarFile, member: str) -> Any:
    return json.loads(_open(tar, member).read())
