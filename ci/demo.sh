#!/usr/bin/env bash
# The main job on this machine alone: one text through every actor of examples/text-analysis, on the embedded transport.
# The final payload is on stdout, progress and timing per hop on stderr. `make demo` runs it after `make setup`.
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

echo "demo: asya run examples/text-analysis --input @examples/text-analysis/input.json --trace" >&2
exec .venv/bin/asya run examples/text-analysis --input @examples/text-analysis/input.json --trace
