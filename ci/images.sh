#!/usr/bin/env bash
# Builds the images from the Dockerfiles that users would build, without a daemon and without a container registry.
#
#   ci/images.sh build [NAME…]   build what has changed; on stdout a line "IMAGE SIZE ARCHIVE" each  (default: all of our components)
#   ci/images.sh base            build the stand-in for python:3.13-slim alone
#   ci/images.sh list            the names: our components, and what the end-to-end tests use as a user's images
#
# ASYA_CACHE         cache folder, default $HOME/.cache/asya: archives by content, pip's downloads, buildah's storage
# ASYA_IMAGES_TREE   other sources than those around this script, such as an earlier commit's; their archives are kept apart
# ASYA_IMAGES_TAG    tag of our components' images, default the project's version
#
# The base image is Debian 13 with its own Python 3.13, put together by debootstrap and tagged docker.io/library/python:3.13-slim in a
# storage of our own: what a Dockerfile says stays what it says elsewhere. An archive's name is made from all that the image is built from.
set -Eeuo pipefail
shopt -s inherit_errexit nullglob
script=$(realpath "${BASH_SOURCE[0]}")
cd "${ASYA_IMAGES_TREE:-$(dirname "${BASH_SOURCE[0]}")/..}"

cache=${ASYA_CACHE:-${HOME:?}/.cache/asya}/images
suite=trixie
base_image=docker.io/library/python:3.13-slim
base_packages=python3,python3-pip,ca-certificates,netbase,tzdata
driver=
archives=$cache/archives${ASYA_IMAGES_TREE:+/others}
version=${ASYA_IMAGES_TAG:-$(sed -nE 's/^version = "(.*)"$/\1/p' pyproject.toml)}
storage_limit_mb=6000
all=(runtime sidecar operator crew gateway)
tests=(my-processor my-processor-v2 text-analysis-flow-routers)
flow=examples/flows/compiled/text_analysis_flow

say() { printf 'images: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$script"; }

# buildah with a storage of its own. "overlay" builds in seconds what "vfs" copies file by file, but not every file system carries it.
build_ah() {
    local root=$cache/storage-$driver
    CONTAINERS_REGISTRIES_CONF=$cache/registries.conf buildah --root "$root" --runroot "$root/run" --storage-driver "$driver" "$@"
}

choose_driver() {
    [ -z "$driver" ] || return 0
    driver=overlay
    build_ah info >/dev/null 2>&1 || driver=vfs
}

install_tools() {
    local missing=() tool
    for tool in buildah debootstrap; do command -v "$tool" >/dev/null || missing+=("$tool"); done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || fail "${missing[*]} not installed and only root can install; run: sudo apt-get install ${missing[*]}"
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get -qq update && apt-get -qq -y --no-install-recommends install "${missing[@]}"; } >/dev/null
}

# The first Debian archive among this machine's sources: "URIs:" of the new format, else a "deb" line of the old one.
debian_archive() {
    cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list /etc/apt/sources.li[s]t </dev/null |
        sed -nE 's/^URIs:[[:space:]]*([^[:space:]]*\/debian)\/?([[:space:]].*)?$/\1/p; s/^deb([[:space:]]+\[[^]]*\])?[[:space:]]+([^[:space:]]*\/debian)\/?[[:space:]].*$/\2/p' |
        head -n 1
}

base_key() { { declare -f build_base; echo "$suite $base_packages"; } | sha256sum | cut -c1-16; }

