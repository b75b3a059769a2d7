#!/usr/bin/env bash
# Two SQS-compatible servers for tests, on 127.0.0.1, everything in memory: ElasticMQ from Maven Central (`sqs`), and moto's server (`moto`).
# Sourced by ci/services.sh, which has the verbs; also runs alone: ci/services/sqs.sh start|fresh|stop|status|env|wipe sqs|moto
# shellcheck shell=bash disable=SC2034  # variables of the others

SQS_START_SECONDS=60
sqs_module=$(cd "$(dirname "${BASH_SOURCE[0]}")/sqs" && pwd)

sqs_select() {
    sqs_name=$1
    cache=${ASYA_CACHE:-$HOME/.cache/asya}
    sqs_folder=$cache/services/$sqs_name
    local base=${ASYA_SERVICES_PORT_BASE:-26670}
    case $sqs_name in
    # A folder per content of what names the version: a changed one is beside the old one.
    sqs)
        sqs_port=$((base + 80))
        sqs_home=$cache/tools/elasticmq-$(sha256sum <"$sqs_module/pom.xml" | cut -c1-16)
        sqs_program=$(readlink -f "$(command -v java)" || true)
        ;;
    moto)
        sqs_port=$((base + 81))
        sqs_home=$cache/tools/moto-$(sha256sum <"$sqs_module/constraints.txt" | cut -c1-16)
        sqs_program=$(readlink -f "$sqs_home/bin/python" || true)
        ;;
    esac
}

sqs_install() {
    [[ ! -e $sqs_home/complete ]] || return 0
    local log=$sqs_folder/install.log draft=$sqs_home.draft
    mkdir -p "$cache/tools"
    rm -rf "$draft" "$sqs_home"
    case $sqs_name in
    sqs)
        command -v java >/dev/null && command -v mvn >/dev/null || sqs_missing "java or mvn is not installed; ElasticMQ needs Java 17 and Maven"
        say "sqs: fetching ElasticMQ, about 20 s"
        nice -n 10 mvn -B -f "$sqs_module/pom.xml" dependency:copy-dependencies -DoutputDirectory="$draft/lib" >"$log" 2>&1 ||
            sqs_failed "$log" "Maven could not fetch ElasticMQ"
        mv "$draft" "$sqs_home"
        ;;
    moto)
        say "moto: installing moto's server, about half a minute"
        # In its place from the start: a virtual environment cannot be moved.
        { python3 -m venv "$sqs_home" && nice -n 10 "$sqs_home/bin/pip" install -q --disable-pip-version-check -r "$sqs_module/constraints.txt"; } \
            >"$log" 2>&1 || sqs_failed "$log" "pip could not install moto"
        sqs_program=$(readlink -f "$sqs_home/bin/python")
        ;;
    esac
    touch "$sqs_home/complete"
}

sqs_failed() {
    tail -5 "$1" >&2
    sqs_missing "$2; all it said is in $1"
}

# On a laptop the tests that need it are skipped; in CI nothing may be missing.
sqs_missing() {
    [[ -z ${CI:-} ]] || fail "$sqs_name: $1"
    say "$sqs_name: $1; tests that need it are skipped"
    exit 0
}

sqs_pid() {
    local pid
    pid=$(cat "$sqs_folder/pid" 2>/dev/null) || return 1
    # A number that was given to another process since has another environment.
    [[ -n $pid && -r /proc/$pid/environ ]] || return 1
    tr '\0' '\n' 2>/dev/null <"/proc/$pid/environ" | grep -qxF "ASYA_SERVICE=$sqs_folder" || return 1
    printf '%s' "$pid"
}

sqs_serves() { (exec 3<>"/dev/tcp/127.0.0.1/$sqs_port") 2>/dev/null; }

sqs_configure() {
    cat >"$sqs_folder/elasticmq.conf" <<CONF
include classpath("application.conf")
pekko.loglevel = "WARNING"
pekko.http.server.parsing.max-content-length = 4m
pekko.http.server.idle-timeout = 300s
node-address { protocol = http, host = "127.0.0.1", port = $sqs_port, context-path = "" }
rest-sqs { enabled = true, bind-port = $sqs_port, bind-hostname = "127.0.0.1", sqs-limits = strict }
rest-stats { enabled = false }
aws { region = us-east-1, accountId = "000000000000" }
CONF
}

