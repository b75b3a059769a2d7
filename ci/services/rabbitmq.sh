# One RabbitMQ node per service name: own node name, ports, cookie, data, logs and password; everything on 127.0.0.1.
# Sourced by ci/services.sh. Every function works on the node chosen by rabbitmq_select.
# shellcheck shell=bash

# shellcheck source=ci/services/debian13.sh
source "$(dirname "${BASH_SOURCE[0]}")/debian13.sh"

# Five ports per node, below the kernel's ephemeral range and away from RabbitMQ's own defaults.
PORT_BASE=${ASYA_SERVICES_PORT_BASE:-26670}
START_SECONDS=90
STOP_SECONDS=30

rabbitmq_select() {
    node=$1
    local offset
    case $node in
    rabbitmq) offset=0 release=installed ;;
    rabbitmq-faults) offset=10 release=installed ;;
    rabbitmq4) offset=20 release=debian13 ;;
    rabbitmq4-faults) offset=30 release=debian13 ;;
    esac
    amqp_port=$((PORT_BASE + offset + 2))
    distribution_port=$((PORT_BASE + offset + 3))
    epmd_port=$((PORT_BASE + offset + 4))
    management_port=$((PORT_BASE + offset + 5))
    # rabbitmqctl is a node of its own for a moment and needs a distribution port of its own.
    ctl_first_port=$((PORT_BASE + offset + 6))
    ctl_last_port=$((PORT_BASE + offset + 9))
    cache=${ASYA_CACHE:-$HOME/.cache/asya}
    folder=$cache/services/$node
}

rabbitmq_home() {
    if [[ $release == debian13 ]]; then
        debian13_home
        return
    fi
    # The newest version's own scripts: Debian's wrappers in /usr/sbin would change to the system's user and folders.
    local scripts
    scripts=$(ls -d /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin 2>/dev/null | sort -V | tail -1) || true
    printf '%s' "$scripts"
}

rabbitmq_install() {
    if [[ $release == debian13 ]]; then
        debian13_install
        return
    fi
    [[ -z $(rabbitmq_home) ]] || return 0
    [[ $(id -u) == 0 ]] || fail "rabbitmq-server is not installed and only root can install it; run: sudo apt-get install rabbitmq-server"
    say "$node: installing rabbitmq-server"
    local policy=/usr/sbin/policy-rc.d saved=''
    local archives=$cache/downloads/apt
    mkdir -p "$archives/partial"
    if [[ -e $policy ]]; then
        saved=$(mktemp)
        cp -p "$policy" "$saved"
    fi
    # The package's script starts the system's service after installing; 101 means: not now.
    # shellcheck disable=SC2064  # the values of now are meant
    trap "rabbitmq_restore_policy '$policy' '$saved'" EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    local options=(-qq -y --no-install-recommends -o "Dir::Cache::archives=$archives" -o APT::Keep-Downloaded-Packages=true -o Dpkg::Use-Pty=0 -o APT::Sandbox::User=root)
    export DEBIAN_FRONTEND=noninteractive
    local log=$cache/services/install.log
    mkdir -p "$cache/services"
    if ! apt-get "${options[@]}" install rabbitmq-server >"$log" 2>&1; then
        say "$node: package lists are old, fetching them"
        apt-get -qq update >>"$log" 2>&1 || true
        if ! apt-get "${options[@]}" install rabbitmq-server >>"$log" 2>&1; then
            tail -20 "$log" >&2
            fail "apt-get could not install rabbitmq-server; all it said is in $log"
        fi
    fi
    rabbitmq_restore_policy "$policy" "$saved"
    trap - EXIT
    [[ -n $(rabbitmq_home) ]] || fail "rabbitmq-server was installed but its scripts are not below /usr/lib/rabbitmq"
}

rabbitmq_restore_policy() {
    if [[ -n $2 ]]; then mv "$2" "$1"; else rm -f "$1"; fi
}

# The variables of the node, for server and command line. All of RabbitMQ's own defaults that name system folders are replaced.
rabbitmq_environment() {
    local path=/usr/sbin:/usr/bin:/sbin:/bin
    [[ $release != debian13 ]] || path=$(debian13_erlang)/bin:$path
    printf '%s\n' \
        "HOME=$folder/home" \
        "PATH=$path" \
        "LANG=C.UTF-8" \
        "ERL_INETRC=$folder/inetrc" \
        "ERL_EPMD_ADDRESS=127.0.0.1" \
        "ERL_EPMD_PORT=$epmd_port" \
        "ERL_CRASH_DUMP_SECONDS=0" \
        "RABBITMQ_NODENAME=asya-$node@localhost" \
        "RABBITMQ_NODE_IP_ADDRESS=127.0.0.1" \
        "RABBITMQ_NODE_PORT=$amqp_port" \
        "RABBITMQ_DIST_PORT=$distribution_port" \
        "RABBITMQ_CTL_DIST_PORT_MIN=$ctl_first_port" \
        "RABBITMQ_CTL_DIST_PORT_MAX=$ctl_last_port" \
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1} -rabbit quorum_tick_interval 250" \
        "RABBITMQ_CTL_ERL_ARGS=-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}" \
        "RABBITMQ_CONF_ENV_FILE=$folder/rabbitmq-env.conf" \
        "RABBITMQ_CONFIG_FILE=$folder/rabbitmq.conf" \
        "RABBITMQ_ADVANCED_CONFIG_FILE=$folder/advanced.config" \
        "RABBITMQ_ENABLED_PLUGINS_FILE=$folder/enabled_plugins" \
        "RABBITMQ_MNESIA_BASE=$folder/data" \
        "RABBITMQ_LOG_BASE=$folder/log" \
        "RABBITMQ_PID_FILE=$folder/pid" \
        "RABBITMQ_GENERATED_CONFIG_DIR=$folder/generated" \
        "RABBITMQ_FEATURE_FLAGS_FILE=$folder/data/feature_flags"
}

