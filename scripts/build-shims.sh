#!/bin/bash
# build-shims.sh
#
# Builds the shim components of sdk/wasi-shim, and puts them where the program includes them: src/build/shims/. Beside them,
# shims.lock has the digest of their sources. Run it after a change of sdk/wasi-shim or of the WIT files that it imports.
set -euo pipefail

project=$(dirname "$(dirname "$(realpath "$0")")")
shims=$project/src/build/shims
"$project/scripts/build-guests.sh" "$project/sdk/wasi-shim"
for shim in "$project"/sdk/wasi-shim/dist/*.wasm; do
    cmp -s "$shim" "$shims/$(basename "$shim")" || cp "$shim" "$shims/"
done
"$project/scripts/shim-sources.sh" > "$shims/shims.lock"
