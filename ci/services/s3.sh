#!/usr/bin/env bash
# An S3-compatible server for tests: versitygw, built from its Go module, on 127.0.0.1, its objects in files.
# Sourced by ci/services.sh, which has the verbs; also runs alone: ci/services/s3.sh start|fresh|stop|status|env|wipe
# shellcheck shell=bash disable=SC2034  # variables of the others

S3_START_SECONDS=30
s3_module=$(cd "$(dirname "${BASH_SOURCE[0]}")/s3" && pwd)

s3_select() {
    cache=${ASYA_CACHE:-$HOME/.cache/asya}
    s3_folder=$cache/services/s3
    s3_port=$((${ASYA_SERVICES_PORT_BASE:-26670} + 50))
    # A folder per content of the module: a changed version is built beside the old one.
    s3_server=$cache/tools/versitygw-$(cat "$s3_module"/go.{mod,sum} | sha256sum | cut -c1-16)/versitygw
}

s3_install() {
    [[ ! -x $s3_server ]] || return 0
    command -v go >/dev/null || fail "s3: Go is not installed; the server is built from its module with Go 1.26"
    say "s3: building versitygw, some minutes when Go's own cache is cold"
    mkdir -p "$(dirname "$s3_server")"
    (cd "$s3_module" && CGO_ENABLED=0 GOWORK=off nice -n 10 go build -trimpath -buildvcs=false -ldflags '-s -w' \
        -o "$s3_server.draft" github.com/versity/versitygw/cmd/versitygw) || fail "s3: versitygw could not be built"
    mv "$s3_server.draft" "$s3_server"
}

s3_pid() {
    local pid
    pid=$(cat "$s3_folder/pid" 2>/dev/null) || return 1
    # A number that was given to another process since has another program.
    [[ -n $pid && $(readlink "/proc/$pid/exe" 2>/dev/null) == "$s3_server" ]] || return 1
    printf '%s' "$pid"
}

s3_serves() { (exec 3<>"/dev/tcp/127.0.0.1/$s3_port") 2>/dev/null; }

s3_start() {
    mkdir -p "$s3_folder/data" "$cache/tools"
    chmod 700 "$s3_folder"
    # Two runs at the same time: the second one waits and finds the server running.
    exec 9>"$s3_folder/lock"
    flock 9
    s3_install
    if s3_pid >/dev/null && s3_serves; then
        say "s3: serves already, 127.0.0.1:$s3_port"
        exec 9>&-
        return 0
    fi
    ! s3_serves || fail "s3: port $s3_port is taken by another program; choose others with ASYA_SERVICES_PORT_BASE"
    [[ -s $s3_folder/secret ]] || (umask 077 && od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$s3_folder/secret")
    (
        exec 9>&- </dev/null >>"$s3_folder/log" 2>&1
        exec setsid env -i ROOT_ACCESS_KEY=asya ROOT_SECRET_KEY="$(cat "$s3_folder/secret")" \
            "$s3_server" --port "127.0.0.1:$s3_port" --region us-east-1 --keep-alive --quiet posix "$s3_folder/data"
    ) &
    local launched=$! deadline=$((SECONDS + S3_START_SECONDS))
    disown "$launched"
    printf '%s' "$launched" >"$s3_folder/pid"
    until s3_serves; do
        if ! kill -0 "$launched" 2>/dev/null; then
            tail -5 "$s3_folder/log" >&2
            fail "s3: the server ended while starting; its log is $s3_folder/log"
        fi
        [[ $SECONDS -lt $deadline ]] || fail "s3: the server does not serve after $S3_START_SECONDS s; its log is $s3_folder/log"
        sleep 0.05
    done
    say "s3: versitygw serves, 127.0.0.1:$s3_port, pid $launched"
    exec 9>&-
}

s3_stop() {
    local pid deadline=$((SECONDS + 10))
    if ! pid=$(s3_pid); then
        say "s3: does not run"
        return 0
    fi
    kill "$pid"
    while s3_pid >/dev/null; do
        [[ $SECONDS -lt $deadline ]] || kill -KILL "$pid" 2>/dev/null || true
        sleep 0.05
    done
    rm -f "$s3_folder/pid"
    say "s3: stopped"
}

s3_status() {
    local pid
    if pid=$(s3_pid) && s3_serves; then
        printf 's3\trunning\tversitygw\tpid %s\thttp 127.0.0.1:%s\n' "$pid" "$s3_port"
    else
        printf 's3\tstopped\n'
    fi
}

s3_env() {
    s3_pid >/dev/null || return 0
    printf 'export %s=%q\n' ASYA_TEST_S3_ENDPOINT "http://127.0.0.1:$s3_port" ASYA_TEST_S3_ACCESS_KEY asya \
        ASYA_TEST_S3_SECRET_KEY "$(cat "$s3_folder/secret")" ASYA_TEST_S3_SERVER "$s3_server"
}

s3_wipe() {
    s3_stop
    rm -rf "$s3_folder"
    say "s3: wiped"
}

# As s3_start, with nothing on it unless it runs.
s3_fresh() {
    s3_pid >/dev/null || rm -rf "$s3_folder/data"
    s3_start
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    set -Eeuo pipefail
    shopt -s inherit_errexit
    say() { printf '%s\n' "services: $*" >&2; }
    fail() {
        say "$*"
        exit 1
    }
    s3_select
    case ${1:-} in
    start | fresh | stop | status | env | wipe) "s3_$1" ;;
    *) fail "usage: ci/services/s3.sh start|fresh|stop|status|env|wipe" ;;
    esac
fi
