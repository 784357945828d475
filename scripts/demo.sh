#!/bin/sh
# demo.sh THEATER: starts the demo's actors in the foreground, and prints commands to try.
set -eu
theater=$1

cat <<TXT
Starting the demo. It keeps its history in ./theater-data. When it is ready, try these commands in another terminal:

    curl -X POST http://127.0.0.1:8080/increment
    curl http://127.0.0.1:8080/
    $theater events counter --follow

    curl http://127.0.0.1:8082/accounts -d '{"name": "alice"}'
    curl http://127.0.0.1:8082/accounts -d '{"name": "bob"}'
    curl http://127.0.0.1:8082/accounts/alice/deposit -d '{"cents": 10000}'
    curl http://127.0.0.1:8082/transfers -d '{"from": "alice", "to": "bob", "cents": 2500}'
    curl -X POST http://127.0.0.1:8082/accounts/bob/crash
    curl http://127.0.0.1:8082/
    $theater status ledger/bob
    $theater tree
    $theater events ledger --kind call      (the requests; the first column is the number of the event)
    $theater trace ledger NUMBER            (what came of one, across the accounts)

README.md explains the commands. Ctrl-C suspends the demo; make run resumes it.

TXT
exec "$theater" run manifests/counter.toml manifests/ledger.toml
