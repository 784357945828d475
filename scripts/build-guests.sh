#!/bin/bash
# build-guests.sh WORKSPACE
#
# Builds the actors of a cargo workspace and leaves each as WORKSPACE/dist/<package>.wasm, a component. A file in dist
# changes only when its content does, and goes when its package goes. The same sources and compiler give the same bytes,
# wherever the checkout lies and whoever builds; unless the workspace uses a package that lies outside of it, since that
# package's whole path is part of cargo's symbols.
#
# Nothing needs to be installed but cargo and rustc. Where rustc lacks the standard library for wasm32-unknown-unknown,
# it is added by rustup, or else a private toolchain is made of Debian's packages, once.
# THEATER_GUEST_TOOLCHAIN=private uses the private toolchain in any case.
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

# A server out of reach takes the whole time limit, so a failure is remembered for a day.
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

# Whatever the environment says about cargo builds is meant for others; here every answer is given. What cargo remembers
# of rustc is not believed: it keeps a failure, too, after the reason is gone.
cargo_build() {
    local flags="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=/cargo"
    flags+=$'\x1f'"--remap-path-prefix=$project=/theater"
    unset "${!CARGO_PROFILE_RELEASE_@}"
    CARGO_ENCODED_RUSTFLAGS=$flags CARGO_INCREMENTAL=0 CARGO_CACHE_RUSTC_INFO=0 \
        cargo build --release --locked --target $target --target-dir target \
        --color "$color" --message-format json-render-diagnostics
}

# Cargo's messages name the modules it built or found built; on the terminal remain warnings, errors and progress.
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