# Runs a command of the node's system, with its variables, in place of this shell.
rabbitmq_exec() {
    local variables
    mapfile -t variables < <(rabbitmq_environment)
    exec env -i "${variables[@]}" "$@"
}

rabbitmq_ctl() {
    rabbitmq_select "$1"
    shift
    rabbitmq_pid >/dev/null || fail "$node does not run; start it with: ci/services.sh start $node"
    (rabbitmq_exec "$(rabbitmq_home)/rabbitmqctl" --quiet "$@")
}

# Evaluates Erlang expressions on the node; prints what the last one gives. In a hundredth of the time that rabbitmqctl takes to start.
rabbitmq_eval() {
    local answer erlang=/usr/lib/erlang
    rabbitmq_select "$1"
    rabbitmq_pid >/dev/null || fail "$node does not run; start it with: ci/services.sh start $node"
    [[ $release != debian13 ]] || erlang=$(debian13_erlang)
    # The client takes the cookie from HOME, and a name of its own so that several may call at the same time.
    answer=$(rabbitmq_exec "$erlang/bin/erl_call" -h "eval-$$" -name "asya-$node@localhost" -e <<<"$2")
    [[ $answer == "{ok, "* ]] || fail "$node: evaluating ended with $answer"
    answer=${answer#"{ok, "}
    printf '%s\n' "${answer%\}}"
}

rabbitmq_configure() {
    mkdir -p "$folder"/{home,data,log,generated}
    chmod 700 "$folder" "$folder/home"
    make_secret "$folder/password"
    if [[ ! -s $folder/home/.erlang.cookie ]]; then
        (umask 077 && od -An -N20 -tx1 /dev/urandom | tr -d ' \n' >"$folder/home/.erlang.cookie")
        chmod 400 "$folder/home/.erlang.cookie"
    fi
    : >"$folder/rabbitmq-env.conf"
    # Without its cache, whose answers may be older than what a test has just made or removed.
    printf '[{rabbitmq_management, [{management_db_cache_multiplier, 0}]}].\n' >"$folder/advanced.config"
    printf '[rabbitmq_management].\n' >"$folder/enabled_plugins"
    # The machine's own name is never asked for, so it need not resolve.
    printf '{host, {127,0,0,1}, ["localhost"]}.\n{lookup, [file, native]}.\n' >"$folder/inetrc"
    cat >"$folder/rabbitmq.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:$amqp_port
management.tcp.ip = 127.0.0.1
management.tcp.port = $management_port
default_user = asya
default_pass = $(cat "$folder/password")
default_user_tags.administrator = true
disk_free_limit.absolute = 200MB
log.file.level = warning
log.console = false
# Tests read counts over the management API; the default of 5 s would make each of them wait as long.
collect_statistics_interval = 250
management.rates_mode = basic
CONF
    chmod 600 "$folder/rabbitmq.conf"
}

# Whether process $1 is ours: a number that was given to another process since has another environment.
is_ours() {
    [[ -n $1 && -r /proc/$1/environ ]] || return 1
    tr '\0' '\n' 2>/dev/null <"/proc/$1/environ" | grep -qxF "RABBITMQ_MNESIA_BASE=$folder/data"
}

rabbitmq_pid() { live_pid "$folder/pid"; }
epmd_pid() { live_pid "$folder/epmd.pid"; }

live_pid() {
    local pid
    pid=$(cat "$1" 2>/dev/null) || return 1
    is_ours "$pid" || return 1
    printf '%s' "$pid"
}

rabbitmq_serves() {
    # The listeners come last and a look at a port costs nothing; curl would take a hundredth of a second of CPU, ten times a second.
    port_open "$amqp_port" && curl -fsS --max-time 5 -o "$folder/overview.json" -u "asya:$(cat "$folder/password")" \
        "http://127.0.0.1:$management_port/api/overview" 2>/dev/null
}

rabbitmq_version() {
    sed -n 's/.*"rabbitmq_version":"\([^"]*\)".*/\1/p' "$folder/overview.json" 2>/dev/null || true
}

rabbitmq_start() {
    command -v curl >/dev/null || fail "curl is not installed; install it first"
    rabbitmq_install
    mkdir -p "$folder"
    # Two runs at the same time: the second one waits and finds the node running.
    exec 9>"$folder/lock"
    flock 9
    if rabbitmq_pid >/dev/null && rabbitmq_serves; then
        say "$node: RabbitMQ $(rabbitmq_version) serves already, amqp 127.0.0.1:$amqp_port"
        exec 9>&-
        return 0
    fi
    rabbitmq_end
    rabbitmq_configure
    local port
    for port in "$amqp_port" "$distribution_port" "$epmd_port" "$management_port"; do
        ! port_open "$port" || fail "$node: port $port is taken by another program; choose others with ASYA_SERVICES_PORT_BASE (now $PORT_BASE)"
    done
    say "$node: starting, amqp 127.0.0.1:$amqp_port, data and logs in $folder"
    # Started here, so that it is ours to end; RabbitMQ would leave a daemon behind that listens on every address.
    rabbitmq_launch "$folder/epmd.log" epmd -address 127.0.0.1 -port "$epmd_port"
    printf '%s' "$launched" >"$folder/epmd.pid"
    rabbitmq_launch "$folder/log/console.log" "$(rabbitmq_home)/rabbitmq-server"
    local launcher=$launched deadline=$((SECONDS + START_SECONDS))
    until rabbitmq_serves; do
        if ! kill -0 "$launcher" 2>/dev/null; then
            tail -20 "$folder/log/console.log" >&2
            fail "$node: RabbitMQ ended while starting; its logs are in $folder/log"
        fi
        [[ $SECONDS -lt $deadline ]] || fail "$node: RabbitMQ does not serve after $START_SECONDS s; its logs are in $folder/log"
        sleep 0.1
    done
    rabbitmq_pid >/dev/null || fail "$node: RabbitMQ serves but $folder/pid does not name it"
    say "$node: RabbitMQ $(rabbitmq_version) serves, pid $(rabbitmq_pid)"
    exec 9>&-
}

# Starts a command in a session of its own with its output in a file; its pid is in $launched.
rabbitmq_launch() {
    local output=$1
    shift
    (
        exec </dev/null >>"$output" 2>&1
        close_inherited # a server would hold a caller's lock or pipe for as long as it lives
        rabbitmq_session "$@"
    ) &
    launched=$!
    disown "$launched"
}

close_inherited() {
    local descriptor
    for descriptor in /proc/self/fd/*; do
        descriptor=${descriptor##*/}
        [[ $descriptor -le 2 || $descriptor == 255 ]] || eval "exec $descriptor>&-"
    done
}

