#!/usr/bin/env bash
# Lint, formatting, types and import contracts. Stops at the first that fails.
#
# ASYA_CACHE        cache folder, default $HOME/.cache/asya; what mypy found out is kept there by the content of files, for every clone
set -Eeuo pipefail
cd "$(dirname "$0")/.."
found=${ASYA_CACHE:-${HOME:?}/.cache/asya}/mypy
mkdir -p "$found"
echo "static: ruff check"; .venv/bin/ruff check --quiet .
echo "static: ruff format"; .venv/bin/ruff format --quiet --check .
echo "static: mypy"; flock "$found/lock" .venv/bin/mypy --no-error-summary --cache-dir "$found"
echo "static: import contracts"
PYTHONPATH=python/runtime .venv/bin/lint-imports --no-cache >/tmp/asya-lint-imports.$$ || { cat /tmp/asya-lint-imports.$$; rm -f /tmp/asya-lint-imports.$$; exit 1; }
tail -2 /tmp/asya-lint-imports.$$; rm -f /tmp/asya-lint-imports.$$
