#!/usr/bin/env bash
# Runs benchmarks/run.py with what B and QUICK choose.
set -Eeuo pipefail
cd "$(dirname "$0")/.."
arguments=()
[ -z "${B:-}" ] || arguments+=(--only "$B")
[ -z "${QUICK:-}" ] || arguments+=(--quick)
exec .venv/bin/python -m benchmarks.run "${arguments[@]}"
