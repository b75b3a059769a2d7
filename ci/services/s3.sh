# An S3-compatible server for tests: versitygw, built from its Go module, on 127.0.0.1, its objects in files.
# Sourced by ci/services.sh; see server.sh for what calls these functions.
# shellcheck shell=bash disable=SC2034,SC2154  # variables of server.sh

s3_module=$(cd "$(dirname "${BASH_SOURCE[0]}")/s3" && pwd)

s3_select() {
    server_port=$((${ASYA_SERVICES_PORT_BASE:-26670} + 50))
    server_data=("$server_folder/data")
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

s3_prepare() {
    mkdir -p "$server_folder/data"
    make_secret "$server_folder/secret"
}

s3_command() {
    command=(ROOT_ACCESS_KEY=asya "ROOT_SECRET_KEY=$(cat "$server_folder/secret")"
        "$s3_server" --port "127.0.0.1:$server_port" --region us-east-1 --keep-alive --quiet posix "$server_folder/data")
}

s3_version() { printf versitygw; }

s3_env() {
    printf 'export %s=%q\n' ASYA_TEST_S3_ENDPOINT "http://127.0.0.1:$server_port" ASYA_TEST_S3_ACCESS_KEY asya \
        ASYA_TEST_S3_SECRET_KEY "$(cat "$server_folder/secret")" ASYA_TEST_S3_SERVER "$s3_server"
}
