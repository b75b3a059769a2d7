#!/usr/bin/env bash
# Debian's PostgreSQL for tests, a cluster of its own on 127.0.0.1; tests make databases in it and drop them.
# Sourced by ci/services.sh, which has the verbs; also runs alone: ci/services/postgres.sh start|fresh|stop|status|env|wipe
# shellcheck shell=bash disable=SC2034  # variables of the others

POSTGRES_START_SECONDS=30

postgres_select() {
    cache=${ASYA_CACHE:-$HOME/.cache/asya}
    postgres_port=$((${ASYA_SERVICES_PORT_BASE:-26670} + 60))
    postgres_folder=$cache/services/postgres
    postgres_as=()
    if [[ $(id -u) == 0 ]]; then
        # The server refuses to run as root, and its own user may not pass through root's home.
        postgres_folder=/var/tmp/asya-services-$postgres_port/postgres
        postgres_as=(setpriv --reuid postgres --regid postgres --init-groups)
    fi
    postgres_data=$postgres_folder/data
}

postgres_bin() { ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1 || true; }

postgres_install() {
    [[ -z $(postgres_bin) ]] || return 0
    [[ $(id -u) == 0 ]] || fail "postgres: PostgreSQL is not installed and only root can install it; run: sudo apt-get install postgresql"
    say "postgres: installing postgresql"
    # No cluster of the system's own: ours is made below.
    mkdir -p /etc/postgresql-common/createcluster.d
    echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/asya.conf
    local log=$postgres_folder/install.log
    export DEBIAN_FRONTEND=noninteractive
    { apt-get -qq -y --no-install-recommends install postgresql || { apt-get -qq update && apt-get -qq -y --no-install-recommends install postgresql; }; } \
        >"$log" 2>&1 || { tail -5 "$log" >&2; fail "postgres: apt-get could not install postgresql; all it said is in $log"; }
    [[ -n $(postgres_bin) ]] || fail "postgres: postgresql was installed but is not below /usr/lib/postgresql"
}

postgres_pid() {
    local pid
    pid=$(head -1 "$postgres_data/postmaster.pid" 2>/dev/null) || return 1
    [[ -n $pid && $(readlink "/proc/$pid/exe" 2>/dev/null) == "$(postgres_bin)/postgres" ]] || return 1
    printf '%s' "$pid"
}

postgres_serves() { "$(postgres_bin)/pg_isready" -q -h 127.0.0.1 -p "$postgres_port" 2>/dev/null; }

postgres_start() {
    mkdir -p "$postgres_folder"
    exec 9>"$postgres_folder/lock"
    flock 9
    postgres_install
    if postgres_pid >/dev/null && postgres_serves; then
        say "postgres: serves already, 127.0.0.1:$postgres_port"
        exec 9>&-
        return 0
    fi
    ! (exec 3<>"/dev/tcp/127.0.0.1/$postgres_port") 2>/dev/null ||
        fail "postgres: port $postgres_port is taken by another program; choose others with ASYA_SERVICES_PORT_BASE"
    [[ ${#postgres_as[@]} == 0 ]] || chown -R postgres: "$postgres_folder"
    if [[ ! -s $postgres_data/PG_VERSION ]]; then
        rm -rf "$postgres_data"
        (umask 077 && od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$postgres_folder/password")
        [[ ${#postgres_as[@]} == 0 ]] || chown postgres: "$postgres_folder/password"
        (cd / && "${postgres_as[@]}" "$(postgres_bin)/initdb" -D "$postgres_data" -U asya --pwfile "$postgres_folder/password" \
            --auth scram-sha-256 -E UTF8 --locale C.UTF-8 --no-sync) >"$postgres_folder/init.log" 2>&1 ||
            { tail -5 "$postgres_folder/init.log" >&2; fail "postgres: the cluster could not be made"; }
    fi
    (
        exec 9>&- </dev/null >>"$postgres_folder/log" 2>&1
        cd /
        exec setsid "${postgres_as[@]}" "$(postgres_bin)/postgres" -D "$postgres_data" -p "$postgres_port" \
            -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=100
    ) &
    disown "$!"
    local deadline=$((SECONDS + POSTGRES_START_SECONDS))
    until postgres_serves; do
        [[ $SECONDS -lt $deadline ]] || { tail -5 "$postgres_folder/log" >&2; fail "postgres: the server does not serve after $POSTGRES_START_SECONDS s"; }
        sleep 0.05
    done
    say "postgres: $("$(postgres_bin)/postgres" --version | cut -d' ' -f3) serves, 127.0.0.1:$postgres_port, pid $(postgres_pid)"
    exec 9>&-
}

postgres_stop() {
    local pid deadline=$((SECONDS + 10))
    if ! pid=$(postgres_pid); then
        say "postgres: does not run"
        return 0
    fi
    kill -INT "$pid" # its "fast" shutdown
    while postgres_pid >/dev/null; do
        [[ $SECONDS -lt $deadline ]] || kill -QUIT "$pid" 2>/dev/null || true
        sleep 0.05
    done
    say "postgres: stopped"
}

postgres_status() {
    local pid
    if pid=$(postgres_pid) && postgres_serves; then
        printf 'postgres\trunning\tPostgreSQL\tpid %s\t127.0.0.1:%s\n' "$pid" "$postgres_port"
    else
        printf 'postgres\tstopped\n'
    fi
}

postgres_env() {
    postgres_pid >/dev/null || return 0
    printf 'export %s=%q\n' ASYA_TEST_POSTGRES_URL "postgresql://asya:$(cat "$postgres_folder/password")@127.0.0.1:$postgres_port/postgres"
}

postgres_wipe() {
    postgres_stop
    rm -rf "$postgres_folder"
    say "postgres: wiped"
}

# As postgres_start, with nothing on it unless it runs.
postgres_fresh() {
    postgres_pid >/dev/null || rm -rf "$postgres_data"
    postgres_start
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    set -Eeuo pipefail
    shopt -s inherit_errexit
    say() { printf '%s\n' "services: $*" >&2; }
    fail() {
        say "$*"
        exit 1
    }
    postgres_select
    case ${1:-} in
    start | fresh | stop | status | env | wipe) "postgres_$1" ;;
    *) fail "usage: ci/services/postgres.sh start|fresh|stop|status|env|wipe" ;;
    esac
fi
