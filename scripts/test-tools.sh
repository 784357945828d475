#!/bin/sh
# test-tools.sh
#
# Checks for the programs that the tests need besides cargo and a C compiler. If root runs it on Debian, it installs the
# missing ones. Otherwise it lists them, and the tests that need them say that they were skipped.
set -eu

missing=
for tool in curl:curl python3:python3 sqlite3:sqlite3 unshare:util-linux setpriv:util-linux prlimit:util-linux \
            setsid:util-linux kill:procps node:nodejs npm:npm chromium:chromium chromedriver:chromium-driver psql:postgresql-client \
            go:golang-go; do
    command -v "${tool%%:*}" > /dev/null || missing="$missing ${tool##*:}"
done
# Debian's python3 makes virtual environments only with a further package.
! command -v python3 > /dev/null || python3 -c 'import ensurepip, venv' 2> /dev/null || missing="$missing python3-venv"
# The server's programs are not on the path.
ls /usr/lib/postgresql/*/bin/initdb > /dev/null 2>&1 || missing="$missing postgresql"
# The packages of Go's own that read the formats of proofs.
[ -d /usr/share/gocode/src/golang.org/x/mod ] || missing="$missing golang-golang-x-mod-dev"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    # shellcheck disable=SC2086 # several words
    if DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing > /dev/null 2>&1 ||
       { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing; }; then
        exit 0
    fi
fi
echo "not installed:$missing (Debian's package names); tests that need them are skipped" >&2
