#!/usr/bin/env bash
# Fetches axe-core, which checks the gateway's page for accessibility, from npm. Prints the path of its script.
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=4.14.1
folder=${ASYA_CACHE:-$HOME/.cache/asya}/tools/axe-core-$version
file=$folder/node_modules/axe-core/axe.min.js
mkdir -p "$folder"
exec 9>"$folder/lock"
flock 9
if [ ! -e "$file" ]; then
    command -v npm >/dev/null || { echo "axe: npm is not installed; axe-core comes from there" >&2; exit 1; }
    echo "axe: installing axe-core $version" >&2
    printf '{"private":true,"dependencies":{"axe-core":"%s"}}\n' "$version" >"$folder/package.json"
    (cd "$folder" && npm install --no-audit --no-fund --no-package-lock >npm.log 2>&1) || { tail -5 "$folder/npm.log" >&2; exit 1; }
fi
echo "$file"
