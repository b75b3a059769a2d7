#!/usr/bin/env bash
# The end-to-end tier from nothing to nothing: builds what is missing, starts the cluster, loads the images, runs the stories, ends all that
# it started, also when something failed. Prints how long each phase took. Arguments go to pytest, such as -k flow.
#
# ASYA_CACHE      cache folder, default $HOME/.cache/asya: with it warm, nothing is built
# E2E_WORKERS     stories side by side, default 3
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

workers=${E2E_WORKERS:-3}
images=(runtime sidecar operator crew my-processor text-analysis-flow-routers) # those that a story runs
began=$SECONDS
times=()

phase() { # NAME COMMAND…
    local name=$1 start=$SECONDS status=0
    shift
    printf '== %s\n' "$name"
    "$@" || status=$?
    times+=("$(printf '%-28s %5d s' "$name" $((SECONDS - start)))")
    return "$status"
}

cluster() { python3 ci/cluster/cluster.py "$@"; }

build_images() { ci/images.sh build "${images[@]}" | tee "$built"; }

load() { awk '{print $NF}' "$built" | xargs python3 ci/cluster/cluster.py load; }

stories() { .venv/bin/pytest -q tests/e2e --durations=12 "$@"; }

end() {
    local status=$?
    trap - EXIT INT TERM
    rm -f "$built"
    phase "cluster down" cluster down || status=1
    times+=("$(printf '%-28s %5d s' "in all" $((SECONDS - began)))")
    printf 'test-cluster: %s\n' "${times[@]}"
    exit "$status"
}

if cluster status >/dev/null 2>&1; then
    echo "test-cluster: a cluster runs already; run the stories against it (.venv/bin/pytest tests/e2e) or end it (make cluster-down)" >&2
    exit 1
fi
phase "programs" cluster build
phase "Helm" ci/helm.sh
built=$(mktemp)
trap 'rm -f "$built"' EXIT
phase "images" build_images

trap end EXIT
trap 'exit 130' INT TERM
phase "cluster up" cluster up
phase "images into the cluster" load
export CI=${CI:-true}
failed=0
phase "stories, side by side" stories -n "$workers" -m "not alone" "$@" || failed=$?
phase "stories, one by one" stories -m alone "$@" || failed=$?
exit "$failed"
