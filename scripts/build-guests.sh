#!/bin/bash
# build-guests.sh WORKSPACE
#
# Builds the actors of a cargo workspace and writes each one as a component to WORKSPACE/dist/<package>.wasm. A file in dist
# is written only if its content has changed, and is removed if its package no longer exists. The same sources and compiler
# give the same bytes, for every user and every place of the checkout. There is one exception: if the workspace uses a
# package outside of it, that package's whole path is part of cargo's symbols.
#
# Only cargo and rustc must be installed. If rustc lacks the standard library for wasm32-unknown-unknown, rustup adds it, or
# else this script makes a private toolchain from Debian's packages, once. THEATER_GUEST_TOOLCHAIN=private always uses the
# private toolchain.
set -euo pipefail

[ $# -eq 1 ] || { echo "usage: $0 WORKSPACE" >&2; exit 2; }
scripts=$(cd "$(dirname "$0")" && pwd)
project=$(dirname "$scripts")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/theater
target=wasm32-unknown-unknown
cd "$1"

compiler_has_std() {
    compgen -G "$("${RUSTC:-rustc}" --print target-libdir --target $target)/libstd-*.rlib" > /dev/null
}

# If rustup's server cannot be reached, the attempt takes the whole time limit, so a failure is remembered for a day.
rustup_adds_std() {
    local failed=$cache/rustup-failed
    command -v rustup > /dev/null || return 1
    [ -z "$(find "$failed" -mtime -1 2> /dev/null)" ] || return 1
    if timeout 60 rustup target add $target && compiler_has_std; then
        return
    fi
    mkdir -p "$cache"
    touch "$failed"
    return 1
}

find_compiler() {
    if [ "${THEATER_GUEST_TOOLCHAIN:-}" != private ]; then
        if compiler_has_std || rustup_adds_std; then
            return
        fi
    fi
    if ! "$scripts/rust-wasm-toolchain.sh" "$cache/rust-wasm"; then
        cat >&2 <<MESSAGE
error: no standard library for $target, which the actors are built for. Any of these helps:
  - with rustup, and its server in reach:   rustup target add $target
  - on Debian, with its packages in reach:  $scripts/rust-wasm-toolchain.sh $cache/rust-wasm
MESSAGE
        exit 1
    fi
    export RUSTC=$cache/rust-wasm/bin/rustc
}

# Ignores settings for cargo in the environment, and sets every relevant one itself. Ignores cargo's cache of rustc's
# answers too, because cargo caches a failure even after its cause is gone.
cargo_build() {
    local flags="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=/cargo"
    flags+=$'\x1f'"--remap-path-prefix=$project=/theater"
    unset "${!CARGO_PROFILE_RELEASE_@}"
    CARGO_ENCODED_RUSTFLAGS=$flags CARGO_INCREMENTAL=0 CARGO_CACHE_RUSTC_INFO=0 \
        cargo build --release --locked --target $target --target-dir target \
        --color "$color" --message-format json-render-diagnostics
}

# Prints the names of the modules that cargo built or found up to date, from cargo's JSON messages. Warnings, errors and
# progress go to the terminal.
build() {
    local color=never
    [ ! -t 2 ] || color=always
    { cargo_build 2>&1 >&3 | sed -u '/ Finished .*`release`/d' >&2; } 3>&1 |
        sed -n 's|.*"filenames":\["[^]]*/\([^/"]*\)\.wasm".*|\1|p'
}

place() {
    local module name component keep=" "
    mkdir -p dist
    for module in $1; do
        name=${module//_/-}
        keep+="$name "
        if ! cmp -s "target/$target/release/$module.wasm" "dist/$name.wasm"; then
            cp "target/$target/release/$module.wasm" "dist/$name.$$"
            mv "dist/$name.$$" "dist/$name.wasm"
        fi
    done
    for component in dist/*.wasm; do
        name=$(basename "$component" .wasm)
        [[ $keep == *" $name "* ]] || rm -f "$component"
    done
}

find_compiler
modules=$(build)
place "$modules"
