#!/usr/bin/env bash
# Regenerates what is made from code, in a copy of the tree, and fails on a difference.
set -Eeuo pipefail
cd "$(dirname "$0")/.."
generated=(docs/reference/behaviours.md docs/reference/cli.md python/cli/asya_cli/run/values.schema.json examples/flows/compiled examples/gitops
           docs/reference/chart-checklist.md charts/*/{values.schema.json,README.md} charts/asya-{actor,operator,gateway}/templates/_shared.tpl charts/asya-operator/files/asya_runtime.py
           charts/asya-operator/templates/crd-asyncactors.yaml docs/explanation/{compared,critiques}.md docs/images/*.svg
           docs/reference/{asyncactor,conditions,operator,metrics,settings,http}.md charts/*/files/dashboards)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
for file in "${generated[@]}"; do mkdir -p "$work/$(dirname "$file")"; cp -r "$file" "$work/$file"; done
ci/generate.sh
status=0
for file in "${generated[@]}"; do
    diff -rq "$file" "$work/$file" >/dev/null && continue
    echo "verify: $file is not what make generate writes; commit it" >&2; status=1
    rm -rf "$file"; cp -r "$work/$file" "$file"
done
exit $status
