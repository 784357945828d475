#!/bin/bash
# rust-wasm-toolchain.sh DIR
#
# Makes a private Rust compiler for wasm32-unknown-unknown from Debian's packages, for machines where rustup is missing or
# cannot reach its server. Needs apt-get, dpkg-deb, and a cargo and rustc (1.82 or newer) that bring their own linkers, as
# those of rustup do. Needs no root, and installs nothing outside DIR: it downloads about 140 MB, uses 450 MB on disk, and
# takes half a minute. It creates DIR/bin/rustc, which is used like this:
#
#     RUSTC=DIR/bin/rustc cargo build --target wasm32-unknown-unknown
#
# If DIR already holds a compiler, the script only checks its links.
set -euo pipefail

[ $# -eq 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
dir=$(realpath -m "$1")
target=wasm32-unknown-unknown
host=$(rustc -vV | sed -n 's/^host: //p')

fail() {
    echo "error: $*" >&2
    exit 1
}

# Debian's compiler has no linker for this target, so it uses those of the installed compiler. They find their libraries
# relative to their own place, so they are linked and not copied. They are linked each time, because `rustup update` moves
# them.
link_linkers() {
    local linkers
    linkers=$(rustc --print sysroot)/lib/rustlib/$host/bin
    [ -x "$linkers/rust-lld" ] && [ -x "$linkers/wasm-component-ld" ] ||
        fail "no rust-lld and wasm-component-ld in $linkers"
    mkdir -p "$dir/usr/lib/rustlib/$host/bin"
    ln -sfn "$linkers/rust-lld" "$linkers/wasm-component-ld" "$dir/usr/lib/rustlib/$host/bin/"
}

# depends PACKAGE PATTERN [apt option...]: prints the first package matching PATTERN that PACKAGE depends on.
depends() {
    local package=$1 pattern=$2
    shift 2
    apt-cache "$@" depends "$package" | sed -n "0,/^ *Depends: \($pattern.*\)/s//\1/p"
}

# download [apt option...]: downloads the compiler that Debian keeps current for its browsers (in its present version), the
# libraries it needs, and the sources of the standard library.
download() {
    local std llvm
    std=$(depends libstd-rust-web-dev libstd-rust-web- "$@")
    [ -n "$std" ] || return 1
    llvm=$(depends "$std" libllvm "$@")
    [ -n "$llvm" ] || return 1
    apt-get -qq -o APT::Sandbox::User= "$@" download rustc-web libstd-rust-web-dev "$std" "$llvm" rust-web-src
}

# Uses private package lists, because the machine's may be missing or old, and only root may renew them.
download_with_private_lists() {
    local options=(-o Dir::State::lists="$dir/apt/lists" -o Dir::Cache="$dir/apt/cache" -o APT::Sandbox::User=)
    rm -f ./*.deb
    mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial"
    apt-get -qq "${options[@]}" update
    download "${options[@]}"
}

unpack() {
    local package
    for package in *.deb; do
        case $package in
            rust-web-src_*) dpkg-deb --fsys-tarfile "$package" | tar -x -C "$dir" --wildcards './usr/src/*/library' ;;
            *) dpkg-deb -x "$package" "$dir" ;;
        esac
    done
}

write_wrapper() {
    local libraries
    libraries=$(echo "$dir"/usr/lib/*-linux-gnu)
    mkdir -p "$dir/bin"
    cat > "$dir/bin/rustc" <<WRAPPER
#!/bin/sh
LD_LIBRARY_PATH="$libraries\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}" exec "$dir/usr/bin/rustc" "\$@"
WRAPPER
    chmod +x "$dir/bin/rustc"
}

# Installs the standard library into the compiler's own tree, once, so that using the compiler needs no unstable option.
build_std() {
    local sources commit flags
    sources=$(echo "$dir"/usr/src/rustc-*)
    commit=$("$dir/bin/rustc" -vV | sed -n 's/^commit-hash: //p')
    flags="-Cembed-bitcode=yes"
    flags+=$'\x1f'"--remap-path-prefix=$sources=/rustc/$commit"
    flags+=$'\x1f'"--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=/cargo"
    mkdir -p "$dir/build/src" "$dir/usr/lib/rustlib/$target/lib"
    cd "$dir/build"
    echo '#![no_std]' > src/lib.rs
    cat > Cargo.toml <<'MANIFEST'
[package]
name = "nothing"
edition = "2021"
[workspace]
[profile.release]
opt-level = "s"
codegen-units = 1
MANIFEST
    RUSTC=$dir/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_ENCODED_RUSTFLAGS=$flags __CARGO_TESTS_ONLY_SRC_ROOT=$sources/library \
        cargo build --quiet --release --target $target --target-dir target \
        -Zbuild-std=std,panic_abort -Zbuild-std-features=
    find target/$target/release/deps -name '*.rlib' ! -name 'libnothing-*' \
        -exec cp -t "$dir/usr/lib/rustlib/$target/lib" {} +
}

make_toolchain() {
    command -v apt-get > /dev/null || fail "a private Rust toolchain is made of Debian's packages; there is no apt-get"
    echo "making a Rust toolchain for $target in $dir (once: 140 MB, about half a minute)" >&2
    rm -rf "$dir"
    mkdir -p "$dir/debs"
    touch "$dir/unfinished"
    cd "$dir/debs"
    download 2> /dev/null || download_with_private_lists
    unpack
    write_wrapper
    link_linkers
    build_std
    cd "$dir"
    rm -rf build debs apt usr/src usr/share usr/libexec usr/bin/rustdoc
    mv unfinished finished
}

mkdir -p "$(dirname "$dir")"
exec 9> "$dir.lock"
flock 9 # if two builds run at once, one makes the toolchain and the other waits
if [ -e "$dir/finished" ]; then
    link_linkers
elif [ -e "$dir/unfinished" ] || [ ! -e "$dir" ]; then
    make_toolchain
else
    fail "$dir exists and is not a toolchain made by $0"
fi
