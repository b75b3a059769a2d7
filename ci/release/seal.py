"""What lets a receiver check a release: checksums, where it comes from, signatures. Called by `making` when all else is written."""

import hashlib
import json
import subprocess
import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from ci.release.refusal import Refused
from ci.release.source import Source

__all__ = ["checksums", "provenance", "sign", "sign_chart"]

SUMS = "SHA256SUMS"


def checksums(folder: Path) -> Path:
    """Write SHA256SUMS of every file, as `sha256sum --check` reads it; gives it."""
    file = folder / SUMS
    file.write_text("".join(f"{digest}  {name}\n" for name, digest in _digests(folder).items()), encoding="utf-8")
    return file


def provenance(folder: Path, source: Source, versions: Mapping[str, str]) -> Path:
    """Write an in-toto statement with SLSA's provenance: these files were made of this commit by these tools; gives it.

    It is as good as its signature; a CI that signs statements by its own identity replaces it.
    """
    subjects = [{"name": name, "digest": {"sha256": digest}} for name, digest in _digests(folder).items()]
    built_of = {"uri": f"git+https://asya.sh/source@refs/tags/v{source.version}", "digest": {"gitCommit": source.commit}}
    predicate = {
        "buildDefinition": {
            "buildType": "https://asya.sh/docs/contributing/release",
            "externalParameters": {"version": source.version},
            "internalParameters": {"tools": dict(versions)},
            "resolvedDependencies": [built_of],
        },
        "runDetails": {
            "builder": {"id": "https://asya.sh/docs/contributing/release"},
            "metadata": {"finishedOn": datetime.fromtimestamp(source.epoch, UTC).isoformat()},
        },
    }
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": predicate,
    }
    file = folder / "provenance.json"
    file.write_text(json.dumps(statement, indent=2) + "\n", encoding="utf-8")
    return file


def sign(file: Path, key: str) -> Path:
    """A detached signature beside a file, by GnuPG; gives it. Raises Refused with what GnuPG says."""
    signature = file.with_name(file.name + ".asc")
    _gpg("--local-user", key, "--armor", "--output", str(signature), "--detach-sign", str(file))
    return signature


def sign_chart(package: Path, key: str) -> Path:
    """The provenance file that `helm verify` and `helm install --verify` read; gives it.

    `helm package --sign` writes the same, but of a package with times in it. Format: https://helm.sh/docs/topics/provenance
    """
    name = package.name.rsplit("-", 1)[0]
    with tarfile.open(package) as tar:
        stream = tar.extractfile(f"{name}/Chart.yaml")
        assert stream is not None
        described = stream.read().decode()
    text = f"{described.rstrip()}\n\n...\nfiles:\n  {package.name}: sha256:{_digest(package)}\n"
    signed = package.with_name(package.name + ".prov")
    _gpg("--local-user", key, "--digest-algo", "SHA512", "--output", str(signed), "--clear-sign", text=text)
    return signed


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 by path, relative to the folder, sorted."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(SUMS))
    return {str(path.relative_to(folder)): _digest(path) for path in files}


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _gpg(*words: str, text: str = "") -> None:
    done = subprocess.run(["gpg", "--batch", "--yes", *words], input=text, capture_output=True, text=True)
    if done.returncode != 0:
        raise Refused(f"gpg: {done.stderr.strip().splitlines()[-1]}")
