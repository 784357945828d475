#!/bin/sh
# demo.sh THEATER: starts the demo's actors in the foreground and says what to try.
set -eu
theater=$1

cat <<TXT
Starting the demo; its history is kept in ./theater-data. Once it is ready, try in another terminal:

    curl -X POST http://127.0.0.1:8080/increment
    curl http://127.0.0.1:8080/
    $theater events counter --follow

    curl http://127.0.0.1:8082/accounts -d '{"name": "alice"}'
    curl http://127.0.0.1:8082/accounts -d '{"name": "bob"}'
    curl http://127.0.0.1:8082/accounts/alice/deposit -d '{"cents": 10000}'
    curl http://127.0.0.1:8082/transfers -d '{"from": "alice", "to": "bob", "cents": 2500}'
    curl -X POST http://127.0.0.1:8082/accounts/bob/crash
    curl http://127.0.0.1:8082/
    $theater tree

README.md says what to look at. Ctrl-C suspends it; make run again goes on where it was.

TXT
exec "$theater" run manifests/counter.toml manifests/ledger.toml
