# Two SQS-compatible servers for tests, on 127.0.0.1, everything in memory: ElasticMQ from Maven Central (`sqs`), and moto's server (`moto`).
# Sourced by ci/services.sh; see server.sh for what calls these functions.
# shellcheck shell=bash disable=SC2034,SC2154  # variables of server.sh

sqs_module=$(cd "$(dirname "${BASH_SOURCE[0]}")/sqs" && pwd)

sqs_select() {
    server_start_seconds=60
    local base=${ASYA_SERVICES_PORT_BASE:-26670}
    case $server_name in
    # A folder per content of what names the version: a changed one is beside the old one.
    sqs)
        server_port=$((base + 80))
        sqs_home=$cache/tools/elasticmq-$(sha256sum <"$sqs_module/pom.xml" | cut -c1-16)
        ;;
    moto)
        server_port=$((base + 81))
        sqs_home=$cache/tools/moto-$(sha256sum <"$sqs_module/constraints.txt" | cut -c1-16)
        ;;
    esac
}

sqs_install() {
    if [[ $server_name == sqs ]] && ! command -v java >/dev/null; then sqs_missing "java is not installed; ElasticMQ needs Java 17 and Maven"; fi
    [[ ! -e $sqs_home/complete ]] || return 0
    local log=$server_folder/install.log draft=$sqs_home.draft
    rm -rf "$draft" "$sqs_home"
    case $server_name in
    sqs)
        command -v mvn >/dev/null || sqs_missing "mvn is not installed; ElasticMQ needs Java 17 and Maven"
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
    [[ -z ${CI:-} ]] || fail "$server_name: $1"
    say "$server_name: $1; tests that need it are skipped"
    exit 0
}

sqs_prepare() {
    rm -f "$server_folder/log"
    [[ $server_name == sqs ]] || return 0
    cat >"$server_folder/elasticmq.conf" <<CONF
include classpath("application.conf")
pekko.loglevel = "WARNING"
pekko.http.server.parsing.max-content-length = 4m
pekko.http.server.idle-timeout = 300s
node-address { protocol = http, host = "127.0.0.1", port = $server_port, context-path = "" }
rest-sqs { enabled = true, bind-port = $server_port, bind-hostname = "127.0.0.1", sqs-limits = strict }
rest-stats { enabled = false }
aws { region = us-east-1, accountId = "000000000000" }
CONF
}

sqs_command() {
    command=(PATH=/usr/bin:/bin LANG=C.UTF-8 "HOME=$server_folder")
    case $server_name in
    sqs)
        # Classes as they were when it first ended: half of the time that a Java program takes to start. The first tier of the compiler is enough.
        local archive=$sqs_home/classes.jsa share
        if [[ -s $archive ]]; then share=-XX:SharedArchiveFile=$archive; else share=-XX:ArchiveClassesAtExit=$archive; fi
        local -a jars=("$sqs_home"/lib/*.jar)
        command+=("$(readlink -f "$(command -v java)")" -Xms48m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1
            "$share" -Xlog:cds=off -Xlog:cds+dynamic=off
            "-Dconfig.file=$server_folder/elasticmq.conf" "-Dlogback.configurationFile=$sqs_module/logback.xml"
            -cp "$(IFS=:; printf '%s' "${jars[*]}")" org.elasticmq.server.Main)
        ;;
    moto) command+=("$sqs_home/bin/python" "$sqs_module/moto_server.py" "$server_port") ;;
    esac
}

sqs_env() {
    printf 'export ASYA_TEST_%s_%s=%q\n' "${server_name^^}" ENDPOINT "http://127.0.0.1:$server_port" "${server_name^^}" PID "$1"
}
