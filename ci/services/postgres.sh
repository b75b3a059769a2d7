# Debian's PostgreSQL for tests, a cluster of its own on 127.0.0.1; tests make databases in it and drop them.
# Sourced by ci/services.sh; see server.sh for what calls these functions.
# shellcheck shell=bash disable=SC2034,SC2154  # variables of server.sh

postgres_select() {
    server_port=$((${ASYA_SERVICES_PORT_BASE:-26670} + 60))
    server_signals=(INT QUIT) # its "fast" shutdown and its "immediate" one
    postgres_as=()
    if [[ $(id -u) == 0 ]]; then
        # The server refuses to run as root, and its own user may not pass through root's home.
        server_folder=/var/tmp/asya-services-$server_port/postgres
        postgres_as=(setpriv --reuid postgres --regid postgres --init-groups)
    fi
    postgres_data=$server_folder/data
    server_data=("$postgres_data")
}

postgres_bin() {
    local newest
    newest=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -1)
    [[ ! -d $newest ]] || printf '%s' "$newest"
}

postgres_install() {
    [[ -z $(postgres_bin) ]] || return 0
    [[ $(id -u) == 0 ]] || fail "postgres: PostgreSQL is not installed and only root can install it; run: sudo apt-get install postgresql"
    say "postgres: installing postgresql"
    # No cluster of the system's own: ours is made below.
    mkdir -p /etc/postgresql-common/createcluster.d
    echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/asya.conf
    local log=$server_folder/install.log
    export DEBIAN_FRONTEND=noninteractive
    { apt-get -qq -y --no-install-recommends install postgresql || { apt-get -qq update && apt-get -qq -y --no-install-recommends install postgresql; }; } \
        >"$log" 2>&1 || { tail -5 "$log" >&2; fail "postgres: apt-get could not install postgresql; all it said is in $log"; }
    [[ -n $(postgres_bin) ]] || fail "postgres: postgresql was installed but is not below /usr/lib/postgresql"
}

postgres_serves() { "$(postgres_bin)/pg_isready" -q -h 127.0.0.1 -p "$server_port" 2>/dev/null; }

postgres_prepare() {
    [[ ${#postgres_as[@]} == 0 ]] || chown -R postgres: "$server_folder"
    [[ ! -s $postgres_data/PG_VERSION ]] || return 0
    rm -rf "$postgres_data"
    make_secret "$server_folder/password"
    [[ ${#postgres_as[@]} == 0 ]] || chown postgres: "$server_folder/password"
    (cd / && "${postgres_as[@]}" "$(postgres_bin)/initdb" -D "$postgres_data" -U asya --pwfile "$server_folder/password" \
        --auth scram-sha-256 -E UTF8 --locale C.UTF-8 --no-sync) >"$server_folder/init.log" 2>&1 ||
        { tail -5 "$server_folder/init.log" >&2; fail "postgres: the cluster could not be made"; }
}

postgres_command() {
    command=(PATH=/usr/bin:/bin LANG=C.UTF-8 "${postgres_as[@]}" "$(postgres_bin)/postgres" -D "$postgres_data" -p "$server_port"
        -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=100)
}

postgres_version() { "$(postgres_bin)/postgres" --version | cut -d' ' -f1,3; }

postgres_env() {
    printf 'export %s=%q\n' ASYA_TEST_POSTGRES_URL "postgresql://asya:$(cat "$server_folder/password")@127.0.0.1:$server_port/postgres"
}
