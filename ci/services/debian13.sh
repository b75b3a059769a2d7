# RabbitMQ 4 and its Erlang from Debian 13, unpacked in a cache folder beside the machine's own: nothing is installed, no chroot is needed.
# Sourced by ci/services/rabbitmq.sh; `debian13_home` is where the servers' scripts are.
# shellcheck shell=bash

# Erlang's applications that RabbitMQ starts; all they need, the C library too, apt resolves. RabbitMQ's own package is fetched alone,
# since its dependencies are for a system service: users, init, Python.
DEBIAN13_WITH_DEPENDENCIES=(erlang-asn1 erlang-base erlang-crypto erlang-eldap erlang-inets erlang-mnesia erlang-os-mon erlang-parsetools
    erlang-public-key erlang-runtime-tools erlang-ssl erlang-syntax-tools erlang-tools erlang-xmerl)
DEBIAN13_ALONE=(rabbitmq-server)
DEBIAN13_SUITE=trixie
# What Erlang executes, below its own folder.
DEBIAN13_PROGRAMS=(erts-*/bin/{beam.smp,epmd,erl_call,erlexec,erl_child_setup,escript,inet_gethost} lib/os_mon-*/priv/bin/{cpu_sup,memsup})

# A folder per content of this file: whoever changes what is unpacked, or how, gets a new one.
debian13_folder() {
    local key
    key=$(sha256sum "${BASH_SOURCE[0]}" | cut -c1-12)
    printf '%s' "$cache/rabbitmq4-$DEBIAN13_SUITE-$key"
}

debian13_erlang() { printf '%s' "$(debian13_folder)/tree/usr/lib/erlang"; }

# The folder of the server's scripts, empty if it is not unpacked.
debian13_home() {
    [[ -e $(debian13_folder)/complete ]] || return 0
    ls -d "$(debian13_folder)"/tree/usr/lib/rabbitmq/lib/rabbitmq_server-4.*/sbin
}

# The address of the Debian archive among this machine's apt sources: "URIs:" of the new format, else a "deb" line of the old one.
debian13_archive() {
    local sources=() file
    for file in /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list /etc/apt/sources.list; do
        [[ ! -r $file ]] || sources+=("$file")
    done
    cat "${sources[@]}" </dev/null |
        sed -nE 's/^URIs:[[:space:]]*([^[:space:]]*\/debian)\/?([[:space:]].*)?$/\1/p; s/^deb([[:space:]]+\[[^]]*\])?[[:space:]]+([^[:space:]]*\/debian)\/?[[:space:]].*$/\2/p' |
        head -n 1
}

debian13_install() {
    [[ -z $(debian13_home) ]] || return 0
    mkdir -p "$cache/services"
    exec 8>"$cache/services/debian13.lock"
    flock 8
    [[ -n $(debian13_home) ]] || debian13_unpack
    exec 8>&-
}

debian13_unpack() {
    local tool archive target log=$cache/services/debian13.log
    for tool in apt-get dpkg-deb; do
        command -v "$tool" >/dev/null || fail "$tool is missing; RabbitMQ 4 is unpacked from Debian 13's packages, which needs a Debian-like machine"
    done
    archive=$(debian13_archive)
    [[ -n $archive ]] || fail "no Debian archive in /etc/apt; RabbitMQ 4 is unpacked from there"
    target=$(debian13_folder)
    say "$node: unpacking RabbitMQ 4 and Erlang of Debian $DEBIAN13_SUITE into $target"
    rm -rf "$target"
    mkdir -p "$target"/{lists/partial,archives/partial,empty,tree}
    : >"$target/status"
    printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$archive" "$DEBIAN13_SUITE" >"$target/sources.list"
    if ! debian13_fetch "$target" >"$log" 2>&1; then
        tail -20 "$log" >&2
        fail "apt-get could not fetch RabbitMQ 4 of Debian $DEBIAN13_SUITE; all it said is in $log"
    fi
    local package
    for package in "$target"/archives/*.deb; do dpkg-deb -x "$package" "$target/tree"; done
    debian13_wrap "$target/tree"
    rm -rf "$target"/{archives,lists,empty,status,sources.list}
    "$(debian13_erlang)/bin/erl" -noshell -eval '{ok, _} = application:ensure_all_started([crypto, ssl, mnesia]), halt(0).' >>"$log" 2>&1 || {
        tail -20 "$log" >&2
        fail "the unpacked Erlang does not run; all it said is in $log"
    }
    : >"$target/complete"
    debian13_prune "$target"
}

# Removes what earlier contents of this file unpacked, unless a server runs from it.
debian13_prune() {
    local old
    for old in "$cache/rabbitmq4-$DEBIAN13_SUITE"-*; do
        [[ $old == "$1" ]] || grep -qsF "$old/" /proc/[0-9]*/cmdline || rm -rf "$old"
    done
}

# With a package state of its own, so that what this machine has installed plays no part.
debian13_fetch() {
    local options=(-qq -o "Dir::Etc::sourcelist=$1/sources.list" -o "Dir::Etc::sourceparts=$1/empty" -o "Dir::Etc::preferencesparts=$1/empty"
        -o "Dir::State::lists=$1/lists" -o "Dir::State::status=$1/status" -o "Dir::Cache::archives=$1/archives" -o Dir::Cache::pkgcache=
        -o Dir::Cache::srcpkgcache= -o "APT::Sandbox::User=$(id -un)" -o Acquire::Retries=3 -o APT::Install-Recommends=false
        -o Acquire::Languages=none -o Debug::NoLocking=true)
    apt-get "${options[@]}" update || return 1
    apt-get "${options[@]}" install --yes --download-only "${DEBIAN13_WITH_DEPENDENCIES[@]}" || return 1
    (cd "$1/archives" && apt-get "${options[@]}" download "${DEBIAN13_ALONE[@]}")
}

# Erlang's programs by their own loader and with their own libraries, whatever this machine has.
debian13_wrap() {
    local root=$1 loader libraries program
    [[ -e $root/lib64 ]] || ln -s usr/lib64 "$root/lib64"
    loader=$(find "$root/usr/lib64" "$root/usr/lib" -maxdepth 2 -name 'ld-linux*.so*' | head -n 1)
    [[ -n $loader ]] || fail "no loader was unpacked below $root"
    libraries=$(dirname "$(find "$root" -name libc.so.6 | head -n 1)")
    for program in $(cd "$root/usr/lib/erlang" && ls ${DEBIAN13_PROGRAMS[*]}); do
        program=$root/usr/lib/erlang/$program
        mv "$program" "$program.binary"
        printf '#!/bin/sh\nexec "%s" --library-path "%s" --argv0 "$0" "%s" "$@"\n' "$loader" "$libraries" "$program.binary" >"$program"
        chmod 755 "$program"
    done
    # Scripts name the folder where the package would be installed.
    sed -i "s|ROOTDIR=/usr/lib/erlang|ROOTDIR=$root/usr/lib/erlang|" "$root"/usr/lib/erlang/bin/erl "$root"/usr/lib/erlang/erts-*/bin/erl
    cp "$root"/usr/lib/erlang/erts-*/bin/{erl_call,escript} "$root/usr/lib/erlang/bin/"
}
