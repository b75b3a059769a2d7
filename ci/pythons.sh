#!/usr/bin/env bash
# Provides a newer Python than this machine's from Debian's archive, unpacked in a cache folder: nothing is installed, no chroot is needed.
#
#   ci/pythons.sh        prints what it does on stderr and the interpreter's path as the only line on stdout
#
# ASYA_CACHE            cache folder, default $HOME/.cache/asya
# ASYA_PYTHON_SUITE     Debian suite, default trixie (Debian 13)
# ASYA_PYTHON_NAME      package, default python3.13
#
# The archive's address is the one in this machine's own apt sources. Packages and all they depend on, the C library too, are resolved by
# apt against an empty package state, fetched, and unpacked; a wrapper starts the interpreter with that loader and those libraries.
set -Eeuo pipefail
shopt -s nullglob

suite=${ASYA_PYTHON_SUITE:-trixie}
name=${ASYA_PYTHON_NAME:-python3.13}
cache=${ASYA_CACHE:-${HOME:?}/.cache/asya}
folder=$cache/$name-$suite
root=$folder/root
python=$root/usr/bin/$name
pointer=$cache/python-newest/interpreter

say() { printf 'pythons: %s\n' "$*" >&2; }

works() { [ -x "$python" ] && "$python" -c 'import asyncio, ctypes, hashlib, json, mmap, select, socket, ssl' 2>/dev/null; }

point() {
    mkdir -p "$(dirname "$pointer")"
    printf '%s\n' "$python" >"$pointer"
    say "$("$python" -VV)"
    printf '%s\n' "$python"
}

mkdir -p "$cache"
exec 9>"$cache/$name-$suite.lock"
flock 9
if works; then
    say "$name of $suite is unpacked in $folder"
    point
    exit 0
fi

for tool in apt-get dpkg-deb; do
    command -v "$tool" >/dev/null || { say "$tool is missing; this needs a Debian-like machine"; exit 1; }
done

# The first Debian archive among this machine's sources: "URIs:" of the new format, else a "deb" line of the old one.
sources=(/etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list /etc/apt/sources.li[s]t)
archive=$(cat "${sources[@]}" </dev/null |
    sed -nE 's/^URIs:[[:space:]]*([^[:space:]]*\/debian)\/?([[:space:]].*)?$/\1/p; s/^deb([[:space:]]+\[[^]]*\])?[[:space:]]+([^[:space:]]*\/debian)\/?[[:space:]].*$/\2/p' |
    head -n 1)
[ -n "$archive" ] || { say "no Debian archive in /etc/apt; add one"; exit 1; }

rm -rf "$folder"
mkdir -p "$folder"/{lists/partial,archives/partial,empty,root}
: >"$folder/status"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keyring] $archive $suite main" >"$folder/sources.list"

apt() {
    apt-get -qq \
        -o Dir::Etc::sourcelist="$folder/sources.list" -o Dir::Etc::sourceparts="$folder/empty" -o Dir::Etc::preferencesparts="$folder/empty" \
        -o Dir::State::lists="$folder/lists" -o Dir::State::status="$folder/status" -o Dir::Cache::archives="$folder/archives" \
        -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User="$(id -un)" -o Acquire::Retries=3 \
        -o APT::Install-Recommends=false -o Acquire::Languages=none -o Debug::NoLocking=true "$@" >&2
}

say "reading the package list of $suite"
apt update
say "fetching $name and what it depends on"
apt install --yes --download-only "$name"
say "unpacking into $root"
for package in "$folder"/archives/*.deb; do
    dpkg-deb -x "$package" "$root"
done

# Where a suite has merged /usr, /lib and /lib64 are links of a package that was not necessarily among these.
[ -e "$root/lib64" ] || ln -s usr/lib64 "$root/lib64"
loader=$(find "$root/usr/lib64" "$root/usr/lib" "$root/lib64/" -maxdepth 2 -name 'ld-linux*.so*' 2>/dev/null | head -n 1)
[ -n "$loader" ] || { say "no loader was unpacked"; exit 1; }
triplet=$(basename "$(dirname "$(find "$root" -name 'libc.so.6' | head -n 1)")")
libraries=$root/usr/lib/$triplet:$root/lib/$triplet

say "starting $name by its own loader, with its own libraries"
real=$(readlink -f "$python")
mv "$real" "$real.binary"
# --argv0 lets the interpreter find its prefix, and sys.executable be this file, which can be executed again.
cat >"$real" <<WRAPPER
#!/bin/sh
exec "$loader" --library-path "$libraries" --argv0 "\$0" "$real.binary" "\$@"
WRAPPER
chmod +x "$real"
rm -rf "$folder/archives" "$folder/lists"

works || { say "the unpacked interpreter does not run:"; "$python" -c 'import asyncio, ctypes, hashlib, json, mmap, select, socket, ssl' >&2 || exit 1; exit 1; }
point
