#!/usr/bin/env bash
# Runs a tier of tests: unit | contract | counts | faults | docs | all. Services must be up (ci/services.sh start); CI set makes a missing
# one a failure. The last line is that of one pytest run; `all` has two.
set -Eeuo pipefail
cd "$(dirname "$0")/.."

tier=${1:-all}
eval "$(ci/services.sh env)"
ci/pythons.sh >/dev/null # the newest Python that the runtime is tested on

pure=(asya_core.wire asya_core.ops.backoff asya_core.transports.rabbitmq.topology
      asya_sidecar.lifecycle asya_sidecar.decide asya_sidecar.effects asya_sidecar.retry asya_sidecar.splice)
coverage=(--cov-branch --cov-report=term:skip-covered)
for module in "${pure[@]}"; do coverage+=("--cov=$module"); done

branches() { # 100 % branches of the pure modules, by the tests beside the packages
    .venv/bin/coverage report --fail-under=100 --skip-covered
}

case $tier in
    unit)
        .venv/bin/pytest -n 2 -q python "${coverage[@]}"
        branches
        ;;
    contract | counts | faults | docs) .venv/bin/pytest -q "tests/$tier" ;;
    all)
        echo "test: beside the packages, with branch coverage of the pure modules"
        .venv/bin/pytest -n 2 -q python "${coverage[@]}"
        branches
        echo "test: what crosses components"
        .venv/bin/pytest -n 2 --dist loadgroup -q tests --durations=8
        ;;
    *) echo "test: unknown tier '$tier'; expected unit, contract, counts, faults, docs or all" >&2; exit 2 ;;
esac
