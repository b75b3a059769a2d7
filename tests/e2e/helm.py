"""Runs Helm as a user would. Used by the fixtures of this folder; knows nothing of actors."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

__all__ = ["CHARTS", "Helm"]

ROOT = Path(__file__).parents[2]
CHARTS = ROOT / "charts"


class Helm:
    """One Helm.

    Args:
        program: its path.
        kubeconfig: names the cluster.
    """

    def __init__(self, program: Path, kubeconfig: str) -> None:
        self.program = program
        self.kubeconfig = kubeconfig

    def install(self, namespace: str, release: str, chart: str, *arguments: str, values: dict[str, Any] | Path | None = None) -> str:
        """Install a chart of this repository; gives what Helm prints."""
        return self._with_values("install", namespace, release, chart, arguments, values)

    def upgrade(self, namespace: str, release: str, chart: str, *arguments: str, values: dict[str, Any] | Path | None = None) -> str:
        """Upgrade a release; gives what Helm prints."""
        return self._with_values("upgrade", namespace, release, chart, arguments, values)

    def run(self, namespace: str, *arguments: str, text: str | None = None) -> str:
        """Any other command; fails with what Helm says."""
        command = [str(self.program), "--kubeconfig", self.kubeconfig, "--namespace", namespace, *arguments]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{self.program.name} {' '.join(arguments)}: {done.stderr.strip()[-3000:]}"
        return done.stdout

    def _with_values(
        self, verb: str, namespace: str, release: str, chart: str, arguments: tuple[str, ...], values: dict[str, Any] | Path | None
    ) -> str:
        files = ["--values", str(values)] if isinstance(values, Path) else ["--values", "-"] if values else []
        text = yaml.safe_dump(values) if isinstance(values, dict) else None
        return self.run(namespace, verb, release, str(CHARTS / chart), *files, *arguments, text=text)
