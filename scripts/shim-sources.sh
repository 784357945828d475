#!/bin/sh
# shim-sources.sh
#
# Prints the digest of the sources of the shim components: what scripts/build-shims.sh builds them from.
set -eu
cd "$(dirname "$0")/.."
find sdk/wasi-shim wit/runtime.wit wit/clock.wit wit/random.wit wit/types.wit \
    \( -name target -o -name dist \) -prune -o -type f \( -name '*.rs' -o -name '*.wit' -o -name '*.toml' -o -name '*.lock' \) -print |
    LC_ALL=C sort | xargs sha256sum | sha256sum | cut -d' ' -f1
