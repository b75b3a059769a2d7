"""The folder store on disks that are full or read-only, with links in its way, and without the right to write."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asya_core.objects.directory import DirectoryStore
from asya_core.wire.errors import Refused, Unavailable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "objects"
    folder.mkdir()
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB. Only root may mount one: a skip elsewhere, a failure where CI runs as root and cannot."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        message = f"cannot mount a small disk: {mounted.stderr.strip()}"
        pytest.fail(message) if os.environ.get("CI") and os.geteuid() == 0 else pytest.skip(message)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def remount(folder: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", folder], check=True)


def test_a_full_disk_is_told_leaves_nothing_behind_and_is_written_again_once_there_is_room(small_disk: Path) -> None:
    store = DirectoryStore(small_disk)
    store.put_if_absent("results/a.json", b"x" * 300_000)

    with pytest.raises(Unavailable, match="No space left on device; make room") as told:
        store.put_if_absent("results/b.json", b"x" * 900_000)

    assert told.value.code == "storage_full"
    assert os.listdir(small_disk / "results") == ["a.json"]
    remount(small_disk, "size=8m")
    assert store.put_if_absent("results/b.json", b"x" * 900_000) is True


def test_a_read_only_disk_is_told_and_can_be_read(small_disk: Path) -> None:
    store = DirectoryStore(small_disk)
    store.put_if_absent("results/a.json", b"1")
    remount(small_disk, "ro")

    with pytest.raises(Unavailable, match="Read-only file system; mount the volume for writing"):
        store.put_if_absent("results/b.json", b"1")

    assert store.get("results/a.json") == b"1"
    remount(small_disk, "rw")
    assert store.put_if_absent("results/b.json", b"1") is True


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_of_another_user_is_told_with_the_user_who_needs_the_right(folder: Path) -> None:
    os.chmod(folder.parents[1], 0o755)
    os.chmod(folder.parents[2], 0o755)
    os.chmod(folder.parent, 0o755)
    os.chmod(folder, 0o755)
    script = (
        "import os, sys; from pathlib import Path; from asya_core.objects.directory import DirectoryStore; os.setuid(65534)\n"
        "try: DirectoryStore(Path(sys.argv[1])).put_if_absent('results/a.json', b'1')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )

    told = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True, check=True).stdout

    assert told.startswith("Refused file://")
    assert "Permission denied; give user 65534" in told


def test_a_link_in_the_folder_leads_nowhere(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.json").write_bytes(b"secret")
    (folder / "results").symlink_to(outside)
    (folder / "errors").mkdir()
    (folder / "errors" / "a.json").symlink_to(outside / "secret.json")
    store = DirectoryStore(folder)

    with pytest.raises((Refused, Unavailable)):
        store.put_if_absent("results/a.json", b"1")
    with pytest.raises((Refused, Unavailable)):
        store.put_if_absent("errors/a.json", b"1")
    for key in ("results/secret.json", "errors/a.json"):
        with pytest.raises(Refused):
            store.get(key)
        assert store.exists(key) is False

    assert store.list() == []
    assert sorted(os.listdir(outside)) == ["secret.json"]
    assert (outside / "secret.json").read_bytes() == b"secret"


def test_a_link_to_the_folder_itself_is_followed(folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(folder)

    DirectoryStore(link).put_if_absent("a", b"1")

    assert (folder / "a").read_bytes() == b"1"


def test_a_folder_in_the_place_of_an_object_is_refused(folder: Path) -> None:
    (folder / "a").mkdir()

    with pytest.raises(Refused, match="a is no file"):
        DirectoryStore(folder).put_if_absent("a", b"1")


def test_drafts_of_killed_writers_are_removed_and_fresh_ones_are_not(folder: Path) -> None:
    (folder / "results").mkdir()
    old, fresh = folder / "results" / "~old", folder / "results" / "~fresh"
    for each in (old, fresh):
        each.write_bytes(b"half")
    os.utime(old, (0, 0))
    store = DirectoryStore(folder, clock=lambda: fresh.stat().st_mtime + 10)

    store.put_if_absent("results/a.json", b"1")

    assert sorted(os.listdir(folder / "results")) == ["a.json", "~fresh"]
    assert [each.key for each in store.list("results/")] == ["results/a.json"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_disk_without_hard_links_keeps_the_first_object_too(folder: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    store = DirectoryStore(folder)

    assert [store.put_if_absent("results/a.json", body) for body in (b"1", b"2")] == [True, False]
    assert store.get("results/a.json") == b"1"
    assert os.listdir(folder / "results") == ["a.json"]


@pytest.mark.parametrize("failing", ["write", "fsync", "link", "mkdir"])
def test_a_disk_error_is_told_and_leaves_no_draft(folder: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    def broken(*arguments: object, **options: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    if failing == "write":
        monkeypatch.setattr(os, "fdopen", broken)
    else:
        monkeypatch.setattr(os, failing, broken)

    with pytest.raises(Unavailable, match="Input/output error; look at the volume"):
        DirectoryStore(folder).put_if_absent("results/a.json", b"1")

    monkeypatch.undo()
    assert DirectoryStore(folder).exists("results/a.json") is False
    assert not list(folder.rglob("~*"))


Trace = Callable[[Path], list[str]]


def test_file_and_folders_are_flushed_before_a_put_returns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, flushed = os.fsync, []

    def watched(descriptor: int) -> None:
        flushed.append(os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), folder))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    store = DirectoryStore(folder)

    store.put_if_absent("results/a.json", b"1")
    first = ["draft" if "~" in each else each for each in flushed]
    flushed.clear()
    store.put_if_absent("results/a.json", b"1")

    assert first == [".", "draft", "results"]
    assert flushed[-1] == "results"
