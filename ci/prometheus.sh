#!/usr/bin/env bash
# Provides Prometheus and promtool, which tests of rules, dashboards and scraping run: Debian's package, unpacked, not installed, so that no service starts.
#
#   ci/prometheus.sh          prints what it does on stderr, and as the only line on stdout the folder with `prometheus` and `promtool`
#   ci/prometheus.sh cached   the same, but fetches nothing: exit code 1 if they are not there yet
#
# ASYA_CACHE        cache folder, default $HOME/.cache/asya
#
# The folder's name is made from this file: whoever changes how it is unpacked gets a new one. Two runs at once wait for each other.
set -Eeuo pipefail
shopt -s inherit_errexit
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'prometheus: %s\n' "$*" >&2; }

cache=${ASYA_CACHE:-${HOME:?}/.cache/asya}/tools
folder=$cache/prometheus-$(sha256sum ci/prometheus.sh | cut -c1-16)

if [ ! -d "$folder" ] && [ "${1:-}" = cached ]; then
    say "not there; fetch it: ci/prometheus.sh"
    exit 1
fi
mkdir -p "$cache"
exec 9>"$cache/prometheus.lock"
flock 9

if [ ! -d "$folder" ]; then
    for tool in apt-get dpkg-deb; do
        command -v "$tool" >/dev/null || { say "$tool is missing; Prometheus is unpacked from Debian's package, which needs a Debian-like machine"; exit 1; }
    done
    draft=$folder.draft
    rm -rf "$draft"
    mkdir -p "$draft/package"
    say "fetching Debian's package"
    fetch() { (cd "$draft/package" && apt-get -qq -o "APT::Sandbox::User=$(id -un)" -o Acquire::Retries=3 download prometheus) >"$cache/prometheus.log" 2>&1; }
    fetch || { [ "$(id -u)" = 0 ] && apt-get -qq update >>"$cache/prometheus.log" 2>&1 && fetch; } || {
        tail -5 "$cache/prometheus.log" >&2
        say "apt-get could not download prometheus; all it said is in $cache/prometheus.log"
        exit 1
    }
    dpkg-deb -x "$draft"/package/prometheus_*.deb "$draft/tree"
    mv "$draft/tree/usr/bin/prometheus" "$draft/tree/usr/bin/promtool" "$draft/"
    rm -rf "$draft/tree" "$draft/package"
    "$draft/promtool" --version >/dev/null
    mv "$draft" "$folder"
fi
say "$("$folder/prometheus" --version 2>&1 | sed -nE '1s/.*version ([^ ]+).*/\1/p')"
printf '%s\n' "$folder"
