#!/usr/bin/env bash
# The end-to-end tier from nothing to nothing: builds what is missing, starts the cluster, loads the images, runs the stories, ends all that
# it started, also when something failed or took too long. Prints how long each phase took. Arguments go to pytest, such as -k flow.
#
# ASYA_CACHE      cache folder, default $HOME/.cache/asya: with it warm, nothing is built
# E2E_WORKERS     stories side by side, default 3
# ASYA_E2E_ARGOCD 1: Argo CD too, and its story, which take some minutes more; make test-gitops runs that story alone
# E2E_MINUTES     the most that images, cluster and stories may take together, default 60; what builds Kubernetes itself comes before
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

workers=${E2E_WORKERS:-3}
minutes=${E2E_MINUTES:-60}
images=(runtime sidecar operator crew gateway my-processor my-processor-v2 text-analysis-flow-routers) # those that a story runs
began=$SECONDS
times=()
child=
watchdog=
ours=() # services that did not run before

# Each phase is a job with a process group of its own, so that a signal is acted on at once and ends all of it.
set -m

phase() { # NAME COMMAND…
    local name=$1 start=$SECONDS status=0
    shift
    printf '== %s\n' "$name"
    "$@" &
    child=$!
    wait "$child" || status=$?
    child=
    times+=("$(printf '%-28s %5d s' "$name" $((SECONDS - start)))")
    return "$status"
}

cluster() { python3 ci/cluster/cluster.py "$@"; }

build_images() { ci/images.sh build "${images[@]}" | tee "$built"; }

load() { awk '{print $NF}' "$built" | xargs python3 ci/cluster/cluster.py load; }

stories() {
    local status=0
    .venv/bin/pytest -q tests/e2e --durations=12 "$@" || status=$?
    [ "$status" != 5 ] || status=0 # the arguments chose none of these
    return "$status"
}

# Ends a job of ours with all that it started: politely, then by force.
end_job() {
    local waited=0
    kill -TERM -- "-$1" 2>/dev/null || return 0
    while kill -0 -- "-$1" 2>/dev/null && [ $((waited += 1)) -le 100 ]; do sleep 0.1; done
    kill -KILL -- "-$1" 2>/dev/null || true
}

# What helps when a phase failed or hung; a failed story has told of its own namespace already.
look() (
    eval "$(python3 ci/cluster/cluster.py env)"
    timeout 20 kubectl get pods,asya --all-namespaces
    timeout 20 kubectl get applications --all-namespaces
    timeout 20 kubectl get events --all-namespaces --sort-by=.lastTimestamp | tail -n 40
    timeout 20 kubectl logs --namespace asya-system --selector app.kubernetes.io/name=asya-operator --tail=60
    tail -n 15 "${KUBECONFIG%/run/*}"/logs/{kubelet,kube-apiserver,containerd}.log
)

end() {
    local status=$?
    trap '' INT TERM
    trap - EXIT
    [ -z "$watchdog" ] || end_job "$watchdog"
    [ -z "$child" ] || end_job "$child"
    rm -f "$built"
    [ "$status" = 0 ] || [ "$status" = 130 ] || phase "a look at the cluster" look || true
    # Should the end itself hang: `down` may be repeated.
    [ ${#ours[@]} = 0 ] || ci/services.sh stop "${ours[@]}" || true
    phase "cluster down" timeout --kill-after=10 300 python3 ci/cluster/cluster.py down || status=1
    times+=("$(printf '%-28s %5d s' "in all" $((SECONDS - began)))")
    printf 'test-cluster: %s\n' "${times[@]}"
    exit "$status"
}

too_late() {
    printf 'test-cluster: not done after %d minutes; ending it. E2E_MINUTES allows more\n' "$minutes" >&2
    exit 124
}

if cluster status >/dev/null 2>&1; then
    echo "test-cluster: a cluster runs already; run the stories against it (.venv/bin/pytest tests/e2e) or end it (make cluster-down)" >&2
    exit 1
fi
addons=()
alone="alone and not measured"
[ "${ASYA_E2E_UPGRADE:-}" = 1 ] || alone+=" and not upgrade"
if [ "${ASYA_E2E_ARGOCD:-}" = 1 ]; then addons=(--with argocd); else alone+=" and not gitops"; fi
phase "programs" cluster build "${addons[@]}"
phase "Helm" ci/helm.sh
phase "Prometheus" ci/prometheus.sh
built=$(mktemp)
trap end EXIT
trap 'exit 130' INT TERM
trap too_late USR1
{ sleep $((minutes * 60)) && kill -USR1 $$; } &
watchdog=$!
phase "images" build_images
phase "cluster up" cluster up
phase "images into the cluster" load
ci/services.sh status moto | grep -qw running || ours+=(moto)
phase "a server of SQS" ci/services.sh start moto
eval "$(ci/services.sh env moto)"
export CI=${CI:-true}
failed=0
phase "stories, side by side" stories -n "$workers" -m "not alone" "$@" || failed=$?
[ ${#addons[@]} = 0 ] || phase "Argo CD" cluster up "${addons[@]}"
# Whether every right was used can be told after all stories only.
[ $# -gt 0 ] || export ASYA_E2E_COMPLETE=1
phase "stories, one by one" stories -m "$alone" "$@" || failed=$?
exit "$failed"
