#!/usr/bin/env bash
# Provides kustomize, by which Flux builds: the tests of examples/gitops run it. Built from ci/cluster/go/kustomize, kept by its content.
#
#   ci/kustomize.sh   prints what it does on stderr, and as the only line on stdout the program
#
# ASYA_CACHE        cache folder, default $HOME/.cache/asya
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

module=ci/cluster/go/kustomize
key=$(cat "$module/go.mod" "$module/go.sum" | sha256sum | cut -c1-16)
folder=${ASYA_CACHE:-${HOME:?}/.cache/asya}/tools/kustomize-$key
mkdir -p "$(dirname "$folder")"
exec 9>"$(dirname "$folder")/kustomize.lock"
flock 9

if [ ! -d "$folder" ]; then
    command -v go >/dev/null || { echo "kustomize: go is missing; it is built with Go 1.26" >&2; exit 1; }
    echo "kustomize: building it, half a minute" >&2
    rm -rf "$folder.draft"
    mkdir "$folder.draft"
    (cd "$module" && CGO_ENABLED=0 GOWORK=off nice -n 10 go build -trimpath -buildvcs=false -ldflags "-s -w" \
        -o "$folder.draft/" sigs.k8s.io/kustomize/kustomize/v5)
    mv "$folder.draft" "$folder"
fi
printf '%s\n' "$folder/kustomize"
