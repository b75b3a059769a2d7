#!/usr/bin/env bash
# Writes every file that is made from code anew. `ci/verify.sh` compares.
set -Eeuo pipefail
cd "$(dirname "$0")/.."
echo "generate: docs/reference/behaviours.md"; .venv/bin/python -m tests.behaviours
echo "generate: docs/reference/cli.md"; .venv/bin/python ci/cli_reference.py
echo "generate: examples/flows/compiled"; .venv/bin/python -m tests.flow_examples >/dev/null
echo "generate: examples/gitops"; .venv/bin/python -m tests.gitops_example 2>/dev/null
echo "generate: the charts' schemas, tables of values, shared template and copy of the runtime"; .venv/bin/python ci/charts/generate.py
echo "generate: docs/reference/chart-checklist.md, and its part of docs/explanation/critiques.md"; .venv/bin/python -m tests.charts.checklist
echo "generate: the command's copy of the actor's values schema"
cp charts/asya-actor/values.schema.json python/cli/asya_cli/run/values.schema.json
echo "generate: charts/asya-operator/templates/crd-asyncactors.yaml"
.venv/bin/python -m asya_operator.crd > charts/asya-operator/templates/crd-asyncactors.yaml
echo "generate: docs/reference/{asyncactor,conditions,operator}.md"; .venv/bin/python ci/operator_reference.py
echo "generate: docs/reference/metrics.md"; .venv/bin/python ci/metrics_reference.py
echo "generate: the charts' dashboards"; .venv/bin/python ci/charts/dashboards.py
echo "generate: docs/reference/{settings,http}.md"; .venv/bin/python ci/settings_reference.py; .venv/bin/python ci/http_reference.py
echo "generate: docs/explanation/compared.md, from the last benchmarks"; .venv/bin/python ci/compared_page.py
echo "generate: docs/images/*.svg, where their sources have changed"; .venv/bin/python ci/drawings.py
