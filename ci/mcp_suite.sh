#!/usr/bin/env bash
# Installs the official MCP conformance suite from npm, in the two versions that the tests name, and a Node that runs it. Prints the folder:
# NAME/node_modules/.bin of `handshake` (revisions up to 2025-11-25) and `newest` (2026-07-28, tasks; a pre-release, so at an exact version).
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

declare -A packages=(
    [handshake]='{"private":true,"dependencies":{"@modelcontextprotocol/conformance":"0.1.16","node":"22.23.3"}}'
    [newest]='{"private":true,"dependencies":{"@modelcontextprotocol/conformance":"0.2.0-alpha.12","node":"22.23.3"}}'
)
key=$(printf '%s' "${packages[handshake]}${packages[newest]}" | sha256sum | cut -c1-16)
folder=${ASYA_CACHE:-$HOME/.cache/asya}/tools/mcp-conformance-$key
mkdir -p "$folder"
exec 9>"$folder/lock"
flock 9
for name in "${!packages[@]}"; do
    [ ! -e "$folder/$name/done" ] || continue
    command -v npm >/dev/null || { echo "mcp_suite: npm is not installed; the suite comes from there" >&2; exit 1; }
    echo "mcp_suite: installing $name" >&2
    mkdir -p "$folder/$name"
    printf '%s\n' "${packages[$name]}" >"$folder/$name/package.json"
    (cd "$folder/$name" && npm install --no-audit --no-fund --no-package-lock >npm.log 2>&1) || { tail -5 "$folder/$name/npm.log" >&2; exit 1; }
    touch "$folder/$name/done"
done
echo "$folder"
