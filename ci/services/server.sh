# What the services that are one server process share: start, fresh, stop, status, wipe. RabbitMQ's nodes are two processes each and have their own.
# Sourced by ci/services.sh. A service NAME of a kind says what it is by functions:
#   KIND_select NAME   sets the variables below for its server; called before everything else
#   KIND_install       makes its program, if it is not there
#   KIND_command       puts what starts it into the array $command, after `env`: variables, program, arguments
#   KIND_env           prints the `export …` lines of a server that runs
#   KIND_prepare, KIND_serves, KIND_version   if files are to be made first, an open port is not enough, or `status` can tell more
# shellcheck shell=bash

SERVER_STOP_SECONDS=10

# The server that is selected, with what most are.
server_select() {
    server_name=$1
    case $server_name in moto) server_kind=sqs ;; *) server_kind=$server_name ;; esac
    cache=${ASYA_CACHE:-$HOME/.cache/asya}
    server_folder=$cache/services/$server_name
    server_port=0
    server_start_seconds=30
    server_signals=(TERM KILL) # polite, and after SERVER_STOP_SECONDS
    server_data=()             # what `fresh` removes
    "${server_kind}_select"
}

# Whether the kind has function $1 of its own.
server_has() { declare -F "${server_kind}_$1" >/dev/null; }

server_pid() {
    local pid
    pid=$(cat "$server_folder/pid" 2>/dev/null) || return 1
    # A number that was given to another process since has another environment.
    [[ -n $pid && -r /proc/$pid/environ ]] || return 1
    tr '\0' '\n' 2>/dev/null <"/proc/$pid/environ" | grep -qxF "ASYA_SERVICE=$server_folder" || return 1
    printf '%s' "$pid"
}

server_serves() { if server_has serves; then "${server_kind}_serves"; else port_open "$server_port"; fi; }

server_start() {
    mkdir -p "$server_folder" "$cache/tools"
    chmod 700 "$server_folder"
    # Two runs at the same time: the second one waits and finds the server running.
    exec 9>"$server_folder/lock"
    flock 9
    "${server_kind}_install"
    if server_pid >/dev/null && server_serves; then
        say "$server_name: serves already, 127.0.0.1:$server_port"
        exec 9>&-
        return 0
    fi
    ! port_open "$server_port" || fail "$server_name: port $server_port is taken by another program; choose others with ASYA_SERVICES_PORT_BASE"
    if server_has prepare; then "${server_kind}_prepare"; fi
    local -a command
    "${server_kind}_command"
    (
        exec 9>&- </dev/null >>"$server_folder/log" 2>&1
        cd /
        exec setsid env -i "ASYA_SERVICE=$server_folder" "${command[@]}"
    ) &
    local launched=$! deadline=$((SECONDS + server_start_seconds))
    disown "$launched"
    printf '%s' "$launched" >"$server_folder/pid"
    until server_serves; do
        if ! kill -0 "$launched" 2>/dev/null; then
            tail -5 "$server_folder/log" >&2
            fail "$server_name: the server ended while starting; its log is $server_folder/log"
        fi
        [[ $SECONDS -lt $deadline ]] || fail "$server_name: the server does not serve after $server_start_seconds s; its log is $server_folder/log"
        sleep 0.05
    done
    say "$server_name: serves, 127.0.0.1:$server_port, pid $launched"
    exec 9>&-
}

# As server_start, with nothing on it unless it runs.
server_fresh() {
    [[ ${#server_data[@]} == 0 ]] || server_pid >/dev/null || rm -rf "${server_data[@]}"
    server_start
}

server_stop() {
    local pid deadline=$((SECONDS + SERVER_STOP_SECONDS))
    if ! pid=$(server_pid); then
        say "$server_name: does not run"
        return 0
    fi
    kill "-${server_signals[0]}" "$pid"
    while server_pid >/dev/null; do
        [[ $SECONDS -lt $deadline ]] || kill "-${server_signals[1]}" "$pid" 2>/dev/null || true
        sleep 0.05
    done
    rm -f "$server_folder/pid"
    say "$server_name: stopped"
}

server_status() {
    local pid version=''
    if pid=$(server_pid) && server_serves; then
        if server_has version; then version=$("${server_kind}_version")$'\t'; fi
        printf '%s\trunning\t%spid %s\t127.0.0.1:%s\n' "$server_name" "$version" "$pid" "$server_port"
    else
        printf '%s\tstopped\n' "$server_name"
    fi
}

server_env() {
    local pid
    pid=$(server_pid) || return 0
    "${server_kind}_env" "$pid"
}

server_wipe() {
    server_stop
    rm -rf "$server_folder"
    say "$server_name: wiped"
}
