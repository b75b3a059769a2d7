#!/usr/bin/env bash
# Regenerates what is made from code, in a copy of the tree, and fails on a difference.
set -Eeuo pipefail
cd "$(dirname "$0")/.."
generated=(docs/reference/behaviours.md docs/reference/cli.md python/cli/asya_cli/run/values.schema.json)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
for file in "${generated[@]}"; do mkdir -p "$work/$(dirname "$file")"; cp "$file" "$work/$file"; done
ci/generate.sh
status=0
for file in "${generated[@]}"; do
    cmp -s "$file" "$work/$file" || { echo "verify: $file is not what make generate writes; commit it" >&2; status=1; }
    cp "$work/$file" "$file"
done
exit $status
