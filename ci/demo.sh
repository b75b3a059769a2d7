#!/usr/bin/env bash
# The main job on this machine alone, on the embedded transport: a flow is compiled, its routers and handlers are started with a gateway
# beside them, and the flow is called as a tool. The result of the call is all that is on stdout; the rest is on stderr.
# `make demo` runs it after `make setup`.
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

show() { # prints the command as a user would type it, then runs it
    echo "demo: $*" >&2
    .venv/bin/"$@"
}

flow=text_analysis_flow
log=$(mktemp)
server=
stop() { # Ctrl-C to the actors and the gateway; their log is shown if something went wrong
    local code=$?
    if [ -n "$server" ]; then
        kill -INT "$server" 2>/dev/null || true
        wait "$server" || true
    fi
    [ "$code" = 0 ] || cat "$log" >&2
    rm -f "$log"
}
trap stop EXIT

show asya flow compile "examples/flows/$flow.py" --output-dir .asya/demo --overwrite >&2
echo "demo: asya run examples/flows/$flow.py --serve --gateway --fresh &" >&2
# A shell without job control starts it deaf to SIGINT; the command listens again by itself.
.venv/bin/asya run "examples/flows/$flow.py" --serve --gateway --port 0 --fresh >"$log" 2>&1 &
server=$!
url=
for _ in $(seq 300); do
    url=$(sed -nE 's/.*Gateway at ([^,]+),.*/\1/p' "$log")
    [ -z "$url" ] || break
    kill -0 "$server" 2>/dev/null || exit 1
    sleep 0.1
done
[ -n "$url" ] || { echo "demo: the gateway did not start within 30 s" >&2; exit 1; }
export ASYA_CLI_MCP_URL=$url
echo "demo: export ASYA_CLI_MCP_URL=$url" >&2
show asya mcp list >&2
show asya mcp call "$flow" --json "@examples/flows/inputs/$flow.json"