rabbitmq_session() {
    local variables
    mapfile -t variables < <(rabbitmq_environment)
    exec setsid env -i "${variables[@]}" "$@"
}

# Ends node and epmd by the pids that were written when they started, politely or by signal $1.
rabbitmq_end() {
    local pid
    if pid=$(rabbitmq_pid); then end_by "$pid" "${1:-TERM}"; fi
    if pid=$(epmd_pid); then end_by "$pid" "${1:-TERM}"; fi
    rm -f "$folder/pid" "$folder/epmd.pid"
}

# Signal $2, then KILL.
end_by() {
    local pid=$1 deadline=$((SECONDS + STOP_SECONDS))
    kill "-$2" "$pid" 2>/dev/null || true
    kill -CONT "$pid" 2>/dev/null || true # a test may have left it stopped
    while is_ours "$pid"; do
        if [[ $SECONDS -ge $deadline ]]; then
            say "$node: process $pid ignores SIGTERM, killing it"
            kill -KILL "$pid" 2>/dev/null || true
        fi
        sleep 0.1
    done
}

rabbitmq_stop() {
    [[ -d $folder ]] || return 0
    if rabbitmq_pid >/dev/null || epmd_pid >/dev/null; then
        rabbitmq_end
        say "$node: stopped"
    fi
}

rabbitmq_wipe() {
    if [[ -d $folder ]]; then
        rabbitmq_end KILL # nothing of it is kept
        rm -rf "$folder"
        say "$node: removed $folder"
    fi
}

rabbitmq_status() {
    local pid
    if pid=$(rabbitmq_pid) && rabbitmq_serves; then
        printf '%s\trunning\tRabbitMQ %s\tpid %s\tamqp 127.0.0.1:%s\tmanagement 127.0.0.1:%s\n' \
            "$node" "$(rabbitmq_version)" "$pid" "$amqp_port" "$management_port"
    else
        printf '%s\tstopped\n' "$node"
    fi
}

rabbitmq_env() {
    local pid prefix
    pid=$(rabbitmq_pid) || return 0
    prefix=ASYA_TEST_$(tr 'a-z-' 'A-Z_' <<<"$node")
    printf 'export %s_URL=amqp://asya:%s@127.0.0.1:%s/%%2F\n' "$prefix" "$(cat "$folder/password")" "$amqp_port"
    printf 'export %s_MANAGEMENT_URL=http://127.0.0.1:%s\n' "$prefix" "$management_port"
    printf 'export %s_PASSWORD_FILE=%s\n' "$prefix" "$folder/password"
    printf 'export %s_PID=%s\n' "$prefix" "$pid"
}
