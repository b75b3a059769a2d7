"""Draws docs/images/NAME.svg from NAME.dot with Graphviz, where the source has changed. Called by ci/generate.sh.

The picture names the digest of its source. It is drawn anew only if that differs, as each version of Graphviz places things a little
differently; so the check that generated files are current neither needs Graphviz nor a certain version of it.
"""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SOURCE = re.compile(r"<!-- drawn from \S+, sha256 ([0-9a-f]{64}) -->")


def digest(source: Path) -> str:
    """Of a source as it is."""
    return hashlib.sha256(source.read_bytes()).hexdigest()


def drawn_from(picture: Path) -> str:
    """The digest of the source that a picture was drawn from; empty if there is no picture."""
    found = SOURCE.search(picture.read_text(encoding="utf-8")) if picture.is_file() else None
    return found[1] if found else ""


def draw(source: Path, picture: Path) -> None:
    """Draw it. Raises subprocess.CalledProcessError with Graphviz' words."""
    drawn = subprocess.run(["dot", "-Tsvg", str(source)], check=True, capture_output=True, text=True).stdout
    drawn = re.sub(r"<!--.*?-->\n?", "", drawn, flags=re.S)
    picture.write_text(drawn.replace("<svg", f"<!-- drawn from {source.name}, sha256 {digest(source)} -->\n<svg", 1), encoding="utf-8")


def main() -> int:
    for source in sorted(IMAGES.glob("*.dot")):
        picture = source.with_suffix(".svg")
        if drawn_from(picture) == digest(source):
            continue
        try:
            draw(source, picture)
        except FileNotFoundError:
            print(f"drawings: {picture.name} is older than {source.name}; install Graphviz: apt-get install graphviz", file=sys.stderr)
            return 1
        print(f"drawings: {picture.name}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
