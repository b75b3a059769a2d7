"""What `asya flow compile` and flux/write.sh put into examples/gitops: the text-analysis flow, once per environment.

tests/charts/test_gitops_example.py compares what is committed with what they write; ``python -m tests.gitops_example`` writes it.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

from asya_cli.main import asya
from asya_cli.output import Talk

EXAMPLES = Path(__file__).parents[1] / "examples"
GITOPS = EXAMPLES / "gitops"
FLOW = "text_analysis_flow"
ENVIRONMENTS: dict[str, tuple[str, ...]] = {"dev": (), "prod": ("--image", "registry.example.com/text-analysis-flow-routers:v1")}
"""Options of the compiler: in dev the values hold the routers' code, in prod they name an image."""
WRITTEN = ("flows", "actors", "tools", "flux")
"""Folders of the example that this writes, in whole or in part."""


def write(repository: Path) -> None:
    """Write the flow, its actors and tools, and what Flux makes of them, below `repository`, as docs/how-to/deploy-from-git.md says."""
    flows = repository / "flows"
    flows.mkdir(exist_ok=True)
    shutil.copy(EXAMPLES / "flows" / f"{FLOW}.py", flows)
    for environment, options in ENVIRONMENTS.items():
        compiled = repository / "compiled"
        words = ["flow", "compile", str(flows / f"{FLOW}.py"), "--output-dir", str(compiled), "--stubs", *options]
        code = asya.main(words, prog_name="asya", standalone_mode=False, obj=Talk(quiet=True))
        assert not code, environment
        values = [*(compiled / "values").glob("*.yaml"), *(compiled / "values" / "_handlers").glob("*.yaml")]
        for folder, files in (("actors", values), ("tools", (compiled / "tools").glob("*.yaml"))):
            target = repository / folder / environment
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True)
            for file in files:
                shutil.copy(file, target)
        shutil.rmtree(compiled)
        subprocess.run(["sh", "flux/write.sh", environment], cwd=repository, check=True)


def files_below(folder: Path) -> dict[str, bytes]:
    """Path and content of each file, without what the compiler may leave beside them."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def written_into_a_copy(scratch: Path) -> Path:
    """A copy of the example in which `write` has been."""
    repository = scratch / "gitops"
    shutil.copytree(GITOPS, repository)
    write(repository)
    return repository


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        made = written_into_a_copy(Path(scratch))
        for name in WRITTEN:
            if files_below(made / name) != files_below(GITOPS / name):
                shutil.rmtree(GITOPS / name)
                shutil.copytree(made / name, GITOPS / name)
