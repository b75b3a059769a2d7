#!/usr/bin/env bash
# Starts and stops the servers that tests talk to. See docs/contributing/services.md.
#
#   ci/services.sh start  [NAME…]   install what is missing, start, wait until it serves   (default: all but the faults nodes)
#   ci/services.sh fresh  [NAME…]   the same, with nothing on it unless it runs already: an ended machine leaves half-written data  (default: all but the faults nodes)
#   ci/services.sh stop   [NAME…]   end what this script started                           (default: all)
#   ci/services.sh status [NAME…]   one line each                                          (default: all)
#   ci/services.sh env    [NAME…]   `export …` lines for tests; a faults node says so by _FAULTS_   (default: all that run)
#   ci/services.sh wipe   [NAME…]   stop and remove data, logs and password                (default: all)
#   ci/services.sh ctl    NAME ARG… rabbitmqctl against that node
#   ci/services.sh eval   NAME TEXT Erlang expressions on that node, such as: 'rabbit_misc:version().'
#
# NAME is one of
#   rabbitmq            RabbitMQ 3.10 of Debian 12, shared by everything that only needs a broker
#   rabbitmq-faults     the same, for tests that kill, stop or starve their broker
#   rabbitmq4           RabbitMQ 4 of Debian 13, unpacked in the cache, not installed
#   rabbitmq4-faults    the same, for tests that kill, stop or starve their broker
#   s3                  versitygw, an S3-compatible server, built from its Go module
#   postgres            Debian's PostgreSQL, a cluster of its own
#   sqs                 ElasticMQ, an SQS-compatible server, from Maven Central
#   moto                moto's server (SQS and S3), from its Python package
set -Eeuo pipefail
shopt -s inherit_errexit

services_folder="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/services"
# shellcheck source=ci/services/rabbitmq.sh
source "$services_folder/rabbitmq.sh"
# shellcheck source=ci/services/server.sh
source "$services_folder/server.sh"
# shellcheck source=ci/services/s3.sh
source "$services_folder/s3.sh"
# shellcheck source=ci/services/postgres.sh
source "$services_folder/postgres.sh"
# shellcheck source=ci/services/sqs.sh
source "$services_folder/sqs.sh"

ALL=(rabbitmq rabbitmq-faults rabbitmq4 rabbitmq4-faults s3 postgres sqs moto)
DEFAULT=(rabbitmq rabbitmq4 s3 postgres sqs moto)

say() { printf '%s\n' "services: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
make_secret() { [[ -s $1 ]] || (umask 077 && od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$1"); } # hexadecimal digits in file $1, made once

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }

check_name() {
    local name
    for name in "${ALL[@]}"; do [[ $name == "$1" ]] && return 0; done
    fail "There is no service '$1'; expected one of: ${ALL[*]}"
}

main() {
    local verb=${1:-help}
    shift || true
    local names=("$@") name
    case $verb in
    start | fresh) [[ $# -gt 0 ]] || names=("${DEFAULT[@]}") ;;
    stop | status | env | wipe) [[ $# -gt 0 ]] || names=("${ALL[@]}") ;;
    ctl | eval)
        [[ $# -ge 2 ]] || fail "$verb needs a service and a command, such as: ctl rabbitmq list_queues"
        [[ $1 == rabbitmq* ]] || fail "$verb is for RabbitMQ's nodes, not for '$1'"
        names=("$1")
        ;;
    help | -h | --help)
        usage
        return 0
        ;;
    *) fail "There is no command '$verb'; expected start, fresh, stop, status, env, wipe, ctl or eval" ;;
    esac
    for name in "${names[@]}"; do check_name "$name"; done
    if [[ $verb == ctl || $verb == eval ]]; then
        shift
        "rabbitmq_$verb" "${names[0]}" "$@"
        return
    fi
    case $verb in
    start | fresh) start_all "$verb" "${names[@]}" ;;
    *)
        for name in "${names[@]}"; do
            on_service "$name" "$verb"
        done
        ;;
    esac
}

on_service() {
    local name=$1 verb=$2
    case $name in
    s3 | postgres | sqs | moto)
        server_select "$name"
        "server_$verb"
        ;;
    *)
        rabbitmq_select "$name"
        if [[ $verb == fresh ]]; then
            rabbitmq_pid >/dev/null || rabbitmq_wipe
            verb=start
        fi
        "rabbitmq_$verb"
        ;;
    esac
}

# All at the same time: each spends most of its start waiting.
start_all() {
    local verb=$1 name failed=() starting=()
    shift
    for name in "$@"; do
        (
            on_service "$name" "$verb"
        ) &
        starting+=("$!")
    done
    for name in "$@"; do
        wait "${starting[0]}" || failed+=("$name")
        starting=("${starting[@]:1}")
    done
    [[ ${#failed[@]} == 0 ]] || exit 1 # each has said why
}

main "$@"
