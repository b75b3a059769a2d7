#!/usr/bin/env bash
# Runs a tier of tests: unit | contract | faults | docs | all. Services must be up (ci/services.sh start); CI set makes a missing one a failure.
set -Eeuo pipefail
cd "$(dirname "$0")/.."

tier=${1:-all}
if [ -n "${CI:-}" ]; then ci/tools.sh; fi
if [ -x ci/services.sh ]; then eval "$(ci/services.sh env)"; fi

pure=(asya_core.wire asya_core.ops.backoff asya_core.transports.rabbitmq.topology
      asya_sidecar.lifecycle asya_sidecar.decide asya_sidecar.effects asya_sidecar.retry asya_sidecar.splice)

unit_with_coverage() { # 100 % branches of the pure modules, by the tests beside the packages
    echo "test: unit, with branch coverage of the pure modules"
    local only=()
    for module in "${pure[@]}"; do only+=("--cov=$module"); done
    .venv/bin/pytest -n 2 -q python "${only[@]}" --cov-branch --cov-fail-under=100 --cov-report=term:skip-covered
}

case $tier in
    unit) unit_with_coverage ;;
    contract) .venv/bin/pytest -q tests/contract ;;
    faults) .venv/bin/pytest -q tests/faults ;;
    docs) .venv/bin/pytest -q tests/docs ;;
    all)
        unit_with_coverage
        echo "test: what crosses components"
        .venv/bin/pytest -q tests
        ;;
    *) echo "test: unknown tier '$tier'; expected unit, contract, faults, docs or all" >&2; exit 2 ;;
esac
