"""Releases Asya: `python -m ci.release make` (also `make release`), and `next VERSION` for the commit after it.

What each step does is in docs/contributing/release.md. Exit codes: 0 made, 1 refused with one line on stderr, 2 wrong arguments.
"""

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from ci.release import following, making, source
from ci.release.refusal import Refused

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ci.release", description="Releases Asya.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    make = verbs.add_parser("make", help="everything that is published, of the commit that is checked out, into dist/VERSION")
    make.add_argument("--into", type=Path, default=ROOT / "dist", help="default: %(default)s")
    make.add_argument("--sign", metavar="KEY", default=os.environ.get("ASYA_RELEASE_KEY", ""), help="GnuPG's key, default ASYA_RELEASE_KEY")
    following_one = verbs.add_parser("next", help="close the version that is checked out and begin the next, in the work tree")
    following_one.add_argument("version")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.verb == "make":
            print(making.make(ROOT, chosen.into.resolve(), key=chosen.sign, say=lambda step: print(f"release: {step}", file=sys.stderr)))
        else:
            _begin(chosen.version)
    except Refused as refused:
        print(f"release: {refused}", file=sys.stderr)
        return 1
    return 0


def _begin(version: str) -> None:
    now = source.head(ROOT)
    date = datetime.fromtimestamp(now.epoch, UTC).date().isoformat()
    following.begin(ROOT, version, old=now.version, commit=now.commit, date=date)
    print(f"release: {now.version} is in CHANGELOG.md, {version} has begun; run make generate, then commit", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
