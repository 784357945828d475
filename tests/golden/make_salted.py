#!/usr/bin/env python3
"""Write the golden chains of version 3, from golden chains of version 1.

    python3 tests/golden/make_salted.py [OUTDIR]      (default: the directory of this file)

These chains were made before the runtime wrote events of version 3. They are chains that it did write, hashed again with
salts, and with the keys that version 3 adds where this program reads them. Replay must come to the same states.
Deterministic: run twice, it writes the same bytes.
"""

import pathlib
import sys

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "vectors"))
from make_vectors import cbor, salt_of, state_line  # noqa: E402
from tamper import Chain, line_of, read_pairs, write_pairs  # noqa: E402


def put(event, **fields):
    """Sets entries of an event's data. The keys must stay in order: shorter first, then by alphabet."""
    pairs = dict(read_pairs(event["data"]))
    pairs.update({cbor(key): cbor(value) for key, value in fields.items()})
    event["data"] = write_pairs(sorted(pairs.items()))


def salted(name, first, change=lambda events: None):
    """A golden chain whose events from `first` on are of version 3."""
    chain = Chain((HERE / f"{name}.chain").read_bytes())
    for event in chain.events[first:]:
        event["salt"] = salt_of(event["sequence"])
    change(chain.events)
    chain.header["version"] = 3
    chain.seal(first)
    return chain


def without(chain, dropped, states):
    """The file of a chain without the data of some events, with the states after others."""
    chain.header["attachments"] += len(states)
    lines = chain.render().split(b"\n")[:-1]
    lines[1 + len(chain.attachments):] = [line_of(event, event["sequence"] in dropped)[:-1] for event in chain.events]
    for at, state in sorted(states.items(), reverse=True):
        lines.insert(1 + len(chain.attachments), state_line(at, state)[:-1])
    return b"\n".join(lines) + b"\n"


def upgraded(events):
    """The second start is an upgrade, and the actor has a label."""
    for event in events:
        if event["event_type"] == "started":
            put(event, label="alice")
    put(events[11], reason="upgrade")


def read_itself(events):
    """The call of `get-chain` says what it has shown."""
    assert events[26]["event_type"].endswith("runtime.get-chain")
    put(events[26], result={"bare": [], "upto": 26, "first": 0})


def main(arguments):
    out = pathlib.Path(arguments[0]) if arguments else HERE
    made = {
        "counter-salted": salted("counter", 0, upgraded).render(),
        # The guest saw the hashes of the events before 26, so these keep their version.
        "probe-mixed": salted("probe", 26, read_itself).render(),
        "counter-dropped": without(salted("counter", 5), {3, 4, 5, 6, 7, 13, 14, 15, 21}, {10: b'{"count":41}', 19: b'{"count":82}'}),
    }
    for name, content in made.items():
        (out / f"{name}.chain").write_bytes(content)


if __name__ == "__main__":
    main(sys.argv[1:])
