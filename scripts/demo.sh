#!/bin/sh
# demo.sh THEATER: starts the demo's actors in the foreground and says what to try.
set -eu
theater=$1

cat <<TXT
Starting the demo; its history is kept in ./theater-data. Once it is ready, try in another terminal:

    curl -X POST http://127.0.0.1:8080/increment
    curl http://127.0.0.1:8080/
    $theater events counter --follow

Ctrl-C suspends it; make run again goes on where it was.

TXT
exec "$theater" run manifests/counter.toml
