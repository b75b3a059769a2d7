#!/usr/bin/env bash
# Lint, formatting, types and import contracts. Stops at the first that fails.
set -Eeuo pipefail
cd "$(dirname "$0")/.."
echo "static: ruff check"; .venv/bin/ruff check --quiet .
echo "static: ruff format"; .venv/bin/ruff format --quiet --check .
echo "static: mypy"; .venv/bin/mypy --no-error-summary
echo "static: import contracts"
PYTHONPATH=python/runtime .venv/bin/lint-imports --no-cache >/tmp/asya-lint-imports.$$ || { cat /tmp/asya-lint-imports.$$; rm -f /tmp/asya-lint-imports.$$; exit 1; }
tail -2 /tmp/asya-lint-imports.$$; rm -f /tmp/asya-lint-imports.$$
