#!/usr/bin/env bash
# Resolves pyproject.toml anew and writes ci/constraints.txt: names and versions, nothing else.
set -Eeuo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --upgrade pip
"$work/venv/bin/python" -m pip install --quiet --editable '.[dev]'
"$work/venv/bin/python" -m pip list --format=freeze --exclude-editable | grep -E '^[A-Za-z0-9._-]+==[^@ ]+$' | grep -v '^setuptools==' >ci/constraints.txt
echo "constraints: $(wc -l <ci/constraints.txt) packages" >&2