# The server's command line in $command.
sqs_command() {
    case $sqs_name in
    sqs)
        # Classes as they were when it first ended: half of the time that a Java program takes to start. The first tier of the compiler is enough.
        local archive=$sqs_home/classes.jsa share
        if [[ -s $archive ]]; then share=-XX:SharedArchiveFile=$archive; else share=-XX:ArchiveClassesAtExit=$archive; fi
        local -a jars=("$sqs_home"/lib/*.jar)
        command=("$sqs_program" -Xms48m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 "$share" -Xlog:cds=off -Xlog:cds+dynamic=off
            "-Dconfig.file=$sqs_folder/elasticmq.conf" "-Dlogback.configurationFile=$sqs_module/logback.xml"
            -cp "$(IFS=:; printf '%s' "${jars[*]}")" org.elasticmq.server.Main)
        ;;
    moto) command=("$sqs_home/bin/python" "$sqs_module/moto_server.py" "$sqs_port") ;;
    esac
}

sqs_start() {
    mkdir -p "$sqs_folder"
    if [[ $sqs_name == sqs ]] && ! command -v java >/dev/null; then sqs_missing "java is not installed; ElasticMQ needs Java 17 and Maven"; fi
    # Two runs at the same time: the second one waits and finds the server running.
    exec 9>"$sqs_folder/lock"
    flock 9
    sqs_install
    if sqs_pid >/dev/null && sqs_serves; then
        say "$sqs_name: serves already, 127.0.0.1:$sqs_port"
        exec 9>&-
        return 0
    fi
    ! sqs_serves || fail "$sqs_name: port $sqs_port is taken by another program; choose others with ASYA_SERVICES_PORT_BASE"
    sqs_configure
    local -a command
    sqs_command
    (
        exec 9>&- </dev/null >"$sqs_folder/log" 2>&1
        exec setsid env -i "ASYA_SERVICE=$sqs_folder" PATH=/usr/bin:/bin LANG=C.UTF-8 "HOME=$sqs_folder" "${command[@]}"
    ) &
    local launched=$! deadline=$((SECONDS + SQS_START_SECONDS))
    disown "$launched"
    printf '%s' "$launched" >"$sqs_folder/pid"
    until sqs_serves; do
        if ! kill -0 "$launched" 2>/dev/null; then
            tail -5 "$sqs_folder/log" >&2
            fail "$sqs_name: the server ended while starting; its log is $sqs_folder/log"
        fi
        [[ $SECONDS -lt $deadline ]] || fail "$sqs_name: the server does not serve after $SQS_START_SECONDS s; its log is $sqs_folder/log"
        sleep 0.05
    done
    say "$sqs_name: serves, 127.0.0.1:$sqs_port, pid $launched"
    exec 9>&-
}

sqs_stop() {
    local pid deadline=$((SECONDS + 10))
    if ! pid=$(sqs_pid); then
        say "$sqs_name: does not run"
        return 0
    fi
    kill "$pid"
    while sqs_pid >/dev/null; do
        [[ $SECONDS -lt $deadline ]] || kill -KILL "$pid" 2>/dev/null || true
        sleep 0.05
    done
    rm -f "$sqs_folder/pid"
    say "$sqs_name: stopped"
}

sqs_status() {
    local pid
    if pid=$(sqs_pid) && sqs_serves; then
        printf '%s\trunning\tpid %s\thttp 127.0.0.1:%s\n' "$sqs_name" "$pid" "$sqs_port"
    else
        printf '%s\tstopped\n' "$sqs_name"
    fi
}

sqs_env() {
    local pid
    pid=$(sqs_pid) || return 0
    printf 'export ASYA_TEST_%s_%s=%q\n' "${sqs_name^^}" ENDPOINT "http://127.0.0.1:$sqs_port" "${sqs_name^^}" PID "$pid"
}

sqs_wipe() {
    sqs_stop
    rm -rf "$sqs_folder"
    say "$sqs_name: wiped"
}

# Everything is in memory: one that runs is kept as it is.
sqs_fresh() { sqs_start; }

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    set -Eeuo pipefail
    shopt -s inherit_errexit
    say() { printf '%s\n' "services: $*" >&2; }
    fail() {
        say "$*"
        exit 1
    }
    case ${1:-} in
    start | fresh | stop | status | env | wipe)
        sqs_select "${2:-sqs}"
        "sqs_$1"
        ;;
    *) fail "usage: ci/services/sqs.sh start|fresh|stop|status|env|wipe sqs|moto" ;;
    esac
fi
