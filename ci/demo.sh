#!/usr/bin/env bash
# The main job on this machine alone, on the embedded transport: one text through every actor of examples/text-analysis, then one through the
# routers of the flow examples/flows/text_analysis_flow.py, which is compiled to .asya/demo besides. The final payload of the flow is all that
# is on stdout; the rest, with the timing of each hop, is on stderr. `make demo` runs it after `make setup`.
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

show() { # prints the command as a user would type it, then runs it
    echo "demo: $*" >&2
    .venv/bin/"$@"
}

flow=text_analysis_flow
show asya run examples/text-analysis --input @examples/text-analysis/input.json --trace >&2
show asya flow compile "examples/flows/$flow.py" --output-dir .asya/demo --overwrite >&2
show asya run "examples/flows/$flow.py" --input "@examples/flows/inputs/$flow.json" --trace
