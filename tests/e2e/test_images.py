"""The images as `ci/images.sh` wrote them: whom they run as, what they start, what they leave out. That they need no writable root is shown
by every other story, since the API server refuses pods that ask for more."""

import json
import subprocess
import tarfile
from pathlib import Path
from typing import IO, Any

import pytest

from asya_operator.desired.runtime import start_command
from tests.e2e.helm import ROOT

pytestmark = pytest.mark.timeout(900)

ENTRY_POINTS = {
    "sidecar": ([*start_command(["python"], "-m"), "asya_sidecar"], None),
    "operator": ([*start_command(["python"], "-m"), "asya_operator"], ["run"]),
    "crew": (None, ["python3", "-c", "import asya_crew"]),
    "runtime": (None, ["python3"]),
}
COMPILERS = ("bin/gcc", "bin/cc", "bin/clang", "bin/ld")


@pytest.fixture(scope="module", params=sorted(ENTRY_POINTS))
def archive(request: pytest.FixtureRequest) -> tuple[str, Path]:
    """A component's name and archive; nothing is built that has not changed."""
    done = subprocess.run([ROOT / "ci" / "images.sh", "build", request.param], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return request.param, Path(done.stdout.split()[-1])


def test_image_runs_without_root_and_starts_its_component(archive: tuple[str, Path]) -> None:
    name, path = archive
    with tarfile.open(path) as tar:
        config = _read(tar, _read(tar, "manifest.json")[0]["Config"])["config"]
    assert config["User"] == "10001:10001"
    assert (config.get("Entrypoint") or None, config.get("Cmd") or None) == ENTRY_POINTS[name]


def test_image_holds_byte_code_but_no_compiler_and_no_tests(archive: tuple[str, Path]) -> None:
    name, path = archive
    with tarfile.open(path) as tar:
        layers = [tar.extractfile(layer) for layer in _read(tar, "manifest.json")[0]["Layers"]]
        files = [member for layer in layers for member in _names(layer)]
    assert [file for file in files if file.endswith(COMPILERS)] == []
    ours = [file for file in files if f"/asya_{name}/" in file]
    assert [file for file in ours if "/tests/" in file] == []
    if name != "runtime":
        assert [file for file in ours if file.endswith(".pyc")] != []


def _names(layer: IO[bytes] | None) -> list[str]:
    with tarfile.open(fileobj=layer) as tar:
        return tar.getnames()


def _read(tar: tarfile.TarFile, member: str) -> Any:
    stream = tar.extractfile(member)
    assert stream is not None
    return json.loads(stream.read())
