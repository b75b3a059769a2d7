#!/usr/bin/env bash
# Regenerates what is made from code, in a copy of the tree, and fails on a difference. Nothing here is written, so tests may run beside it.
set -Eeuo pipefail
cd "$(dirname "$0")/.."
generated=(docs/reference/behaviours.md docs/reference/cli.md python/cli/asya_cli/run/values.schema.json examples/flows/compiled examples/gitops
           docs/reference/chart-checklist.md charts/*/{values.schema.json,README.md} charts/asya-{actor,operator,gateway}/templates/_shared.tpl charts/asya-operator/files/asya_runtime.py
           charts/asya-operator/templates/crd-asyncactors.yaml docs/explanation/{compared,critiques}.md docs/images/*.svg
           docs/reference/{asyncactor,conditions,operator,metrics,settings,http}.md charts/*/files/dashboards)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
# What runs beside this writes bytecode and caches: tar tells with 1 that a folder has changed, which is none of what is copied.
{ tar -c --warning=no-file-changed --exclude=./{.git,.venv,.asya,.hypothesis,.mypy_cache,.ruff_cache,build,dist} --exclude=__pycache__ . || [ $? = 1 ]; } |
    tar -x -C "$work"
ln -s "$PWD/.venv" "$work/.venv"
# Our packages too are the copy's.
PYTHONPATH=$(printf '%s:' "$work"/python/*/)
export PYTHONPATH
"$work/ci/generate.sh"
status=0
for file in "${generated[@]}"; do
    diff -rq -x __pycache__ "$file" "$work/$file" >/dev/null && continue
    echo "verify: $file is not what make generate writes; commit it" >&2; status=1
done
exit $status
