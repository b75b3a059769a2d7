#!/usr/bin/env bash
# Runs a tier of tests: unit | contract | counts | faults | charts | docs | all. `all` sets up and starts the services itself, beside each other;
# for the others both must be done (ci/setup.sh, ci/services.sh start). CI set makes a missing service a failure. `unit` and `all` run lanes side
# by side, as most tests wait more than they compute; each lane is printed when it ends, with its own count, its time and its CPU.
set -Eeuo pipefail
cd "$(dirname "$0")/.."

tier=${1:-all}
unset PYTHONDONTWRITEBYTECODE # images set it; a thousand interpreters would each compile our code anew, and each lane pytest's plugins
ci/tools.sh || [ -z "${CI:-}" ] # valgrind and strace for the exact counts, Graphviz for drawings, Chromium for the page; on a laptop their tests are skipped
eval "$(ci/services.sh env)"
ci/pythons.sh >/dev/null # the newest Python that the runtime is tested on

pure=(asya_core.wire asya_core.ops.backoff asya_core.transports.rabbitmq.topology asya_core.transports.sqs.{attributes,batches,codec,held,settings}
      asya_sidecar.lifecycle asya_sidecar.decide asya_sidecar.effects asya_sidecar.retry asya_sidecar.splice
      asya_flowc asya_cli.dlq.failures asya_cli.doctor.check asya_cli.doctor.rules asya_cli.plan.compare
      asya_operator.{compare,conditions,crd,desired,memory,observed,plan,policies,reasons,settings,spec,words}
      asya_gateway.access asya_gateway.progress asya_gateway.schema asya_gateway.status asya_gateway.strict_json asya_gateway.tools asya_gateway.ulid)
work=$(mktemp -d)
mkdir "$work/coverage"
tests() { # FOLDER ARGUMENT…: without plugins that none of these tests uses, which cost each lane 0.2 s
    local without=(-p no:anyio -p no:xdist)
    [[ $1 != tests* ]] || without+=(-p no:hypothesispytest)
    .venv/bin/pytest -q --durations=8 "${without[@]}" "$@"
}
computes() { # COMMAND…: the lane gives way to those that wait for processes of theirs
    renice -n 10 "$BASHPID" >/dev/null
    "$@"
}

component() { # NAME: the tests beside a package, with branch coverage of its pure modules
    local module coverage=()
    for module in "${pure[@]}"; do
        # Some of the core's rules are for the sidecar, and tested there.
        if [[ $module. == "asya_$1."* || $1$module == sidecarasya_core.* ]]; then coverage+=("--cov=$module"); fi
    done
    [ ${#coverage[@]} = 0 ] || coverage+=(--cov-branch --cov-report=)
    COVERAGE_FILE=$work/coverage/$1 tests "python/$1" "${coverage[@]}"
}
branches() { # 100 % branches of the pure modules, by the tests beside the packages
    export COVERAGE_FILE=$work/coverage/all
    local module
    .venv/bin/coverage combine --quiet "$work"/coverage/* && .venv/bin/coverage report --no-skip-covered >"$work/measured" || return 1
    for module in "${pure[@]}"; do
        grep -q "/${module//.//}[/.]" "$work/measured" || { echo "test: no test of its package imports $module"; return 1; }
    done
    .venv/bin/coverage report --fail-under=100 --skip-covered
}
static() { computes ci/static.sh; }
verify() { computes ci/verify.sh; }
services() { ci/services.sh fresh; }
charts() { computes tests tests/charts; }
docs() { tests tests/docs; }
release() { computes tests tests/release; }
simulation() { computes tests tests/faults/simulation; }
flowc() { computes component flowc; }
quiet="not hurts_broker and not hurts_broker4 and not sqs"
hurting=(tests --ignore=tests/{e2e,charts,docs,release,counts,faults/simulation})
hurt() { tests "${hurting[@]}" -m hurts_broker; }
hurt4() { tests "${hurting[@]}" -m hurts_broker4; }
sqs() { tests tests/contract tests/faults -m sqs; }
faults() { tests tests/faults --ignore=tests/faults/simulation -m "$quiet"; }
counts() { tests tests/counts; }
rest() { tests tests --ignore=tests/{e2e,charts,docs,release,counts,faults} -m "$quiet"; }

declare -A lanes=() # pid → name
failed=()
stop_lanes() { for pid in "${!lanes[@]}"; do kill -INT -- "-$pid" 2>/dev/null || true; done; }
trap 'stop_lanes; rm -rf "$work"' EXIT
lane() { # NAME COMMAND…: in the background, in a process group of its own, its output in a file
    set -m
    (
        set +m
        TIMEFORMAT="test: $1 took %R s, %U s of CPU and %S s of the kernel's"
        time "${@:2}"
    ) >"$work/$1" 2>&1 </dev/null &
    set +m
    lanes[$!]=$1
}
ended() { # wait for the next lane that ends, and print it
    local pid status=0
    wait -n -p pid "${!lanes[@]}" || status=$?
    echo "test: ${lanes[$pid]} ends with $status"
    cat "$work/${lanes[$pid]}"
    [ "$status" = 0 ] || failed+=("${lanes[$pid]}")
    unset "lanes[$pid]"
}
pool() { # COUNT NAME…: these lanes in this order, as long as fewer than COUNT run
    local name
    for name in "${@:2}"; do
        while [ "${#lanes[@]}" -ge "$1" ]; do ended; done
        case $name in
            core | sidecar | runtime | cli | operator | gateway | crew) lane "$name" component "$name" ;;
            *) lane "$name" "$name" ;;
        esac
    done
}
conclude() { # wait for all, check the coverage
    while [ ${#lanes[@]} != 0 ]; do ended; done
    branches || failed+=(coverage)
    [ ${#failed[@]} = 0 ] || { echo "test: failed: ${failed[*]}"; exit 1; }
}

case $tier in
    unit)
        pool 4 cli gateway operator sidecar core runtime flowc crew
        conclude
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
        ci/prometheus.sh >/dev/null || [ -z "${CI:-}" ] # first, as apt-get may run only once at a time
        pool 1 services
        ci/setup.sh
        ci/helm.sh >/dev/null || [ -z "${CI:-}" ] # both Helms for tests/charts; on a laptop without npm or Go those are skipped
        ci/kustomize.sh >/dev/null || [ -z "${CI:-}" ]
        # The collector takes minutes to build: on a laptop its test is skipped unless ASYA_TEST_OTELCOL names it.
        if [ -n "${CI:-}" ]; then ASYA_TEST_OTELCOL=$(ci/otelcol.sh) && export ASYA_TEST_OTELCOL; fi
        pool 4 verify flowc static # these need none
        while [[ " ${lanes[*]} " == *" services "* ]]; do ended; done
        [[ " ${failed[*]} " != *" services "* ]] || exit 1
        eval "$(ci/services.sh env)"
        # The first four wait nearly all the time. The others by their length; some of them give way, and fill what the rest leave.
        pool 10 hurt sqs hurt4 faults gateway cli rest docs operator charts sidecar simulation counts core runtime crew release
        conclude
        ;;
    *) echo "test: unknown tier '$tier'; expected unit, contract, counts, faults, charts, docs or all" >&2; exit 2 ;;
esac
