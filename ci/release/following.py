"""Begins the next version: the commit after a release. Called by `__main__`; writes into the work tree and commits nothing."""

import re
from pathlib import Path

from ci.release import notes
from ci.release.refusal import Refused

__all__ = ["PLACES", "begin"]

PLACES: dict[str, str] = {
    "pyproject.toml": r'^version = "{}"$',
    "python/core/asya_core/__init__.py": r'^__version__: Final = "{}"$',
    "python/runtime/asya_runtime.py": r'^__version__ = "{}"$',
    "charts/*/Chart.yaml": r'^(?:version: |appVersion: "|    version: |    - \{{name: \w+, image: asya/\w+:){}',
    "python/*/Dockerfile": r"-t asya/\w+:{} \.$",
    "examples/gitops/argocd/[1-9]*.yaml": r'targetRevision: {0}$|"chartVersion" "{0}"',
    "charts/asya-actor/ci/03-full-values.yaml": r"chartVersion: {}\}}$",
    "examples/gitops/argocd/README.md": r"chartVersion: {}\}}",
    "examples/gitops/flux/platform/charts.yaml": r"ref: \{{tag: {}\}}$",
    "docs/how-to/check-an-installation.md": r"Python \S+, asya {}$",
    "docs/how-to/watch-an-actor.md": r"Sidecar Version: +{}$",
    "UPGRADE.md": r"^helm upgrade .* --version {} ",
    "tests/e2e/images/text-analysis-flow-routers/Dockerfile": r"^FROM asya/runtime:{}$",
}
"""File → where it holds the version. All else is made of these by `make generate`."""
VERSION = re.compile(r"\d+\.\d+\.\d+(-(alpha|beta|rc)\.\d+)?")


def begin(root: Path, new: str, *, old: str, commit: str, date: str) -> None:
    """Close the version that was released and begin another one.

    Args:
        new: such as "0.2.0".
        old: what was released at `commit` on `date` (YYYY-MM-DD). Its fragments become a section of CHANGELOG.md.

    Raises:
        Refused: a version that is none or the same; a place that holds none.
    """
    if not VERSION.fullmatch(new) or new == old:
        raise Refused(f"{new} is no next version of {old}; expected MAJOR.MINOR.PATCH, such as 0.2.0")
    for pattern, expression in PLACES.items():
        for file in sorted(root.glob(pattern)):
            text = file.read_text(encoding="utf-8")
            changed, count = re.subn(expression.format(re.escape(old)), lambda found: found[0].replace(old, new), text, flags=re.M)
            if count == 0:
                raise Refused(
                    f"{file.relative_to(root)} does not hold version {old} where it should; see PLACES in ci/release/following.py"
                )
            file.write_text(changed, encoding="utf-8")
    notes.write(root, old, date)
    recorded = root / "ci" / "release" / "previous.toml"
    text = recorded.read_text(encoding="utf-8")
    recorded.write_text(re.sub(r'^commit = ".*"$', f'commit = "{commit}"', text, flags=re.M), encoding="utf-8")
