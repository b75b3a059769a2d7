#!/usr/bin/env bash
# Installs from npm what speaks MCP to the gateway in tests, and a Node that runs it. Prints the folder; in it NAME/node_modules of
#   handshake, newest   the official conformance suite, for revisions up to 2025-11-25, and 2026-07-28 (a pre-release, so at an exact version)
#   clients             the official TypeScript clients, 1.x and 2.x, and MCP Inspector
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

declare -A packages=(
    [handshake]='{"private":true,"dependencies":{"@modelcontextprotocol/conformance":"0.1.16","node":"22.23.3"}}'
    [newest]='{"private":true,"dependencies":{"@modelcontextprotocol/conformance":"0.2.0-alpha.12","node":"22.23.3"}}'
    [clients]='{"private":true,"dependencies":{"@modelcontextprotocol/sdk":"1.32.2","@modelcontextprotocol/client":"2.4.0",
"@modelcontextprotocol/inspector":"2.12.0","node":"22.23.3"}}'
)
key=$(printf '%s' "${packages[handshake]}${packages[newest]}${packages[clients]}" | sha256sum | cut -c1-16)
folder=${ASYA_CACHE:-$HOME/.cache/asya}/tools/mcp-$key
mkdir -p "$folder"
exec 9>"$folder/lock"
flock 9
for name in "${!packages[@]}"; do
    [ ! -e "$folder/$name/done" ] || continue
    command -v npm >/dev/null || { echo "mcp_suite: npm is not installed; these packages come from there" >&2; exit 1; }
    echo "mcp_suite: installing $name" >&2
    mkdir -p "$folder/$name"
    printf '%s\n' "${packages[$name]}" >"$folder/$name/package.json"
    (cd "$folder/$name" && npm install --no-audit --no-fund --no-package-lock >npm.log 2>&1) || { tail -5 "$folder/$name/npm.log" >&2; exit 1; }
    touch "$folder/$name/done"
done
echo "$folder"
