#!/usr/bin/env bash
# Installs the tools that tests use, valgrind and strace for counts, Graphviz for diagrams, Chromium for the gateway's page, GnuPG for signed releases, if one is missing. Does nothing when all are there.
set -Eeuo pipefail
missing=()
for tool in valgrind strace dot=graphviz chromium gpg-agent=gnupg; do command -v "${tool%=*}" >/dev/null || missing+=("${tool#*=}"); done
[ ${#missing[@]} -gt 0 ] || exit 0
[ "$(id -u)" = 0 ] || { echo "tools: ${missing[*]} not installed and only root can install; run: sudo apt-get install ${missing[*]}" >&2; exit 1; }
echo "tools: installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get -qq -y --no-install-recommends install "${missing[@]}" >/dev/null 2>&1 || {
    apt-get -qq update >&2
    apt-get -qq -y --no-install-recommends install "${missing[@]}" >&2
}
