#!/usr/bin/env bash
# Provides a small OpenTelemetry collector (OTLP in, a file out): a test sends it a real trace. Built from ci/cluster/go/otelcol, kept by its content.
#
#   ci/otelcol.sh     prints what it does on stderr, and as the only line on stdout the program; `make test` calls it where CI is set
#
# ASYA_CACHE        cache folder, default $HOME/.cache/asya
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

module=ci/cluster/go/otelcol
key=$(cat "$module/main.go" "$module/go.mod" "$module/go.sum" | sha256sum | cut -c1-16)
folder=${ASYA_CACHE:-${HOME:?}/.cache/asya}/tools/otelcol-$key
mkdir -p "$(dirname "$folder")"
exec 9>"$(dirname "$folder")/otelcol.lock"
flock 9

if [ ! -d "$folder" ]; then
    command -v go >/dev/null || { echo "otelcol: go is missing; it is built with Go 1.26" >&2; exit 1; }
    echo "otelcol: building it, some minutes" >&2
    rm -rf "$folder.draft"
    mkdir "$folder.draft"
    # -mod=mod: go.sum holds what the build needs and not what the tests of its packages would.
    (cd "$module" && CGO_ENABLED=0 GOWORK=off nice -n 10 go build -mod=mod -trimpath -buildvcs=false -ldflags "-s -w" -o "$folder.draft/otelcol" .)
    mv "$folder.draft" "$folder"
fi
printf '%s\n' "$folder/otelcol"