build_base() {
    local root=$cache/base/root archive container
    archive=$(debian_archive)
    [ -n "$archive" ] || fail "no Debian archive in /etc/apt; add one"
    rm -rf "$cache/base"
    mkdir -p "$cache/base"
    debootstrap --variant=minbase --include="$base_packages" "$suite" "$root" "$archive" >"$cache/base/log" 2>&1 ||
        { tail -n 20 "$cache/base/log" >&2; fail "debootstrap failed"; }
    # The names under which the image of Docker's library has them; pip installs into environments only, so Debian's mark stays.
    ln -s /usr/bin/python3 "$root/usr/local/bin/python"
    ln -s /usr/bin/python3 "$root/usr/local/bin/python3"
    rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/usr/share/{doc,man,info,locale,lintian}/*
    echo 'LANG=C.UTF-8' >"$root/etc/default/locale"
    container=$(build_ah from scratch)
    build_ah copy --quiet "$container" "$root" / >/dev/null
    build_ah config --env PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin --env LANG=C.UTF-8 --cmd python3 "$container"
    build_ah commit --quiet --rm "$container" "$base_image" >/dev/null
    rm -rf "$cache/base"
}

ensure_base() {
    local key file
    choose_driver
    key=$(base_key)
    file=$cache/storage-$driver/base.key
    if [ "$(cat "$file" 2>/dev/null)" = "$key" ] && build_ah images --quiet "$base_image" >/dev/null 2>&1; then return 0; fi
    say "putting $base_image together from Debian $suite"
    build_base
    echo "$key" >"$file"
}

# What a name's image is called, where its Dockerfile is, and the folder in which it is built.
image_name() {
    case $1 in
    my-processor) echo "docker.io/library/my-processor:v1" ;;
    my-processor-v2) echo "docker.io/library/my-processor:v2" ;;
    text-analysis-flow-routers) echo "registry.example.com/text-analysis-flow-routers:v1" ;;
    *) echo "docker.io/asya/$1:$version" ;;
    esac
}
dockerfile() {
    case $1 in
    my-processor | my-processor-v2) echo "tests/e2e/images/my-processor/Dockerfile" ;;
    text-analysis-flow-routers) echo "tests/e2e/images/$1/Dockerfile" ;;
    *) echo "python/$1/Dockerfile" ;;
    esac
}
context() {
    case $1 in
    my-processor | my-processor-v2) echo "tests/e2e/images/$1" ;;
    text-analysis-flow-routers) echo "$flow" ;;
    *) echo . ;;
    esac
}

# Everything that goes into an image: more than needed is harmless, less would keep a stale one.
inputs() {
    case $1 in
    runtime) ;;
    my-processor | my-processor-v2) cat "tests/e2e/images/$1"/*.py ;;
    text-analysis-flow-routers) cat python/runtime/Dockerfile "$flow/routers.py" ;;
    *)
        cat .dockerignore pyproject.toml README.md LICENSE ci/constraints.txt
        find python/core "python/$1" -type f ! -path '*/tests/*' ! -path '*/__pycache__/*' ! -name Dockerfile -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
        ;;
    esac
}

content_key() {
    {
        base_key
        declare -f build_one
        cat "$(dockerfile "$1")"
        inputs "$1"
    } | sha256sum | cut -c1-16
}

# pip inside a build trusts what the host trusts and asks whom the host asks; nothing of it gets into the image.
pip_configuration() {
    local certificates=/etc/ssl/certs/ca-certificates.crt index
    mkdir -p "$cache/pip"
    {
        echo "[global]"
        echo "disable-pip-version-check = true"
        echo "root-user-action = ignore"
        echo "cache-dir = /var/cache/pip"
        [ ! -f $certificates ] || echo "cert = $certificates"
        index=$(python3 -m pip config get global.index-url 2>/dev/null) && echo "index-url = $index"
    } >"$cache/pip.conf"
    [ ! -f $certificates ] || printf '%s\n' --volume "$certificates:$certificates:ro"
    printf '%s\n' --volume "$cache/pip.conf:/etc/pip.conf:ro" --volume "$cache/pip:/var/cache/pip"
}

build_one() {
    local name=$1 archive=$2 image file mounts
    image=$(image_name "$name")
    file=$(dockerfile "$name")
    [ "$name" != text-analysis-flow-routers ] || build runtime >/dev/null
    mapfile -t mounts < <(pip_configuration)
    build_ah build --quiet --isolation chroot --pull-never --layers --format docker "${mounts[@]}" --tag "$image" --file "$file" "$(context "$name")" >/dev/null
    rm -f "$archive.draft"
    build_ah push --quiet "$image" "docker-archive:$archive.draft:$image"
    mv "$archive.draft" "$archive"
    # Layers that no name points to save the next build's time, up to a point.
    build_ah rm --all >/dev/null
    [ "$(du -sm "$cache/storage-$driver" | cut -f1)" -lt "$storage_limit_mb" ] || build_ah rmi --prune >/dev/null
}

build() {
    local name archive other began
    for name in "$@"; do
        archive=$archives/$name-$(content_key "$name").tar
        if [ ! -f "$archive" ]; then
            install_tools
            ensure_base
            began=$SECONDS
            say "building $(image_name "$name")"
            build_one "$name" "$archive"
            for other in "$archives/$name"-[0-9a-f][0-9a-f][0-9a-f][0-9a-f]*.tar; do [ "$other" = "$archive" ] || rm -f "$other"; done
            say "built in $((SECONDS - began)) s"
        fi
        printf '%-36s %6.1f MB  %s\n' "$(image_name "$name")" "$(stat -c %s "$archive" | awk '{print $1 / 1e6}')" "$archive"
    done
}

main() {
    local verb=${1:-help}
    shift || true
    mkdir -p "$archives"
    exec 9>"$cache/lock"
    flock 9
    echo 'unqualified-search-registries = ["docker.io"]' >"$cache/registries.conf"
    case $verb in
    build) build "${@:-${all[@]}}" ;;
    base)
        install_tools
        ensure_base
        ;;
    list) printf '%s\n' "${all[@]}" "${tests[@]}" ;;
    help | -h | --help) usage ;;
    *) fail "There is no command '$verb'; expected build, base or list" ;;
    esac
}

main "$@"
