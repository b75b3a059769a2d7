#!/usr/bin/env bash
# Runs a tier of tests: unit | contract | counts | faults | charts | docs | all. Services must be up (ci/services.sh start); CI set makes a missing
# one a failure. Each pytest run closes with its own count.
set -Eeuo pipefail
cd "$(dirname "$0")/.."

tier=${1:-all}
ci/tools.sh || [ -z "${CI:-}" ] # valgrind and strace for the exact counts, Graphviz for drawings, Chromium for the page; on a laptop their tests are skipped
eval "$(ci/services.sh env)"
ci/pythons.sh >/dev/null # the newest Python that the runtime is tested on

pure=(asya_core.wire asya_core.ops.backoff asya_core.transports.rabbitmq.topology asya_core.transports.sqs.{attributes,batches,codec,held,settings}
      asya_sidecar.lifecycle asya_sidecar.decide asya_sidecar.effects asya_sidecar.retry asya_sidecar.splice
      asya_flowc asya_cli.dlq.failures asya_cli.doctor.check asya_cli.doctor.rules asya_cli.plan.compare
      asya_operator.{compare,conditions,crd,desired,memory,observed,plan,policies,reasons,settings,spec,words}
      asya_gateway.access asya_gateway.progress asya_gateway.schema asya_gateway.status asya_gateway.strict_json asya_gateway.tools asya_gateway.ulid)
coverage=(--cov-branch --cov-report=term:skip-covered)
for module in "${pure[@]}"; do coverage+=("--cov=$module"); done

branches() { # 100 % branches of the pure modules, by the tests beside the packages
    .venv/bin/coverage report --fail-under=100 --skip-covered
}

declare -A lanes
aside() { # LANE ARG…: pytest in the background, its output in a file
    .venv/bin/pytest -q "${@:2}" --durations=8 >"$logs/$1" 2>&1 &
    lanes[$1]=$!
}

case $tier in
    unit)
        .venv/bin/pytest -n 2 --dist loadgroup -q python "${coverage[@]}"
        branches
        ;;
    charts)
        ci/helm.sh >/dev/null
        ci/kustomize.sh >/dev/null
        ci/prometheus.sh >/dev/null
        .venv/bin/pytest -n 2 -q tests/charts
        ;;
    contract | counts | faults) .venv/bin/pytest -q "tests/$tier" ;;
    docs)
        .venv/bin/python ci/site/build.py
        # Pages of one component are compared beside its package.
        .venv/bin/pytest -q tests/docs python/{crew,gateway}/tests/test_reference.py python/sidecar/tests/edges/test_reference.py \
            python/flowc/tests/test_{docs,codes}.py python/cli/tests/test_command.py python/runtime/tests/test_contract.py
        ;;
    all)
        ci/helm.sh >/dev/null || [ -z "${CI:-}" ] # both Helms for tests/charts; on a laptop without npm or Go those are skipped
        ci/kustomize.sh >/dev/null || [ -z "${CI:-}" ]
        ci/prometheus.sh >/dev/null || [ -z "${CI:-}" ]
        logs=$(mktemp -d); trap 'rm -rf "$logs"' EXIT
        status=0
        echo "test: experiments that hurt their broker begin; they mostly wait, and are printed at the end"
        aside hurt tests --ignore=tests/e2e -m hurts_broker
        aside sqs tests/contract tests/faults -m sqs
        ci/static.sh && ci/verify.sh || status=$?
        echo "test: beside the packages, with branch coverage of the pure modules"
        { .venv/bin/pytest -n 2 --dist loadgroup -q python "${coverage[@]}" && branches; } || status=$?
        echo "test: what crosses components, in two halves side by side"
        aside charts tests/charts tests/docs
        .venv/bin/pytest -q tests --ignore=tests/e2e --ignore=tests/charts --ignore=tests/docs -m "not hurts_broker and not sqs" --durations=8 || status=$?
        for lane in charts hurt sqs; do
            wait "${lanes[$lane]}" || status=$?
            cat "$logs/$lane"
        done
        exit "$status"
        ;;
    *) echo "test: unknown tier '$tier'; expected unit, contract, counts, faults, charts, docs or all" >&2; exit 2 ;;
esac
