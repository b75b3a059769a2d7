"""Chart packages that name images by digest and are the same bytes whenever, wherever and by whichever Helm they are packed.

Called by `parts`. It works on a copy of the charts; the committed ones keep their tags, for clusters that are fed by hand.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from ci.release.archives import normalise
from ci.release.refusal import Refused

__all__ = ["CHARTS", "announce", "package", "pin", "stage"]

CHARTS = ("asya-operator", "asya-crew", "asya-gateway", "asya-actor")
PLACES: Mapping[str, Mapping[str, str]] = {
    "asya-operator": {"image": "operator", "sidecar.image": "sidecar"},
    "asya-crew": {"image": "crew"},
    "asya-gateway": {"image": "gateway"},
    "asya-actor": {"source": "runtime"},
}
"""Chart → map in its values → the image that it names."""


def stage(charts: Path, into: Path) -> None:
    """Copy the charts, the crew's link to asya-actor as a folder."""
    for chart in CHARTS:
        shutil.copytree(charts / chart, into / chart)


def pin(charts: Path, digests: Mapping[str, str], *, tag: str) -> None:
    """Write digests into staged charts: the values, and what Artifact Hub is told of images.

    Args:
        digests: image → "sha256:…"; only these are pinned.
        tag: of all of them; stays beside the digest, for labels and for readers.

    Raises:
        Refused: a chart has no such value.
    """
    copies = [path for path in (charts / "asya-crew" / "charts" / "asya-actor",) if path.exists()]
    for folder in [charts / chart for chart in CHARTS] + copies:
        values = folder / "values.yaml"
        text = values.read_text(encoding="utf-8")
        for place, image in PLACES[folder.name].items():
            if image in digests:
                text = put(text, f"{place}.digest", digests[image], where=f"charts/{folder.name}/values.yaml")
                if place.endswith("image"):
                    text = put(text, f"{place}.tag", f'"{tag}"', where=f"charts/{folder.name}/values.yaml")
        values.write_text(text, encoding="utf-8")
        meta = folder / "Chart.yaml"
        described = meta.read_text(encoding="utf-8")
        for image, digest in digests.items():
            described = re.sub(rf"(image: asya/{image}):\S+?(?=[}},\s])", rf"\g<1>@{digest}", described)
        meta.write_text(described, encoding="utf-8")


def announce(charts: Path, changes: Sequence[tuple[str, str]]) -> None:
    """Tell Artifact Hub what a release changes: (kind, sentence) each. All charts move together, so all tell the same."""
    lines = "".join(f"    - {json.dumps({'kind': kind, 'description': text}, ensure_ascii=False)}\n" for kind, text in changes)
    for chart in CHARTS:
        meta = charts / chart / "Chart.yaml"
        text = meta.read_text(encoding="utf-8")
        changed, count = re.subn(r"(  artifacthub\.io/changes: \|\n)(?:    .*\n)+", lambda found: found[1] + lines, text)
        if count != 1:
            raise Refused(f"charts/{chart}/Chart.yaml: there is no artifacthub.io/changes to write into; add it to the annotations")
        meta.write_text(changed, encoding="utf-8")


def put(text: str, path: str, value: str, *, where: str) -> str:
    """Replace the scalar at a dotted path of a block-style YAML text; comments and all else stay. Raises Refused if it is not there."""
    keys = path.split(".")
    open_keys: list[tuple[int, str]] = []
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        found = re.match(r"( *)([A-Za-z][\w-]*):(.*)", line)
        if found is None:
            continue
        indent = len(found[1])
        open_keys = [each for each in open_keys if each[0] < indent] + [(indent, found[2])]
        if [key for _, key in open_keys] == keys:
            lines[number] = f"{found[1]}{found[2]}: {value}\n"
            changed = "".join(lines)
            _check(changed, keys, value)
            return changed
    raise Refused(f"{where}: there is no {path} to write a digest into; add it to the chart")


def _check(text: str, keys: Sequence[str], value: str) -> None:
    read = yaml.safe_load(text)
    for key in keys:
        read = read[key]
    assert read == yaml.safe_load(value), f"{'.'.join(keys)} is {read!r}"


def package(helm: Path, charts: Path, into: Path, *, epoch: int) -> list[Path]:
    """Pack every staged chart. Raises Refused with what Helm says."""
    into.mkdir(parents=True, exist_ok=True)
    made = []
    for chart in CHARTS:
        before = set(into.glob("*.tgz"))
        done = subprocess.run([helm, "package", charts / chart, "--destination", into], capture_output=True, text=True)
        if done.returncode != 0:
            raise Refused(f"{helm.name} package {chart}: {done.stderr.strip()}")
        (packed,) = set(into.glob("*.tgz")) - before
        normalise(packed, epoch=epoch)
        made.append(packed)
    return made
